package queue

import (
	"context"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Receive asks for messages.
type Receive struct {
	Max        int            // messages at most, at least 1
	Visibility *time.Duration // how long they stay hidden; nil means the queue's
	Wait       *time.Duration // for a first message; nil means the queue's
	Inside     bool           // the receiver ends with the node: then the messages are at once visible again
	Longer     time.Duration  // added to how long they stay hidden, but not to Delivery.Shown
}

// Receive hands out messages, which are hidden from other receivers for a while
// and come back if they are not deleted. It waits for the first one and returns
// none if none came in time, or ctx or Run ended. Errors: NotFound; Throttled with
// ReasonInFlight; Invalid; Unavailable.
func (q *Queues) Receive(ctx context.Context, name string, r Receive) ([]Delivery, error) {
	l, err := q.live(name)
	if err != nil {
		return nil, err
	}
	if v := r.Visibility; v != nil && (*v < 0 || *v > MaxVisibility) {
		return nil, errs.Newf(errs.Invalid, "the visibility timeout must be from 0s to %s", MaxVisibility)
	}
	l.mu.Lock()
	wait := l.cfg.Wait
	l.mu.Unlock()
	if r.Wait != nil {
		wait = *r.Wait
	}
	until := time.Now().Add(wait)
	for {
		got, wake, err := l.grab(r, until)
		if err != nil {
			return nil, err
		}
		if len(got.dead) > 0 {
			l.bury(got.dead)
		}
		switch {
		case len(got.live) > 0:
			return l.deliver(ctx, got, r.Inside)
		case len(got.dead) > 0:
			continue
		case wake.at.IsZero():
			return nil, nil
		}
		l.wait(ctx, wake.signal, wake.at)
		if err := ctx.Err(); err != nil {
			return nil, nil
		}
		select {
		case <-l.gone:
			return nil, noQueue(name)
		case <-q.stopped:
			return nil, nil
		default:
		}
	}
}

// wakeup is what a receiver that found nothing waits for.
type wakeup struct {
	signal chan struct{}
	at     time.Time // zero when the time is over
}

// grabbed are messages that were taken for a receiver.
type grabbed struct {
	live, dead []*entry
	shown      time.Time // when the live ones' visibility timeout is over
}

// grab takes messages out of the index, or enlists the caller as waiting.
func (l *live) grab(r Receive, until time.Time) (g grabbed, w wakeup, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	room := MaxInFlight - l.x.count[out]
	if room <= 0 && !l.cfg.FIFO {
		return g, w, errs.Newf(errs.Throttled, "the queue %s has %d messages in flight: delete some that were received", l.name, MaxInFlight).WithReason(ReasonInFlight)
	}
	limit := 0
	if d := l.cfg.Dead; d != nil && l.q.exists(d.Queue) {
		limit = d.Receives
	}
	visibility := l.cfg.Visibility
	if r.Visibility != nil {
		visibility = *r.Visibility
	}
	g.shown = now.Add(visibility)
	g.live, g.dead = l.x.take(millis(now), min(r.Max, room), millis(now.Add(min(visibility+r.Longer, MaxVisibility))), limit)
	for _, e := range g.live {
		e.inside = r.Inside
	}
	// One signal may stand for more messages than one receiver takes, and what
	// was taken may be due again before the others look.
	if l.x.count[ready]+len(g.live) > 0 {
		l.signal(1)
	}
	if len(g.live)+len(g.dead) > 0 || !until.After(now) {
		return g, w, nil
	}
	w = wakeup{signal: make(chan struct{}, 1), at: until}
	if next := l.x.next(); next > 0 && fromMillis(next).Before(until) {
		w.at = fromMillis(next)
	}
	l.waiting = append(l.waiting, w.signal)
	return g, w, nil
}

// deliver notes that messages were received and returns them with their bodies. A
// receiver inside does not wait for the note to be on disk: both end with the node,
// after which the messages are visible, and at worst this receive was not counted.
func (l *live) deliver(ctx context.Context, g grabbed, inside bool) ([]Delivery, error) {
	es := g.live
	l.mu.Lock()
	changes := make([]change, len(es))
	handles := make([]string, len(es))
	ds := make([]Delivery, len(es))
	for i, e := range es {
		changes[i], handles[i] = l.received(e), l.handle(e)
		ds[i] = Delivery{
			ID: e.ID, Handle: handles[i], Sequence: e.pos, Sent: fromMillis(e.Sent),
			FirstReceived: fromMillis(e.first), Receives: e.receives, Shown: g.shown,
		}
		ds[i].Group = e.Group
	}
	l.mu.Unlock()
	noted := l.q.journal.Begin(changes)
	if inside {
		go l.noted(noted)
	} else if err := <-noted; err != nil {
		l.giveBack(es)
		return nil, err
	}
	if ctx.Err() != nil { // nobody is there to take them
		l.giveBack(es)
		return nil, nil
	}
	var last loaded
	whole := ds[:0]
	for i, e := range es {
		p, err := l.load(ctx, e, &last)
		if errs.Is(err, errs.NotFound) { // purged or deleted meanwhile
			continue
		}
		if err != nil {
			l.giveBack(es)
			return nil, err
		}
		c, body, err := readPart(p)
		if err != nil {
			return nil, err
		}
		d := ds[i]
		d.Body, d.Attributes, d.Dedup, d.TraceID, d.Sender, d.From = body, c.Attributes, c.Dedup, c.TraceID, c.Sender, c.From
		if c.Lineage != nil {
			d.Lineage = *c.Lineage
		}
		whole = append(whole, d)
	}
	return whole, nil
}

// noted waits for the note of a receive that nobody else waits for.
func (l *live) noted(outcome <-chan error) {
	if err := <-outcome; err != nil {
		l.q.o.Log.Warn("receives are not on disk: they don't count after a restart", "queue", l.name, "err", err)
	}
}

// giveBack makes messages ready that were taken and not handed out.
func (l *live) giveBack(es []*entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := millis(time.Now())
	for _, e := range es {
		if l.x.all[e.pos] == e && (e.state == out || e.state == busy) {
			l.x.hide(e, 0, now)
		}
	}
	l.signal(len(es))
}

// Delete removes the messages of the receipt handles and returns an error for
// each, in their order: nil also if the message is gone already, or (of a queue
// that is not FIFO) was received again since. The second error is for all.
func (q *Queues) Delete(_ context.Context, name string, handles ...string) ([]error, error) {
	l, err := q.live(name)
	if err != nil {
		return nil, err
	}
	failed := make([]error, len(handles))
	var es []*entry
	var changes []change
	var was []int
	l.mu.Lock()
	now := millis(time.Now())
	for i, h := range handles {
		e, latest, err := l.find(h)
		switch {
		case err != nil:
			failed[i] = err
		case e == nil || e.state == busy:
		case l.cfg.FIFO && (!latest || e.state != out || e.due <= now):
			failed[i] = errs.Newf(errs.Conflict, "the receipt handle has expired: the message is visible again or was received by another").WithReason(ReasonStale)
		case latest:
			l.x.turn(e, busy)
			es, changes, was = append(es, e), append(changes, l.ends(e, now)), append(was, i)
		}
	}
	l.mu.Unlock()
	if len(es) == 0 {
		return failed, nil
	}
	if err := q.journal.Do(changes); err != nil {
		l.giveBack(es)
		for _, i := range was {
			failed[i] = err
		}
		return failed, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(es)
	if l.cfg.FIFO { // the next of their groups
		l.signal(len(es))
	}
	return failed, nil
}

// Hide is a change of how long a received message stays hidden.
type Hide struct {
	Handle string
	For    time.Duration // from now; 0 makes it visible at once
}

// Hide changes how long received messages stay hidden, and returns an error for
// each, in their order: Invalid, or Conflict with ReasonNotOut or ReasonStale. The
// second error is for all.
func (q *Queues) Hide(_ context.Context, name string, hides ...Hide) ([]error, error) {
	l, err := q.live(name)
	if err != nil {
		return nil, err
	}
	failed := make([]error, len(hides))
	var changes []change
	var was []int
	l.mu.Lock()
	now := millis(time.Now())
	l.signal(l.x.wake(now))
	for i, h := range hides {
		e, latest, err := l.find(h.Handle)
		switch {
		case err != nil:
			failed[i] = err
		case h.For < 0 || h.For > MaxVisibility:
			failed[i] = errs.Newf(errs.Invalid, "the visibility timeout must be from 0s to %s", MaxVisibility)
		case e == nil, latest && e.state != out:
			failed[i] = errs.Newf(errs.Conflict, "the message is not in flight: it was deleted or is visible again").WithReason(ReasonNotOut)
		case !latest:
			failed[i] = errs.Newf(errs.Conflict, "the receipt handle has expired: the message was received again").WithReason(ReasonStale)
		default:
			l.x.hide(e, now+h.For.Milliseconds(), now)
			changes, was = append(changes, l.received(e)), append(was, i)
		}
	}
	l.signal(len(l.waiting)) // some may be visible, or be so at another time
	l.mu.Unlock()
	if len(changes) == 0 {
		return failed, nil
	}
	if err := q.journal.Do(changes); err != nil {
		for _, i := range was {
			failed[i] = err
		}
	}
	return failed, nil
}

// Return undoes receives: the messages can be received again after the delay, and
// the receives don't count. It is for a receiver that could not even try. Handles
// that are not good any more are passed over.
func (q *Queues) Return(_ context.Context, name string, delay time.Duration, handles ...string) error {
	l, err := q.live(name)
	if err != nil {
		return err
	}
	var changes []change
	l.mu.Lock()
	now := millis(time.Now())
	for _, h := range handles {
		e, latest, err := l.find(h)
		if err != nil || !latest || e.state != out {
			continue
		}
		if e.receives--; e.receives == 0 {
			e.first = 0
		}
		l.x.hide(e, now+delay.Milliseconds(), now)
		changes = append(changes, l.received(e))
	}
	l.signal(len(l.waiting))
	l.mu.Unlock()
	if len(changes) == 0 {
		return nil
	}
	return q.journal.Do(changes)
}
