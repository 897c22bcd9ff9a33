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
	p.Release(first) // a brief call: worth waiting for
	first = acquire(t, p, "f")
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
	p.Release(first)
	first = acquire(t, p, "f")
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
	full, rests.group.shortest = true, time.Millisecond
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

func TestCallWaitsForABusyInstanceOnlyWhileThatIsSoonerThanAStart(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name              string
		shortest          time.Duration
		place, live, idle int
		starting, busy    int
		full              bool
		waited, want      time.Duration
		added             time.Duration // ago
	}{
		{name: "none runs", shortest: time.Millisecond, place: 1, live: 1, starting: 1},
		{name: "nothing is known of the calls", place: 1, live: 1, busy: 1},
		{name: "brief calls", shortest: time.Millisecond, place: 1, live: 1, busy: 1, want: 10 * time.Millisecond},
		{name: "brief calls, waited enough", shortest: time.Millisecond, place: 1, live: 1, busy: 1, waited: 10 * time.Millisecond},
		{name: "many are before it", shortest: 50 * time.Millisecond, place: 3, live: 1, busy: 1},
		{name: "many are before it, but many run", shortest: 50 * time.Millisecond, place: 3, live: 2, busy: 2, want: startCost},
		{name: "long calls", shortest: time.Second, place: 1, live: 1, busy: 1},
		{name: "long calls, full", shortest: time.Second, place: 1, live: 1, busy: 1, full: true},
		{name: "full", shortest: 200 * time.Millisecond, place: 9, live: 1, busy: 1, full: true, want: startHold},
		{name: "an idle one, and CPUs have time", shortest: time.Millisecond, place: 1, live: 200, idle: 1, busy: 199},
		{name: "an idle one, full", shortest: time.Millisecond, place: 1, live: 200, idle: 1, busy: 199, full: true, want: wakeHold},
		{name: "another was woken just now", shortest: time.Millisecond, place: 1, live: 200, idle: 1, busy: 199, full: true, waited: time.Second, added: 40 * time.Millisecond, want: 60 * time.Millisecond},
		{name: "another was woken just now, but CPUs have time again", shortest: time.Millisecond, place: 1, live: 200, idle: 1, busy: 199, waited: time.Second, added: 40 * time.Millisecond},
		{name: "an idle one, full by others", shortest: time.Millisecond, place: 1, live: 2, idle: 1, busy: 0, full: true},
	} {
		g := &group{version: version("f", 128), idle: make([]*Instance, c.idle), starting: c.starting, supply: supply{live: c.live}, crowd: crowd{shortest: c.shortest}}
		if c.added > 0 {
			g.added = now.Add(-c.added)
		}
		p := &Pool{cfg: PoolConfig{Saturated: func() bool { return c.full }}, busyNow: c.busy}
		if got := p.rest(&waiter{g: g, since: now.Add(-c.waited)}, c.place, now); got != c.want {
			t.Errorf("%s: waits %v, want %v", c.name, got, c.want)
		}
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
		{"a little less is no change", 100 * time.Millisecond, 16, 20, true},
		{"but a quarter idle is", 100 * time.Millisecond, 14, 20, false},
		{"and takes more than that again", 100 * time.Millisecond, 16, 20, false},
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
