package gvisor

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/sandbox"
	"github.com/mayfly-dev/mayfly/internal/sandbox/sandboxtest"
)

// sample collects durations; the least and the median tell more than the mean
// on a machine that does other things too.
type sample []time.Duration

func (s sample) report(b *testing.B, name string) {
	if len(s) == 0 {
		return
	}
	sorted := slices.Sorted(slices.Values(s))
	b.ReportMetric(float64(sorted[0].Microseconds())/1000, name+"-min-ms")
	b.ReportMetric(float64(sorted[len(sorted)/2].Microseconds())/1000, name+"-p50-ms")
}

func benchDriver(b *testing.B) (sandbox.Driver, sandboxtest.Set) {
	b.Helper()
	d, err := New(Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := d.Close(); err != nil {
			b.Error(err)
		}
	})
	return d, sandboxtest.Images(b)
}

// BenchmarkCold measures a sandbox's life: until its kernel waits, until its
// process is started, until the process's first frame, and its end.
func BenchmarkCold(b *testing.B) {
	d, images := benchDriver(b)
	if err := d.Prepare(b.Context(), images.Spec()); err != nil {
		b.Fatal(err)
	}
	var create, start, ready, total, end sample
	for b.Loop() {
		t0 := time.Now()
		s, err := d.Create(b.Context(), images.Spec())
		if err != nil {
			b.Fatal(err)
		}
		t1 := time.Now()
		if err := s.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
		t2 := time.Now()
		_, stdout, _ := s.Link()
		if _, err := sandbox.ReadFrame(stdout, 1<<20); err != nil {
			b.Fatal(err)
		}
		t3 := time.Now()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		create, start, ready = append(create, t1.Sub(t0)), append(start, t2.Sub(t1)), append(ready, t3.Sub(t2))
		total, end = append(total, t3.Sub(t0)), append(end, time.Since(t3))
	}
	create.report(b, "create")
	start.report(b, "start")
	ready.report(b, "ready")
	total.report(b, "total")
	end.report(b, "close")
}

// BenchmarkRestore measures a copy's life: until a blank is there, until the
// snapshot is restored, until the first answer, and its end.
func BenchmarkRestore(b *testing.B) {
	d, images := benchDriver(b)
	path := sandboxtest.Start(b, d, images.Spec()).Save()
	var blank, restore, answer, end sample
	for b.Loop() {
		spec := images.Spec()
		t0 := time.Now()
		bl, err := d.(sandbox.Snapshotter).Blank(b.Context(), spec.ID, spec)
		if err != nil {
			b.Fatal(err)
		}
		t1 := time.Now()
		time.Sleep(50 * time.Millisecond) // it settles
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		t2 := time.Now()
		s, err := bl.Restore(b.Context(), spec, f)
		if err != nil {
			b.Fatal(err)
		}
		t3 := time.Now()
		stdin, stdout, _ := s.Link()
		if _, err := stdin.Write(sandbox.AppendFrame(nil, sandbox.Frame{Kind: sandbox.FrameInvoke, Header: []byte("echo")})); err != nil {
			b.Fatal(err)
		}
		if _, err := sandbox.ReadFrame(stdout, 1<<20); err != nil {
			b.Fatal(err)
		}
		t4 := time.Now()
		f.Close()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		blank, restore, answer, end = append(blank, t1.Sub(t0)), append(restore, t3.Sub(t2)), append(answer, t4.Sub(t3)), append(end, time.Since(t4))
	}
	blank.report(b, "blank")
	restore.report(b, "restore")
	answer.report(b, "answer")
	end.report(b, "close")
}

// BenchmarkEcho measures a frame's way into a sandbox and back.
func BenchmarkEcho(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 20, 6 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			d, images := benchDriver(b)
			p := sandboxtest.Start(b, d, images.Spec())
			body := make([]byte, size)
			var echo sample
			for b.Loop() {
				t := time.Now()
				p.Must("echo", body)
				echo = append(echo, time.Since(t))
			}
			echo.report(b, "echo")
		})
	}
}

// BenchmarkPause measures a freeze, and a thaw until the next answer.
func BenchmarkPause(b *testing.B) {
	d, images := benchDriver(b)
	p := sandboxtest.Start(b, d, images.Spec())
	var pause, resume, answer sample
	for b.Loop() {
		p.Must("echo", nil)
		t0 := time.Now()
		if err := p.Pause(b.Context()); err != nil {
			b.Fatal(err)
		}
		t1 := time.Now()
		time.Sleep(20 * time.Millisecond)
		t2 := time.Now()
		if err := p.Resume(b.Context()); err != nil {
			b.Fatal(err)
		}
		t3 := time.Now()
		p.Must("echo", nil)
		pause, resume, answer = append(pause, t1.Sub(t0)), append(resume, t3.Sub(t2)), append(answer, time.Since(t2))
	}
	pause.report(b, "pause")
	resume.report(b, "resume")
	answer.report(b, "resume+answer")
}

// BenchmarkMemory measures what asking for the memory in use costs.
func BenchmarkMemory(b *testing.B) {
	d, images := benchDriver(b)
	p := sandboxtest.Start(b, d, images.Spec())
	for b.Loop() {
		if _, _, err := p.Sandbox.Memory(); err != nil {
			b.Fatal(err)
		}
	}
}
