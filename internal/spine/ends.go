package spine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

const (
	endsEach  = 20_000   // items of an entry of the journal of ends
	cutBytes  = 4 << 20  // of records without items at the front of the log: then they are removed
	moveBytes = 16 << 20 // of such records behind one that has items: then those move on
)

// ended is what the journal of ends says of a record.
type ended struct {
	Record uint64 `json:"r"`
	Check  uint32 `json:"c"`
	At     []int  `json:"a"` // the places of items that were handled
}

// end writes down which items were handled, and takes them out of the queue.
func (l *Lanes) end(ctx context.Context, s Service) error {
	for {
		l.mu.Lock()
		batch := l.done[:min(len(l.done), endsEach)]
		l.done = l.done[len(batch):]
		l.mu.Unlock()
		if len(batch) == 0 {
			return nil
		}
		err := l.noteEnds(ctx, s, batch)
		l.mu.Lock()
		if err != nil {
			l.done = append(slices.Clone(batch), l.done...)
			l.mu.Unlock()
			return err
		}
		for _, it := range batch {
			l.drop(it)
			if it.lane.held--; it.lane.held == 0 {
				delete(l.lanes, it.lane.name)
				delete(l.shelf.read, it.lane.name)
			}
		}
		l.mu.Unlock()
	}
}

// noteEnds writes the entry of the items.
func (l *Lanes) noteEnds(ctx context.Context, s Service, batch []*item) error {
	if s.Settle != nil {
		if err := s.Settle(ctx); err != nil {
			return err
		}
	}
	of := map[uint64]*ended{}
	var entry []*ended
	last := uint64(0)
	l.mu.Lock()
	for _, it := range batch {
		e := of[it.at.Record]
		if e == nil {
			e = &ended{Record: it.at.Record, Check: l.shelf.records[it.at.Record].check}
			of[e.Record], last = e, max(last, e.Record)
			entry = append(entry, e)
		}
		e.At = append(e.At, it.at.At)
	}
	l.mu.Unlock()
	b, err := json.Marshal(entry)
	if err != nil {
		return fmt.Errorf("encode the ends of items: %w", err)
	}
	write, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	number, err := l.ends.Append(write, "", b)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shelf.notes = append(l.shelf.notes, note{number, last})
	return nil
}

// tidy removes records without items from the front of the log, few only if the
// queue is idle. An item that holds up many moves on to the end of the log. It is
// not called while end is.
func (l *Lanes) tidy(ctx context.Context, idle bool) error {
	for tried := uint64(0); ; {
		l.mu.Lock()
		s := &l.shelf
		low := s.low
		cut := s.front >= l.cutBytes || idle && s.front > 0
		move := s.hollow-s.front > l.moveBytes && s.hollow-s.front > 2*s.full
		l.mu.Unlock()
		switch {
		case cut && low > tried: // it may leave the last of them
			tried = low
			if err := l.cut(ctx, low); err != nil {
				return err
			}
		case move:
			if err := l.move(ctx); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// cut removes the records before one, and what the journal says of them.
func (l *Lanes) cut(ctx context.Context, low uint64) error {
	low, err := l.items.removeBefore(ctx, low)
	if err != nil {
		return err
	}
	l.mu.Lock()
	s := &l.shelf
	for ; s.first < low; s.first++ {
		if r := s.records[s.first]; r != nil {
			s.hollow -= r.size
			s.front -= r.size
			delete(s.records, s.first)
		}
	}
	n := 0
	for n < len(s.notes) && s.notes[n].last < low {
		n++
	}
	old := s.notes[:n]
	s.notes = s.notes[n:]
	l.mu.Unlock()
	if n == 0 {
		return nil
	}
	return l.ends.Trim(ctx, old[n-1].number)
}

// move puts the first items of the log at its end.
func (l *Lanes) move(ctx context.Context) error {
	var batch []*incoming
	full := 0.0
	for _, it := range l.oldest() {
		body, err := l.body(ctx, it)
		if err != nil {
			return err
		}
		l.mu.Lock()
		at := it.at
		in := &incoming{body: body, head: itemHead{Lane: it.lane.name, Size: len(body), Tries: it.attempt, From: &at}}
		l.mu.Unlock()
		if full += in.share(); full > 1 && len(batch) > 0 { // the next would take a write of its own
			break
		}
		batch = append(batch, in)
	}
	return l.storeAll(batch)
}

// oldest returns the first items of the log.
func (l *Lanes) oldest() (items []*item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := l.shelf.low; n <= l.shelf.top && len(items) < recordItems; n++ {
		if r := l.shelf.records[n]; r != nil {
			for _, it := range r.items {
				if it != nil {
					items = append(items, it)
				}
			}
		}
	}
	return items
}

// storeAll stores items in as few writes as they fit; it fails if one could not be
// stored.
func (l *Lanes) storeAll(batch []*incoming) error {
	for _, some := range l.in.Parted(batch) {
		if err := l.in.Do(some); err != nil {
			return err
		}
	}
	var all []error
	for _, in := range batch {
		all = append(all, in.err)
	}
	return errors.Join(all...)
}

// openLanes opens the queue of that name, and takes over what is in an older
// node's stream.
func (s *Spine) openLanes(ctx context.Context, name, old string) (*Lanes, error) {
	items, former, err := s.openItems(ctx, name)
	if err != nil {
		return nil, err
	}
	ends, err := s.journal(ctx, name+endsStream, endsSubject+name, deleteReserve)
	if err != nil {
		return nil, err
	}
	l := newLanes(s.log, name, items, ends)
	if former != nil {
		if err := l.copyFrom(ctx, newLanes(s.log, name, former, ends)); err != nil {
			return nil, err
		}
		if err := s.js.DeleteStream(ctx, name+itemsStream); err != nil {
			return nil, wrap(err, "remove stream %s", name+itemsStream)
		}
	}
	moved, err := l.read(ctx)
	if err != nil {
		return nil, err
	}
	return l, l.takeOver(ctx, s, old, moved)
}

func newLanes(log *slog.Logger, name string, items itemLog, ends *Journal) *Lanes {
	l := &Lanes{
		log: log, name: name, items: items, ends: ends,
		handled: make(chan struct{}, 1), put: make(chan struct{}, 1), lanes: map[string]*lane{},
		shelf:    shelf{records: map[uint64]*record{}, read: map[string]loaded{}},
		cutBytes: cutBytes, moveBytes: moveBytes,
	}
	l.in = &Group[*incoming]{Write: l.store, Share: (*incoming).share}
	return l
}

// copyFrom stores what is in the queue as an older node kept it. It is called
// before read.
func (l *Lanes) copyFrom(ctx context.Context, old *Lanes) error {
	if _, err := old.read(ctx); err != nil {
		return err
	}
	var batch []*incoming
	full := 0.0
	write := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := l.write(ctx, batch)[0].err
		batch, full = nil, 0
		return err
	}
	for n := old.shelf.low; n <= old.shelf.top; n++ {
		r := old.shelf.records[n]
		if r == nil {
			continue
		}
		for _, it := range r.items {
			if it == nil {
				continue
			}
			body, err := old.body(ctx, it)
			if errs.Is(err, errs.NotFound) {
				l.log.Error("an item of a work queue is lost: its record is not in the log any more", "queue", l.name, "lane", it.lane.name, "err", err)
				continue
			}
			if err != nil {
				return err
			}
			in := &incoming{head: itemHead{Lane: it.lane.name, Size: len(body), Tries: it.attempt}, body: body}
			if full += in.share(); full > 1 {
				if err := write(); err != nil {
					return err
				}
				full = in.share()
			}
			batch = append(batch, in)
		}
	}
	if err := write(); err != nil {
		return err
	}
	l.log.Info("the work queue of an older version was taken over", "queue", l.name)
	return nil
}

// read makes the index. It returns the numbers that items had in the stream of an
// older node.
func (l *Lanes) read(ctx context.Context) (moved map[uint64]bool, err error) {
	gone := map[place]uint32{}
	err = l.ends.Read(ctx, 0, func(number uint64, b []byte) error {
		var entry []ended
		if err := json.Unmarshal(b, &entry); err != nil {
			return fmt.Errorf("the journal of work queue %s is broken: %w", l.name, err)
		}
		n := note{number: number}
		for _, e := range entry {
			n.last = max(n.last, e.Record)
			for _, at := range e.At {
				gone[place{e.Record, at}] = e.Check
			}
		}
		l.shelf.notes = append(l.shelf.notes, n)
		return nil
	})
	if err != nil {
		return nil, err
	}
	first, last, err := l.items.bounds(ctx)
	if err != nil {
		return nil, err
	}
	moved = map[uint64]bool{}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &l.shelf
	s.first = first
	s.low = s.first
	err = l.items.headsAfter(ctx, 0, func(number uint64, line string) error {
		h, err := readRecordHeader(line)
		if err != nil {
			return err
		}
		for _, it := range h.Items {
			if it.Old > 0 {
				moved[it.Old] = true
			}
		}
		l.add(number, h, nil, func(at int) bool {
			check, ok := gone[place{number, at}]
			return ok && check == h.Check
		})
		return nil
	})
	s.top = max(s.top, last)
	return moved, err
}

// takeOver moves what is in an older node's stream, except items that have been
// moved by an earlier start, which did not come to its end.
func (l *Lanes) takeOver(ctx context.Context, s *Spine, old string, moved map[uint64]bool) error {
	st, err := s.js.Stream(ctx, old)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return wrap(err, "look for stream %s", old)
	}
	prefix := old + "."
	var batch []*incoming
	full := 0.0
	for next := uint64(1); ; {
		m, err := st.GetMsg(ctx, next, jetstream.WithGetMsgSubject(prefix+">"))
		end := errors.Is(err, jetstream.ErrMsgNotFound)
		if err != nil && !end {
			return wrap(err, "read stream %s", old)
		}
		if !end && !moved[m.Sequence] {
			lane := strings.TrimPrefix(m.Subject, prefix)
			in := &incoming{head: itemHead{Lane: lane, Size: len(m.Data), Old: m.Sequence}, id: m.Header.Get(nats.MsgIdHdr), body: m.Data}
			batch = append(batch, in)
			full += in.share()
		}
		if len(batch) > 0 && (end || full > 1) {
			if err := l.storeAll(batch); err != nil {
				return err
			}
			batch, full = nil, 0
		}
		if end {
			break
		}
		next = m.Sequence + 1
	}
	if err := s.js.DeleteStream(ctx, old); err != nil {
		return wrap(err, "remove stream %s", old)
	}
	l.log.Info("the work queue of an older version was taken over", "queue", l.name)
	return nil
}
