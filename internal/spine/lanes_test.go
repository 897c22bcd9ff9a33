package spine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// handler is a Service that takes notes.
type handler struct {
	mu   sync.Mutex
	runs map[string]int // guarded by mu: by lane and body
	do   func(h *handler, d Delivery) (time.Duration, error)
	room func(lane string) int
}

func (h *handler) service() Service {
	if h.room == nil {
		h.room = func(string) int { return 8 }
	}
	return Service{Room: h.room, Handle: func(_ context.Context, d Delivery) (time.Duration, error) {
		h.mu.Lock()
		h.runs[d.Lane+" "+string(d.Body)]++
		h.mu.Unlock()
		return h.do(h, d)
	}}
}

func openCalls(t *testing.T, s *Spine) *Lanes {
	t.Helper()
	l, err := s.Calls(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func put(t *testing.T, l *Lanes, lane, id, body string) {
	t.Helper()
	if err := l.Put(t.Context(), lane, id, []byte(body)); err != nil {
		t.Fatal(err)
	}
}

func TestItemsAreHandledUntilDoneAndThenGone(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	calls := openCalls(t, s)
	const n = 50
	for i := range n {
		put(t, calls, fmt.Sprintf("f%d", i%3), "", fmt.Sprint(i))
	}
	s.Close() // nothing was handled: all must be there after reopening
	s = open(t, dir)
	defer s.Close()
	calls = openCalls(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	total := 0
	h := &handler{runs: map[string]int{}, do: func(h *handler, d Delivery) (time.Duration, error) {
		if d.Attempt == 1 && string(d.Body) == "7" {
			return time.Millisecond, errors.New("once more")
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if total++; total == n {
			cancel()
		}
		return 0, nil
	}}
	if err := calls.Run(ctx, h.service()); err != nil {
		t.Fatal(err)
	}
	if len(h.runs) != n || h.runs["f1 7"] != 2 {
		t.Errorf("%d items were handled, %d times the failing one; want %d and 2", len(h.runs), h.runs["f1 7"], n)
	}
	if left, err := calls.Waiting(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("left in the queue: %v, %v", left, err)
	}
}

func TestLaneThatIsStuckHoldsUpNoOther(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	calls := openCalls(t, s)
	for i := range 100 {
		put(t, calls, "stuck", "", fmt.Sprint(i))
		put(t, calls, "failing", "", fmt.Sprint(i))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	h := &handler{runs: map[string]int{}, room: func(string) int { return 2 }, do: func(_ *handler, d Delivery) (time.Duration, error) {
		switch d.Lane {
		case "stuck":
			<-ctx.Done()
			return 0, ctx.Err()
		case "failing":
			return time.Hour, errors.New("not now")
		}
		cancel()
		return 0, nil
	}}
	ended := make(chan error, 1)
	go func() { ended <- calls.Run(ctx, h.service()) }()
	put(t, calls, "free", "", "x")
	select {
	case err := <-ended:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("an item of a free lane was not handled")
	}
	stuck := 0
	for key := range h.runs {
		if key[:5] == "stuck" {
			stuck++
		}
	}
	if stuck > 2 {
		t.Errorf("%d items of a lane were out at a time, where there was room for 2", stuck)
	}
}

func TestRepeatedItemIsDropped(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	calls := openCalls(t, s)
	for range 3 {
		put(t, calls, "f", "same", "x")
		put(t, calls, "f", "", "y")
	}
	if waiting, err := calls.Waiting(t.Context()); err != nil || waiting["f"] != 4 {
		t.Errorf("waiting: %v, %v; want 4: one with the id, three without", waiting, err)
	}
}

func TestQueueOfAnOlderNodeIsTakenOver(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	calls := openCalls(t, s)
	if _, err := calls.st.CreateOrUpdateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: oneConsumer, AckPolicy: jetstream.AckExplicitPolicy}); err != nil {
		t.Fatal(err)
	}
	calls = openCalls(t, s)
	put(t, calls, "f", "", "x")
	ctx, cancel := context.WithCancel(t.Context())
	h := &handler{runs: map[string]int{}, do: func(*handler, Delivery) (time.Duration, error) { cancel(); return 0, nil }}
	if err := calls.Run(ctx, h.service()); err != nil || h.runs["f x"] != 1 {
		t.Errorf("%v, %v", h.runs, err)
	}
}
