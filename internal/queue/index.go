package queue

import (
	"cmp"
	"container/heap"
	"slices"
)

// state is what a message waits for.
type state uint8

const (
	ready   state = iota // to be received
	delayed              // until it is due
	out                  // received: to be deleted, or to be due again
	busy                 // on its way to another queue or to its end: nobody else touches it
)

// entry is a message in the index.
type entry struct {
	head
	pos      uint64
	receives int
	first    int64 // when it was received first; 0 if never
	due      int64 // of a delayed or out one: when it is ready again
	inside   bool  // its receiver is a part of the node and ends with it
	state    state
	lane     *lane  // FIFO: its group
	at       int    // place in the heap of its state
	part     []byte // nil if only the log has it
}

// lane is a group of a FIFO queue.
type lane struct {
	key    string
	queued []*entry // ready and delayed ones by position
	out    int      // how many are out or busy: none else may be received
	at     int      // place in the heap of open lanes, or -1
}

func (l *lane) open() bool {
	return l.out == 0 && len(l.queued) > 0 && l.queued[0].state == ready
}

// index decides which messages are received next. It is not safe for concurrent
// use, and knows time only as it is told: in milliseconds.
type index struct {
	fifo  bool
	all   map[uint64]*entry
	due   dueHeap  // delayed and out ones
	ready posHeap  // ready ones; unused by FIFO
	lanes laneHeap // FIFO: open groups
	group map[string]*lane
	count [busy + 1]int
}

func newIndex(fifo bool) *index {
	return &index{fifo: fifo, all: map[uint64]*entry{}, group: map[string]*lane{}}
}

// add takes in a message. One with a due time is delayed, or out if it has been
// received before.
func (x *index) add(e *entry, now int64) {
	x.all[e.pos] = e
	if x.fifo {
		if e.lane = x.group[e.Group]; e.lane == nil {
			e.lane = &lane{key: e.Group, at: -1}
			x.group[e.Group] = e.lane
		}
	}
	switch {
	case e.due <= now:
		x.enter(e, ready)
	case e.receives > 0:
		x.enter(e, out)
	default:
		x.enter(e, delayed)
	}
	x.refresh(e.lane)
}

// enter puts a message that is in no state into one.
func (x *index) enter(e *entry, s state) {
	e.state = s
	x.count[s]++
	if s == delayed || s == out {
		heap.Push(&x.due, e)
	}
	switch {
	case e.lane == nil && s == ready:
		heap.Push(&x.ready, e)
	case e.lane != nil && (s == ready || s == delayed):
		i, _ := slices.BinarySearchFunc(e.lane.queued, e, func(a, b *entry) int { return cmp.Compare(a.pos, b.pos) })
		e.lane.queued = slices.Insert(e.lane.queued, i, e)
	case e.lane != nil:
		e.lane.out++
	}
}

// leave takes a message out of its state.
func (x *index) leave(e *entry) {
	x.count[e.state]--
	if e.state == delayed || e.state == out {
		heap.Remove(&x.due, e.at)
	}
	switch {
	case e.lane == nil && e.state == ready:
		heap.Remove(&x.ready, e.at)
	case e.lane != nil && (e.state == ready || e.state == delayed):
		if i := slices.Index(e.lane.queued, e); i == 0 {
			e.lane.queued = e.lane.queued[1:]
		} else {
			e.lane.queued = slices.Delete(e.lane.queued, i, i+1)
		}
	case e.lane != nil:
		e.lane.out--
	}
}

// turn changes a message's state.
func (x *index) turn(e *entry, s state) {
	x.leave(e)
	x.enter(e, s)
	x.refresh(e.lane)
}

// hide has a message that is out ready again at a time.
func (x *index) hide(e *entry, due, now int64) {
	x.leave(e)
	if e.due = due; due <= now {
		e.due = 0
		x.enter(e, ready)
	} else {
		x.enter(e, out)
	}
	x.refresh(e.lane)
}

// remove forgets a message.
func (x *index) remove(e *entry) {
	x.leave(e)
	delete(x.all, e.pos)
	x.refresh(e.lane)
}

// refresh brings the heap of open lanes up to date.
func (x *index) refresh(l *lane) {
	switch {
	case l == nil:
	case len(l.queued) == 0 && l.out == 0:
		if l.at >= 0 {
			heap.Remove(&x.lanes, l.at)
		}
		delete(x.group, l.key)
	case l.open() && l.at < 0:
		heap.Push(&x.lanes, l)
	case l.open():
		heap.Fix(&x.lanes, l.at)
	case l.at >= 0:
		heap.Remove(&x.lanes, l.at)
	}
}

// wake makes ready what is due and returns how many those are.
func (x *index) wake(now int64) (n int) {
	for len(x.due) > 0 && x.due[0].due <= now {
		e := x.due[0]
		x.turn(e, ready)
		e.due = 0
		n++
	}
	return n
}

// next returns when the next message is due, or 0.
func (x *index) next() int64 {
	if len(x.due) == 0 {
		return 0
	}
	return x.due[0].due
}

// take hands out up to most messages, which are out until the time given. Those
// that were received limit times already are busy instead, and returned as dead;
// a limit of 0 is none.
func (x *index) take(now int64, most int, until int64, limit int) (taken, dead []*entry) {
	x.wake(now)
	for len(taken) < most {
		e := x.first(taken)
		if e == nil {
			break
		}
		if limit > 0 && e.receives >= limit {
			x.turn(e, busy)
			dead = append(dead, e)
			continue
		}
		e.receives++
		if e.first == 0 {
			e.first = now
		}
		e.due = until
		x.turn(e, out)
		taken = append(taken, e)
	}
	return taken, dead
}

// first returns the message to hand out next, or nil. A lane that is closed only
// by messages of the same hand goes on.
func (x *index) first(taken []*entry) *entry {
	if !x.fifo {
		if len(x.ready) == 0 {
			return nil
		}
		return x.ready[0]
	}
	if len(taken) > 0 {
		l, mine := taken[len(taken)-1].lane, 0
		for i := len(taken) - 1; i >= 0 && taken[i].lane == l; i-- {
			mine++
		}
		if mine == l.out && len(l.queued) > 0 && l.queued[0].state == ready {
			return l.queued[0]
		}
	}
	if len(x.lanes) == 0 {
		return nil
	}
	return x.lanes[0].queued[0]
}

type dueHeap []*entry

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due < h[j].due }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i]; h[i].at, h[j].at = i, j }

// Push implements heap.Interface.
func (h *dueHeap) Push(v any) { e := v.(*entry); e.at = len(*h); *h = append(*h, e) }

// Pop implements heap.Interface.
func (h *dueHeap) Pop() any { return pop((*[]*entry)(h)) }

type posHeap []*entry

func (h posHeap) Len() int           { return len(h) }
func (h posHeap) Less(i, j int) bool { return h[i].pos < h[j].pos }
func (h posHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i]; h[i].at, h[j].at = i, j }

// Push implements heap.Interface.
func (h *posHeap) Push(v any) { e := v.(*entry); e.at = len(*h); *h = append(*h, e) }

// Pop implements heap.Interface.
func (h *posHeap) Pop() any { return pop((*[]*entry)(h)) }

type laneHeap []*lane

func (h laneHeap) Len() int           { return len(h) }
func (h laneHeap) Less(i, j int) bool { return h[i].queued[0].pos < h[j].queued[0].pos }
func (h laneHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i]; h[i].at, h[j].at = i, j }

// Push implements heap.Interface.
func (h *laneHeap) Push(v any) { l := v.(*lane); l.at = len(*h); *h = append(*h, l) }

// Pop implements heap.Interface.
func (h *laneHeap) Pop() any {
	l := pop((*[]*lane)(h))
	l.at = -1
	return l
}

func pop[T any](h *[]*T) *T {
	last := len(*h) - 1
	v := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return v
}
