package node

import (
	"context"

	"github.com/mayfly-dev/mayfly/internal/api/aws/payload"
	"github.com/mayfly-dev/mayfly/internal/api/aws/scheduler"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/delivery"
	"github.com/mayfly-dev/mayfly/internal/schedule"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

// openSchedules reads the schedules, and makes the clock by which they and the
// timers of the buses' rules fire.
func (n *Node) openSchedules(ctx context.Context) error {
	bucket, err := n.spine.Bucket(ctx, spine.SchedulesBucket)
	if err != nil {
		return err
	}
	n.schedules, err = schedule.Open(ctx, schedule.Options{Bucket: bucket, Format: payload.Events{Place: n.place()}, Log: n.log})
	if err != nil {
		return err
	}
	passed, err := n.spine.Bucket(ctx, spine.ClockBucket)
	if err != nil {
		return err
	}
	n.clock = delivery.NewClock(passed, n.courier, n.log, n.buses, n.schedules)
	n.buses.OnTimer(n.clock.Wake)
	n.schedules.OnTimer(n.clock.Wake)
	return nil
}

// scheduleDoor makes the door of the schedules.
func (n *Node) scheduleDoor() *wire.Service {
	return scheduler.New(scheduler.Options{Place: n.place(), Schedules: n.schedules}).Service()
}
