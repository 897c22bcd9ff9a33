package queue

import (
	"context"
	"maps"
	"slices"
	"time"
)

const (
	cleaning   = time.Second      // between looks for records that can go
	expiring   = 10 * time.Second // between looks for messages that are too old
	manyHollow = 1000             // records that are removed one by one rather than kept
)

// Run removes what is over (old messages, records that nobody needs) and moves
// dead letters back, until ctx ends. It is called once.
func (q *Queues) Run(ctx context.Context) error {
	defer q.journal.Do(nil) // notes that nobody waits for
	defer close(q.stopped)
	done := make(chan struct{})
	go func() { defer close(done); q.runMoves(ctx) }()
	defer func() { <-done }()
	clean, expire := time.NewTicker(cleaning), time.NewTicker(expiring)
	defer clean.Stop()
	defer expire.Stop()
	for {
		select {
		case <-clean.C:
			for _, l := range q.list() {
				if err := l.clean(ctx); err != nil && ctx.Err() == nil && q.exists(l.name) {
					q.o.Log.Warn("records of deleted messages stay on disk for now", "queue", l.name, "err", err)
				}
			}
		case now := <-expire.C:
			for _, l := range q.list() {
				l.expire(millis(now))
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// clean removes records from the log all of whose messages are gone: those before
// the first that is needed at one stroke, others only when they are many.
func (l *live) clean(ctx context.Context) error {
	l.mu.Lock()
	if !l.tidy {
		l.mu.Unlock()
		return nil
	}
	l.tidy = false
	for l.low <= l.top && l.records[l.low] == 0 {
		l.low++
	}
	low := l.low
	var front, inner []uint64
	for seq := range l.hollow {
		if seq < low {
			front = append(front, seq)
		} else {
			inner = append(inner, seq)
		}
	}
	l.mu.Unlock()
	if err := l.log.RemoveBefore(ctx, low); err != nil {
		return err
	}
	l.removed(front)
	if len(inner) < manyHollow {
		return nil
	}
	slices.Sort(inner)
	for i, seq := range inner {
		if err := l.log.Remove(ctx, seq); err != nil {
			l.removed(inner[:i])
			return err
		}
	}
	l.removed(inner)
	return nil
}

// removed forgets records that are no more in the log.
func (l *live) removed(seqs []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, seq := range seqs {
		delete(l.hollow, seq)
		delete(l.ended, seq)
	}
}

// expire ends messages that are older than the queue keeps them, and forgets the
// deduplication keys whose window is over.
func (l *live) expire(now int64) {
	l.mu.Lock()
	oldest := now - l.cfg.Retention.Milliseconds()
	var es []*entry
	for _, e := range l.x.all {
		if e.Sent < oldest && e.state != busy {
			l.x.turn(e, busy)
			es = append(es, e)
		}
	}
	maps.DeleteFunc(l.seen, func(key string, s *sighting) bool { return s.pending == nil && !s.counts(key, now) })
	l.mu.Unlock()
	if err := l.end(es); err != nil {
		l.q.o.Log.Warn("messages that are too old stay for now", "queue", l.name, "err", err)
	}
}
