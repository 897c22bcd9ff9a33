package spine

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Limits of a lane's service.
const (
	itemLease  = 10 * time.Second // without a sign of life a delivered item is delivered again after it
	laneFetch  = 64               // most items asked for at a time
	laneIdle   = 30 * time.Second // an empty lane is closed after it
	lanesScan  = time.Minute      // how often lanes that nobody told of are looked for
	lanePause  = time.Second      // after a failure of the engine
	laneSettle = 5 * time.Second
)

// Lanes is a durable work queue with one lane for each key: what waits, fails or
// is slow in one does not hold up another. An item stays in its lane until it
// was handled. It is safe for concurrent use.
type Lanes struct {
	s      *Spine
	st     jetstream.Stream
	prefix string // of its subjects
	log    *slog.Logger

	mu    sync.Mutex
	open  map[string]*lane  // guarded by mu: the lanes that are served
	start func(name string) // guarded by mu: opens a lane; nil while Run does not run
}

// lane is one lane while it is served.
type lane struct {
	name string
	puts int // guarded by Lanes.mu: Puts since it was opened

	out     atomic.Int64
	settled chan struct{} // told after out fell
}

// Delivery is an item on its way to its handler.
type Delivery struct {
	Lane    string
	Body    []byte
	Attempt int // counts the deliveries of this item, from 1
}

// Service says how the items of lanes are handled. Both functions are called
// from many goroutines.
type Service struct {
	// Room returns how many items of the lane may be out at a time, at least
	// one. It is asked whenever more could be taken.
	Room func(lane string) int

	// Handle handles one item. A nil error means that it is done; else it is
	// delivered again after retry.
	Handle func(ctx context.Context, d Delivery) (retry time.Duration, err error)
}

// Calls opens the queue of accepted asynchronous calls; its lanes are functions.
func (s *Spine) Calls(ctx context.Context) (*Lanes, error) {
	return s.lanes(ctx, callsStream, callsSubject)
}

// Parcels opens the queue of messages on their way to targets.
func (s *Spine) Parcels(ctx context.Context) (*Lanes, error) {
	return s.lanes(ctx, parcelsStream, parcelsSubject)
}

func (s *Spine) lanes(ctx context.Context, stream, prefix string) (*Lanes, error) {
	st, err := s.stream(ctx, jetstream.StreamConfig{
		Name: stream, Subjects: []string{prefix + ">"}, Retention: jetstream.WorkQueuePolicy, Duplicates: duplicateWindow,
	})
	if err != nil {
		return nil, err
	}
	// Nodes of before served all keys by one consumer, which excludes others.
	if err := st.DeleteConsumer(ctx, oneConsumer); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, wrap(err, "delete the old consumer of %s", stream)
	}
	return &Lanes{s: s, st: st, prefix: prefix, log: s.log, open: map[string]*lane{}}, nil
}

// Put stores an item in a lane, whose name is made of letters, digits, '-' and
// '_'. When it returns nil the item is on disk. An item with an id that was put
// within the last ten minutes is dropped; "" is no id.
func (l *Lanes) Put(ctx context.Context, lane, id string, body []byte) error {
	if _, err := l.s.publish(ctx, l.prefix+lane, id, body, reserve); err != nil {
		return err
	}
	l.wake(lane)
	return nil
}

// wake has a lane served in which there may be items.
func (l *Lanes) wake(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.start == nil {
		return
	}
	if ln := l.open[name]; ln != nil {
		ln.puts++
		return
	}
	l.start(name)
}

// Run serves all lanes until ctx ends; then it waits for the items under way.
func (l *Lanes) Run(ctx context.Context, s Service) error {
	var serving sync.WaitGroup
	defer serving.Wait()
	l.mu.Lock()
	l.start = func(name string) {
		ln := &lane{name: name, settled: make(chan struct{}, 1)}
		l.open[name] = ln
		serving.Go(func() { l.keep(ctx, ln, s) })
	}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.start = nil
		l.mu.Unlock()
	}()
	for {
		if err := l.scan(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lanesScan):
		}
	}
}

// scan opens each lane that has items.
func (l *Lanes) scan(ctx context.Context) error {
	info, err := l.st.Info(ctx, jetstream.WithSubjectFilter(l.prefix+">"))
	if err != nil {
		return wrap(err, "look for lanes of %s", l.prefix)
	}
	for subject := range info.State.Subjects {
		l.wake(strings.TrimPrefix(subject, l.prefix))
	}
	return nil
}

// Waiting returns how many items each lane holds, those under way too.
func (l *Lanes) Waiting(ctx context.Context) (map[string]uint64, error) {
	info, err := l.st.Info(ctx, jetstream.WithSubjectFilter(l.prefix+">"))
	if err != nil {
		return nil, wrap(err, "count the items of %s", l.prefix)
	}
	waiting := make(map[string]uint64, len(info.State.Subjects))
	for subject, n := range info.State.Subjects {
		waiting[strings.TrimPrefix(subject, l.prefix)] = n
	}
	return waiting, nil
}

// keep serves a lane until ctx ends or the lane is empty.
func (l *Lanes) keep(ctx context.Context, ln *lane, s Service) {
	for ctx.Err() == nil {
		err := l.serve(ctx, ln, s)
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			l.log.Warn("a lane of the work queue is opened again", "lane", ln.name, "err", err)
			pause(ctx, lanePause)
		}
	}
}

// serve takes items from the lane, as many at a time as there is room for. It
// returns nil when ctx has ended or the lane is closed, and after an error when
// the items under way are done.
func (l *Lanes) serve(ctx context.Context, ln *lane, s Service) error {
	consumer := lanePrefix + ln.name
	c, err := l.st.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: consumer, FilterSubject: l.prefix + ln.name, AckPolicy: jetstream.AckExplicitPolicy, AckWait: itemLease,
		MaxDeliver: -1, MaxAckPending: -1,
	})
	if err != nil {
		return wrap(err, "make consumer %s", consumer)
	}
	var under sync.WaitGroup
	defer under.Wait()
	for ctx.Err() == nil {
		room := s.Room(ln.name) - int(ln.out.Load())
		if room <= 0 {
			select {
			case <-ln.settled:
			case <-ctx.Done():
			}
			continue
		}
		taken, err := l.fetch(ctx, c, min(room, laneFetch), func(m jetstream.Msg) {
			ln.out.Add(1)
			under.Go(func() {
				l.one(ctx, ln, m, s)
				ln.out.Add(-1)
				select {
				case ln.settled <- struct{}{}:
				default:
				}
			})
		})
		if err != nil {
			return err
		}
		if taken == 0 && ln.out.Load() == 0 && l.closed(ctx, ln, c) {
			return nil
		}
	}
	return nil
}

// fetch gives each of up to n items to take as it comes, and returns when they
// are complete or none came for a while.
func (l *Lanes) fetch(ctx context.Context, c jetstream.Consumer, n int, take func(jetstream.Msg)) (taken int, err error) {
	wait, cancel := context.WithTimeout(ctx, laneIdle)
	defer cancel()
	batch, err := c.Fetch(n, jetstream.FetchContext(wait))
	if err != nil {
		return 0, wrap(err, "take items")
	}
	for m := range batch.Messages() {
		taken++
		take(m)
	}
	if err := batch.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return taken, wrap(err, "take items")
	}
	return taken, nil
}

// closed closes the lane if it is empty, and reports whether it did.
func (l *Lanes) closed(ctx context.Context, ln *lane, c jetstream.Consumer) bool {
	l.mu.Lock()
	puts := ln.puts
	l.mu.Unlock()
	info, err := c.Info(ctx)
	if err != nil || info.NumPending > 0 || info.NumAckPending > 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if ln.puts != puts { // an item may have come since
		return false
	}
	// Without the lock a new service of the lane could lose its consumer here.
	if err := l.st.DeleteConsumer(ctx, lanePrefix+ln.name); err != nil {
		return false
	}
	delete(l.open, ln.name)
	return true
}

// one runs the handler on an item and settles it. A settlement that is lost only
// means that the item is delivered again.
func (l *Lanes) one(ctx context.Context, ln *lane, m jetstream.Msg, s Service) {
	meta, err := m.Metadata()
	if err != nil { // not a message of the stream: nothing to settle
		return
	}
	if ctx.Err() != nil {
		m.Nak()
		return
	}
	stop := l.hold(m)
	retry, err := s.Handle(ctx, Delivery{Lane: ln.name, Body: m.Data(), Attempt: int(meta.NumDelivered)})
	stop()
	if err != nil {
		m.NakWithDelay(max(retry, time.Millisecond))
		return
	}
	// A settlement outlives ctx: the item has been handled.
	settle, cancel := context.WithTimeout(context.WithoutCancel(ctx), laneSettle)
	defer cancel()
	m.DoubleAck(settle)
}

// hold renews an item's lease until stop is called.
func (l *Lanes) hold(m jetstream.Msg) (stop func()) {
	var timer *time.Timer
	var mu sync.Mutex
	done := false
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(itemLease/3, func() {
		mu.Lock()
		defer mu.Unlock()
		if !done {
			m.InProgress()
			timer.Reset(itemLease / 3)
		}
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		done = true
		timer.Stop()
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
