package sandbox

import (
	"runtime"
	"time"
)

// A start takes some tenth of a second of a CPU. A call is not worth one while it
// may be served sooner by an instance that runs. And when the machine's CPUs are
// all busy, one more running instance makes nothing faster: sandboxes that take
// turns on a CPU pay for each switch, and a start takes the CPU from those who
// would answer. So a call then waits longer for an instance that is about to be
// free. A function that waits for something else leaves the CPUs idle, and is not
// held back.
const (
	startCost = 100 * time.Millisecond
	startHold = 500 * time.Millisecond // how long a call waits before an instance is started for it while the CPUs are full
	wakeHold  = 100 * time.Millisecond // and before one that is idle is woken for it
	queueHold = 10                     // of its own lengths a call waits before a start when the CPUs have time
)

// crowd is a group's state of running calls, guarded by Pool.mu.
type crowd struct {
	shortest time.Duration // of its calls, while the CPUs were not full; 0 when none has ended
	added    time.Time     // when a call last had waited enough for more to run though the CPUs were full
}

// running returns how many instances of g have calls.
func (g *group) running() int { return g.live - len(g.idle) - g.starting }

// ran notes how long an instance was taken. What full CPUs add to a call must not
// make it look like one that isn't worth waiting for.
func (c *crowd) ran(d time.Duration, full bool) {
	switch {
	case c.shortest == 0 || d < c.shortest:
		c.shortest = d
	case !full:
		c.shortest += (d - c.shortest) / 64
	}
}

// full reports whether all CPUs are busy.
func (p *Pool) full() bool { return p.cfg.Saturated != nil && p.cfg.Saturated() }

// crowded reports whether calls have all CPUs: an idle instance that is woken then
// makes nothing faster.
func (p *Pool) crowded() bool { return p.busyNow >= runtime.GOMAXPROCS(0) && p.full() }

// worthwhile reports whether a call of g may wait for one of running instances, if
// it waits for hold at most.
func (g *group) worthwhile(running int, hold time.Duration) bool {
	return running > 0 && g.shortest > 0 && g.shortest <= hold && g.version.Width() <= 1
}

// left returns what is left of hold for w. With full CPUs, one more at a time runs:
// that many wait says that the machine is slow.
func (g *group) left(w *waiter, hold time.Duration, full bool, now time.Time) time.Duration {
	since := w.since
	if full && g.added.After(since) {
		since = g.added
	}
	return max(0, hold-now.Sub(since))
}

// rest returns how long w is to wait yet for an instance that another call has,
// before an idle one is woken or a new one started for it. place is its own among
// those of its group that wait, from 1.
func (p *Pool) rest(w *waiter, place int, now time.Time) time.Duration {
	g := w.g
	running := g.running()
	if running == 0 {
		return 0
	}
	var hold time.Duration
	full := p.full()
	switch {
	case len(g.idle) > 0 && p.crowded():
		hold = wakeHold
	case len(g.idle) > 0:
	case full:
		hold = startHold
	case g.shortest*time.Duration(place)/time.Duration(running) <= startCost:
		hold = min(queueHold*g.shortest, startCost)
	}
	if !g.worthwhile(running, hold) {
		return 0
	}
	return g.left(w, hold, full, now)
}

// grow notes that one more instance of g is about to run.
func (p *Pool) grow(g *group, now time.Time) {
	if p.full() {
		g.added = now
	}
}

// rests reports whether i, which a call has left, had better be idle than run the
// call of w: enough others run. Now and then it isn't: a call may not wait for ever.
func (p *Pool) rests(i *Instance, w *waiter) bool {
	g := i.group
	if !p.crowded() || !g.worthwhile(g.running()-1, wakeHold) {
		return false
	}
	now := time.Now()
	if g.left(w, wakeHold, true, now) > 0 {
		return true
	}
	g.added = now
	return false
}

// recheck schedules again after a while; 0 means that nobody waits for that.
func (p *Pool) recheck(after time.Duration) {
	switch {
	case after == 0 || p.shut:
		if p.again != nil {
			p.again.Stop()
		}
	case p.again == nil:
		p.again = time.AfterFunc(after, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.schedule()
		})
	default:
		p.again.Reset(after)
	}
}

// wake gives w an idle instance of its group.
func (p *Pool) wake(w *waiter) {
	if i := p.rouse(w.g); i != nil {
		p.forget(w)
		p.take(i)
		w.got <- grant{i: i}
	}
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
