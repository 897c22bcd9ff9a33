package invoke

import (
	"context"

	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

// Capacity keeps the pool at what the owners of functions want ready ahead of
// calls. Run must be running.
type Capacity struct {
	functions *function.Registry
	pool      *sandbox.Pool
	wake      chan struct{}
}

// NewCapacity returns a Capacity. Changed is to be called after each change of
// the registry.
func NewCapacity(functions *function.Registry, pool *sandbox.Pool) *Capacity {
	return &Capacity{functions: functions, pool: pool, wake: make(chan struct{}, 1)}
}

// Changed says that the registry may want something else. It does not block.
func (c *Capacity) Changed() {
	select {
	case c.wake <- struct{}{}:
	default: // told already
	}
}

// Run tells the pool what is wanted, at once and after each change, until ctx
// ends. It is called once.
func (c *Capacity) Run(ctx context.Context) error {
	had := map[string]function.Demand{}
	for {
		want := c.functions.Demands()
		for fingerprint, d := range had {
			if _, still := want[fingerprint]; !still {
				c.pool.Provision(d.Version, sandbox.Scale{})
			}
		}
		for _, d := range want {
			c.pool.Provision(d.Version, scale(d))
		}
		had = want
		select {
		case <-c.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

func scale(d function.Demand) sandbox.Scale {
	s := sandbox.Scale{Ready: d.Ready, Max: d.Max}
	if d.Min != nil {
		s.Min = *d.Min
	}
	return s
}

// Ready says how far the provisioning of a version has come.
func (c *Capacity) Ready(v *function.Version) sandbox.Readiness { return c.pool.Ready(v) }
