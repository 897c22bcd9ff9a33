package meter

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

const (
	maxBatch   = 512                    // records in one append to the journal
	maxDelay   = 100 * time.Millisecond // how long a record waits for company
	maxPending = 64 * maxBatch          // records in memory before Add blocks, about 8 MiB
	minBackoff = 100 * time.Millisecond // after a failed append
	maxBackoff = 5 * time.Second
	lastFlush  = 10 * time.Second // for the flush when Run ends
)

// Recorder takes records off the path of invocations and appends them to a
// Journal in batches. Its methods may be called from any goroutine; Run must be
// running for records to reach the journal in time. A record is never dropped:
// while the journal fails, records wait in memory, and once maxPending wait,
// Add does.
type Recorder struct {
	journal Journal
	landed  func(number uint64, records []Record, data []byte) // told of each durable batch, in order; may be nil
	log     *slog.Logger
	run     string        // random, makes batch ids unique over restarts
	wake    chan struct{} // holds a token when there is something for Run to do

	appending chan struct{} // holds its one token while nobody appends
	retry     *batch        // owned by who holds the token: its fate is unknown
	batches   uint64        // owned by who holds the token

	mu      sync.Mutex
	room    sync.Cond // on mu: pending got shorter, or the recorder stopped
	pending []Record  // guarded by mu; not yet in a batch
	flying  int       // guarded by mu; records in the batch being appended
	added   uint64    // guarded by mu; records ever added
	durable uint64    // guarded by mu; records ever appended
	stopped bool      // guarded by mu
}

type batch struct {
	id      string
	data    []byte
	records []Record
}

// NewRecorder returns a Recorder that appends to journal.
func NewRecorder(journal Journal, log *slog.Logger) *Recorder {
	var id [8]byte
	rand.Read(id[:]) // never fails
	r := &Recorder{
		journal:   journal,
		log:       log,
		run:       hex.EncodeToString(id[:]),
		wake:      make(chan struct{}, 1),
		appending: make(chan struct{}, 1),
	}
	r.room.L = &r.mu
	r.appending <- struct{}{}
	return r
}

// Add takes a record. It does not wait for the disk, but for room when too many
// records wait for a journal that fails. The only error is of kind Unavailable:
// the recorder has stopped and the record was not taken.
func (r *Recorder) Add(rec Record) error {
	r.mu.Lock()
	for len(r.pending)+r.flying >= maxPending && !r.stopped {
		r.room.Wait()
	}
	if r.stopped {
		r.mu.Unlock()
		return errs.Newf(errs.Unavailable, "the record of request %s came after the meter stopped", rec.RequestID)
	}
	r.pending = append(r.pending, rec)
	r.added++
	n := len(r.pending)
	r.mu.Unlock()
	if n == 1 || n == maxBatch {
		r.signal()
	}
	return nil
}

func (r *Recorder) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run appends batches until ctx ends, then what is left. It returns an error
// only when records could not be made durable in the end, and says how many.
func (r *Recorder) Run(ctx context.Context) error {
	defer r.stop()
	backoff := minBackoff
	failing := false
	for {
		select {
		case <-ctx.Done():
			return r.finish(ctx)
		case <-r.wake:
		}
		if r.waiting() < maxBatch {
			pause(ctx, maxDelay, r.wake)
		}
		err := r.Flush(ctx)
		switch {
		case err == nil:
			if failing {
				r.log.Info("metering works again, no record was lost")
			}
			failing, backoff = false, minBackoff
		case ctx.Err() != nil: // the loop ends above
		default:
			if !failing {
				r.log.Error("metering can't write its journal; records wait in memory", "err", err)
			}
			failing = true
			pause(ctx, backoff, nil)
			backoff = min(2*backoff, maxBackoff)
			r.signal()
		}
	}
}

// pause waits for d, the end of ctx, or early.
func pause(ctx context.Context, d time.Duration, early <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-early:
	}
}

func (r *Recorder) finish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
	defer cancel()
	err := r.Flush(ctx)
	left := r.stop()
	if err == nil && left > 0 { // added while the flush ran
		err = r.Flush(ctx)
		left = r.stop()
	}
	if err != nil {
		return fmt.Errorf("metering stopped with %d records not written: %w", left, err)
	}
	return nil
}

// stop makes Add refuse from now on and returns how many records are not durable.
func (r *Recorder) stop() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	r.room.Broadcast()
	return r.added - r.durable
}

func (r *Recorder) waiting() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.pending)
}

// Flush makes durable all records that were added before the call. On an error
// they stay in memory and a later Flush or Run tries again.
func (r *Recorder) Flush(ctx context.Context) error {
	r.mu.Lock()
	goal := r.added
	r.mu.Unlock()
	select {
	case <-r.appending:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() {
		r.appending <- struct{}{}
		if r.waiting() > 0 { // came during this flush, and woke nobody
			r.signal()
		}
	}()
	for !r.reached(goal) {
		if err := r.appendNext(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *Recorder) reached(goal uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.durable >= goal
}

// appendNext appends the batch whose fate is unknown, or else a new one. The
// caller holds the appending token, and there are records.
func (r *Recorder) appendNext(ctx context.Context) error {
	if r.retry == nil {
		r.retry = r.nextBatch()
	}
	number, err := r.journal.Append(ctx, r.retry.id, r.retry.data)
	if err != nil {
		return err
	}
	if r.landed != nil {
		r.landed(number, r.retry.records, r.retry.data)
	}
	r.mu.Lock()
	r.flying = 0
	r.durable += uint64(len(r.retry.records))
	r.room.Broadcast()
	r.mu.Unlock()
	r.retry = nil
	return nil
}

func (r *Recorder) nextBatch() *batch {
	r.mu.Lock()
	n := min(len(r.pending), maxBatch)
	records := r.pending[:n:n]
	r.pending = r.pending[n:]
	if len(r.pending) == 0 {
		r.pending = nil
	}
	r.flying = n
	r.mu.Unlock()
	r.batches++
	return &batch{
		id:      r.run + "-" + strconv.FormatUint(r.batches, 10),
		data:    encodeBatch(records),
		records: records,
	}
}
