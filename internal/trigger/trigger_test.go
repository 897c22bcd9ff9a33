package trigger

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/payload"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/invoke"
	"github.com/mayfly-dev/mayfly/internal/queue"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

const patience = 30 * time.Second

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// record is what a call's function sees of a message.
type record struct {
	MessageID  string            `json:"messageId"`
	Body       string            `json:"body"`
	Attributes map[string]string `json:"attributes"`
}

// functions are a registry and an invoker with one function, f, which is what the
// test says.
type functions struct {
	mu       sync.Mutex
	lineages []event.Lineage // of the calls so far
	timeout  time.Duration
	call     func([]record) (invoke.Result, error)
}

func (f *functions) Lookup(name, _ string) (*function.Version, error) {
	if name != "f" {
		return nil, errs.Newf(errs.NotFound, "function %s does not exist", name)
	}
	v := &function.Version{}
	v.Timeout = f.timeout
	return v, nil
}

func (f *functions) Sync(_ context.Context, r invoke.Request) (invoke.Result, error) {
	var e struct{ Records []record }
	if err := json.Unmarshal(r.Payload, &e); err != nil {
		panic(err)
	}
	if r.Lineage.Counts["f"] >= invoke.MaxPasses {
		return invoke.Result{}, errs.Newf(errs.Denied, "an endless loop").WithReason(invoke.ReasonLoop)
	}
	f.mu.Lock()
	f.lineages = append(f.lineages, r.Lineage)
	f.mu.Unlock()
	return f.call(e.Records)
}

// rig is triggers over real queues, with the functions of the test.
type rig struct {
	*Triggers
	t      *testing.T
	queues *queue.Queues
	f      *functions
	dir    string
	stop   func()
}

func newRig(t *testing.T, call func([]record) (invoke.Result, error)) *rig {
	t.Helper()
	r := &rig{t: t, f: &functions{call: call}, dir: t.TempDir()}
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *rig) start() {
	t := r.t
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s, err := spine.Open(t.Context(), spine.Config{Dir: r.dir, Log: log})
	ok(t, err)
	bucket := func(name string) *spine.Bucket {
		b, err := s.Bucket(t.Context(), name)
		ok(t, err)
		return b
	}
	journal, err := s.QueueChanges(t.Context())
	ok(t, err)
	r.queues, err = queue.Open(t.Context(), queue.Options{Spine: s, Bucket: bucket(spine.QueuesBucket), Moves: bucket(spine.MovesBucket), Journal: journal, Log: log})
	ok(t, err)
	r.Triggers, err = Open(t.Context(), Options{
		Bucket: bucket(spine.MappingsBucket), Queues: r.queues, Functions: r.f, Invoker: r.f,
		Format: payload.SQS{Region: "us-east-1", Account: "000000000000"}, MaxPayload: 64 << 10, Log: log,
	})
	ok(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { r.Triggers.Run(ctx) })
	done.Go(func() { r.queues.Run(ctx) })
	r.stop = func() { cancel(); done.Wait(); s.Close() }
}

func (r *rig) queue(name string, change func(*queue.Config)) {
	r.t.Helper()
	c := queue.DefaultConfig()
	c.FIFO = strings.HasSuffix(name, queue.FIFOSuffix)
	c.ContentDedup = c.FIFO
	c.Visibility = 20 * time.Millisecond // failures are back at once
	if change != nil {
		change(&c)
	}
	_, err := r.queues.Create(r.t.Context(), name, c, nil)
	ok(r.t, err)
}

func (r *rig) lead(from string, change func(*Mapping)) Mapping {
	r.t.Helper()
	m := Mapping{
		Source: event.Target{Kind: event.Queue, Name: from}, Function: event.Target{Kind: event.Function, Name: "f"},
		Settings: DefaultSettings(), Enabled: true,
	}
	if change != nil {
		change(&m)
	}
	m, err := r.Create(r.t.Context(), m)
	ok(r.t, err)
	return m
}

func (r *rig) send(to string, bodies ...string) {
	r.t.Helper()
	var ms []queue.Message
	for _, b := range bodies {
		group, _, grouped := strings.Cut(b, "-")
		if !grouped {
			group = ""
		}
		ms = append(ms, queue.Message{Body: b, Group: group})
	}
	sent, err := r.queues.Send(r.t.Context(), to, ms...)
	ok(r.t, err)
	for _, s := range sent {
		ok(r.t, s.Err)
	}
}

// until waits for something to be so.
func (r *rig) until(what string, is func() bool) {
	r.t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("it never came to be that %s", what)
		}
	}
}

// left returns how many messages a queue has, in flight or not.
func (r *rig) left(name string) int {
	i, err := r.queues.Get(name)
	ok(r.t, err)
	return i.Visible + i.InFlight + i.Delayed
}

// seen collects what a function got.
type seen struct {
	mu     sync.Mutex
	bodies []string
}

func (s *seen) add(rs []record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range rs {
		s.bodies = append(s.bodies, r.Body)
	}
}

func (s *seen) sorted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(slices.Values(s.bodies))
}

func TestHandledMessagesAreDeleted(t *testing.T) {
	var got seen
	r := newRig(t, func(rs []record) (invoke.Result, error) { got.add(rs); return invoke.Result{}, nil })
	r.queue("q", nil)
	m := r.lead("q", nil)
	r.send("q", "a", "b", "c")
	r.until("the queue is empty", func() bool { return r.left("q") == 0 })
	if b := got.sorted(); !slices.Equal(b, []string{"a", "b", "c"}) {
		t.Errorf("the function got %v", b)
	}
	r.until("the result is noted", func() bool { m, _ = r.Get(m.ID); return m.Result == "OK" })
}

func TestFailedMessagesComeBackAndDie(t *testing.T) {
	var mu sync.Mutex
	counts := map[string][]string{}
	r := newRig(t, func(rs []record) (invoke.Result, error) {
		mu.Lock()
		defer mu.Unlock()
		for _, m := range rs {
			counts[m.Body] = append(counts[m.Body], m.Attributes["ApproximateReceiveCount"])
		}
		return invoke.Result{FunctionError: invoke.Unhandled}, nil
	})
	r.queue("dead", nil)
	r.queue("q", func(c *queue.Config) { c.Dead = &queue.DeadLetter{Queue: "dead", Receives: 3} })
	m := r.lead("q", nil)
	r.send("q", "a")
	r.until("the message is a dead letter", func() bool { return r.left("dead") == 1 })
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(counts["a"], []string{"1", "2", "3"}) {
		t.Errorf("the function saw it with the counts %v", counts["a"])
	}
	if m, _ = r.Get(m.ID); !strings.HasPrefix(m.Result, "PROBLEM") {
		t.Errorf("result %q", m.Result)
	}
}

// Workers wait for long for messages: a queue may be another one when one comes.
func TestFailedMessageComesBackWhenItsQueueSaysNow(t *testing.T) {
	calls := make(chan string, 100)
	r := newRig(t, func(rs []record) (invoke.Result, error) {
		calls <- rs[0].Body
		if rs[0].Body == "first" {
			return invoke.Result{}, nil
		}
		return invoke.Result{FunctionError: invoke.Unhandled}, nil
	})
	r.queue("q", func(c *queue.Config) { c.Visibility = time.Hour })
	r.lead("q", nil)
	r.send("q", "first")
	<-calls // the workers have begun
	ok(t, r.queues.Change(t.Context(), "q", func(c *queue.Config) error { c.Visibility = 20 * time.Millisecond; return nil }))
	r.send("q", "fails")
	for range 2 {
		select {
		case <-calls:
		case <-time.After(patience):
			t.Fatal("the failed message does not come back")
		}
	}
}

func TestAnswerNamesTheMessagesThatFailed(t *testing.T) {
	for _, bad := range []struct{ name, id string }{{"one", ""}, {"unknown", "nobody"}, {"empty", " "}} {
		var mu sync.Mutex
		calls := map[string]int{}
		r := newRig(t, func(rs []record) (invoke.Result, error) {
			mu.Lock()
			defer mu.Unlock()
			answer := `{"batchItemFailures":[`
			for _, m := range rs {
				if calls[m.Body]++; m.Body == "bad" && calls["bad"] == 1 {
					id := m.MessageID
					if bad.id != "" {
						id = strings.TrimSpace(bad.id)
					}
					answer += `{"itemIdentifier":"` + id + `"}`
				}
			}
			return invoke.Result{Payload: []byte(answer + `]}`)}, nil
		})
		r.queue("q", nil)
		r.send("q", "bad", "good")
		r.lead("q", func(m *Mapping) { m.Partial = true })
		r.until("all are handled", func() bool { return r.left("q") == 0 })
		mu.Lock()
		good := 1
		if bad.id != "" { // nothing in such an answer can be trusted
			good = 2
		}
		if calls["bad"] != 2 || calls["good"] != good {
			t.Errorf("%s: calls %v", bad.name, calls)
		}
		mu.Unlock()
	}
}

func TestFiltersLetMessagesThroughOrDeleteThem(t *testing.T) {
	var got seen
	r := newRig(t, func(rs []record) (invoke.Result, error) { got.add(rs); return invoke.Result{}, nil })
	r.queue("q", nil)
	r.lead("q", func(m *Mapping) { m.Filters = []string{`{"body":{"n":[{"numeric":[">",1]}]}}`, `{"body":["plain"]}`} })
	r.send("q", `{"n":1}`, `{"n":2}`, "plain", "other")
	r.until("the queue is empty", func() bool { return r.left("q") == 0 })
	if b := got.sorted(); !slices.Equal(b, []string{"plain", `{"n":2}`}) {
		t.Errorf("the function got %v", b)
	}
	_, err := r.Create(t.Context(), Mapping{
		Source: event.Target{Kind: event.Queue, Name: "q"}, Function: event.Target{Kind: event.Function, Name: "f", Qualifier: "2"},
		Settings: Settings{Batch: 1, Filters: []string{`{"body":`}},
	})
	if e := errs.Of(err); e == nil || e.Reason != ReasonFilter {
		t.Errorf("a broken filter: %v", err)
	}
}

func TestRefusedCallsBurnNoReceives(t *testing.T) {
	var mu sync.Mutex
	calls, count := 0, ""
	r := newRig(t, func(rs []record) (invoke.Result, error) {
		mu.Lock()
		defer mu.Unlock()
		if calls++; calls < 4 {
			return invoke.Result{}, errs.Newf(errs.Throttled, "Rate Exceeded.")
		}
		count = rs[0].Attributes["ApproximateReceiveCount"]
		return invoke.Result{}, nil
	})
	r.queue("dead", nil)
	r.queue("q", func(c *queue.Config) { c.Dead = &queue.DeadLetter{Queue: "dead", Receives: 1} })
	r.lead("q", nil)
	r.send("q", "a")
	r.until("the message is handled", func() bool { return r.left("q") == 0 })
	mu.Lock()
	defer mu.Unlock()
	if count != "1" || r.left("dead") != 0 {
		t.Errorf("handled at receive %s with %d dead letters", count, r.left("dead"))
	}
}

func TestEndlessLoopIsEndedAndHarmsNoOther(t *testing.T) {
	var got seen
	r := newRig(t, func(rs []record) (invoke.Result, error) { got.add(rs); return invoke.Result{}, nil })
	r.queue("dead", nil)
	r.queue("q", func(c *queue.Config) { c.Dead = &queue.DeadLetter{Queue: "dead", Receives: 5} })
	r.queue("alone", nil)
	deep := event.Lineage{Counts: map[string]int{"f": invoke.MaxPasses, "g": 3}}
	for _, q := range []string{"q", "alone"} {
		sent, err := r.queues.Send(t.Context(), q,
			queue.Message{Body: "first", Lineage: event.Lineage{Counts: map[string]int{"g": 2}}},
			queue.Message{Body: "round", Lineage: deep}, queue.Message{Body: "last", Lineage: event.Lineage{Counts: map[string]int{"g": 1, "f": 1}}})
		ok(t, err)
		ok(t, sent[1].Err)
		r.lead(q, nil)
		r.until("all are handled or ended", func() bool { return r.left(q) == 0 })
	}
	if b := got.sorted(); !slices.Equal(b, []string{"first", "first", "last", "last"}) || r.left("dead") != 1 {
		t.Errorf("the function got %v, and there are %d dead letters", b, r.left("dead"))
	}
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	for _, l := range r.f.lineages {
		if l.Counts["g"] == 0 {
			t.Errorf("a call has the lineage %v", l)
		}
	}
}

func TestGroupsStayInOrder(t *testing.T) {
	const groups, each = 4, 12
	var mu sync.Mutex
	got := map[string][]string{}
	failed := map[string]bool{}
	r := newRig(t, func(rs []record) (invoke.Result, error) {
		mu.Lock()
		defer mu.Unlock()
		for _, m := range rs { // each message fails the first call that it comes with
			if strings.HasSuffix(m.Body, "3") && !failed[m.Body] {
				failed[m.Body] = true
				return invoke.Result{FunctionError: invoke.Unhandled}, nil
			}
		}
		for _, m := range rs {
			g := m.Attributes["MessageGroupId"]
			got[g] = append(got[g], m.Body)
		}
		return invoke.Result{}, nil
	})
	r.queue("q.fifo", nil)
	r.lead("q.fifo", func(m *Mapping) { m.Batch = 3 })
	want := map[string][]string{}
	for i := range each {
		for g := range groups {
			body := fmt.Sprintf("%d-%02d", g, i)
			want[fmt.Sprint(g)] = append(want[fmt.Sprint(g)], body)
			r.send("q.fifo", body)
		}
	}
	r.until("all are handled", func() bool { return r.left("q.fifo") == 0 })
	mu.Lock()
	defer mu.Unlock()
	for g, bodies := range want {
		if !slices.Equal(got[g], bodies) {
			t.Errorf("group %s came as %v", g, got[g])
		}
	}
}

func TestWindowGathersABatch(t *testing.T) {
	sizes := make(chan int, 10)
	r := newRig(t, func(rs []record) (invoke.Result, error) { sizes <- len(rs); return invoke.Result{}, nil })
	r.queue("q", nil)
	// The batch is full long before the window ends.
	// It is never full if several workers hold a part of it.
	r.lead("q", func(m *Mapping) { m.Batch, m.Window = 20, MaxWindow })
	for i := range 20 {
		r.send("q", fmt.Sprint(i))
	}
	select {
	case n := <-sizes:
		if n != 20 {
			t.Errorf("a batch of %d, want 20", n)
		}
	case <-time.After(patience):
		t.Fatal("no batch was handled, want a full one")
	}
}

func TestLargeBatchIsParted(t *testing.T) {
	var got seen
	var mu sync.Mutex
	calls := 0
	r := newRig(t, func(rs []record) (invoke.Result, error) {
		mu.Lock()
		calls++
		mu.Unlock()
		got.add(rs)
		return invoke.Result{}, nil
	})
	r.queue("dead", nil)
	r.queue("q", func(c *queue.Config) { c.Dead = &queue.DeadLetter{Queue: "dead", Receives: 1} })
	var bodies []string
	for i := range 8 {
		bodies = append(bodies, fmt.Sprint(i)+strings.Repeat("x", 20_000))
	}
	r.send("q", append(bodies, strings.Repeat("y", 70_000))...) // the last is too large for any call
	r.lead("q", nil)
	r.until("all are handled or dead", func() bool { return r.left("q") == 0 && r.left("dead") == 1 })
	mu.Lock()
	defer mu.Unlock()
	if b := got.sorted(); !slices.Equal(b, bodies) || calls < 3 {
		t.Errorf("%d calls got %d messages", calls, len(b))
	}
}

func TestConcurrencyIsKept(t *testing.T) {
	var mu sync.Mutex
	now, most := 0, 0
	hold := make(chan struct{})
	r := newRig(t, func([]record) (invoke.Result, error) {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		<-hold
		mu.Lock()
		now--
		mu.Unlock()
		return invoke.Result{}, nil
	})
	r.f.timeout = time.Minute // calls may last: the messages are held
	r.queue("q", func(c *queue.Config) { c.Visibility = time.Minute })
	r.lead("q", func(m *Mapping) { m.Batch, m.Concurrency = 1, 2 })
	for i := range 8 {
		r.send("q", fmt.Sprint(i))
	}
	r.until("two calls run", func() bool { mu.Lock(); defer mu.Unlock(); return now == 2 })
	close(hold)
	r.until("all are handled", func() bool { return r.left("q") == 0 })
	if most != 2 {
		t.Errorf("%d calls ran at one time, want 2", most)
	}
}

func TestMappingGoesThroughItsStates(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	r := newRig(t, func([]record) (invoke.Result, error) { entered <- struct{}{}; <-leave; return invoke.Result{}, nil })
	r.queue("q", func(c *queue.Config) { c.Visibility = time.Minute })
	m := r.lead("q", nil)
	if m.State != Creating {
		t.Errorf("state %s, want creating", m.State)
	}
	is := func(s State) func() bool {
		return func() bool { m, err := r.Get(m.ID); return err == nil && m.State == s }
	}
	r.until("it is enabled", is(Enabled))
	r.send("q", "a")
	<-entered
	m, err := r.Update(t.Context(), m.ID, func(m *Mapping) { m.Enabled = false })
	ok(t, err)
	if m.State != Disabling {
		t.Errorf("state %s, want disabling", m.State)
	}
	if _, err := r.Delete(t.Context(), m.ID); errs.Of(err) == nil || errs.Of(err).Reason != ReasonBusy {
		t.Errorf("delete while it is disabling: %v", err)
	}
	close(leave)
	r.until("it is disabled", is(Disabled))
	r.send("q", "b")
	r.stop()
	r.start()
	r.until("it is disabled after a restart", is(Disabled))
	if n := r.left("q"); n != 1 {
		t.Errorf("%d messages are left, want the one that was sent when it was disabled", n)
	}
	_, err = r.Update(t.Context(), m.ID, func(m *Mapping) { m.Enabled, m.Batch = true, 1 })
	ok(t, err)
	<-entered
	r.until("it is enabled again", is(Enabled))
	_, err = r.Delete(t.Context(), m.ID)
	ok(t, err)
	r.until("it is gone", func() bool { _, err := r.Get(m.ID); return errs.Is(err, errs.NotFound) })
	if ms := r.List(func(*Mapping) bool { return true }); len(ms) != 0 {
		t.Errorf("mappings %v", ms)
	}
}

func TestMappingsThatCanNotWorkAreRefused(t *testing.T) {
	r := newRig(t, nil)
	r.queue("q", nil)
	r.queue("q.fifo", nil)
	good := func() Mapping {
		return Mapping{
			Source: event.Target{Kind: event.Queue, Name: "q"}, Function: event.Target{Kind: event.Function, Name: "f"}, Settings: DefaultSettings(),
		}
	}
	for name, tc := range map[string]struct {
		kind   errs.Kind
		change func(*Mapping)
	}{
		"no queue":          {errs.Invalid, func(m *Mapping) { m.Source.Name = "none" }},
		"no function":       {errs.NotFound, func(m *Mapping) { m.Function.Name = "none" }},
		"another source":    {errs.Unsupported, func(m *Mapping) { m.Source.Kind = event.Bus }},
		"no batch":          {errs.Invalid, func(m *Mapping) { m.Batch = 0 }},
		"large batch":       {errs.Invalid, func(m *Mapping) { m.Batch, m.Window = MaxBatch+1, time.Second }},
		"batch, no window":  {errs.Invalid, func(m *Mapping) { m.Batch = 11 }},
		"long window":       {errs.Invalid, func(m *Mapping) { m.Window = MaxWindow + 1 }},
		"FIFO batch":        {errs.Invalid, func(m *Mapping) { m.Source.Name, m.Batch, m.Window = "q.fifo", 11, time.Second }},
		"FIFO window":       {errs.Invalid, func(m *Mapping) { m.Source.Name, m.Window = "q.fifo", time.Second }},
		"little concurrent": {errs.Invalid, func(m *Mapping) { m.Concurrency = 1 }},
		"many filters":      {errs.Invalid, func(m *Mapping) { m.Filters = make([]string, MaxFilters+1) }},
	} {
		m := good()
		tc.change(&m)
		if _, err := r.Create(t.Context(), m); !errs.Is(err, tc.kind) {
			t.Errorf("%s: %v, want %s", name, err, tc.kind)
		}
	}
	r.f.timeout = time.Second // longer than the queue hides messages
	if _, err := r.Create(t.Context(), good()); errs.Of(err) == nil || errs.Of(err).Reason != ReasonHidden {
		t.Errorf("a function that runs longer than messages are hidden: %v", err)
	}
	r.f.timeout = 0
	_, err := r.Create(t.Context(), good())
	ok(t, err)
	if _, err := r.Create(t.Context(), good()); errs.Of(err) == nil || errs.Of(err).Reason != ReasonExists {
		t.Errorf("the same again: %v", err)
	}
}
