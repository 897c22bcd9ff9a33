package spine

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// duplicateWindow is how long a batch id is remembered: a batch that is
// appended again after an unknown outcome is kept once.
const duplicateWindow = 10 * time.Minute

// Journal is a durable, append-only list of batches. It is safe for concurrent use.
type Journal struct {
	s       *Spine
	st      jetstream.Stream
	name    string // of the stream
	subject string
	need    int64 // bytes that must be free on the disk for an append
}

// Meter opens the journal of metering records.
func (s *Spine) Meter(ctx context.Context) (*Journal, error) {
	return s.journal(ctx, meterStream, meterSubject, reserve)
}

// QueueChanges opens the journal of what happened to the messages of queues. It
// takes records on a nearly full disk still: they are how room is made.
func (s *Spine) QueueChanges(ctx context.Context) (*Journal, error) {
	return s.journal(ctx, changesStream, changesSubject, deleteReserve)
}

func (s *Spine) journal(ctx context.Context, name, subject string, need int64) (*Journal, error) {
	st, err := s.stream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{subject}, Duplicates: duplicateWindow})
	if err != nil {
		return nil, err
	}
	return &Journal{s: s, st: st, name: name, subject: subject, need: need}, nil
}

// Append stores a batch; when it returns without an error the batch is on disk,
// under the number that is returned. A batch whose id is not empty and was
// appended within the last ten minutes is not stored again.
func (j *Journal) Append(ctx context.Context, id string, batch []byte) (number uint64, err error) {
	return j.s.publish(ctx, j.subject, id, batch, j.need)
}

// Last returns the number of the newest batch, 0 if there was none.
func (j *Journal) Last(ctx context.Context) (uint64, error) {
	info, err := j.st.Info(ctx)
	if err != nil {
		return 0, wrap(err, "read stream %s", j.name)
	}
	return info.State.LastSeq, nil
}

// Trim removes the batches up to a number.
func (j *Journal) Trim(ctx context.Context, upTo uint64) error {
	if err := j.st.Purge(ctx, jetstream.WithPurgeSequence(upTo+1)); err != nil {
		return wrap(err, "trim stream %s", j.name)
	}
	return nil
}

// Read calls fn for each batch whose number is above after, oldest first, up to
// the newest at the time of the call. It stops at fn's first error and returns
// it.
func (j *Journal) Read(ctx context.Context, after uint64, fn func(number uint64, batch []byte) error) error {
	// The last number given may be that of a batch that a torn log lost.
	newest, err := j.st.GetLastMsgForSubject(ctx, j.subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && newest.Sequence <= after {
		return nil
	}
	if err != nil {
		return wrap(err, "read stream %s", j.name)
	}
	cfg := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1}
	c, err := j.st.OrderedConsumer(ctx, cfg)
	if err != nil {
		return wrap(err, "read stream %s", j.name)
	}
	iter, err := c.Messages()
	if err != nil {
		return wrap(err, "read stream %s", j.name)
	}
	defer iter.Stop()
	defer context.AfterFunc(ctx, iter.Stop)()
	for {
		m, err := iter.Next()
		if err != nil {
			return wrap(context.Cause(ctx), "read stream %s", j.name)
		}
		meta, err := m.Metadata()
		if err != nil {
			return wrap(err, "read stream %s", j.name)
		}
		if err := fn(meta.Sequence.Stream, m.Data()); err != nil {
			return err
		}
		if meta.Sequence.Stream >= newest.Sequence {
			return nil
		}
	}
}
