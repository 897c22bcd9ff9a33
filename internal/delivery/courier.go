// Package delivery carries messages to their targets: durably, again when a target
// doesn't take one, and to a dead letter queue when it never does. Its clock has
// timers fire once for each time they are due, over restarts of the node.
package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

// What holds for a parcel that says nothing else, as in the field.
const (
	DefaultRetries = 185
	DefaultMaxAge  = 24 * time.Hour
)

const (
	firstBackoff = time.Second
	longBackoff  = time.Minute
	together     = 256       // parcels of one item of the queue
	togetherSize = 512 << 10 // bytes of their bodies
	atATime      = 16        // sends of one item
	roomAll      = 64        // items out at a time
	roomRetry    = 8         // as above, of one target that failed
	mainLane     = "all"
)

// Parcel is a message on its way to a target.
type Parcel struct {
	Target     event.Target  `json:"target"`
	Message    event.Message `json:"message"`
	Retries    int           `json:"retries"` // after the first attempt
	MaxAge     time.Duration `json:"maxAge"`  // after Accepted, no further attempt
	Accepted   time.Time     `json:"accepted"`
	NotBefore  time.Time     `json:"notBefore,omitzero"`
	DeadLetter event.Target  `json:"deadLetter,omitzero"` // a queue; none if zero
	Origin     Origin        `json:"origin,omitzero"`

	Attempts int   `json:"attempts,omitempty"` // that failed; of a dead one, to send its dead letter
	Dead     *Dead `json:"dead,omitempty"`     // it is given up: only the dead letter is left
}

// Origin says what sent a parcel, for its dead letter: a rule or a schedule.
type Origin struct {
	Kind  string `json:"kind,omitempty"`  // "rule", "schedule", "budget"
	Group string `json:"group,omitempty"` // the rule's bus, the schedule's group
	Name  string `json:"name,omitempty"`
}

// Dead is why a parcel was given up.
type Dead struct {
	Reason    string `json:"reason"`  // the kind of the last error
	Message   string `json:"message"` // its words
	Attempts  int    `json:"attempts"`
	Exhausted string `json:"exhausted,omitempty"` // RetriesExhausted or AgeExhausted; "" if a retry was no use
}

// What ended the attempts.
const (
	RetriesExhausted = "MaximumRetryAttempts"
	AgeExhausted     = "MaximumEventAge"
)

// Words says what a dead letter carries beside the message.
type Words interface {
	DeadLetter(p Parcel) map[string]string
}

// Courier delivers parcels. It is safe for concurrent use.
type Courier struct {
	lanes   *spine.Lanes
	senders event.Senders
	words   Words
	log     *slog.Logger
}

// NewCourier returns a courier that keeps parcels in lanes until senders have them.
func NewCourier(lanes *spine.Lanes, senders event.Senders, words Words, log *slog.Logger) *Courier {
	return &Courier{lanes: lanes, senders: senders, words: words, log: log}
}

// Post takes parcels; when it returns nil they are on disk. Of posts with one id
// that come within minutes, one counts.
func (c *Courier) Post(ctx context.Context, id string, parcels []Parcel) error {
	var now []Parcel
	var group errgroup.Group
	group.SetLimit(roomAll)
	put := func(n int, some []Parcel) {
		group.Go(func() error { return c.put(ctx, mainLane, part(id, n), some) })
	}
	parts, size := 0, 0
	flush := func() {
		if len(now) > 0 {
			put(parts, now)
			now, size = nil, 0
			parts++
		}
	}
	for _, p := range parcels {
		if !p.NotBefore.IsZero() { // each waits for itself
			put(parts, []Parcel{p})
			parts++
			continue
		}
		if size += len(p.Message.Body); len(now) == together || size > togetherSize {
			flush()
		}
		now = append(now, p)
	}
	flush()
	return group.Wait()
}

// part names a part of a post.
func part(id string, n int) string {
	if id == "" {
		return ""
	}
	return id + " " + strconv.Itoa(n)
}

func (c *Courier) put(ctx context.Context, lane, id string, parcels []Parcel) error {
	body, err := json.Marshal(parcels)
	if err != nil {
		return fmt.Errorf("encode parcels: %w", err)
	}
	return c.lanes.Put(ctx, lane, id, body)
}

// Run delivers until ctx ends and what is under way is done.
func (c *Courier) Run(ctx context.Context) error {
	room := func(lane string) int {
		if lane == mainLane {
			return roomAll
		}
		return roomRetry
	}
	return c.lanes.Run(ctx, spine.Service{Room: room, Handle: c.handle})
}

// errWait is why parcels that are not due go back to the queue.
var errWait = errors.New("not due yet")

// handle delivers the parcels of one item. Those that fail are put into a lane of
// their target's, each for itself, before the item is done.
func (c *Courier) handle(ctx context.Context, d spine.Delivery) (time.Duration, error) {
	var parcels []Parcel
	if err := json.Unmarshal(d.Body, &parcels); err != nil {
		c.log.Error("parcels can't be read and are dropped", "err", err)
		return 0, nil
	}
	if len(parcels) == 1 {
		if wait := time.Until(parcels[0].NotBefore); wait > 0 {
			return wait, errWait
		}
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(atATime)
	for _, p := range parcels {
		group.Go(func() error { return c.deliver(gctx, p) })
	}
	if err := group.Wait(); err != nil {
		return firstBackoff, err
	}
	return 0, nil
}

// deliver sends one parcel, or keeps it for another attempt. It fails only if the
// parcel would be lost.
func (c *Courier) deliver(ctx context.Context, p Parcel) error {
	if p.Dead == nil {
		err := c.senders.Send(ctx, p.Target, p.Message)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err() // the node stops
		}
		p.Attempts++
		if p.Dead = p.hopeless(err); p.Dead == nil {
			p.NotBefore = time.Now().Add(backoff(p.Attempts))
			return c.again(ctx, p)
		}
		c.log.Warn("a message is given up: its target did not take it", "target", p.Target.String(), "origin", p.Origin.Name, "attempts", p.Attempts, "err", err)
		p.Dead.Attempts, p.Attempts = p.Attempts, 0
		p.NotBefore, p.Accepted = time.Time{}, time.Now()
	}
	if p.DeadLetter.Kind == "" {
		return nil
	}
	m := p.Message
	m.ID += "-dead"
	m.Attributes = maps.Clone(c.words.DeadLetter(p))
	err := c.senders.Send(ctx, p.DeadLetter, m)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case time.Since(p.Accepted) > DefaultMaxAge:
		c.log.Error("a dead letter is dropped: its queue did not take it", "queue", p.DeadLetter.Name, "origin", p.Origin.Name, "err", err)
		return nil
	}
	p.Attempts++
	p.NotBefore = time.Now().Add(backoff(p.Attempts))
	return c.again(ctx, p)
}

// again keeps a parcel for another attempt.
func (c *Courier) again(ctx context.Context, p Parcel) error {
	sum := sha256.Sum256([]byte(p.Target.String()))
	id := fmt.Sprintf("%s %s %d %v", p.Message.ID, p.Target, p.Attempts, p.Dead != nil)
	return c.put(ctx, "target-"+hex.EncodeToString(sum[:8]), id, []Parcel{p})
}

// hopeless returns why the parcel is given up after err, or nil.
func (p *Parcel) hopeless(err error) *Dead {
	d := &Dead{Reason: errs.KindOf(err).String(), Message: err.Error()}
	switch errs.KindOf(err) {
	case errs.Invalid, errs.TooLarge, errs.NotFound, errs.Unsupported, errs.Denied:
		return d
	}
	switch {
	case p.Attempts > p.Retries:
		d.Exhausted = RetriesExhausted
	case time.Since(p.Accepted)+backoff(p.Attempts) > p.MaxAge:
		d.Exhausted = AgeExhausted
	default:
		return nil
	}
	return d
}

// backoff is how long a parcel waits after its attempt, counted from 1.
func backoff(attempt int) time.Duration {
	return min(firstBackoff<<min(attempt-1, 16), longBackoff)
}
