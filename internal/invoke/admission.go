package invoke

import (
	"sync"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Reasons of Throttled errors, in the field's words.
const (
	ReasonReserved    = "ReservedFunctionConcurrentInvocationLimitExceeded" // the function has reached what is reserved for it
	ReasonConcurrency = "ConcurrentInvocationLimitExceeded"                 // all that is not reserved is in use
)

// admission counts the calls that run. A function may have places of its own;
// all other calls share what is left.
type admission struct {
	mu     sync.Mutex
	own    map[string]int // guarded by mu: calls in their function's own places
	shared int            // guarded by mu: all others
}

// enter takes a place for a call of a function whose shares are given (see
// function.Registry.Shares), or fails with errs.Throttled. Each place is given
// back with leave.
func (a *admission) enter(name string, own int, only bool, rest int) (inOwn bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if own > 0 && a.own[name] < own {
		if a.own == nil {
			a.own = map[string]int{}
		}
		a.own[name]++
		return true, nil
	}
	switch {
	case only:
		return false, throttled(ReasonReserved)
	case a.shared >= rest:
		return false, throttled(ReasonConcurrency)
	}
	a.shared++
	return false, nil
}

// leave gives a place back.
func (a *admission) leave(name string, inOwn bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !inOwn {
		a.shared--
		return
	}
	if a.own[name]--; a.own[name] == 0 {
		delete(a.own, name)
	}
}

func throttled(reason string) error {
	return errs.Newf(errs.Throttled, "Rate Exceeded.").WithReason(reason).WithRetryAfter(time.Second)
}
