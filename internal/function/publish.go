package function

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Reasons of errors about published versions.
const (
	ReasonCodeSHA   = "CodeSHA256" // Invalid: the code is not what the caller takes it for
	ReasonAliased   = "Aliased"    // Conflict: an alias points at the version
	ReasonNotNumber = "NotANumber" // Invalid: only published versions can be deleted alone
)

// Publication is a wish to make the latest version immutable.
type Publication struct {
	Description *string // in place of the latest version's
	CodeSHA256  string  // that the code must have, lower-case hex; "" for any
	Revision    string  // that the latest version must have; "" for any
}

// Publish makes a version that never changes of the latest one, and returns it;
// if nothing has changed since the last one was published, it returns that. It
// fails with errs.NotFound, errs.Stale, errs.Invalid (ReasonCodeSHA),
// errs.TooLarge (ReasonCodeStorage), or errs.Conflict while the latest version
// is not Active or is being changed.
func (r *Registry) Publish(ctx context.Context, name string, p Publication) (*Version, error) {
	var number string
	e, err := r.change(ctx, name, func(e *entry) (*document, error) {
		if e == nil {
			return nil, notFound(name, "")
		}
		switch latest := e.doc.Latest; {
		case p.Revision != "" && p.Revision != e.doc.shown().Revision:
			return nil, errs.Newf(errs.Stale, "the function's revision is no longer %s", p.Revision)
		case e.doc.Candidate != nil:
			return nil, updating(name)
		case latest.State != Active:
			return nil, refusedByState(latest.State)
		case p.CodeSHA256 != "" && p.CodeSHA256 != latest.Code.SHA256:
			return nil, errs.Newf(errs.Invalid, "the latest code has the SHA-256 %s", latest.Code.SHA256).WithReason(ReasonCodeSHA)
		}
		d := e.doc.clone()
		v, fresh := d.publish(d.Latest)
		number = v.Version
		if !fresh {
			return nil, errUnchanged
		}
		if err := r.admitBytes(v.Code.Size); err != nil {
			return nil, err
		}
		if p.Description != nil {
			v.Description = *p.Description
			var vs Violations
			vs.description(v.Description)
			if err := vs.asError(); err != nil {
				return nil, err
			}
		}
		return d, nil
	})
	switch {
	case errors.Is(err, errUnchanged):
		return r.Get(name, number)
	case err != nil:
		return nil, err
	}
	return e.doc.published(number), nil
}

// errUnchanged ends a change that has nothing to do.
var errUnchanged = errors.New("unchanged")

// publish appends a copy of v, which is d's latest version or becomes it. If it
// is what was published last, it returns that and fresh is false.
func (d *document) publish(v *Version) (published *Version, fresh bool) {
	source := v.source()
	if last := d.published(strconv.Itoa(d.Published)); last != nil && last.Source == source && last.State != Failed {
		return last, false
	}
	d.Published++
	c := v.Clone()
	c.Version, c.Source = strconv.Itoa(d.Published), source
	c.Revision, c.Modified = newRevision(), now()
	c.Update, c.UpdateReason, c.UpdateReasonCode = "", "", ""
	if v == d.Candidate { // its image is still to be built
		c.State, c.StateReason, c.StateReasonCode = Pending, CreatingReason, CodeCreating
	}
	d.Versions = append(d.Versions, c)
	return c, true
}

// source identifies what is published of a version: two with the same source
// are not worth two numbers.
func (v *Version) source() string {
	b, err := json.Marshal(struct {
		C Config
		S string
	}{v.Config, v.Code.SHA256})
	if err != nil {
		panic("function: a Config always marshals: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// Versions returns up to most versions of a function: the latest, as Get does,
// and then the published ones, oldest first; those after the given one, or all
// for "". more says that the list goes on. It fails with errs.NotFound for the
// function.
func (r *Registry) Versions(name, after string, most int) (page []*Version, more bool, err error) {
	e := r.entry(name)
	if e == nil {
		return nil, false, notFound(name, "")
	}
	page = e.doc.list()
	if after != "" {
		n, _ := strconv.Atoi(after) // Latest is 0
		page = slices.DeleteFunc(page, func(v *Version) bool { return v.number() <= n })
	}
	if len(page) > most {
		page, more = page[:most], true
	}
	return page, more, nil
}

// ListAll returns up to most versions of all functions, those of each as
// Versions does, by name: those after the given version of the given function,
// or all for "". more says that the list goes on.
func (r *Registry) ListAll(name, version string, most int) (page []*Version, more bool) {
	after := name
	if name != "" {
		rest, more, err := r.Versions(name, version, most)
		if more {
			return rest, true
		}
		if err == nil { // else it was deleted since the page before
			page = rest
		}
	}
	for {
		next, _ := r.List(after, 1)
		if len(next) == 0 {
			return page, false
		}
		if len(page) == most {
			return page, true
		}
		after = next[0].Function
		rest, more, err := r.Versions(after, "", most-len(page))
		if err == nil {
			page = append(page, rest...)
		}
		if more {
			return page, true
		}
	}
}

// list returns the versions as an owner sees them, the latest first.
func (d *document) list() []*Version { return append([]*Version{d.shown()}, d.Versions...) }

// number is a published version's; 0 for Latest.
func (v *Version) number() int {
	n, _ := strconv.Atoi(v.Version)
	return n
}

// Each returns every version of every function, in no order: all that a call
// may still reach, and changes under way.
func (r *Registry) Each() func(yield func(*Version) bool) {
	return func(yield func(*Version) bool) {
		r.mu.RLock()
		var all []*Version
		for _, e := range r.entries {
			for v := range e.doc.all() {
				all = append(all, v)
			}
		}
		r.mu.RUnlock()
		for _, v := range all {
			if !yield(v) {
				return
			}
		}
	}
}

// DeleteVersion removes a published version with what was provisioned for it.
// It fails with errs.NotFound, errs.Invalid (ReasonNotNumber) for the latest
// version and for aliases, or errs.Conflict (ReasonAliased) while an alias
// points at it.
func (r *Registry) DeleteVersion(ctx context.Context, name, number string) error {
	var before []string
	_, err := r.change(ctx, name, func(e *entry) (*document, error) {
		switch {
		case e == nil:
			return nil, notFound(name, "")
		case e.doc.alias(number) != nil || number == Latest:
			return nil, errs.Newf(errs.Invalid, "%s is not a published version", number).WithReason(ReasonNotNumber)
		case e.doc.published(number) == nil:
			return nil, notFound(name, number)
		}
		if users := e.doc.aliasesOf(number); len(users) > 0 {
			return nil, errs.Newf(errs.Conflict, "Unable to delete version because the following aliases reference it: [%s]", strings.Join(users, ", ")).WithReason(ReasonAliased)
		}
		before = e.doc.packages()
		d := e.doc.clone()
		d.Versions = slices.DeleteFunc(d.Versions, func(v *Version) bool { return v.Version == number })
		d.forget(number)
		return d, nil
	})
	if err != nil {
		return err
	}
	r.discard(ctx, before...)
	return nil
}

// description adds the rule that a description breaks.
func (vs *Violations) description(s string) {
	if utf8.RuneCountInString(s) > MaxDescription {
		vs.add(FieldDescription, Longest, s, strconv.Itoa(MaxDescription))
	}
}
