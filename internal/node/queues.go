package node

import (
	"context"

	"github.com/mayfly-dev/mayfly/internal/api/aws/payload"
	"github.com/mayfly-dev/mayfly/internal/api/aws/sqs"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/queue"
	"github.com/mayfly-dev/mayfly/internal/spine"
	"github.com/mayfly-dev/mayfly/internal/trigger"
)

// openQueues reads the queues and offers them to whoever sends events.
func (n *Node) openQueues(ctx context.Context) error {
	bucket, err := n.spine.Bucket(ctx, spine.QueuesBucket)
	if err != nil {
		return err
	}
	moves, err := n.spine.Bucket(ctx, spine.MovesBucket)
	if err != nil {
		return err
	}
	journal, err := n.spine.QueueChanges(ctx)
	if err != nil {
		return err
	}
	n.queues, err = queue.Open(ctx, queue.Options{Spine: n.spine, Bucket: bucket, Moves: moves, Journal: journal, Log: n.log})
	if err != nil {
		return err
	}
	n.senders[event.Queue] = n.queues.Sender()
	return nil
}

// openTriggers reads the triggers, which lead messages to functions.
func (n *Node) openTriggers(ctx context.Context) error {
	bucket, err := n.spine.Bucket(ctx, spine.MappingsBucket)
	if err != nil {
		return err
	}
	n.triggers, err = trigger.Open(ctx, trigger.Options{
		Bucket: bucket, Queues: n.queues, Functions: n.registry, Invoker: n.invoker,
		Format: payload.SQS{Region: n.cfg.Region, Account: n.cfg.Account}, MaxPayload: n.cfg.MaxSyncPayload, Log: n.log,
	})
	return err
}

// queueDoor makes the door of the queues.
func (n *Node) queueDoor() *wire.Service {
	return sqs.New(sqs.Options{Region: n.cfg.Region, Account: n.cfg.Account, Queues: n.queues, Lineage: payload.Lineage}).Service()
}
