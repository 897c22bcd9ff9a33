package lambda

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/arn"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/function"
)

func (d *Door) place() arn.Place { return arn.Place{Region: d.o.Region, Account: d.o.Account} }

// eventInvoke are the parameters that Put and UpdateFunctionEventInvokeConfig share.
type eventInvoke struct {
	maxAge, retries *int32
	onSuccess       *event.Target // nil: not named; zero: none
	onFailure       *event.Target
}

// eventInvoke checks the parameters for t, whose qualifier is not empty.
func (d *Door) eventInvoke(t target, maxAge, retries *int32, to *DestinationConfig) (eventInvoke, error) {
	e := eventInvoke{maxAge: maxAge, retries: retries}
	var c constraints
	c.within("maximumEventAgeInSeconds", maxAge, int32(function.MinEventAge/time.Second), int32(function.MaxEventAge/time.Second))
	c.within("maximumRetryAttempts", retries, 0, function.MaxRetries)
	if err := c.err(); err != nil {
		return e, err
	}
	if maxAge == nil && retries == nil && to == nil {
		return e, invalid("You must specify at least one of error handling or destination setting.")
	}
	if to == nil {
		return e, nil
	}
	var err error
	if to.OnSuccess != nil {
		if e.onSuccess, err = d.destination(t, wire.Value(to.OnSuccess.Destination)); err != nil {
			return e, err
		}
	}
	if to.OnFailure != nil {
		e.onFailure, err = d.destination(t, wire.Value(to.OnFailure.Destination))
	}
	return e, err
}

// within adds a violation unless n is nil or in its bounds.
func (c *constraints) within(member string, n *int32, least, most int32) {
	switch {
	case n == nil:
	case *n < least:
		c.add(member, strconv.Itoa(int(*n)), "Member must have value greater than or equal to "+strconv.Itoa(int(least)))
	case *n > most:
		c.add(member, strconv.Itoa(int(*n)), "Member must have value less than or equal to "+strconv.Itoa(int(most)))
	}
}

// destination reads where records of t's calls go; "" is nowhere.
func (d *Door) destination(t target, s string) (*event.Target, error) {
	if s == "" {
		return &event.Target{}, nil
	}
	to, err := d.place().Parse(s)
	if err != nil {
		return nil, invalid("The destination ARN %s is invalid: %s", s, err)
	}
	if to.Kind == event.Function && to.Name == t.name && latest(to.Qualifier) == latest(t.qualifier) {
		return nil, invalid("You can't specify the function as a destination for itself.")
	}
	return &to, nil
}

func latest(qualifier string) string {
	if qualifier == "" {
		return function.Latest
	}
	return qualifier
}

func (e eventInvoke) apply(s *function.AsyncSettings) {
	if e.maxAge != nil {
		s.MaxAge = time.Duration(*e.maxAge) * time.Second
	}
	if e.retries != nil {
		s.Retries = new(int(*e.retries))
	}
	if e.onSuccess != nil {
		s.OnSuccess = *e.onSuccess
	}
	if e.onFailure != nil {
		s.OnFailure = *e.onFailure
	}
}

// PutFunctionEventInvokeConfig sets how asynchronous calls are retried and who is
// told of their end, in place of what was set.
func (d *Door) PutFunctionEventInvokeConfig(ctx context.Context, in *PutFunctionEventInvokeConfigInput) (*PutFunctionEventInvokeConfigOutput, error) {
	t, err := d.target(in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	e, err := d.eventInvoke(t, in.MaximumEventAgeInSeconds, in.MaximumRetryAttempts, in.DestinationConfig)
	if err != nil {
		return nil, err
	}
	s, err := d.o.Functions.SetAsync(ctx, t.name, t.qualifier, func(function.AsyncSettings, bool) (s function.AsyncSettings, err error) {
		e.apply(&s)
		return s, nil
	})
	if err != nil {
		return nil, d.failAsync(t, err)
	}
	return d.eventInvokeConfig(t.name, t.qualifier, s), nil
}

// UpdateFunctionEventInvokeConfig changes what the request names of what is set.
func (d *Door) UpdateFunctionEventInvokeConfig(ctx context.Context, in *UpdateFunctionEventInvokeConfigInput) (*UpdateFunctionEventInvokeConfigOutput, error) {
	t, err := d.target(in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	e, err := d.eventInvoke(t, in.MaximumEventAgeInSeconds, in.MaximumRetryAttempts, in.DestinationConfig)
	if err != nil {
		return nil, err
	}
	s, err := d.o.Functions.SetAsync(ctx, t.name, t.qualifier, func(s function.AsyncSettings, set bool) (function.AsyncSettings, error) {
		if !set {
			return s, d.unset(t)
		}
		e.apply(&s)
		return s, nil
	})
	if err != nil {
		return nil, d.failAsync(t, err)
	}
	return d.eventInvokeConfig(t.name, t.qualifier, s), nil
}

// GetFunctionEventInvokeConfig shows what is set.
func (d *Door) GetFunctionEventInvokeConfig(_ context.Context, in *GetFunctionEventInvokeConfigInput) (*GetFunctionEventInvokeConfigOutput, error) {
	t, err := d.target(in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	all, err := d.o.Functions.ListAsync(t.name)
	if err != nil {
		return nil, d.failAsync(t, err)
	}
	s, set := all[latest(t.qualifier)]
	if !set {
		return nil, d.unset(t)
	}
	return d.eventInvokeConfig(t.name, t.qualifier, s), nil
}

// ListFunctionEventInvokeConfigs shows what is set for all versions and aliases.
func (d *Door) ListFunctionEventInvokeConfigs(_ context.Context, in *ListFunctionEventInvokeConfigsInput) (*ListFunctionEventInvokeConfigsOutput, error) {
	t, err := d.unqualified(in.FunctionName)
	if err != nil {
		return nil, err
	}
	size, err := pageSize(in.MaxItems, maxPage)
	if err != nil {
		return nil, err
	}
	after, err := readMarker(in.Marker, arn.ValidQualifier)
	if err != nil {
		return nil, err
	}
	all, err := d.o.Functions.ListAsync(t.name)
	if err != nil {
		return nil, d.failAsync(t, err)
	}
	out := &ListFunctionEventInvokeConfigsOutput{FunctionEventInvokeConfigs: []FunctionEventInvokeConfig{}}
	last := ""
	for _, q := range slices.Sorted(maps.Keys(all)) {
		if q <= after {
			continue
		}
		if len(out.FunctionEventInvokeConfigs) == size {
			out.NextMarker = marker(last)
			break
		}
		out.FunctionEventInvokeConfigs = append(out.FunctionEventInvokeConfigs, *d.eventInvokeConfig(t.name, q, all[q]))
		last = q
	}
	return out, nil
}

// DeleteFunctionEventInvokeConfig goes back to the defaults.
func (d *Door) DeleteFunctionEventInvokeConfig(ctx context.Context, in *DeleteFunctionEventInvokeConfigInput) (*DeleteFunctionEventInvokeConfigOutput, error) {
	t, err := d.target(in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	if err := d.o.Functions.UnsetAsync(ctx, t.name, t.qualifier); err != nil {
		return nil, d.failAsync(t, err)
	}
	return &DeleteFunctionEventInvokeConfigOutput{}, nil
}

// eventInvokeConfig shows settings as Lambda does.
func (d *Door) eventInvokeConfig(name, qualifier string, s function.AsyncSettings) *FunctionEventInvokeConfig {
	c := &FunctionEventInvokeConfig{
		FunctionArn: new(d.arn(name, latest(qualifier))), LastModified: new(s.Modified),
		DestinationConfig: &DestinationConfig{OnSuccess: &OnSuccess{}, OnFailure: &OnFailure{}},
	}
	if s.MaxAge != 0 {
		c.MaximumEventAgeInSeconds = new(int32(s.MaxAge / time.Second))
	}
	if s.Retries != nil {
		c.MaximumRetryAttempts = new(int32(*s.Retries))
	}
	c.DestinationConfig.OnSuccess.Destination = wire.Some(d.place().Target(s.OnSuccess))
	c.DestinationConfig.OnFailure.Destination = wire.Some(d.place().Target(s.OnFailure))
	return c
}

func (d *Door) unset(t target) *wire.Error {
	return wire.Errorf(CodeResourceNotFound, "The function %s doesn't have an EventInvokeConfig", d.arn(t.name, latest(t.qualifier)))
}

// failAsync is fail for operations on event invoke configurations.
func (d *Door) failAsync(t target, err error) error {
	if e := errs.Of(err); e.Reason == function.ReasonUnset {
		return d.unset(t)
	}
	if errs.Is(err, errs.NotFound) {
		return wire.Errorf(CodeResourceNotFound, "The function %s doesn't exist.", t.arn)
	}
	return d.fail(t, err)
}

// GetFunctionRecursionConfig shows whether a function may loop.
func (d *Door) GetFunctionRecursionConfig(_ context.Context, in *GetFunctionRecursionConfigInput) (*GetFunctionRecursionConfigOutput, error) {
	t, err := d.unqualified(in.FunctionName)
	if err != nil {
		return nil, err
	}
	if _, err := d.o.Functions.Get(t.name, ""); err != nil {
		return nil, d.fail(t, err)
	}
	return &GetFunctionRecursionConfigOutput{RecursiveLoop: recursiveLoop(d.o.Functions.AllowsLoops(t.name))}, nil
}

// PutFunctionRecursionConfig says whether a function may loop.
func (d *Door) PutFunctionRecursionConfig(ctx context.Context, in *PutFunctionRecursionConfigInput) (*PutFunctionRecursionConfigOutput, error) {
	t, err := d.unqualified(in.FunctionName)
	if err != nil {
		return nil, err
	}
	var c constraints
	if in.RecursiveLoop == "" {
		c.null("recursiveLoop")
	}
	c.oneOf("recursiveLoop", in.RecursiveLoop, RecursiveLoopAllow, RecursiveLoopTerminate)
	if err := c.err(); err != nil {
		return nil, err
	}
	allow := in.RecursiveLoop == RecursiveLoopAllow
	if err := d.o.Functions.AllowLoops(ctx, t.name, allow); err != nil {
		return nil, d.fail(t, err)
	}
	return &PutFunctionRecursionConfigOutput{RecursiveLoop: recursiveLoop(allow)}, nil
}

func recursiveLoop(allowed bool) string {
	if allowed {
		return RecursiveLoopAllow
	}
	return RecursiveLoopTerminate
}
