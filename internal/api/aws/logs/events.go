package logs

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/logs"
)

// maxPage is how many events an answer holds at most.
const maxPage = 10_000

// place orders the events of a group: by time, and where that is the same by the
// order in which they came.
type place struct {
	time  int64 // Unix nanoseconds
	order int
}

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.time, q.time), cmp.Compare(p.order, q.order))
}

func (p place) token(way string) string { return fmt.Sprintf("%s/%d/%d", way, p.time, p.order) }

// parsePlace reads a token. way is "f" or "b".
func parsePlace(token string) (way string, p place, err error) {
	way, rest, _ := strings.Cut(token, "/")
	if n, err := fmt.Sscanf(rest, "%d/%d", &p.time, &p.order); n != 2 || err != nil || way != "f" && way != "b" {
		return "", p, invalid("The specified nextToken is invalid.")
	}
	return way, p, nil
}

// found is an event with its place.
type found struct {
	logs.Entry
	place
	log string
}

// id is a number that is the same each time, and no other event's.
func (f *found) id() string {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d %s %s", f.log, f.order, f.RequestID, f.Text) // never fails
	return fmt.Sprintf("%020d%020d%016d", f.time, h.Sum64(), f.order)
}

// message is an event's text as functions write it: with its line end.
func (f *found) message() *string {
	if f.Version == "" { // a client's own
		return &f.Text
	}
	return new(f.Text + "\n")
}

// search calls fn with the events of a group's logs that filter selects, each
// log's in its order, until fn returns false for that log.
func (d *Door) search(ctx context.Context, g *group, filter logs.Filter, fn func(*found) bool) error {
	for _, log := range g.logs {
		var at place
		for e, err := range d.o.Store.Query(ctx, log, filter) {
			if err != nil {
				return err
			}
			if t := e.Time.UnixNano(); t == at.time {
				at.order++
			} else {
				at = place{time: t}
			}
			if !fn(&found{e, at, log}) {
				break
			}
		}
	}
	return nil
}

// stretch makes a filter of a request's times in milliseconds: start is
// inclusive; end is exclusive but for FilterLogEvents.
func stretch(start, end *int64, inclusive bool) (f logs.Filter) {
	if start != nil {
		f.Since = time.UnixMilli(*start)
	}
	if end != nil {
		f.Until = time.UnixMilli(*end)
		if inclusive {
			f.Until = f.Until.Add(time.Millisecond)
		}
	}
	return f
}

// FilterLogEvents searches a group.
func (d *Door) FilterLogEvents(ctx context.Context, in *FilterLogEventsInput) (*FilterLogEventsOutput, error) {
	g, err := d.find(in.LogGroupName, in.LogGroupIdentifier)
	if err != nil {
		return nil, fail(err)
	}
	limit := maxPage
	if in.Limit != nil {
		limit = int(*in.Limit)
	}
	if limit < 1 || limit > maxPage {
		return nil, invalid("1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: Member must be between 1 and %d", limit, maxPage)
	}
	pattern, err := ParsePattern(wire.Value(in.FilterPattern))
	if err != nil {
		return nil, err
	}
	f := stretch(in.StartTime, in.EndTime, true)
	var after place
	if in.NextToken != nil {
		if _, after, err = parsePlace(*in.NextToken); err != nil {
			return nil, err
		}
		f.Since = time.Unix(0, after.time)
	}
	wanted := func(e *logs.Entry) bool {
		name := streamOf(e)
		return (len(in.LogStreamNames) == 0 || slices.Contains(in.LogStreamNames, name)) &&
			strings.HasPrefix(name, wire.Value(in.LogStreamNamePrefix)) && pattern.Match(e.Text)
	}
	var list []found
	taken := map[string]int{} // by log
	err = d.search(ctx, g, f, func(e *found) bool {
		if (in.NextToken != nil && e.place.compare(after) <= 0) || !wanted(&e.Entry) {
			return true
		}
		list = append(list, *e)
		taken[e.log]++
		return taken[e.log] <= limit
	})
	if err != nil {
		return nil, fail(err)
	}
	slices.SortStableFunc(list, func(a, b found) int { return a.place.compare(b.place) })
	out := &FilterLogEventsOutput{Events: []FilteredLogEvent{}, SearchedLogStreams: []SearchedLogStream{}}
	if len(list) > limit {
		list = list[:limit]
		out.NextToken = new(list[limit-1].token("f"))
	}
	for i := range list {
		e := &list[i]
		ms := e.Time.UnixMilli()
		out.Events = append(out.Events, FilteredLogEvent{
			EventId: new(e.id()), LogStreamName: new(streamOf(&e.Entry)), Message: e.message(), Timestamp: &ms, IngestionTime: &ms,
		})
	}
	return out, nil
}

// GetLogEvents returns a stream's events: the latest unless StartFromHead asks
// for the first.
func (d *Door) GetLogEvents(ctx context.Context, in *GetLogEventsInput) (*GetLogEventsOutput, error) {
	g, err := d.find(in.LogGroupName, in.LogGroupIdentifier)
	if err != nil {
		return nil, fail(err)
	}
	limit := maxPage
	if in.Limit != nil {
		limit = int(*in.Limit)
	}
	if limit < 1 || limit > maxPage {
		return nil, invalid("1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: Member must be between 1 and %d", limit, maxPage)
	}
	way, from := "b", place{time: 1 << 62}
	if wire.Value(in.StartFromHead) {
		way, from = "f", place{order: -1}
	}
	if in.NextToken != nil {
		if way, from, err = parsePlace(*in.NextToken); err != nil {
			return nil, err
		}
	}
	exists := false
	var list []found
	err = d.search(ctx, g, stretch(in.StartTime, in.EndTime, false), func(e *found) bool {
		if streamOf(&e.Entry) != wire.Value(in.LogStreamName) {
			return true
		}
		exists = true
		side := e.place.compare(from)
		if way == "f" && side > 0 || way == "b" && side < 0 {
			list = append(list, *e)
		}
		return way == "b" || len(list) < limit
	})
	if err != nil {
		return nil, fail(err)
	}
	if !exists {
		if err := d.known(ctx, g, wire.Value(in.LogStreamName)); err != nil {
			return nil, fail(err)
		}
	}
	if way == "b" && len(list) > limit {
		list = list[len(list)-limit:]
	}
	out := &GetLogEventsOutput{Events: []OutputLogEvent{}, NextForwardToken: new(from.token("f")), NextBackwardToken: new(from.token("b"))}
	for i := range list {
		e := &list[i]
		ms := e.Time.UnixMilli()
		out.Events = append(out.Events, OutputLogEvent{Message: e.message(), Timestamp: &ms, IngestionTime: &ms})
	}
	if n := len(list); n > 0 {
		out.NextForwardToken, out.NextBackwardToken = new(list[n-1].token("f")), new(list[0].token("b"))
	}
	return out, nil
}

// known returns an error unless the group has the stream, though it may have no
// event in the stretch that was asked for.
func (d *Door) known(ctx context.Context, g *group, name string) error {
	list, err := d.streams(ctx, g, name)
	if err != nil {
		return err
	}
	for _, s := range list {
		if s.name == name {
			return nil
		}
	}
	return noStream()
}
