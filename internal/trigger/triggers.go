package trigger

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/invoke"
	"github.com/mayfly-dev/mayfly/internal/queue"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

// Invoker runs functions.
type Invoker interface {
	// Sync runs a call and returns its answer, which may be the function's error.
	// Its own errors mean that the function did not run.
	Sync(ctx context.Context, r invoke.Request) (invoke.Result, error)
}

// Functions is the registry of functions.
type Functions interface {
	// Lookup returns the version that a call of name runs.
	Lookup(name, qualifier string) (*function.Version, error)
}

// Format is the form in which functions get messages, and say which failed.
type Format interface {
	// Event returns the payload of a call with messages of a queue.
	Event(queue string, ds []queue.Delivery) ([]byte, error)
	// Filterable returns the document that filters look at.
	Filterable(queue string, d *queue.Delivery) ([]byte, error)
	// Failed returns the ids of the messages that an answer says have failed. ok
	// is false if the answer is none of that kind.
	Failed(answer []byte) (ids []string, ok bool)
}

// Options are what Triggers are made of. All are required.
type Options struct {
	Bucket     *spine.Bucket
	Queues     *queue.Queues
	Functions  Functions
	Invoker    Invoker
	Format     Format
	MaxPayload int64 // of a call, in bytes
	Log        *slog.Logger
}

// Triggers are all mappings of the node. It is safe for concurrent use.
type Triggers struct {
	o Options

	mu  sync.Mutex
	all map[string]*running // guarded by mu
	run func(*running)      // guarded by mu; nil while Run does not run
}

// running is a mapping with its life.
type running struct {
	t *Triggers

	mu      sync.Mutex
	m       Mapping // guarded by mu
	rev     uint64  // guarded by mu
	changed chan struct{}
}

// Open reads all mappings. Nothing is received until Run runs.
func Open(ctx context.Context, o Options) (*Triggers, error) {
	t := &Triggers{o: o, all: map[string]*running{}}
	err := o.Bucket.List(ctx, "", func(key string, value []byte, rev uint64) error {
		var m Mapping
		if err := json.Unmarshal(value, &m); err != nil {
			return fmt.Errorf("the trigger %s is broken: %w", key, err)
		}
		t.all[m.ID] = t.entry(m, rev)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Triggers) entry(m Mapping, rev uint64) *running {
	return &running{t: t, m: m, rev: rev, changed: make(chan struct{}, 1)}
}

// Run lets the mappings work until ctx ends and the calls under way are done.
func (t *Triggers) Run(ctx context.Context) error {
	var under sync.WaitGroup
	t.mu.Lock()
	t.run = func(r *running) { under.Go(func() { r.live(ctx) }) }
	for _, r := range t.all {
		t.run(r)
	}
	t.mu.Unlock()
	<-ctx.Done()
	t.mu.Lock()
	t.run = nil
	t.mu.Unlock()
	under.Wait()
	return nil
}

func (t *Triggers) find(id string) (*running, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.all[id]
	if r == nil {
		return nil, errs.Newf(errs.NotFound, "trigger %s does not exist", id).WithReason(ReasonNone)
	}
	return r, nil
}

func (r *running) mapping() Mapping {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.m.clone()
}

// Get returns a mapping, or errs.NotFound.
func (t *Triggers) Get(id string) (Mapping, error) {
	r, err := t.find(id)
	if err != nil {
		return Mapping{}, err
	}
	return r.mapping(), nil
}

// List returns the mappings that keep lets through, by id.
func (t *Triggers) List(keep func(*Mapping) bool) []Mapping {
	t.mu.Lock()
	rs := make([]*running, 0, len(t.all))
	for _, r := range t.all {
		rs = append(rs, r)
	}
	t.mu.Unlock()
	var ms []Mapping
	for _, r := range rs {
		if m := r.mapping(); keep(&m) {
			ms = append(ms, m)
		}
	}
	slices.SortFunc(ms, func(a, b Mapping) int { return cmp.Compare(a.ID, b.ID) })
	return ms
}

// check refuses a mapping that can't work.
func (t *Triggers) check(m *Mapping) error {
	if m.Source.Kind != event.Queue {
		return errs.Newf(errs.Unsupported, "messages can be led from queues only, not from a %s", m.Source.Kind)
	}
	i, err := t.o.Queues.Get(m.Source.Name)
	if err != nil {
		return errs.Newf(errs.Invalid, "queue %s does not exist", m.Source.Name).WithReason(ReasonSource)
	}
	if err := m.Settings.check(m.Source, i.Config); err != nil {
		return err
	}
	v, err := t.o.Functions.Lookup(m.Function.Name, m.Function.Qualifier)
	switch {
	case errs.Is(err, errs.NotFound):
		return err
	case err == nil && v.Timeout > i.Config.Visibility:
		return errs.Newf(errs.Invalid, "Queue visibility timeout: %d seconds is less than Function timeout: %d seconds", i.Config.Visibility/time.Second, v.Timeout/time.Second).WithReason(ReasonHidden)
	}
	return nil // a function that is not ready yet will be
}

// Create makes a mapping; its state is Creating until it works. Of m, what a
// caller chooses is taken. Errors: NotFound for a missing function; Invalid;
// Conflict with ReasonExists.
func (t *Triggers) Create(ctx context.Context, m Mapping) (Mapping, error) {
	if err := t.check(&m); err != nil {
		return Mapping{}, err
	}
	m = m.clone()
	m.ID, m.State, m.Modified, m.Result = uuid.NewString(), Creating, time.Now(), ""
	r := t.entry(m, 0)
	r.mu.Lock() // nobody else changes it before it is on disk
	defer r.mu.Unlock()
	t.mu.Lock()
	for _, o := range t.all {
		if o != r && o.leads(m.Source, m.Function) {
			t.mu.Unlock()
			return o.mapping(), errs.Newf(errs.Conflict, "%s is led to %s already, by trigger %s", m.Source, m.Function, o.mapping().ID).WithReason(ReasonExists)
		}
	}
	t.all[m.ID] = r
	t.mu.Unlock()
	err := r.save(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		delete(t.all, m.ID)
		return Mapping{}, err
	}
	if t.run != nil {
		t.run(r)
	}
	return r.m.clone(), nil
}

// leads reports whether the mapping is between the two.
func (r *running) leads(from, to event.Target) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.m.Source == from && r.m.Function == to
}

// save makes the mapping durable. mu is held.
func (r *running) save(ctx context.Context) error {
	b, err := json.Marshal(r.m)
	if err != nil {
		return fmt.Errorf("encode trigger %s: %w", r.m.ID, err)
	}
	if r.rev == 0 {
		r.rev, err = r.t.o.Bucket.Create(ctx, r.m.ID, b)
		return err
	}
	rev, err := r.t.o.Bucket.Update(ctx, r.m.ID, b, r.rev)
	if err == nil {
		r.rev = rev
	}
	return err
}

// Update changes a mapping as fn does; until the change is in force its state is
// Updating, Disabling or so. Errors: NotFound; Invalid; Conflict with ReasonBusy.
func (t *Triggers) Update(ctx context.Context, id string, fn func(*Mapping)) (Mapping, error) {
	return t.change(ctx, id, func(m *Mapping) (State, error) {
		was := m.Enabled
		fn(m)
		if err := t.check(m); err != nil {
			return "", err
		}
		if was && !m.Enabled {
			return Disabling, nil
		}
		return Updating, nil
	})
}

// Delete removes a mapping when its calls under way are done; until then its
// state is Deleting. Errors: NotFound; Conflict with ReasonBusy.
func (t *Triggers) Delete(ctx context.Context, id string) (Mapping, error) {
	return t.change(ctx, id, func(*Mapping) (State, error) { return Deleting, nil })
}

func (t *Triggers) change(ctx context.Context, id string, fn func(*Mapping) (State, error)) (Mapping, error) {
	r, err := t.find(id)
	if err != nil {
		return Mapping{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.m.State != Enabled && r.m.State != Disabled {
		return Mapping{}, errs.Newf(errs.Conflict, "trigger %s is %s now: try again when that is done", id, r.m.State).WithReason(ReasonBusy)
	}
	old := r.m
	m := old.clone()
	state, err := fn(&m)
	if err != nil {
		return Mapping{}, err
	}
	m.State, m.Modified = state, time.Now()
	r.m = m
	if err := r.save(ctx); err != nil {
		r.m = old
		return Mapping{}, err
	}
	select {
	case r.changed <- struct{}{}:
	default:
	}
	return m.clone(), nil
}
