package spine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

func TestItemsThatComeTogetherAreAllKept(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	calls := openCalls(t, s)
	if calls.together == nil {
		t.Fatal("the embedded engine stores nothing together")
	}
	const n = 400
	var work sync.WaitGroup
	for i := range n {
		work.Go(func() { put(t, calls, fmt.Sprintf("f%d", i%3), "", fmt.Sprint(i)) })
	}
	work.Wait()
	s.Close()

	s = open(t, dir)
	defer s.Close()
	calls = openCalls(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	h := &handler{runs: map[string]int{}, do: func(h *handler, _ Delivery) (time.Duration, error) {
		if len(h.runs) == n {
			cancel()
		}
		return 0, nil
	}}
	if err := calls.Run(ctx, h.service()); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if key := fmt.Sprintf("f%d %d", i%3, i); h.runs[key] != 1 {
			t.Errorf("item %q was handled %d times", key, h.runs[key])
		}
	}
}

func TestBatchIsKeptWholeOrNotAtAll(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	calls := openCalls(t, s)
	batch := func() (now []*gathered) {
		for i := range gatherLeast {
			now = append(now, &gathered{subject: calls.prefix + "f", body: fmt.Append(nil, i), done: make(chan error, 1)})
		}
		return now
	}
	count := func() uint64 {
		info, err := calls.st.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return info.State.Msgs
	}
	if err := calls.together.together(t.Context(), batch()); err != nil || count() != gatherLeast {
		t.Fatalf("%d messages are stored, %v", count(), err)
	}
	free := s.free
	s.free = func() (int64, error) { return reserve - 1, nil }
	if err := calls.together.together(t.Context(), batch()); !errs.Is(err, errs.Unavailable) || count() != gatherLeast {
		t.Errorf("on a full disk: %v, %d messages", err, count())
	}
	s.free = free

	// An engine that takes no batches gets messages one by one.
	cfg := calls.st.CachedInfo().Config
	cfg.AllowAtomicPublish = false
	if _, err := s.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	err := calls.together.together(t.Context(), batch())
	var api *jetstream.APIError
	if e := errs.Of(err); e == nil || !errors.As(err, &api) || count() != gatherLeast {
		t.Fatalf("a batch that is not allowed: %v, %d messages", err, count())
	}
	calls.together.waiting, calls.together.busy = batch(), true
	waiting := calls.together.waiting
	calls.together.run(t.Context())
	for _, m := range waiting {
		if err := <-m.done; err != nil {
			t.Error(err)
		}
	}
	if count() != 2*gatherLeast {
		t.Errorf("%d messages are stored", count())
	}
}
