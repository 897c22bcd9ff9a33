package lambda

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/arn"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/trigger"
)

// userAction is how Lambda says that somebody asked for a mapping's state.
const userAction = "USER_INITIATED"

// elsewhere are the parameters of mappings that only other sources than queues
// take.
type elsewhere struct {
	name  string
	given bool
}

func refuseElsewhere(all ...elsewhere) error {
	for _, p := range all {
		if p.given {
			return invalid("%s is not supported: event source mappings read SQS queues only.", p.name)
		}
	}
	return nil
}

// CreateEventSourceMapping leads a queue's messages to a function.
func (d *Door) CreateEventSourceMapping(ctx context.Context, in *CreateEventSourceMappingInput) (*CreateEventSourceMappingOutput, error) {
	t, err := d.target(in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	err = refuseElsewhere(
		elsewhere{"AmazonManagedKafkaEventSourceConfig", in.AmazonManagedKafkaEventSourceConfig != nil},
		elsewhere{"DocumentDBEventSourceConfig", in.DocumentDBEventSourceConfig != nil},
		elsewhere{"SelfManagedEventSource", in.SelfManagedEventSource != nil},
		elsewhere{"SelfManagedKafkaEventSourceConfig", in.SelfManagedKafkaEventSourceConfig != nil},
		elsewhere{"SourceAccessConfigurations", len(in.SourceAccessConfigurations) > 0},
		elsewhere{"Topics", len(in.Topics) > 0}, elsewhere{"Queues", len(in.Queues) > 0},
		elsewhere{"StartingPosition", in.StartingPosition != ""}, elsewhere{"StartingPositionTimestamp", in.StartingPositionTimestamp != nil},
		elsewhere{"BisectBatchOnFunctionError", wire.Value(in.BisectBatchOnFunctionError)},
		elsewhere{"DestinationConfig", in.DestinationConfig != nil},
		elsewhere{"MaximumRecordAgeInSeconds", in.MaximumRecordAgeInSeconds != nil},
		elsewhere{"MaximumRetryAttempts", in.MaximumRetryAttempts != nil},
		elsewhere{"ParallelizationFactor", in.ParallelizationFactor != nil},
		elsewhere{"TumblingWindowInSeconds", in.TumblingWindowInSeconds != nil},
		elsewhere{"ProvisionedPollerConfig", in.ProvisionedPollerConfig != nil},
		elsewhere{"KMSKeyArn", wire.Value(in.KMSKeyArn) != ""},
	)
	if err != nil {
		return nil, err
	}
	source, err := d.source(in.EventSourceArn)
	if err != nil {
		return nil, err
	}
	m := trigger.Mapping{
		Source: source, Function: event.Target{Kind: event.Function, Name: t.name, Qualifier: t.qualifier},
		Settings: trigger.DefaultSettings(), Enabled: in.Enabled == nil || *in.Enabled, Tags: in.Tags,
	}
	c := mappingChange{in.BatchSize, in.MaximumBatchingWindowInSeconds, in.FilterCriteria, in.FunctionResponseTypes, in.FunctionResponseTypes != nil, in.ScalingConfig}
	if err := c.check(); err != nil {
		return nil, err
	}
	c.apply(&m.Settings)
	made, err := d.o.Triggers.Create(ctx, m)
	if err != nil {
		return nil, d.failMapping(t, made, err)
	}
	return d.mapping(made), nil
}

// source reads the ARN of an event source.
func (d *Door) source(s *string) (event.Target, error) {
	q, ok := arn.ParseQueue(wire.Value(s))
	switch {
	case wire.Value(s) == "":
		return event.Target{}, invalid("EventSourceArn is required.")
	case !ok:
		return event.Target{}, invalid("Unrecognized event source: %.200s. This node reads SQS queues only.", *s)
	case q.Region != d.o.Region || q.Account != d.o.Account:
		return event.Target{}, invalid("The queue %.200s is not one of this node's: its queues are in %s of account %s.", *s, d.o.Region, d.o.Account)
	}
	return event.Target{Kind: event.Queue, Name: q.Name}, nil
}

// mappingChange is what a request says of a mapping's settings.
type mappingChange struct {
	batch     *int32
	window    *int32
	filters   *FilterCriteria
	responses []string
	respond   bool // responses were given
	scaling   *ScalingConfig
}

func (c mappingChange) check() error {
	for _, r := range c.responses {
		if r != FunctionResponseTypeReportBatchItemFailures {
			return invalid("Invalid FunctionResponseTypes: %.100s. The one there is: %s", r, FunctionResponseTypeReportBatchItemFailures)
		}
	}
	return nil
}

func (c mappingChange) apply(s *trigger.Settings) {
	if c.batch != nil {
		s.Batch = int(*c.batch)
	}
	if c.window != nil {
		s.Window = time.Duration(*c.window) * time.Second
	}
	if c.filters != nil {
		s.Filters = nil
		for _, f := range c.filters.Filters {
			s.Filters = append(s.Filters, wire.Value(f.Pattern))
		}
	}
	if c.respond {
		s.Partial = len(c.responses) > 0
	}
	if c.scaling != nil {
		s.Concurrency = int(wire.Value(c.scaling.MaximumConcurrency))
	}
}

// GetEventSourceMapping shows a mapping.
func (d *Door) GetEventSourceMapping(_ context.Context, in *GetEventSourceMappingInput) (*GetEventSourceMappingOutput, error) {
	m, err := d.o.Triggers.Get(wire.Value(in.UUID))
	if err != nil {
		return nil, d.failMapping(target{}, m, err)
	}
	return d.mapping(m), nil
}

// maxMappings is the longest page of mappings.
const maxMappings = 100

// ListEventSourceMappings lists mappings, of a source or a function.
func (d *Door) ListEventSourceMappings(_ context.Context, in *ListEventSourceMappingsInput) (*ListEventSourceMappingsOutput, error) {
	var t target
	var err error
	if in.FunctionName != nil {
		if t, err = d.target(in.FunctionName, nil); err != nil {
			return nil, err
		}
	}
	after := wire.Value(in.Marker)
	ms := d.o.Triggers.List(func(m *trigger.Mapping) bool {
		return m.ID > after &&
			(in.EventSourceArn == nil || d.sourceARN(m.Source) == *in.EventSourceArn) &&
			(t.name == "" || m.Function.Name == t.name && m.Function.Qualifier == t.qualifier)
	})
	n := maxMappings
	if in.MaxItems != nil {
		if *in.MaxItems < 1 || *in.MaxItems > 10_000 {
			return nil, invalid("MaxItems must be from 1 to 10000.")
		}
		n = min(n, int(*in.MaxItems))
	}
	out := &ListEventSourceMappingsOutput{EventSourceMappings: []EventSourceMappingConfiguration{}}
	if len(ms) > n {
		ms = ms[:n]
		out.NextMarker = new(ms[n-1].ID)
	}
	for _, m := range ms {
		out.EventSourceMappings = append(out.EventSourceMappings, *d.mapping(m))
	}
	return out, nil
}

// UpdateEventSourceMapping changes a mapping.
func (d *Door) UpdateEventSourceMapping(ctx context.Context, in *UpdateEventSourceMappingInput) (*UpdateEventSourceMappingOutput, error) {
	err := refuseElsewhere(
		elsewhere{"AmazonManagedKafkaEventSourceConfig", in.AmazonManagedKafkaEventSourceConfig != nil},
		elsewhere{"DocumentDBEventSourceConfig", in.DocumentDBEventSourceConfig != nil},
		elsewhere{"SelfManagedKafkaEventSourceConfig", in.SelfManagedKafkaEventSourceConfig != nil},
		elsewhere{"SourceAccessConfigurations", len(in.SourceAccessConfigurations) > 0},
		elsewhere{"BisectBatchOnFunctionError", wire.Value(in.BisectBatchOnFunctionError)},
		elsewhere{"DestinationConfig", in.DestinationConfig != nil},
		elsewhere{"MaximumRecordAgeInSeconds", in.MaximumRecordAgeInSeconds != nil},
		elsewhere{"MaximumRetryAttempts", in.MaximumRetryAttempts != nil},
		elsewhere{"ParallelizationFactor", in.ParallelizationFactor != nil},
		elsewhere{"TumblingWindowInSeconds", in.TumblingWindowInSeconds != nil},
		elsewhere{"ProvisionedPollerConfig", in.ProvisionedPollerConfig != nil},
		elsewhere{"KMSKeyArn", wire.Value(in.KMSKeyArn) != ""},
	)
	if err != nil {
		return nil, err
	}
	var t target
	if in.FunctionName != nil {
		if t, err = d.target(in.FunctionName, nil); err != nil {
			return nil, err
		}
	}
	c := mappingChange{in.BatchSize, in.MaximumBatchingWindowInSeconds, in.FilterCriteria, in.FunctionResponseTypes, in.FunctionResponseTypes != nil, in.ScalingConfig}
	if err := c.check(); err != nil {
		return nil, err
	}
	m, err := d.o.Triggers.Update(ctx, wire.Value(in.UUID), func(m *trigger.Mapping) {
		c.apply(&m.Settings)
		if t.name != "" {
			m.Function = event.Target{Kind: event.Function, Name: t.name, Qualifier: t.qualifier}
		}
		if in.Enabled != nil {
			m.Enabled = *in.Enabled
		}
	})
	if err != nil {
		return nil, d.failMapping(t, m, err)
	}
	return d.mapping(m), nil
}

// DeleteEventSourceMapping removes a mapping.
func (d *Door) DeleteEventSourceMapping(ctx context.Context, in *DeleteEventSourceMappingInput) (*DeleteEventSourceMappingOutput, error) {
	m, err := d.o.Triggers.Delete(ctx, wire.Value(in.UUID))
	if err != nil {
		return nil, d.failMapping(target{}, m, err)
	}
	return d.mapping(m), nil
}

func (d *Door) sourceARN(t event.Target) string {
	return arn.Queue{Region: d.o.Region, Account: d.o.Account, Name: t.Name}.String()
}

// mapping shows a mapping as Lambda does.
func (d *Door) mapping(m trigger.Mapping) *EventSourceMappingConfiguration {
	state := string(m.State)
	c := &EventSourceMappingConfiguration{
		UUID:                           new(m.ID),
		EventSourceArn:                 new(d.sourceARN(m.Source)),
		EventSourceMappingArn:          new("arn:" + arn.Partition + ":lambda:" + d.o.Region + ":" + d.o.Account + ":event-source-mapping:" + m.ID),
		FunctionArn:                    new(d.arn(m.Function.Name, m.Function.Qualifier)),
		BatchSize:                      new(int32(m.Batch)),
		MaximumBatchingWindowInSeconds: new(int32(m.Window / time.Second)),
		FunctionResponseTypes:          []string{},
		LastModified:                   new(m.Modified),
		LastProcessingResult:           wire.Some(m.Result),
		State:                          new(strings.ToUpper(state[:1]) + state[1:]),
		StateTransitionReason:          new(userAction),
	}
	if m.Partial {
		c.FunctionResponseTypes = []string{FunctionResponseTypeReportBatchItemFailures}
	}
	if m.Concurrency > 0 {
		c.ScalingConfig = &ScalingConfig{MaximumConcurrency: new(int32(m.Concurrency))}
	}
	if len(m.Filters) > 0 {
		c.FilterCriteria = &FilterCriteria{}
		for _, f := range m.Filters {
			c.FilterCriteria.Filters = append(c.FilterCriteria.Filters, Filter{Pattern: new(f)})
		}
	}
	return c
}

// failMapping words an error of the triggers. m is the mapping in the way, if one
// is.
func (d *Door) failMapping(t target, m trigger.Mapping, err error) error {
	var known *wire.Error
	if errors.As(err, &known) {
		return err
	}
	e := errs.Of(err)
	switch e.Reason {
	case trigger.ReasonNone:
		return wire.Errorf(CodeResourceNotFound, "The resource you requested does not exist.")
	case trigger.ReasonBusy:
		return wire.Errorf(CodeResourceInUse, "Cannot update the event source mapping because it is in use.")
	case trigger.ReasonExists:
		return wire.Errorf(CodeResourceConflict, "An event source mapping with SQS arn (\" %s \") and function (\" %s \") already exists. Please update or delete the existing mapping with UUID %s", d.sourceARN(m.Source), t.name, m.ID)
	case trigger.ReasonSource:
		return invalid("Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS Error Message: The specified queue does not exist.")
	case trigger.ReasonHidden:
		return invalid("Invalid request provided: %s", e.Message)
	case trigger.ReasonFilter:
		return invalid("Invalid filter pattern definition. %s", e.Message)
	}
	return d.fail(t, err)
}
