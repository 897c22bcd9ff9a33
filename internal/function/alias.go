package function

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strconv"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Reasons of errors about aliases.
const (
	ReasonNoAlias     = "NoAlias"        // NotFound: the function has no such alias
	ReasonAliasExists = "AliasExists"    // Conflict
	ReasonLatestSplit = "LatestIsNoPart" // Invalid: the latest version shares an alias with no other
	ReasonSameSplit   = "SameVersion"    // Invalid: both of an alias's versions are one
)

// Alias is a name of a function's version, or of two that share its calls. What
// the Registry hands out is shared and must not be changed.
type Alias struct {
	Name        string  `json:"name"`
	Version     string  `json:"version"` // Latest or a published one
	Description string  `json:"description,omitempty"`
	Routing     Routing `json:"routing,omitzero"`
	Revision    string  `json:"revision"` // changes with each change of the alias
}

// Routing sends a share of an alias's calls to a second version. The zero
// Routing sends none.
type Routing struct {
	Version string  `json:"version,omitempty"` // a published one
	Weight  float64 `json:"weight,omitempty"`  // share of the calls, from 0 to 1
}

// AliasChange is what is to be changed of an alias. What is nil stays.
type AliasChange struct {
	Version     *string
	Description *string
	Routing     *Routing
	Revision    string // that the alias must have; "" for any
}

// route is what a qualifier stands for: a version, and for some aliases a
// second one.
type route struct {
	first  *Version
	second *Version // nil without routing
	weight float64  // share of second
}

// pick returns the version that a call runs whose draw was a number from 0 up
// to, but without, 1.
func (rt route) pick(draw float64) *Version {
	if rt.second != nil && draw < rt.weight {
		return rt.second
	}
	return rt.first
}

// connect resolves every qualifier, so that a call needs one look only.
func (d *document) connect() {
	d.routes = make(map[string]route, 2+len(d.Versions)+len(d.Aliases))
	d.routes[""] = route{first: d.Latest}
	d.routes[Latest] = route{first: d.Latest}
	for _, v := range d.Versions {
		d.routes[v.Version] = route{first: v}
	}
	for _, a := range d.Aliases {
		if to, ok := d.routes[a.Version]; ok { // else another writer has lost it
			d.routes[a.Name] = route{first: to.first, second: d.published(a.Routing.Version), weight: a.Routing.Weight}
		}
	}
}

// alias returns the alias of the name, or nil.
func (d *document) alias(name string) *Alias {
	if n, ok := d.findAlias(name); ok {
		return d.Aliases[n]
	}
	return nil
}

func (d *document) findAlias(name string) (int, bool) {
	return slices.BinarySearchFunc(d.Aliases, name, func(a *Alias, name string) int { return cmp.Compare(a.Name, name) })
}

// aliasesOf names the aliases that point at a version.
func (d *document) aliasesOf(version string) (names []string) {
	for _, a := range d.Aliases {
		if a.uses(version) {
			names = append(names, a.Name)
		}
	}
	return names
}

func (a *Alias) uses(version string) bool {
	return a.Version == version || a.Routing.Version == version
}

func noAlias(name, alias string) error {
	return errs.Newf(errs.NotFound, "function %s has no alias %s", name, alias).WithReason(ReasonNoAlias)
}

// Alias returns an alias of a function, or fails with errs.NotFound, with
// ReasonNoAlias if only the alias is missing.
func (r *Registry) Alias(name, alias string) (*Alias, error) {
	e := r.entry(name)
	if e == nil {
		return nil, notFound(name, "")
	}
	if a := e.doc.alias(alias); a != nil {
		return a, nil
	}
	return nil, noAlias(name, alias)
}

// Aliases returns up to most aliases of a function by name: those after the
// given one that point at the version, or at any for "". more says that the
// list goes on. It fails with errs.NotFound for the function.
func (r *Registry) Aliases(name, version, after string, most int) (page []*Alias, more bool, err error) {
	e := r.entry(name)
	if e == nil {
		return nil, false, notFound(name, "")
	}
	for _, a := range e.doc.Aliases {
		if a.Name <= after || version != "" && !a.uses(version) {
			continue
		}
		if len(page) == most {
			return page, true, nil
		}
		page = append(page, a)
	}
	return page, false, nil
}

// CreateAlias adds an alias; its Revision is set by the registry. It fails with
// errs.NotFound (the function, or a version), errs.Invalid or errs.Conflict
// (ReasonAliasExists).
func (r *Registry) CreateAlias(ctx context.Context, name string, a Alias) (*Alias, error) {
	return r.changeAlias(ctx, name, a.Name, func(d *document, at int, exists bool) error {
		if exists {
			return errs.Newf(errs.Conflict, "function %s has an alias %s already", name, a.Name).WithReason(ReasonAliasExists)
		}
		d.Aliases = slices.Insert(d.Aliases, at, &a)
		return nil
	})
}

// UpdateAlias changes an alias. It fails as CreateAlias does, or with errs.Stale
// if the alias's revision is another one.
func (r *Registry) UpdateAlias(ctx context.Context, name, alias string, c AliasChange) (*Alias, error) {
	return r.changeAlias(ctx, name, alias, func(d *document, at int, exists bool) error {
		if !exists {
			return noAlias(name, alias)
		}
		a := *d.Aliases[at]
		if c.Revision != "" && c.Revision != a.Revision {
			return errs.Newf(errs.Stale, "the alias's revision is no longer %s", c.Revision)
		}
		for _, s := range []struct{ to, from *string }{{&a.Version, c.Version}, {&a.Description, c.Description}} {
			if s.from != nil {
				*s.to = *s.from
			}
		}
		if c.Routing != nil {
			a.Routing = *c.Routing
		}
		d.Aliases[at] = &a
		return nil
	})
}

// DeleteAlias removes an alias with what was provisioned for it. An alias that
// does not exist is no error; it fails with errs.NotFound for the function.
func (r *Registry) DeleteAlias(ctx context.Context, name, alias string) error {
	_, err := r.change(ctx, name, func(e *entry) (*document, error) {
		if e == nil {
			return nil, notFound(name, "")
		}
		d := e.doc.clone()
		if at, ok := d.findAlias(alias); ok {
			d.Aliases = slices.Delete(d.Aliases, at, at+1)
		}
		d.forget(alias)
		return d, nil
	})
	return err
}

// changeAlias checks and stores what edit does to the alias, which is, or would
// be, at the given place of d.Aliases.
func (r *Registry) changeAlias(ctx context.Context, name, alias string, edit func(d *document, at int, exists bool) error) (*Alias, error) {
	e, err := r.change(ctx, name, func(e *entry) (*document, error) {
		if e == nil {
			return nil, notFound(name, "")
		}
		d := e.doc.clone()
		at, exists := d.findAlias(alias)
		if err := edit(d, at, exists); err != nil {
			return nil, err
		}
		d.Aliases[at].Revision = newRevision()
		return d, d.checkAlias(d.Aliases[at])
	})
	if err != nil {
		return nil, err
	}
	return e.doc.alias(alias), nil
}

// The longest name of an alias, and its form: it can't look like a version.
const (
	MaxAliasLength = 128
	AliasPattern   = `(?!^[0-9]+$)([a-zA-Z0-9-_]+)`
)

var allDigitsRE = regexp.MustCompile(`^[0-9]+$`)

// checkAlias reports the first rule that an alias of d breaks.
func (d *document) checkAlias(a *Alias) error {
	var vs Violations
	switch {
	case !nameRE.MatchString(a.Name) || allDigitsRE.MatchString(a.Name):
		vs.add(FieldAlias, Pattern, a.Name, AliasPattern)
	case len(a.Name) > MaxAliasLength:
		vs.add(FieldAlias, Longest, a.Name, strconv.Itoa(MaxAliasLength))
	}
	vs.description(a.Description)
	if w := a.Routing.Weight; !(w >= 0 && w <= 1) {
		vs.add(FieldWeight, AtMost, strconv.FormatFloat(w, 'g', -1, 64), "1")
	}
	if err := vs.asError(); err != nil {
		return err
	}
	if a.Version != Latest && d.published(a.Version) == nil {
		return notFound(d.Name, a.Version)
	}
	if a.Routing == (Routing{}) {
		return nil
	}
	switch {
	case a.Version == Latest || a.Routing.Version == Latest:
		return errs.Newf(errs.Invalid, "%s can't share an alias with another version: publish it", Latest).WithReason(ReasonLatestSplit)
	case a.Version == a.Routing.Version:
		return errs.Newf(errs.Invalid, "Invalid function version %s. Function version %s is already included in routing configuration.", a.Version, a.Version).WithReason(ReasonSameSplit)
	case d.published(a.Routing.Version) == nil:
		return notFound(d.Name, a.Routing.Version)
	}
	return nil
}
