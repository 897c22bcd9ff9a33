package sandbox

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/mayfly-dev/mayfly/internal/function"
)

// Scale is how many instances of a version there are whether or not calls come.
// The zero Scale leaves that to the calls.
type Scale struct {
	Ready int  // provisioned: started ahead of calls, kept, and told so
	Min   int  // instances are started, and none closed, while there are fewer
	Max   *int // there are no more, nil: as many as fit
}

func (s Scale) equal(o Scale) bool {
	return s.Ready == o.Ready && s.Min == o.Min && (s.Max == nil) == (o.Max == nil) && (s.Max == nil || *s.Max == *o.Max)
}

// Readiness is how far the provisioning of a version has come.
type Readiness struct {
	Allocated int    // provisioned instances that can run calls, or do
	Available int    // of these, idle ones
	Trouble   string // why there are not as many as wanted, a sentence; "" while they are coming
}

// Pauses between attempts to start an instance ahead of calls: doubled from the
// first to the longest.
const (
	firstRest = time.Second
	longRest  = time.Minute
)

// supply is a group's state of being kept at its scale. Its fields are guarded
// by Pool.mu.
type supply struct {
	want        Scale
	live        int // instances that are not closed
	provisioned int // of these, provisioned ones
	trouble     string
	rest        time.Duration // before the next attempt; 0 after a success
	resting     bool          // a timer will try again
}

// Provision keeps instances of v at a scale until it is told another one, or v
// is retired.
func (p *Pool) Provision(v *function.Version, s Scale) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shut {
		return
	}
	g := p.group(v)
	if !g.want.equal(s) {
		p.rescale(g, s)
	}
	p.schedule()
	p.tidy(g)
}

// rescale sets g's scale and lets go of what is no longer wanted: of provisioned
// instances, and of those that are too many, idle ones end now and busy ones after
// their call, and what stayed only because there were few ends in its time.
func (p *Pool) rescale(g *group, s Scale) {
	g.supply = supply{want: s, live: g.live, provisioned: g.provisioned}
	p.scaled[g] = struct{}{}
	if s.equal(Scale{}) {
		delete(p.scaled, g)
	}
	for _, i := range slices.Clone(g.idle) {
		if i.provisioned && g.provisioned > s.Ready {
			p.remove(i)
		}
	}
	for _, i := range slices.Clone(g.idle) { // the longest idle first
		if g.over() && !i.provisioned {
			p.remove(i)
		}
	}
	for i := range p.instances {
		switch {
		case i.group != g || i.state == closed:
		case i.provisioned && !i.surplus && g.provisioned > s.Ready:
			i.surplus = true
			g.provisioned--
		case i.state != starting:
			p.keepWatch(i)
		}
	}
	for _, i := range g.idle {
		if !i.held() {
			p.arm(i, p.cfg.Linger, p.freeze)
		}
	}
}

// Ready says how far the provisioning of v has come.
func (p *Pool) Ready(v *function.Version) Readiness {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.groups[v.Fingerprint()]
	if g == nil {
		return Readiness{}
	}
	r := Readiness{Trouble: g.trouble}
	for i := range p.instances {
		if i.group != g || !i.provisioned || i.surplus {
			continue
		}
		switch i.state {
		case idle:
			r.Available++
			r.Allocated++
		case busy:
			r.Allocated++
		}
	}
	return r
}

// full reports whether g may have no more instances.
func (g *group) full() bool { return g.want.Max != nil && g.live >= *g.want.Max }

// closed reports whether g may have no instances and has none: waiting is in vain.
func (g *group) closed() bool { return g.want.Max != nil && *g.want.Max == 0 && g.live == 0 }

// over reports whether g has more instances than it may.
func (g *group) over() bool { return g.want.Max != nil && g.live > *g.want.Max }

// short reports whether g has fewer instances than it is to have.
func (g *group) short() bool {
	return !g.full() && (g.provisioned < g.want.Ready || g.live < g.want.Min)
}

// held reports whether an idle instance stays although nobody calls it.
func (i *Instance) held() bool { return i.provisioned || i.group.live <= i.group.want.Min }

// spare returns the idle instances of g that may be closed to make room.
func (g *group) spare() []*Instance {
	if g.want.Ready == 0 && g.want.Min == 0 {
		return g.idle
	}
	var list []*Instance
	left := g.live - g.want.Min
	for _, i := range g.idle {
		if !i.provisioned && len(list) < left {
			list = append(list, i)
		}
	}
	return list
}

// shelve makes an instance idle: provisioned ones are taken first, and of the
// others the one that was used last.
func (g *group) shelve(i *Instance) {
	at := len(g.idle)
	if !i.provisioned {
		for at > 0 && g.idle[at-1].provisioned {
			at--
		}
	}
	g.idle = slices.Insert(g.idle, at, i)
}

// born counts an instance that is about to be started.
func (g *group) born(i *Instance) {
	i.provisioned = g.provisioned < g.want.Ready
	g.live++
	if i.provisioned {
		g.provisioned++
	}
}

// died stops counting an instance.
func (g *group) died(i *Instance) {
	g.live--
	if i.provisioned && !i.surplus {
		g.provisioned--
	}
}

// stock starts instances of the groups that are to have more, as far as the
// limits on starts and memory allow.
func (p *Pool) stock() {
	if len(p.scaled) == 0 {
		return
	}
	for g := range p.scaled {
		for !p.shut && p.starts < p.cfg.Starts && !g.resting && g.short() {
			if !p.makeRoom(g) {
				if need := p.heldMB() + g.version.MemoryMB; need > p.cfg.MemoryMB {
					g.trouble = fmt.Sprintf("This node has %d MB for all instances together: that does not hold another instance of %d MB beside those that are kept already.", p.cfg.MemoryMB, g.version.MemoryMB)
				}
				break
			}
			p.begin(g)
		}
	}
}

// heldMB is the memory of instances that don't make room for others.
func (p *Pool) heldMB() (sum int) {
	for g := range p.scaled {
		sum += max(g.provisioned, min(g.live, g.want.Min)) * g.version.MemoryMB
	}
	return sum
}

// stocked notes how an attempt to start an instance of a scaled group ended.
func (p *Pool) stocked(i *Instance, err error) {
	g := i.group
	if g.want.equal(Scale{}) {
		return
	}
	if err == nil {
		g.trouble, g.rest = "", 0
		p.keepWatch(i)
		return
	}
	g.trouble = "An instance could not be started: " + err.Error()
	if g.resting || p.shut {
		return
	}
	g.rest = min(cmp.Or(2*g.rest, firstRest), longRest)
	g.resting = true
	p.cfg.Log.Warn("an instance could not be started ahead of calls", "function", g.version.Function, "version", g.version.Version, "err", err, "wait", g.rest)
	time.AfterFunc(g.rest, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		g.resting = false
		p.schedule()
	})
}

// keepWatch watches an instance of a scaled group.
func (p *Pool) keepWatch(i *Instance) {
	if _, scaled := p.scaled[i.group]; scaled && !i.watched {
		i.watched = true
		p.closing.Go(func() { p.watch(i) })
	}
}

// watch replaces an instance that is to be ready for calls and ends by itself.
func (p *Pool) watch(i *Instance) {
	<-i.sb.Done()
	p.mu.Lock()
	defer p.mu.Unlock()
	if i.state == idle {
		p.lost(i)
		p.remove(i)
		p.schedule()
	}
}
