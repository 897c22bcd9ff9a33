package gvisor

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"gvisor.dev/gvisor/pkg/log"
)

// logEmitter passes what gVisor's code in this process logs on to ours. gVisor
// reports errors by returning them; what it logs helps only who debugs it.
type logEmitter struct{ to *slog.Logger }

// Emit implements log.Emitter.
func (e logEmitter) Emit(_ int, _ log.Level, _ time.Time, format string, args ...any) {
	if e.to.Enabled(context.Background(), slog.LevelDebug) {
		e.to.Debug("gvisor: " + fmt.Sprintf(format, args...))
	}
}
