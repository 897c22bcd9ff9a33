package admin

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/logs"
	"github.com/mayfly-dev/mayfly/internal/meter"
	"github.com/mayfly-dev/mayfly/internal/trace"
)

const (
	usualTraces = 50
	maxTraces   = 1000
)

// Traces is the answer of GET traces.
type Traces struct {
	Traces []trace.Summary `json:"traces"`
}

func (d *door) traces(w http.ResponseWriter, r *http.Request) error {
	if err := only(r, "limit"); err != nil {
		return err
	}
	n, err := limit(r, maxTraces)
	if err != nil {
		return err
	}
	if n == 0 {
		n = usualTraces
	}
	if err := d.Meter.Flush(r.Context()); err != nil { // spans come of records
		return err
	}
	return write(w, Traces{append([]trace.Summary{}, d.Spans.Recent(n)...)})
}

// Trace is the answer of GET traces/{id}.
type Trace struct {
	Trace   string         `json:"trace"`
	Spans   []trace.Span   `json:"spans"`   // by their beginning
	Records []meter.Record `json:"records"` // of the request, if one was asked for
}

// trace answers with what is still in memory of a trace. Of a request that is
// older than that, its own spans can be told from its records.
func (d *door) trace(w http.ResponseWriter, r *http.Request) error {
	if err := only(r); err != nil {
		return err
	}
	id := r.PathValue("id")
	if err := d.Meter.Flush(r.Context()); err != nil {
		return err
	}
	if c := trace.Parse("Root=" + id); c.Trace != "" { // as X-Amzn-Trace-Id has it
		id = c.Trace
	}
	if spans := d.Spans.Trace(strings.ToLower(id)); len(spans) > 0 {
		return write(w, Trace{Trace: id, Spans: spans, Records: []meter.Record{}})
	}
	records, err := d.Meter.Record(r.Context(), id)
	if errs.Is(err, errs.NotFound) {
		return errs.Newf(errs.NotFound, "there is no trace and no request %s: it may be older than what is kept", strings.ToValidUTF8(id, "?"))
	}
	if err != nil {
		return err
	}
	t := Trace{Trace: records[0].Trace, Records: records}
	t.Spans = d.Spans.Trace(t.Trace)
	for i := range records {
		if !slices.ContainsFunc(t.Spans, func(s trace.Span) bool { return s.ID == records[i].Span }) {
			t.Spans = append(t.Spans, records[i].Spans()...)
		}
	}
	if t.Spans == nil {
		t.Spans = []trace.Span{}
	}
	trace.Sort(t.Spans)
	return write(w, t)
}

// tail answers with the lines of several functions, or of all, as they are
// written.
func (d *door) tail(w http.ResponseWriter, r *http.Request) error {
	if err := only(r, "function", "level", "contains", "since"); err != nil {
		return err
	}
	f, err := filter(r)
	if err != nil {
		return err
	}
	if f.Since.IsZero() {
		f.Since = time.Now()
	}
	return d.stream(w, r, d.Logs.FollowAll(r.Context(), r.Form["function"], f), true, nil)
}

// filter reads what a call selects of logs.
func filter(r *http.Request) (f logs.Filter, err error) {
	f.RequestID, f.Contains = r.FormValue("request"), r.FormValue("contains")
	if f.Since, f.Until, err = stretch(r); err != nil {
		return f, err
	}
	if s := r.FormValue("level"); s != "" {
		level, ok := logs.ParseLevel(s)
		if !ok {
			return f, errs.Newf(errs.Invalid, "level must be trace, debug, info, warn, error or fatal, not %q", s)
		}
		f.Level = level
	}
	return f, nil
}
