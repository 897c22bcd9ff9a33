package budget

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mayfly-dev/mayfly/internal/delivery"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/meter"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

const (
	lookEvery = 10 * time.Second // also when nothing is told: provisioned concurrency costs without calls
	restAtMin = time.Second      // between two looks at the ledger
	restTimes = 10               // and so many times what the last one took
	most      = 100              // budgets
)

// Reason is that of Throttled errors.
const Reason = "BudgetExceeded"

// Ledger says what was spent.
type Ledger interface {
	Spent(ctx context.Context, since time.Time, scopes []meter.Scope, p meter.PriceSheet) ([]meter.Money, error)
}

// Courier delivers messages durably.
type Courier interface {
	Post(ctx context.Context, id string, parcels []delivery.Parcel) error
}

// Options is what Budgets are made of. All fields are required.
type Options struct {
	Bucket  *spine.Bucket // where they are kept
	Ledger  Ledger
	Prices  meter.PriceSheet
	Courier Courier
	Tags    func(function string) map[string]string
	Log     *slog.Logger
}

// Budgets are a node's budgets. They are safe for concurrent use.
type Budgets struct {
	o    Options
	wake chan struct{}         // holds a token when something may have been spent
	over atomic.Pointer[[]end] // what is throttled

	mu  sync.Mutex
	all map[string]*entry // guarded by mu
}

// entry is a budget as it is kept.
type entry struct {
	Budget
	Told time.Time `json:"told,omitzero"` // start of the period in which its end was told
}

// end is a budget that is used up, until its period ends.
type end struct {
	Budget
	until time.Time
}

// Open reads the budgets. They are watched while Run does.
func Open(ctx context.Context, o Options) (*Budgets, error) {
	b := &Budgets{o: o, wake: make(chan struct{}, 1), all: map[string]*entry{}}
	err := o.Bucket.List(ctx, "", func(key string, value []byte, _ uint64) error {
		e := &entry{}
		if err := json.Unmarshal(value, e); err != nil {
			return fmt.Errorf("read the budget %s: %w", key, err)
		}
		b.all[key] = e
		return nil
	})
	if err != nil {
		return nil, err
	}
	b.Wake() // what was used up before the node's start still is
	return b, nil
}

// Wake tells that something may have been spent. It does not block.
func (b *Budgets) Wake() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Allow returns why a call of a function, by the alias qualifier if that is one,
// is refused: an error of kind Throttled that names the budget.
func (b *Budgets) Allow(function, qualifier string) error {
	over := b.over.Load()
	if over == nil || len(*over) == 0 {
		return nil
	}
	now := time.Now()
	var tags map[string]string
	for i := range *over {
		e := &(*over)[i]
		if !now.Before(e.until) {
			continue
		}
		if e.Scope.Tag != "" && tags == nil {
			tags = b.o.Tags(function)
		}
		if !e.Scope.Selects(function, qualifier, tags) {
			continue
		}
		return errs.Newf(errs.Throttled, "the budget %s of $%s a %s is used up until %s; raise it with: mayfly budget set %s --limit AMOUNT",
			e.Name, e.Limit, e.Period, e.until.Format(time.RFC3339), e.Name).WithReason(Reason).WithRetryAfter(time.Second)
	}
	return nil
}

// Set makes a budget or replaces the one of its name. It holds when Set returns.
func (b *Budgets) Set(ctx context.Context, w Budget) error {
	if err := w.check(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	e := &entry{Budget: w}
	old := b.all[w.Name]
	if old == nil && len(b.all) >= most {
		return errs.Newf(errs.Conflict, "there are %d budgets, which is the most there can be", most)
	}
	if old != nil && old.Budget == w {
		e.Told = old.Told
	}
	if err := b.keep(ctx, e); err != nil {
		return err
	}
	_, err := b.look(ctx)
	return err
}

func (b *Budgets) keep(ctx context.Context, e *entry) error {
	doc, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode the budget %s: %w", e.Name, err)
	}
	if err := b.o.Bucket.Put(ctx, e.Name, doc); err != nil {
		return err
	}
	b.all[e.Name] = e
	return nil
}

// Remove removes a budget, or fails with errs.NotFound.
func (b *Budgets) Remove(ctx context.Context, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all[name] == nil {
		return errs.Newf(errs.NotFound, "there is no budget %s", name)
	}
	if err := b.o.Bucket.Delete(ctx, name, 0); err != nil {
		return err
	}
	delete(b.all, name)
	_, err := b.look(ctx)
	return err
}

// List returns how the budgets stand, by name. Calls that ended before count.
func (b *Budgets) List(ctx context.Context) ([]Status, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.look(ctx)
}

// Run watches the budgets until ctx ends.
func (b *Budgets) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-b.wake:
		}
		began := time.Now()
		_, err := b.List(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			b.o.Log.Error("budgets can't be watched; those that were used up stay so", "err", err)
		}
		failing = err != nil
		rest := time.NewTimer(max(restAtMin, restTimes*time.Since(began)))
		select {
		case <-ctx.Done():
		case <-rest.C:
		}
		rest.Stop()
	}
}

// look reads the ledger, has Allow refuse what is used up, and tells of it.
// b.mu is held.
func (b *Budgets) look(ctx context.Context) ([]Status, error) {
	all := make([]Status, 0, len(b.all))
	now := time.Now()
	for _, period := range []Period{Day, Month} {
		start, until := period.bounds(now)
		var scopes []meter.Scope
		first := len(all)
		for _, e := range b.all {
			if e.Period == period {
				all = append(all, Status{Budget: e.Budget, Start: start, End: until, State: Within})
				scopes = append(scopes, e.Scope)
			}
		}
		if scopes == nil {
			continue
		}
		spent, err := b.o.Ledger.Spent(ctx, start, scopes, b.o.Prices)
		if err != nil {
			return nil, err
		}
		for i := range spent {
			all[first+i].Spent = spent[i]
		}
	}
	over := []end{}
	for i := range all {
		s := &all[i]
		if s.Spent < s.Limit {
			continue
		}
		s.State = Over
		if s.Throttle {
			s.State = Throttling
			over = append(over, end{s.Budget, s.End})
		}
	}
	slices.SortFunc(over, func(x, y end) int { return cmp.Compare(x.Name, y.Name) })
	b.over.Store(&over) // before anybody is told
	for i := range all {
		if all[i].State != Within {
			b.tell(ctx, &all[i], now)
		}
	}
	slices.SortFunc(all, func(x, y Status) int { return cmp.Compare(x.Name, y.Name) })
	return all, nil
}

// notice is the body of the message that a budget is used up.
type notice struct {
	Budget string      `json:"budget"`
	Limit  meter.Money `json:"limit"`
	Spent  meter.Money `json:"spent"`
	Period Period      `json:"period"`
	Start  time.Time   `json:"start"`
	End    time.Time   `json:"end"`
	State  State       `json:"state"`
	Scope  meter.Scope `json:"scope"`
}

// tell tells once in a period that a budget is used up. What fails is tried again
// with the next look. b.mu is held.
func (b *Budgets) tell(ctx context.Context, s *Status, now time.Time) {
	e := b.all[s.Name]
	if e.Told.Equal(s.Start) {
		return
	}
	if s.Notify != (event.Target{}) {
		body, err := json.Marshal(notice{s.Name, s.Limit, s.Spent, s.Period, s.Start, s.End, s.State, s.Scope})
		if err != nil {
			b.o.Log.Error("a budget's notice can't be encoded", "budget", s.Name, "err", err)
			return
		}
		id := "budget " + s.Name + " " + s.Limit.String() + " " + string(s.Period) + " " + s.Start.Format(time.DateOnly)
		err = b.o.Courier.Post(ctx, id, []delivery.Parcel{{
			Target:  s.Notify,
			Message: event.Message{ID: id, Body: body, Source: "mayfly.budget", DetailType: "Budget used up", Time: now},
			Retries: delivery.DefaultRetries, MaxAge: delivery.DefaultMaxAge, Accepted: now,
			Origin: delivery.Origin{Kind: "budget", Name: s.Name},
		}})
		if err != nil {
			b.o.Log.Error("a budget's notice can't be sent; it is tried again", "budget", s.Name, "err", err)
			return
		}
	}
	told := *e
	told.Told = s.Start
	if err := b.keep(ctx, &told); err != nil {
		b.o.Log.Error("a budget's notice can't be noted; it may come twice", "budget", s.Name, "err", err)
		return
	}
	b.o.Log.Warn("a budget is used up", "budget", s.Name, "spent", s.Spent.String(), "limit", s.Limit.String(), "period", s.Period, "throttled", s.Throttle)
}
