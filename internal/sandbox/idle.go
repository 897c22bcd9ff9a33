package sandbox

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// powerLimit bounds one pause: a sandbox that doesn't answer in this time is
// of no use any more.
const powerLimit = 10 * time.Second

// arm has fire run do after d. The caller holds mu.
func (p *Pool) arm(i *Instance, d time.Duration, do func(*Instance)) {
	i.disarm()
	armed := i.armed
	i.timer = time.AfterFunc(d, func() { p.fire(i, armed, do) })
}

// disarm makes the timer of an instance obsolete, also one that has run out and
// waits for mu. The caller holds mu.
func (i *Instance) disarm() {
	if i.timer != nil {
		i.timer.Stop()
	}
	i.armed++
}

// fire runs do, with mu held, if the timer that was armed as given still counts:
// the instance was neither taken nor armed anew since.
func (p *Pool) fire(i *Instance, armed uint64, do func(*Instance)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i.armed == armed {
		do(i)
	}
}

// freeze stops an idle instance's CPU use and sets the time of its end. The caller
// holds mu; others get it while the sandbox is told.
func (p *Pool) freeze(i *Instance) {
	armed := i.armed
	p.mu.Unlock()
	err := p.pause(i, armed)
	p.mu.Lock()
	if i.armed != armed { // it was taken meanwhile
		return
	}
	if err != nil {
		if !i.alive() {
			p.lost(i)
		} else if !p.shut {
			p.cfg.Log.Error("an idle instance could not be frozen; it is closed", "instance", i.ID, "err", err)
		}
		p.remove(i)
		return
	}
	left := max(0, p.cfg.KeepAlive-time.Since(i.since))
	if p.cfg.TrimAfter >= left {
		p.arm(i, left, p.expire)
		return
	}
	p.arm(i, p.cfg.TrimAfter, func(i *Instance) {
		p.trim(i)
		p.arm(i, max(0, p.cfg.KeepAlive-time.Since(i.since)), p.expire)
	})
}

// pause freezes an instance unless it was taken since it was armed as given.
func (p *Pool) pause(i *Instance, armed uint64) error {
	ctx, cancel := context.WithTimeout(p.ctx, powerLimit)
	defer cancel()
	return i.freeze(ctx, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return i.armed == armed
	})
}

// trim has an idle instance give back memory, once until its next call, and
// reports whether it was told to now. The caller holds mu.
func (p *Pool) trim(i *Instance) bool {
	t, ok := i.sb.(Trimmer)
	if !ok || i.trimmed {
		return false
	}
	i.trimmed = true
	if err := t.Trim(); err != nil {
		p.cfg.Log.Debug("an idle instance could not be told to give memory back", "instance", i.ID, "err", err)
		return false
	}
	p.relief.trimmed.Add(1)
	return true
}

// thaw makes an instance run again that may be frozen. It takes its own time,
// not its caller's: a caller that leaves must not leave a half-thawed instance.
func (p *Pool) thaw(i *Instance) error {
	ctx, cancel := context.WithTimeout(p.ctx, powerLimit)
	defer cancel()
	return i.thaw(ctx)
}

// expire closes an instance that stayed idle. The caller holds mu.
func (p *Pool) expire(i *Instance) {
	if !i.held() {
		p.remove(i)
	}
}

// remove closes an idle instance.
func (p *Pool) remove(i *Instance) {
	i.group.idle = slices.DeleteFunc(i.group.idle, func(x *Instance) bool { return x == i })
	p.discard(i)
}

// Retire closes the instances of a fingerprint that is obsolete: idle ones at
// once, busy ones after their call.
func (p *Pool) Retire(fingerprint string) {
	if p.cfg.Snapshots != nil {
		p.cfg.Snapshots.Drop(fingerprint)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.saves.tries, fingerprint)
	g := p.groups[fingerprint]
	if g == nil {
		return
	}
	g.retired = true
	p.rescale(g, Scale{})
	delete(p.groups, fingerprint) // should the same code come back, it starts anew
	for _, i := range g.idle {
		p.discard(i)
	}
	g.idle = nil
}

// Busy returns how many instances run a call now.
func (p *Pool) Busy() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.busyNow
}

// InstanceInfo describes an instance for people.
type InstanceInfo struct {
	ID          string
	Function    string
	Version     string
	State       string // starting, idle, frozen, busy, closed
	Since       time.Time
	MemoryMB    int
	MemoryBytes int64 // in use now; 0 when not known
	Provisioned bool  // kept ready ahead of calls
}

// Instances lists all instances, ordered by function and id.
func (p *Pool) Instances() []InstanceInfo {
	var all []*Instance
	var infos []InstanceInfo
	p.mu.Lock()
	for i := range p.instances {
		all = append(all, i)
		infos = append(infos, InstanceInfo{
			ID: i.ID, Function: i.Version.Function, Version: i.Version.Version,
			State: i.state.String(), Since: i.since, MemoryMB: i.Version.MemoryMB, Provisioned: i.provisioned,
		})
	}
	p.mu.Unlock()
	for n, i := range all {
		if infos[n].State != "idle" && infos[n].State != "busy" {
			continue
		}
		infos[n].MemoryBytes, _, _ = i.sb.Memory()
		if i.isFrozen() && infos[n].State == "idle" {
			infos[n].State = "frozen"
		}
	}
	slices.SortFunc(infos, func(a, b InstanceInfo) int {
		return cmp.Or(cmp.Compare(a.Function, b.Function), cmp.Compare(a.ID, b.ID))
	})
	return infos
}

// settled wakes Close when nothing is busy any more.
func (p *Pool) settled() {
	if p.shut && p.busyNow == 0 {
		select {
		case <-p.quiet:
		default:
			close(p.quiet)
		}
	}
}

// Close refuses further calls, lets those under way finish until ctx ends, then
// closes every instance. When it returns nothing of the pool is left.
func (p *Pool) Close(ctx context.Context) error {
	p.mu.Lock()
	p.shut = true
	for _, w := range p.waiting {
		w.got <- grant{err: errs.Newf(errs.Unavailable, "the node is stopping")}
		w.g.waiting--
	}
	p.waiting = nil
	for _, g := range p.groups {
		for _, i := range g.idle {
			p.discard(i)
		}
		g.idle = nil
	}
	p.settled()
	p.mu.Unlock()

	var late error
	select {
	case <-p.quiet:
	case <-ctx.Done():
		late = errs.Newf(errs.Unavailable, "%d calls were still running and have been cut off", p.Busy())
	}
	p.end()
	p.mu.Lock()
	for i := range p.instances {
		if i.state == busy {
			p.discard(i)
		}
	}
	p.mu.Unlock()
	if p.spares != nil {
		p.spares.close()
	}
	p.closing.Wait()
	return late
}
