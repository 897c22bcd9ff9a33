package sandbox

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/snapshot"
)

// PoolConfig is what a Pool is made of. All fields are required unless they say
// otherwise.
type PoolConfig struct {
	Driver Driver
	// Plan says how instances of a version are made. It is called off the
	// hot path, once per start.
	Plan func(ctx context.Context, v *function.Version) (Plan, error)
	Sink LineSink
	Log  *slog.Logger

	KeepAlive   time.Duration // an instance that was idle this long is closed
	Linger      time.Duration // an instance that was idle this long is frozen until its next call; 0 means at once
	TrimAfter   time.Duration // a frozen instance that is not called for this long gives back memory, which makes its next call some milliseconds slower
	MemoryMB    int           // budget for the memory limits of all instances together
	Starts      int           // instances that may be starting at one time
	InitLimit   time.Duration // for a runtime's first init
	QueueLimit  time.Duration // a call that found no instance for this long is refused
	MaxResponse int64         // bytes in an answer
	MaxStream   int64         // bytes in a streamed answer

	// Saturated reports whether the machine's CPUs are all busy; it is called
	// often. nil means never.
	Saturated func() bool

	// Available returns how much memory the machine has left, in bytes, and false
	// where that can't be known; see ReserveMB. nil means never.
	Available func() (int64, bool)
	ReserveMB int // memory that is to stay available: below it, idle instances and spare sandboxes give way; 0 means never

	Snapshots *snapshot.Store // of initialised instances; nil, or a driver that makes none, means that each start is an init
	SpareMB   int             // memory for sandboxes that are kept ready for snapshots; 0 means none
}

// Plan is how instances of one version are made.
type Plan struct {
	Spec  Spec // without ID and Process
	Guest Guest
}

// state is where an instance is in its life.
type state uint8

const (
	starting state = iota
	idle
	busy
	closed
)

var stateNames = [...]string{"starting", "idle", "busy", "closed"}

// Pool owns the instances of all functions: it starts them when calls wait,
// hands the most recently used one out first, freezes and closes idle ones.
// It is safe for concurrent use.
type Pool struct {
	cfg PoolConfig
	ctx context.Context // ends with the pool: starts under way give up
	end context.CancelFunc

	closing sync.WaitGroup // instances being started or closed
	saves   saves
	spares  *spares // nil when there are no snapshots
	relief  relief

	mu        sync.Mutex // guards what follows and the pool's part of each Instance
	groups    map[string]*group
	instances map[*Instance]struct{}
	waiting   []*waiter           // over all groups, oldest first
	scaled    map[*group]struct{} // groups with a Scale
	starts    int                 // instances in state starting
	usedMB    int                 // memory of all instances, those being closed too
	closingMB int                 // of usedMB, what is about to be free
	busyNow   int                 // instances in state busy
	again     *time.Timer         // schedules when a call has waited enough for a busy instance
	shut      bool
	quiet     chan struct{} // closed when shut and no instance is busy
}

// group is the instances of one fingerprint.
type group struct {
	key      string
	version  *function.Version
	idle     []*Instance // last is most recently used
	open     []*Instance // busy ones that have room for more users
	count    int         // instances, in any state
	starting int
	waiting  int
	retired  bool // obsolete: its instances end with their calls
	supply
	crowd
}

type waiter struct {
	g     *group
	got   chan grant // buffered: the giver never waits
	since time.Time
}

type grant struct {
	i   *Instance
	err error
}

// NewPool returns a pool that has no instances.
func NewPool(cfg PoolConfig) *Pool {
	p := &Pool{cfg: cfg, groups: map[string]*group{}, instances: map[*Instance]struct{}{}, scaled: map[*group]struct{}{}, quiet: make(chan struct{})}
	p.ctx, p.end = context.WithCancel(context.Background())
	p.openSnapshots()
	return p
}

// Acquire returns a running instance of v for one call; the caller must Release
// it. It takes an idle one, else waits for the first to become ready: one that
// another call frees, or a new one. Errors are of kind Throttled when the
// machine is full, Invalid when v can never fit it, Unavailable when the pool is
// closed or an instance can't be made; an *InitError when the code's own init
// failed.
func (p *Pool) Acquire(ctx context.Context, v *function.Version) (*Instance, error) {
	if v.MemoryMB > p.cfg.MemoryMB {
		return nil, errs.Newf(errs.Invalid, "%s asks for %d MB of memory, but this node has %d MB for all instances together; lower its memory size or raise the node's budget", v.Function, v.MemoryMB, p.cfg.MemoryMB)
	}
	for {
		i, err := p.acquire(ctx, v)
		if err != nil {
			return nil, err
		}
		if err = p.thaw(i); err == nil {
			return i, nil
		}
		p.cfg.Log.Error("a frozen instance could not be thawed; it is replaced", "err", err)
		i.broken = true
		p.Release(i)
	}
}

func (p *Pool) acquire(ctx context.Context, v *function.Version) (*Instance, error) {
	p.mu.Lock()
	if p.shut {
		p.mu.Unlock()
		return nil, errs.Newf(errs.Unavailable, "the node is stopping")
	}
	g := p.group(v)
	if i := g.join(); i != nil {
		p.mu.Unlock()
		return i, nil
	}
	if g.closed() {
		p.mu.Unlock()
		return nil, g.noRoom("its owner allows none")
	}
	w := &waiter{g: g, got: make(chan grant, 1), since: time.Now()}
	if len(g.idle) > 0 && p.rest(w, g.waiting+1, w.since) == 0 {
		if i := p.rouse(g); i != nil {
			p.take(i)
			p.mu.Unlock()
			return i, nil
		}
	}
	p.waiting = append(p.waiting, w)
	g.waiting++
	p.schedule()
	p.mu.Unlock()
	return p.await(ctx, w)
}

func (p *Pool) await(ctx context.Context, w *waiter) (*Instance, error) {
	patience := time.NewTimer(p.cfg.QueueLimit)
	defer patience.Stop()
	var cause error
	for {
		select {
		case gr := <-w.got:
			return gr.i, gr.err
		case <-ctx.Done():
			cause = &errs.Error{Kind: errs.Unavailable, Message: "the caller stopped waiting for an instance", Err: context.Cause(ctx)}
		case <-patience.C:
			p.mu.Lock()
			comes, full := w.g.starting > 0, w.g.full()
			p.mu.Unlock()
			if comes { // its own limit is the init's, not the queue's
				patience.Reset(p.cfg.QueueLimit)
				continue
			}
			why := "all memory for instances is in use"
			if full {
				why = "it has as many as its owner allows"
			}
			cause = w.g.noRoom(why)
		}
		break
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.forget(w) { // it was granted meanwhile
		gr := <-w.got
		if gr.err != nil {
			return nil, gr.err
		}
		p.put(gr.i)
	}
	return nil, cause
}

// Release gives an instance back after its call. A broken or retired one is
// closed.
func (p *Pool) Release(i *Instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i.web == nil {
		i.fresh = false
	}
	p.put(i)
}

// put ends an instance's time with a caller.
func (p *Pool) put(i *Instance) {
	if p.leave(i) {
		p.schedule()
		return
	}
	p.busyNow--
	i.group.ran(time.Since(i.since), p.full())
	p.settled()
	if i.broken || i.surplus || p.shut || !i.usable() || i.group.over() && !i.provisioned {
		p.discard(i)
	} else {
		p.offer(i)
	}
	p.schedule() // the room of an instance that is idle now may be what another waits for
}

// offer gives a ready instance to the oldest waiter of its group, or makes it
// idle; one that is obsolete ends.
func (p *Pool) offer(i *Instance) {
	if w := p.next(i); w != nil {
		p.forget(w)
		p.take(i)
		w.got <- grant{i: i}
		p.fill(i)
		return
	}
	if i.group.retired {
		p.discard(i)
		return
	}
	i.state, i.since = idle, time.Now()
	i.group.shelve(i)
	p.arm(i, p.cfg.Linger, p.freeze)
}

func (p *Pool) take(i *Instance) {
	i.state, i.since = busy, time.Now()
	i.users, i.trimmed = 0, false
	i.group.enter(i)
	p.busyNow++
	i.disarm()
}

// next returns whom a free instance i is for: the waiter of its group that waited
// longest, unless it is better served by another one that runs; nil if it is for
// none.
func (p *Pool) next(i *Instance) *waiter {
	if w := p.oldest(i.group); w != nil && !p.rests(i, w) {
		return w
	}
	return nil
}

// oldest returns the waiter of g that waited longest; nil if none waits.
func (p *Pool) oldest(g *group) *waiter {
	if n := slices.IndexFunc(p.waiting, func(w *waiter) bool { return w.g == g }); n >= 0 {
		return p.waiting[n]
	}
	return nil
}

// forget removes a waiter and reports whether it was still waiting.
func (p *Pool) forget(w *waiter) bool {
	n := slices.Index(p.waiting, w)
	if n < 0 {
		return false
	}
	p.waiting = slices.Delete(p.waiting, n, n+1)
	w.g.waiting--
	return true
}

// noRoom is the error of a caller that no instance of g will serve.
func (g *group) noRoom(why string) error {
	return errs.Newf(errs.Throttled, "no room for another instance of %s: %s", g.version.Function, why).
		WithReason("CallerRateLimitExceeded").WithRetryAfter(time.Second)
}

func (p *Pool) group(v *function.Version) *group {
	key := v.Fingerprint()
	g := p.groups[key]
	if g == nil {
		g = &group{key: key, version: v}
		p.groups[key] = g
	}
	return g
}

// schedule wakes idle instances or starts new ones for those who wait and have
// none coming, oldest first, as far as the limits on starts and memory allow.
func (p *Pool) schedule() {
	var held time.Duration // until the first of those who wait for a busy one need not any longer
	if len(p.waiting) > 0 && !p.shut {
		held = p.serve(time.Now())
	}
	p.recheck(held)
	if !p.shut && p.starts < p.cfg.Starts {
		p.stock()
	}
}

func (p *Pool) serve(now time.Time) (held time.Duration) {
	covered := map[*group]int{}
	for _, w := range slices.Clone(p.waiting) {
		covered[w.g]++
		rest := p.rest(w, covered[w.g], now)
		if rest > 0 && (held == 0 || rest < held) {
			held = rest
		}
		if len(w.g.idle) > 0 {
			if rest == 0 {
				p.wake(w)
				p.grow(w.g, now)
			}
			continue
		}
		if rest > 0 || p.starts >= p.cfg.Starts || covered[w.g] <= w.g.starting*w.g.version.Width() {
			continue
		}
		if !w.g.full() && p.makeRoom(w.g) {
			p.begin(w.g)
			p.grow(w.g, now)
		}
	}
	return held
}

// makeRoom reports whether an instance of g fits the memory budget; idle
// instances of others go first, least recently used first.
func (p *Pool) makeRoom(g *group) bool {
	need := g.version.MemoryMB
	if p.usedMB+need <= p.cfg.MemoryMB {
		return true
	}
	if p.saves.giveUp != nil {
		p.saves.giveUp() // a snapshot can wait, a call can't
	}
	free := p.cfg.MemoryMB - p.usedMB + p.closingMB
	for _, v := range p.evictable(g) {
		if free >= need {
			break
		}
		free += v.Version.MemoryMB
		p.remove(v)
	}
	// Memory of the evicted is counted until they are gone; their end schedules again.
	return p.usedMB+need <= p.cfg.MemoryMB
}

// evictable returns the idle instances that need not stay, least recently used
// first, but for those of one group.
func (p *Pool) evictable(but *group) (victims []*Instance) {
	for _, g := range p.groups {
		if g != but {
			victims = append(victims, g.spare()...)
		}
	}
	slices.SortFunc(victims, func(a, b *Instance) int { return a.since.Compare(b.since) })
	return victims
}

// begin starts an instance of g in the background.
func (p *Pool) begin(g *group) {
	i := &Instance{ID: newID(), Version: g.version, group: g, state: starting, fresh: true, limit: p.cfg.MaxResponse, most: p.cfg.MaxStream, since: time.Now()}
	p.instances[i] = struct{}{}
	g.born(i)
	g.count++
	g.starting++
	p.starts++
	p.usedMB += g.version.MemoryMB
	birth := Birth{ID: i.ID, Provisioned: i.provisioned}
	p.closing.Go(func() {
		err := p.boot(i, birth)
		p.mu.Lock()
		defer p.mu.Unlock()
		g.starting--
		p.starts--
		p.stocked(i, err)
		switch {
		case err != nil:
			p.discard(i)
			p.refuse(g, err)
		case p.shut || i.surplus:
			p.discard(i)
		default:
			if !i.restored {
				p.wantSnapshot(g)
			}
			p.offer(i)
		}
		p.schedule()
	})
}

// boot makes an instance: of a snapshot, or by running its init. An init that
// ran out of its time is tried once more, with the time limit of a call, as the
// field does.
func (p *Pool) boot(i *Instance, b Birth) error {
	if done, err := p.fromSnapshot(i, b); done {
		return err
	}
	err := p.bootOnce(i, b, p.cfg.InitLimit)
	var failed *InitError
	if !errors.As(err, &failed) || failed.Fault != InitTimedOut {
		return err
	}
	if err := i.reset(); err != nil {
		return err
	}
	return p.bootOnce(i, b, i.Version.Timeout)
}

func (p *Pool) bootOnce(i *Instance, b Birth, limit time.Duration) error {
	plan, err := p.cfg.Plan(p.ctx, i.Version)
	if err != nil {
		return err
	}
	return p.bootPlan(p.ctx, i, b, plan, limit)
}

func (p *Pool) bootPlan(ctx context.Context, i *Instance, b Birth, plan Plan, limit time.Duration) error {
	i.guest = plan.Guest
	spec := plan.Spec
	spec.ID, spec.Own = i.ID[:12], plan.Guest.Own(i.Version, b)
	var bad error
	spec.Process = func(paths Paths) Process {
		proc, err := plan.Guest.Process(i.Version, b, paths)
		bad = err
		return proc
	}
	err := i.boot(ctx, p.cfg.Driver, spec, p.cfg.Sink, limit)
	var failed *InitError
	if errors.As(err, &failed) {
		failed.Times = i.start
		failed.Log = i.logs.end()
		failed.Instance = i.ID
	}
	if bad != nil {
		return bad
	}
	return err
}

// refuse tells the oldest waiter of g that an instance could not be made.
func (p *Pool) refuse(g *group, err error) {
	var failed *InitError
	if !errors.As(err, &failed) {
		p.cfg.Log.Error("an instance could not be started", "function", g.version.Function, "err", err)
		if errs.KindOf(err) == errs.Internal {
			err = &errs.Error{Kind: errs.Unavailable, Message: "an instance could not be started", Err: err}
		}
	}
	if w := p.oldest(g); w != nil {
		p.forget(w)
		w.got <- grant{err: err}
	}
}

// discard closes an instance in the background. Its memory counts until it is gone.
func (p *Pool) discard(i *Instance) {
	if i.state == closed {
		return
	}
	i.state = closed
	i.group.died(i)
	p.closingMB += i.Version.MemoryMB
	i.disarm()
	p.closing.Go(func() {
		err := i.close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.instances, i)
		i.group.count--
		p.usedMB -= i.Version.MemoryMB
		p.closingMB -= i.Version.MemoryMB
		if err != nil {
			p.cfg.Log.Error("an instance could not be closed", "instance", i.ID, "err", err)
		}
		p.tidy(i.group)
		p.schedule()
	})
}

// lost tells the operator of an instance that ended while nothing ran in it.
func (p *Pool) lost(i *Instance) {
	if i.alive() {
		p.cfg.Log.Warn("an idle instance answered a call that nobody made; it is closed", "function", i.Version.Function, "instance", i.ID)
		return
	}
	e := i.sb.Exit()
	p.cfg.Log.Warn("an idle instance has ended by itself", "function", i.Version.Function, "instance", i.ID, "code", e.Code, "signal", e.Signal, "outOfMemory", e.OOM)
}

// tidy forgets a group that has nothing in it.
func (p *Pool) tidy(g *group) {
	if g.count == 0 && g.waiting == 0 && g.want.equal(Scale{}) && p.groups[g.key] == g {
		delete(p.groups, g.key)
	}
}

// alive reports whether the sandbox has not ended.
func (i *Instance) alive() bool {
	select {
	case <-i.sb.Done():
		return false
	default:
		return true
	}
}

// usable reports whether the next call can run on i: its sandbox is there, and
// nothing is on the link that would be taken for the call's answer.
func (i *Instance) usable() bool { return i.alive() && i.out.Buffered() == 0 && !readable(i.stdout) }

// readable reports whether a read of f would not wait.
func readable(f *os.File) (yes bool) {
	raw, err := f.SyscallConn()
	if err != nil {
		return true
	}
	err = raw.Control(func(fd uintptr) {
		n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		yes = err != nil || n > 0
	})
	return yes || err != nil
}

// newID makes an instance's id: 96 random bits, and when it was made, which Born
// reads.
func newID() string {
	var b [16]byte
	rand.Read(b[:12])
	binary.BigEndian.PutUint32(b[12:], uint32(time.Now().Unix()))
	return hex.EncodeToString(b[:])
}

// Born returns when an instance was made, to the second, from its id; the zero
// time for what is no id of an instance.
func Born(id string) time.Time {
	b, err := hex.DecodeString(id)
	if err != nil || len(b) != 16 {
		return time.Time{}
	}
	return time.Unix(int64(binary.BigEndian.Uint32(b[12:])), 0)
}

// String names the state for people.
func (s state) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}
