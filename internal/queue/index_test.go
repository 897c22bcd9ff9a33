package queue

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestIndexKeepsItsWordUnderRandomWork plays many random lives of messages and
// checks after each step what must always hold.
func TestIndexKeepsItsWordUnderRandomWork(t *testing.T) {
	for _, fifo := range []bool{false, true} {
		for seed := range uint64(50) {
			r := rand.New(rand.NewPCG(seed, 1))
			x := newIndex(fifo)
			now, pos := int64(1000), uint64(0)
			var held []*entry
			for step := range 400 {
				now += r.Int64N(3)
				switch r.IntN(5) {
				case 0, 1:
					pos++
					e := &entry{pos: pos, head: head{Group: fmt.Sprint(r.IntN(4))}}
					if r.IntN(3) == 0 {
						e.due = now + r.Int64N(5)
					}
					x.add(e, now)
				case 2:
					taken, dead := x.take(now, 1+r.IntN(4), now+1+r.Int64N(10), 3)
					for _, e := range dead {
						x.remove(e)
					}
					held = append(held, taken...)
				case 3:
					if len(held) > 0 {
						i := r.IntN(len(held))
						if e := held[i]; x.all[e.pos] == e {
							x.remove(e)
						}
						held = append(held[:i], held[i+1:]...)
					}
				case 4:
					if len(held) > 0 {
						if e := held[r.IntN(len(held))]; x.all[e.pos] == e && e.state == out {
							x.hide(e, now+r.Int64N(3), now)
						}
					}
				}
				checkIndex(t, x, fmt.Sprintf("fifo %v, seed %d, step %d", fifo, seed, step))
				if t.Failed() {
					return
				}
			}
		}
	}
}

func checkIndex(t *testing.T, x *index, when string) {
	t.Helper()
	var count [busy + 1]int
	groups := map[string][2]int{} // how many are queued and out
	for _, e := range x.all {
		count[e.state]++
		g := groups[e.Group]
		if e.state == ready || e.state == delayed {
			g[0]++
		} else {
			g[1]++
		}
		groups[e.Group] = g
	}
	if count != x.count {
		t.Errorf("%s: counts %v, want %v", when, x.count, count)
	}
	if len(x.due) != count[delayed]+count[out] {
		t.Errorf("%s: %d are due, want %d", when, len(x.due), count[delayed]+count[out])
	}
	if !x.fifo {
		if len(x.ready) != count[ready] {
			t.Errorf("%s: %d are ready, want %d", when, len(x.ready), count[ready])
		}
		return
	}
	if len(x.group) != len(groups) {
		t.Errorf("%s: %d groups, want %d", when, len(x.group), len(groups))
	}
	open := 0
	for key, l := range x.group {
		if g := groups[key]; len(l.queued) != g[0] || l.out != g[1] {
			t.Errorf("%s: group %s has %d queued and %d out, want %v", when, key, len(l.queued), l.out, g)
		}
		for i := 1; i < len(l.queued); i++ {
			if l.queued[i-1].pos >= l.queued[i].pos {
				t.Errorf("%s: group %s is out of order", when, key)
			}
		}
		if l.open() {
			open++
			if l.at < 0 || x.lanes[l.at] != l {
				t.Errorf("%s: group %s is open and not on offer", when, key)
			}
		}
	}
	if open != len(x.lanes) {
		t.Errorf("%s: %d groups are on offer, want %d", when, len(x.lanes), open)
	}
}

func TestStandardMessagesAreReceivedOldestFirst(t *testing.T) {
	x := newIndex(false)
	for _, pos := range []uint64{3, 1, 2} {
		x.add(&entry{pos: pos}, 0)
	}
	taken, _ := x.take(0, 2, 10, 0)
	if len(taken) != 2 || taken[0].pos != 1 || taken[1].pos != 2 {
		t.Errorf("took %v", taken)
	}
	taken, _ = x.take(10, 3, 20, 0) // those that came back before the one that waits
	if len(taken) != 3 || taken[0].pos != 1 || taken[2].pos != 3 {
		t.Errorf("took %v", taken)
	}
}
