package logs

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/guest"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/logs"
)

// streamOf returns the name of the stream that an entry is in: what a client put
// there names it itself.
func streamOf(e *logs.Entry) string {
	switch {
	case e.Version != "" && e.Instance != "":
		return guest.LogStream(e.Version, e.Instance)
	case e.Instance != "":
		return e.Instance
	default:
		return e.Time.UTC().Format("2006/01/02") + "/[" + cmp.Or(e.Version, "$LATEST") + "]"
	}
}

// stream is what a group knows of one of its streams.
type stream struct {
	name           string
	created, first time.Time
	last           time.Time
}

// streams returns a group's streams in the order of their names.
func (d *Door) streams(ctx context.Context, g *group, prefix string) ([]stream, error) {
	known := map[string]*stream{}
	for _, log := range g.logs {
		info, _, err := d.o.Store.Get(log)
		if err != nil {
			return nil, err
		}
		for name, made := range info.Settings.Streams {
			known[name] = &stream{name: name, created: made}
		}
		for e, err := range d.o.Store.Query(ctx, log, logs.Filter{}) {
			if err != nil {
				return nil, err
			}
			name := streamOf(&e)
			s := known[name]
			if s == nil {
				s = &stream{name: name, created: e.Time}
				known[name] = s
			}
			if s.first.IsZero() {
				s.first = e.Time
			}
			s.last = e.Time
		}
	}
	var list []stream
	for name, s := range known {
		if strings.HasPrefix(name, prefix) {
			list = append(list, *s)
		}
	}
	slices.SortFunc(list, func(a, b stream) int { return cmp.Compare(a.name, b.name) })
	return list, nil
}

// DescribeLogStreams lists a group's streams by name or by their last line.
func (d *Door) DescribeLogStreams(ctx context.Context, in *DescribeLogStreamsInput) (*DescribeLogStreamsOutput, error) {
	g, err := d.find(in.LogGroupName, in.LogGroupIdentifier)
	if err != nil {
		return nil, fail(err)
	}
	limit := int(wire.Value(in.Limit))
	if in.Limit == nil {
		limit = 50
	}
	if limit < 1 || limit > 50 {
		return nil, invalid("1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: Member must be between 1 and 50", limit)
	}
	byTime := in.OrderBy == OrderByLastEventTime
	if byTime && in.LogStreamNamePrefix != nil {
		return nil, invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
	}
	list, err := d.streams(ctx, g, wire.Value(in.LogStreamNamePrefix))
	if err != nil {
		return nil, fail(err)
	}
	if byTime {
		slices.SortStableFunc(list, func(a, b stream) int { return a.last.Compare(b.last) })
	}
	if wire.Value(in.Descending) {
		slices.Reverse(list)
	}
	if token := wire.Value(in.NextToken); token != "" {
		i := slices.IndexFunc(list, func(s stream) bool { return s.name == token })
		list = list[i+1:]
	}
	out := &DescribeLogStreamsOutput{LogStreams: []LogStream{}}
	for _, s := range list {
		if len(out.LogStreams) == limit {
			out.NextToken = out.LogStreams[limit-1].LogStreamName
			break
		}
		shown := LogStream{
			LogStreamName: &s.name, CreationTime: new(s.created.UnixMilli()), StoredBytes: new(int64(0)),
			Arn: new(d.prefix() + g.name + ":log-stream:" + s.name), UploadSequenceToken: new("0"),
		}
		if !s.first.IsZero() {
			shown.FirstEventTimestamp, shown.LastEventTimestamp = new(s.first.UnixMilli()), new(s.last.UnixMilli())
			shown.LastIngestionTime = shown.LastEventTimestamp
		}
		out.LogStreams = append(out.LogStreams, shown)
	}
	return out, nil
}

// CreateLogStream makes a stream that clients can put lines into.
func (d *Door) CreateLogStream(_ context.Context, in *CreateLogStreamInput) (*CreateLogStreamOutput, error) {
	name := wire.Value(in.LogStreamName)
	if name == "" || len(name) > 512 || strings.ContainsAny(name, ":*") {
		return nil, invalid(`1 validation error detected: Value '%.100s' at 'logStreamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [^:*]*`, name)
	}
	g, err := d.find(in.LogGroupName, nil)
	if err != nil {
		return nil, fail(err)
	}
	return &CreateLogStreamOutput{}, fail(d.o.Store.Change(g.own, func(s *logs.Settings) error {
		if _, taken := s.Streams[name]; taken {
			return wire.Errorf(CodeResourceAlreadyExists, "The specified log stream already exists")
		}
		if s.Streams == nil {
			s.Streams = map[string]time.Time{}
		}
		s.Streams[name] = time.Now()
		if g.own == putLog(g.name) {
			s.Name = g.name
		}
		return nil
	}))
}

// DeleteLogStream forgets a stream that a client made. Lines are kept until their
// group's are removed.
func (d *Door) DeleteLogStream(_ context.Context, in *DeleteLogStreamInput) (*DeleteLogStreamOutput, error) {
	g, err := d.find(in.LogGroupName, nil)
	if err != nil {
		return nil, fail(err)
	}
	return &DeleteLogStreamOutput{}, fail(d.o.Store.Change(g.own, func(s *logs.Settings) error {
		if _, there := s.Streams[wire.Value(in.LogStreamName)]; !there {
			return noStream()
		}
		delete(s.Streams, wire.Value(in.LogStreamName))
		return nil
	}))
}

// Limits of PutLogEvents: of one event and of all together, in bytes, and how
// far from now an event's time may be.
const (
	maxEvent  = 256 << 10
	maxEvents = 10_000
	oldest    = 14 * 24 * time.Hour
	newest    = 2 * time.Hour
)

// PutLogEvents adds lines of a client to a stream.
func (d *Door) PutLogEvents(_ context.Context, in *PutLogEventsInput) (*PutLogEventsOutput, error) {
	g, err := d.find(in.LogGroupName, nil)
	if err != nil {
		return nil, fail(err)
	}
	name := wire.Value(in.LogStreamName)
	info, _, err := d.o.Store.Get(g.own)
	if err != nil {
		return nil, fail(err)
	}
	if _, there := info.Settings.Streams[name]; !there {
		return nil, noStream()
	}
	if len(in.LogEvents) == 0 || len(in.LogEvents) > maxEvents {
		return nil, invalid("1 validation error detected: Value at 'logEvents' failed to satisfy constraint: Member must have length between 1 and %d", maxEvents)
	}
	out := &PutLogEventsOutput{NextSequenceToken: new("0")}
	now := time.Now()
	var rejected RejectedLogEventsInfo
	var entries []logs.Entry
	for i, e := range in.LogEvents {
		at := time.UnixMilli(wire.Value(e.Timestamp))
		switch {
		case len(wire.Value(e.Message)) > maxEvent:
			return nil, invalid("Log event too large: %d bytes exceeds limit of %d", len(*e.Message), maxEvent)
		case i > 0 && wire.Value(e.Timestamp) < wire.Value(in.LogEvents[i-1].Timestamp):
			return nil, invalid("Log events in a single PutLogEvents request must be in chronological order.")
		case at.Before(now.Add(-oldest)):
			rejected.TooOldLogEventEndIndex = new(int32(i + 1))
		case at.After(now.Add(newest)):
			if rejected.TooNewLogEventStartIndex == nil {
				rejected.TooNewLogEventStartIndex = new(int32(i))
			}
		default:
			entries = append(entries, logs.Entry{Time: at, Instance: name, Stream: logs.Output, Text: wire.Value(e.Message)})
		}
	}
	if rejected.TooOldLogEventEndIndex != nil || rejected.TooNewLogEventStartIndex != nil {
		out.RejectedLogEventsInfo = &rejected
	}
	return out, fail(d.o.Store.Append(g.own, entries...))
}
