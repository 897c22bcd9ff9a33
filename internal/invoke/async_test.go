package invoke

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

var (
	failed = event.Target{Kind: event.Queue, Name: "failed"}
	done   = event.Target{Kind: event.Bus, Name: "done"}
	dead   = event.Target{Kind: event.Queue, Name: "dead"}
)

// newAsync returns a running invoker of function f, which answers as answer
// says, and what its destinations get.
func newAsync(t *testing.T, answer func(payload []byte) (string, bool), set function.AsyncSettings, change func(*Config)) (*Invoker, *inbox) {
	t.Helper()
	in := newInbox()
	n := newInvoker(t, answer, func(c *Config) {
		c.Senders = event.Senders{event.Queue: in, event.Bus: in}
		c.MaxAsync = 3 << 20
		if change != nil {
			change(c)
		}
	})
	create(t, n.cfg.Functions, "f", nil)
	_, err := n.cfg.Functions.SetAsync(t.Context(), "f", "", func(function.AsyncSettings, bool) (function.AsyncSettings, error) { return set, nil })
	ok(t, err)
	running(t, n)
	return n, in
}

// left waits until the queue is empty.
func empty(t *testing.T, n *Invoker) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		waiting := n.cfg.Calls.Waiting()
		if len(waiting) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still in the queue: %v", waiting)
		}
	}
}

func TestFailedCallIsRetriedAndThenItsDestinationIsTold(t *testing.T) {
	for retries := range 3 {
		t.Run(fmt.Sprint(retries), func(t *testing.T) {
			var runs atomic.Int32
			n, in := newAsync(t, func([]byte) (string, bool) { runs.Add(1); return `{"errorMessage":"no"}`, true },
				function.AsyncSettings{Retries: &retries, OnFailure: failed, OnSuccess: done}, nil)
			ok(t, n.Async(t.Context(), Request{RequestID: "r", Function: "f", Payload: []byte(`{"a":1}`)}))
			m := in.next(t)
			if m.to != failed || string(m.Body) != string(RetriesExhausted) || m.Attributes["payload"] != `{"a":1}` || m.Attributes["answer"] != `{"errorMessage":"no"}` {
				t.Errorf("sent: %+v", m)
			}
			if m.Lineage.Counts["f"] != 1 {
				t.Errorf("lineage %v, want one pass through f", m.Lineage)
			}
			empty(t, n)
			if got := int(runs.Load()); got != retries+1 {
				t.Errorf("the function ran %d times, want %d", got, retries+1)
			}
			if len(in.got) != 0 {
				t.Errorf("also sent: %+v", <-in.got)
			}
		})
	}
}

func TestSuccessIsToldAndEndsTheRetries(t *testing.T) {
	var runs atomic.Int32
	n, in := newAsync(t, func([]byte) (string, bool) {
		if runs.Add(1) == 1 {
			return `{}`, true
		}
		return `"fine"`, false
	}, function.AsyncSettings{OnFailure: failed, OnSuccess: done}, nil)
	ok(t, n.Async(t.Context(), Request{RequestID: "r", Function: "f", Payload: []byte(`1`)}))
	if m := in.next(t); m.to != done || string(m.Body) != string(Success) || m.Attributes["answer"] != `"fine"` {
		t.Errorf("sent: %+v", m)
	}
	empty(t, n)
	if runs.Load() != 2 {
		t.Errorf("the function ran %d times, want 2", runs.Load())
	}
}

func TestDeadLetterIsTheEventAndIsSentBesideTheRecord(t *testing.T) {
	none := 0
	n, in := newAsync(t, func([]byte) (string, bool) { return `{}`, true }, function.AsyncSettings{Retries: &none, OnFailure: failed}, nil)
	_, err := n.cfg.Functions.UpdateConfig(t.Context(), "f", "", func(c *function.Config) { c.DeadLetter = dead })
	ok(t, err)
	for v, err := n.cfg.Functions.Get("f", ""); v.Update != function.UpdateSuccessful; v, err = n.cfg.Functions.Get("f", "") {
		ok(t, err)
		time.Sleep(time.Millisecond)
	}
	ok(t, n.Async(t.Context(), Request{RequestID: "r", Function: "f", Payload: []byte(`{"raw":true}`)}))
	got := map[event.Target]string{}
	for range 2 {
		m := in.next(t)
		got[m.to] = string(m.Body)
	}
	if got[dead] != `{"raw":true}` || got[failed] != string(RetriesExhausted) {
		t.Errorf("sent: %v", got)
	}
}

func TestCallIsSettledOnlyWhenItsDestinationHasIt(t *testing.T) {
	var runs atomic.Int32
	n, in := newAsync(t, func([]byte) (string, bool) { runs.Add(1); return `1`, false }, function.AsyncSettings{OnSuccess: done}, nil)
	in.mu.Lock()
	in.refuse = []error{errs.Newf(errs.Unavailable, "not now")}
	in.mu.Unlock()
	ok(t, n.Async(t.Context(), Request{RequestID: "r", Function: "f", Payload: []byte(`1`)}))
	if m := in.next(t); m.to != done {
		t.Errorf("sent: %+v", m)
	}
	empty(t, n)
	if runs.Load() != 1 {
		t.Errorf("the function ran %d times: its end is told again, it is not run again", runs.Load())
	}
}

func TestRecordTooLargeForItsTargetGoesWithoutTheAnswer(t *testing.T) {
	n, in := newAsync(t, func([]byte) (string, bool) { return `"long"`, false }, function.AsyncSettings{OnSuccess: done}, nil)
	in.mu.Lock()
	in.refuse = []error{errs.Newf(errs.TooLarge, "too large")}
	in.mu.Unlock()
	ok(t, n.Async(t.Context(), Request{RequestID: "r", Function: "f", Payload: []byte(`1`)}))
	if m := in.next(t); m.Attributes["answer"] != "" || m.Attributes["payload"] != "1" {
		t.Errorf("sent: %+v", m)
	}
}

func TestCallsThatMustNotRunEndWithoutARun(t *testing.T) {
	zero := 0
	tests := []struct {
		name      string
		condition Condition
		q         queued
		allow     bool
		reserved  *int
	}{
		{"too old", TooOld, queued{Accepted: time.Now().Add(-2 * time.Minute)}, false, nil},
		{"an endless loop", Looping, queued{Request: Request{Lineage: event.Lineage{Counts: map[string]int{"f": MaxPasses}}}}, false, nil},
		{"a loop that is allowed", Success, queued{Request: Request{Lineage: event.Lineage{Counts: map[string]int{"f": MaxPasses}}}}, true, nil},
		{"one pass before the end", Success, queued{Request: Request{Lineage: event.Lineage{Counts: map[string]int{"f": MaxPasses - 1, "g": 99}}}}, false, nil},
		{"a stopped function", Stopped, queued{}, false, &zero},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var runs atomic.Int32
			n, in := newAsync(t, func([]byte) (string, bool) { runs.Add(1); return `1`, false },
				function.AsyncSettings{MaxAge: time.Minute, OnSuccess: done, OnFailure: failed}, nil)
			ok(t, n.cfg.Functions.Reserve(t.Context(), "f", tt.reserved))
			ok(t, n.cfg.Functions.AllowLoops(t.Context(), "f", tt.allow))
			q := tt.q
			q.Function, q.RequestID, q.Payload = "f", "r", []byte("1")
			if q.Accepted.IsZero() {
				q.Accepted = time.Now()
			}
			ok(t, n.put(t.Context(), "", q))
			if m := in.next(t); string(m.Body) != string(tt.condition) {
				t.Errorf("sent %s, want %s", m.Body, tt.condition)
			}
			if ran := runs.Load() > 0; ran != (tt.condition == Success) {
				t.Errorf("the function ran %d times", runs.Load())
			}
		})
	}
}

func TestLoopIsRefusedWhenItsCallerWaits(t *testing.T) {
	n := newInvoker(t, func([]byte) (string, bool) { return `1`, false }, nil)
	create(t, n.cfg.Functions, "f", nil)
	r := Request{RequestID: "r", Function: "f", Lineage: event.Lineage{Counts: map[string]int{"f": MaxPasses}}}
	if _, err := n.Sync(t.Context(), r); errs.Of(err) == nil || errs.Of(err).Reason != ReasonLoop {
		t.Errorf("the call after %d passes: %v, want %s", MaxPasses, err, ReasonLoop)
	}
	ok(t, n.cfg.Functions.AllowLoops(t.Context(), "f", true))
	_, err := n.Sync(t.Context(), r)
	ok(t, err)
}

func TestThrottledCallUsesUpNoAttempt(t *testing.T) {
	n, _ := newAsync(t, nil, function.AsyncSettings{}, nil)
	one := 1
	ok(t, n.cfg.Functions.Reserve(t.Context(), "f", &one))
	_, err := n.admission.enter("f", 1, true, 0) // its one place is taken
	ok(t, err)
	body, err := json.Marshal(queued{Request: Request{RequestID: "r", Function: "f"}, Accepted: time.Now()})
	ok(t, err)
	for attempt := 1; attempt < 20; attempt++ {
		retry, err := n.queued(t.Context(), spine.Delivery{Lane: "f", Body: body, Attempt: attempt})
		if !errs.Is(err, errs.Throttled) || retry != backoff(attempt) {
			t.Fatalf("delivery %d: again after %s, %v", attempt, retry, err)
		}
	}
	if room := n.windows.room("f"); room != 1 {
		t.Errorf("the window of a throttled function is %d, want 1", room)
	}
}

func TestLargeCallTravelsOutsideTheQueue(t *testing.T) {
	payload := `"` + strings.Repeat("x", 2<<20) + `"`
	var fails atomic.Bool
	fails.Store(true)
	n, in := newAsync(t, func(b []byte) (string, bool) {
		if string(b) != payload {
			return `"another payload"`, false
		}
		return `"the same"`, fails.Swap(false)
	}, function.AsyncSettings{OnSuccess: done}, nil)
	ok(t, n.Async(t.Context(), Request{RequestID: "r", Function: "f", Payload: []byte(payload)}))
	if m := in.next(t); m.Attributes["answer"] != `"the same"` {
		t.Errorf("the function got %s", m.Attributes["answer"])
	}
	empty(t, n)
	for b, err := range n.cfg.Blobs.List(t.Context(), blobPrefix) {
		t.Errorf("left behind: %s, %v", b.Key, err)
	}
}

func TestRepeatedMessageMakesOneCall(t *testing.T) {
	n, in := newAsync(t, func([]byte) (string, bool) { return `1`, false }, function.AsyncSettings{OnSuccess: done}, nil)
	f := event.Target{Kind: event.Function, Name: "f"}
	for _, id := range []string{"a", "a", "b", "a"} {
		ok(t, n.Send(t.Context(), f, event.Message{ID: id, Body: []byte(`"` + id + `"`)}))
	}
	got := in.next(t).Attributes["payload"] + in.next(t).Attributes["payload"]
	if got != `"a""b"` && got != `"b""a"` {
		t.Errorf("calls were made of %s", got)
	}
	empty(t, n)
	if len(in.got) != 0 {
		t.Errorf("a repeat was run: %+v", <-in.got)
	}
}

func TestWindowGrowsWithWhatIsFreeAndShrinksUnderPressure(t *testing.T) {
	w := windows{of: map[string]int{}}
	var quick, slow Result
	slow.Record.Phases.Queue = 2 * longWait
	for range 10 {
		w.ran("f", quick, nil)
	}
	if got := w.room("f"); got != firstWindow+10 {
		t.Errorf("after 10 calls that did not wait: %d", got)
	}
	w.ran("f", slow, nil)
	w.ran("f", quick, errs.Newf(errs.Throttled, "x"))
	if got := w.room("f"); got != (firstWindow+9)/2 {
		t.Errorf("after one that waited and one that was throttled: %d", got)
	}
	if got := w.room("g"); got != firstWindow {
		t.Errorf("another function: %d", got)
	}
}
