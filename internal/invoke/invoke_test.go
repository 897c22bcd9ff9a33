package invoke

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/blob/disk"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/logs"
	"github.com/mayfly-dev/mayfly/internal/meter"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

// newInvoker returns an invoker on a real spine, with functions that answer as
// answer says. What runs functions for real is tested on whole nodes, in test/.
func newInvoker(t *testing.T, answer func(payload []byte) (body string, fails bool), change func(*Config)) *Invoker {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s, err := spine.Open(t.Context(), spine.Config{Dir: t.TempDir(), Log: log})
	ok(t, err)
	t.Cleanup(s.Close)
	bucket, err := s.Bucket(t.Context(), spine.FunctionsBucket)
	ok(t, err)
	blobs, err := disk.Open(t.TempDir())
	ok(t, err)
	registry, err := function.Open(t.Context(), function.Options{
		Bucket: bucket, Packages: blobs, Runtimes: anyRuntime{}, Builder: anyRuntime{}, Limits: function.DefaultLimits("amd64"), Log: log,
	})
	ok(t, err)
	store, err := logs.Open(logs.Config{Dir: t.TempDir()}, log)
	ok(t, err)
	t.Cleanup(func() { ok(t, store.Close()) })
	journal, err := s.Meter(t.Context())
	ok(t, err)
	ledger, err := meter.Open(t.Context(), meter.Config{Path: filepath.Join(t.TempDir(), "ledger"), Journal: journal, Log: log})
	ok(t, err)
	t.Cleanup(func() { ok(t, ledger.Close()) })
	calls, err := s.Calls(t.Context())
	ok(t, err)
	g := guests{answer: answer}
	pool := sandbox.NewPool(sandbox.PoolConfig{
		Driver: g, Plan: func(context.Context, *function.Version) (sandbox.Plan, error) { return sandbox.Plan{Guest: g}, nil },
		Sink: func(sandbox.Lines) {}, Log: log, KeepAlive: time.Hour, Linger: time.Hour, MemoryMB: 1024, Starts: 4,
		InitLimit: 10 * time.Second, QueueLimit: 10 * time.Second, MaxResponse: 4 << 20,
	})
	t.Cleanup(func() { ok(t, pool.Close(context.Background())) })
	cfg := Config{
		Functions: registry, Pool: pool, Logs: store, Meter: ledger, Calls: calls, Log: log,
		Blobs: blobs, Senders: event.Senders{}, Words: plainWords{},
		MaxSync: 100, MaxAsync: 10, RetryWaits: []time.Duration{time.Millisecond},
	}
	if change != nil {
		change(&cfg)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- registry.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	return New(cfg)
}

// running runs queued calls until the test ends.
func running(t *testing.T, n *Invoker) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		ok(t, <-ended)
	})
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestCallsThatCanNotRunAreRefusedAtTheDoor(t *testing.T) {
	n := newInvoker(t, nil, nil)
	big := make([]byte, 11)
	if err := n.Async(t.Context(), Request{Function: "f", Payload: big}); !errs.Is(err, errs.TooLarge) {
		t.Errorf("Async of 11 bytes: %v, want too large", err)
	}
	if err := n.Check(Request{Function: "f", Payload: big}); !errs.Is(err, errs.NotFound) {
		t.Errorf("Check of a missing function: %v, want not found", err)
	}
	if _, err := n.Sync(t.Context(), Request{Function: "f", Payload: make([]byte, 101)}); !errs.Is(err, errs.TooLarge) {
		t.Errorf("Sync of 101 bytes: %v, want too large", err)
	}
	if err := n.Async(t.Context(), Request{Function: "f"}); !errs.Is(err, errs.NotFound) {
		t.Errorf("Async of a missing function: %v, want not found", err)
	}
}

func TestQueuedCallOfADeletedFunctionLeavesTheQueue(t *testing.T) {
	n := newInvoker(t, nil, nil)
	body, err := json.Marshal(queued{Request: Request{Function: "gone", RequestID: "r"}, Accepted: time.Now()})
	ok(t, err)
	if _, err := n.queued(t.Context(), spine.Delivery{Lane: "gone", Body: body, Attempt: 1}); err != nil {
		t.Errorf("a call of a deleted function stays in the queue: %v", err)
	}
	if _, err := n.queued(t.Context(), spine.Delivery{Lane: "gone", Body: []byte("no json"), Attempt: 1}); err != nil {
		t.Errorf("a call that can't be read stays in the queue: %v", err)
	}
}

func TestBackoffDoublesUpToItsLongest(t *testing.T) {
	for attempt, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 8: 128 * time.Second, 9: 256 * time.Second, 10: longBackoff, 1000: longBackoff} {
		if got := backoff(attempt); got != want {
			t.Errorf("backoff(%d) = %s, want %s", attempt, got, want)
		}
	}
}

func TestTailIsTheEndOfTheCallsLog(t *testing.T) {
	l := callLog{lines: []string{"START", "END", "REPORT"}}
	if got := string(l.tail(1, []byte("line\n"))); got != "START\nline\nEND\nREPORT\n" {
		t.Errorf("tail = %q", got)
	}
	long := strings.Repeat("x", 2*sandbox.TailBytes) + "\n"
	l.lines = []string{"START", "END"}
	got := string(l.tail(1, []byte(long)))
	if len(got) != sandbox.TailBytes || !strings.HasSuffix(got, "x\nEND\n") {
		t.Errorf("the tail of a long log has %d bytes and ends with %q", len(got), got[len(got)-8:])
	}
}

func TestFaultsBecomeOutcomes(t *testing.T) {
	for fault, want := range map[sandbox.FaultKind]meter.Outcome{
		0: meter.Failed, sandbox.TimedOut: meter.TimedOut, sandbox.OutOfMemory: meter.OutOfMemory,
		sandbox.Exited: meter.Crashed, sandbox.ResponseTooLarge: meter.Failed,
	} {
		if got, _ := outcome(fault); got != want {
			t.Errorf("fault %d is outcome %q, want %q", fault, got, want)
		}
	}
}

func TestCanceledRunEnds(t *testing.T) {
	n := newInvoker(t, nil, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("stop"))
	ok(t, n.Run(ctx))
}

func TestOnlyAnUnobservedCallLeavesNoTrace(t *testing.T) {
	for unobserved, want := range map[bool]int{true: 0, false: 1} {
		n := newInvoker(t, func([]byte) (string, bool) { return `"hi"`, false }, func(c *Config) { c.Unobserved = unobserved })
		create(t, n.cfg.Functions, "f", nil)
		res, err := n.Sync(t.Context(), Request{RequestID: "r", Function: "f"})
		ok(t, err)
		if string(res.Payload) != `"hi"` {
			t.Errorf("unobserved %v: answer %s", unobserved, res.Payload)
		}
		records, err := n.cfg.Meter.Records(t.Context(), meter.Search{})
		ok(t, err)
		list, err := n.cfg.Logs.List()
		ok(t, err)
		if len(records) != want || len(list) != want {
			t.Errorf("unobserved %v: %d records and %d logs, want %d each", unobserved, len(records), len(list), want)
		}
	}
}
