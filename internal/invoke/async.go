package invoke

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

// Back-off of a queued call that the node could not run: doubled from the
// first to the longest, as the field does.
const (
	firstBackoff = time.Second
	longBackoff  = 5 * time.Minute
)

// errWait is why a call that is not due goes back to the queue.
var errWait = errors.New("not due yet")

// Async accepts a call that is run later, at least once. When it returns nil the
// call is on disk. Errors: NotFound, Conflict, TooLarge, Unavailable.
func (n *Invoker) Async(ctx context.Context, r Request) error {
	return n.accept(ctx, r, "")
}

// accept is Async; of requests with equal ids that come within minutes, one is kept.
func (n *Invoker) accept(ctx context.Context, r Request, id string) error {
	if _, err := n.admit(r, n.cfg.MaxAsync); err != nil {
		return err
	}
	return n.put(ctx, id, queued{Request: r, Accepted: time.Now()})
}

// Send implements event.Sender for functions: the message's body is the payload
// of an asynchronous call.
func (n *Invoker) Send(ctx context.Context, t event.Target, m event.Message) error {
	r := Request{
		RequestID: requestID(m.ID), Function: t.Name, Qualifier: t.Qualifier,
		Payload: m.Body, TraceID: m.TraceID, Lineage: m.Lineage,
	}
	id := m.ID
	if id != "" {
		id = t.String() + " " + id
	}
	return n.accept(ctx, r, id)
}

// requestID returns the id of the call that a message makes: the same for each
// repetition of the message.
func requestID(message string) string {
	if message == "" {
		return uuid.NewString()
	}
	if id, err := uuid.Parse(message); err == nil {
		return id.String()
	}
	return derivedID(message)
}

// derivedID makes a UUID of a name.
func derivedID(name string) string { return uuid.NewSHA1(uuid.NameSpaceOID, []byte(name)).String() }

// Run runs queued calls until ctx ends and those under way are done.
func (n *Invoker) Run(ctx context.Context) error {
	n.sweep(ctx)
	return n.cfg.Calls.Run(ctx, spine.Service{
		Room: n.room, Handle: n.queued,
		// A call leaves the queue only when its record can't be lost.
		Settle: n.cfg.Meter.Flush,
	})
}

// room returns how many queued calls of a function may run at a time.
func (n *Invoker) room(function string) int {
	room := n.windows.room(function)
	if most, err := n.cfg.Functions.Reserved(function); err == nil && most != nil {
		room = min(room, max(*most, 1))
	}
	return room
}

// queued handles one delivery of a queued call.
func (n *Invoker) queued(ctx context.Context, d spine.Delivery) (time.Duration, error) {
	q, err := n.read(ctx, d.Body)
	if errs.Is(err, errs.Unavailable) {
		return backoff(d.Attempt), err
	}
	if err != nil {
		n.cfg.Log.Error("a queued call can't be read and is dropped", "function", d.Lane, "err", err)
		return 0, nil
	}
	if wait := time.Until(q.NotBefore); wait > 0 {
		return wait, errWait
	}
	if q.Ended != nil {
		return n.tellAgain(ctx, q, d.Attempt)
	}
	set, err := n.cfg.Functions.Async(q.Function, q.Qualifier)
	if errs.Is(err, errs.NotFound) {
		n.cfg.Log.Warn("a queued call is dropped: its function is gone", "function", q.Function, "request", q.RequestID)
		n.forget(ctx, q)
		return 0, nil
	}
	if err != nil {
		return backoff(d.Attempt), err
	}
	if c := n.hopeless(q, set); c != "" {
		return n.end(ctx, q, set, c, d.Attempt)
	}
	return n.attempt(ctx, q, set, d.Attempt)
}

// hopeless returns the condition under which a call ends without being run, or "".
func (n *Invoker) hopeless(q queued, set function.AsyncSettings) Condition {
	switch {
	case time.Since(q.Accepted) > set.EventAge():
		return TooOld
	case n.loops(q.Request):
		return Looping
	case n.stopped(q.Function):
		return Stopped
	}
	return ""
}

// attempt runs the call once. What the node can't run now goes back to the queue.
func (n *Invoker) attempt(ctx context.Context, q queued, set function.AsyncSettings, delivery int) (time.Duration, error) {
	v, err := n.admit(q.Request, n.cfg.MaxAsync)
	q.accepted = q.Accepted
	var res Result
	if err == nil {
		res, err = n.run(ctx, v, q.Request, q.Deliveries+delivery, nil)
		n.windows.ran(q.Function, res, err)
	}
	if errs.Is(err, errs.NotFound) { // the version or alias that it named
		n.cfg.Log.Warn("a queued call is dropped: its version is gone", "function", q.Function, "qualifier", q.Qualifier, "request", q.RequestID)
		n.forget(ctx, q)
		return 0, nil
	}
	if err != nil {
		left := max(time.Until(q.Accepted.Add(set.EventAge())), time.Millisecond)
		return min(backoff(delivery), left), err
	}
	q.Runs++
	q.Result = &res
	if res.FunctionError == "" {
		return n.end(ctx, q, set, Success, delivery)
	}
	q.Failures++
	if q.Failures > set.Again() {
		return n.end(ctx, q, set, RetriesExhausted, delivery)
	}
	again := time.Now().Add(n.cfg.RetryWaits[min(q.Failures, len(n.cfg.RetryWaits))-1])
	if again.Sub(q.Accepted) > set.EventAge() {
		return n.end(ctx, q, set, TooOld, delivery)
	}
	q.NotBefore = again
	return n.replace(ctx, q, delivery)
}

// replace puts a call back into the queue in its new form, in place of the one
// that was delivered.
func (n *Invoker) replace(ctx context.Context, q queued, delivery int) (time.Duration, error) {
	q.Deliveries += delivery
	old := q.blob
	// A crash after this leaves both forms: the id drops the repeat of this one.
	err := n.put(context.WithoutCancel(ctx), fmt.Sprintf("%s %d", q.RequestID, q.Deliveries), q)
	if err != nil {
		return backoff(delivery), err
	}
	n.forget(ctx, queued{Request: q.Request, blob: old})
	return 0, nil
}

// loops reports whether the call belongs to an endless loop that must be ended.
func (n *Invoker) loops(r Request) bool {
	return r.Lineage.Counts[r.Function] >= MaxPasses && !n.cfg.Functions.AllowsLoops(r.Function)
}

// stopped reports whether the function's owner has stopped it: no call of it may run.
func (n *Invoker) stopped(name string) bool {
	most, err := n.cfg.Functions.Reserved(name)
	return err == nil && most != nil && *most == 0
}

// backoff is how long a call waits after its attempt, counted from 1.
func backoff(attempt int) time.Duration {
	return min(firstBackoff<<min(attempt-1, 16), longBackoff)
}
