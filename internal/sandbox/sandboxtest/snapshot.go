package sandboxtest

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

// Save writes a snapshot of p to a file below t.TempDir and returns its path.
// p has ended then.
func (p *Probe) Save() string {
	p.t.Helper()
	path := filepath.Join(p.t.TempDir(), "state")
	f, err := os.Create(path)
	check(p.t, err)
	defer f.Close()
	check(p.t, p.Sandbox.(sandbox.Saver).Save(p.t.Context(), f))
	return path
}

// Restore makes a running copy from a snapshot of a sandbox of spec, and closes
// it at the test's end.
func Restore(t testing.TB, d sandbox.Driver, spec sandbox.Spec, path string) *Probe {
	t.Helper()
	b, err := d.(sandbox.Snapshotter).Blank(t.Context(), spec.ID, spec)
	check(t, err)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	f, err := os.Open(path)
	check(t, err)
	defer f.Close()
	sb, err := b.Restore(t.Context(), spec, f)
	check(t, err)
	p := &Probe{sb, t}
	p.deadline(30 * time.Second)
	return p
}

type clock struct{ Wall, Run int64 }

func (p *Probe) clock() (c clock) {
	p.t.Helper()
	check(p.t, json.Unmarshal(p.Must("clock", nil), &c))
	return c
}

func (p *Probe) clockCost() (c struct{ Clock, Call int64 }) {
	p.t.Helper()
	check(p.t, json.Unmarshal(p.Must("clock cost", nil), &c))
	return c
}

func (s *suite) snapshot(t *testing.T) {
	d := s.newDriver(t)
	if _, ok := d.(sandbox.Snapshotter); !ok {
		t.Fatal("the driver makes no snapshots")
	}
	p := Start(t, d, s.images.Spec())
	p.Must("keep", []byte("in memory"))
	p.Must("write /tmp/file", []byte("in a file"))
	p.Must("pair", nil)
	before := p.clock()
	path := p.Save()
	p.waitDone(t)
	check(t, p.Close())

	first, second := Restore(t, d, s.images.Spec(), path), Restore(t, d, s.images.Spec(), path)
	for _, c := range []*Probe{first, second} {
		if took := c.clockCost(); took.Clock > took.Call/3 {
			t.Errorf("a look at a clock takes %d ns, a system call %d: it is one", took.Clock, took.Call)
		}
		if got := string(c.Must("kept", nil)); got != "in memory" {
			t.Errorf("memory holds %q", got)
		}
		if got := string(c.Must("read /tmp/file", nil)); got != "in a file" {
			t.Errorf("the file in /tmp holds %q", got)
		}
		if got := string(c.Must("read /var/task/code.txt", nil)); got != "the code" {
			t.Errorf("the code is %q", got)
		}
		if got := string(c.Must("pass", []byte("over loopback"))); got != "over loopback" {
			t.Errorf("a connection over the loopback passed on %q", got)
		}
		c.Must("keep", []byte("its own"))
		c.Must("write /tmp/file", []byte("its own"))
		c.Must("echo", make([]byte, 6<<20))
	}

	t.Run("copies are apart", func(t *testing.T) {
		third := Restore(t, d, s.images.Spec(), path)
		if a, b := string(third.Must("kept", nil)), string(third.Must("read /tmp/file", nil)); a != "in memory" || b != "in a file" {
			t.Errorf("a copy sees what another did: %q and %q", a, b)
		}
	})
	t.Run("clocks are right", func(t *testing.T) {
		now := first.clock()
		if off := time.Since(time.Unix(0, now.Wall)).Abs(); off > 10*time.Second {
			t.Errorf("the wall clock is off by %v", off)
		}
		wall, run := time.Duration(now.Wall-before.Wall), time.Duration(now.Run-before.Run)
		if wall <= 0 || (wall-run).Abs() > time.Second {
			t.Errorf("the wall clock went on by %v, the monotonic one by %v", wall, run)
		}
	})
	t.Run("the kernel's random numbers differ", func(t *testing.T) {
		for _, action := range []string{"random", "read /proc/sys/kernel/random/uuid", "read /proc/sys/kernel/random/boot_id"} {
			if a, b := string(first.Must(action, nil)), string(second.Must(action, nil)); a == b {
				t.Errorf("%s gives %s in both copies", action, a)
			}
		}
	})
	t.Run("it pauses, tells its memory, and ends like any other", func(t *testing.T) {
		check(t, first.Pause(t.Context()))
		check(t, first.Resume(t.Context()))
		first.Must("alloc 40", nil)
		if now, peak, err := first.Memory(); err != nil || now < 40<<20 || now > 100<<20 || peak < now {
			t.Errorf("with 40 MiB more it uses %d bytes, at most %d, %v", now, peak, err)
		}
		check(t, first.Send("exit 3", nil))
		first.waitDone(t)
		if got := first.Exit(); got != (sandbox.Exit{Code: 3}) {
			t.Errorf("Exit is %+v", got)
		}
	})
	t.Run("its limits hold", func(t *testing.T) {
		if !s.opts.Limits {
			t.Skip("the driver has none")
		}
		for action, most := range map[string]int{"fill /tmp/big": 32, "open": 128} {
			var got struct{ N, Errno int }
			check(t, json.Unmarshal(second.Must(action, nil), &got))
			if got.N == 0 || got.N > most || got.Errno == 0 {
				t.Errorf("%s stopped after %d, want at most %d", action, got.N, most)
			}
		}
		if text := string(second.Must("read /proc/meminfo", nil)); s.opts.Memory && !containsLine(text, "MemTotal:         131072 kB\n") {
			t.Errorf("meminfo has no 128 MiB in all:\n%s", text)
		}
	})
	t.Run("the memory limit ends it", func(t *testing.T) {
		if !s.opts.Memory {
			t.Skip("the driver has none")
		}
		check(t, second.Send("alloc 2000", nil))
		second.waitDone(t)
		if got := second.Exit(); !got.OOM {
			t.Errorf("Exit is %+v, want out of memory", got)
		}
	})
}

func (s *suite) badSnapshot(t *testing.T) {
	d := s.newDriver(t)
	p := Start(t, d, s.images.Spec())
	good, err := os.ReadFile(p.Save())
	check(t, err)
	for name, state := range map[string][]byte{
		"empty":   nil,
		"garbage": []byte(strings.Repeat("garbage", 1000)),
		"cut":     good[:len(good)/2],
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state")
			check(t, os.WriteFile(path, state, 0o600))
			f, err := os.Open(path)
			check(t, err)
			defer f.Close()
			spec := s.images.Spec()
			b, err := d.(sandbox.Snapshotter).Blank(t.Context(), spec.ID, spec)
			check(t, err)
			defer func() { check(t, b.Close()) }()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if _, err := b.Restore(ctx, spec, f); err == nil {
				t.Error("it was restored")
			} else if ctx.Err() != nil {
				t.Error("the failure does not show")
			}
		})
	}
	t.Run("a blank that is not used", func(t *testing.T) {
		spec := s.images.Spec()
		b, err := d.(sandbox.Snapshotter).Blank(t.Context(), spec.ID, spec)
		check(t, err)
		check(t, b.Close())
		<-b.Done()
	})
}
