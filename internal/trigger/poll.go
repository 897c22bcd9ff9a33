package trigger

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/event/pattern"
	"github.com/mayfly-dev/mayfly/internal/invoke"
	"github.com/mayfly-dev/mayfly/internal/queue"
)

const (
	firstWorkers = 5           // of a mapping: batches that are under way at one time
	growEvery    = time.Second // how often a worker is added while all are busy
	firstPause   = 100 * time.Millisecond
	longPause    = 10 * time.Second
	// What a call may take besides the function's own time: a cold start, the
	// wait for an instance. Messages are hidden for so much longer.
	holdMargin = 30 * time.Second
)

// live keeps the mapping as it is wanted until it is deleted or ctx ends.
func (r *running) live(ctx context.Context) {
	for ctx.Err() == nil {
		m := r.mapping()
		switch {
		case m.State == Deleting:
			if r.remove(ctx) {
				return
			}
			r.sleep(ctx, firstPause)
		case m.Enabled:
			r.become(ctx, Enabled)
			r.work(ctx)
		default:
			r.become(ctx, Disabled)
			select {
			case <-r.changed:
			case <-ctx.Done():
			}
		}
	}
}

// become notes that the wanted state is reached. A note that can't be written is
// made anew after a restart.
func (r *running) become(ctx context.Context, s State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.m.State == s || r.m.State == Deleting {
		return
	}
	r.m.State = s
	if err := r.save(ctx); err != nil && ctx.Err() == nil {
		r.t.o.Log.Warn("the state of a trigger is not on disk", "trigger", r.m.ID, "state", s, "err", err)
	}
}

// remove forgets the mapping for good, and reports whether it could.
func (r *running) remove(ctx context.Context) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.t.o.Bucket.Delete(ctx, r.m.ID, r.rev); err != nil {
		r.t.o.Log.Warn("a trigger can't be deleted now", "trigger", r.m.ID, "err", err)
		return false
	}
	r.t.mu.Lock()
	defer r.t.mu.Unlock()
	delete(r.t.all, r.m.ID)
	return true
}

func (r *running) sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// work lets workers run until the mapping changes or ctx ends, and those calls
// that are under way are done.
func (r *running) work(ctx context.Context) {
	m := r.mapping()
	filters, err := m.compile()
	if err != nil { // was checked before it was stored
		r.t.o.Log.Error("a trigger's filter can't be read", "trigger", m.ID, "err", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &workers{r: r, t: r.t, m: m, filters: filters, most: MaxConcurrency}
	if m.Concurrency > 0 {
		w.most = m.Concurrency
	}
	if m.Window > 0 { // several would each open one of their own, for a part of the messages
		w.turn = make(chan struct{}, 1)
		w.turn <- struct{}{}
	}
	for range min(firstWorkers, w.most) {
		w.add(ctx)
	}
	select {
	case <-r.changed:
	case <-ctx.Done():
	}
	cancel()
	w.under.Wait()
}

// workers are the workers of a mapping while it is as it is.
type workers struct {
	r       *running
	t       *Triggers
	m       Mapping
	filters []*pattern.Pattern
	most    int
	under   sync.WaitGroup
	busy    atomic.Int32
	turn    chan struct{} // holds a token that a worker needs to gather; nil if there is no window

	mu    sync.Mutex
	count int           // guarded by mu
	grown time.Time     // guarded by mu: when count grew last
	pause time.Duration // guarded by mu: before the next receive, while calls are refused
}

func (w *workers) add(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count >= w.most {
		return
	}
	w.count++
	w.grown = time.Now()
	w.under.Go(func() { w.loop(ctx) })
}

// grow adds a worker if all have been busy for a while.
func (w *workers) grow(ctx context.Context) {
	w.mu.Lock()
	all := int(w.busy.Load()) >= w.count && time.Since(w.grown) > growEvery && w.pause == 0
	w.mu.Unlock()
	if all {
		w.add(ctx)
	}
}

// loop is one worker: it receives, calls and settles, batch after batch. One that
// found nothing to do ends if there are more than at first.
func (w *workers) loop(ctx context.Context) {
	defer func() {
		w.mu.Lock()
		w.count--
		w.mu.Unlock()
	}()
	for ctx.Err() == nil {
		w.mu.Lock()
		pause := w.pause
		w.mu.Unlock()
		if pause > 0 {
			w.r.sleep(ctx, pause)
		}
		ds, hide, taken, err := w.inTurn(ctx)
		if err != nil {
			w.failed(err.Error())
			w.back()
			continue
		}
		if len(ds) == 0 {
			w.mu.Lock()
			extra := !taken && w.count > firstWorkers
			w.mu.Unlock()
			if extra {
				return
			}
			continue
		}
		w.busy.Add(1)
		w.grow(ctx)
		w.handle(ctx, ds, hide)
		w.busy.Add(-1)
	}
}

// back makes the next receives wait, longer each time; ahead ends that.
func (w *workers) back() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pause = min(max(2*w.pause, firstPause), longPause)
}

func (w *workers) ahead() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pause = 0
}

// inTurn gathers a batch; if there is a window, once no other worker does.
func (w *workers) inTurn(ctx context.Context) (ds []queue.Delivery, hide time.Duration, taken bool, err error) {
	if w.turn == nil {
		return w.gather(ctx)
	}
	select {
	case <-w.turn:
	case <-ctx.Done():
		return nil, 0, true, nil
	}
	defer func() { w.turn <- struct{}{} }()
	return w.gather(ctx)
}

// gather receives a batch: what is there when the first message is, and what
// comes within the window. They are hidden for hide from then on. taken is true
// if there were messages, although the filters may have left none.
func (w *workers) gather(ctx context.Context) (ds []queue.Delivery, hide time.Duration, taken bool, err error) {
	longer, wait := w.longer(), queue.MaxWait
	var end time.Time
	for {
		got, err := w.t.o.Queues.Receive(ctx, w.m.Source.Name, queue.Receive{Max: w.m.Batch - len(ds), Wait: &wait, Inside: true, Longer: longer})
		if err != nil {
			w.giveBack(ds)
			return nil, 0, taken, err
		}
		if len(got) > 0 && !taken {
			taken, end = true, time.Now().Add(w.m.Window)
			hide = min(time.Until(got[0].Shown)+longer, queue.MaxVisibility)
		}
		ds = append(ds, w.filter(ctx, got)...)
		if wait = min(time.Until(end), queue.MaxWait); len(ds) >= w.m.Batch || wait <= 0 || !taken {
			return ds, hide, taken, nil
		}
		if ctx.Err() != nil { // no call will begin any more
			w.giveBack(ds)
			return nil, 0, taken, nil
		}
	}
}

// longer returns for how much longer messages are hidden than the queue would
// hide them. They stay hidden while a call may still have them: one that fails
// shows them when the queue would, and if the node ends they are visible at once.
func (w *workers) longer() time.Duration {
	d := w.m.Window + holdMargin
	if v, err := w.t.o.Functions.Lookup(w.m.Function.Name, w.m.Function.Qualifier); err == nil {
		d += v.Timeout
	}
	return d
}

// filter deletes the messages that no filter lets through and returns the others.
func (w *workers) filter(ctx context.Context, ds []queue.Delivery) []queue.Delivery {
	if len(w.filters) == 0 {
		return ds
	}
	var kept []queue.Delivery
	var dropped []string
	for i := range ds {
		doc, err := w.t.o.Format.Filterable(w.m.Source.Name, &ds[i])
		if err != nil {
			w.t.o.Log.Error("a message can't be filtered and passes", "trigger", w.m.ID, "message", ds[i].ID, "err", err)
		}
		if err != nil || w.matches(doc) {
			kept = append(kept, ds[i])
		} else {
			dropped = append(dropped, ds[i].Handle)
		}
	}
	w.delete(ctx, dropped)
	return kept
}

func (w *workers) matches(doc []byte) bool {
	for _, p := range w.filters {
		if p.Match(doc) {
			return true
		}
	}
	return false
}

// handle calls the function with a batch, in as many calls as its payloads need,
// one after the other.
func (w *workers) handle(ctx context.Context, ds []queue.Delivery, hide time.Duration) {
	for first := true; len(ds) > 0; first = false {
		if !first { // the calls before took time of theirs
			w.hold(ctx, ds, hide)
		}
		n, payload, err := w.payload(ds[:w.alike(ds)])
		if err != nil {
			w.failed(err.Error())
			w.leave(ctx, ds[:n])
		} else if !w.call(ctx, ds[:n], payload) {
			w.giveBack(ds[n:])
			return
		}
		ds = ds[n:]
	}
}

// alike returns how many of the first messages have in common that a call with
// them would, or would not, be one pass too many of an endless loop.
func (w *workers) alike(ds []queue.Delivery) int {
	deep := func(d queue.Delivery) bool { return d.Lineage.Counts[w.m.Function.Name] >= invoke.MaxPasses }
	n := 1
	for n < len(ds) && deep(ds[n]) == deep(ds[0]) {
		n++
	}
	return n
}

// lineage returns the passes of all messages together: the most of each function.
func lineage(ds []queue.Delivery) (all event.Lineage) {
	for _, d := range ds {
		for f, n := range d.Lineage.Counts {
			if all.Counts == nil {
				all.Counts = map[string]int{}
			}
			all.Counts[f] = max(all.Counts[f], n)
		}
	}
	return all
}

// payload returns the event for as many of the messages as it holds, and how many
// those are.
func (w *workers) payload(ds []queue.Delivery) (n int, event []byte, err error) {
	for n = len(ds); ; n = (n + 1) / 2 {
		event, err = w.t.o.Format.Event(w.m.Source.Name, ds[:n])
		if err != nil || int64(len(event)) <= w.t.o.MaxPayload {
			return n, event, err
		}
		if n == 1 {
			return 1, nil, errs.Newf(errs.TooLarge, "the event of message %s has %d bytes, over the limit of %d", ds[0].ID, len(event), w.t.o.MaxPayload)
		}
	}
}

// call runs the function once and settles the messages. It returns false if the
// function could not run: then the messages are back, as if never received.
func (w *workers) call(ctx context.Context, ds []queue.Delivery, payload []byte) bool {
	r := invoke.Request{
		RequestID: uuid.NewString(), Function: w.m.Function.Name, Qualifier: w.m.Function.Qualifier, Payload: payload,
		Lineage: lineage(ds),
	}
	r.TraceID = ds[0].TraceID // of several messages, the first one's
	res, err := w.t.o.Invoker.Sync(ctx, r)
	switch {
	case err != nil && errs.Of(err).Reason == invoke.ReasonLoop:
		w.failed(err.Error())
		w.giveUp(ctx, ds)
	case err != nil && errs.Is(err, errs.TooLarge):
		w.failed(err.Error())
		w.leave(ctx, ds)
	case err != nil:
		w.giveBack(ds)
		if ctx.Err() == nil {
			w.failed(err.Error())
			w.back()
		}
		return false
	case res.FunctionError != "":
		w.ahead()
		w.failed("Function call failed")
		w.leave(ctx, ds)
	default:
		w.ahead()
		w.settle(ctx, ds, res.Payload)
	}
	return true
}

// settle deletes what a successful call handled, and leaves what it says failed.
func (w *workers) settle(ctx context.Context, ds []queue.Delivery, answer []byte) {
	var done []string
	var failed []queue.Delivery
	if w.m.Partial {
		ids, ok := w.t.o.Format.Failed(answer)
		bad := map[string]bool{}
		for _, id := range ids {
			bad[id] = true
		}
		known := 0
		for _, d := range ds {
			if bad[d.ID] {
				known++
				failed = append(failed, d)
			} else {
				done = append(done, d.Handle)
			}
		}
		if !ok || known != len(bad) { // an answer that can't be trusted
			done, failed = nil, ds
		}
	} else {
		for _, d := range ds {
			done = append(done, d.Handle)
		}
	}
	w.delete(ctx, done)
	w.leave(ctx, failed)
	if len(failed) > 0 {
		w.failed("Function reported failed messages")
	} else {
		w.result("OK")
	}
}

// delete ends messages. What can't be deleted comes back: it is handled again.
func (w *workers) delete(ctx context.Context, handles []string) {
	if len(handles) == 0 {
		return
	}
	failed, err := w.t.o.Queues.Delete(context.WithoutCancel(ctx), w.m.Source.Name, handles...)
	for _, e := range failed {
		if err == nil {
			err = e
		}
	}
	if err != nil {
		w.t.o.Log.Warn("handled messages come back", "trigger", w.m.ID, "err", err)
	}
}

// leave lets failed messages come back when the queue would show them again.
func (w *workers) leave(ctx context.Context, ds []queue.Delivery) {
	var hides []queue.Hide
	for _, d := range ds {
		hides = append(hides, queue.Hide{Handle: d.Handle, For: max(0, time.Until(d.Shown))})
	}
	if len(hides) == 0 {
		return
	}
	if _, err := w.t.o.Queues.Hide(context.WithoutCancel(ctx), w.m.Source.Name, hides...); err != nil {
		w.t.o.Log.Warn("failed messages come back later than they should", "trigger", w.m.ID, "err", err)
	}
}

// hold hides messages for longer, so that they are not shown while they wait for
// their call.
func (w *workers) hold(ctx context.Context, ds []queue.Delivery, hide time.Duration) {
	hides := make([]queue.Hide, len(ds))
	for i, d := range ds {
		hides[i] = queue.Hide{Handle: d.Handle, For: hide}
	}
	if _, err := w.t.o.Queues.Hide(context.WithoutCancel(ctx), w.m.Source.Name, hides...); err != nil {
		w.t.o.Log.Warn("messages may be handled twice", "trigger", w.m.ID, "err", err)
	}
}

// giveUp ends messages that go round in an endless loop.
func (w *workers) giveUp(ctx context.Context, ds []queue.Delivery) {
	var handles []string
	for _, d := range ds {
		handles = append(handles, d.Handle)
	}
	w.t.o.Log.Warn("messages that go round in an endless loop are ended", "trigger", w.m.ID, "function", w.m.Function.Name, "messages", len(ds))
	if err := w.t.o.Queues.GiveUp(context.WithoutCancel(ctx), w.m.Source.Name, handles...); err != nil {
		w.t.o.Log.Warn("messages of an endless loop come back", "trigger", w.m.ID, "err", err)
	}
}

// giveBack undoes the receives of messages that no call got.
func (w *workers) giveBack(ds []queue.Delivery) {
	var handles []string
	for _, d := range ds {
		handles = append(handles, d.Handle)
	}
	if len(handles) == 0 {
		return
	}
	if err := w.t.o.Queues.Return(context.Background(), w.m.Source.Name, 0, handles...); err != nil {
		w.t.o.Log.Warn("messages come back later than they should", "trigger", w.m.ID, "err", err)
	}
}

// failed notes what went wrong with the last batch.
func (w *workers) failed(why string) {
	w.result("PROBLEM: " + why)
}

func (w *workers) result(s string) {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	w.r.m.Result = s
}
