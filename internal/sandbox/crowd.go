package sandbox

import (
	"runtime"
	"time"
)

// When the machine's CPUs are all busy, one more running instance makes nothing
// faster: sandboxes that take turns on a CPU pay for each switch, and a start
// takes the CPU from those who would answer. So a call then waits a while for an
// instance that is about to be free. A function that waits for something else
// leaves the CPUs idle, and is not held back.
const (
	startHold = 500 * time.Millisecond // how long a call waits before an instance is started for it
	wakeHold  = 100 * time.Millisecond // and before one that is idle is woken for it
	briefCall = 100 * time.Millisecond // calls up to this are worth waiting for while others are idle
)

// crowd is a group's state of running calls, guarded by Pool.mu.
type crowd struct {
	lasting time.Duration // of a call, a moving average
}

// running returns how many instances of g have calls.
func (g *group) running() int { return g.live - len(g.idle) - g.starting }

// ran notes how long an instance was taken.
func (c *crowd) ran(d time.Duration) {
	if c.lasting == 0 {
		c.lasting = d
	}
	c.lasting += (d - c.lasting) / 8
}

// crowded reports whether one more running instance of g would only take the
// CPUs from those that there are.
func (p *Pool) crowded(g *group) bool {
	return p.cfg.Saturated != nil && g.version.Width() == 1 && g.running() > 0 && p.cfg.Saturated()
}

// wakeAfter returns how long a call of g is to wait for an instance that another
// call has, before an idle one is woken for it.
func (p *Pool) wakeAfter(g *group) time.Duration {
	if g.running() >= runtime.GOMAXPROCS(0) && g.lasting > 0 && g.lasting <= briefCall && p.crowded(g) {
		return wakeHold
	}
	return 0
}

// awaken gives a waiter an idle instance of its group, if there is one.
func (p *Pool) awaken(w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := p.rouse(w.g); i != nil {
		if !p.forget(w) {
			p.offer(i) // it has one by now
			return
		}
		p.take(i)
		w.got <- grant{i: i}
		return
	}
	p.schedule()
}

// rouse takes an idle instance of g that can run a call out of the idle ones; nil
// if there is none.
func (p *Pool) rouse(g *group) *Instance {
	for len(g.idle) > 0 {
		i := g.idle[len(g.idle)-1]
		g.idle = g.idle[:len(g.idle)-1]
		if i.usable() {
			return i
		}
		p.lost(i)
		p.discard(i)
	}
	return nil
}
