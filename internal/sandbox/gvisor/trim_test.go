package gvisor

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/sandbox"
	"github.com/mayfly-dev/mayfly/internal/sandbox/sandboxtest"
)

// footprint returns the proportional memory of a sandbox's processes in KiB.
func footprint(t testing.TB, s *Sandbox) (sum int) {
	t.Helper()
	for _, pid := range append(children(s.pid), s.pid) {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
		if err != nil {
			continue // ended meanwhile
		}
		for line := range strings.Lines(string(text)) {
			field := strings.Fields(line)
			if len(field) < 2 || field[0] != "Pss:" {
				continue
			}
			kb, err := strconv.Atoi(field[1])
			if err != nil {
				t.Fatal(err)
			}
			sum += kb
		}
	}
	return sum
}

// TestTrimmedSandboxesAreSmallerAndWork goes through both kinds of trim: of a
// blank, and of a paused copy.
func TestTrimmedSandboxesAreSmallerAndWork(t *testing.T) {
	d := newDriver(t)
	images := sandboxtest.Images(t)
	path := sandboxtest.Start(t, d, images.Spec()).Save()
	bl, err := d.(sandbox.Snapshotter).Blank(t.Context(), "trimmed", images.Spec())
	if err != nil {
		t.Fatal(err)
	}
	defer bl.Close()
	s := bl.(*blank).s
	shrinks(t, s, s.Trim)
	state, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer state.Close()
	sb, err := bl.Restore(t.Context(), images.Spec(), state)
	if err != nil {
		t.Fatal(err)
	}
	echo(t, sb)
	if err := sb.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	shrinks(t, s, s.Trim)
	if err := sb.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	echo(t, sb)
}

// echo makes a call.
func echo(t testing.TB, sb sandbox.Sandbox) {
	t.Helper()
	stdin, stdout, _ := sb.Link()
	if _, err := stdin.Write(sandbox.AppendFrame(nil, sandbox.Frame{Kind: sandbox.FrameInvoke, Header: []byte("echo")})); err != nil {
		t.Fatal(err)
	}
	if _, err := sandbox.ReadFrame(stdout, 1<<20); err != nil {
		t.Fatal(err)
	}
}

// shrinks trims and waits for the sandbox to take two thirds of its memory at most.
func shrinks(t *testing.T, s *Sandbox, trim func() error) {
	t.Helper()
	before := footprint(t, s)
	if err := trim(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); footprint(t, s) > before*2/3; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("trimmed, a sandbox has %d KiB, and before %d", footprint(t, s), before)
		}
	}
}

// BenchmarkFootprint measures the memory of a blank and of a copy that waits, as
// they are and trimmed, and the first answer after each. Sandboxes share the
// pages of their program, so each costs less among others than alone.
func BenchmarkFootprint(b *testing.B) {
	for _, others := range []int{0, 4} {
		b.Run(fmt.Sprint("others=", others), func(b *testing.B) {
			d, images := benchDriver(b)
			path := sandboxtest.Start(b, d, images.Spec()).Save()
			spec := images.Spec()
			spec.Patient = true
			for n := range others {
				o, err := d.(sandbox.Snapshotter).Blank(b.Context(), fmt.Sprint("other-", n), spec)
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { o.Close() })
			}
			f := footprints{b: b, kib: map[string]sizes{}, took: map[string]sample{}}
			for n := 0; b.Loop(); n++ {
				f.life(d.(sandbox.Snapshotter), images.Spec(), path, n%2 == 1)
			}
			for name, list := range f.kib {
				b.ReportMetric(list.mean()/1024, name+"-MiB")
			}
			for name, list := range f.took {
				list.report(b, name)
			}
		})
	}
}

type sizes []int

func (s sizes) mean() float64 {
	sum := 0
	for _, k := range s {
		sum += k
	}
	return float64(sum) / float64(len(s))
}

type footprints struct {
	b    *testing.B
	kib  map[string]sizes
	took map[string]sample
}

// life takes a sandbox from blank to its third thaw.
func (f *footprints) life(d sandbox.Snapshotter, spec sandbox.Spec, path string, patient bool) {
	suffix := "-untrimmed"
	if spec.Patient = patient; patient { // such a blank is trimmed
		suffix = "-trimmed"
	}
	bl, err := d.Blank(f.b.Context(), spec.ID, spec)
	f.check(err)
	s := bl.(*blank).s
	time.Sleep(500 * time.Millisecond) // it settles
	f.note("blank"+suffix, s)
	state, err := os.Open(path)
	f.check(err)
	defer state.Close()
	began := time.Now()
	sb, err := bl.Restore(f.b.Context(), spec, state)
	f.check(err)
	f.answer("restore"+suffix, sb, began)
	for _, how := range []string{"idle", "idle-again", "idle-trimmed"} {
		f.check(sb.Pause(f.b.Context()))
		if how == "idle-trimmed" {
			f.check(s.Trim())
		}
		time.Sleep(2 * trimAgain)
		f.note(how, s)
		began = time.Now()
		f.check(sb.Resume(f.b.Context()))
		f.answer("thaw-"+how, sb, began)
	}
	f.check(sb.Close())
}

func (f *footprints) check(err error) {
	f.b.Helper()
	if err != nil {
		f.b.Fatal(err)
	}
}

func (f *footprints) note(name string, s *Sandbox) {
	f.kib[name] = append(f.kib[name], footprint(f.b, s))
}

// answer makes a call and notes how long ago it all began.
func (f *footprints) answer(name string, sb sandbox.Sandbox, began time.Time) {
	echo(f.b, sb)
	f.took[name] = append(f.took[name], time.Since(began))
}
