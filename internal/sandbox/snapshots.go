package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/snapshot"
)

const (
	// saveQuiet is how often it is looked whether the node has nothing better to
	// do than to make a snapshot, and saveLatest is when it is made anyway.
	saveQuiet  = 100 * time.Millisecond
	saveLatest = 3 * time.Second

	// saveTries is how many instances of one fingerprint may fail to become a snapshot.
	saveTries = 2
)

// saves is what a pool knows of the snapshots to make.
type saves struct {
	driver Snapshotter // nil when there are no snapshots
	wanted []*group    // without a snapshot, oldest first; guarded by Pool.mu
	since  time.Time   // when the first of wanted came; guarded by Pool.mu
	active bool        // one is being made, or the timer runs; guarded by Pool.mu
	giveUp func()      // makes room of the one being made; nil without; guarded by Pool.mu

	tries map[string]int // fingerprint -> how often no snapshot could be made; guarded by Pool.mu

	taken, restored, failed, refused atomic.Int64
}

// SnapshotCounts tells what became of snapshots since the node started.
type SnapshotCounts struct {
	Taken    int64 // snapshots made
	Restored int64 // instances that came of one
	Failed   int64 // restores that failed; a normal start took their place
	Refused  int64 // snapshots that could not be made
	Spares   int   // sandboxes that are ready for a restore now
}

// Snapshots returns what became of snapshots so far.
func (p *Pool) Snapshots() SnapshotCounts {
	s := &p.saves
	c := SnapshotCounts{Taken: s.taken.Load(), Restored: s.restored.Load(), Failed: s.failed.Load(), Refused: s.refused.Load()}
	if p.spares != nil {
		c.Spares = p.spares.readyCount()
	}
	return c
}

// openSnapshots says whether instances can come of snapshots.
func (p *Pool) openSnapshots() {
	if d, ok := p.cfg.Driver.(Snapshotter); ok && p.cfg.Snapshots != nil {
		p.saves.driver, p.saves.tries = d, map[string]int{}
		p.spares = newSpares(d, p.cfg.SpareMB, p.cfg.Log, p.calm)
	}
}

// calm reports whether nothing that a caller waits for is under way.
func (p *Pool) calm() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calmLocked()
}

func (p *Pool) calmLocked() bool { return p.starts == 0 && len(p.waiting) == 0 && p.busyNow == 0 }

// snapshots reports whether v's instances may come of a snapshot. Those of web
// servers don't: nobody could tell such a program to make its random numbers anew.
func (p *Pool) snapshots(v *function.Version) bool {
	return p.saves.driver != nil && v.Snapshot != function.SnapshotOff && v.Web == nil
}

// Expect says that starts of v may come: a sandbox that a snapshot of it can be
// restored into is made ready.
func (p *Pool) Expect(ctx context.Context, v *function.Version) error {
	if !p.snapshots(v) {
		return nil
	}
	plan, err := p.cfg.Plan(ctx, v)
	if err != nil {
		return err
	}
	p.spares.expect(plan.Spec)
	return nil
}

// WantSnapshot has a snapshot of v made when the node has time, if v's instances
// may come of one and there is none yet.
func (p *Pool) WantSnapshot(v *function.Version) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.shut {
		p.wantSnapshot(p.group(v))
	}
}

// Saved reports whether the next instance of v would come of a snapshot.
func (p *Pool) Saved(ctx context.Context, v *function.Version) bool {
	if !p.snapshots(v) || !p.cfg.Snapshots.Holds(v.Fingerprint()) {
		return false
	}
	plan, err := p.cfg.Plan(ctx, v)
	if err != nil {
		return false
	}
	key, err := p.snapshotKey(ctx, v, plan)
	return err == nil && p.cfg.Snapshots.Has(key)
}

// snapshotKey names the snapshot of v: all that a restored instance can't be
// told anew goes into it.
func (p *Pool) snapshotKey(ctx context.Context, v *function.Version, plan Plan) (snapshot.Key, error) {
	k := snapshot.Key{Fingerprint: v.Fingerprint()}
	root, err := plan.Spec.Root.EROFS(ctx)
	if err != nil {
		return k, err
	}
	code, err := plan.Spec.Code.EROFS(ctx)
	if err != nil {
		return k, err
	}
	proc, err := plan.Guest.Process(v, Birth{}, Paths{})
	if err != nil {
		return k, err
	}
	k.Parts = append(k.Parts, p.saves.driver.Build(), root, code,
		fmt.Sprint(plan.Spec.MemoryMB, plan.Spec.TmpMB, plan.Spec.MilliCPU, plan.Spec.Pids, plan.Spec.Files))
	k.Parts = append(k.Parts, proc.Args...)
	fresh := plan.Guest.Fresh(v, Birth{})
	for _, variable := range proc.Env {
		name, _, _ := strings.Cut(variable, "=")
		if !slices.ContainsFunc(fresh, func(f string) bool { return strings.HasPrefix(f, name+"=") }) {
			k.Parts = append(k.Parts, variable)
		}
	}
	return k, nil
}

// fromSnapshot makes i a copy of its version's snapshot, if there is one. done
// says that i is ready, or that its code refused to go on; else it has to be
// started in the normal way.
func (p *Pool) fromSnapshot(i *Instance, b Birth) (done bool, err error) {
	if !p.snapshots(i.Version) {
		return false, nil
	}
	plan, err := p.cfg.Plan(p.ctx, i.Version)
	if err != nil {
		return false, nil // the normal start will meet it too
	}
	key, err := p.snapshotKey(p.ctx, i.Version, plan)
	if err != nil {
		return false, nil
	}
	state, err := p.cfg.Snapshots.Get(key)
	if err != nil {
		return false, nil
	}
	defer state.Close()
	i.guest = plan.Guest
	err = p.restore(i, b, plan, state)
	var failed *InitError
	switch {
	case err == nil:
		p.saves.restored.Add(1)
		i.restored = true
		return true, nil
	case p.ctx.Err() != nil:
		return true, err
	case errors.As(err, &failed) && failed.Fault == 0:
		failed.Times = i.start
		failed.Log = i.logs.end()
		failed.Instance = i.ID
		return true, err
	}
	p.saves.failed.Add(1)
	p.cfg.Snapshots.Drop(key.Fingerprint)
	p.cfg.Log.Warn("a snapshot could not be restored; it is discarded, and the instance starts in the normal way", "function", i.Version.Function, "err", err)
	if err := i.reset(); err != nil {
		return true, err
	}
	return false, nil
}

// restore takes a blank sandbox and makes i of it.
func (p *Pool) restore(i *Instance, birth Birth, plan Plan, state *os.File) error {
	began, spec := time.Now(), plan.Spec
	b, err := p.spares.take(p.ctx, spec)
	i.start.Sandbox = time.Since(began)
	if err != nil {
		return err
	}
	spec.ID, spec.Own = i.ID[:12], plan.Guest.Own(i.Version, birth)
	spec.Process = func(Paths) Process { return Process{} } // is in the snapshot
	err = i.restore(p.ctx, b, spec, state, plan.Guest.Fresh(i.Version, birth), p.cfg.Sink, p.cfg.InitLimit)
	if err != nil && i.sb == nil {
		return errors.Join(err, b.Close())
	}
	return err
}

// reset undoes a start that failed, for the next one.
func (i *Instance) reset() error {
	err := i.close()
	i.sb, i.logs, i.start = nil, nil, StartTimes{}
	return err
}

// wantSnapshot notes that g, whose init has just succeeded or whose owner asked
// for it, has no snapshot yet.
// The snapshot is made of another instance: one that has run calls holds what
// it was called with, and this one's call is not to wait. The caller holds mu.
func (p *Pool) wantSnapshot(g *group) {
	if !p.snapshots(g.version) || p.saves.tries[g.key] >= saveTries || g.retired || slices.Contains(p.saves.wanted, g) {
		return
	}
	if len(p.saves.wanted) == 0 {
		p.saves.since = time.Now()
	}
	p.saves.wanted = append(p.saves.wanted, g)
	p.armSave()
}

func (p *Pool) armSave() {
	if p.saves.active || len(p.saves.wanted) == 0 || p.shut {
		return
	}
	p.saves.active = true
	time.AfterFunc(saveQuiet, p.saveNext)
}

// saveNext makes the oldest snapshot that is wanted, when the node has time.
func (p *Pool) saveNext() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.saves.active = false
	if p.shut || len(p.saves.wanted) == 0 {
		return
	}
	if !p.calmLocked() && time.Since(p.saves.since) < saveLatest {
		p.armSave()
		return
	}
	g := p.saves.wanted[0]
	p.saves.wanted = p.saves.wanted[1:]
	p.saves.since = time.Now()
	need := g.version.MemoryMB
	if g.retired || p.usedMB+need > p.cfg.MemoryMB {
		p.armSave() // for the others; g is wanted again after its next start
		return
	}
	p.saves.active = true
	g.count++ // it is not forgotten
	p.usedMB += need
	ctx, cancel := context.WithCancel(p.ctx)
	p.saves.giveUp = func() {
		cancel()
		p.closingMB += need
		p.saves.giveUp = nil
	}
	p.closing.Go(func() {
		err := p.save(ctx, g.version)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.saves.active = false
		p.usedMB -= need
		if p.saves.giveUp == nil {
			p.closingMB -= need
		}
		p.saves.giveUp = nil
		g.count--
		if err != nil && ctx.Err() == nil {
			p.saves.tries[g.key]++
			p.saves.refused.Add(1)
			p.cfg.Log.Warn("no snapshot could be made; instances start in the normal way", "function", g.version.Function, "err", err)
		}
		if g.retired {
			p.cfg.Snapshots.Drop(g.key)
		}
		cancel()
		p.tidy(g)
		p.schedule()
		p.armSave()
	})
}

// save starts an instance of v that no call gets, makes a snapshot of it, and
// ends it.
func (p *Pool) save(ctx context.Context, v *function.Version) error {
	plan, err := p.cfg.Plan(ctx, v)
	if err != nil {
		return err
	}
	key, err := p.snapshotKey(ctx, v, plan)
	if err != nil {
		return err
	}
	if p.cfg.Snapshots.Has(key) {
		return nil
	}
	began := time.Now()
	i := &Instance{ID: newID(), Version: v, fresh: true, limit: p.cfg.MaxResponse, most: p.cfg.MaxStream}
	plan.Spec.Patient = true
	if err := p.bootPlan(ctx, i, Birth{ID: i.ID, Saved: true}, plan, p.cfg.InitLimit); err != nil {
		return errors.Join(err, i.close())
	}
	err = p.cfg.Snapshots.Put(key, func(f *os.File) error {
		return i.save(ctx, f, p.cfg.InitLimit)
	})
	if err = errors.Join(err, i.close()); err != nil {
		if errs.Is(err, errs.TooLarge) {
			return fmt.Errorf("%w; raise the budget for snapshots", err)
		}
		return err
	}
	p.saves.taken.Add(1)
	p.cfg.Log.Info("made a snapshot", "function", v.Function, "version", v.Version, "took", time.Since(began).Round(time.Millisecond))
	p.spares.expect(plan.Spec)
	return nil
}
