package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/snapshot"
)

// snapDriver is a fakeDriver that makes snapshots: their content is "good".
type snapDriver struct {
	*fakeDriver
	blanks int // made; guarded by mu
}

type fakeBlank struct{ *fakeSandbox }

func (d *snapDriver) Build() string     { return "fake" }
func (d *snapDriver) Shape(Spec) string { return "one" }

func (d *snapDriver) Blank(ctx context.Context, _ string, like Spec) (Blank, error) {
	if like.Process == nil {
		like.Process = func(Paths) Process { return Process{} }
	}
	sb, err := d.Create(ctx, like)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.blanks++
	d.created--
	return fakeBlank{sb.(*fakeSandbox)}, nil
}

func (b fakeBlank) Restore(_ context.Context, _ Spec, state *os.File) (Sandbox, error) {
	text, err := io.ReadAll(state)
	if err != nil || string(text) != "good" {
		return nil, fmt.Errorf("a snapshot of %q: %v", text, err)
	}
	go b.run(false)
	return b.fakeSandbox, nil
}

// Save ends the sandbox, as a driver's does.
func (sb *fakeSandbox) Save(_ context.Context, state *os.File) error {
	_, err := state.WriteString("good")
	sb.end(Exit{})
	return err
}

type fakeImage string

func (i fakeImage) EROFS(context.Context) (string, error) { return string(i), nil }
func (i fakeImage) Dir(context.Context) (string, error)   { return string(i), nil }

// newSnapshotPool returns a pool with snapshots in a directory.
func newSnapshotPool(t *testing.T, d *fakeDriver, change func(*PoolConfig)) (p *Pool, dir string) {
	t.Helper()
	dir = t.TempDir()
	store, err := snapshot.Open(snapshot.Config{Dir: dir, MaxBytes: 1 << 20, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	p = newTestPool(t, d, func(c *PoolConfig) {
		c.Driver, c.Snapshots, c.SpareMB = &snapDriver{fakeDriver: d}, store, 4*spareMB
		c.Plan = func(context.Context, *function.Version) (Plan, error) {
			return Plan{Guest: fakeGuest{}, Spec: Spec{Root: fakeImage("root"), Code: fakeImage("code")}}, nil
		}
		if change != nil {
			change(c)
		}
	})
	return p, dir
}

// eventually waits for what happens in the background.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// saved runs a call of name and waits for the snapshot that follows.
func saved(t *testing.T, p *Pool, name string) {
	t.Helper()
	before := p.Snapshots().Taken
	i := acquire(t, p, name)
	i.Call(call("first", ""))
	p.Release(i)
	eventually(t, "a snapshot", func() bool { return p.Snapshots().Taken > before })
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestLaterStartsAreCopiesOfASnapshotThatSawNoCall(t *testing.T) {
	var mu sync.Mutex
	called, frames := map[*fakeSandbox]bool{}, map[*fakeSandbox][]string{}
	d := &fakeDriver{}
	d.answer = func(sb *fakeSandbox, f Frame) (Frame, bool) {
		mu.Lock()
		defer mu.Unlock()
		called[sb] = true
		return echo(sb, f)
	}
	d.around = func(sb *fakeSandbox, f Frame) (Frame, bool) {
		mu.Lock()
		defer mu.Unlock()
		if f.Kind == FrameSnapshot && called[sb] {
			t.Error("a snapshot is made of an instance that ran a call")
		}
		frames[sb] = append(frames[sb], fmt.Sprint(f.Kind, string(f.Header)))
		return Frame{Kind: FrameReady}, true
	}
	p, _ := newSnapshotPool(t, d, nil)
	saved(t, p, "f")
	a := acquire(t, p, "f") // the one that ran the first call
	b := acquire(t, p, "f")
	if a.restored || !b.restored {
		t.Errorf("restored: %v and %v", a.restored, b.restored)
	}
	if times, fresh := b.Start(); !fresh || times.Init != 0 || times.Restore <= 0 || times.Revive > times.Restore {
		t.Errorf("its start took %+v", times)
	}
	mu.Lock()
	if got, want := strings.Join(frames[b.sb.(*fakeSandbox)], ""), fmt.Sprint(FrameRestore, "INSTANCE: "+b.ID+"\r\n"); got != want {
		t.Errorf("the copy was told %q, want %q", got, want)
	}
	mu.Unlock()
	if got := b.Call(call("r", "x")); string(got.Body) != "x" {
		t.Errorf("the copy answered %q", got.Body)
	}
	p.Release(a)
	p.Release(b)
	if c := p.Snapshots(); c.Taken != 1 || c.Restored != 1 || c.Failed != 0 || c.Refused != 0 {
		t.Errorf("counted %+v", c)
	}
}

func TestFailedRestoreStartsInTheNormalWayAndDiscardsTheSnapshot(t *testing.T) {
	for name, spoil := range map[string]func(*testing.T, *fakeDriver, string){
		"by the driver": func(t *testing.T, _ *fakeDriver, path string) {
			if err := os.WriteFile(path, []byte("bad"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"the guest dies": func(_ *testing.T, d *fakeDriver, _ string) {
			d.around = func(_ *fakeSandbox, f Frame) (Frame, bool) {
				return Frame{Kind: FrameReady}, f.Kind != FrameRestore
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := &fakeDriver{}
			p, dir := newSnapshotPool(t, d, nil)
			saved(t, p, "f")
			spoil(t, d, files(t, dir)[0])
			a, b := acquire(t, p, "f"), acquire(t, p, "f")
			if times, _ := b.Start(); b.restored || times.Init <= 0 || times.Restore != 0 {
				t.Errorf("restored: %v, in %+v", b.restored, times)
			}
			if c := p.Snapshots(); c.Failed != 1 || c.Restored != 0 || len(files(t, dir)) != 0 {
				t.Errorf("counted %+v; left are %v", c, files(t, dir))
			}
			p.Release(a)
			p.Release(b)
			eventually(t, "a new snapshot", func() bool { return p.Snapshots().Taken == 2 })
		})
	}
}

func TestGuestThatKnowsNothingOfSnapshotsIsNotToldOfThem(t *testing.T) {
	d := &fakeDriver{around: func(_ *fakeSandbox, f Frame) (Frame, bool) {
		t.Errorf("it was sent a frame of kind %d", f.Kind)
		return Frame{}, false
	}}
	p, _ := newSnapshotPool(t, d, nil)
	saved(t, p, "unaware")
	a, b := acquire(t, p, "unaware"), acquire(t, p, "unaware")
	if times, _ := b.Start(); !b.restored || times.Restore <= 0 || times.Revive != 0 {
		t.Errorf("restored: %v, in %+v", b.restored, times)
	}
	p.Release(a)
	p.Release(b)
}

func TestHookThatFailsAfterARestoreIsTheFunctionsError(t *testing.T) {
	d := &fakeDriver{around: func(_ *fakeSandbox, f Frame) (Frame, bool) {
		if f.Kind == FrameSnapshot {
			return Frame{Kind: FrameReady}, true
		}
		return Frame{Kind: FrameInitError, Header: []byte("Error-Type: Hook\r\n"), Body: []byte("no")}, true
	}}
	p, dir := newSnapshotPool(t, d, nil)
	saved(t, p, "f")
	a := acquire(t, p, "f")
	_, err := p.Acquire(t.Context(), version("f", 128))
	var failed *InitError
	if !errors.As(err, &failed) || string(failed.For("r")) != "no" || failed.ErrorType != "Hook" {
		t.Fatalf("the call got %v", err)
	}
	if times := failed.Times; times.Init != 0 || times.Revive <= 0 || times.Restore < times.Revive || len(failed.Instance) != 32 {
		t.Errorf("instance %q took %+v", failed.Instance, times)
	}
	if len(files(t, dir)) != 1 || p.Snapshots().Failed != 0 {
		t.Error("the snapshot is blamed")
	}
	p.Release(a)
}

func TestSnapshotIsNotMadeWhereTheOwnerOrTheGuestRefuses(t *testing.T) {
	t.Run("owner", func(t *testing.T) {
		p, _ := newSnapshotPool(t, &fakeDriver{}, nil)
		v := version("f", 128)
		v.Snapshot = function.SnapshotOff
		i, err := p.Acquire(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		p.Release(i)
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.saves.wanted) != 0 || p.saves.active {
			t.Error("a snapshot is wanted")
		}
	})
	t.Run("guest", func(t *testing.T) {
		d := &fakeDriver{around: func(*fakeSandbox, Frame) (Frame, bool) { return Frame{Kind: FrameInitError}, true }}
		p, dir := newSnapshotPool(t, d, nil)
		for n := range saveTries + 1 {
			i := acquire(t, p, "f")
			i.broken = true // the next call starts another
			p.Release(i)
			want := int64(min(n+1, saveTries))
			eventually(t, "a refusal", func() bool { return p.Snapshots().Refused == want })
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.saves.wanted) != 0 || len(files(t, dir)) != 0 {
			t.Error("it is tried for ever")
		}
	})
}

func TestRetiredCodeLosesItsSnapshot(t *testing.T) {
	p, dir := newSnapshotPool(t, &fakeDriver{}, nil)
	saved(t, p, "f")
	saved(t, p, "g")
	p.Retire(version("f", 128).Fingerprint())
	if len(files(t, dir)) != 1 {
		t.Errorf("left are %v", files(t, dir))
	}
}

func TestSnapshotGivesWayToACallThatNeedsTheMemory(t *testing.T) {
	d := &fakeDriver{boots: make(chan struct{}, 8)}
	d.boots <- struct{}{}
	p, _ := newSnapshotPool(t, d, func(c *PoolConfig) { c.MemoryMB = 256 })
	p.Release(acquire(t, p, "f"))
	eventually(t, "a snapshot under way", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.saves.giveUp != nil
	})
	a := acquire(t, p, "f")
	d.boots <- struct{}{} // for the maker, which is not to come so far, or for g
	d.boots <- struct{}{}
	b := acquire(t, p, "g") // had to wait for the queue limit otherwise
	p.Release(a)
	p.Release(b)
	close(d.boots)
	if p.Snapshots().Refused != 0 {
		t.Error("having given way counts as a failure")
	}
}

func TestSparesFollowTheStartsOfTheLastMinutes(t *testing.T) {
	start := time.Now()
	at := func(seconds ...float64) (times []time.Time) {
		for _, s := range seconds {
			times = append(times, start.Add(time.Duration(s*float64(time.Second))))
		}
		return times
	}
	for _, c := range []struct {
		name  string
		takes []time.Time
		now   float64
		want  int
	}{
		{"none yet", nil, 0, 1},
		{"one", at(0), 1, 1},
		{"a burst", at(0, 0.1, 0.2, 0.3), 60, 4},
		{"apart", at(0, 10, 20, 30), 31, 1},
		{"a burst among others", at(0, 20, 21, 22, 40), 60, 3},
		{"long ago", at(0, 0.1, 0.2, 0.3), 700, 1},
	} {
		sh := &shape{takes: c.takes}
		if got := sh.wanted(start.Add(time.Duration(c.now * float64(time.Second)))); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestSparesAreMadeAheadWithinTheirBudget(t *testing.T) {
	d := &fakeDriver{}
	p, _ := newSnapshotPool(t, d, func(c *PoolConfig) { c.SpareMB = 2 * spareMB })
	saved(t, p, "f")
	eventually(t, "a spare", func() bool { return p.spares.readyCount() == 1 })
	var all []*Instance
	for range 5 {
		all = append(all, acquire(t, p, "f"))
	}
	for _, i := range all {
		p.Release(i)
	}
	eventually(t, "as many spares as the budget allows", func() bool { return p.spares.readyCount() == 2 })
	p.spares.mu.Lock()
	defer p.spares.mu.Unlock()
	if p.spares.count != 2 {
		t.Errorf("%d spares are counted", p.spares.count)
	}
}

func TestDeadSpareIsPassedOver(t *testing.T) {
	p, _ := newSnapshotPool(t, &fakeDriver{}, nil)
	saved(t, p, "f")
	eventually(t, "a spare", func() bool { return p.spares.readyCount() == 1 })
	p.spares.mu.Lock()
	for _, sh := range p.spares.shapes {
		sh.ready[0].(fakeBlank).end(Exit{Signal: 9})
	}
	p.spares.mu.Unlock()
	a, b := acquire(t, p, "f"), acquire(t, p, "f")
	if !b.restored {
		t.Error("it was not restored")
	}
	p.Release(a)
	p.Release(b)
}
