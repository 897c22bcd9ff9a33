// Package bucket turns changes of stored objects into events: it keeps what each
// bucket's owner wants to be told, and delivers it durably.
package bucket

import (
	"strings"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
)

// Event says what happened to an object.
type Event string

// The events.
const (
	Put       Event = "created:put"       // an object was stored by one request
	Post      Event = "created:post"      // by a form
	Copy      Event = "created:copy"      // from another object
	Completed Event = "created:completed" // from parts
	Deleted   Event = "removed:delete"    // an object, or one version of it, is gone
	Marked    Event = "removed:marker"    // hidden behind a delete marker
)

// Classes of events, for rules.
const (
	AnyCreated Event = "created:*"
	AnyRemoved Event = "removed:*"
)

// Known reports whether e is one of the events or classes.
func (e Event) Known() bool {
	switch e {
	case Put, Post, Copy, Completed, Deleted, Marked, AnyCreated, AnyRemoved:
		return true
	}
	return false
}

// meets reports whether there is an event that both e and o stand for.
func (e Event) meets(o Event) bool {
	if e == o {
		return true
	}
	class, all := strings.CutSuffix(string(e), "*")
	other, wide := strings.CutSuffix(string(o), "*")
	return all && strings.HasPrefix(string(o), class) || wide && strings.HasPrefix(string(e), other)
}

// Rule says that a target wants to be told of some events in a bucket.
type Rule struct {
	ID     string       `json:"id"` // unique within the bucket
	Events []Event      `json:"events"`
	Prefix string       `json:"prefix,omitempty"` // of keys
	Suffix string       `json:"suffix,omitempty"`
	Target event.Target `json:"target"`
}

// matches reports whether the rule wants to be told of e at key.
func (r *Rule) matches(e Event, key string) bool {
	return r.wants(e) && strings.HasPrefix(key, r.Prefix) && strings.HasSuffix(key, r.Suffix)
}

func (r *Rule) wants(e Event) bool {
	for _, want := range r.Events {
		if want.meets(e) {
			return true
		}
	}
	return false
}

// overlaps reports whether a change could match both rules. Those for a bus are
// apart: a bus has filters of its own.
func (r *Rule) overlaps(o *Rule) bool {
	if r.Target.Kind == event.Bus || o.Target.Kind == event.Bus {
		return r.Target == o.Target
	}
	shared := false
	for _, e := range o.Events {
		shared = shared || r.wants(e)
	}
	return shared && either(strings.HasPrefix, r.Prefix, o.Prefix) && either(strings.HasSuffix, r.Suffix, o.Suffix)
}

func either(has func(s, part string) bool, a, b string) bool { return has(a, b) || has(b, a) }

// Reasons of errors of Check.
const (
	ReasonOverlap = "overlap"
	ReasonEvent   = "event"
	ReasonID      = "id"
)

// maxRules bounds the rules of a bucket, maxKey the parts of a filter in bytes.
const (
	maxRules = 100
	maxKey   = 1024
)

// Check returns an error of kind Invalid if the rules can't be those of one bucket.
func Check(rules []Rule) error {
	if len(rules) > maxRules {
		return errs.Newf(errs.Invalid, "a bucket has at most %d rules, these are %d", maxRules, len(rules))
	}
	for i := range rules {
		r := &rules[i]
		if r.ID == "" || len(r.ID) > 255 {
			return errs.Newf(errs.Invalid, "a rule's id must have 1 to 255 characters").WithReason(ReasonID)
		}
		if len(r.Events) == 0 {
			return errs.Newf(errs.Invalid, "the rule %q names no event", r.ID).WithReason(ReasonEvent)
		}
		for _, e := range r.Events {
			if !e.Known() {
				return errs.Newf(errs.Invalid, "the event %q of rule %q is not known", e, r.ID).WithReason(ReasonEvent)
			}
		}
		if len(r.Prefix) > maxKey || len(r.Suffix) > maxKey {
			return errs.Newf(errs.Invalid, "the filter of rule %q is longer than a key can be", r.ID)
		}
		for j := range rules[:i] {
			switch o := &rules[j]; {
			case o.ID == r.ID:
				return errs.Newf(errs.Invalid, "two rules have the id %q", r.ID).WithReason(ReasonID)
			case o.overlaps(r):
				return errs.Newf(errs.Invalid, "the rules %q and %q overlap: an event could match both", o.ID, r.ID).WithReason(ReasonOverlap)
			}
		}
	}
	return nil
}
