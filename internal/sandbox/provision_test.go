package sandbox

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/function"
)

// births collects what guests were told of the instances they were made for.
type births struct {
	fakeGuest
	mu   sync.Mutex
	seen []Birth
}

func (b *births) Process(_ *function.Version, birth Birth, _ Paths) (Process, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen = append(b.seen, birth)
	return Process{}, nil
}

func (b *births) provisioned() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, birth := range b.seen {
		if birth.Provisioned {
			n++
		}
	}
	return n
}

// untilReady returns when so many provisioned instances of v are idle.
func untilReady(t *testing.T, p *Pool, v *function.Version, n int) {
	t.Helper()
	until(t, func() bool { return p.Ready(v).Available == n })
}

func until(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come to pass")
		}
	}
}

func TestProvisionedInstancesAreReadyAheadOfCalls(t *testing.T) {
	d, told := &fakeDriver{}, &births{}
	p := newTestPool(t, d, func(c *PoolConfig) {
		c.Plan = func(context.Context, *function.Version) (Plan, error) { return Plan{Guest: told}, nil }
	})
	v := version("f", 128)
	p.Provision(v, Scale{Ready: 2})
	untilReady(t, p, v, 2)
	var all []*Instance
	for range 3 {
		i := acquire(t, p, "f")
		defer p.Release(i)
		all = append(all, i)
	}
	if r := p.Ready(v); r.Allocated != 2 || r.Available != 0 {
		t.Errorf("while all run calls: %+v", r)
	}
	if d.created != 3 || told.provisioned() != 2 || all[2].provisioned {
		t.Errorf("%d instances were made and %d told that they are provisioned; want 3 and 2, and the third on demand", d.created, told.provisioned())
	}
}

func TestProvisionedInstancesAreTakenFirst(t *testing.T) {
	p := newTestPool(t, &fakeDriver{}, nil)
	v := version("f", 128)
	p.Provision(v, Scale{Ready: 1})
	untilReady(t, p, v, 1)
	a, b := acquire(t, p, "f"), acquire(t, p, "f")
	p.Release(a)
	p.Release(b) // used last, but on demand
	if got := acquire(t, p, "f"); got != a {
		t.Error("a call ran on demand although a provisioned instance was idle")
	} else {
		p.Release(got)
	}
}

func TestProvisionedInstanceThatEndsIsReplaced(t *testing.T) {
	d := &fakeDriver{}
	p := newTestPool(t, d, nil)
	v := version("f", 128)
	p.Provision(v, Scale{Ready: 1})
	untilReady(t, p, v, 1)
	idle := acquire(t, p, "f")
	p.Release(idle)
	idle.sb.(*fakeSandbox).end(Exit{Code: 1})
	until(t, func() bool { return p.Ready(v).Available == 1 && d.made() == 2 })

	broken := acquire(t, p, "f")
	broken.broken = true
	p.Release(broken)
	until(t, func() bool { return p.Ready(v).Available == 1 && d.made() == 3 })
}

func (d *fakeDriver) made() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.created
}

func TestProvisionedInstancesNeitherExpireNorMakeRoom(t *testing.T) {
	p := newTestPool(t, &fakeDriver{}, func(c *PoolConfig) {
		c.MemoryMB, c.KeepAlive, c.Linger, c.QueueLimit = 256, time.Millisecond, 0, 50*time.Millisecond
	})
	v := version("f", 128)
	p.Provision(v, Scale{Ready: 1})
	untilReady(t, p, v, 1)
	i := acquire(t, p, "f")
	other := acquire(t, p, "g") // takes the rest of the memory
	p.Release(i)
	_, err := p.Acquire(t.Context(), version("h", 128))
	if !errs.Is(err, errs.Throttled) {
		t.Errorf("a call of another function got %v, want throttled: the rest of the memory is busy or held", err)
	}
	p.mu.Lock()
	p.expire(i) // as its timer would
	p.mu.Unlock()
	if r := p.Ready(v); r.Available != 1 {
		t.Errorf("the provisioned instance has gone: %+v", r)
	}
	p.Release(other)

	p.Provision(v, Scale{})
	until(t, func() bool { return p.Ready(v) == Readiness{} && len(p.Instances()) == 0 })
}

func TestLeastInstancesAreStartedAndKept(t *testing.T) {
	p := newTestPool(t, &fakeDriver{}, func(c *PoolConfig) { c.KeepAlive, c.Linger = 0, 0 })
	v := version("f", 128)
	p.Provision(v, Scale{Min: 2})
	until(t, func() bool {
		n := 0
		for _, i := range p.Instances() {
			if i.State == "frozen" && !i.Provisioned {
				n++
			}
		}
		return n == 2
	})
	var all []*Instance
	for range 3 {
		all = append(all, acquire(t, p, "f"))
	}
	for _, i := range all {
		p.Release(i)
	}
	until(t, func() bool { return len(p.Instances()) == 2 }) // the third was one too many
	p.Provision(v, Scale{})
	until(t, func() bool { return len(p.Instances()) == 0 })
}

func TestMostInstancesBoundsAFunction(t *testing.T) {
	p := newTestPool(t, &fakeDriver{}, func(c *PoolConfig) { c.QueueLimit = 20 * time.Millisecond })
	most := 1
	p.Provision(version("f", 128), Scale{Max: &most})
	i := acquire(t, p, "f")
	defer p.Release(i)
	_, err := p.Acquire(t.Context(), version("f", 128))
	if !errs.Is(err, errs.Throttled) || !strings.Contains(err.Error(), "as many as its owner allows") {
		t.Errorf("a second call at once: %v, want throttled", err)
	}
}

func TestFunctionThatMayHaveNoInstanceThrottlesAtOnce(t *testing.T) {
	p := newTestPool(t, &fakeDriver{}, func(c *PoolConfig) { c.QueueLimit = time.Hour })
	none := 0
	p.Provision(version("f", 128), Scale{Max: &none})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := p.Acquire(ctx, version("f", 128))
	if !errs.Is(err, errs.Throttled) || !strings.Contains(err.Error(), "its owner allows none") {
		t.Errorf("%v, want throttled", err)
	}
}

func TestFewerInstancesThanThereAreEndsTheRest(t *testing.T) {
	p := newTestPool(t, &fakeDriver{}, func(c *PoolConfig) { c.QueueLimit = 20 * time.Millisecond })
	v := version("f", 128)
	rests, works := acquire(t, p, "f"), acquire(t, p, "f")
	p.Release(rests)
	none := 0
	p.Provision(v, Scale{Max: &none})
	until(t, func() bool { return len(p.Instances()) == 1 }) // the idle one ended
	p.Release(works)
	until(t, func() bool { return len(p.Instances()) == 0 }) // and the other after its call
	if _, err := p.Acquire(t.Context(), v); !errs.Is(err, errs.Throttled) {
		t.Errorf("a call of a function that may have no instance: %v", err)
	}
}

func TestProvisioningThatCanNotSucceedSaysWhy(t *testing.T) {
	p := newTestPool(t, &fakeDriver{}, func(c *PoolConfig) { c.MemoryMB = 256 })
	v := version("f", 128)
	p.Provision(v, Scale{Ready: 3})
	until(t, func() bool { r := p.Ready(v); return r.Allocated == 2 && strings.Contains(r.Trouble, "256 MB") })
	p.Provision(v, Scale{Ready: 2})
	until(t, func() bool { return p.Ready(v) == Readiness{Allocated: 2, Available: 2} })
}

func TestProvisioningTriesAgainAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		bad := errs.Newf(errs.Unavailable, "no room on the disk")
		tries := 0
		p := newTestPool(t, &fakeDriver{}, func(c *PoolConfig) {
			c.Plan = func(context.Context, *function.Version) (Plan, error) {
				mu.Lock()
				defer mu.Unlock()
				tries++
				return Plan{Guest: fakeGuest{}}, bad
			}
		})
		v := version("f", 128)
		p.Provision(v, Scale{Ready: 1})
		synctest.Wait()
		if r := p.Ready(v); r.Allocated != 0 || !strings.Contains(r.Trouble, "no room on the disk") {
			t.Errorf("after a failure: %+v", r)
		}
		time.Sleep(firstRest + 2*firstRest + time.Millisecond)
		synctest.Wait()
		mu.Lock()
		n := tries
		mu.Unlock()
		if n != 3 {
			t.Errorf("%d attempts after two pauses, want 3", n)
		}
		p.Provision(v, Scale{})
		time.Sleep(2 * longRest) // no attempt is left to come
	})
}

func TestRetiredVersionIsNoLongerProvisioned(t *testing.T) {
	p := newTestPool(t, &fakeDriver{}, nil)
	v := version("f", 128)
	p.Provision(v, Scale{Ready: 2})
	untilReady(t, p, v, 2)
	p.Retire(v.Fingerprint())
	until(t, func() bool { return len(p.Instances()) == 0 })
	if len(p.scaled) != 0 {
		t.Errorf("%d groups are still scaled", len(p.scaled))
	}
}
