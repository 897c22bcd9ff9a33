package function

import (
	"context"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Reasons of errors about capacity.
const (
	ReasonUnpublished        = "Unpublished"        // Invalid: the latest version can't be provisioned
	ReasonNotProvisioned     = "NotProvisioned"     // NotFound: nothing is provisioned for the version or alias
	ReasonProvisionedVersion = "ProvisionedVersion" // Conflict: the alias's version is provisioned itself
	ReasonProvisionedAlias   = "ProvisionedAlias"   // Conflict: an alias of the version is provisioned
	ReasonOverReserved       = "OverReserved"       // Invalid: more provisioned than reserved
	ReasonUnderProvisioned   = "UnderProvisioned"   // Invalid: less reserved than provisioned; Message is the number provisioned
	ReasonUnclaimed          = "Unclaimed"          // Invalid: too little is left for all other functions; Message is the least
)

// Capacity is what an owner sets apart for a function.
type Capacity struct {
	// Reserved is how many calls of the function may run at one time; they have
	// their places even when others take all they can get. 0 stops the
	// function, nil reserves nothing.
	Reserved    *int                   `json:"reserved,omitempty"`
	Provisioned map[string]Provisioned `json:"provisioned,omitempty"` // by published version or alias
	Scaling     map[string]Scaling     `json:"scaling,omitempty"`     // by published version
}

// Provisioned is how many instances are kept ready for calls.
type Provisioned struct {
	Instances int       `json:"instances"`
	Modified  time.Time `json:"modified"`
}

// Scaling bounds how many instances a version has.
type Scaling struct {
	Min *int `json:"min,omitempty"` // nil and 0: none when there are no calls
	Max *int `json:"max,omitempty"` // nil: as many as fit
}

// MaxInstances is the most that a Scaling's bounds can be.
const MaxInstances = 15000

func (c Capacity) clone() Capacity {
	c.Provisioned, c.Scaling = maps.Clone(c.Provisioned), maps.Clone(c.Scaling)
	return c
}

// forget drops what was set for a version or alias.
func (c *Capacity) forget(qualifier string) {
	delete(c.Provisioned, qualifier)
	delete(c.Scaling, qualifier)
}

// provisioned is how many instances are provisioned for all versions together.
func (c *Capacity) provisioned() (sum int) {
	for _, p := range c.Provisioned {
		sum += p.Instances
	}
	return sum
}

// claim is how many calls have places of their own.
func (c *Capacity) claim() int {
	if c.Reserved != nil {
		return *c.Reserved
	}
	return c.provisioned()
}

// keepUnclaimed is how many of all the calls that may run at one time must stay
// free of claims: a tenth, and no more than the field's usual 100.
func keepUnclaimed(concurrency int) int { return min(100, concurrency/10) }

// Shares says how the calls of a function are limited: own of them have places
// of their own. Further calls, unless there may be none, share the rest with
// all other functions. It does not allocate.
func (r *Registry) Shares(name string) (own int, only bool, rest int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if e := r.entries[name]; e != nil {
		own, only = e.doc.claimed, e.doc.Capacity.Reserved != nil
	}
	return own, only, r.unclaimed()
}

// Unclaimed returns how many calls of functions without a place of their own
// may run at one time.
func (r *Registry) Unclaimed() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.unclaimed()
}

// unclaimed needs mu. The operator may have lowered the limit since it was claimed.
func (r *Registry) unclaimed() int {
	all := r.o.Limits.Concurrency
	return max(all-r.claimed, keepUnclaimed(all))
}

// Reserved returns what is reserved for a function, nil for nothing, or fails
// with errs.NotFound.
func (r *Registry) Reserved(name string) (*int, error) {
	e := r.entry(name)
	if e == nil {
		return nil, notFound(name, "")
	}
	return e.doc.Capacity.Reserved, nil
}

// Reserve sets what is reserved for a function; nil ends that. It fails with
// errs.NotFound or errs.Invalid (ReasonUnclaimed, ReasonUnderProvisioned).
func (r *Registry) Reserve(ctx context.Context, name string, calls *int) error {
	return r.changeCapacity(ctx, name, func(d *document) error {
		if calls != nil && *calls < 0 {
			return outOfRange(FieldReserved, AtLeast, *calls, 0)
		}
		if has := d.Capacity.provisioned(); calls != nil && *calls < has {
			return errs.Newf(errs.Invalid, "%d", has).WithReason(ReasonUnderProvisioned)
		}
		d.Capacity.Reserved = calls
		return nil
	})
}

// Provision sets how many instances are kept ready for a published version or
// an alias; 0 ends that. It fails with errs.NotFound (ReasonNoAlias for an
// alias), errs.Invalid (ReasonUnpublished, ReasonOverReserved, ReasonUnclaimed),
// or errs.Conflict when a version would be provisioned both by itself and by an
// alias.
func (r *Registry) Provision(ctx context.Context, name, qualifier string, instances int) error {
	return r.changeCapacity(ctx, name, func(d *document) error {
		if instances == 0 {
			delete(d.Capacity.Provisioned, qualifier)
			return nil
		}
		if instances < 0 {
			return outOfRange(FieldProvisioned, AtLeast, instances, 1)
		}
		if err := d.provisionable(qualifier); err != nil {
			return err
		}
		if d.Capacity.Provisioned == nil {
			d.Capacity.Provisioned = map[string]Provisioned{}
		}
		d.Capacity.Provisioned[qualifier] = Provisioned{Instances: instances, Modified: now()}
		if most := d.Capacity.Reserved; most != nil && d.Capacity.provisioned() > *most {
			return errs.Newf(errs.Invalid, "%d instances can't be provisioned: %d calls are reserved for the function", d.Capacity.provisioned(), *most).WithReason(ReasonOverReserved)
		}
		return nil
	})
}

// provisionable reports why instances can't be provisioned for a qualifier.
func (d *document) provisionable(qualifier string) error {
	a := d.alias(qualifier)
	switch {
	case qualifier == Latest, a != nil && a.Version == Latest:
		return errs.Newf(errs.Invalid, "%s can't be provisioned: publish a version", Latest).WithReason(ReasonUnpublished)
	case a != nil:
		for _, version := range []string{a.Version, a.Routing.Version} {
			if _, has := d.Capacity.Provisioned[version]; has {
				return errs.Newf(errs.Conflict, "version %s of alias %s is provisioned itself", version, qualifier).WithReason(ReasonProvisionedVersion)
			}
		}
		return nil
	case allDigitsRE.MatchString(qualifier):
		if d.published(qualifier) == nil {
			return notFound(d.Name, qualifier)
		}
		for _, alias := range d.aliasesOf(qualifier) {
			if _, has := d.Capacity.Provisioned[alias]; has {
				return errs.Newf(errs.Conflict, "version %s is provisioned by its alias %s", qualifier, alias).WithReason(ReasonProvisionedAlias)
			}
		}
		return nil
	}
	return noAlias(d.Name, qualifier)
}

// Scale bounds the instances of a published version; the zero Scaling ends that.
// It fails with errs.NotFound or errs.Invalid.
func (r *Registry) Scale(ctx context.Context, name, version string, s Scaling) error {
	return r.changeCapacity(ctx, name, func(d *document) error {
		if d.published(version) == nil {
			return notFound(name, version)
		}
		if s == (Scaling{}) {
			delete(d.Capacity.Scaling, version)
			return nil
		}
		if err := s.check(); err != nil {
			return err
		}
		if d.Capacity.Scaling == nil {
			d.Capacity.Scaling = map[string]Scaling{}
		}
		d.Capacity.Scaling[version] = s
		return nil
	})
}

func (s Scaling) check() error {
	for _, bound := range []struct {
		field Field
		n     *int
	}{{FieldMinInstances, s.Min}, {FieldMaxInstances, s.Max}} {
		switch {
		case bound.n == nil:
		case *bound.n < 0:
			return outOfRange(bound.field, AtLeast, *bound.n, 0)
		case *bound.n > MaxInstances:
			return outOfRange(bound.field, AtMost, *bound.n, MaxInstances)
		}
	}
	if s.Min != nil && s.Max != nil && *s.Min > *s.Max {
		return errs.Newf(errs.Invalid, "the least number of instances, %d, is more than the most, %d", *s.Min, *s.Max)
	}
	return nil
}

// Scaling returns the bounds of a published version, or fails with errs.NotFound.
func (r *Registry) Scaling(name, version string) (Scaling, error) {
	e := r.entry(name)
	if e == nil || e.doc.published(version) == nil {
		return Scaling{}, notFound(name, version)
	}
	return e.doc.Capacity.Scaling[version], nil
}

func outOfRange(f Field, r Rule, value, limit int) error {
	var vs Violations
	vs.add(f, r, strconv.Itoa(value), strconv.Itoa(limit))
	return vs.asError()
}

// changeCapacity changes what is set apart for a function, one change at a time:
// together they must leave enough for all others.
func (r *Registry) changeCapacity(ctx context.Context, name string, edit func(*document) error) error {
	r.claiming.Lock()
	defer r.claiming.Unlock()
	_, err := r.change(ctx, name, func(e *entry) (*document, error) {
		if e == nil {
			return nil, notFound(name, "")
		}
		d := e.doc.clone()
		if err := edit(d); err != nil {
			return nil, err
		}
		more := d.Capacity.claim() - e.doc.claimed
		r.mu.RLock()
		left := r.o.Limits.Concurrency - r.claimed - more
		r.mu.RUnlock()
		if least := keepUnclaimed(r.o.Limits.Concurrency); more > 0 && left < least {
			return nil, errs.Newf(errs.Invalid, "%d", least).WithReason(ReasonUnclaimed)
		}
		return d, nil
	})
	return err
}

// Demand is how many instances of a version are wanted whether or not there are
// calls.
type Demand struct {
	Version *Version
	Ready   int // provisioned
	Scaling
}

// Demands returns what all Active versions want, by fingerprint.
func (r *Registry) Demands() map[string]Demand {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := map[string]Demand{}
	for _, e := range r.entries {
		d := e.doc
		for qualifier := range d.Capacity.Provisioned {
			for _, part := range d.parts(qualifier) {
				sum := all[part.Version.Fingerprint()]
				sum.Version, sum.Ready = part.Version, sum.Ready+part.Ready
				all[part.Version.Fingerprint()] = sum
			}
		}
		for number, s := range d.Capacity.Scaling {
			v := d.published(number)
			one := all[v.Fingerprint()]
			one.Version, one.Scaling = v, s
			all[v.Fingerprint()] = one
		}
	}
	maps.DeleteFunc(all, func(_ string, d Demand) bool { return d.Version.State != Active })
	return all
}

// parts says how what is provisioned for a version or alias is spread over
// versions: as the alias's calls are.
func (d *document) parts(qualifier string) []Demand {
	n, rt := d.Capacity.Provisioned[qualifier].Instances, d.routes[qualifier]
	if rt.second == nil {
		return []Demand{{Version: rt.first, Ready: n}}
	}
	share := int(math.Round(float64(n) * rt.weight))
	return []Demand{{Version: rt.first, Ready: n - share}, {Version: rt.second, Ready: share}}
}

// Provisioning is what is provisioned for a version or alias.
type Provisioning struct {
	Qualifier string
	Provisioned
	Parts []Demand // by version; all that is set of them is Ready
}

// Provisionings returns all that is provisioned for a function, by qualifier, or
// fails with errs.NotFound.
func (r *Registry) Provisionings(name string) ([]Provisioning, error) {
	e := r.entry(name)
	if e == nil {
		return nil, notFound(name, "")
	}
	var list []Provisioning
	for _, q := range slices.Sorted(maps.Keys(e.doc.Capacity.Provisioned)) {
		list = append(list, Provisioning{Qualifier: q, Provisioned: e.doc.Capacity.Provisioned[q], Parts: e.doc.parts(q)})
	}
	return list, nil
}

// Provisioning returns what is provisioned for a version or alias. It fails with
// errs.NotFound, with ReasonNotProvisioned if only that is missing.
func (r *Registry) Provisioning(name, qualifier string) (Provisioning, error) {
	list, err := r.Provisionings(name)
	if err != nil {
		return Provisioning{}, err
	}
	for _, p := range list {
		if p.Qualifier == qualifier {
			return p, nil
		}
	}
	if d := r.entry(name).doc; d.published(qualifier) == nil && d.alias(qualifier) == nil {
		if allDigitsRE.MatchString(qualifier) || qualifier == Latest {
			return Provisioning{}, notFound(name, qualifier)
		}
		return Provisioning{}, noAlias(name, qualifier)
	}
	return Provisioning{}, errs.Newf(errs.NotFound, "nothing is provisioned for %s:%s", name, qualifier).WithReason(ReasonNotProvisioned)
}
