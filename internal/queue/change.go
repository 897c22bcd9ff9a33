package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// change is what happened to a message after it was sent. Later changes of a
// message stand for earlier ones, so that replaying some twice does no harm.
type change struct {
	Queue    string `json:"q"`
	Pos      uint64 `json:"p,omitempty"`
	Check    string `json:"c,omitempty"`
	Receives int    `json:"n,omitempty"`
	First    int64  `json:"f,omitempty"`
	Due      int64  `json:"d,omitempty"` // out until then
	Gone     bool   `json:"x,omitempty"`

	// Of a message that is gone: what its repeats are dropped by, until the
	// window is over.
	Key string `json:"k,omitempty"`
	ID  string `json:"i,omitempty"`
	At  int64  `json:"t,omitempty"`
}

const (
	storeLimit = 10 * time.Second
	// The journal is shortened when it holds so many changes more than needed.
	surplus     = 100_000
	changesEach = 5000 // of a batch of the shortened journal
)

// received returns the change that an entry's receive is. A receiver that ends
// with the node leaves nothing hidden.
func (l *live) received(e *entry) change {
	c := change{Queue: l.id, Pos: e.pos, Check: e.check(), Receives: e.receives, First: e.first}
	if !e.inside {
		c.Due = e.due
	}
	return c
}

// ends returns the change that an entry's end is.
func (l *live) ends(e *entry, now int64) change {
	c := change{Queue: l.id, Pos: e.pos, Check: e.check(), Gone: true}
	if e.Key != "" && now-e.put() < DedupWindow.Milliseconds() {
		c.Key, c.ID, c.At = e.Key, e.ID, e.put()
	}
	return c
}

// write appends changes to the journal, and shortens it now and then.
func (q *Queues) write(cs []change) error {
	b, err := json.Marshal(cs)
	if err != nil {
		return fmt.Errorf("encode changes of queues: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeLimit)
	defer cancel()
	if _, err := q.o.Journal.Append(ctx, "", b); err != nil {
		return err
	}
	if q.written += len(cs); q.written > surplus+2*q.kept {
		q.shorten()
	}
	return nil
}

// shorten puts what the journal says of messages that are still in a log in its
// place. It runs within write, so that no change is written meanwhile; what
// changes in memory meanwhile is written after it.
func (q *Queues) shorten() {
	var all []change
	for _, l := range q.list() {
		all = append(all, l.summary()...)
	}
	batches := make([][]byte, 0, len(all)/changesEach+1)
	for i := 0; i == 0 || i < len(all); i += changesEach {
		b, err := json.Marshal(all[i:min(i+changesEach, len(all))])
		if err != nil {
			q.o.Log.Error("the journal of queues can't be shortened", "err", err)
			return
		}
		batches = append(batches, b)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 6*storeLimit)
	defer cancel()
	var first uint64
	for i, b := range batches {
		n, err := q.o.Journal.Append(ctx, "", b)
		if err != nil {
			q.o.Log.Warn("the journal of queues can't be shortened now", "err", err)
			return
		}
		if i == 0 {
			first = n
		}
	}
	if err := q.o.Journal.Trim(ctx, first-1); err != nil {
		q.o.Log.Warn("the journal of queues can't be shortened now", "err", err)
		return
	}
	q.written, q.kept = 0, len(all)
}

// summary returns the changes that make the queue what it is.
func (l *live) summary() []change {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []change
	for _, e := range l.x.all {
		if e.receives > 0 {
			all = append(all, l.received(e))
		}
	}
	for _, es := range l.ended {
		for _, e := range es {
			all = append(all, change{Queue: l.id, Pos: e.pos, Check: e.check, Gone: true})
		}
	}
	for key, s := range l.seen {
		if !s.left && s.pending == nil {
			all = append(all, change{Queue: l.id, Key: key, ID: s.sent.ID, Pos: s.sent.Sequence, At: s.at, Gone: true})
		}
	}
	return all
}

// history is what the journal says of one queue.
type history struct {
	last map[uint64]change // by position
	keys map[string]change
}

// readJournal returns the history of each queue by id.
func (q *Queues) readJournal(ctx context.Context) (map[string]*history, error) {
	all := map[string]*history{}
	err := q.o.Journal.Read(ctx, 0, func(_ uint64, b []byte) error {
		var cs []change
		if err := json.Unmarshal(b, &cs); err != nil {
			return fmt.Errorf("the journal of queues is broken: %w", err)
		}
		q.written += len(cs)
		for _, c := range cs {
			h := all[c.Queue]
			if h == nil {
				h = &history{last: map[uint64]change{}, keys: map[string]change{}}
				all[c.Queue] = h
			}
			if c.Key != "" {
				h.keys[c.Key] = c
			}
			if last := h.last[c.Pos]; c.Check != "" && (!last.Gone || last.Check != c.Check) {
				h.last[c.Pos] = c
			}
		}
		return nil
	})
	return all, err
}
