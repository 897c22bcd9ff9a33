package spine

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Limits of a work queue's service.
const (
	endsGather = 20 * time.Millisecond // how long the end of an item waits for others before it is written
	endsPause  = time.Second           // after ends could not be written
	tidyEvery  = 30 * time.Second      // how often records that nobody needs are removed, be they ever so few
	storeLimit = 10 * time.Second      // of one write
)

// Lanes is a durable work queue with one lane for each key: what waits, fails or
// is slow in one does not hold up another. An item stays in its lane until it
// was handled. It is safe for concurrent use, and belongs to one process.
//
// What is put at one time is one record of a log, with one sync of the disk. Which
// items were handled is in a journal, which is written behind them: a node that is
// killed handles those of the last moment again. The index of both is in memory.
type Lanes struct {
	log   *slog.Logger
	name  string
	items itemLog
	ends  *Journal
	in    *Group[*incoming]

	cutBytes, moveBytes int64 // as the constants say; a test wants less

	handled chan struct{} // told after done grew
	put     chan struct{} // told after the first of later changed

	mu      sync.Mutex
	serving *serving         // guarded by mu: nil while Run does not run
	lanes   map[string]*lane // guarded by mu: those that hold items
	later   schedule         // guarded by mu: items that were put off
	done    []*item          // guarded by mu: handled, and not in the journal yet
	shelf   shelf            // guarded by mu
}

// lane is one lane while it holds items.
type lane struct {
	name  string
	again []*item // whose time has come again
	ready []*item
	out   int
	held  int // all items, until their end is on disk
}

// serving is a run of Lanes.Run.
type serving struct {
	Service
	ctx   context.Context
	under sync.WaitGroup // items under way
}

// Delivery is an item on its way to its handler.
type Delivery struct {
	Lane    string
	Body    []byte
	Attempt int // counts the deliveries of this item by this process, from 1
}

// Service says how the items of lanes are handled. Its functions are called from
// many goroutines.
type Service struct {
	// Room returns how many items of the lane may be out at a time, at least
	// one. It is asked whenever more could be taken.
	Room func(lane string) int

	// Handle handles one item. A nil error means that it is done; else it is
	// delivered again after retry.
	Handle func(ctx context.Context, d Delivery) (retry time.Duration, err error)

	// Settle, unless it is nil, is called before items that are done leave the
	// queue: it returns when all that Handle left behind is on disk. If it fails,
	// they stay, and it is called again.
	Settle func(ctx context.Context) error
}

// Calls opens the queue of accepted asynchronous calls; its lanes are functions.
func (s *Spine) Calls(ctx context.Context) (*Lanes, error) {
	return s.openLanes(ctx, callsName, oldCallsStream)
}

// Parcels opens the queue of messages on their way to targets.
func (s *Spine) Parcels(ctx context.Context) (*Lanes, error) {
	return s.openLanes(ctx, parcelsName, oldParcelsStream)
}

// Put stores an item in a lane, whose name is made of letters, digits, '-' and
// '_'. When it returns nil the item is on disk. An item with an id that was put
// within the last ten minutes is dropped; "" is no id.
func (l *Lanes) Put(ctx context.Context, lane, id string, body []byte) error {
	if err := ctx.Err(); err != nil {
		return wrap(err, "store an item of lane %s", lane)
	}
	in := &incoming{head: itemHead{Lane: lane, Size: len(body)}, id: id, body: body}
	if err := l.in.Do([]*incoming{in}); err != nil {
		return err
	}
	return in.err
}

// Waiting returns how many items each lane holds, those under way too.
func (l *Lanes) Waiting() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	waiting := make(map[string]int, len(l.lanes))
	for name, ln := range l.lanes {
		waiting[name] = ln.held
	}
	return waiting
}

// Run serves all lanes until ctx ends; then it waits for the items under way.
func (l *Lanes) Run(ctx context.Context, s Service) error {
	now := &serving{Service: s, ctx: ctx}
	l.mu.Lock()
	l.serving = now
	names := make([]string, 0, len(l.lanes))
	for name := range l.lanes {
		names = append(names, name)
	}
	l.mu.Unlock()
	var loops sync.WaitGroup
	loops.Go(func() { l.recall(ctx) })
	loops.Go(func() { l.settle(ctx, s) })
	for _, name := range names {
		l.serve(name)
	}
	<-ctx.Done()
	l.mu.Lock()
	l.serving = nil
	l.mu.Unlock()
	now.under.Wait()
	loops.Wait()
	if err := l.end(context.WithoutCancel(ctx), s); err != nil {
		l.log.Warn("items of the last moment are handled again after the next start", "queue", l.name, "err", err)
	}
	return nil
}

// serve hands out items of the lane, as many at a time as there is room for.
func (l *Lanes) serve(name string) {
	l.mu.Lock()
	s := l.serving
	l.mu.Unlock()
	if s == nil {
		return
	}
	room := max(s.Room(name), 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	ln := l.lanes[name]
	for ln != nil && l.serving == s && ln.out < room {
		it := ln.next()
		if it == nil {
			return
		}
		ln.out++
		it.attempt++
		s.under.Go(func() { l.one(s, it) })
	}
}

// next takes an item that waits, nil if none does. Lanes.mu is held.
func (ln *lane) next() (it *item) {
	from := &ln.again
	if len(*from) == 0 {
		from = &ln.ready
	}
	if len(*from) == 0 {
		return nil
	}
	it, (*from)[0] = (*from)[0], nil
	*from = (*from)[1:]
	return it
}

// one runs the handler on an item that is out, and puts it off or lets it end.
func (l *Lanes) one(s *serving, it *item) {
	ln := it.lane
	body, err := l.body(s.ctx, it)
	retry := endsPause
	switch {
	case s.ctx.Err() != nil:
		err = s.ctx.Err()
	case err == nil:
		retry, err = s.Handle(s.ctx, Delivery{Lane: ln.name, Body: body, Attempt: it.attempt})
	case errs.Is(err, errs.NotFound):
		l.log.Error("an item of a work queue is lost: its record is not in the log any more", "queue", l.name, "lane", ln.name, "err", err)
		err = nil
	}
	l.mu.Lock()
	ln.out--
	if err == nil {
		l.done = append(l.done, it)
		signal(l.handled)
	} else if l.later.add(it, time.Now().Add(max(retry, time.Millisecond))) {
		signal(l.put)
	}
	l.mu.Unlock()
	l.serve(ln.name)
}

// signal leaves a token for whoever waits.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// recall has items that were put off served when they are due, until ctx ends.
func (l *Lanes) recall(ctx context.Context) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.put:
		case <-t.C:
		}
		lanes := map[string]struct{}{}
		l.mu.Lock()
		for _, it := range l.later.due(time.Now()) {
			it.lane.again = append(it.lane.again, it)
			lanes[it.lane.name] = struct{}{}
		}
		wait := l.later.wait(time.Now())
		l.mu.Unlock()
		t.Reset(wait)
		for name := range lanes {
			l.serve(name)
		}
	}
}

// settle has items that were handled leave the queue, many at a time, and removes
// their records, until ctx ends.
func (l *Lanes) settle(ctx context.Context, s Service) {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	failing := false
	for {
		idle := false
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			idle = true
		case <-l.handled:
			pause(ctx, endsGather)
		}
		err := l.end(ctx, s)
		if err == nil {
			err = l.tidy(ctx, idle)
		}
		if err != nil && ctx.Err() == nil {
			if !failing {
				l.log.Warn("items that were handled stay in the queue for now", "queue", l.name, "err", err)
			}
			pause(ctx, endsPause)
			signal(l.handled)
		}
		failing = err != nil
	}
}

// pause waits for d or for ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
