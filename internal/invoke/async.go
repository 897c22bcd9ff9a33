package invoke

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Back-off of a queued call that the node could not run: doubled from the
// first to the longest, as the field does.
const (
	firstBackoff = time.Second
	longBackoff  = 5 * time.Minute
)

// maxAge is how long a queued call is tried before it is given up.
const maxAge = 6 * time.Hour

// Async accepts a call that is run later, at least once. When it returns nil the
// call is on disk. Errors: NotFound, Conflict, TooLarge, Unavailable.
func (n *Invoker) Async(ctx context.Context, r Request) error {
	if _, err := n.admit(r, n.cfg.MaxAsync); err != nil {
		return err
	}
	body, err := json.Marshal(queued{Request: r, Accepted: time.Now()})
	if err != nil {
		return fmt.Errorf("encode call %s: %w", r.RequestID, err)
	}
	return n.cfg.Calls.Put(ctx, r.Function, body)
}

// Run runs queued calls until ctx ends and those under way are done.
func (n *Invoker) Run(ctx context.Context) error { return n.cfg.Calls.Run(ctx, n.queued) }

// queued runs one delivery of a queued call.
func (n *Invoker) queued(ctx context.Context, body []byte, attempt int) (time.Duration, error) {
	var q queued
	if err := json.Unmarshal(body, &q); err != nil {
		n.cfg.Log.Error("a queued call can't be read and is dropped", "err", err)
		return 0, nil
	}
	v, err := n.admit(q.Request, n.cfg.MaxAsync)
	if err == nil {
		_, err = n.run(ctx, v, q.Request, attempt, nil)
	}
	if err == nil {
		// The call leaves the queue only when its record can't be lost.
		err = n.cfg.Meter.Flush(context.WithoutCancel(ctx))
	}
	switch age := time.Since(q.Accepted); {
	case err == nil:
		return 0, nil
	case errs.Is(err, errs.NotFound):
		n.cfg.Log.Warn("a queued call is dropped: its function is gone", "function", q.Function, "request", q.RequestID)
		return 0, nil
	case age > maxAge && ctx.Err() == nil:
		n.cfg.Log.Error("a queued call is given up", "function", q.Function, "request", q.RequestID, "age", age, "err", err)
		return 0, nil
	default:
		return backoff(attempt), err
	}
}

// backoff is how long a call waits after its attempt, counted from 1.
func backoff(attempt int) time.Duration {
	return min(firstBackoff<<min(attempt-1, 16), longBackoff)
}
