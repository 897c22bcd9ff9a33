package node

import (
	"context"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/admin"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
	"github.com/mayfly-dev/mayfly/internal/snapshot"
)

// trimAfter is how long an instance is frozen before it gives back memory that
// its next call would miss: by then that is likely to be long from now.
const trimAfter = 5 * time.Second

// openSnapshots opens the store of snapshots, if the driver makes any.
func (n *Node) openSnapshots(context.Context) (err error) {
	if _, ok := n.driver.(sandbox.Snapshotter); !ok || n.cfg.SnapshotMB == 0 {
		return nil
	}
	n.shots, err = snapshot.Open(snapshot.Config{Dir: n.path("snapshots"), MaxBytes: int64(n.cfg.SnapshotMB) << 20, Log: n.log})
	return err
}

// expectStarts has a sandbox ready for the first cold start after the node's own.
func (n *Node) expectStarts(ctx context.Context) error {
	if n.shots == nil {
		return nil
	}
	if have, _ := n.shots.Usage(); have == 0 {
		return nil
	}
	const look = 100
	versions, _ := n.registry.List("", look)
	for _, v := range versions {
		if err := n.pool.Expect(ctx, v); err != nil {
			n.log.Warn("no sandbox is kept ready", "function", v.Function, "err", err)
		}
	}
	return nil
}

// wantSnapshot has a version saved whose owner asked for that: it need not wait
// for its first call.
func (n *Node) wantSnapshot(v *function.Version) {
	if v.Snapshot == function.SnapshotPublished {
		n.pool.WantSnapshot(v)
	}
}

// describeSnapshots tells of them; nil where none are made.
func (n *Node) describeSnapshots() *admin.Snapshots {
	if n.shots == nil {
		return nil
	}
	c := n.pool.Snapshots()
	s := &admin.Snapshots{Spares: c.Spares, Taken: c.Taken, Restored: c.Restored, Failed: c.Failed, Refused: c.Refused}
	s.Kept, s.Bytes = n.shots.Usage()
	return s
}
