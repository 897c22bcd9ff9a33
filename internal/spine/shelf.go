package spine

import (
	"cmp"
	"container/heap"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Sizes of records of items.
const (
	recordBytes = 1 << 20  // of a record that more than one item fills
	recordHead  = 48 << 10 // bytes of a record's head: the engine takes 64 KiB
	recordItems = 256
	recordsEach = 16       // records with ids of their own that one write makes
	heldBytes   = 16 << 20 // of records that are kept in memory besides on disk
)

// incoming is an item on its way into the log.
type incoming struct {
	head itemHead
	id   string // it has a record for itself; "" is none
	body []byte
	err  error // once it was written
}

// share is how much of a write the item takes up.
func (in *incoming) share() float64 {
	if in.id != "" {
		return 1.0 / recordsEach
	}
	return recordShare(in.head.Lane, in.head.Size)
}

// recordShare is how much of a record an item takes up.
func recordShare(lane string, size int) float64 {
	const fixed = 80 // bytes of a head without its names
	return max(float64(fixed+len(lane))/recordHead, float64(size)/recordBytes, 1.0/recordItems)
}

// recordHeader is the head of a record in the log; the items' bodies are the
// record's, one after the other.
type recordHeader struct {
	Check uint32     `json:"c"` // tells it from another of its number, which a torn log may give again
	Items []itemHead `json:"i"`
}

// itemHead is what the index needs of an item.
type itemHead struct {
	Lane  string `json:"l"`
	Size  int    `json:"z"`           // bytes of its body
	Tries int    `json:"t,omitempty"` // deliveries before it was put here
	From  *place `json:"f,omitempty"` // where it was before
	Old   uint64 `json:"o,omitempty"` // its number in the stream of an older node
}

// place is where an item is.
type place struct {
	Record uint64 `json:"r"`
	At     int    `json:"a,omitempty"`
}

// record is a record of the log.
type record struct {
	check uint32
	size  int64
	sizes []int32 // of its items' bodies
	items []*item // nil for each that is gone
	left  int     // items
	body  []byte  // nil if it is only on disk
}

// item is an item of the queue.
type item struct {
	lane    *lane
	at      place
	attempt int
	due     int64 // when it was put off: in nanoseconds since 1970
}

// shelf is the index of the log.
type shelf struct {
	records map[uint64]*record // all that the log holds, also those without items
	top     uint64             // the last record
	first   uint64             // those before it are not in the log any more
	low     uint64             // those before it have no items
	front   int64              // bytes of the records before low
	hollow  int64              // bytes of all records without items
	full    int64              // bytes of the others
	held    int64              // bytes of records in memory
	read    map[string]loaded  // by lane: the record that was read last from disk
	notes   []note             // the entries of the journal
}

// loaded is a record that was read.
type loaded struct {
	number uint64
	body   []byte
}

// note is an entry of the journal of ends.
type note struct{ number, last uint64 } // of the entry; of the last record that it is about

// store writes items and makes them known. It is not called twice at a time.
func (l *Lanes) store(batch []*incoming) error {
	ctx, cancel := context.WithTimeout(context.Background(), storeLimit)
	defer cancel()
	var parts [][]*incoming
	var plain []*incoming
	for _, in := range batch {
		if in.id != "" {
			parts = append(parts, []*incoming{in})
		} else {
			plain = append(plain, in)
		}
	}
	if len(plain) > 0 {
		parts = append(parts, plain)
	}
	written := l.write(ctx, parts...)
	slices.SortFunc(written, func(a, b stored) int { return cmp.Compare(a.number, b.number) })
	lost := l.adopt(ctx, written)
	lanes := map[string]struct{}{}
	l.mu.Lock()
	for _, w := range written {
		switch {
		case w.err != nil:
		case w.repeat:
			w.err = lost
		default:
			l.add(w.number, w.head, w.body, nil)
			for _, in := range w.part {
				lanes[in.head.Lane] = struct{}{}
			}
		}
		for _, in := range w.part {
			in.err = w.err
		}
	}
	l.mu.Unlock()
	for name := range lanes {
		l.serve(name)
	}
	return nil
}

// stored is a record that was written, or why it was not.
type stored struct {
	part   []*incoming
	number uint64
	repeat bool // a record with the id is in the log already, under the number
	head   recordHeader
	body   []byte
	err    error
}

// write appends a record of each part of the items.
func (l *Lanes) write(ctx context.Context, parts ...[]*incoming) []stored {
	written, entries := make([]stored, len(parts)), make([]*entry, len(parts))
	for i, part := range parts {
		w := &written[i]
		*w = stored{part: part, head: recordHeader{Check: rand.Uint32(), Items: make([]itemHead, len(part))}}
		size := 0
		for j, in := range part {
			w.head.Items[j] = in.head
			size += len(in.body)
		}
		w.body = make([]byte, 0, size)
		for _, in := range part {
			w.body = append(w.body, in.body...)
		}
		entries[i] = &entry{id: part[0].id, head: w.head.encode(), body: w.body}
	}
	l.items.appendAll(ctx, entries)
	for i, e := range entries {
		written[i].number, written[i].repeat, written[i].err = e.number, e.repeat, e.err
	}
	return written
}

// encode returns the header as JSON, by hand: who puts an item waits for it. Names
// of lanes have nothing to be escaped.
func (h *recordHeader) encode() string {
	b := strconv.AppendUint([]byte(`{"c":`), uint64(h.Check), 10)
	b = append(b, `,"i":[`...)
	for i, it := range h.Items {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendQuote(append(b, `{"l":`...), it.Lane)
		b = strconv.AppendInt(append(b, `,"z":`...), int64(it.Size), 10)
		if it.Tries != 0 {
			b = strconv.AppendInt(append(b, `,"t":`...), int64(it.Tries), 10)
		}
		if it.From != nil {
			b = strconv.AppendUint(append(b, `,"f":{"r":`...), it.From.Record, 10)
			b = append(strconv.AppendInt(append(b, `,"a":`...), int64(it.From.At), 10), '}')
		}
		if it.Old != 0 {
			b = strconv.AppendUint(append(b, `,"o":`...), it.Old, 10)
		}
		b = append(b, '}')
	}
	return string(append(b, "]}"...))
}

// adopt takes in the records before those that were written now which are in the
// log though their writes seemed to fail. If it fails itself, such records are
// known after the next start only.
func (l *Lanes) adopt(ctx context.Context, written []stored) error {
	l.mu.Lock()
	top := l.shelf.top
	l.mu.Unlock()
	own, last := map[uint64]bool{}, top
	for _, w := range written {
		if w.err == nil {
			own[w.number] = own[w.number] || !w.repeat
			last = max(last, w.number)
		}
	}
	missing := false
	for n := top + 1; n <= last && !missing; n++ {
		missing = !own[n]
	}
	if !missing {
		return nil
	}
	lanes := map[string]struct{}{}
	err := l.items.headsAfter(ctx, top, func(number uint64, head string) error {
		if number > last || own[number] {
			return nil
		}
		h, err := readRecordHeader(head)
		if err != nil {
			return err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.add(number, h, nil, nil)
		for _, it := range h.Items {
			lanes[it.Lane] = struct{}{}
		}
		return nil
	})
	if err != nil {
		l.log.Warn("items whose storing seemed to fail may be in the queue; they are handled after the next start", "queue", l.name, "err", err)
		return wrap(err, "look for records of %s", l.name)
	}
	for name := range lanes {
		l.serve(name)
	}
	return nil
}

// add makes a record and its items known. gone says which of them were handled in
// an earlier life; it is nil for a record of this one. mu is held.
func (l *Lanes) add(number uint64, h recordHeader, body []byte, gone func(at int) bool) {
	n := len(h.Items)
	r := &record{check: h.Check, sizes: make([]int32, n), items: make([]*item, n), left: n}
	s := &l.shelf
	s.records[number] = r
	s.top = max(s.top, number)
	for i, head := range h.Items {
		r.sizes[i] = int32(min(head.Size, math.MaxInt32))
		r.size += int64(head.Size + len(head.Lane) + 40)
		it := s.find(head.From)
		switch {
		case gone != nil && gone(i), it == nil && head.From != nil && gone == nil: // or it has moved, or ended, meanwhile
			r.left--
			continue
		case it != nil: // it moves
			l.drop(it)
		default:
			it = l.enter(head)
		}
		it.at = place{number, i}
		r.items[i] = it
	}
	s.full += r.size
	if r.left == 0 {
		s.emptied(r)
	} else if body != nil && s.held+int64(len(body)) <= heldBytes {
		r.body = body
		s.held += int64(len(body))
	}
}

// enter puts a new item into its lane. mu is held.
func (l *Lanes) enter(head itemHead) *item {
	ln := l.lanes[head.Lane]
	if ln == nil {
		ln = &lane{name: head.Lane}
		l.lanes[head.Lane] = ln
	}
	it := &item{lane: ln, attempt: head.Tries}
	ln.held++
	ln.ready = append(ln.ready, it)
	return it
}

// find returns the item at a place, nil if there is none.
func (s *shelf) find(at *place) *item {
	if at == nil {
		return nil
	}
	r := s.records[at.Record]
	if r == nil || at.At >= len(r.items) {
		return nil
	}
	return r.items[at.At]
}

// drop takes an item out of its record. mu is held.
func (l *Lanes) drop(it *item) {
	r := l.shelf.records[it.at.Record]
	r.items[it.at.At] = nil
	if r.left--; r.left == 0 {
		l.shelf.emptied(r)
	}
}

// emptied tells of a record that it has no items.
func (s *shelf) emptied(r *record) {
	s.held -= int64(len(r.body))
	r.body, r.items, r.sizes = nil, nil, nil
	s.full -= r.size
	s.hollow += r.size
	for ; s.low <= s.top; s.low++ {
		r := s.records[s.low]
		if r != nil && r.left > 0 {
			return
		}
		if r != nil {
			s.front += r.size
		}
	}
}

// body returns the body of an item that is out.
func (l *Lanes) body(ctx context.Context, it *item) ([]byte, error) {
	for {
		l.mu.Lock()
		at := it.at
		b, from, to := l.look(it)
		l.mu.Unlock()
		if b == nil {
			var err error
			b, err = l.items.Body(ctx, at.Record)
			l.mu.Lock()
			moved := it.at != at
			if err == nil && !moved {
				l.shelf.read[it.lane.name] = loaded{at.Record, b}
			}
			l.mu.Unlock()
			if moved {
				continue
			}
			if err != nil {
				return nil, err
			}
		}
		if to > len(b) {
			return nil, errs.Newf(errs.NotFound, "record %d of %s is broken", at.Record, l.name)
		}
		return b[from:to:to], nil
	}
}

// look returns the body of an item's record, nil if it must be read, and where in
// it the item's is. mu is held.
func (l *Lanes) look(it *item) (body []byte, from, to int) {
	r := l.shelf.records[it.at.Record]
	for _, n := range r.sizes[:it.at.At] {
		from += int(n)
	}
	body = r.body
	if last := l.shelf.read[it.lane.name]; body == nil && last.number == it.at.Record {
		body = last.body
	}
	return body, from, from + int(r.sizes[it.at.At])
}

func readRecordHeader(s string) (h recordHeader, err error) {
	if err := json.Unmarshal([]byte(s), &h); err != nil {
		return h, fmt.Errorf("the head of a record of items is broken: %w", err)
	}
	return h, nil
}

// schedule is items by the time when they are due.
type schedule []*item

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].due < s[j].due }
func (s schedule) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *schedule) Push(x any)        { *s = append(*s, x.(*item)) }
func (s *schedule) Pop() any {
	last := len(*s) - 1
	it := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	return it
}

// add puts an item off, and reports whether it is the first that is due.
func (s *schedule) add(it *item, due time.Time) (first bool) {
	it.due = due.UnixNano()
	heap.Push(s, it)
	return (*s)[0] == it
}

// due takes out the items whose time has come.
func (s *schedule) due(now time.Time) (items []*item) {
	for len(*s) > 0 && (*s)[0].due <= now.UnixNano() {
		items = append(items, heap.Pop(s).(*item))
	}
	return items
}

// wait is how long it takes until an item is due.
func (s schedule) wait(now time.Time) time.Duration {
	if len(s) == 0 {
		return time.Hour
	}
	return max(time.Duration(s[0].due-now.UnixNano()), 0)
}
