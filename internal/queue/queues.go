package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

// Options are what Queues are made of. All are required.
type Options struct {
	Spine   *spine.Spine
	Bucket  *spine.Bucket  // of the queues' documents
	Moves   *spine.Bucket  // of moves out of dead-letter queues
	Journal *spine.Journal // of what happens to messages
	Log     *slog.Logger
}

// Queues are all queues of the node, which is their only user. It is safe for
// concurrent use.
type Queues struct {
	o       Options
	journal *spine.Group[change]
	written int          // changes in the journal; only write uses it
	kept    int          // of them the last shortening needed; as above
	held    atomic.Int64 // bytes of messages kept in memory

	mu     sync.RWMutex
	byName map[string]*live // guarded by mu

	stopped chan struct{} // closed when Run ends: receivers wait no longer

	changing sync.Mutex // held while queues are made, changed or deleted
	moving   moving
}

// document is the durable form of a queue's settings.
type document struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Config   Config            `json:"config"`
	Tags     map[string]string `json:"tags,omitempty"`
	Created  time.Time         `json:"created"`
	Modified time.Time         `json:"modified"`
}

const (
	maxHeld      = 64 << 20 // bytes of messages that are kept in memory besides on disk
	recordBytes  = 4 << 20  // of a record that more than one message fills
	headBytes    = 48 << 10 // of a record's heads: the engine takes 64 KiB
	writeChanges = 20_000   // of one write
	opening      = 8        // queues that are read at a time
)

// Open reads all queues. Run must run for old messages to go.
func Open(ctx context.Context, o Options) (*Queues, error) {
	q := &Queues{o: o, byName: map[string]*live{}, stopped: make(chan struct{})}
	q.journal = &spine.Group[change]{Write: q.write, Share: func(change) float64 { return 1.0 / writeChanges }}
	var docs []document
	revs := map[string]uint64{}
	err := o.Bucket.List(ctx, "", func(key string, value []byte, rev uint64) error {
		var d document
		if err := json.Unmarshal(value, &d); err != nil {
			return fmt.Errorf("the settings of queue %s are broken: %w", key, err)
		}
		docs, revs[d.ID] = append(docs, d), rev
		return nil
	})
	if err != nil {
		return nil, err
	}
	histories, err := q.readJournal(ctx)
	if err != nil {
		return nil, err
	}
	if err := q.loadMoves(ctx); err != nil {
		return nil, err
	}
	g, reading := errgroup.WithContext(ctx)
	g.SetLimit(opening)
	for _, d := range docs {
		g.Go(func() error {
			l, err := q.open(reading, d, revs[d.ID])
			if err != nil {
				return err
			}
			if err := l.read(reading, histories[d.ID]); err != nil {
				return err
			}
			q.mu.Lock()
			defer q.mu.Unlock()
			q.byName[d.Name] = l
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return q, q.sweep(ctx)
}

// sweep removes the logs of queues that are no more.
func (q *Queues) sweep(ctx context.Context) error {
	ids, err := q.o.Spine.Logs(ctx)
	if err != nil {
		return err
	}
	for _, l := range q.list() {
		ids = slices.DeleteFunc(ids, func(id string) bool { return id == l.id })
	}
	for _, id := range ids {
		if err := q.o.Spine.RemoveLog(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// open makes the queue of a document, without its messages.
func (q *Queues) open(ctx context.Context, d document, rev uint64) (*live, error) {
	log, err := q.o.Spine.Log(ctx, d.ID)
	if err != nil {
		return nil, err
	}
	l := &live{
		id: d.ID, name: d.Name, q: q, log: log, gone: make(chan struct{}),
		cfg: d.Config, tags: d.Tags, created: d.Created, changed: d.Modified, rev: rev,
		x: newIndex(d.Config.FIFO), seen: map[string]*sighting{}, records: map[uint64]int{}, hollow: map[uint64]struct{}{}, ended: map[uint64][]ending{},
	}
	l.in = &spine.Group[*incoming]{Write: l.store, Share: (*incoming).share}
	return l, nil
}

// read takes in the messages that the log holds, as their history left them.
func (l *live) read(ctx context.Context, h *history) error {
	if h == nil {
		h = &history{}
	}
	now := millis(time.Now())
	for key, c := range h.keys {
		s := &sighting{sent: Sent{ID: c.ID, Sequence: c.Pos}, at: c.At}
		if s.counts(key, now) {
			l.seen[key] = s
		}
	}
	return l.log.Heads(ctx, func(seq uint64, line string) error {
		heads, err := readHeads(line)
		if err != nil {
			return fmt.Errorf("queue %s: %w", l.name, err)
		}
		if l.top = seq; l.low == 0 {
			l.low = seq
		}
		for i, hd := range heads {
			e := &entry{head: hd, pos: position(seq, i), due: hd.Due}
			if c := h.last[e.pos]; c.Check == e.check() {
				if c.Gone {
					l.drop(e.pos, c.Check)
					continue
				}
				e.receives, e.first, e.due = c.Receives, c.First, c.Due
			}
			l.records[seq]++
			l.x.add(e, now)
			if s := (&sighting{sent: Sent{ID: e.ID, Sequence: e.pos}, at: e.put(), left: true}); e.Key != "" && s.counts(e.Key, now) {
				l.seen[e.Key] = s
			}
		}
		if l.records[seq] == 0 {
			l.hollow[seq], l.tidy = struct{}{}, true
		}
		return nil
	})
}

// keep returns p if there is room for it in memory.
func (q *Queues) keep(p []byte) []byte {
	if q.held.Add(int64(len(p))) > maxHeld {
		q.held.Add(-int64(len(p)))
		return nil
	}
	return p
}

func (q *Queues) release(p []byte) { q.held.Add(-int64(len(p))) }

func noQueue(name string) error {
	return errs.Newf(errs.NotFound, "queue %s does not exist", name).WithReason(ReasonNoQueue)
}

func (q *Queues) live(name string) (*live, error) {
	q.mu.RLock()
	defer q.mu.RUnlock()
	l := q.byName[name]
	if l == nil {
		return nil, noQueue(name)
	}
	return l, nil
}

func (q *Queues) exists(name string) bool {
	_, err := q.live(name)
	return err == nil
}

func (q *Queues) list() []*live {
	q.mu.RLock()
	defer q.mu.RUnlock()
	return slices.Collect(maps.Values(q.byName))
}

// Names returns the names of all queues that begin with prefix, sorted.
func (q *Queues) Names(prefix string) []string {
	var names []string
	for _, l := range q.list() {
		if strings.HasPrefix(l.name, prefix) {
			names = append(names, l.name)
		}
	}
	slices.Sort(names)
	return names
}

// Get describes a queue, or fails with errs.NotFound.
func (q *Queues) Get(name string) (Info, error) {
	l, err := q.live(name)
	if err != nil {
		return Info{}, err
	}
	return l.info(), nil
}

// DeadLetterSources returns the queues whose dead letters go to the one named.
func (q *Queues) DeadLetterSources(name string) []string {
	var names []string
	for _, l := range q.list() {
		l.mu.Lock()
		if d := l.cfg.Dead; d != nil && d.Queue == name {
			names = append(names, l.name)
		}
		l.mu.Unlock()
	}
	slices.Sort(names)
	return names
}

// Create makes a queue. Errors: Invalid; Conflict with ReasonExists, with which
// the queue that is there comes back.
func (q *Queues) Create(ctx context.Context, name string, c Config, tags map[string]string) (Info, error) {
	q.changing.Lock()
	defer q.changing.Unlock()
	if !ValidName(name) {
		return Info{}, errs.Newf(errs.Invalid, "%q is not a queue's name: up to 80 letters, digits, - and _, and %s at the end of a FIFO queue's", name, FIFOSuffix)
	}
	if l, err := q.live(name); err == nil {
		return l.info(), errs.Newf(errs.Conflict, "a queue named %s exists", name).WithReason(ReasonExists)
	}
	if err := q.check(name, c, tags); err != nil {
		return Info{}, err
	}
	now := time.Now()
	d := document{ID: strings.ReplaceAll(uuid.NewString(), "-", ""), Name: name, Config: c.clone(), Tags: maps.Clone(tags), Created: now, Modified: now}
	b, err := json.Marshal(d)
	if err != nil {
		return Info{}, fmt.Errorf("encode queue %s: %w", name, err)
	}
	l, err := q.open(ctx, d, 0)
	if err != nil {
		return Info{}, err
	}
	if l.rev, err = q.o.Bucket.Create(ctx, name, b); err != nil {
		return Info{}, errors.Join(err, q.o.Spine.RemoveLog(context.WithoutCancel(ctx), d.ID))
	}
	q.mu.Lock()
	q.byName[name] = l
	q.mu.Unlock()
	return l.info(), nil
}

func (q *Queues) check(name string, c Config, tags map[string]string) error {
	if len(tags) > maxTags {
		return errs.Newf(errs.Invalid, "a queue can have at most %d tags", maxTags)
	}
	if err := c.check(name); err != nil {
		return err
	}
	if c.Dead == nil {
		return nil
	}
	dead, err := q.live(c.Dead.Queue)
	bad := func(format string, args ...any) error {
		return errs.Newf(errs.Invalid, format, args...).WithReason(ReasonAttribute)
	}
	switch {
	case c.Dead.Queue == name:
		return bad("a queue can't be its own dead-letter queue")
	case err != nil:
		return bad("the dead-letter queue %s does not exist: create it first", c.Dead.Queue)
	case c.FIFO != dead.x.fifo:
		return bad("the dead-letter queue of a FIFO queue must be FIFO, that of another must not")
	}
	dead.mu.Lock()
	defer dead.mu.Unlock()
	if !dead.cfg.takesFrom(name) {
		return bad("the queue %s does not take the dead letters of %s", c.Dead.Queue, name)
	}
	return nil
}

// Change changes a queue's configuration as fn does. Errors: NotFound; Invalid.
func (q *Queues) Change(ctx context.Context, name string, fn func(*Config) error) error {
	return q.update(ctx, name, func(c *Config, _ map[string]string) error { return fn(c) })
}

// Tag sets tags of a queue and removes others. Errors: NotFound; Invalid.
func (q *Queues) Tag(ctx context.Context, name string, set map[string]string, remove []string) error {
	return q.update(ctx, name, func(_ *Config, tags map[string]string) error {
		maps.Copy(tags, set)
		for _, k := range remove {
			delete(tags, k)
		}
		return nil
	})
}

func (q *Queues) update(ctx context.Context, name string, fn func(*Config, map[string]string) error) error {
	q.changing.Lock()
	defer q.changing.Unlock()
	l, err := q.live(name)
	if err != nil {
		return err
	}
	i := l.info()
	if err := fn(&i.Config, i.Tags); err != nil {
		return err
	}
	if i.Config.FIFO != l.x.fifo {
		return errs.Newf(errs.Invalid, "whether a queue is FIFO can't be changed").WithReason(ReasonAttribute)
	}
	if err := q.check(name, i.Config, i.Tags); err != nil {
		return err
	}
	now := time.Now()
	b, err := json.Marshal(document{ID: l.id, Name: name, Config: i.Config, Tags: i.Tags, Created: i.Created, Modified: now})
	if err != nil {
		return fmt.Errorf("encode queue %s: %w", name, err)
	}
	rev, err := q.o.Bucket.Update(ctx, name, b, l.rev)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cfg, l.tags, l.changed, l.rev = i.Config, i.Tags, now, rev
	l.signal(len(l.waiting))
	return nil
}

// Remove deletes a queue with its messages. Errors: NotFound.
func (q *Queues) Remove(ctx context.Context, name string) error {
	q.changing.Lock()
	defer q.changing.Unlock()
	l, err := q.live(name)
	if err != nil {
		return err
	}
	if err := q.o.Bucket.Delete(ctx, name, l.rev); err != nil {
		return err
	}
	q.mu.Lock()
	delete(q.byName, name)
	q.mu.Unlock()
	close(l.gone)
	l.mu.Lock()
	for _, e := range l.x.all {
		q.release(e.part)
	}
	l.mu.Unlock()
	q.dropMoves(context.WithoutCancel(ctx), name)
	// What fails here is swept at the next start.
	if err := q.o.Spine.RemoveLog(context.WithoutCancel(ctx), l.id); err != nil {
		q.o.Log.Warn("the messages of a deleted queue are still on disk", "queue", name, "err", err)
	}
	return nil
}

// purgeInterval is the least time between two purges of a queue.
const purgeInterval = time.Minute

// Purge deletes all messages of a queue, those in flight too. Errors: NotFound;
// Conflict with ReasonPurging within a minute of the purge before.
func (q *Queues) Purge(ctx context.Context, name string) error {
	l, err := q.live(name)
	if err != nil {
		return err
	}
	l.mu.Lock()
	if now := time.Now(); now.Sub(l.purged) < purgeInterval {
		l.mu.Unlock()
		return errs.Newf(errs.Conflict, "the queue %s was purged within the last minute: wait", name).WithReason(ReasonPurging)
	} else {
		l.purged = now
	}
	var last uint64
	var es []*entry
	for _, e := range l.x.all {
		if last = max(last, recordOf(e.pos)); e.state != busy {
			es = append(es, e)
		}
	}
	l.forget(es)
	l.mu.Unlock()
	if len(es) == 0 {
		return nil
	}
	return l.log.RemoveBefore(ctx, last+1)
}
