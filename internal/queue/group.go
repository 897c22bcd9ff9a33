package queue

import "sync"

// group writes what many callers bring in few writes: while one is under way, the
// next gathers. Nobody waits for company.
type group[T any] struct {
	write func([]T) error
	most  int         // items of a write
	size  func(T) int // of an item in bytes
	bytes int         // of a write; one caller's items are never parted

	mu      sync.Mutex
	waiting []bundle[T] // guarded by mu
	busy    bool        // guarded by mu
}

type bundle[T any] struct {
	items []T
	done  chan error
}

// do returns when the items are written, in the order of the calls.
func (g *group[T]) do(items []T) error {
	b := bundle[T]{items: items, done: make(chan error, 1)}
	g.mu.Lock()
	g.waiting = append(g.waiting, b)
	if !g.busy {
		g.busy = true
		go g.run()
	}
	g.mu.Unlock()
	return <-b.done
}

// run writes until nobody waits.
func (g *group[T]) run() {
	for {
		now := g.next()
		if now == nil {
			return
		}
		var items []T
		for _, b := range now {
			items = append(items, b.items...)
		}
		err := g.write(items)
		for _, b := range now {
			b.done <- err
		}
	}
}

// next takes as many bundles as make one write.
func (g *group[T]) next() []bundle[T] {
	g.mu.Lock()
	defer g.mu.Unlock()
	items, bytes, n := 0, 0, 0
	for ; n < len(g.waiting); n++ {
		items += len(g.waiting[n].items)
		for _, it := range g.waiting[n].items {
			bytes += g.size(it)
		}
		if n > 0 && (items > g.most || bytes > g.bytes) {
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
