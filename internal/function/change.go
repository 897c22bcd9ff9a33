package function

import (
	"context"
	"maps"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// What an owner sees while an image is built.
const (
	CreatingReason = "The function is being created."
	CodeCreating   = "Creating"
)

// New is a function to be created.
type New struct {
	Name    string
	Config  Config
	Package []byte // a zip archive
	Tags    map[string]string
	Publish bool // a first version too
}

// ReasonRuntime is the reason of Invalid and Unsupported errors about the
// runtime that was asked for.
const ReasonRuntime = "Runtime"

// attempts bounds how often a change is tried again after another writer came
// first.
const attempts = 16

// Create checks and stores a function, whose state is then Pending until Run
// has built its image. It fails with errs.Invalid (see Violations and the
// package reasons), errs.TooLarge, errs.Unsupported (the runtime), or
// errs.Conflict if the name is taken. With dry, it only checks. When n asks for
// a published version, that is what it returns.
func (r *Registry) Create(ctx context.Context, n New, dry bool) (*Version, error) {
	v := &Version{
		Function: n.Name, Version: Latest, Config: n.Config.Clone(), Revision: newRevision(), Modified: now(),
		State: Pending, StateReason: CreatingReason, StateReasonCode: CodeCreating,
	}
	var vs Violations
	vs.name(n.Name)
	vs.config(&v.Config, r.o.Limits)
	vs.tags(n.Tags)
	if err := vs.asError(); err != nil {
		return nil, err
	}
	if err := r.resolveNew(v); err != nil {
		return nil, err
	}
	if err := r.admitPackage(n.Package); err != nil {
		return nil, err
	}
	if r.entry(n.Name) != nil {
		return nil, exists(n.Name)
	}
	if dry {
		v.Code = codeOf(n.Package)
		return v, nil
	}
	code, release, err := r.store(ctx, n.Package)
	if err != nil {
		return nil, err
	}
	defer release()
	v.Code = code
	d := &document{Name: n.Name, Created: v.Modified, Tags: maps.Clone(n.Tags), Latest: v}
	made := v
	if n.Publish {
		made, _ = d.publish(v)
	}
	wctx, cancel := writing(ctx)
	defer cancel()
	rev, err := r.o.Bucket.Create(wctx, key(n.Name), d.encode())
	if errs.Is(err, errs.Conflict) {
		if err := r.refresh(ctx, n.Name, 0); err != nil {
			return nil, err
		}
		return nil, exists(n.Name)
	}
	if err != nil {
		return nil, err
	}
	r.keep(d, rev)
	r.enqueue(n.Name)
	return made, nil
}

func exists(name string) error {
	return errs.Newf(errs.Conflict, "Function already exist: %s", name).WithReason(ReasonExists)
}

func (r *Registry) resolveNew(v *Version) error {
	resolved, warning, err := r.o.Runtimes.Resolve(v.Runtime)
	if err != nil {
		return errs.Of(err).WithReason(ReasonRuntime)
	}
	v.RuntimeResolved, v.RuntimeWarning = resolved, warning
	return nil
}

func (r *Registry) admitPackage(b []byte) error {
	if err := checkPackage(b, r.o.Limits); err != nil {
		return err
	}
	return r.admitBytes(int64(len(b)))
}

// admitBytes reports whether there is room for one more package of the size.
func (r *Registry) admitBytes(size int64) error {
	if _, used := r.Usage(); used+size > r.o.Limits.CodeStorage {
		return errs.Newf(errs.TooLarge, "code packages would take more than %d bytes together: delete functions that are not used", r.o.Limits.CodeStorage).WithReason(ReasonCodeStorage)
	}
	return nil
}

// CodeChange is new code for a function.
type CodeChange struct {
	Package      []byte // a zip archive
	Architecture string // "" keeps the present one
	Revision     string // of the version to be changed; "" for any
	Dry          bool   // only check
	Publish      bool   // a version of the new code too
}

// UpdateCode gives the latest version new code. Calls run the old code until
// Run has built the new image, and for ever if that fails. It fails as Create
// does, with errs.NotFound, errs.Stale if the revision is not the present one,
// or errs.Conflict while an earlier change is under way. When c asks for a
// published version, that is what it returns.
func (r *Registry) UpdateCode(ctx context.Context, name string, c CodeChange) (*Version, error) {
	if r.entry(name) == nil {
		return nil, notFound(name, "")
	}
	if err := r.admitPackage(c.Package); err != nil {
		return nil, err
	}
	apply := func(code Code) func(v *Version) {
		return func(v *Version) {
			v.Code = code
			if c.Architecture != "" {
				v.Architecture = c.Architecture
			}
		}
	}
	if c.Dry {
		d, err := r.candidate(r.entry(name), name, c.Revision, apply(codeOf(c.Package)))
		if err != nil {
			return nil, err
		}
		return d.shown(), nil
	}
	code, release, err := r.store(ctx, c.Package)
	if err != nil {
		return nil, err
	}
	defer release()
	return r.update(ctx, name, c.Revision, c.Publish, apply(code))
}

// UpdateConfig changes the configuration of the latest version as UpdateCode
// does its code. edit gets a copy; it may be called more than once.
func (r *Registry) UpdateConfig(ctx context.Context, name, revision string, edit func(*Config)) (*Version, error) {
	return r.update(ctx, name, revision, false, func(v *Version) { edit(&v.Config) })
}

func (r *Registry) update(ctx context.Context, name, revision string, publish bool, edit func(*Version)) (*Version, error) {
	var published *Version
	e, err := r.change(ctx, name, func(e *entry) (*document, error) {
		d, err := r.candidate(e, name, revision, edit)
		if err == nil && publish {
			published, _ = d.publish(d.Candidate)
		}
		return d, err
	})
	if err != nil {
		return nil, err
	}
	r.enqueue(name)
	if publish {
		return published, nil
	}
	return e.doc.shown(), nil
}

// candidate returns e's document with a checked candidate.
func (r *Registry) candidate(e *entry, name, revision string, edit func(*Version)) (*document, error) {
	if e == nil {
		return nil, notFound(name, "")
	}
	d := e.doc.clone()
	switch {
	case revision != "" && revision != d.shown().Revision:
		return nil, errs.Newf(errs.Stale, "the function's revision is no longer %s", revision)
	case d.Candidate != nil:
		return nil, updating(name)
	case d.Latest.State == Pending:
		return nil, refusedByState(d.Latest.State)
	}
	v := d.Latest.Clone()
	edit(v)
	var vs Violations
	vs.config(&v.Config, r.o.Limits)
	if err := vs.asError(); err != nil {
		return nil, err
	}
	if err := r.resolveNew(v); err != nil {
		return nil, err
	}
	v.Revision, v.Modified = newRevision(), now()
	v.Update, v.UpdateReason, v.UpdateReasonCode = UpdateInProgress, CreatingReason, CodeCreating
	d.Candidate = v
	return d, nil
}

func updating(name string) error {
	return errs.Newf(errs.Conflict, "The operation cannot be performed at this time. An update is in progress for function %s", name).WithReason(ReasonUpdating)
}

// Delete removes the function with all its versions.
func (r *Registry) Delete(ctx context.Context, name string) error {
	for range attempts {
		e := r.entry(name)
		if e == nil {
			return notFound(name, "")
		}
		wctx, cancel := writing(ctx)
		err := r.o.Bucket.Delete(wctx, key(name), e.rev)
		cancel()
		if errs.Is(err, errs.Stale) {
			if err := r.refresh(ctx, name, e.rev); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		r.drop(name, e.rev)
		r.discard(ctx, e.doc.packages()...)
		return nil
	}
	return busy(name)
}

// Tag adds tags to the function, in place of those of the same keys.
func (r *Registry) Tag(ctx context.Context, name string, tags map[string]string) error {
	return r.retag(ctx, name, func(have map[string]string) { maps.Copy(have, tags) })
}

// Untag removes tags from the function. Keys that it has not are no error.
func (r *Registry) Untag(ctx context.Context, name string, keys []string) error {
	return r.retag(ctx, name, func(have map[string]string) {
		for _, k := range keys {
			delete(have, k)
		}
	})
}

func (r *Registry) retag(ctx context.Context, name string, edit func(map[string]string)) error {
	_, err := r.change(ctx, name, func(e *entry) (*document, error) {
		if e == nil {
			return nil, notFound(name, "")
		}
		d := e.doc.clone()
		if d.Tags == nil {
			d.Tags = map[string]string{}
		}
		edit(d.Tags)
		var vs Violations
		vs.tags(d.Tags)
		return d, vs.asError()
	})
	return err
}

// change replaces a function's document by what edit makes of it, again and
// again while another writer comes first. edit gets nil if there is none.
func (r *Registry) change(ctx context.Context, name string, edit func(*entry) (*document, error)) (*entry, error) {
	for range attempts {
		e := r.entry(name)
		d, err := edit(e)
		if err != nil {
			return nil, err
		}
		wctx, cancel := writing(ctx)
		rev, err := r.o.Bucket.Update(wctx, key(name), d.encode(), e.rev)
		cancel()
		if errs.Is(err, errs.Stale) {
			if err := r.refresh(ctx, name, e.rev); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		return r.keep(d, rev), nil
	}
	return nil, busy(name)
}

// writing returns the context of a write: it outlives a caller who goes away,
// so that the outcome is known.
func writing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
}

func busy(name string) error {
	return errs.Newf(errs.Unavailable, "function %s is being changed by too many callers at once", name).WithRetryAfter(time.Second)
}
