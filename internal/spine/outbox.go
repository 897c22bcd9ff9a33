package spine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Limits of an outbox's delivery.
const (
	outboxLease  = 30 * time.Second // after it, an item whose delivery gave no sign is delivered again
	outboxOut    = 256              // items that may be under way
	outboxSettle = 5 * time.Second
)

// Outbox is a durable list of items to be delivered. An item stays in it until it
// is delivered. It is safe for concurrent use.
type Outbox struct {
	s        *Spine
	subject  string
	consumer jetstream.Consumer
	st       jetstream.Stream
}

// Notices opens the outbox of notices about objects.
func (s *Spine) Notices(ctx context.Context) (*Outbox, error) {
	st, err := s.stream(ctx, jetstream.StreamConfig{
		Name: noticesStream, Subjects: []string{noticesSubject}, Retention: jetstream.WorkQueuePolicy,
	})
	if err != nil {
		return nil, err
	}
	c, err := st.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: noticesConsumer, AckPolicy: jetstream.AckExplicitPolicy, AckWait: outboxLease,
		MaxDeliver: -1, MaxAckPending: outboxOut,
	})
	if err != nil {
		return nil, fmt.Errorf("make consumer of %s: %w", noticesStream, err)
	}
	return &Outbox{s: s, subject: noticesSubject, consumer: c, st: st}, nil
}

// Put stores an item; when it returns nil the item is on disk.
func (o *Outbox) Put(ctx context.Context, body []byte) error {
	_, err := o.s.publish(ctx, o.subject, "", body, reserve)
	return err
}

// Last returns the sequence of the newest item, also if it was delivered; 0 if
// there was none.
func (o *Outbox) Last(ctx context.Context) (uint64, error) {
	info, err := o.st.Info(ctx)
	if err != nil {
		return 0, wrap(err, "read %s", o.subject)
	}
	return info.State.LastSeq, nil
}

// Deliver delivers one item, whose sequence is greater than that of any item put
// before it. attempt counts its deliveries from 1. After an error the item is
// delivered again, when retry has passed.
type Deliver func(ctx context.Context, body []byte, sequence uint64, attempt int) (retry time.Duration, err error)

// Run delivers each item, each in a goroutine of its own, until ctx ends; then it
// waits for those under way.
func (o *Outbox) Run(ctx context.Context, deliver Deliver) error {
	iter, err := o.consumer.Messages(jetstream.PullMaxMessages(64))
	if err != nil {
		return wrap(err, "take items from %s", o.subject)
	}
	stop := context.AfterFunc(ctx, iter.Drain)
	defer stop()
	var under sync.WaitGroup
	defer under.Wait()
	for {
		m, err := iter.Next()
		switch {
		case err == nil:
			under.Go(func() { o.one(ctx, m, deliver) })
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, jetstream.ErrNoHeartbeat): // a busy engine; it goes on by itself
		default:
			return wrap(err, "take items from %s", o.subject)
		}
	}
}

// one delivers an item and settles it. A settlement that is lost only means that
// the item is delivered again.
func (o *Outbox) one(ctx context.Context, m jetstream.Msg, deliver Deliver) {
	meta, err := m.Metadata()
	if err != nil { // not a message of the stream: nothing to settle
		return
	}
	if ctx.Err() != nil {
		m.Nak()
		return
	}
	attempt, end := context.WithTimeout(ctx, outboxLease-outboxSettle)
	retry, err := deliver(attempt, m.Data(), meta.Sequence.Stream, int(meta.NumDelivered))
	end()
	if err != nil {
		m.NakWithDelay(max(retry, time.Millisecond))
		return
	}
	// A settlement outlives ctx: the item has been delivered.
	settle, cancel := context.WithTimeout(context.WithoutCancel(ctx), outboxSettle)
	defer cancel()
	m.DoubleAck(settle)
}
