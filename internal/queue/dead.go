package queue

import (
	"context"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// retryBury is when a dead letter is tried again whose queue did not take it.
const retryBury = time.Second

// bury moves messages, which are busy, to the dead-letter queue.
func (l *live) bury(es []*entry) {
	l.mu.Lock()
	dead := l.cfg.Dead
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), storeLimit)
	defer cancel()
	if dead == nil {
		l.giveBack(es)
		return
	}
	to, err := l.q.live(dead.Queue)
	if err == nil {
		err = l.transfer(ctx, es, func(content) (*live, error) { return to, nil }, true)
	}
	if err != nil {
		l.q.o.Log.Warn("dead letters stay where they are for now", "queue", l.name, "to", dead.Queue, "err", err)
	}
}

// transfer moves messages, which are busy, to the queues that to names, with their
// ids or with new ones. What fails stays and is ready again a little later; the
// first error is returned. A message that was moved when the node died is moved
// again and dropped there as a repeat.
func (l *live) transfer(ctx context.Context, es []*entry, to func(content) (*live, error), asDead bool) (first error) {
	var last loaded
	var moved []*entry
	note := func(e *entry, err error) {
		if err != nil && first == nil {
			first = err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if err != nil {
			now := time.Now()
			l.x.hide(e, millis(now.Add(retryBury)), millis(now))
			return
		}
		moved = append(moved, e)
	}
	batches := map[*live][]*incoming{}
	of := map[*incoming]*entry{}
	for _, e := range es {
		in, dest, err := l.outgoing(ctx, e, &last, to, asDead)
		switch {
		case errs.Is(err, errs.NotFound) && errs.Of(err).Reason != ReasonNoQueue: // purged meanwhile
			note(e, nil)
		case err != nil:
			note(e, err)
		default:
			_, known, err := dest.claim(ctx, in.head.Key, in.head.ID)
			if known || err != nil {
				note(e, err)
				continue
			}
			batches[dest], of[in] = append(batches[dest], in), e
		}
	}
	for dest, batch := range batches {
		for _, some := range dest.in.Parted(batch) {
			err := dest.in.Do(some)
			dest.settle(some, err)
			for _, in := range some {
				note(of[in], err)
			}
		}
	}
	if err := l.end(moved); err != nil && first == nil {
		first = err
	}
	return first
}

// outgoing makes of a message what its next queue stores.
func (l *live) outgoing(ctx context.Context, e *entry, last *loaded, to func(content) (*live, error), asDead bool) (*incoming, *live, error) {
	p, err := l.load(ctx, e, last)
	if err != nil {
		return nil, nil, err
	}
	c, body, err := readPart(p)
	if err != nil {
		return nil, nil, err
	}
	dest, err := to(c)
	if err != nil {
		return nil, nil, err
	}
	now := millis(time.Now())
	h := head{ID: e.ID, Sent: e.Sent, Put: now, Group: e.Group, Key: ownKey + "from " + l.id + " " + strconv.FormatUint(e.pos, 36)}
	c.From = ""
	if asDead {
		c.From = l.name
	}
	if !asDead || l.x.fifo {
		h.Sent, h.Put = now, 0
	}
	if !asDead {
		h.ID = uuid.NewString()
	}
	if p, err = part(c, body); err != nil {
		return nil, nil, err
	}
	return &incoming{head: h, part: p}, dest, nil
}

// end notes that busy messages are no more.
func (l *live) end(es []*entry) error {
	if len(es) == 0 {
		return nil
	}
	changes := make([]change, len(es))
	now := millis(time.Now())
	for i, e := range es {
		changes[i] = l.ends(e, now)
	}
	if err := l.q.journal.Do(changes); err != nil {
		l.giveBack(es)
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(es)
	l.signal(len(es))
	return nil
}

// GiveUp ends messages that were received and that nobody should handle again:
// they go to the dead-letter queue at once, or are deleted if there is none.
// Handles that are not good any more are passed over.
func (q *Queues) GiveUp(_ context.Context, name string, handles ...string) error {
	l, err := q.live(name)
	if err != nil {
		return err
	}
	var es []*entry
	l.mu.Lock()
	dead := l.cfg.Dead != nil
	for _, h := range handles {
		if e, latest, err := l.find(h); err == nil && latest && e.state == out {
			l.x.turn(e, busy)
			es = append(es, e)
		}
	}
	l.mu.Unlock()
	if dead {
		l.bury(es)
		return nil
	}
	return l.end(es)
}
