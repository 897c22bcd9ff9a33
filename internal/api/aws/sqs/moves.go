package sqs

import (
	"context"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/queue"
)

// maxTasks is the most move tasks that a list gives.
const maxTasks = 10

// source reads the ARN of a queue that must exist.
func (d *Door) source(arn *string, parameter string) (string, error) {
	if wire.Value(arn) == "" {
		return "", missing(parameter)
	}
	name, ok := d.queueOf(*arn)
	if ok {
		_, err := d.o.Queues.Get(name)
		ok = err == nil
	}
	if !ok {
		return "", wire.Errorf(CodeResourceNotFound, "The resource that you specified for the %s parameter doesn't exist.", parameter)
	}
	return name, nil
}

// StartMessageMoveTask begins to move the messages of a dead-letter queue.
func (d *Door) StartMessageMoveTask(ctx context.Context, in *StartMessageMoveTaskInput) (*StartMessageMoveTaskOutput, error) {
	from, err := d.source(in.SourceArn, "SourceArn")
	if err != nil {
		return nil, err
	}
	to := ""
	if wire.Value(in.DestinationArn) != "" {
		if to, err = d.source(in.DestinationArn, "DestinationArn"); err != nil {
			return nil, err
		}
	}
	rate := int(wire.Value(in.MaxNumberOfMessagesPerSecond))
	if in.MaxNumberOfMessagesPerSecond != nil && (rate < 1 || rate > queue.MaxMoveRate) {
		return nil, outOf(rate, "MaxNumberOfMessagesPerSecond", 1, queue.MaxMoveRate)
	}
	m, err := d.o.Queues.StartMove(ctx, from, to, rate)
	if err != nil {
		return nil, fail(err)
	}
	return &StartMessageMoveTaskOutput{TaskHandle: &m.ID}, nil
}

// CancelMessageMoveTask ends a move; what was moved stays moved.
func (d *Door) CancelMessageMoveTask(ctx context.Context, in *CancelMessageMoveTaskInput) (*CancelMessageMoveTaskOutput, error) {
	if wire.Value(in.TaskHandle) == "" {
		return nil, missing("TaskHandle")
	}
	m, err := d.o.Queues.CancelMove(ctx, *in.TaskHandle)
	if err != nil {
		return nil, fail(err)
	}
	return &CancelMessageMoveTaskOutput{ApproximateNumberOfMessagesMoved: new(int64(m.Moved))}, nil
}

// ListMessageMoveTasks lists the moves out of a queue, the newest first.
func (d *Door) ListMessageMoveTasks(_ context.Context, in *ListMessageMoveTasksInput) (*ListMessageMoveTasksOutput, error) {
	from, err := d.source(in.SourceArn, "SourceArn")
	if err != nil {
		return nil, err
	}
	most := 1
	if in.MaxResults != nil {
		if most = int(*in.MaxResults); most < 1 || most > maxTasks {
			return nil, outOf(most, "MaxResults", 1, maxTasks)
		}
	}
	ms, err := d.o.Queues.Moves(from)
	if err != nil {
		return nil, fail(err)
	}
	out := &ListMessageMoveTasksOutput{}
	for _, m := range ms[:min(len(ms), most)] {
		e := ListMessageMoveTasksResultEntry{
			SourceArn: new(d.arn(m.From)), Status: new(strings.ToUpper(string(m.State))), StartedTimestamp: new(m.Started.UnixMilli()),
			ApproximateNumberOfMessagesMoved: new(int64(m.Moved)), ApproximateNumberOfMessagesToMove: new(int64(m.Total)),
		}
		if m.To != "" {
			e.DestinationArn = new(d.arn(m.To))
		}
		if m.Rate > 0 {
			e.MaxNumberOfMessagesPerSecond = new(int32(m.Rate))
		}
		switch m.State {
		case queue.MoveRunning:
			e.TaskHandle = new(m.ID)
		case queue.MoveFailed:
			e.FailureReason = new(m.Reason)
		}
		out.Results = append(out.Results, e)
	}
	return out, nil
}
