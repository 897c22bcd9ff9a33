package events

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/payload"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/bus"
	"github.com/mayfly-dev/mayfly/internal/event/pattern"
)

// Limits of one PutEvents.
const (
	maxEntries = 10
	maxSize    = 1 << 20 // bytes of all entries
)

// PutEvents puts events on buses. An entry that was accepted is on disk for each
// target of each rule that it matches.
func (d *Door) PutEvents(ctx context.Context, in *PutEventsInput) (*PutEventsOutput, error) {
	if n := len(in.Entries); n < 1 || n > maxEntries {
		return nil, invalid("1 validation error detected: Value at 'entries' failed to satisfy constraint: Member must have length between 1 and %d", maxEntries)
	}
	if in.EndpointId != nil {
		return nil, invalid("EndpointId is not supported: global endpoints are the cloud's.")
	}
	size := 0
	for _, e := range in.Entries {
		size += len(wire.Value(e.Detail)) + len(wire.Value(e.Source)) + len(wire.Value(e.DetailType))
	}
	if size > maxSize {
		return nil, invalid("Total size of the entries in the request is over the limit.")
	}
	out := &PutEventsOutput{Entries: make([]PutEventsResultEntry, len(in.Entries)), FailedEntryCount: new(int32(0))}
	var work sync.WaitGroup
	for i := range in.Entries {
		work.Go(func() { out.Entries[i] = d.put(ctx, &in.Entries[i]) })
	}
	work.Wait()
	for _, e := range out.Entries {
		if e.ErrorCode != nil {
			*out.FailedEntryCount++
		}
	}
	return out, nil
}

// put puts one entry.
func (d *Door) put(ctx context.Context, in *PutEventsRequestEntry) PutEventsResultEntry {
	refuse := func(code, message string) PutEventsResultEntry {
		return PutEventsResultEntry{ErrorCode: &code, ErrorMessage: &message}
	}
	detail := []byte(wire.Value(in.Detail))
	switch {
	case wire.Value(in.Source) == "":
		return refuse("InvalidArgument", "Parameter Source is not valid. Reason: Source is a required argument.")
	case wire.Value(in.DetailType) == "":
		return refuse("InvalidArgument", "Parameter DetailType is not valid. Reason: DetailType is a required argument.")
	case len(detail) == 0:
		return refuse("InvalidArgument", "Parameter Detail is not valid. Reason: Detail is a required argument.")
	case strings.HasPrefix(*in.Source, "aws."):
		return refuse("NotAuthorizedForSourceException", "Not authorized for the source.")
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(detail, &object) != nil || object == nil {
		return refuse("MalformedDetail", "Detail is malformed.")
	}
	e := bus.Event{Source: *in.Source, DetailType: *in.DetailType, Detail: detail, Resources: in.Resources, Time: time.Now()}
	if in.Time != nil {
		e.Time = *in.Time
	}
	trace := wire.Value(in.TraceHeader)
	if r := wire.HTTPRequest(ctx); r != nil {
		sent := r.Header.Get(payload.TraceHeader)
		e.Lineage = payload.Lineage(sent)
		if trace == "" {
			trace = sent
		}
	}
	e.TraceID = trace
	id, err := d.o.Buses.Put(ctx, d.busName(in.EventBusName), e)
	if err != nil {
		var w *wire.Error
		if !errors.As(fail(err), &w) {
			return refuse(codeInternal, "The event was not accepted.")
		}
		return refuse(w.Code, w.Message)
	}
	return PutEventsResultEntry{EventId: &id}
}

// TestEventPattern tells whether an event matches a pattern.
func (d *Door) TestEventPattern(_ context.Context, in *TestEventPatternInput) (*TestEventPatternOutput, error) {
	p, err := pattern.Compile([]byte(wire.Value(in.EventPattern)))
	if err != nil {
		return nil, wire.Errorf(CodeInvalidEventPattern, "Event pattern is not valid. Reason: %s", err)
	}
	var e map[string]json.RawMessage
	if json.Unmarshal([]byte(wire.Value(in.Event)), &e) != nil {
		return nil, invalid("Parameter Event is not valid. Reason: it is not a JSON object.")
	}
	for _, name := range []string{"id", "account", "source", "time", "region", "resources", "detail-type"} {
		if e[name] == nil {
			return nil, invalid("Parameter Event is not valid. Reason: the field %s is missing.", name)
		}
	}
	return &TestEventPatternOutput{Result: new(p.Match([]byte(*in.Event)))}, nil
}
