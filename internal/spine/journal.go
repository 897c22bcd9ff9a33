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

// Append stores a batch; when it returns nil the batch is on disk. A batch whose
// id was appended within the last ten minutes is not stored again.
func (j *Journal) Append(ctx context.Context, id string, batch []byte) error {
	return j.s.publish(ctx, j.subject, id, batch)
}

// Read calls fn for each batch that was stored at or after from, oldest first,
// up to the newest at the time of the call. It stops at fn's first error and
// returns it.
func (j *Journal) Read(ctx context.Context, from time.Time, fn func(batch []byte) error) error {
	info, err := j.st.Info(ctx)
	if err != nil {
		return wrap(err, "read stream %s", meterStream)
	}
	if info.State.Msgs == 0 || info.State.LastTime.Before(from) {
		return nil
	}
	cfg := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}
	if !from.IsZero() {
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &from
	}
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
		if err := fn(m.Data()); err != nil {
			return err
		}
		if meta.Sequence.Stream >= info.State.LastSeq {
			return nil
		}
	}
}
