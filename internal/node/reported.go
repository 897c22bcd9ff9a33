package node

import (
	"context"

	"github.com/mayfly-dev/mayfly/internal/logs"
)

// readReported reads the metrics that functions print to their logs.
func (n *Node) readReported(ctx context.Context) error {
	return n.reported.Run(ctx, func(function, text string) {
		if err := n.logs.Append(function, logs.Entry{Stream: logs.Platform, Text: text}); err != nil {
			n.log.Warn("a note is not in the log", "function", function, "note", text, "err", err)
		}
	})
}
