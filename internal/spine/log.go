package spine

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// headHeader carries a record's head, so that heads can be read without bodies.
const headHeader = "Mayfly-Head"

// scanPatience is how long a scan waits for the next record.
const scanPatience = 30 * time.Second

// Log is a durable list of records, of which any can be read and removed by its
// number. Numbers grow. It is safe for concurrent use.
type Log struct {
	s       *Spine
	name    string // of the stream
	subject string
	st      jetstream.Stream
}

// Log opens the log of the id, which is made if need be. An id consists of
// letters, digits, '-' and '_'.
func (s *Spine) Log(ctx context.Context, id string) (*Log, error) {
	return s.logAs(ctx, jetstream.StreamConfig{Name: logPrefix + id, Subjects: []string{logSubject + id}})
}

// logAs opens the log that is the stream of cfg, which has one subject.
func (s *Spine) logAs(ctx context.Context, cfg jetstream.StreamConfig) (*Log, error) {
	cfg.AllowDirect = true
	l := &Log{s: s, name: cfg.Name, subject: cfg.Subjects[0]}
	var err error
	l.st, err = s.stream(ctx, cfg)
	return l, err
}

// Logs returns the ids of all logs.
func (s *Spine) Logs(ctx context.Context) ([]string, error) {
	names := s.js.StreamNames(ctx)
	var ids []string
	for name := range names.Name() {
		if id, ok := strings.CutPrefix(name, logPrefix); ok {
			ids = append(ids, id)
		}
	}
	if err := names.Err(); err != nil {
		return nil, wrap(err, "list the logs")
	}
	return ids, nil
}

// RemoveLog removes a log with all that is in it. A log that does not exist is
// no error.
func (s *Spine) RemoveLog(ctx context.Context, id string) error {
	err := s.js.DeleteStream(ctx, logPrefix+id)
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return wrap(err, "remove log %s", id)
	}
	return nil
}

// Append stores a record and returns its number; then it is on disk. The head is
// text without line breaks.
func (l *Log) Append(ctx context.Context, head string, body []byte) (seq uint64, err error) {
	seq, _, err = l.append(ctx, "", head, body)
	return seq, err
}

// append is Append for a record with an id, unless that is "": if one with the id
// was stored within the stream's window for that, it returns the number of that one.
func (l *Log) append(ctx context.Context, id, head string, body []byte) (seq uint64, repeat bool, err error) {
	if err := l.s.room(reserve); err != nil {
		return 0, false, err
	}
	m := &nats.Msg{Subject: l.subject, Data: body, Header: nats.Header{headHeader: {head}}}
	var opts []jetstream.PublishOpt
	if id != "" {
		opts = append(opts, jetstream.WithMsgID(id))
	}
	ack, err := l.s.js.PublishMsg(ctx, m, opts...)
	if err != nil {
		return 0, false, wrap(err, "store a record in %s", l.name)
	}
	return ack.Sequence, ack.Duplicate, nil
}

// Body returns a record's body, or errs.NotFound.
func (l *Log) Body(ctx context.Context, seq uint64) ([]byte, error) {
	m, err := l.st.GetMsg(ctx, seq)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, errs.Newf(errs.NotFound, "%s has no record %d", l.name, seq)
	case err != nil:
		return nil, wrap(err, "read record %d of %s", seq, l.name)
	}
	return m.Data, nil
}

// Remove removes a record. One that is gone already is no error.
func (l *Log) Remove(ctx context.Context, seq uint64) error {
	if err := l.s.room(deleteReserve); err != nil {
		return err
	}
	err := l.st.DeleteMsg(ctx, seq)
	if err == nil {
		return nil
	}
	if _, there := l.Body(ctx, seq); errs.Is(there, errs.NotFound) {
		return nil
	}
	return wrap(err, "remove record %d of %s", seq, l.name)
}

// RemoveBefore removes all records whose numbers are less than seq.
func (l *Log) RemoveBefore(ctx context.Context, seq uint64) error {
	if err := l.s.room(deleteReserve); err != nil {
		return err
	}
	if err := l.st.Purge(ctx, jetstream.WithPurgeSequence(seq)); err != nil {
		return wrap(err, "remove records of %s", l.name)
	}
	return nil
}

// Heads calls fn for each record that is in the log now, oldest first, until fn
// returns an error, which Heads then returns.
func (l *Log) Heads(ctx context.Context, fn func(seq uint64, head string) error) error {
	return l.headsAfter(ctx, 0, fn)
}

// headsAfter is Heads for the records whose numbers are above after.
func (l *Log) headsAfter(ctx context.Context, after uint64, fn func(seq uint64, head string) error) error {
	info, err := l.st.Info(ctx)
	if err != nil {
		return wrap(err, "read %s", l.name)
	}
	if info.State.Msgs == 0 || info.State.LastSeq <= after {
		return nil
	}
	c, err := l.st.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1, HeadersOnly: true,
	})
	if err != nil {
		return wrap(err, "read %s", l.name)
	}
	iter, err := c.Messages(jetstream.PullMaxMessages(2000))
	if err != nil {
		return wrap(err, "read %s", l.name)
	}
	defer iter.Stop()
	for {
		next, cancel := context.WithTimeout(ctx, scanPatience)
		m, err := iter.Next(jetstream.NextContext(next))
		cancel()
		if err != nil {
			return wrap(err, "read %s", l.name)
		}
		meta, err := m.Metadata()
		if err != nil {
			return wrap(err, "read %s", l.name)
		}
		if err := fn(meta.Sequence.Stream, m.Headers().Get(headHeader)); err != nil {
			return err
		}
		if meta.NumPending == 0 || meta.Sequence.Stream >= info.State.LastSeq {
			return nil
		}
	}
}
