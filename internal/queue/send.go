package queue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Send stores messages in the order given. Each has its own outcome; the error is
// for what concerns all of them: NotFound.
//
// A message that repeats one of the last five minutes (same deduplication id) is
// not stored: its outcome is that of the first.
func (q *Queues) Send(ctx context.Context, name string, msgs ...Message) ([]Sent, error) {
	l, err := q.live(name)
	if err != nil {
		return nil, err
	}
	return l.send(ctx, msgs), nil
}

func (l *live) send(ctx context.Context, msgs []Message) []Sent {
	outcome := make([]Sent, len(msgs))
	var batch []*incoming
	var of []int                // the message of each of the batch
	same := map[string]int{}    // the first message of each key
	repeats := map[int]string{} // the keys of repeats within the call
	for i := range msgs {
		in, err := l.incoming(&msgs[i])
		if err != nil {
			outcome[i].Err = err
			continue
		}
		if key := in.head.Key; key != "" {
			if _, repeated := same[key]; repeated {
				repeats[i] = key
				continue
			}
			same[key] = i
			first, known, err := l.claim(ctx, key, in.head.ID)
			if known || err != nil {
				first.Err = err
				outcome[i] = first
				continue
			}
		}
		batch, of = append(batch, in), append(of, i)
	}
	for _, some := range l.in.Parted(batch) {
		err := l.in.Do(some)
		for n, in := range some {
			outcome[of[n]] = Sent{ID: in.head.ID, Sequence: in.pos, Err: err}
		}
		of = of[len(some):]
		l.settle(some, err)
	}
	for i, key := range repeats {
		outcome[i] = outcome[same[key]]
	}
	return outcome
}

// validToken reports whether s can be a group or deduplication id.
func validToken(s string) bool {
	return len(s) <= maxToken && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// ownKey begins the keys of the node's own sendings.
const ownKey = "own "

// key returns what repeats of the message are told by, or "". mu is held.
func (l *live) key(m *Message) string {
	switch {
	case !validToken(m.own) && m.Dedup == "":
		sum := sha256.Sum256([]byte(m.own))
		return ownKey + hex.EncodeToString(sum[:])
	case m.own != "" && m.Dedup == "":
		return ownKey + m.own
	case !l.cfg.FIFO:
		return ""
	case l.cfg.DedupPerGroup:
		return "id " + m.Group + " " + l.dedup(m)
	}
	return "id " + l.dedup(m)
}

// dedup returns the message's deduplication id. mu is held.
func (l *live) dedup(m *Message) string {
	if m.Dedup == "" && l.cfg.ContentDedup {
		sum := sha256.Sum256([]byte(m.Body))
		return hex.EncodeToString(sum[:])
	}
	return m.Dedup
}

// incoming checks a message and makes it ready to be stored.
func (l *live) incoming(m *Message) (*incoming, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := m.size(); n > l.cfg.MaxSize {
		return nil, errs.Newf(errs.TooLarge, "the message has %d bytes, over the limit of %d", n, l.cfg.MaxSize)
	}
	delay := l.cfg.Delay
	if m.Delay != nil {
		if delay = *m.Delay; delay < 0 || delay > MaxDelay {
			return nil, errs.Newf(errs.Invalid, "a message can be delayed from 0s to %s", MaxDelay)
		}
	}
	if !validToken(m.Group) || !validToken(m.Dedup) {
		return nil, errs.Newf(errs.Invalid, "a group or deduplication id is text of at most %d bytes, without control characters", maxToken)
	}
	if l.cfg.FIFO {
		switch {
		case m.Group == "":
			return nil, errs.Newf(errs.Invalid, "a message to the FIFO queue %s needs a group", l.name).WithReason(ReasonGroup)
		case m.Delay != nil && *m.Delay != 0:
			return nil, errs.Newf(errs.Invalid, "messages of a FIFO queue can't be delayed one by one: set the queue's delay")
		case l.dedup(m) == "" && m.own == "":
			return nil, errs.Newf(errs.Invalid, "a message to the FIFO queue %s needs a deduplication id, or the queue content-based deduplication", l.name).WithReason(ReasonDedup)
		}
	}
	c := content{Attributes: m.Attributes, Dedup: m.Dedup, TraceID: m.TraceID, Sender: m.Sender}
	if l.cfg.FIFO {
		c.Dedup = l.dedup(m)
	}
	if len(m.Lineage.Counts) > 0 {
		c.Lineage = &m.Lineage
	}
	p, err := part(c, m.Body)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	in := &incoming{part: p, head: head{ID: uuid.NewString(), Sent: millis(now), Group: m.Group, Key: l.key(m)}}
	if delay > 0 {
		in.head.Due = millis(now.Add(delay))
	}
	return in, nil
}

// claim reserves a deduplication key for the message id. known is true if a
// message was sent under it before; first is what became of that one.
func (l *live) claim(ctx context.Context, key, id string) (first Sent, known bool, err error) {
	for {
		l.mu.Lock()
		s := l.seen[key]
		if s == nil || s.pending == nil && !s.counts(key, millis(time.Now())) {
			l.seen[key] = &sighting{sent: Sent{ID: id}, pending: make(chan struct{})}
			l.mu.Unlock()
			return Sent{}, false, nil
		}
		first, pending := s.sent, s.pending
		l.mu.Unlock()
		if pending == nil {
			return first, true, nil
		}
		select { // another call is sending it now
		case <-pending:
		case <-ctx.Done():
			return Sent{}, false, errs.Newf(errs.Unavailable, "the same message is being sent by another call: %w", ctx.Err())
		}
	}
}

// counts reports whether repeats are dropped still. Those of the node's own
// sendings are as long as the message is there: the node may have been down.
func (s *sighting) counts(key string, now int64) bool {
	return now-s.at < DedupWindow.Milliseconds() || s.left && strings.HasPrefix(key, ownKey)
}

// settle ends the claims of a batch that was stored, or failed.
func (l *live) settle(batch []*incoming, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, in := range batch {
		s := l.seen[in.head.Key]
		if in.head.Key == "" || s == nil || s.pending == nil {
			continue
		}
		close(s.pending)
		if err != nil {
			delete(l.seen, in.head.Key)
			continue
		}
		s.pending, s.at = nil, in.head.put()
		s.sent.Sequence = in.pos
		_, s.left = l.x.all[in.pos]
	}
}
