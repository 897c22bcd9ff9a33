package invoke

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/logs"
	"github.com/mayfly-dev/mayfly/internal/meter"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

// call's log: what the platform writes around what the code does, in the format
// that the function's owner chose.
type callLog struct {
	n        *Invoker
	v        *function.Version
	instance string // "" if none became ready
	request  string
	level    logs.Level // least that is written
	lines    []string   // what was written, for the caller's tail
}

func (n *Invoker) openLog(v *function.Version, instance, requestID string) *callLog {
	l := &callLog{n: n, v: v, instance: instance, request: requestID}
	if v.Logging.JSON {
		l.level = logs.Info
		if chosen, ok := logs.ParseLevel(v.Logging.System); ok {
			l.level = chosen
		}
	}
	return l
}

// write appends lines to the function's log.
func (l *callLog) write(entries ...logs.Entry) error {
	now := time.Now()
	for i := range entries {
		e := &entries[i]
		e.Time, e.RequestID, e.Instance, e.Version, e.Stream = now, l.request, l.instance, l.v.Version, logs.Platform
		l.lines = append(l.lines, e.Text)
	}
	if len(entries) == 0 {
		return nil
	}
	if err := l.n.cfg.Logs.Append(l.v.Function, entries...); err != nil {
		return fmt.Errorf("write the log of %s: %w", l.v.Function, err)
	}
	return nil
}

// start writes that the call begins.
func (l *callLog) start() error {
	switch {
	case l.n.cfg.Unobserved:
		return nil
	case !l.v.Logging.JSON:
		return l.write(logs.Entry{Text: logs.StartLine(l.request, l.v.Version)})
	case l.level <= logs.Info:
		return l.write(logs.Entry{Text: logs.StartEvent(time.Now(), l.request, l.v.Version)})
	}
	return nil
}

// finish writes how the call ended. The last line carries the record, so that a
// node that dies now can tell its meter in its next life.
func (l *callLog) finish(rec *meter.Record, status string, answer int) error {
	if l.n.cfg.Unobserved {
		return nil
	}
	r := logs.Report{
		RequestID: rec.RequestID, Duration: rec.Duration, Billed: rec.Billed, MemoryMB: rec.MemoryMB,
		PeakBytes: rec.PeakBytes, Init: rec.Init, Restore: rec.Restore, Status: status,
	}
	if rec.Restore > 0 {
		r.BilledRestore = meter.Billed(rec.Revive, 0)
		r.Billed -= r.BilledRestore
	}
	if status != "" {
		r.ErrorType = rec.ErrorType
	}
	record := string(rec.Encode())
	now := time.Now()
	if !l.v.Logging.JSON {
		entries := []logs.Entry{{Text: logs.EndLine(l.request)}, {Text: logs.ReportLine(r), Record: record}}
		if status == logs.StatusTimeout && rec.Outcome == meter.TimedOut {
			entries = append([]logs.Entry{{Text: logs.TimeoutLine(now, l.request, l.v.Timeout)}}, entries...)
		}
		return l.write(entries...)
	}
	if rec.Outcome != meter.OK && r.Status == "" {
		r.Status, r.ErrorType = logs.StatusFailure, rec.ErrorType
	}
	var entries []logs.Entry
	if l.level <= logs.Debug || l.level <= logs.Info && r.Status != "" {
		entries = append(entries, logs.Entry{Text: logs.DoneEvent(now, r, answer)})
	}
	// The report is written at every level: the record must be somewhere.
	return l.write(append(entries, logs.Entry{Text: logs.ReportEvent(now, r), Record: record})...)
}

// initFailed writes that an instance did not become ready: in its init or, of a copy
// of a snapshot, in its hooks.
func (l *callLog) initFailed(rec *meter.Record, status string) error {
	if l.n.cfg.Unobserved {
		return nil
	}
	var text string
	switch restored, now := rec.Restore > 0, time.Now(); {
	case restored && l.v.Logging.JSON:
		text = logs.RestoreReportEvent(now, rec.Restore, status, rec.ErrorType)
	case restored:
		text = logs.RestoreReportLine(rec.Restore, status, rec.ErrorType)
	case l.v.Logging.JSON:
		text = logs.InitReportEvent(now, rec.Init, status, rec.ErrorType)
	default:
		text = logs.InitReportLine(rec.Init, status, rec.ErrorType)
	}
	return l.write(logs.Entry{Text: text})
}

// tail is the end of a call's log as its caller sees it: what the platform wrote
// first, the code's lines, and the platform's others.
func (l *callLog) tail(first int, code []byte) []byte {
	var b []byte
	for _, line := range l.lines[:first] {
		b = append(append(b, line...), '\n')
	}
	b = append(b, code...)
	for _, line := range l.lines[first:] {
		b = append(append(b, line...), '\n')
	}
	return b[max(0, len(b)-sandbox.TailBytes):]
}

// Sink returns the place for what instances write, for the pool.
func Sink(store *logs.Store, log *slog.Logger) sandbox.LineSink {
	return func(l sandbox.Lines) {
		v := l.Instance.Version
		if v.Logging.JSON && v.Logging.Code != "" {
			l.Texts = slices.DeleteFunc(l.Texts, func(text string) bool { return tooQuiet(v.Logging.Code, text) })
		}
		err := store.AppendLines(v.Function, logs.Entry{
			Time: l.Time, RequestID: l.RequestID, Instance: l.Instance.ID, Version: v.Version, Stream: logs.Output,
		}, l.Texts)
		if err != nil {
			log.Error("log lines were lost", "function", v.Function, "lines", len(l.Texts), "err", err)
		}
	}
}

// tooQuiet reports whether a line names a level below the least one.
func tooQuiet(least, text string) bool {
	l, ok := logs.JSONLevel(text)
	want, _ := logs.ParseLevel(least)
	return ok && l < want
}
