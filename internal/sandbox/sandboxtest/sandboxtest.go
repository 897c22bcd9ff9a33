// Package sandboxtest is the suite that every sandbox.Driver must pass.
package sandboxtest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/image/erofs"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

// Options say what a driver promises beyond running code.
type Options struct {
	Isolated bool // own processes, files and network; a read-only root; no root user
	Memory   bool // Spec.MemoryMB is enforced
	CPU      bool // Spec.MilliCPU is enforced, some time after the start
	Limits   bool // Spec.TmpMB, Pids and Files are enforced

	Snapshots bool // it is a sandbox.Snapshotter
}

// Run runs the suite. newDriver makes a driver on a directory of its own and
// leaves its end to t.Cleanup.
func Run(t *testing.T, newDriver func(*testing.T) sandbox.Driver, opts Options) {
	RunOn(t, Images(t), newDriver, opts)
}

// RunOn is Run on images that were built before.
func RunOn(t *testing.T, images Set, newDriver func(*testing.T) sandbox.Driver, opts Options) {
	s := &suite{newDriver: newDriver, opts: opts, images: images}
	t.Run("Link", s.link)
	t.Run("Process", s.process)
	t.Run("End", s.end)
	t.Run("Pause", s.pause)
	t.Run("Memory", s.memory)
	t.Run("Concurrent", s.concurrent)
	t.Run("Close", s.close)
	if opts.Isolated {
		t.Run("Isolation", s.isolation)
	}
	if opts.Limits {
		t.Run("Limits", s.limits)
	}
	if opts.Memory {
		t.Run("OutOfMemory", s.outOfMemory)
	}
	if opts.Memory && opts.Limits {
		t.Run("Tmp", s.tmp)
	}
	if opts.CPU {
		t.Run("CPU", s.cpu)
	}
	if opts.Snapshots {
		t.Run("Snapshot", s.snapshot)
		t.Run("BadSnapshot", s.badSnapshot)
	}
}

type suite struct {
	newDriver func(*testing.T) sandbox.Driver
	opts      Options
	images    Set
}

// Set is a root image that holds the probe, and a code image.
type Set struct{ Root, Code sandbox.Image }

// Images builds the images of the suite below t.TempDir.
func Images(t testing.TB) Set {
	t.Helper()
	return ImagesIn(t, t.TempDir())
}

// ImagesIn builds the images of the suite in dir.
func ImagesIn(t testing.TB, dir string) Set {
	t.Helper()
	root, code := filepath.Join(dir, "root"), filepath.Join(dir, "code")
	for _, d := range []string{"usr/bin", "proc", "sys", "dev", "tmp", "var/task", "var/runtime", "run/mayfly", "etc"} {
		check(t, os.MkdirAll(filepath.Join(root, d), 0o755))
	}
	check(t, os.WriteFile(filepath.Join(root, "etc/passwd"), []byte("root:x:0:0::/:/bin/false\nsbx_user1051:x:993:990::/tmp:/bin/false\n"), 0o644))
	check(t, os.Symlink("/run/mayfly/hosts", filepath.Join(root, "etc/hosts")))
	check(t, os.Symlink("/run/mayfly/resolv.conf", filepath.Join(root, "etc/resolv.conf")))
	check(t, os.MkdirAll(code, 0o755))
	check(t, os.WriteFile(filepath.Join(code, "code.txt"), []byte("the code"), 0o644))

	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(root, "usr/bin/probe"), "github.com/mayfly-dev/mayfly/internal/sandbox/sandboxtest/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build probe: %v\n%s", err, out)
	}
	return At(dir)
}

// At returns the set that ImagesIn built in dir.
func At(dir string) Set {
	return Set{Root: &Tree{Path: filepath.Join(dir, "root")}, Code: &Tree{Path: filepath.Join(dir, "code")}}
}

// Tree is a sandbox.Image of a directory. The EROFS image lies beside it.
type Tree struct {
	Path string
	once sync.Once
	err  error
}

// Dir implements sandbox.Image.
func (d *Tree) Dir(context.Context) (string, error) { return d.Path, nil }

// EROFS implements sandbox.Image.
func (d *Tree) EROFS(context.Context) (string, error) {
	path := d.Path + ".erofs"
	d.once.Do(func() {
		var f *os.File
		if f, d.err = os.Create(path); d.err != nil {
			return
		}
		w := erofs.NewWriter(f)
		d.err = errors.Join(copyTree(w, os.DirFS(d.Path)), w.Close(), f.Close())
	})
	return path, d.err
}

func copyTree(w *erofs.Writer, tree fs.FS) error {
	return fs.WalkDir(tree, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		switch info.Mode().Type() {
		case fs.ModeDir:
			return w.Mkdir(name, info.Mode(), info.ModTime())
		case fs.ModeSymlink:
			target, err := fs.ReadLink(tree, name)
			if err != nil {
				return err
			}
			return w.Symlink(name, target, info.ModTime())
		default:
			f, err := tree.Open(name)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = w.File(name, info.Mode(), info.ModTime(), f)
			return err
		}
	})
}

var lastID atomic.Int64

// Spec returns a Spec that runs the probe.
func (s Set) Spec() sandbox.Spec {
	return sandbox.Spec{
		ID:   "probe-" + strconv.FormatInt(lastID.Add(1), 10),
		Root: s.Root,
		Code: s.Code,
		Process: func(p sandbox.Paths) sandbox.Process {
			return sandbox.Process{
				Args: []string{p.Root + "/usr/bin/probe", "an argument"},
				Env:  []string{"PATH=/usr/bin", "HOME=" + p.Tmp, "SECRET=a b=c", "EMPTY="},
				Dir:  p.Task,
			}
		},
		MemoryMB: 128,
		TmpMB:    32,
		MilliCPU: 1000,
		Pids:     64,
		Files:    128,
	}
}

// Probe is a sandbox that runs the probe.
type Probe struct {
	sandbox.Sandbox
	t testing.TB
}

// Start creates and starts a sandbox, waits for the probe to be ready and
// closes the sandbox at the test's end.
func Start(t testing.TB, d sandbox.Driver, spec sandbox.Spec) *Probe {
	t.Helper()
	sb, err := d.Create(t.Context(), spec)
	check(t, err)
	p := &Probe{sb, t}
	t.Cleanup(func() {
		if err := sb.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	check(t, sb.Start(t.Context()))
	p.deadline(30 * time.Second)
	if f := p.read(); f.Kind != sandbox.FrameReady {
		t.Fatalf("first frame is of kind %d, want Ready", f.Kind)
	}
	return p
}

// deadline keeps a test of a broken link from hanging.
func (p *Probe) deadline(d time.Duration) {
	stdin, stdout, stderr := p.Link()
	for _, f := range []*os.File{stdin, stdout, stderr} {
		check(p.t, f.SetDeadline(time.Now().Add(d)))
	}
}

func (p *Probe) read() sandbox.Frame {
	p.t.Helper()
	_, stdout, _ := p.Link()
	f, err := sandbox.ReadFrame(stdout, 64<<20)
	if err != nil {
		_, _, stderr := p.Link()
		stderr.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		b := make([]byte, 4096)
		n, _ := stderr.Read(b)
		p.t.Fatalf("read frame: %v\nstandard error: %s", err, b[:n])
	}
	return f
}

// Send asks the probe to do something, without waiting for the answer.
func (p *Probe) Send(action string, body []byte) error {
	stdin, _, _ := p.Link()
	_, err := stdin.Write(sandbox.AppendFrame(nil, sandbox.Frame{Kind: sandbox.FrameInvoke, Header: []byte(action), Body: body}))
	return err
}

// Do asks the probe to do something and returns its answer. failed tells a
// Failure from a Response.
func (p *Probe) Do(action string, body []byte) (answer []byte, failed bool) {
	p.t.Helper()
	// Large bodies need the answer to be read while they are sent.
	sent := make(chan error, 1)
	go func() { sent <- p.Send(action, body) }()
	f := p.read()
	check(p.t, <-sent)
	return f.Body, f.Kind != sandbox.FrameResponse
}

// Must is Do for actions that must not fail.
func (p *Probe) Must(action string, body []byte) []byte {
	p.t.Helper()
	answer, failed := p.Do(action, body)
	if failed {
		p.t.Fatalf("%s: %s", action, answer)
	}
	return answer
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
