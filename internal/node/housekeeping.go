package node

import (
	"context"
	"time"

	"github.com/mayfly-dev/mayfly/internal/image"
)

// collectEvery is how often images that no function needs are removed.
const collectEvery = time.Hour

// collectImages removes what no function needs, now and then, until ctx ends.
func (n *Node) collectImages(ctx context.Context) error {
	tick := time.NewTicker(collectEvery)
	defer tick.Stop()
	for {
		if err := n.images.Collect(ctx, n.neededImages()...); err != nil && ctx.Err() == nil {
			n.log.Warn("images that no function needs could not be removed", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// neededImages returns the images of all versions of all functions.
func (n *Node) neededImages() (keep []*image.Tree) {
	for v := range n.registry.Each() {
		keep = append(keep, n.images.Code(v.Code))
		if rt, err := n.catalog.Resolve(v.Runtime); err == nil { // else its interpreter is gone
			keep = append(keep, n.planner.root(rt))
		}
	}
	return keep
}
