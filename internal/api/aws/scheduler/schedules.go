package scheduler

import (
	"context"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/schedule"
)

// Bounds of a target's retry policy, and of a flexible window in minutes.
const (
	maxRetries = 185
	minAge     = 60
	maxAge     = 86400
	maxWindow  = 1440
)

// CreateSchedule makes a schedule.
func (d *Door) CreateSchedule(ctx context.Context, in *CreateScheduleInput) (*CreateScheduleOutput, error) {
	t, err := d.read(in)
	if err != nil {
		return nil, err
	}
	made, err := d.o.Schedules.Create(ctx, t)
	if err != nil {
		return nil, failWrite(&t, err)
	}
	return &CreateScheduleOutput{ScheduleArn: new(d.words.Schedule(made.Group, made.Name))}, nil
}

// UpdateSchedule replaces a schedule: what the request doesn't name goes back to
// its default.
func (d *Door) UpdateSchedule(ctx context.Context, in *UpdateScheduleInput) (*UpdateScheduleOutput, error) {
	create := CreateScheduleInput(*in)
	t, err := d.read(&create)
	if err != nil {
		return nil, err
	}
	made, err := d.o.Schedules.Update(ctx, t)
	if err != nil {
		return nil, failWrite(&t, err)
	}
	return &UpdateScheduleOutput{ScheduleArn: new(d.words.Schedule(made.Group, made.Name))}, nil
}

// failWrite is fail for a schedule that could not be stored.
func failWrite(t *schedule.Schedule, err error) error {
	switch errs.Of(err).Reason {
	case schedule.ReasonExpression:
		return invalid("Invalid Schedule Expression %s.", t.Expression)
	case schedule.ReasonZone:
		return invalid("The ScheduleExpressionTimezone %s is not valid.", t.Zone)
	}
	return fail(err)
}

// read checks what only the API has rules for.
func (d *Door) read(in *CreateScheduleInput) (t schedule.Schedule, err error) {
	t = schedule.Schedule{
		Group: group(in.GroupName), Name: wire.Value(in.Name), Description: wire.Value(in.Description), Expression: wire.Value(in.ScheduleExpression),
		Zone: wire.Value(in.ScheduleExpressionTimezone), Start: wire.Value(in.StartDate), End: wire.Value(in.EndDate),
		Disabled: in.State == ScheduleStateDisabled, Delete: in.ActionAfterCompletion == ActionAfterCompletionDelete,
	}
	switch {
	case in.State != "" && in.State != ScheduleStateEnabled && !t.Disabled:
		return t, invalid("State must be ENABLED or DISABLED, not %s.", in.State)
	case in.ActionAfterCompletion != "" && in.ActionAfterCompletion != ActionAfterCompletionNone && !t.Delete:
		return t, invalid("ActionAfterCompletion must be NONE or DELETE, not %s.", in.ActionAfterCompletion)
	case in.KmsKeyArn != nil:
		return t, invalid("KmsKeyArn is not supported: schedules are kept with the node's own data.")
	case in.FlexibleTimeWindow == nil:
		return t, invalid("1 validation error detected: Value null at 'flexibleTimeWindow' failed to satisfy constraint: Member must not be null")
	case in.Target == nil:
		return t, invalid("1 validation error detected: Value null at 'target' failed to satisfy constraint: Member must not be null")
	}
	if t.Window, err = window(in.FlexibleTimeWindow); err != nil {
		return t, err
	}
	t.Target, err = d.readTarget(in.Target)
	return t, err
}

func window(in *FlexibleTimeWindow) (time.Duration, error) {
	switch n := in.MaximumWindowInMinutes; {
	case in.Mode == FlexibleTimeWindowModeOff && n == nil:
		return 0, nil
	case in.Mode == FlexibleTimeWindowModeOff:
		return 0, invalid("MaximumWindowInMinutes must not be set when the mode of FlexibleTimeWindow is OFF.")
	case in.Mode != FlexibleTimeWindowModeFlexible:
		return 0, invalid("The mode of FlexibleTimeWindow must be OFF or FLEXIBLE, not %s.", in.Mode)
	case n == nil || *n < 1 || *n > maxWindow:
		return 0, invalid("MaximumWindowInMinutes must be from 1 to %d.", maxWindow)
	default:
		return time.Duration(*n) * time.Minute, nil
	}
}

func (d *Door) readTarget(in *Target) (t schedule.Target, err error) {
	if in.EcsParameters != nil || in.KinesisParameters != nil || in.SageMakerPipelineParameters != nil {
		return t, invalid("This target is not supported: targets are functions, queues and event buses.")
	}
	t = schedule.Target{Input: wire.Value(in.Input), Role: wire.Value(in.RoleArn)}
	if t.To, err = d.o.Place.Parse(wire.Value(in.Arn)); err != nil {
		return t, invalid("Provided Arn is not in correct format: %s", err)
	}
	switch p := in.EventBridgeParameters; {
	case t.To.Kind == event.Bucket:
		return t, invalid("This target is not supported: targets are functions, queues and event buses.")
	case t.To.Kind == event.Bus && (p == nil || wire.Value(p.Source) == "" || wire.Value(p.DetailType) == ""):
		return t, invalid("EventBridgeParameters with DetailType and Source are required for an event bus.")
	case t.To.Kind == event.Bus && t.Input == "":
		return t, invalid("Input is required for an event bus: it is the event's detail.")
	case p != nil:
		t.Source, t.DetailType = wire.Value(p.Source), wire.Value(p.DetailType)
	}
	if in.SqsParameters != nil {
		t.Group = wire.Value(in.SqsParameters.MessageGroupId)
	}
	if p := in.RetryPolicy; p != nil {
		if n := p.MaximumRetryAttempts; n != nil {
			if *n < 0 || *n > maxRetries {
				return t, invalid("MaximumRetryAttempts must be from 0 to %d.", maxRetries)
			}
			t.Retries = new(int(*n))
		}
		if n := p.MaximumEventAgeInSeconds; n != nil {
			if *n < minAge || *n > maxAge {
				return t, invalid("MaximumEventAgeInSeconds must be from %d to %d.", minAge, maxAge)
			}
			t.MaxAge = time.Duration(*n) * time.Second
		}
	}
	if dead := in.DeadLetterConfig; dead != nil && wire.Value(dead.Arn) != "" {
		if t.DeadLetter, err = d.o.Place.Parse(*dead.Arn); err != nil || t.DeadLetter.Kind != event.Queue {
			return t, invalid("The DeadLetterConfig is not valid: name a queue of this node.")
		}
	}
	return t, nil
}

// GetSchedule shows a schedule.
func (d *Door) GetSchedule(_ context.Context, in *GetScheduleInput) (*GetScheduleOutput, error) {
	t, err := d.o.Schedules.Get(group(in.GroupName), wire.Value(in.Name))
	if err != nil {
		return nil, fail(err)
	}
	out := &GetScheduleOutput{
		Arn: new(d.words.Schedule(t.Group, t.Name)), GroupName: new(t.Group), Name: new(t.Name), Description: wire.Some(t.Description),
		ScheduleExpression: new(t.Expression), ScheduleExpressionTimezone: wire.Some(t.Zone), StartDate: wire.Some(t.Start), EndDate: wire.Some(t.End),
		State: state(t), CreationDate: new(t.Created), LastModificationDate: new(t.Modified),
		ActionAfterCompletion: ActionAfterCompletionNone, FlexibleTimeWindow: &FlexibleTimeWindow{Mode: FlexibleTimeWindowModeOff},
		Target: d.showTarget(t.Target),
	}
	if t.Zone == "" {
		out.ScheduleExpressionTimezone = new("UTC")
	}
	if t.Delete {
		out.ActionAfterCompletion = ActionAfterCompletionDelete
	}
	if t.Window > 0 {
		out.FlexibleTimeWindow = &FlexibleTimeWindow{Mode: FlexibleTimeWindowModeFlexible, MaximumWindowInMinutes: new(int32(t.Window / time.Minute))}
	}
	return out, nil
}

func (d *Door) showTarget(t schedule.Target) *Target {
	out := &Target{
		Arn: new(d.o.Place.Target(t.To)), RoleArn: wire.Some(t.Role), Input: wire.Some(t.Input),
		RetryPolicy: &RetryPolicy{MaximumEventAgeInSeconds: new(int32(maxAge)), MaximumRetryAttempts: new(int32(maxRetries))},
	}
	if t.MaxAge != 0 {
		out.RetryPolicy.MaximumEventAgeInSeconds = new(int32(t.MaxAge / time.Second))
	}
	if t.Retries != nil {
		out.RetryPolicy.MaximumRetryAttempts = new(int32(*t.Retries))
	}
	if t.DeadLetter.Kind != "" {
		out.DeadLetterConfig = &DeadLetterConfig{Arn: new(d.o.Place.Target(t.DeadLetter))}
	}
	if t.Group != "" {
		out.SqsParameters = &SqsParameters{MessageGroupId: new(t.Group)}
	}
	if t.Source != "" {
		out.EventBridgeParameters = &EventBridgeParameters{Source: new(t.Source), DetailType: new(t.DetailType)}
	}
	return out
}

func state(t *schedule.Schedule) string {
	if t.Disabled {
		return ScheduleStateDisabled
	}
	return ScheduleStateEnabled
}

// ListSchedules lists schedules by group and name.
func (d *Door) ListSchedules(_ context.Context, in *ListSchedulesInput) (*ListSchedulesOutput, error) {
	if g := wire.Value(in.GroupName); g != "" {
		if _, err := d.o.Schedules.Group(g); err != nil {
			return nil, fail(err)
		}
	}
	var all []*schedule.Schedule
	for _, t := range d.o.Schedules.List(wire.Value(in.GroupName), wire.Value(in.NamePrefix)) {
		if in.State == "" || in.State == state(t) {
			all = append(all, t)
		}
	}
	list, next, err := page(all, func(t *schedule.Schedule) string { return t.Group + "/" + t.Name }, in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &ListSchedulesOutput{Schedules: []ScheduleSummary{}, NextToken: next}
	for _, t := range list {
		out.Schedules = append(out.Schedules, ScheduleSummary{
			Arn: new(d.words.Schedule(t.Group, t.Name)), GroupName: new(t.Group), Name: new(t.Name), State: state(t),
			CreationDate: new(t.Created), LastModificationDate: new(t.Modified), Target: &TargetSummary{Arn: new(d.o.Place.Target(t.Target.To))},
		})
	}
	return out, nil
}

// DeleteSchedule removes a schedule.
func (d *Door) DeleteSchedule(ctx context.Context, in *DeleteScheduleInput) (*DeleteScheduleOutput, error) {
	return &DeleteScheduleOutput{}, fail(d.o.Schedules.Delete(ctx, group(in.GroupName), wire.Value(in.Name)))
}
