package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

const (
	clockKey     = "passed"         // of the time up to which all timers have fired
	clockSleep   = 30 * time.Second // longest: the machine's clock may be set
	clockNote    = time.Minute      // how often the time is noted when nothing fires
	clockPause   = time.Second      // after a failure
	clockTimeout = 10 * time.Second
)

// Timers are things that fire at times. The methods are called from one goroutine.
type Timers interface {
	// Next returns the first time after after at which one of them fires, the
	// zero time if there is none.
	Next(after time.Time) time.Time

	// Due returns what is to be sent for the times after after and up to until:
	// usually a moment, but long if the node was down. A timer that was due more
	// than once fires for the latest time only.
	Due(after, until time.Time) []Parcel

	// Passed tells that all that was due up to until is on disk.
	Passed(until time.Time)
}

// Clock has timers fire. What is due is posted before the time is noted as
// passed. A node that is killed between the two posts it once more: the messages'
// ids are made of timer and time, and receivers drop repeats.
type Clock struct {
	bucket  *spine.Bucket
	courier *Courier
	timers  []Timers
	wake    chan struct{}
	log     *slog.Logger
}

// NewClock returns a clock that notes the time in bucket. Wake is told when a timer
// may fire earlier than those before.
func NewClock(bucket *spine.Bucket, courier *Courier, log *slog.Logger, timers ...Timers) *Clock {
	return &Clock{bucket: bucket, courier: courier, timers: timers, wake: make(chan struct{}, 1), log: log}
}

// Wake tells the clock that timers have changed. It does not block.
func (c *Clock) Wake() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Run has timers fire until ctx ends.
func (c *Clock) Run(ctx context.Context) error {
	last, err := c.read(ctx)
	if err != nil {
		return err
	}
	noted := last
	for ctx.Err() == nil {
		now := time.Now()
		fired, err := c.tick(ctx, last, now)
		switch {
		case err != nil:
			if ctx.Err() == nil {
				c.log.Error("timers could not fire: they are tried again", "err", err)
			}
			sleep(ctx, nil, clockPause)
			continue
		case fired || now.Sub(noted) > clockNote:
			if err := c.note(ctx, now); err != nil {
				c.log.Error("the time of the timers could not be noted", "err", err)
			} else {
				noted = now
			}
		}
		if now.After(last) {
			last = now
		}
		for _, t := range c.timers {
			t.Passed(last)
		}
		sleep(ctx, c.wake, c.until(last))
	}
	return nil
}

// tick posts what is due.
func (c *Clock) tick(ctx context.Context, after, until time.Time) (fired bool, err error) {
	var due []Parcel
	for _, t := range c.timers {
		due = append(due, t.Due(after, until)...)
	}
	if len(due) == 0 {
		return false, nil
	}
	return true, c.courier.Post(ctx, "", due)
}

// until is how long the clock sleeps.
func (c *Clock) until(last time.Time) time.Duration {
	d := clockSleep
	for _, t := range c.timers {
		if next := t.Next(last); !next.IsZero() {
			d = min(d, time.Until(next))
		}
	}
	return d
}

func (c *Clock) read(ctx context.Context) (time.Time, error) {
	b, _, err := c.bucket.Get(ctx, clockKey)
	if errs.Is(err, errs.NotFound) {
		now := time.Now()
		return now, c.note(ctx, now)
	}
	if err != nil {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339Nano, string(b))
	if err != nil {
		return t, fmt.Errorf("read the time of the timers: %w", err)
	}
	return t, nil
}

func (c *Clock) note(ctx context.Context, t time.Time) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clockTimeout)
	defer cancel()
	return c.bucket.Put(ctx, clockKey, []byte(t.UTC().Format(time.RFC3339Nano)))
}

// sleep waits for d, wake or ctx.
func sleep(ctx context.Context, wake <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-wake:
	case <-ctx.Done():
	}
}
