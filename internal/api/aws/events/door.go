// Package events is the door for Amazon EventBridge's API: buses, rules, targets
// and the events that are put.
//
// api_gen.go holds the shapes, which come from AWS's model. docs/api-coverage.md
// says which operations and parameters are served.
package events

import (
	"context"
	"errors"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/api/aws/arn"
	"github.com/mayfly-dev/mayfly/internal/api/aws/payload"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/bus"
	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Options are what a Door is made of. All are required.
type Options struct {
	Place arn.Place
	Buses *bus.Buses
}

// Door serves EventBridge's API. It is safe for concurrent use.
type Door struct {
	o     Options
	words payload.Events
}

var _ API = (*Door)(nil)

// New returns a Door.
func New(o Options) *Door { return &Door{o: o, words: payload.Events{Place: o.Place}} }

// Codes that EventBridge sends and its model doesn't name.
const (
	codeValidation = "ValidationException"
	codeInternal   = "InternalFailure"
)

// maxRequest is the largest request, in bytes: the events of one, with every byte
// escaped.
const maxRequest = 8 << 20

// Service returns the service for a wire.Mux.
func (d *Door) Service() *wire.Service {
	s := NewService(d)
	s.Errors[codeValidation] = wire.ErrorInfo{Status: 400, Message: "message", Sender: true}
	s.Limit("PutEvents", maxRequest, invalid("Total size of the entries in the request is over the limit."))
	return s
}

func invalid(format string, args ...any) *wire.Error {
	return wire.Errorf(codeValidation, format, args...)
}

// fail words an error of the buses.
func fail(err error) error {
	var known *wire.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	e := errs.Of(err)
	w := &wire.Error{Message: e.Message, RetryAfter: e.RetryAfter, Err: err}
	switch {
	case e.Reason == bus.ReasonPattern:
		w.Code = CodeInvalidEventPattern
	case e.Reason == bus.ReasonLimit:
		w.Code = CodeLimitExceeded
	case e.Reason == bus.ReasonTargets:
		w.Code = codeValidation
	case e.Kind == errs.NotFound:
		w.Code = CodeResourceNotFound
	case e.Kind == errs.Conflict:
		w.Code = CodeResourceAlreadyExists
	case e.Kind == errs.Invalid, e.Kind == errs.TooLarge, e.Kind == errs.Unsupported:
		w.Code = codeValidation
	case e.Kind == errs.Unavailable:
		w.Code, w.Status = codeInternal, 503
	default:
		w.Code, w.Status, w.Message = codeInternal, 500, "An error occurred and the request cannot be processed."
	}
	return w
}

// busName reads the name of a bus, or its ARN; none is the default bus.
func (d *Door) busName(s *string) string {
	if wire.Value(s) == "" {
		return bus.Default
	}
	if resource, ok := d.o.Place.CutResource(*s, "events"); ok {
		return strings.TrimPrefix(resource, "event-bus/")
	}
	return *s
}

func (d *Door) busARN(name string) string { return d.o.Place.Resource("events", "event-bus/"+name) }

// pageSize is the longest page of a list.
const pageSize = 100

// page returns one page of a list that is sorted by key.
func page[T any](list []T, key func(T) string, limit *int32, token *string) ([]T, *string, error) {
	most := pageSize
	if limit != nil {
		if *limit < 1 || *limit > pageSize {
			return nil, nil, invalid("1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: Member must be between 1 and %d", *limit, pageSize)
		}
		most = int(*limit)
	}
	part, next, ok := wire.Page(list, key, token, most)
	if !ok {
		return nil, nil, invalid("Invalid NextToken: pass the NextToken of the page before.")
	}
	return part, next, nil
}

// CreateEventBus makes a bus.
func (d *Door) CreateEventBus(ctx context.Context, in *CreateEventBusInput) (*CreateEventBusOutput, error) {
	switch {
	case in.EventSourceName != nil:
		return nil, invalid("Partner event sources are not supported: call without EventSourceName.")
	case in.KmsKeyIdentifier != nil:
		return nil, invalid("KmsKeyIdentifier is not supported: events are kept with the node's own data.")
	case in.DeadLetterConfig != nil && in.DeadLetterConfig.Arn != nil:
		return nil, invalid("DeadLetterConfig of a bus is not supported: set it on the rules' targets.")
	}
	b, err := d.o.Buses.Create(ctx, bus.Bus{Name: wire.Value(in.Name), Description: wire.Value(in.Description), Tags: tagMap(in.Tags)})
	if err != nil {
		return nil, fail(err)
	}
	return &CreateEventBusOutput{EventBusArn: new(d.busARN(b.Name)), Description: wire.Some(b.Description)}, nil
}

// DescribeEventBus shows a bus.
func (d *Door) DescribeEventBus(_ context.Context, in *DescribeEventBusInput) (*DescribeEventBusOutput, error) {
	b, err := d.o.Buses.Get(d.busName(in.Name))
	if err != nil {
		return nil, fail(err)
	}
	return &DescribeEventBusOutput{
		Name: new(b.Name), Arn: new(d.busARN(b.Name)), Description: wire.Some(b.Description),
		CreationTime: new(b.Created), LastModifiedTime: new(b.Created),
	}, nil
}

// ListEventBuses lists the buses by name.
func (d *Door) ListEventBuses(_ context.Context, in *ListEventBusesInput) (*ListEventBusesOutput, error) {
	list, next, err := page(d.o.Buses.List(wire.Value(in.NamePrefix)), func(b *bus.Bus) string { return b.Name }, in.Limit, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &ListEventBusesOutput{EventBuses: []EventBus{}, NextToken: next}
	for _, b := range list {
		out.EventBuses = append(out.EventBuses, EventBus{
			Name: new(b.Name), Arn: new(d.busARN(b.Name)), Description: wire.Some(b.Description), CreationTime: new(b.Created), LastModifiedTime: new(b.Created),
		})
	}
	return out, nil
}

// DeleteEventBus removes a bus.
func (d *Door) DeleteEventBus(ctx context.Context, in *DeleteEventBusInput) (*DeleteEventBusOutput, error) {
	if err := d.o.Buses.Delete(ctx, d.busName(in.Name)); err != nil {
		if errs.Is(err, errs.Conflict) {
			return nil, invalid("%s", errs.Of(err).Message)
		}
		return nil, fail(err)
	}
	return &DeleteEventBusOutput{}, nil
}

func tagMap(tags []Tag) map[string]string {
	m := map[string]string{}
	for _, t := range tags {
		m[wire.Value(t.Key)] = wire.Value(t.Value)
	}
	return m
}
