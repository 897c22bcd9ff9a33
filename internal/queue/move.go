package queue

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// MoveState is how far a move has come.
type MoveState string

// The states of a move.
const (
	MoveRunning    MoveState = "running"
	MoveCompleted  MoveState = "completed"
	MoveCancelling MoveState = "cancelling"
	MoveCancelled  MoveState = "cancelled"
	MoveFailed     MoveState = "failed"
)

// Move takes the messages of a dead-letter queue back to where they came from, or
// to another queue. It goes on after a restart.
type Move struct {
	ID      string    `json:"id"`
	From    string    `json:"from"`         // the dead-letter queue
	To      string    `json:"to,omitempty"` // "" means where each message came from
	Rate    int       `json:"rate,omitempty"`
	State   MoveState `json:"state"`
	Moved   int       `json:"moved"`
	Total   int       `json:"total"` // messages that were there at the start
	Started time.Time `json:"started"`
	Reason  string    `json:"reason,omitempty"` // of MoveFailed
}

// Bounds of moves.
const (
	MaxMoveRate = 500 // messages in a second
	maxMoves    = 10  // that are remembered of a queue
	moveBatch   = 100
)

// moving is the state of all moves.
type moving struct {
	save sync.Mutex // held while a move's state is made durable; locked before mu
	mu   sync.Mutex
	all  map[string]*Move // guarded by mu
	wake chan *Move
}

// StartMove begins to move the messages of a dead-letter queue: to the queue
// named, or back to their own if to is "". A rate of 0 is as fast as it goes.
// Errors: NotFound; Invalid, with ReasonNotDead if the queue is nobody's
// dead-letter queue; Conflict with ReasonMoving.
func (q *Queues) StartMove(ctx context.Context, from, to string, rate int) (Move, error) {
	l, err := q.live(from)
	if err != nil {
		return Move{}, err
	}
	if to != "" {
		dest, err := q.live(to)
		switch {
		case err != nil:
			return Move{}, err
		case dest.x.fifo != l.x.fifo:
			return Move{}, errs.Newf(errs.Invalid, "messages of a FIFO queue go to a FIFO queue only, those of another to none")
		case to == from:
			return Move{}, errs.Newf(errs.Invalid, "the messages are in %s already", to)
		}
	}
	if rate < 0 || rate > MaxMoveRate {
		return Move{}, errs.Newf(errs.Invalid, "the rate must be from 1 to %d messages in a second", MaxMoveRate)
	}
	if len(q.DeadLetterSources(from)) == 0 {
		return Move{}, errs.Newf(errs.Invalid, "%s is the dead-letter queue of no queue", from).WithReason(ReasonNotDead)
	}
	m := &Move{ID: uuid.NewString(), From: from, To: to, Rate: rate, State: MoveRunning, Total: l.info().Visible, Started: time.Now()}
	q.moving.mu.Lock()
	for _, o := range q.moving.all {
		if o.From == from && (o.State == MoveRunning || o.State == MoveCancelling) {
			q.moving.mu.Unlock()
			return Move{}, errs.Newf(errs.Conflict, "another move out of %s is under way", from).WithReason(ReasonMoving)
		}
	}
	q.moving.all[m.ID] = m
	began := *m
	q.moving.mu.Unlock()
	if err := q.saveMove(ctx, began); err != nil {
		q.moving.mu.Lock()
		delete(q.moving.all, m.ID)
		q.moving.mu.Unlock()
		return Move{}, err
	}
	q.moving.wake <- m
	return began, nil
}

// CancelMove ends a move, for good when it returns; what was moved stays moved.
// Errors: NotFound with ReasonNoTask if there is none that runs; Unavailable.
func (q *Queues) CancelMove(ctx context.Context, id string) (Move, error) {
	q.moving.save.Lock() // the end of the move is saved after this
	defer q.moving.save.Unlock()
	none := errs.Newf(errs.NotFound, "no move %q is under way", id).WithReason(ReasonNoTask)
	q.moving.mu.Lock()
	m := q.moving.all[id]
	if m == nil || m.State != MoveRunning {
		q.moving.mu.Unlock()
		return Move{}, none
	}
	ends := *m
	q.moving.mu.Unlock()
	ends.State = MoveCancelling
	if err := q.saveMove(ctx, ends); err != nil {
		return Move{}, err
	}
	q.moving.mu.Lock()
	defer q.moving.mu.Unlock()
	if m.State != MoveRunning { // it ended meanwhile
		return Move{}, none
	}
	m.State = MoveCancelling
	return *m, nil
}

// Moves returns the moves out of a queue, the newest first.
func (q *Queues) Moves(from string) ([]Move, error) {
	l, err := q.live(from)
	if err != nil {
		return nil, err
	}
	q.moving.mu.Lock()
	defer q.moving.mu.Unlock()
	var ms []Move
	for _, m := range q.moving.all {
		if m.From == from && !m.Started.Before(l.created) { // not of an earlier queue of that name
			ms = append(ms, *m)
		}
	}
	slices.SortFunc(ms, func(a, b Move) int { return cmp.Or(b.Started.Compare(a.Started), cmp.Compare(a.ID, b.ID)) })
	return ms, nil
}

// dropMoves ends the moves out of a queue that is deleted, and forgets them.
func (q *Queues) dropMoves(ctx context.Context, from string) {
	q.moving.mu.Lock()
	var over []string
	for id, m := range q.moving.all {
		switch {
		case m.From != from:
		case m.State == MoveRunning:
			m.State = MoveCancelling // it must not go on with a later queue of that name
		case m.State != MoveCancelling:
			delete(q.moving.all, id)
			over = append(over, id)
		}
	}
	q.moving.mu.Unlock()
	for _, id := range over {
		if err := q.o.Moves.Delete(ctx, id, 0); err != nil {
			q.o.Log.Warn("an old move of messages is still on record", "queue", from, "err", err)
		}
	}
}

// loadMoves reads the moves of the node's life before.
func (q *Queues) loadMoves(ctx context.Context) error {
	q.moving.all, q.moving.wake = map[string]*Move{}, make(chan *Move, 16)
	return q.o.Moves.List(ctx, "", func(key string, value []byte, _ uint64) error {
		var m Move
		if err := json.Unmarshal(value, &m); err != nil {
			return fmt.Errorf("move %s of messages is broken: %w", key, err)
		}
		q.moving.all[m.ID] = &m
		return nil
	})
}

// saveMove makes a move's state durable. The caller holds moving.save, unless
// nobody else knows of the move yet.
func (q *Queues) saveMove(ctx context.Context, m Move) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode a move: %w", err)
	}
	_, rev, err := q.o.Moves.Get(ctx, m.ID)
	if errs.Is(err, errs.NotFound) {
		_, err = q.o.Moves.Create(ctx, m.ID, b)
		return err
	}
	if err == nil {
		_, err = q.o.Moves.Update(ctx, m.ID, b, rev)
	}
	return err
}

// runMoves runs the moves that are under way, and those that begin, until ctx ends.
func (q *Queues) runMoves(ctx context.Context) {
	var under sync.WaitGroup
	defer under.Wait()
	q.moving.mu.Lock()
	for _, m := range q.moving.all {
		if m.State == MoveRunning || m.State == MoveCancelling {
			under.Go(func() { q.move(ctx, m) })
		}
	}
	q.moving.mu.Unlock()
	for {
		select {
		case m := <-q.moving.wake:
			under.Go(func() { q.move(ctx, m) })
		case <-ctx.Done():
			return
		}
	}
}

// move runs one move to its end, or until ctx ends.
func (q *Queues) move(ctx context.Context, m *Move) {
	size := moveBatch
	if m.Rate > 0 {
		size = min(size, max(1, m.Rate/10))
	}
	for ctx.Err() == nil {
		if q.cancelled(m) {
			q.endMove(m)
			return
		}
		n, err := q.moveSome(ctx, m, size)
		q.moving.mu.Lock()
		m.Moved += n
		switch {
		case err != nil:
			m.State, m.Reason = MoveFailed, err.Error()
		case n == 0 && m.State == MoveRunning:
			m.State = MoveCompleted
		}
		over := m.State == MoveFailed || m.State == MoveCompleted
		q.moving.mu.Unlock()
		if over {
			q.endMove(m)
			return
		}
		if m.Rate > 0 {
			select {
			case <-time.After(time.Duration(n) * time.Second / time.Duration(m.Rate)):
			case <-ctx.Done():
			}
		}
	}
}

// cancelled reports whether a move is to end, and notes that it does.
func (q *Queues) cancelled(m *Move) bool {
	q.moving.mu.Lock()
	defer q.moving.mu.Unlock()
	if m.State != MoveCancelling {
		return false
	}
	m.State = MoveCancelled
	return true
}

// endMove saves a move that is over and forgets its oldest predecessors.
func (q *Queues) endMove(m *Move) {
	ctx, cancel := context.WithTimeout(context.Background(), storeLimit)
	defer cancel()
	q.moving.save.Lock()
	defer q.moving.save.Unlock()
	if err := q.saveMove(ctx, *m); err != nil { // nobody changes it any more
		q.o.Log.Warn("the end of a move of messages is not on disk: it is repeated after a restart", "queue", m.From, "err", err)
	}
	ms, err := q.Moves(m.From)
	old := ms[min(len(ms), maxMoves):]
	if err != nil || !slices.ContainsFunc(ms, func(o Move) bool { return o.ID == m.ID }) { // the queue is gone
		old = append(old, *m)
	}
	for _, old := range old {
		q.moving.mu.Lock()
		delete(q.moving.all, old.ID)
		q.moving.mu.Unlock()
		if err := q.o.Moves.Delete(ctx, old.ID, 0); err != nil {
			q.o.Log.Warn("an old move of messages is still on record", "queue", m.From, "err", err)
		}
	}
}

// moveSome moves up to n messages and returns how many it found.
func (q *Queues) moveSome(ctx context.Context, m *Move, n int) (int, error) {
	l, err := q.live(m.From)
	if err != nil {
		return 0, err
	}
	if m.Started.Before(l.created) {
		return 0, noQueue(m.From) // this is a later one of that name
	}
	l.mu.Lock()
	l.x.wake(millis(time.Now()))
	var es []*entry
	for len(es) < n {
		e := l.x.first(nil)
		if e == nil {
			break
		}
		l.x.turn(e, busy)
		es = append(es, e)
	}
	l.mu.Unlock()
	if len(es) == 0 {
		return 0, nil
	}
	err = l.transfer(ctx, es, func(c content) (*live, error) {
		switch {
		case m.To != "":
			return q.live(m.To)
		case c.From == "":
			return nil, errs.Newf(errs.Invalid, "a message in %s is nobody's dead letter: name a queue to move to", m.From)
		}
		return q.live(c.From)
	}, false)
	return len(es), err
}
