package function

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
)

// Bounds of AsyncSettings, and what holds where nothing is set.
const (
	MinEventAge = time.Minute
	MaxEventAge = 6 * time.Hour
	MaxRetries  = 2
)

// ReasonUnset is the reason of NotFound errors where the function is there and
// has no AsyncSettings for the qualifier.
const ReasonUnset = "Unset"

// AsyncSettings say what becomes of asynchronous calls of a version or alias.
type AsyncSettings struct {
	MaxAge    time.Duration `json:"maxAge,omitempty"`  // 0: MaxEventAge
	Retries   *int          `json:"retries,omitempty"` // after the function failed; nil: MaxRetries
	OnSuccess event.Target  `json:"onSuccess,omitzero"`
	OnFailure event.Target  `json:"onFailure,omitzero"`
	Modified  time.Time     `json:"modified"`
}

// EventAge returns how long a call is tried.
func (s AsyncSettings) EventAge() time.Duration {
	if s.MaxAge == 0 {
		return MaxEventAge
	}
	return s.MaxAge
}

// Again returns how often a call is run again after the function failed.
func (s AsyncSettings) Again() int {
	if s.Retries == nil {
		return MaxRetries
	}
	return *s.Retries
}

// named returns the key of what is set for a qualifier.
func named(qualifier string) string {
	if qualifier == "" {
		return Latest
	}
	return qualifier
}

// Async returns what is set for asynchronous calls of a version or alias; the
// zero AsyncSettings where nothing is. It fails with errs.NotFound if the
// function is missing.
func (r *Registry) Async(name, qualifier string) (AsyncSettings, error) {
	e := r.entry(name)
	if e == nil {
		return AsyncSettings{}, notFound(name, qualifier)
	}
	return e.doc.Async[named(qualifier)], nil
}

// ListAsync returns what is set for asynchronous calls of a function, by
// qualifier, or errs.NotFound. The map is shared.
func (r *Registry) ListAsync(name string) (map[string]AsyncSettings, error) {
	e := r.entry(name)
	if e == nil {
		return nil, notFound(name, "")
	}
	return e.doc.Async, nil
}

// SetAsync changes what is set for asynchronous calls of a version or alias to
// what edit makes of it; edit may be called more than once. It fails with edit's
// error, errs.NotFound, or errs.Invalid for a setting out of bounds.
func (r *Registry) SetAsync(ctx context.Context, name, qualifier string, edit func(s AsyncSettings, set bool) (AsyncSettings, error)) (AsyncSettings, error) {
	var next AsyncSettings
	err := r.changeAsync(ctx, name, qualifier, func(all map[string]AsyncSettings, key string) error {
		was, set := all[key]
		var err error
		if next, err = edit(was, set); err != nil {
			return err
		}
		next.Modified = now()
		all[key] = next
		return next.check(event.Target{Kind: event.Function, Name: name, Qualifier: qualifier})
	})
	return next, err
}

// UnsetAsync removes what is set for asynchronous calls of a version or alias. It
// fails with errs.NotFound, with ReasonUnset if nothing is.
func (r *Registry) UnsetAsync(ctx context.Context, name, qualifier string) error {
	return r.changeAsync(ctx, name, qualifier, func(all map[string]AsyncSettings, key string) error {
		if _, set := all[key]; !set {
			return errs.Newf(errs.NotFound, "nothing is set for asynchronous calls of %s:%s", name, key).WithReason(ReasonUnset)
		}
		delete(all, key)
		return nil
	})
}

func (r *Registry) changeAsync(ctx context.Context, name, qualifier string, edit func(all map[string]AsyncSettings, key string) error) error {
	if _, err := r.Get(name, qualifier); err != nil {
		return err
	}
	_, err := r.change(ctx, name, func(e *entry) (*document, error) {
		if e == nil {
			return nil, notFound(name, qualifier)
		}
		d := e.doc.clone()
		if d.Async = maps.Clone(d.Async); d.Async == nil {
			d.Async = map[string]AsyncSettings{}
		}
		return d, edit(d.Async, named(qualifier))
	})
	return err
}

// destinations are the kinds of target that take records of calls.
var destinations = []event.Kind{event.Function, event.Queue, event.Bucket, event.Bus}

// check returns errs.Invalid if a setting of the function's is out of bounds.
func (s AsyncSettings) check(function event.Target) error {
	if s.MaxAge != 0 && (s.MaxAge < MinEventAge || s.MaxAge > MaxEventAge) {
		return errs.Newf(errs.Invalid, "the longest age of an event is %s: it must be from %s to %s", s.MaxAge, MinEventAge, MaxEventAge)
	}
	if s.Retries != nil && (*s.Retries < 0 || *s.Retries > MaxRetries) {
		return errs.Newf(errs.Invalid, "a failed call can be run again 0 to %d times, not %d", MaxRetries, *s.Retries)
	}
	for _, t := range []event.Target{s.OnSuccess, s.OnFailure} {
		switch {
		case t == event.Target{}:
		case !slices.Contains(destinations, t.Kind) || t.Name == "":
			return errs.Newf(errs.Invalid, "%s can't take records of calls: name a function, a queue, a bucket or an event bus", t)
		case t.Kind == event.Function && t.Name == function.Name && named(t.Qualifier) == named(function.Qualifier):
			return errs.Newf(errs.Invalid, "%s can't be a destination of its own calls", t)
		}
	}
	return nil
}

// forget drops what was set for a version or alias of d, a clone.
func (d *document) forget(qualifier string) {
	d.Capacity.forget(qualifier)
	d.Async = maps.Clone(d.Async)
	delete(d.Async, qualifier)
}

// AllowsLoops reports whether a function may take part in an endless loop of
// events.
func (r *Registry) AllowsLoops(name string) bool {
	e := r.entry(name)
	return e != nil && e.doc.AllowLoops
}

// AllowLoops says whether a function may take part in an endless loop of events,
// or fails with errs.NotFound.
func (r *Registry) AllowLoops(ctx context.Context, name string, allow bool) error {
	_, err := r.change(ctx, name, func(e *entry) (*document, error) {
		if e == nil {
			return nil, notFound(name, "")
		}
		d := e.doc.clone()
		d.AllowLoops = allow
		return d, nil
	})
	return err
}
