package meter

import (
	"strconv"
	"time"

	"github.com/mayfly-dev/mayfly/internal/trace"
)

// TraceID implements trace.Work.
func (r *Record) TraceID() string {
	if r.Span == "" {
		return ""
	}
	return r.Trace
}

// Spans implements trace.Work. It tells the record as spans: the call itself, and
// what it was made of. A call that waited for an instance began before its record's
// Start.
func (r *Record) Spans() []trace.Span {
	if r.TraceID() == "" {
		return nil
	}
	ready := r.Start
	parts := 0
	part := func(name string, start time.Time, d time.Duration) trace.Span {
		parts++
		return trace.Span{Trace: r.Trace, ID: trace.PartID(r.Span, parts), Parent: r.Span, Name: name, Kind: trace.Internal, Start: start, Duration: d}
	}
	var waits []trace.Span
	wait := func(name string, d time.Duration) {
		if d > 0 {
			waits = append(waits, part(name, time.Time{}, d))
		}
	}
	p := r.Phases
	cold := p.Sandbox > 0 || p.Init > 0 || p.Restore > 0
	if r.Outcome == InitFailed { // its Start is before all of that
		ready = r.Start.Add(p.Sandbox + p.Restore + p.Init)
	}
	if cold || p.Queue >= time.Millisecond {
		wait("wait for an instance", p.Queue)
	}
	wait("create sandbox", p.Sandbox)
	wait("restore snapshot", p.Restore)
	wait("init", p.Init)
	at := ready
	for i := len(waits) - 1; i >= 0; i-- {
		at = at.Add(-waits[i].Duration)
		waits[i].Start = at
	}
	call := trace.Span{
		Trace: r.Trace, ID: r.Span, Parent: r.Parent, Name: r.Function, Kind: trace.Server, Start: at,
		Duration: max(r.End().Sub(at), ready.Sub(at)), Attributes: r.attributes(cold),
	}
	var spans []trace.Span
	if r.Age > 0 { // queued: the wait is the caller's, and the call hangs below it
		call.Kind = trace.Consumer
		accepted := r.Start.Add(-r.Age)
		if accepted.Before(at) {
			spans = append(spans, part("queued", accepted, at.Sub(accepted)))
			call.Start, call.Duration = accepted, call.End().Sub(accepted)
		}
	}
	if r.Outcome != OK {
		call.Error = string(r.Outcome)
		if r.ErrorType != "" {
			call.Error += ": " + r.ErrorType
		}
	}
	spans = append(append([]trace.Span{call}, spans...), waits...)
	if r.Outcome != InitFailed {
		handler := part("handler", r.Start, r.Duration)
		handler.Error = call.Error
		spans = append(spans, handler)
	}
	return spans
}

// attributes are in the words of OpenTelemetry's conventions for functions.
func (r *Record) attributes(cold bool) map[string]string {
	a := map[string]string{
		"faas.name": r.Function, "faas.version": r.Version, "faas.invocation_id": r.RequestID,
		"faas.coldstart": strconv.FormatBool(cold), "faas.max_memory": strconv.Itoa(r.MemoryMB << 20),
	}
	if r.Instance != "" {
		a["faas.instance"] = r.Instance
	}
	if r.Alias != "" {
		a["mayfly.alias"] = r.Alias
	}
	if r.Attempt > 0 {
		a["mayfly.attempt"] = strconv.Itoa(r.Attempt)
	}
	return a
}
