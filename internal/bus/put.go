package bus

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/mayfly-dev/mayfly/internal/delivery"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/event/pattern"
)

// maxPasses is how often an event may pass through one bus: rules that send to
// buses can make a circle.
const maxPasses = 16

// Put puts an event on a bus. When it returns nil, the event is on disk for each
// target of each enabled rule that matches it. It fails with errs.NotFound for the
// bus, errs.Invalid for an event that is not JSON, or errs.Unavailable. The event
// is given an id if it has none.
func (b *Buses) Put(ctx context.Context, bus string, e Event) (id string, err error) {
	if _, err := b.Get(bus); err != nil {
		return "", err
	}
	if e.ID == "" {
		e.ID = uuid.NewString()
	}
	if e.Lineage.Counts[key(bus)] >= maxPasses {
		b.o.Log.Warn("an event is dropped: it goes round in a circle of event buses", "bus", bus, "source", e.Source, "id", e.ID)
		return e.ID, nil
	}
	document := b.o.Format.Event(e)
	d, err := pattern.Read(document)
	if err != nil {
		return "", err
	}
	e.Lineage = e.Lineage.With(key(bus))
	var parcels []delivery.Parcel
	for _, r := range b.matching(bus, d) {
		parcels = append(parcels, b.parcels(r, e, document)...)
	}
	if len(parcels) == 0 {
		return e.ID, nil
	}
	return e.ID, b.o.Courier.Post(ctx, bus+" "+e.ID, parcels)
}

// key is what a bus is called in lineages, beside functions.
func key(bus string) string { return "bus." + bus }

// matching returns the enabled rules whose pattern the event fits.
func (b *Buses) matching(bus string, d pattern.Document) (list []*Rule) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, r := range b.rules[bus] {
		if !r.Disabled && r.pattern != nil && r.pattern.MatchDocument(d) {
			list = append(list, r)
		}
	}
	return list
}

// parcels are what a rule sends of an event.
func (b *Buses) parcels(r *Rule, e Event, document []byte) (list []delivery.Parcel) {
	for _, t := range r.Targets {
		p := delivery.Parcel{
			Target: t.To, DeadLetter: t.DeadLetter, Accepted: time.Now(),
			Retries: delivery.DefaultRetries, MaxAge: delivery.DefaultMaxAge,
			Origin: delivery.Origin{Kind: "rule", Group: r.Bus, Name: r.Name},
			Message: event.Message{
				ID:   uuid.NewSHA1(uuid.NameSpaceOID, []byte(e.ID+" "+r.Bus+" "+r.Name+" "+t.ID)).String(),
				Time: e.Time, TraceID: e.TraceID, Lineage: e.Lineage, Group: t.Group,
				Source: e.Source, DetailType: e.DetailType,
			},
		}
		if t.Retries != nil {
			p.Retries = *t.Retries
		}
		if t.MaxAge > 0 {
			p.MaxAge = t.MaxAge
		}
		if t.To.Kind == event.Bus { // which makes a document of its own
			p.Message.ID, p.Message.Body = e.ID, e.Detail
			p.Message.Attributes = resources(e.Resources)
		} else {
			p.Message.Body = t.body(document, func() map[string]json.RawMessage { return b.o.Format.Variables(r, e, document) })
		}
		list = append(list, p)
	}
	return list
}

// resourcesAttribute is the attribute of a message for a bus that holds the
// event's resources, a JSON list.
const resourcesAttribute = "resources"

func resources(list []string) map[string]string {
	if len(list) == 0 {
		return nil
	}
	b, err := json.Marshal(list)
	if err != nil {
		panic("bus: strings always marshal: " + err.Error())
	}
	return map[string]string{resourcesAttribute: string(b)}
}

// Send implements event.Sender for buses: the message's body is the event's detail.
func (b *Buses) Send(ctx context.Context, t event.Target, m event.Message) error {
	e := Event{
		ID: m.ID, Source: m.Source, DetailType: m.DetailType, Detail: m.Body, Time: m.Time, TraceID: m.TraceID, Lineage: m.Lineage,
	}
	if list := m.Attributes[resourcesAttribute]; list != "" {
		if err := json.Unmarshal([]byte(list), &e.Resources); err != nil {
			return errs.Newf(errs.Invalid, "the event's resources are no list: %w", err)
		}
	}
	if !json.Valid(e.Detail) {
		return errs.Newf(errs.Invalid, "the event's detail is not JSON")
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	_, err := b.Put(ctx, t.Name, e)
	return err
}

// Next implements delivery.Timers.
func (b *Buses) Next(after time.Time) (next time.Time) {
	for _, r := range b.timed() {
		if t := r.timer.Next(latest(after, r.Since), r.Since, time.UTC); !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	return next
}

// Due implements delivery.Timers. What was missed for longer than events are
// tried does not fire any more.
func (b *Buses) Due(after, until time.Time) (parcels []delivery.Parcel) {
	after = latest(after, until.Add(-delivery.DefaultMaxAge))
	for _, r := range b.timed() {
		due := r.due(latest(after, r.Since), until)
		if due.IsZero() {
			continue
		}
		e := b.o.Format.Tick(r, due)
		e.ID = uuid.NewSHA1(uuid.NameSpaceOID, []byte(r.Bus+" "+r.Name+" "+due.UTC().Format(time.RFC3339Nano))).String()
		parcels = append(parcels, b.parcels(r, e, b.o.Format.Event(e))...)
	}
	return parcels
}

// due returns the latest time after after, and up to until, at which the timer fires.
func (r *Rule) due(after, until time.Time) (due time.Time) {
	// After a long time only the end of it matters.
	for _, back := range []time.Duration{time.Minute, time.Hour} {
		if near := until.Add(-back); near.After(after) {
			if due := r.due(near, until); !due.IsZero() {
				return due
			}
		}
	}
	for t := r.timer.Next(after, r.Since, time.UTC); !t.IsZero() && !t.After(until); t = r.timer.Next(t, r.Since, time.UTC) {
		due = t
	}
	return due
}

// Passed implements delivery.Timers.
func (b *Buses) Passed(time.Time) {}

// timed returns the enabled rules with timers and targets.
func (b *Buses) timed() (list []*Rule) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, r := range b.rules[Default] {
		if r.timer != nil && !r.Disabled && len(r.Targets) > 0 {
			list = append(list, r)
		}
	}
	return list
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
