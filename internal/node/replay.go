package node

import (
	"context"

	"github.com/mayfly-dev/mayfly/internal/replay"
)

// openReplay opens the events and answers that were kept.
func (n *Node) openReplay(context.Context) (err error) {
	n.replay, err = replay.Open(replay.Config{Path: n.path("recordings.db"), Log: n.log})
	return err
}
