package sandbox

import (
	"runtime"
	"testing"
	"time"
)

func saturated(c *PoolConfig) { c.Saturated = func() bool { return true } }

// another asks for an instance of f in the background.
func another(t *testing.T, p *Pool) <-chan *Instance {
	got := make(chan *Instance, 1)
	go func() {
		i, err := p.Acquire(t.Context(), version("f", 128))
		if err != nil {
			t.Error(err)
		}
		got <- i
	}()
	return got
}

func TestNoInstanceIsStartedForACallThatOneIsFreedForWhileCPUsAreFull(t *testing.T) {
	d := &fakeDriver{}
	p := newTestPool(t, d, saturated)
	first := acquire(t, p, "f")
	got := another(t, p)
	untilOneWaits(p)
	p.mu.Lock()
	if p.starts != 0 {
		t.Errorf("%d instances are starting, want none", p.starts)
	}
	p.mu.Unlock()
	p.Release(first)
	i := <-got
	if i != first || d.created != 1 {
		t.Errorf("the call has another instance than the freed one; %d were made", d.created)
	}
	p.Release(i)
}

func TestCallThatWaitedLongGetsAnInstanceOfItsOwnThoughCPUsAreFull(t *testing.T) {
	p := newTestPool(t, &fakeDriver{}, saturated)
	first := acquire(t, p, "f")
	second := <-another(t, p)
	if second == first {
		t.Error("two calls have the same instance")
	}
	p.Release(first)
	p.Release(second)
}

func TestIdleInstanceStaysIdleWhileBriefCallsFillTheCPUs(t *testing.T) {
	var full bool
	p := newTestPool(t, &fakeDriver{}, func(c *PoolConfig) { c.Saturated = func() bool { return full }; c.MemoryMB = 1 << 20 })
	var all []*Instance
	for range runtime.GOMAXPROCS(0) + 1 {
		all = append(all, acquire(t, p, "f"))
	}
	rests := all[len(all)-1]
	p.Release(rests)
	p.mu.Lock()
	full, rests.group.lasting = true, time.Millisecond
	p.mu.Unlock()

	got := another(t, p)
	untilOneWaits(p)
	p.Release(all[0])
	if i := <-got; i != all[0] {
		t.Error("an idle instance was woken where one was about to be free")
	}
	got = another(t, p) // nobody frees one in time
	if i := <-got; i != rests {
		t.Error("the idle instance did not serve a call that waited for long")
	}
	for _, i := range all {
		p.Release(i)
	}
}

func TestCPUsAreSaturatedWhenNothingWasIdleOverTheLastMoments(t *testing.T) {
	now := time.Unix(0, 0)
	var busy, total uint64
	c := &CPUs{read: func() (uint64, uint64, bool) { return busy, total, true }, now: func() time.Time { return now }}
	for _, step := range []struct {
		name        string
		after       time.Duration
		busy, total uint64
		want        bool
	}{
		{"at first nothing is known", time.Hour, 50, 100, false},
		{"all busy", 100 * time.Millisecond, 20, 20, true},
		{"too soon to look again", 10 * time.Millisecond, 0, 20, true},
		{"half idle", 100 * time.Millisecond, 10, 20, false},
		{"nearly all busy", 100 * time.Millisecond, 19, 20, true},
		{"too long ago to tell of now", time.Minute, 1000, 1000, false},
	} {
		now, busy, total = now.Add(step.after), busy+step.busy, total+step.total
		if got := c.Saturated(); got != step.want {
			t.Errorf("%s: %v", step.name, got)
		}
	}
}

func TestProcStatIsRead(t *testing.T) {
	for stat, want := range map[string][3]uint64{
		"cpu  10 1 5 100 4 2 3 5 0 0\ncpu0 1 1 1\n": {26, 130, 1},
		"cpu  10 1 5 100\n":                         {},
		"cpu  x 1 5 100 4 2 3 5\n":                  {},
		"":                                          {},
	} {
		busy, total, ok := parseCPUs([]byte(stat))
		if !ok {
			busy, total = 0, 0
		}
		if got := [3]uint64{busy, total, 0}; got[0] != want[0] || got[1] != want[1] || ok != (want[2] == 1) {
			t.Errorf("%q: %v %v", stat, got, ok)
		}
	}
	if _, total, ok := readCPUs(); !ok || total == 0 {
		t.Error("this machine's /proc/stat can't be read")
	}
}
