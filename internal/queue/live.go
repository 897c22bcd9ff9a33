package queue

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

// live is a queue that is in use.
type live struct {
	id   string // of this queue and none after it of the same name
	name string
	q    *Queues
	log  *spine.Log
	in   *spine.Group[*incoming]
	gone chan struct{} // closed when the queue is deleted

	mu      sync.Mutex
	cfg     Config
	tags    map[string]string
	created time.Time
	changed time.Time
	rev     uint64 // of the document
	x       *index
	seen    map[string]*sighting // by deduplication key
	waiting []chan struct{}      // receivers, in the order of their coming; each holds one signal
	purged  time.Time

	records map[uint64]int      // messages that are left in each record that has some
	hollow  map[uint64]struct{} // records in the log that have none
	ended   map[uint64][]ending // the messages that are gone, of each record in the log
	low     uint64              // all records before it are hollow
	top     uint64              // the last record
	tidy    bool                // there are new hollow records
}

// ending is a message that is gone from a record.
type ending struct {
	pos   uint64
	check string
}

// sighting is a message that was sent under a deduplication key.
type sighting struct {
	sent    Sent
	at      int64         // when it was sent
	left    bool          // its message is still here
	pending chan struct{} // closed when its outcome is known; nil once it is
}

// incoming is a message on its way into the log.
type incoming struct {
	head head
	part []byte
	pos  uint64 // once it is there
}

// share is how much of a record the message takes up.
func (m *incoming) share() float64 {
	const fixed = 160 // bytes of a head without its names, which may be escaped
	heads := float64(fixed+2*len(m.head.Group)+2*len(m.head.Key)) / headBytes
	return max(heads, float64(len(m.part))/recordBytes, 1.0/maxRecord)
}

func millis(t time.Time) int64      { return t.UnixMilli() }
func fromMillis(ms int64) time.Time { return time.UnixMilli(ms) }

// store writes messages as one record and makes them known, in their order.
func (l *live) store(batch []*incoming) error {
	heads, parts := make([]head, len(batch)), make([][]byte, len(batch))
	for i, m := range batch {
		m.head.Size = len(m.part)
		heads[i], parts[i] = m.head, m.part
	}
	var line strings.Builder
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false) // what clients like to name groups by stays short
	if err := enc.Encode(heads); err != nil {
		return fmt.Errorf("encode messages of queue %s: %w", l.name, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeLimit)
	defer cancel()
	seq, err := l.log.Append(ctx, strings.TrimSpace(line.String()), joinParts(parts))
	if err != nil {
		return err
	}
	now := millis(time.Now())
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records[seq], l.top = len(batch), seq
	for i, m := range batch {
		m.pos = position(seq, i)
		l.x.add(&entry{head: m.head, pos: m.pos, due: m.head.Due, part: l.q.keep(m.part)}, now)
	}
	l.signal(len(batch))
	return nil
}

// signal wakes n receivers. mu is held.
func (l *live) signal(n int) {
	for ; n > 0 && len(l.waiting) > 0; n-- {
		l.waiting[0] <- struct{}{}
		l.waiting = l.waiting[1:]
	}
}

// wait returns when a message may have come, the time is over, or ctx ends.
// enlisted was put into waiting under the lock that found nothing.
func (l *live) wait(ctx context.Context, enlisted chan struct{}, until time.Time) {
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-enlisted:
		return
	case <-t.C:
	case <-ctx.Done():
	case <-l.gone:
	case <-l.q.stopped:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, w := range l.waiting {
		if w == enlisted {
			l.waiting = append(l.waiting[:i:i], l.waiting[i+1:]...)
			break
		}
	}
	l.signal(1) // the next one looks instead
}

// load returns an entry's part. It is called without mu.
func (l *live) load(ctx context.Context, e *entry, last *loaded) ([]byte, error) {
	if p := e.part; p != nil { // never changes while the entry is out or busy
		return p, nil
	}
	if seq := recordOf(e.pos); last.seq != seq || last.record == nil {
		b, err := l.log.Body(ctx, seq)
		if err != nil {
			return nil, err
		}
		last.seq, last.record = seq, b
	}
	return partAt(last.record, placeOf(e.pos))
}

// loaded is the record that was read last.
type loaded struct {
	seq    uint64
	record []byte
}

// forget takes messages out of the index whose end is in the journal. mu is held.
func (l *live) forget(es []*entry) {
	for _, e := range es {
		l.x.remove(e)
		l.q.release(e.part)
		if s := l.seen[e.Key]; e.Key != "" && s != nil && s.sent.ID == e.ID {
			s.left = false
		}
		l.drop(e.pos, e.check())
		if seq := recordOf(e.pos); l.records[seq] > 1 {
			l.records[seq]--
		} else {
			delete(l.records, seq)
			l.hollow[seq], l.tidy = struct{}{}, true
		}
	}
}

// drop remembers a message that is gone until its record is. mu is held.
func (l *live) drop(pos uint64, check string) {
	seq := recordOf(pos)
	l.ended[seq] = append(l.ended[seq], ending{pos, check})
}

// handle returns the receipt handle of an entry's latest receive.
func (l *live) handle(e *entry) string {
	return base64.RawURLEncoding.EncodeToString([]byte(l.id + "." + strconv.FormatUint(e.pos, 36) + "." + strconv.Itoa(e.receives) + "." + e.check()))
}

// find returns the message of a receipt handle: nil if it is gone, and whether
// the handle is that of its latest receive. mu is held.
func (l *live) find(handle string) (e *entry, latest bool, err error) {
	b, bad := base64.RawURLEncoding.DecodeString(handle)
	p := strings.Split(string(b), ".")
	if bad != nil || len(p) != 4 || p[0] != l.id {
		return nil, false, badHandle(handle)
	}
	pos, bad := strconv.ParseUint(p[1], 36, 64)
	if bad != nil {
		return nil, false, badHandle(handle)
	}
	receives, bad := strconv.Atoi(p[2])
	if bad != nil {
		return nil, false, badHandle(handle)
	}
	e = l.x.all[pos]
	if e == nil || e.check() != p[3] {
		return nil, false, nil
	}
	return e, e.receives == receives, nil
}

func badHandle(handle string) error {
	return errs.Newf(errs.Invalid, "%.100q is not a receipt handle of this queue: pass the one that came with the message", handle).WithReason(ReasonHandle)
}

// info describes the queue as it is now.
func (l *live) info() Info {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.signal(l.x.wake(millis(time.Now())))
	i := Info{Name: l.name, Config: l.cfg.clone(), Created: l.created, Modified: l.changed}
	i.Tags = make(map[string]string, len(l.tags))
	for k, v := range l.tags {
		i.Tags[k] = v
	}
	i.Visible, i.Delayed, i.InFlight = l.x.count[ready], l.x.count[delayed], l.x.count[out]+l.x.count[busy]
	return i
}
