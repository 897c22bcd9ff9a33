package budget

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/delivery"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/meter"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

// A call in these tests costs a dollar.
var prices = meter.PriceSheet{MillionCalls: 1_000_000 * meter.Dollar}

// house is a spine with its ledger, and a courier that keeps what it gets.
type house struct {
	bucket *spine.Bucket
	ledger *meter.Ledger

	mu    sync.Mutex
	posts []delivery.Parcel // guarded by mu
	fails bool              // guarded by mu
}

func (h *house) Post(_ context.Context, _ string, parcels []delivery.Parcel) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fails {
		return errors.New("no")
	}
	h.posts = append(h.posts, parcels...)
	return nil
}

func (h *house) fail(fails bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fails = fails
}

func (h *house) told() []delivery.Parcel {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]delivery.Parcel(nil), h.posts...)
}

func tagsOf(function string) map[string]string {
	if function == "a" {
		return map[string]string{"team": "shop"}
	}
	return nil
}

func build(t *testing.T) *house {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s, err := spine.Open(t.Context(), spine.Config{Dir: t.TempDir(), Log: log})
	ok(t, err)
	t.Cleanup(s.Close)
	h := &house{}
	h.bucket, err = s.Bucket(t.Context(), spine.BudgetsBucket)
	ok(t, err)
	journal, err := s.Meter(t.Context())
	ok(t, err)
	h.ledger, err = meter.Open(t.Context(), meter.Config{Path: filepath.Join(t.TempDir(), "ledger"), Journal: journal, Log: log, Tags: tagsOf})
	ok(t, err)
	t.Cleanup(func() { h.ledger.Close() })
	return h
}

func (h *house) open(t *testing.T) *Budgets {
	t.Helper()
	b, err := Open(t.Context(), Options{
		Bucket: h.bucket, Ledger: h.ledger, Prices: prices, Courier: h, Tags: tagsOf, Log: slog.New(slog.DiscardHandler),
	})
	ok(t, err)
	return b
}

func (h *house) call(t *testing.T, id, function, alias string, at time.Time) {
	t.Helper()
	ok(t, h.ledger.Add(meter.Record{RequestID: id, Function: function, Version: "1", Alias: alias, Start: at, MemoryMB: 128, Outcome: meter.OK}))
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// stateOf returns how one budget stands.
func stateOf(t *testing.T, b *Budgets, name string) Status {
	t.Helper()
	all, err := b.List(t.Context())
	ok(t, err)
	for _, s := range all {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no budget %s among %v", name, all)
	return Status{}
}

func TestEachScopeThrottlesItsOwnCallsOnly(t *testing.T) {
	type call struct{ function, qualifier string }
	calls := []call{{"a", ""}, {"a", "live"}, {"b", ""}, {"b", "live"}}
	for name, c := range map[string]struct {
		scope   meter.Scope
		spent   string
		refused []call
	}{
		"all":      {meter.Scope{}, "3.00", calls},
		"function": {meter.Scope{Function: "a"}, "2.00", calls[:2]},
		"alias":    {meter.Scope{Function: "a", Alias: "live"}, "1.00", calls[1:2]},
		"tag":      {meter.Scope{Tag: "team", Value: "shop"}, "2.00", calls[:2]},
		"another":  {meter.Scope{Tag: "team", Value: "blog"}, "0.00", nil},
		"nothing":  {meter.Scope{Function: "c"}, "0.00", nil},
	} {
		t.Run(name, func(t *testing.T) {
			h := build(t)
			h.call(t, "1", "a", "", time.Now())
			h.call(t, "2", "a", "live", time.Now())
			h.call(t, "3", "b", "", time.Now())
			h.call(t, "4", "a", "", time.Now().AddDate(0, -2, 0)) // of another period
			b := h.open(t)
			ok(t, b.Set(t.Context(), Budget{Name: "it", Limit: meter.Dollar, Period: Month, Scope: c.scope, Throttle: true}))
			if got := stateOf(t, b, "it").Spent.String(); got != c.spent {
				t.Errorf("spent %s, want %s", got, c.spent)
			}
			for _, one := range calls {
				err := b.Allow(one.function, one.qualifier)
				want := false
				for _, r := range c.refused {
					want = want || r == one
				}
				if want != errs.Is(err, errs.Throttled) || !want && err != nil || want && !strings.Contains(err.Error(), "the budget it of $1.00 a month") {
					t.Errorf("%s:%s is refused with %v, want that: %v", one.function, one.qualifier, err, want)
				}
			}
		})
	}
}

func TestUsedUpBudgetIsToldOnceAndStaysSoOverARestart(t *testing.T) {
	h := build(t)
	b := h.open(t)
	w := Budget{Name: "b", Limit: 2 * meter.Dollar, Period: Month, Throttle: true, Notify: event.Target{Kind: event.Queue, Name: "q"}}
	ok(t, b.Set(t.Context(), w))
	now := time.Now()
	h.call(t, "1", "a", "", now)
	if s := stateOf(t, b, "b"); s.State != Within || s.Spent != meter.Dollar || len(h.told()) != 0 {
		t.Fatalf("below the limit: %+v, told %v", s, h.told())
	}
	h.fail(true)
	h.call(t, "2", "a", "", now)
	if s := stateOf(t, b, "b"); s.State != Throttling {
		t.Fatalf("at the limit: %+v", s)
	}
	if b.Allow("a", "") == nil {
		t.Error("a call is allowed while nobody can be told")
	}
	h.fail(false)
	for range 3 {
		stateOf(t, b, "b")
	}
	b = h.open(t)
	if s := stateOf(t, b, "b"); s.State != Throttling || b.Allow("a", "") == nil {
		t.Errorf("after a restart: %+v", s)
	}
	ok(t, b.Set(t.Context(), w)) // the same again is nothing new
	told := h.told()
	if len(told) != 1 || told[0].Target != w.Notify {
		t.Fatalf("told %v, want once", told)
	}
	var n notice
	ok(t, json.Unmarshal(told[0].Message.Body, &n))
	if n.Budget != "b" || n.Spent != 2*meter.Dollar || n.State != Throttling {
		t.Errorf("told %+v", n)
	}

	w.Limit = 3 * meter.Dollar
	ok(t, b.Set(t.Context(), w))
	ok(t, b.Allow("a", "")) // at once
	h.call(t, "3", "a", "", now)
	if s := stateOf(t, b, "b"); s.State != Throttling || len(h.told()) != 2 {
		t.Errorf("over the new limit: %+v, told %d times", s, len(h.told()))
	}
	ok(t, b.Remove(t.Context(), "b"))
	ok(t, b.Allow("a", ""))
	if err := b.Remove(t.Context(), "b"); !errs.Is(err, errs.NotFound) {
		t.Errorf("removed twice: %v", err)
	}
	if all, err := h.open(t).List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("after the removal: %v, %v", all, err)
	}
}

func TestRunSeesWhatCallsCost(t *testing.T) {
	h := build(t)
	b := h.open(t)
	ok(t, b.Set(t.Context(), Budget{Name: "m", Limit: meter.Dollar, Period: Month, Throttle: true}))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	h.call(t, "1", "a", "", time.Now())
	b.Wake()
	for deadline := time.Now().Add(time.Minute); b.Allow("a", "") == nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("calls go on over the budget")
		}
	}
	stop()
	ok(t, <-ended)
}

func TestThrottleEndsWithItsPeriod(t *testing.T) {
	b := &Budgets{}
	b.over.Store(&[]end{{Budget{Name: "x", Period: Day, Throttle: true}, time.Now().Add(-time.Nanosecond)}})
	ok(t, b.Allow("a", ""))
}

func TestPeriodsAreThoseOfUTC(t *testing.T) {
	at := time.Date(2027, 1, 1, 1, 30, 0, 0, time.FixedZone("", 2*3600)) // 23:30 of the year before
	for p, want := range map[Period]string{Day: "2026-12-31 2027-01-01", Month: "2026-12-01 2027-01-01"} {
		start, end := p.bounds(at)
		if got := start.Format(time.DateOnly) + " " + end.Format(time.DateOnly); got != want {
			t.Errorf("the %s of %s is %s, want %s", p, at, got, want)
		}
	}
}

func TestWhatIsNoBudgetIsRefused(t *testing.T) {
	b := &Budgets{}
	for name, w := range map[string]Budget{
		"name":   {Name: "a b", Limit: 1, Period: Day},
		"limit":  {Name: "a", Period: Day},
		"period": {Name: "a", Limit: 1, Period: "week"},
		"alias":  {Name: "a", Limit: 1, Period: Day, Scope: meter.Scope{Alias: "live"}},
		"value":  {Name: "a", Limit: 1, Period: Day, Scope: meter.Scope{Value: "v"}},
		"tells whom it throttles": {Name: "a", Limit: 1, Period: Day, Scope: meter.Scope{Function: "f"}, Throttle: true,
			Notify: event.Target{Kind: event.Function, Name: "f"}},
	} {
		if err := b.Set(t.Context(), w); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
}

func TestTargetsAreReadAsTheyAreWritten(t *testing.T) {
	for s, want := range map[string]event.Target{
		"function:f":               {Kind: event.Function, Name: "f"},
		"function:f:live":          {Kind: event.Function, Name: "f", Qualifier: "live"},
		"queue:q.fifo":             {Kind: event.Queue, Name: "q.fifo"},
		"bus:default":              {Kind: event.Bus, Name: "default"},
		"https://example.com/a?b=": {Kind: event.API, Name: "https://example.com/a?b="},
	} {
		if got, err := ParseTarget(s); err != nil || got != want || FormatTarget(got) != s {
			t.Errorf("%s is %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "f", "queue:", "function::live", "bucket:b", "ftp://x/y", "https://"} {
		if got, err := ParseTarget(s); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q is %+v, %v; want invalid", s, got, err)
		}
	}
}
