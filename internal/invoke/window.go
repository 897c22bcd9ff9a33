package invoke

import (
	"sync"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// How many queued calls of one function run at a time: it grows while instances
// come at once and shrinks when calls wait for them, so that a long queue takes
// what is free and no more.
const (
	firstWindow = 8
	maxWindow   = 1000
	shortWait   = 100 * time.Millisecond // for an instance: there is room for more
	longWait    = time.Second            // there is too little for so many
)

// windows holds the window of each function with queued calls. It is safe for
// concurrent use.
type windows struct {
	mu sync.Mutex
	of map[string]int // guarded by mu
}

// room returns the function's window.
func (w *windows) room(function string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := w.of[function]; n > 0 {
		return n
	}
	return firstWindow
}

// ran learns from how a call went.
func (w *windows) ran(function string, res Result, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.of[function]
	if n == 0 {
		n = firstWindow
	}
	switch wait := res.Record.Phases.Queue; {
	case errs.Is(err, errs.Throttled):
		n /= 2
	case err != nil:
	case wait < shortWait:
		n++
	case wait > longWait:
		n--
	}
	w.of[function] = min(max(n, 1), maxWindow)
}
