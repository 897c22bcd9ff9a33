package invoke

import (
	"context"
	"time"

	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

// accountEvery is how often provisioned instances are accounted for: a node that
// is killed loses no more.
const accountEvery = time.Minute

// Keeper accounts for instances that are kept ready: memoryMB for a version of a
// function, from start on for the time that it took.
type Keeper interface {
	Keep(function, version, alias string, memoryMB int, start time.Time, took time.Duration)
}

// Instances is the pool, as Capacity uses it.
type Instances interface {
	Provision(v *function.Version, s sandbox.Scale)
	Ready(v *function.Version) sandbox.Readiness
}

// Capacity keeps the pool at what the owners of functions want ready ahead of
// calls, and accounts for it. Run must be running.
type Capacity struct {
	functions *function.Registry
	pool      Instances
	keeper    Keeper
	wake      chan struct{}

	had  map[string]function.Demand // Run's: what the pool was told, by fingerprint
	last time.Time                  // Run's: until when it was accounted for
}

// NewCapacity returns a Capacity. Changed is to be called after each change of
// the registry.
func NewCapacity(functions *function.Registry, pool Instances, keeper Keeper) *Capacity {
	return &Capacity{functions: functions, pool: pool, keeper: keeper, wake: make(chan struct{}, 1)}
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
	tick := time.NewTicker(accountEvery)
	defer tick.Stop()
	c.last = time.Now()
	for {
		c.apply()
		select {
		case <-c.wake:
		case <-tick.C:
		case <-ctx.Done():
			c.account()
			return nil
		}
		c.account()
	}
}

// apply tells the pool what is wanted now.
func (c *Capacity) apply() {
	want := c.functions.Demands()
	for fingerprint, d := range c.had {
		if _, still := want[fingerprint]; !still {
			c.pool.Provision(d.Version, sandbox.Scale{})
		}
	}
	for _, d := range want {
		c.pool.Provision(d.Version, scale(d))
	}
	c.had = want
}

// account counts the provisioned instances that are ready for the time since the
// last account.
func (c *Capacity) account() {
	now := time.Now()
	for _, d := range c.had {
		if d.Ready == 0 {
			continue
		}
		v := d.Version
		for range min(d.Ready, c.pool.Ready(v).Allocated) {
			c.keeper.Keep(v.Function, v.Version, "", v.MemoryMB, c.last, now.Sub(c.last))
		}
	}
	c.last = now
}

func scale(d function.Demand) sandbox.Scale {
	s := sandbox.Scale{Ready: d.Ready, Max: d.Max}
	if d.Min != nil {
		s.Min = *d.Min
	}
	return s
}
