package sandbox

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	// relieveEvery is how often it is looked whether the machine has memory left.
	// What was given up shows in the next look.
	relieveEvery = 500 * time.Millisecond

	// reliefMargin is by how much more than the reserve must be available, in
	// parts of it, until memory is not scarce any more.
	reliefMargin = 4

	// idleMB is what an idle instance has in memory beyond what is in use inside.
	idleMB = 10
)

// relief is what a pool does and did about scarce memory.
type relief struct {
	scarce                         atomic.Bool
	times, trimmed, spares, closed atomic.Int64
}

// ReliefCounts tells what a pool gave up since the node started.
type ReliefCounts struct {
	Scarce  bool  // less memory than the reserve is available now
	Times   int64 // how often that began
	Trimmed int64 // idle instances that gave memory back, for that reason or for being idle long
	Spares  int64 // sandboxes that were kept ready and were closed
	Closed  int64 // idle instances that were closed
}

// Relief returns what was given up so far.
func (p *Pool) Relief() ReliefCounts {
	r := &p.relief
	return ReliefCounts{Scarce: r.scarce.Load(), Times: r.times.Load(), Trimmed: r.trimmed.Load(), Spares: r.spares.Load(), Closed: r.closed.Load()}
}

// Run watches the machine's memory until ctx ends, and gives up what idles while
// less than the reserve is available.
func (p *Pool) Run(ctx context.Context) error {
	if p.cfg.Available == nil || p.cfg.ReserveMB == 0 {
		return nil
	}
	tick := time.NewTicker(relieveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			p.relieve()
		}
	}
}

// relieve takes one step against scarce memory, the one that costs callers least
// of those that are left: to trim idle instances, to close spare sandboxes, to
// close idle instances.
func (p *Pool) relieve() {
	have, known := p.cfg.Available()
	reserve := int64(p.cfg.ReserveMB) << 20
	was := p.relief.scarce.Load()
	switch {
	case known && have < reserve:
	case was && (!known || have >= reserve+reserve/reliefMargin):
		p.relief.scarce.Store(false)
		p.cfg.Log.Info("memory is available again", "availableMB", have>>20)
		p.halt(false)
		return
	default:
		return
	}
	if !was {
		p.relief.scarce.Store(true)
		p.relief.times.Add(1)
		p.cfg.Log.Warn("memory is scarce: idle instances and spare sandboxes give theirs back", "availableMB", have>>20, "reserveMB", p.cfg.ReserveMB)
		p.halt(true)
	}
	if p.trimIdle() || p.giveUpSpares(reserve-have) {
		return
	}
	p.closeIdle(reserve - have)
}

func (p *Pool) halt(yes bool) {
	if p.spares != nil {
		p.spares.halt(yes)
	}
}

// trimIdle trims all idle instances and reports whether there was any to trim.
func (p *Pool) trimIdle() (some bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range p.groups {
		for _, i := range g.idle {
			some = p.trim(i) || some
		}
	}
	return some
}

func (p *Pool) giveUpSpares(bytes int64) bool {
	if p.spares == nil {
		return false
	}
	n := p.spares.giveUp(bytes)
	p.relief.spares.Add(int64(n))
	return n > 0
}

// closeIdle closes idle instances that need not stay, least recently used first,
// until they make up so many bytes.
func (p *Pool) closeIdle(bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, v := range p.evictable(nil) {
		if bytes <= 0 {
			return
		}
		inside, _, _ := v.sb.Memory() // 0 where it is not known
		bytes -= inside + idleMB<<20
		p.remove(v)
		p.relief.closed.Add(1)
	}
}
