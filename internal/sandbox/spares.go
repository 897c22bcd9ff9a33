package sandbox

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// spareMB is what a blank sandbox costs: 5 MiB of its own, and its share of the
	// program's pages, which all sandboxes have in common. Measured as PSS it is 9
	// among four others, and 19 for the only one.
	spareMB = 12

	// Blanks are kept for as many starts as there were within spareWindow at
	// most, in the last spareMemory.
	spareWindow = 5 * time.Second
	spareMemory = 10 * time.Minute

	spareRetry = 50 * time.Millisecond // how often it is looked whether the node has time to make blanks
	spareTrim  = time.Minute           // how often those that are too many are closed
)

// spares keeps blank sandboxes ready. How many follows the starts of the last
// minutes; one of each shape that was ever asked for stays, within the budget.
type spares struct {
	driver Snapshotter
	most   int // blanks in all
	log    *slog.Logger
	calm   func() bool // whether the node has time; must not be called with mu held

	ctx context.Context // ends with close
	end context.CancelFunc
	wg  sync.WaitGroup // of blanks being made or closed

	mu     sync.Mutex // guards what follows
	shapes map[string]*shape
	count  int // blanks, ready or being made
	armed  bool
	shut   bool
	halted bool // memory is scarce: none are made
	trim   *time.Timer
}

// shape is the blanks of one shape.
type shape struct {
	like   Spec
	ready  []Blank
	making int
	takes  []time.Time // of the last spareMemory
}

func newSpares(d Snapshotter, memoryMB int, log *slog.Logger, calm func() bool) *spares {
	s := &spares{driver: d, most: memoryMB / spareMB, log: log, calm: calm, shapes: map[string]*shape{}}
	s.ctx, s.end = context.WithCancel(context.Background())
	return s
}

// take returns a blank for spec: one that is ready, or, if there is none, a new
// one. The caller owns it.
func (s *spares) take(ctx context.Context, spec Spec) (Blank, error) {
	s.mu.Lock()
	sh := s.shape(spec)
	sh.takes = append(sh.takes, time.Now())
	defer s.refill() // after this start
	for len(sh.ready) > 0 {
		b := sh.ready[len(sh.ready)-1]
		sh.ready = sh.ready[:len(sh.ready)-1]
		s.count--
		if dead(b) {
			s.discard(b)
			continue
		}
		s.mu.Unlock()
		return b, nil
	}
	s.mu.Unlock()
	return s.driver.Blank(ctx, newSpareID(), spec)
}

// expect says that starts of spec will come.
func (s *spares) expect(spec Spec) {
	s.mu.Lock()
	s.shape(spec)
	s.mu.Unlock()
	s.refill()
}

// shape returns the entry of spec's shape. The caller holds mu.
func (s *spares) shape(spec Spec) *shape {
	name := s.driver.Shape(spec)
	sh := s.shapes[name]
	if sh == nil {
		like := spec
		like.Patient = true // a blank is made when there is time
		sh = &shape{like: like}
		s.shapes[name] = sh
	}
	return sh
}

// wanted returns how many blanks there should be now.
func (sh *shape) wanted(now time.Time) int {
	for len(sh.takes) > 0 && now.Sub(sh.takes[0]) > spareMemory {
		sh.takes = sh.takes[1:]
	}
	most, first := 1, 0
	for n, t := range sh.takes {
		for t.Sub(sh.takes[first]) > spareWindow {
			first++
		}
		most = max(most, n-first+1)
	}
	return most
}

// refill sees to it that missing blanks are made, soon.
func (s *spares) refill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut || s.armed || s.halted || s.most == 0 {
		return
	}
	s.armed = true
	time.AfterFunc(spareRetry, s.makeOne)
}

// makeOne makes one blank of the shape that misses most, when there is time.
func (s *spares) makeOne() {
	calm := s.calm()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = false
	if s.shut || s.halted {
		return
	}
	now := time.Now()
	var poorest *shape
	missing := 0
	for _, sh := range s.shapes {
		if n := sh.wanted(now) - len(sh.ready) - sh.making; n > missing {
			poorest, missing = sh, n
		}
	}
	if poorest == nil || s.count >= s.most && !s.yield(poorest) {
		s.armTrim()
		return
	}
	if !calm {
		s.armed = true
		time.AfterFunc(spareRetry, s.makeOne)
		return
	}
	s.count++
	poorest.making++
	s.wg.Go(func() {
		b, err := s.driver.Blank(s.ctx, newSpareID(), poorest.like)
		s.mu.Lock()
		poorest.making--
		switch {
		case err != nil:
			s.count--
			if !s.shut {
				s.log.Error("a spare sandbox could not be made", "err", err)
			}
		case s.shut || s.halted:
			s.count--
			s.discard(b)
		default:
			poorest.ready = append(poorest.ready, b)
		}
		s.mu.Unlock()
		if err == nil {
			s.refill() // the next
		}
	})
}

// yield closes a blank of another shape that has more than it wants, or that was
// asked for longer ago, in favour of sh. The caller holds mu.
func (s *spares) yield(sh *shape) bool {
	for _, o := range s.shapes {
		if o == sh || len(o.ready) == 0 || len(o.ready) <= o.wanted(time.Now()) && !last(o.takes).Before(last(sh.takes)) {
			continue
		}
		s.drop(o)
		return true
	}
	return false
}

func last(t []time.Time) time.Time {
	if len(t) == 0 {
		return time.Time{}
	}
	return t[len(t)-1]
}

// drop closes the oldest ready blank of sh. The caller holds mu.
func (s *spares) drop(sh *shape) {
	b := sh.ready[0]
	sh.ready = sh.ready[1:]
	s.count--
	s.discard(b)
}

// discard closes a blank in the background. The caller holds mu.
func (s *spares) discard(b Blank) {
	s.wg.Go(func() {
		if err := b.Close(); err != nil {
			s.log.Error("a spare sandbox could not be closed", "err", err)
		}
	})
}

// armTrim closes, later, the blanks that are too many then. The caller holds mu.
func (s *spares) armTrim() {
	if s.trim != nil || s.count <= 1 {
		return
	}
	s.trim = time.AfterFunc(spareTrim, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.trim = nil
		if s.shut {
			return
		}
		for _, sh := range s.shapes {
			for len(sh.ready) > sh.wanted(time.Now()) {
				s.drop(sh)
			}
		}
		s.armTrim()
	})
}

// halt stops the making of blanks, or ends that.
func (s *spares) halt(yes bool) {
	s.mu.Lock()
	s.halted = yes
	s.mu.Unlock()
	if !yes {
		s.refill()
	}
}

// giveUp closes ready blanks, first those of the shape that was asked for longest
// ago, until they make up so many bytes or none is left. It returns how many.
func (s *spares) giveUp(bytes int64) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; bytes > 0; bytes -= spareMB << 20 {
		var oldest *shape
		for _, sh := range s.shapes {
			if len(sh.ready) > 0 && (oldest == nil || last(sh.takes).Before(last(oldest.takes))) {
				oldest = sh
			}
		}
		if oldest == nil {
			break
		}
		s.drop(oldest)
		n++
	}
	return n
}

// readyCount returns how many blanks are ready.
func (s *spares) readyCount() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sh := range s.shapes {
		n += len(sh.ready)
	}
	return n
}

// close closes all blanks. Those that were taken are their takers'.
func (s *spares) close() {
	s.mu.Lock()
	s.shut = true
	s.end()
	for _, sh := range s.shapes {
		for len(sh.ready) > 0 {
			s.drop(sh)
		}
	}
	if s.trim != nil {
		s.trim.Stop()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

func dead(b Blank) bool {
	select {
	case <-b.Done():
		return true
	default:
		return false
	}
}

func newSpareID() string { return "spare-" + newID()[:12] }
