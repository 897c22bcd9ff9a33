package schedule

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/mayfly-dev/mayfly/internal/delivery"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
)

// following returns when the schedule fires first after after, the zero time if
// never.
func (t *Schedule) following(after time.Time) time.Time {
	from := t.Created
	if after.Before(t.Modified) {
		after = t.Modified
	}
	if !t.Start.IsZero() {
		// A rate fires at its start, and then after each period.
		from = t.Start
		if after.Before(t.Start) {
			if t.expression.Rate() {
				return t.within(t.Start)
			}
			after = t.Start.Add(-time.Nanosecond)
		}
	}
	return t.within(t.expression.Next(after, from, t.zone))
}

// within returns due, or the zero time if that is after the schedule's end.
func (t *Schedule) within(due time.Time) time.Time {
	if !t.End.IsZero() && due.After(t.End) {
		return time.Time{}
	}
	return due
}

// plan sets when the schedule fires next; Schedules.mu is held.
func (t *Schedule) plan(after time.Time) {
	t.next, t.planned, t.told = time.Time{}, true, false
	if !t.Disabled {
		t.next = t.following(after)
	}
}

// due returns the latest time after after, and up to until, at which it fires.
func (t *Schedule) due(after, until time.Time) (due time.Time) {
	// After a long time only the end of it matters.
	for _, back := range []time.Duration{time.Minute, time.Hour} {
		if near := until.Add(-back); near.After(after) {
			if due := t.due(near, until); !due.IsZero() {
				return due
			}
		}
	}
	for n := t.following(after); !n.IsZero() && !n.After(until); n = t.following(n) {
		due = n
	}
	return due
}

// Next implements delivery.Timers.
func (s *Schedules) Next(after time.Time) (next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, group := range s.schedules {
		for _, t := range group {
			if !t.planned {
				t.plan(after)
			}
			if !t.next.IsZero() && (next.IsZero() || t.next.Before(next)) {
				next = t.next
			}
		}
	}
	return next
}

// Due implements delivery.Timers. A schedule that was due while the node was down
// fires once, for the latest time, unless that is longer ago than its target's
// events are tried. One that was stored so slowly that its time has come
// meanwhile fires too.
func (s *Schedules) Due(after, until time.Time) (parcels []delivery.Parcel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, group := range s.schedules {
		for _, t := range group {
			if t.Disabled || t.planned && (t.next.IsZero() || t.next.After(until)) {
				continue
			}
			since := after
			if t.planned {
				since = t.next.Add(-time.Nanosecond)
			}
			if oldest := until.Add(-t.maxAge()); since.Before(oldest) {
				since = oldest
			}
			t.told = true
			if due := t.due(since, until); !due.IsZero() {
				parcels = append(parcels, s.parcel(t, due))
			}
		}
	}
	return parcels
}

// Passed implements delivery.Timers.
func (s *Schedules) Passed(until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, group := range s.schedules {
		for _, t := range group {
			if t.told {
				t.plan(until)
			}
		}
	}
	select {
	case s.passed <- struct{}{}:
	default:
	}
}

const (
	removing    = 32 // completed schedules that are removed at a time: they share the disk's syncs
	removeAgain = time.Minute
)

// Run deletes schedules that are over, if they are to be, until ctx ends. Timers
// don't wait for it.
func (s *Schedules) Run(ctx context.Context) error {
	for {
		select {
		case <-s.passed:
		case <-time.After(removeAgain):
		case <-ctx.Done():
			return nil
		}
		s.sweep(ctx)
	}
}

// sweep deletes the schedules that are over.
func (s *Schedules) sweep(ctx context.Context) {
	var group errgroup.Group
	group.SetLimit(removing)
	for _, t := range s.over() {
		group.Go(func() error {
			if err := s.remove(ctx, t.Group, t.Name, t); err != nil && !errs.Is(err, errs.NotFound) && ctx.Err() == nil {
				s.o.Log.Warn("a completed schedule could not be deleted: it is tried again", "group", t.Group, "schedule", t.Name, "err", err)
			}
			return nil
		})
		if ctx.Err() != nil {
			break
		}
	}
	group.Wait() // they return no errors
}

// over returns the schedules that are to be deleted: they will not fire again.
func (s *Schedules) over() (list []*Schedule) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, group := range s.schedules {
		for _, t := range group {
			if t.Delete && !t.Disabled && t.planned && t.next.IsZero() {
				list = append(list, t)
			}
		}
	}
	return list
}

func (t *Schedule) maxAge() time.Duration {
	if t.Target.MaxAge > 0 {
		return t.Target.MaxAge
	}
	return delivery.DefaultMaxAge
}

// parcel is what a schedule sends for a due time.
func (s *Schedules) parcel(t *Schedule, due time.Time) delivery.Parcel {
	id := uuid.NewSHA1(uuid.NameSpaceOID, []byte(t.Group+" "+t.Name+" "+t.Created.Format(time.RFC3339Nano)+" "+due.UTC().Format(time.RFC3339Nano)))
	p := delivery.Parcel{
		Target: t.Target.To, DeadLetter: t.Target.DeadLetter, Accepted: time.Now(),
		Retries: delivery.DefaultRetries, MaxAge: t.maxAge(),
		Origin: delivery.Origin{Kind: "schedule", Group: t.Group, Name: t.Name},
		Message: event.Message{
			ID: id.String(), Time: due, Group: t.Target.Group, Source: t.Target.Source, DetailType: t.Target.DetailType,
			Body: s.o.Format.Body(t, due, id.String()),
		},
	}
	if t.Target.Retries != nil {
		p.Retries = *t.Target.Retries
	}
	if t.Window > 0 {
		// The same moment of the window however often it is worked out.
		p.NotBefore = due.Add(time.Duration(binary.BigEndian.Uint64(id[:8]) % uint64(t.Window)))
		p.Accepted = p.NotBefore
	}
	return p
}
