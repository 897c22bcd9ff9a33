package sandbox

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/function"
)

func TestInstanceGivesMemoryBackOncePerRest(t *testing.T) {
	d := &fakeDriver{}
	p := newTestPool(t, d, func(c *PoolConfig) { c.Linger, c.TrimAfter = 0, time.Millisecond })
	for n := 1; n <= 2; n++ {
		i := acquire(t, p, "f")
		p.Release(i)
		sb := i.sb.(*fakeSandbox)
		eventually(t, "an idle instance is trimmed", func() bool { return sb.trimmed() == n })
	}
	if got := p.Relief(); got != (ReliefCounts{Trimmed: 2}) {
		t.Errorf("%+v", got)
	}
}

func TestInstanceCalledAgainSoonPaysNothing(t *testing.T) {
	d := &fakeDriver{}
	p := newTestPool(t, d, func(c *PoolConfig) { c.Linger, c.TrimAfter = 0, time.Hour/2 })
	i := acquire(t, p, "f")
	p.Release(i)
	eventually(t, "it is frozen", i.isFrozen)
	if again := acquire(t, p, "f"); again != i || i.sb.(*fakeSandbox).trimmed() != 0 {
		t.Errorf("the same one: %v; trimmed %d times", again == i, i.sb.(*fakeSandbox).trimmed())
	}
	p.Release(i)
}

func TestScarceMemoryIsRelievedStepByStep(t *testing.T) {
	const reserve = 64 << 20
	var have atomic.Int64
	have.Store(reserve)
	p, _ := newSnapshotPool(t, &fakeDriver{}, func(c *PoolConfig) {
		c.ReserveMB, c.TrimAfter = reserve>>20, time.Hour/2
		c.Available = func() (int64, bool) { return have.Load(), true }
	})
	saved(t, p, "f")
	eventually(t, "a spare sandbox", func() bool { return p.Snapshots().Spares == 1 })
	take := func(name string) *Instance {
		v := version(name, 128)
		v.Snapshot = function.SnapshotOff
		i, err := p.Acquire(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	old, late, busy := take("old"), take("late"), take("busy")
	p.Release(old)
	p.Release(late)

	step := func(what string, want ReliefCounts) {
		t.Helper()
		p.relieve()
		if got := p.Relief(); got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	step("enough is available", ReliefCounts{})
	have.Store(reserve - 1)
	step("first", ReliefCounts{Scarce: true, Times: 1, Trimmed: 3}) // f's instance, too
	step("second", ReliefCounts{Scarce: true, Times: 1, Trimmed: 3, Spares: 1})
	if n := p.Snapshots().Spares; n != 0 {
		t.Errorf("there are %d spare sandboxes", n)
	}
	step("third", ReliefCounts{Scarce: true, Times: 1, Trimmed: 3, Spares: 1, Closed: 1})
	have.Store(0)
	step("fourth", ReliefCounts{Scarce: true, Times: 1, Trimmed: 3, Spares: 1, Closed: 3})
	step("nothing is left", ReliefCounts{Scarce: true, Times: 1, Trimmed: 3, Spares: 1, Closed: 3})
	p.Release(busy)
	step("what came to rest", ReliefCounts{Scarce: true, Times: 1, Trimmed: 4, Spares: 1, Closed: 3})
	have.Store(reserve)
	step("hardly enough", ReliefCounts{Scarce: true, Times: 1, Trimmed: 4, Spares: 1, Closed: 3})
	have.Store(2 * reserve)
	step("enough again", ReliefCounts{Times: 1, Trimmed: 4, Spares: 1, Closed: 3})
	eventually(t, "spare sandboxes are made again", func() bool { return p.Snapshots().Spares > 0 })
}
