package invoke

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/mayfly-dev/mayfly/internal/logs"
	"github.com/mayfly-dev/mayfly/internal/meter"
)

// moments is how far before the last known record a lost one can have ended:
// records become durable in the order in which calls ended, or nearly so.
const moments = 30 * time.Second

// Reconcile gives the meter the records that a killed node had not made durable:
// the last line of each call's log carries its record, and outlives the node. It
// is called before any call runs, and returns how many there were.
func (n *Invoker) Reconcile(ctx context.Context) (lost int, err error) {
	recent, err := n.cfg.Meter.Recent(ctx, moments)
	if err != nil {
		return 0, err
	}
	list, err := n.cfg.Logs.List()
	if err != nil {
		return 0, err
	}
	for _, l := range list {
		for e, err := range n.cfg.Logs.Query(ctx, l.Name, logs.Filter{Since: recent.Since, Recorded: true}) {
			if err != nil {
				return lost, err
			}
			var rec meter.Record
			if err := json.Unmarshal([]byte(e.Record), &rec); err != nil {
				n.cfg.Log.Warn("a record in a log can't be read", "function", l.Name, "err", err)
				continue
			}
			if recent.Has(&rec) {
				continue
			}
			if err := n.cfg.Meter.Add(rec); err != nil {
				return lost, fmt.Errorf("add a record from the log of %s: %w", l.Name, err)
			}
			lost++
		}
	}
	if lost == 0 {
		return 0, nil
	}
	n.cfg.Log.Info("records of the node's last moments were in the logs only; the meter has them now", "records", lost)
	return lost, n.cfg.Meter.Flush(ctx)
}
