package node

import (
	"context"

	"github.com/mayfly-dev/mayfly/internal/api/aws/events"
	"github.com/mayfly-dev/mayfly/internal/api/aws/payload"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/bus"
	"github.com/mayfly-dev/mayfly/internal/delivery"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

// openBuses reads the event buses and offers them to whoever sends events.
func (n *Node) openBuses(ctx context.Context) error {
	parcels, err := n.spine.Parcels(ctx)
	if err != nil {
		return err
	}
	words := payload.Events{Place: n.place()}
	n.courier = delivery.NewCourier(parcels, n.senders, words, n.log)
	bucket, err := n.spine.Bucket(ctx, spine.BusesBucket)
	if err != nil {
		return err
	}
	n.buses, err = bus.Open(ctx, bus.Options{Bucket: bucket, Courier: n.courier, Format: words, Log: n.log})
	if err != nil {
		return err
	}
	n.senders[event.Bus] = n.buses
	return nil
}

// busDoor makes the door of the event buses.
func (n *Node) busDoor() *wire.Service {
	return events.New(events.Options{Place: n.place(), Buses: n.buses}).Service()
}
