package spine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// What the engine knows of messages that are stored together or not at all.
const (
	batchID     = "Nats-Batch-Id"
	batchNumber = "Nats-Batch-Sequence"
	batchCommit = "Nats-Batch-Commit"
)

const (
	gatherMost  = 256     // messages of a batch
	gatherBytes = 4 << 20 // of their bodies
	gatherLeast = 16      // fewer are stored each for itself: a batch costs file operations of its own
	gatherLimit = 10 * time.Second
)

// gather stores what many callers bring with few syncs of the disk: while one
// batch is written the next gathers. Few callers at a time don't wait for each
// other at all.
type gather struct {
	s *Spine

	mu      sync.Mutex
	alone   int         // guarded by mu: writes under way of callers that did not wait
	waiting []*gathered // guarded by mu
	busy    bool        // guarded by mu: what waits is being written
}

// gathered is a message that waits to be stored.
type gathered struct {
	subject string
	body    []byte
	done    chan error
}

// put stores a message; when it returns nil the message is on disk.
func (g *gather) put(ctx context.Context, subject string, body []byte) error {
	if g.enter() {
		defer g.leave()
		_, err := g.s.publish(ctx, subject, "", body, reserve)
		return err
	}
	m := &gathered{subject: subject, body: body, done: make(chan error, 1)}
	g.mu.Lock()
	g.waiting = append(g.waiting, m)
	if !g.busy {
		g.busy = true
		go g.run(context.WithoutCancel(ctx))
	}
	g.mu.Unlock()
	select {
	case err := <-m.done:
		return err
	case <-ctx.Done():
		return wrap(ctx.Err(), "store a message on %s", subject)
	}
}

// enter reports whether a caller may write for itself; then it calls leave.
func (g *gather) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.busy || g.alone == gatherLeast {
		return false
	}
	g.alone++
	return true
}

func (g *gather) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.alone--
}

// run writes until nobody waits.
func (g *gather) run(ctx context.Context) {
	for now := g.next(); now != nil; now = g.next() {
		write, cancel := context.WithTimeout(ctx, gatherLimit)
		var api *jetstream.APIError
		err := errFew
		if len(now) >= gatherLeast {
			err = g.together(write, now)
		}
		if errors.Is(err, errFew) || errors.As(err, &api) { // a refused batch left nothing behind
			g.apart(write, now)
		} else {
			for _, m := range now {
				m.done <- err
			}
		}
		cancel()
	}
}

var errFew = errors.New("too few for a batch")

// next takes as many messages as make one write.
func (g *gather) next() []*gathered {
	g.mu.Lock()
	defer g.mu.Unlock()
	size, n := 0, 0
	for ; n < min(len(g.waiting), gatherMost); n++ {
		if size += len(g.waiting[n].body); n > 0 && size > gatherBytes {
			break
		}
	}
	if n == 0 {
		g.busy, g.waiting = false, nil
		return nil
	}
	now := g.waiting[:n:n]
	g.waiting = g.waiting[n:]
	return now
}

// apart stores messages each for itself.
func (g *gather) apart(ctx context.Context, now []*gathered) {
	var group errgroup.Group
	for _, m := range now {
		group.Go(func() error {
			_, err := g.s.publish(ctx, m.subject, "", m.body, reserve)
			m.done <- err
			return nil
		})
	}
	_ = group.Wait() // each has its own outcome
}

// together stores messages of one stream in order, all or none, with one sync.
func (g *gather) together(ctx context.Context, now []*gathered) error {
	if err := g.s.room(reserve); err != nil {
		return err
	}
	id := uuid.NewString()
	last := len(now) - 1
	for i, m := range now[:last] {
		if err := g.s.nc.PublishMsg(batched(m, id, i+1)); err != nil {
			return wrap(err, "store messages on %s", m.subject)
		}
	}
	commit := batched(now[last], id, last+1)
	commit.Header.Set(batchCommit, "1")
	answer, err := g.s.nc.RequestMsgWithContext(ctx, commit)
	if err != nil {
		return wrap(err, "store %d messages", len(now))
	}
	var ack struct {
		Error *jetstream.APIError `json:"error"`
		Batch string              `json:"batch"`
		Count int                 `json:"count"`
	}
	switch err := json.Unmarshal(answer.Data, &ack); {
	case err != nil:
		return fmt.Errorf("read the answer to %d messages: %w", len(now), err)
	case ack.Error != nil:
		return wrap(ack.Error, "store %d messages", len(now))
	case ack.Batch != id || ack.Count != len(now):
		return fmt.Errorf("%d messages were to be stored, and the engine says %s", len(now), answer.Data)
	}
	return nil
}

func batched(m *gathered, id string, number int) *nats.Msg {
	return &nats.Msg{Subject: m.subject, Data: m.body, Header: nats.Header{batchID: {id}, batchNumber: {strconv.Itoa(number)}}}
}
