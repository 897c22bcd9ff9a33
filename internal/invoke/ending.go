package invoke

import (
	"context"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/trace"
)

// MaxPasses is how often a chain of events may pass through a function before
// the next call is refused as an endless loop.
const MaxPasses = 16

// ReasonLoop is the reason of the Denied error of a call that belongs to an
// endless loop.
const ReasonLoop = "RecursiveInvocation"

// Condition is how an asynchronous call ended.
type Condition string

// The conditions.
const (
	Success          Condition = "success"
	RetriesExhausted Condition = "retries exhausted"  // the function failed as often as it may
	TooOld           Condition = "event age exceeded" // it could not be run in time
	Stopped          Condition = "function stopped"   // no call of the function may run
	Looping          Condition = "endless loop"
)

// Ended is an asynchronous call that is over.
type Ended struct {
	Request
	Condition Condition
	At        time.Time
	Runs      int     // how often the function ran
	Result    *Result // of the last run; nil if there was none
}

// Words puts what the invoker has to say into the form that its readers know.
type Words interface {
	// Record tells a destination how a call ended.
	Record(to event.Target, e Ended) event.Message
	// DeadLetter is the call that failed, for the function's dead letter target.
	DeadLetter(e Ended) event.Message
	// Trace returns the trace of a call with the functions that it came through.
	Trace(trace string, l event.Lineage) string
}

// giveUp is how long the end of a call is told again to a target that doesn't
// take it.
const giveUp = 6 * time.Hour

// end tells the call's targets how it ended. The call leaves the queue when
// all have it, or when it is queued again for those that don't.
func (n *Invoker) end(ctx context.Context, q queued, set function.AsyncSettings, c Condition, delivery int) (time.Duration, error) {
	q.Ended = &ending{Condition: c, At: time.Now(), Tell: n.targets(q, set, c)}
	if c != Success && n.cfg.GivenUp != nil {
		n.cfg.GivenUp(q.Function)
	}
	if c != Success && len(q.Ended.Tell) == 0 {
		n.cfg.Log.Warn("a queued call failed and nobody is told: its function has no destination for that and no dead letter queue",
			"function", q.Function, "request", q.RequestID, "condition", string(c), "runs", q.Runs)
	}
	if q.Ended.Tell = n.tell(ctx, q); len(q.Ended.Tell) == 0 {
		n.forget(ctx, q)
		return 0, nil
	}
	q.NotBefore = time.Now().Add(firstBackoff)
	return n.replace(ctx, q, delivery)
}

// tellAgain goes on with a call of which only its targets' part is left.
func (n *Invoker) tellAgain(ctx context.Context, q queued, delivery int) (time.Duration, error) {
	left := n.tell(ctx, q)
	if len(left) == 0 {
		n.forget(ctx, q)
		return 0, nil
	}
	if ctx.Err() == nil && time.Since(q.Ended.At) > giveUp {
		for _, t := range left {
			n.cfg.Log.Error("the end of a call is given up: its target did not take it", "target", t.Target.String(), "function", q.Function, "request", q.RequestID)
		}
		n.forget(ctx, q)
		return 0, nil
	}
	return backoff(delivery), errWait
}

// targets lists who is told of a call's end.
func (n *Invoker) targets(q queued, set function.AsyncSettings, c Condition) (list []telling) {
	if c == Success {
		if set.OnSuccess.Kind != "" {
			list = append(list, telling{Target: set.OnSuccess})
		}
		return list
	}
	if v, err := n.cfg.Functions.Get(q.Function, q.Qualifier); err == nil && v.DeadLetter.Kind != "" {
		list = append(list, telling{Target: v.DeadLetter, Dead: true})
	}
	if set.OnFailure.Kind != "" {
		list = append(list, telling{Target: set.OnFailure})
	}
	return list
}

// tell sends the call's end to its targets and returns those that don't have it.
func (n *Invoker) tell(ctx context.Context, q queued) (left []telling) {
	e := Ended{Request: q.Request, Condition: q.Ended.Condition, At: q.Ended.At, Runs: q.Runs, Result: q.Result}
	for _, t := range q.Ended.Tell {
		err := n.send(ctx, t, e)
		if errs.Is(err, errs.TooLarge) && !t.Dead && e.Result != nil {
			// Better a record without the answer than none.
			short := *e.Result
			short.Payload = nil
			e.Result = &short
			err = n.send(ctx, t, e)
		}
		switch {
		case err == nil:
		case errs.Is(err, errs.Invalid), errs.Is(err, errs.TooLarge), errs.Is(err, errs.Unsupported):
			n.cfg.Log.Error("the end of a call can't be told to its target", "target", t.Target.String(), "function", q.Function, "request", q.RequestID, "err", err)
		default:
			n.cfg.Log.Warn("the end of a call is told again later", "target", t.Target.String(), "function", q.Function, "request", q.RequestID, "err", err)
			left = append(left, t)
		}
	}
	return left
}

func (n *Invoker) send(ctx context.Context, t telling, e Ended) error {
	m := n.cfg.Words.Record(t.Target, e)
	what := "record"
	if t.Dead {
		m = n.cfg.Words.DeadLetter(e)
		what = "dead letter"
	}
	m.ID = derivedID(e.RequestID + " " + what + " " + t.Target.String())
	m.Time, m.TraceID, m.Lineage = e.At, e.TraceID, e.Lineage.With(e.Function)
	if e.Result != nil {
		m.TraceID = trace.WithParent(m.TraceID, e.Result.Record.Span)
	}
	return n.cfg.Senders.Send(ctx, t.Target, m)
}
