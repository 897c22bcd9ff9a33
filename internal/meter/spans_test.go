package meter

import (
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/trace"
)

func TestSpansOfAColdQueuedCallAreInTheirOrder(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	r := rec(0)
	r.Start, r.Duration, r.Age = start, 100*time.Millisecond, 5*time.Second
	r.Trace, r.Span, r.Parent = trace.NewTraceID(), trace.NewID(), trace.NewID()
	r.Phases = Phases{Queue: 10 * time.Millisecond, Sandbox: 20 * time.Millisecond, Init: 300 * time.Millisecond}
	r.Outcome, r.ErrorType = Failed, "ValueError"
	spans := r.Spans()
	trace.Sort(spans)
	want := []struct {
		name     string
		from, to time.Duration // from the call's Start
	}{
		{"f", -5 * time.Second, 100 * time.Millisecond},
		{"queued", -5 * time.Second, -330 * time.Millisecond},
		{"wait for an instance", -330 * time.Millisecond, -320 * time.Millisecond},
		{"create sandbox", -320 * time.Millisecond, -300 * time.Millisecond},
		{"init", -300 * time.Millisecond, 0},
		{"handler", 0, 100 * time.Millisecond},
	}
	if len(spans) != len(want) {
		t.Fatalf("%d spans: %+v", len(spans), spans)
	}
	for i, w := range want {
		s := spans[i]
		if s.Name != w.name || s.Start.Sub(start) != w.from || s.End().Sub(start) != w.to {
			t.Errorf("span %d is %s from %s to %s, want %+v", i, s.Name, s.Start.Sub(start), s.End().Sub(start), w)
		}
		if i > 0 && s.Parent != r.Span {
			t.Errorf("%s hangs below %s", s.Name, s.Parent)
		}
	}
	if spans[0].Parent != r.Parent || spans[0].Error != "error: ValueError" || spans[0].Kind != trace.Consumer || spans[0].Attributes["faas.coldstart"] != "true" {
		t.Errorf("the call: %+v", spans[0])
	}
	warm := rec(1)
	warm.Trace, warm.Span = r.Trace, trace.NewID()
	if got := warm.Spans(); len(got) != 2 {
		t.Errorf("a warm call has %d spans, want itself and its handler", len(got))
	}
	if got := (&Record{}).Spans(); got != nil {
		t.Errorf("a record without a trace has spans: %v", got)
	}
}
