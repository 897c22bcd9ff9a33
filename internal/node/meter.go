package node

import (
	"context"

	"github.com/mayfly-dev/mayfly/internal/api/admin"
	"github.com/mayfly-dev/mayfly/internal/meter"
)

// openMeter makes the ledger and brings it up to its journal.
func (n *Node) openMeter(ctx context.Context) (err error) {
	n.list = admin.ListPrices(goarch)
	n.prices = n.list
	if n.cfg.Prices != "" {
		if n.prices, err = meter.ReadPrices(n.cfg.Prices); err != nil {
			return err
		}
	}
	journal, err := n.spine.Meter(ctx)
	if err != nil {
		return err
	}
	n.meter, err = meter.Open(ctx, meter.Config{
		Path: n.path("ledger.db"), Journal: journal, Log: n.log, Tags: n.tagsOf, Entered: n.entered,
	})
	return err
}

// tagsOf returns a function's tags for the ledger; none when it is gone.
func (n *Node) tagsOf(function string) map[string]string {
	if n.registry == nil { // records of an earlier life are entered before there are functions
		return nil
	}
	tags, err := n.registry.Tags(function)
	if err != nil {
		return nil
	}
	return tags
}
