package bus

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/delivery"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

// plain is a format with little in it.
type plain struct{}

func (plain) Event(e Event) []byte {
	b, err := json.Marshal(map[string]any{"source": e.Source, "detail": json.RawMessage(e.Detail)})
	if err != nil {
		panic(err)
	}
	return b
}

func (plain) Tick(r *Rule, due time.Time) Event {
	return Event{Source: "timer", DetailType: "tick", Detail: []byte(`{}`), Time: due}
}

func (plain) Variables(r *Rule, _ Event, _ []byte) map[string]json.RawMessage {
	return map[string]json.RawMessage{"rule": json.RawMessage(`"` + r.Name + `"`)}
}

func (plain) DeadLetter(delivery.Parcel) map[string]string { return nil }

// inbox counts what queues get.
type inbox struct {
	mu  sync.Mutex
	got []string // guarded by mu: queue and body
	all chan struct{}

	lanes *spine.Lanes // of what is on its way
}

func (b *inbox) Send(_ context.Context, t event.Target, m event.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got = append(b.got, t.Name+" "+string(m.Body))
	b.all <- struct{}{}
	return nil
}

// open returns the buses in a directory and what the queues get.
func open(t *testing.T, dir string) (*Buses, *inbox, func()) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s, err := spine.Open(t.Context(), spine.Config{Dir: dir, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	lanes, err := s.Parcels(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := s.Bucket(t.Context(), spine.BusesBucket)
	if err != nil {
		t.Fatal(err)
	}
	in, senders := &inbox{all: make(chan struct{}, 1000), lanes: lanes}, event.Senders{}
	courier := delivery.NewCourier(lanes, senders, plain{}, log)
	b, err := Open(t.Context(), Options{Bucket: bucket, Courier: courier, Format: plain{}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	senders[event.Queue], senders[event.Bus] = in, b
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- courier.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		s.Close()
	})
	t.Cleanup(stop)
	return b, in, stop
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rule makes a rule that sends to targets.
func rule(t *testing.T, b *Buses, r Rule, targets ...event.Target) {
	t.Helper()
	_, err := b.PutRule(t.Context(), r)
	ok(t, err)
	var list []Target
	for _, to := range targets {
		list = append(list, Target{ID: to.Name, To: to})
	}
	ok(t, b.PutTargets(t.Context(), r.Bus, r.Name, list))
}

func queue(name string) event.Target { return event.Target{Kind: event.Queue, Name: name} }
func bus(name string) event.Target   { return event.Target{Kind: event.Bus, Name: name} }

func (b *inbox) await(t *testing.T, n int) []string {
	t.Helper()
	for range n {
		select {
		case <-b.all:
		case <-time.After(time.Minute):
			t.Fatal("a message does not come")
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(slices.Values(b.got))
}

func TestRulesAndWhatWasPutOutliveARestart(t *testing.T) {
	dir := t.TempDir()
	b, _, stop := open(t, dir)
	_, err := b.Create(t.Context(), Bus{Name: "shop"})
	ok(t, err)
	rule(t, b, Rule{Bus: "shop", Name: "r", Pattern: `{"source":["s"]}`}, queue("q"))
	stop()
	b, in, _ := open(t, dir)
	if _, err := b.Put(t.Context(), "shop", Event{Source: "s", DetailType: "t", Detail: []byte(`{"n":1}`), Time: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if got := in.await(t, 1); !slices.Equal(got, []string{`q {"detail":{"n":1},"source":"s"}`}) {
		t.Errorf("got %q", got)
	}
}

func TestRepeatedSendingIsOneEvent(t *testing.T) {
	b, in, _ := open(t, t.TempDir())
	rule(t, b, Rule{Bus: Default, Name: "r", Pattern: `{"source":["s"]}`}, queue("q"))
	for range 3 {
		ok(t, b.Send(t.Context(), bus(Default), event.Message{ID: "same", Source: "s", DetailType: "t", Body: []byte(`{}`)}))
	}
	ok(t, b.Send(t.Context(), bus(Default), event.Message{ID: "last", Source: "s", DetailType: "t", Body: []byte(`{"last":true}`)}))
	if got := in.await(t, 2); len(got) != 2 {
		t.Errorf("got %q, want two", got)
	}
}

func TestEventsPassFromBusToBusAndCirclesEnd(t *testing.T) {
	b, in, _ := open(t, t.TempDir())
	_, err := b.Create(t.Context(), Bus{Name: "other"})
	ok(t, err)
	all := `{"source":[{"exists":true}]}`
	rule(t, b, Rule{Bus: Default, Name: "there", Pattern: all}, bus("other"))
	rule(t, b, Rule{Bus: "other", Name: "back", Pattern: all}, bus(Default), queue("q"))
	_, err = b.Put(t.Context(), Default, Event{Source: "s", DetailType: "t", Detail: []byte(`{}`), Time: time.Now()})
	ok(t, err)
	in.await(t, 1)
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		waiting := in.lanes.Waiting()
		if len(waiting) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the event goes round still: %v", waiting)
		}
	}
	// An event that comes to a bus again within minutes is the same event.
	if got := in.await(t, 0); len(got) != 1 {
		t.Errorf("got %q, want one", got)
	}
}

func TestRuleWithATimerIsDueFromItsMaking(t *testing.T) {
	b, _, _ := open(t, t.TempDir())
	rule(t, b, Rule{Bus: Default, Name: "r", Schedule: "rate(5 minutes)"}, queue("q"))
	rule(t, b, Rule{Bus: Default, Name: "none", Schedule: "rate(5 minutes)"}) // no targets
	r, err := b.Rule(Default, "r")
	ok(t, err)
	at := func(d time.Duration) time.Time { return r.Since.Add(d) }
	if next := b.Next(r.Since); !next.Equal(at(5 * time.Minute)) {
		t.Errorf("the next is %s after the making, want 5 minutes", next.Sub(r.Since))
	}
	for _, tt := range []struct {
		after, until time.Duration
		want         time.Duration
	}{
		{0, 4 * time.Minute, 0}, {4 * time.Minute, 5 * time.Minute, 5 * time.Minute}, {5 * time.Minute, 9 * time.Minute, 0},
		{5 * time.Minute, 62 * time.Minute, time.Hour},
	} {
		got := b.Due(at(tt.after), at(tt.until))
		if tt.want == 0 {
			if len(got) != 0 {
				t.Errorf("from %s to %s: %+v, want nothing", tt.after, tt.until, got)
			}
			continue
		}
		again := b.Due(at(tt.after), at(tt.until))
		if len(got) != 1 || !got[0].Message.Time.Equal(at(tt.want)) || got[0].Message.ID != again[0].Message.ID {
			t.Errorf("from %s to %s: %+v, want one for %s", tt.after, tt.until, got, tt.want)
		}
	}
	ok(t, b.Enable(t.Context(), Default, "r", false))
	if got := b.Due(r.Since, at(time.Hour)); len(got) != 0 {
		t.Errorf("disabled, it sends %+v", got)
	}
}

func TestTargetsBodies(t *testing.T) {
	document := []byte(`{"id":"1","detail":{"s":"a \"b\"","n":5,"o":{"k":[1,2]},"l":[{"x":"y"}]}}`)
	vars := func() map[string]json.RawMessage { return map[string]json.RawMessage{"rule": json.RawMessage(`"r"`)} }
	paths := map[string]string{"s": "$.detail.s", "n": "$.detail.n", "o": "$.detail.o", "x": "$.detail.l[0].x", "none": "$.detail.none"}
	for name, tt := range map[string]struct {
		target Target
		want   string
	}{
		"as it is":            {Target{}, string(document)},
		"fixed":               {Target{Input: `[1]`}, `[1]`},
		"a part":              {Target{InputPath: "$.detail.o"}, `{"k":[1,2]}`},
		"an element":          {Target{InputPath: "$.detail.l[0]['x']"}, `"y"`},
		"a part that is not":  {Target{InputPath: "$.detail.no.such"}, `null`},
		"values":              {Target{Template: `{"a":<s>,"b":<n>,"c":<o>,"d":<none>}`, Paths: paths}, `{"a":"a \"b\"","b":5,"c":{"k":[1,2]},"d":null}`},
		"within text":         {Target{Template: `{"a":"<s>: <n>, <o>, <none>."}`, Paths: paths}, `{"a":"a \"b\": 5, {\"k\":[1,2]}, ."}`},
		"a text":              {Target{Template: `"<x> of <rule>"`, Paths: paths}, `"y of r"`},
		"a text with nothing": {Target{Template: `<x> of <rule>`, Paths: paths}, `"\"y\" of \"r\""`},
		"an unknown variable": {Target{Template: `"<what>"`, Paths: paths}, `"<what>"`},
	} {
		if got := string(tt.target.body(document, vars)); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func TestTargetsThatCannotBeUsedAreRefused(t *testing.T) {
	for name, target := range map[string]Target{
		"no id":          {},
		"two shapes":     {ID: "1", Input: "{}", InputPath: "$.detail"},
		"no JSON":        {ID: "1", Input: "{"},
		"no path":        {ID: "1", InputPath: "detail"},
		"a path with *":  {ID: "1", Template: "<a>", Paths: map[string]string{"a": "$.detail[*]"}},
		"an open path":   {ID: "1", InputPath: "$.detail["},
		"a path of dots": {ID: "1", InputPath: "$..detail"},
	} {
		if err := target.check(); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
}
