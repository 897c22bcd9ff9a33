package invoke

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"time"

	"github.com/mayfly-dev/mayfly/internal/blob"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/logs"
	"github.com/mayfly-dev/mayfly/internal/meter"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
	"github.com/mayfly-dev/mayfly/internal/spine"
	"github.com/mayfly-dev/mayfly/internal/trace"
)

// Config is what an Invoker is made of. All fields are required unless they say
// otherwise.
type Config struct {
	Functions *function.Registry
	Pool      *sandbox.Pool
	Logs      *logs.Store
	Meter     *meter.Ledger
	Calls     *spine.Lanes  // the queue of asynchronous calls, a lane for each function
	Blobs     blob.Store    // for queued calls that are too large for it
	Senders   event.Senders // for what is to be told of them
	Words     Words
	Log       *slog.Logger
	MaxSync   int64 // bytes
	MaxAsync  int64 // bytes

	// RetryWaits is how long a queued call waits after the function's first
	// failure, the second, and so on; the last one stands for all further ones.
	RetryWaits []time.Duration

	// Unobserved leaves no log and no record of what runs, which is to be had only
	// to measure what these cost.
	Unobserved bool
	// Finished, if set, is told of each call that has run. It must not wait.
	Finished func(Request, Result)
	// Allow, if set, is asked before each call runs; its error refuses it.
	Allow func(function, qualifier string) error
	// Throttled and GivenUp, if set, are told the functions of calls that were
	// refused for want of room, and of asynchronous calls that were given up.
	Throttled, GivenUp func(function string)
}

// Invoker runs calls. It is safe for concurrent use.
type Invoker struct {
	cfg       Config
	admission admission
	windows   windows
	buffers   buffers
	proxyLog  *log.Logger
}

// New returns an Invoker. Queued calls are run only while Run does.
func New(cfg Config) *Invoker {
	return &Invoker{
		cfg: cfg, windows: windows{of: map[string]int{}},
		proxyLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
}

// Check reports whether Sync would accept r, without running it.
func (n *Invoker) Check(r Request) error {
	_, err := n.admit(r, n.cfg.MaxSync)
	return err
}

// Sync runs a call and returns its answer; a function that failed is a Result
// too. When ctx ends before the call began, it does not begin; once it has begun
// it runs to its own end. Errors: NotFound, Conflict (the function is not ready),
// TooLarge, Throttled, Unavailable, Denied (an endless loop, ReasonLoop).
func (n *Invoker) Sync(ctx context.Context, r Request) (Result, error) {
	v, err := n.admitNow(r)
	if err != nil {
		return Result{}, err
	}
	return n.run(ctx, v, r, 0, nil)
}

// admitNow admits a call that is run at once.
func (n *Invoker) admitNow(r Request) (*function.Version, error) {
	v, err := n.admit(r, n.cfg.MaxSync)
	if err == nil && n.loops(r) {
		err = errs.Newf(errs.Denied, "function %s was called in an endless loop, which was ended after %d passes", r.Function, MaxPasses).WithReason(ReasonLoop)
	}
	return v, err
}

func (n *Invoker) admit(r Request, limit int64) (*function.Version, error) {
	if size := int64(len(r.Payload)); size > limit {
		return nil, errs.Newf(errs.TooLarge, "the payload has %d bytes, over the limit of %d", size, limit)
	}
	return n.cfg.Functions.Lookup(r.Function, r.Qualifier)
}

// run runs an admitted call within the limits on concurrency; its answer goes to
// w while it comes, unless w is nil.
func (n *Invoker) run(ctx context.Context, v *function.Version, r Request, attempt int, w StreamWriter) (Result, error) {
	if v.Web != nil {
		return n.runWeb(ctx, v, r, attempt, w)
	}
	inOwn, err := n.enter(r)
	if err != nil {
		return Result{}, n.refused(r, err)
	}
	defer n.admission.leave(r.Function, inOwn)
	r.TraceID = n.cfg.Words.Trace(r.TraceID, r.Lineage.With(r.Function))

	began := time.Now()
	inst, err := n.cfg.Pool.Acquire(ctx, v)
	var failed *sandbox.InitError
	if errors.As(err, &failed) {
		return n.finished(r)(n.initFailed(v, r, attempt, began, failed))
	}
	if err != nil {
		return Result{}, n.refused(r, err)
	}
	defer n.cfg.Pool.Release(inst)
	rec := n.record(v, r, attempt)
	rec.Instance = inst.ID
	rec.Phases.Queue = rec.Start.Sub(began)
	rec.Kept = inst.Provisioned()
	if times, fresh := inst.Start(); fresh {
		rec.Init, rec.Restore, rec.Revive = times.Init, times.Restore, times.Revive
		rec.Phases.Sandbox, rec.Phases.Restore, rec.Phases.Init = times.Sandbox, times.Restore, times.Init
		rec.Phases.Queue = max(0, rec.Phases.Queue-times.Sandbox-times.Restore-times.Init)
	}
	return n.finished(r)(n.call(ctx, inst, r, rec, w))
}

// enter takes a place for a call if Allow and the limits on concurrency let it
// run; the place is given back with admission.leave.
func (n *Invoker) enter(r Request) (inOwn bool, err error) {
	if n.cfg.Allow != nil {
		if err := n.cfg.Allow(r.Function, r.Qualifier); err != nil {
			return false, err
		}
	}
	own, only, rest := n.cfg.Functions.Shares(r.Function)
	return n.admission.enter(r.Function, own, only, rest)
}

// refused tells who listens of a call that was throttled, and passes the error on.
func (n *Invoker) refused(r Request, err error) error {
	if errs.Is(err, errs.Throttled) && n.cfg.Throttled != nil {
		n.cfg.Throttled(r.Function)
	}
	return err
}

// finished tells who listens of a call that has run, and passes its outcome on.
func (n *Invoker) finished(r Request) func(Result, error) (Result, error) {
	return func(res Result, err error) (Result, error) {
		if err == nil && n.cfg.Finished != nil {
			n.cfg.Finished(r, res)
		}
		return res, err
	}
}

func (n *Invoker) record(v *function.Version, r Request, attempt int) meter.Record {
	rec := meter.Record{
		RequestID: r.RequestID, Attempt: attempt, Function: v.Function, Version: v.Version,
		Start: time.Now(), MemoryMB: v.MemoryMB, TmpMB: v.TmpMB, Outcome: meter.OK,
	}
	if r.Qualifier != v.Version {
		rec.Alias = r.Qualifier
	}
	if t := trace.Parse(r.TraceID); t.Trace != "" {
		rec.Trace, rec.Parent, rec.Span = t.Trace, t.Span, trace.NewID()
	}
	if !r.accepted.IsZero() {
		rec.Age = max(rec.Start.Sub(r.accepted), time.Nanosecond)
	}
	return rec
}

// call runs the call on an instance and accounts for it.
func (n *Invoker) call(ctx context.Context, inst *sandbox.Instance, r Request, rec meter.Record, w StreamWriter) (Result, error) {
	v := inst.Version
	log := n.openLog(v, inst.ID, r.RequestID)
	if err := log.start(); err != nil {
		return Result{}, err
	}
	first := len(log.lines)
	c := &sandbox.Call{
		RequestID: r.RequestID, Deadline: time.Now().Add(v.Timeout), InvokedName: r.InvokedName,
		TraceID: trace.WithParent(r.TraceID, rec.Span), ClientContext: r.ClientContext, Payload: r.Payload,
	}
	var a sandbox.Answer
	if w == nil {
		a = inst.Call(c)
	} else {
		a, rec.Streamed = stream(ctx, inst, c, w)
	}
	rec.Duration, rec.PeakBytes = a.Duration, inst.Peak()
	res := Result{Payload: a.Body, Version: v.Version}
	status := ""
	if a.Failed {
		res.FunctionError = Unhandled
		rec.Outcome, status = outcome(a.Fault)
		rec.ErrorType = a.ErrorType
	}
	rec.Billed = meter.Billed(rec.Duration, rec.Init) + meter.Billed(rec.Revive, 0)
	if rec.Init > 0 || rec.Restore > 0 {
		rec.Phases.Answer = a.Duration
	}
	res.Record = rec
	if err := log.finish(&rec, status, len(a.Body)); err != nil {
		return res, err
	}
	if r.Tail {
		res.LogTail = log.tail(first, a.Log)
	}
	if err := n.meter(rec); err != nil {
		return res, err
	}
	if a.Fault == sandbox.Canceled {
		return res, &errs.Error{Kind: errs.Unavailable, Message: "the caller left before the answer was complete", Err: context.Cause(ctx)}
	}
	return res, nil
}

// initFailed accounts for a call whose instance never became ready.
func (n *Invoker) initFailed(v *function.Version, r Request, attempt int, began time.Time, failed *sandbox.InitError) (Result, error) {
	rec := n.record(v, r, attempt)
	rec.Start, rec.Outcome, rec.Init = began, meter.InitFailed, failed.Times.Init
	rec.Restore, rec.Revive = failed.Times.Restore, failed.Times.Revive
	rec.ErrorType = failed.ErrorType
	rec.PeakBytes = failed.PeakBytes
	rec.Phases.Sandbox, rec.Phases.Init, rec.Phases.Restore = failed.Times.Sandbox, failed.Times.Init, failed.Times.Restore
	rec.Billed = meter.Billed(0, rec.Init) + meter.Billed(rec.Revive, 0)
	status := logs.StatusError
	if failed.Fault == sandbox.InitTimedOut {
		status = logs.StatusTimeout
	}
	log := n.openLog(v, failed.Instance, r.RequestID)
	if err := errors.Join(log.initFailed(&rec, status), log.start(), log.finish(&rec, status, 0)); err != nil {
		return Result{}, err
	}
	res := Result{Payload: failed.For(r.RequestID), FunctionError: Unhandled, Version: v.Version, Record: rec}
	if r.Tail {
		res.LogTail = log.tail(0, failed.Log)
	}
	return res, n.meter(rec)
}

// meter counts a record.
func (n *Invoker) meter(rec meter.Record) error {
	if n.cfg.Unobserved {
		return nil
	}
	return n.cfg.Meter.Add(rec)
}

func outcome(f sandbox.FaultKind) (o meter.Outcome, status string) {
	switch f {
	case 0:
		return meter.Failed, ""
	case sandbox.TimedOut:
		return meter.TimedOut, logs.StatusTimeout
	case sandbox.OutOfMemory:
		return meter.OutOfMemory, logs.StatusError
	case sandbox.ResponseTooLarge:
		return meter.Failed, logs.StatusError
	case sandbox.Canceled:
		return meter.Canceled, logs.StatusError
	}
	return meter.Crashed, logs.StatusError
}
