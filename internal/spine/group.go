package spine

import "sync"

// Group writes what many callers bring in few writes: while one is under way, the
// next gathers. Nobody waits for company. The fields are set before its first use;
// then it is safe for concurrent use.
type Group[T any] struct {
	Write func([]T) error // is not called again before it has returned
	Share func(T) float64 // of a write that an item takes up: 1 is a full one

	mu      sync.Mutex
	waiting []bundle[T] // guarded by mu
	busy    bool        // guarded by mu
}

type bundle[T any] struct {
	items []T
	done  chan error
}

// Do returns when the items are written, in the order of the calls. They are
// written together, however many they are. Without items it waits for those that
// were begun before.
func (g *Group[T]) Do(items []T) error {
	g.mu.Lock()
	if g.busy || len(items) == 0 {
		g.mu.Unlock()
		return <-g.Begin(items)
	}
	g.busy = true
	g.mu.Unlock()
	// Nobody writes, so nobody has to be woken for it.
	err := g.Write(items)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.busy = len(g.waiting) > 0; g.busy {
		go g.run()
	}
	return err
}

// Begin is Do for a caller that waits later, if at all: the outcome is sent to the
// channel, which has room for it. What is begun later is written later.
func (g *Group[T]) Begin(items []T) <-chan error {
	b := bundle[T]{items: items, done: make(chan error, 1)}
	g.mu.Lock()
	g.waiting = append(g.waiting, b)
	if !g.busy {
		g.busy = true
		go g.run()
	}
	g.mu.Unlock()
	return b.done
}

// run writes until nobody waits.
func (g *Group[T]) run() {
	for {
		now := g.next()
		if now == nil {
			return
		}
		var items []T
		for _, b := range now {
			items = append(items, b.items...)
		}
		var err error
		if len(items) > 0 {
			err = g.Write(items)
		}
		for _, b := range now {
			b.done <- err
		}
	}
}

// next takes as many bundles as make one write.
func (g *Group[T]) next() []bundle[T] {
	g.mu.Lock()
	defer g.mu.Unlock()
	full, n := 0.0, 0
	for ; n < len(g.waiting); n++ {
		for _, it := range g.waiting[n].items {
			full += g.Share(it)
		}
		if n > 0 && full > 1 {
			break
		}
	}
	if n == 0 {
		g.busy, g.waiting = false, nil
		return nil
	}
	now := g.waiting[:n:n]
	g.waiting = g.waiting[n:]
	return now
}

// Parted splits items so that each part makes no more than one write.
func (g *Group[T]) Parted(items []T) (parts [][]T) {
	full, from := 0.0, 0
	for i, it := range items {
		share := g.Share(it)
		if full += share; full > 1 && i > from {
			parts, full, from = append(parts, items[from:i]), share, i
		}
	}
	if from < len(items) {
		parts = append(parts, items[from:])
	}
	return parts
}
