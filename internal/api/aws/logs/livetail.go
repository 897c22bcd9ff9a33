package logs

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/logs"
)

const (
	tailEvery    = time.Second      // how often a live tail sends what came
	tailMost     = 500              // events that it sends at a time; the rest is left out
	tailLongest  = 3 * time.Hour    // after this it ends
	tailPatience = 10 * time.Second // for a client that does not read
)

// StartLiveTail sends the events of groups as they are written.
func (d *Door) StartLiveTail(ctx context.Context, in *StartLiveTailInput) (*StartLiveTailOutput, error) {
	pattern, err := ParsePattern(wire.Value(in.LogEventFilterPattern))
	if err != nil {
		return nil, err
	}
	if len(in.LogGroupIdentifiers) == 0 {
		return nil, invalid("logGroupIdentifiers must name at least one log group.")
	}
	groups := map[string]string{} // group by log
	var sources []string
	for _, id := range in.LogGroupIdentifiers {
		g, err := d.find(&id, nil)
		if err != nil {
			return nil, fail(err)
		}
		for _, log := range g.logs {
			groups[log] = d.o.Account + ":" + g.name
			sources = append(sources, log)
		}
	}
	f := logs.Filter{Since: time.Now(), Match: func(e *logs.Entry) bool {
		name := streamOf(e)
		named := len(in.LogStreamNames)+len(in.LogStreamNamePrefixes) == 0 || slices.Contains(in.LogStreamNames, name) ||
			slices.ContainsFunc(in.LogStreamNamePrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
		return named && pattern.Match(e.Text)
	}}
	start := &LiveTailSessionStart{
		RequestId: wire.Some(wire.RequestID(ctx)), SessionId: new(uuid.NewString()), LogGroupIdentifiers: in.LogGroupIdentifiers,
		LogStreamNames: in.LogStreamNames, LogStreamNamePrefixes: in.LogStreamNamePrefixes, LogEventFilterPattern: in.LogEventFilterPattern,
	}
	return &StartLiveTailOutput{ResponseStream: func(w *wire.EventWriter) error {
		ctx, cancel := context.WithTimeout(ctx, tailLongest)
		defer cancel()
		if err := w.Send(&StartLiveTailResponseStream{SessionStart: start}); err != nil {
			return err
		}
		return d.tail(ctx, w, sources, groups, f)
	}}, nil
}

// tail sends what is written, a second's worth at a time, until ctx ends.
func (d *Door) tail(ctx context.Context, w *wire.EventWriter, sources []string, groups map[string]string, f logs.Filter) error {
	came := make(chan logs.Entry, tailMost)
	failed := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer close(failed)
		for e, err := range d.o.Store.FollowAll(ctx, sources, f) {
			if err != nil {
				failed <- err
				return
			}
			select {
			case came <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	tick := time.NewTicker(tailEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		update := &LiveTailSessionUpdate{SessionMetadata: &LiveTailSessionMetadata{Sampled: new(false)}, SessionResults: []LiveTailSessionLogEvent{}}
		for len(came) > 0 && len(update.SessionResults) < tailMost {
			e := <-came
			ms := e.Time.UnixMilli()
			update.SessionResults = append(update.SessionResults, LiveTailSessionLogEvent{
				LogGroupIdentifier: new(groups[e.Function]), LogStreamName: new(streamOf(&e)), Message: &e.Text, Timestamp: &ms, IngestionTime: &ms,
			})
		}
		if err := w.SetWriteDeadline(time.Now().Add(tailPatience)); err != nil {
			return err
		}
		if err := w.Send(&StartLiveTailResponseStream{SessionUpdate: update}); err != nil {
			return err
		}
	}
}
