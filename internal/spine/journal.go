package spine

import (
	"context"
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
	subject string
}

// Meter opens the journal of metering records.
func (s *Spine) Meter(ctx context.Context) (*Journal, error) {
	st, err := s.stream(ctx, jetstream.StreamConfig{
		Name: meterStream, Subjects: []string{meterSubject}, Duplicates: duplicateWindow,
	})
	if err != nil {
		return nil, err
	}
	return &Journal{s: s, st: st, subject: meterSubject}, nil
}

// Append stores a batch; when it returns without an error the batch is on disk,
// under the number that is returned. A batch whose id was appended within the
// last ten minutes is not stored again.
func (j *Journal) Append(ctx context.Context, id string, batch []byte) (number uint64, err error) {
	if err := j.s.room(reserve); err != nil {
		return 0, err
	}
	ack, err := j.s.js.Publish(ctx, j.subject, batch, jetstream.WithMsgID(id))
	if err != nil {
		return 0, wrap(err, "store a message on %s", j.subject)
	}
	return ack.Sequence, nil
}

// Last returns the number of the newest batch, 0 if there was none.
func (j *Journal) Last(ctx context.Context) (uint64, error) {
	info, err := j.st.Info(ctx)
	if err != nil {
		return 0, wrap(err, "read stream %s", meterStream)
	}
	return info.State.LastSeq, nil
}

// Trim removes the batches up to a number.
func (j *Journal) Trim(ctx context.Context, upTo uint64) error {
	if err := j.st.Purge(ctx, jetstream.WithPurgeSequence(upTo+1)); err != nil {
		return wrap(err, "trim stream %s", meterStream)
	}
	return nil
}

// Read calls fn for each batch whose number is above after, oldest first, up to
// the newest at the time of the call. It stops at fn's first error and returns
// it.
func (j *Journal) Read(ctx context.Context, after uint64, fn func(number uint64, batch []byte) error) error {
	info, err := j.st.Info(ctx)
	if err != nil {
		return wrap(err, "read stream %s", meterStream)
	}
	if info.State.Msgs == 0 || info.State.LastSeq <= after {
		return nil
	}
	cfg := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(after+1, info.State.FirstSeq)}
	c, err := j.st.OrderedConsumer(ctx, cfg)
	if err != nil {
		return wrap(err, "read stream %s", meterStream)
	}
	iter, err := c.Messages()
	if err != nil {
		return wrap(err, "read stream %s", meterStream)
	}
	defer iter.Stop()
	defer context.AfterFunc(ctx, iter.Stop)()
	for {
		m, err := iter.Next()
		if err != nil {
			return wrap(context.Cause(ctx), "read stream %s", meterStream)
		}
		meta, err := m.Metadata()
		if err != nil {
			return wrap(err, "read stream %s", meterStream)
		}
		if err := fn(meta.Sequence.Stream, m.Data()); err != nil {
			return err
		}
		if meta.Sequence.Stream >= info.State.LastSeq {
			return nil
		}
	}
}
