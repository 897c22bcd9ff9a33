package spine

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// callLease is how long a delivered call may go without a sign of life before
// it is delivered again.
const callLease = 10 * time.Second

// Calls is the durable queue of accepted asynchronous calls. A call stays in it
// until it is done. It is safe for concurrent use.
type Calls struct {
	s        *Spine
	consumer jetstream.Consumer
}

// Calls opens the queue. At most concurrent calls are out at a time.
func (s *Spine) Calls(ctx context.Context, concurrent int) (*Calls, error) {
	st, err := s.stream(ctx, jetstream.StreamConfig{
		Name: callsStream, Subjects: []string{callsSubject + ">"}, Retention: jetstream.WorkQueuePolicy,
	})
	if err != nil {
		return nil, err
	}
	c, err := st.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: callsConsumer, AckPolicy: jetstream.AckExplicitPolicy, AckWait: callLease,
		MaxDeliver: -1, MaxAckPending: concurrent,
	})
	if err != nil {
		return nil, fmt.Errorf("make consumer of %s: %w", callsStream, err)
	}
	return &Calls{s: s, consumer: c}, nil
}

// Put stores a call of the function; when it returns nil the call is on disk.
func (c *Calls) Put(ctx context.Context, function string, body []byte) error {
	_, err := c.s.publish(ctx, callsSubject+function, "", body, reserve)
	return err
}

// Handler runs one call. A nil error means that the call is done; else it is
// delivered again after retry.
type Handler func(ctx context.Context, body []byte, attempt int) (retry time.Duration, err error)

// Run hands each call to handle, each in a goroutine of its own, until ctx
// ends; then it waits for those under way. attempt counts a call's deliveries
// from 1.
func (c *Calls) Run(ctx context.Context, handle Handler) error {
	iter, err := c.consumer.Messages(jetstream.PullMaxMessages(64))
	if err != nil {
		return wrap(err, "take calls from %s", callsStream)
	}
	// Draining hands over what was fetched already, so that it goes back at once.
	stop := context.AfterFunc(ctx, iter.Drain)
	defer stop()
	var under sync.WaitGroup
	defer under.Wait()
	for {
		m, err := iter.Next()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return wrap(err, "take calls from %s", callsStream)
		}
		under.Go(func() { c.one(ctx, m, handle) })
	}
}

// one runs handle on a delivered call and settles it. A settlement that is lost
// only means that the call is delivered again.
func (c *Calls) one(ctx context.Context, m jetstream.Msg, handle Handler) {
	meta, err := m.Metadata()
	if err != nil { // not a message of the stream: nothing to settle
		return
	}
	if ctx.Err() != nil {
		m.Nak()
		return
	}
	alive := time.NewTicker(callLease / 3)
	defer alive.Stop()
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case <-alive.C:
				m.InProgress()
			case <-done:
				return
			}
		}
	}()
	delay, err := handle(ctx, m.Data(), int(meta.NumDelivered))
	if err != nil {
		m.NakWithDelay(delay)
		return
	}
	// A settlement outlives ctx: the call has been run.
	settle, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	m.DoubleAck(settle)
}
