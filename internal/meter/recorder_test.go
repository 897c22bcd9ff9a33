package meter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// memoryJournal keeps batches in memory and forgets repeated ids, as a durable
// one does.
type memoryJournal struct {
	mu      sync.Mutex
	batches [][]byte
	trimmed uint64
	ids     map[string]uint64 // numbers of batches
	appends int
	fail    func(call int) (kept bool, err error) // nil: all works
	forget  bool                                  // keep repeated ids, as past the window of a real journal
}

func (j *memoryJournal) Append(_ context.Context, id string, b []byte) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.appends++
	kept, err := true, error(nil)
	if j.fail != nil {
		kept, err = j.fail(j.appends)
	}
	if kept && (j.forget || j.ids[id] == 0) {
		if j.ids == nil {
			j.ids = map[string]uint64{}
		}
		j.batches = append(j.batches, bytes.Clone(b))
		j.ids[id] = uint64(len(j.batches))
	}
	return j.ids[id], err
}

func (j *memoryJournal) Read(_ context.Context, after uint64, fn func(uint64, []byte) error) error {
	j.mu.Lock()
	batches, trimmed := j.batches, j.trimmed
	j.mu.Unlock()
	for i := max(after, trimmed); i < uint64(len(batches)); i++ {
		if err := fn(i+1, batches[i]); err != nil {
			return err
		}
	}
	return nil
}

func (j *memoryJournal) Last(context.Context) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return uint64(len(j.batches)), nil
}

func (j *memoryJournal) Trim(_ context.Context, upTo uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.trimmed = upTo
	return nil
}

func (j *memoryJournal) records(t *testing.T) (ids []string) {
	t.Helper()
	err := j.Read(t.Context(), 0, func(_ uint64, b []byte) error {
		list, err := decodeBatch(b)
		for _, r := range list {
			ids = append(ids, r.RequestID)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func rec(i int) Record {
	return Record{
		RequestID: fmt.Sprintf("r%d", i), Function: "f", Version: "$LATEST", Start: time.Now(),
		Duration: 1500 * time.Microsecond, Billed: 2 * time.Millisecond, MemoryMB: 128, Outcome: OK,
	}
}

func addAll(t *testing.T, r *Recorder, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := r.Add(rec(i)); err != nil {
			t.Fatal(err)
		}
	}
}

func wantIDs(t *testing.T, got []string, n int) {
	t.Helper()
	if len(got) != n {
		t.Fatalf("journal holds %d records, want %d", len(got), n)
	}
	for i, id := range got {
		if want := fmt.Sprintf("r%d", i); id != want {
			t.Fatalf("record %d is %s, want %s", i, id, want)
		}
	}
}

func TestRunBatchesByDelayAndBySize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &memoryJournal{}
		r := NewRecorder(j, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()

		addAll(t, r, 0, 3)
		time.Sleep(maxDelay - 1)
		synctest.Wait()
		wantIDs(t, j.records(t), 0)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		wantIDs(t, j.records(t), 3)
		if len(j.batches) != 1 {
			t.Errorf("%d batches, want 1", len(j.batches))
		}

		addAll(t, r, 3, 3+maxBatch) // full: goes at once
		synctest.Wait()
		wantIDs(t, j.records(t), 3+maxBatch)

		addAll(t, r, 3+maxBatch, 4+maxBatch) // the last flush takes it
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		wantIDs(t, j.records(t), 4+maxBatch)
		if err := r.Add(rec(0)); err == nil {
			t.Error("Add took a record after Run had ended")
		}
	})
}

func TestRetryAfterUnknownOutcomeKeepsOneCopy(t *testing.T) {
	for _, forget := range []bool{false, true} {
		t.Run(fmt.Sprintf("journal forgot id %v", forget), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				broken := errors.New("connection lost")
				j := &memoryJournal{forget: forget, fail: func(call int) (bool, error) {
					switch call {
					case 1:
						return true, broken // kept, but the answer was lost
					case 2:
						return false, broken
					}
					return true, nil
				}}
				r := openLedger(t, Config{Journal: j, Path: filepath.Join(t.TempDir(), "ledger")})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- r.Run(ctx) }()
				addAll(t, r.Recorder, 0, 5)
				time.Sleep(time.Minute)
				synctest.Wait()
				if j.appends != 3 {
					t.Errorf("%d appends, want 3", j.appends)
				}
				got, err := r.Records(t.Context(), Search{})
				if err != nil {
					t.Fatal(err)
				}
				var ids []string
				for _, g := range got {
					ids = append(ids, g.RequestID)
				}
				wantIDs(t, ids, 5)
				cancel()
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestFullMemoryMakesAddWaitAndDropsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		down := true
		j := &memoryJournal{fail: func(int) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			if down {
				return false, errors.New("disk full")
			}
			return true, nil
		}}
		r := NewRecorder(j, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		addAll(t, r, 0, maxPending)

		added := make(chan error, 1)
		go func() { added <- r.Add(rec(maxPending)) }()
		time.Sleep(time.Minute)
		select {
		case <-added:
			t.Fatal("Add did not wait for room")
		default:
		}
		mu.Lock()
		down = false
		mu.Unlock()
		if err := <-added; err != nil {
			t.Fatal(err)
		}
		if err := r.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		wantIDs(t, j.records(t), maxPending+1)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestRunTellsHowManyRecordsItCouldNotWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("disk full")
		j := &memoryJournal{fail: func(int) (bool, error) { return false, full }}
		r := NewRecorder(j, slog.New(slog.DiscardHandler))
		addAll(t, r, 0, 7)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := r.Run(ctx)
		if !errors.Is(err, full) || !bytes.Contains([]byte(err.Error()), []byte("7 records")) {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestConcurrentAddsAreAllKeptOnce(t *testing.T) {
	j := &memoryJournal{}
	r := NewRecorder(j, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				if err := r.Add(rec(w*2000 + i)); err != nil {
					t.Error(err)
				}
				if i%500 == 0 {
					if err := r.Flush(ctx); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	once := map[string]int{}
	for _, id := range j.records(t) {
		once[id]++
	}
	if len(once) != 16000 {
		t.Errorf("%d different records, want 16000", len(once))
	}
	for id, n := range once {
		if n != 1 {
			t.Errorf("%s kept %d times", id, n)
		}
	}
}
