// Package process is a sandbox driver without isolation, for development on
// machines where the isolating one can't run: a sandbox is a process of the
// host, with the node's own rights. It uses the host's interpreters and its
// network. What it can't promise: nothing keeps code from other files and
// processes; CPU, processes and the size of the temporary directory are not
// limited; memory is watched, and an excess ends the sandbox a moment later;
// a process that makes itself a session of its own escapes from Pause and Close.
package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

// Name is the driver's name.
const Name = "process"

// watchEvery is how often the memory of running sandboxes is looked at.
const watchEvery = 100 * time.Millisecond

// Parts of a sandbox's directory.
const (
	recordFile = "process.json"
	tmpDir     = "tmp"
)

// Driver is a sandbox.Driver.
type Driver struct {
	dir  string
	boot string

	starts chan func()   // run on one thread that lives as long as the driver
	wake   chan struct{} // tells the watcher that a sandbox runs
	quit   chan struct{}
	wg     sync.WaitGroup
	once   sync.Once

	mu   sync.Mutex
	live map[string]*Sandbox // by id; guarded by mu
}

var _ sandbox.Driver = (*Driver)(nil)

// New returns a driver that keeps what it needs in dir, which it makes if it is
// missing. Only one process may use dir. Files that the calling process
// inherited are not passed on to processes that it starts from now on.
func New(dir string) (*Driver, error) {
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	if err := keepDescriptors(); err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("open process driver: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open process driver: %w", err)
	}
	d := &Driver{dir: dir, boot: boot, starts: make(chan func()), wake: make(chan struct{}, 1), quit: make(chan struct{}), live: map[string]*Sandbox{}}
	d.wg.Go(d.startThread)
	d.wg.Go(d.watch)
	return d, nil
}

// keepDescriptors makes files that this process was started with close when it
// starts another, as all that Go opens does.
func keepDescriptors() error {
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("list open files: %w", err)
	}
	for _, n := range names {
		if fd, err := strconv.Atoi(n.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// Name implements sandbox.Driver.
func (d *Driver) Name() string { return Name }

// Prepare implements sandbox.Driver.
func (d *Driver) Prepare(ctx context.Context, spec sandbox.Spec) error {
	_, err := d.paths(ctx, spec)
	return err
}

func (d *Driver) paths(ctx context.Context, spec sandbox.Spec) (sandbox.Paths, error) {
	root, err := spec.Root.Dir(ctx)
	if err != nil {
		return sandbox.Paths{}, err
	}
	task, err := spec.Code.Dir(ctx)
	if err != nil {
		return sandbox.Paths{}, err
	}
	return sandbox.Paths{
		Root:    root,
		Task:    task,
		Runtime: filepath.Join(root, "var/runtime"),
		Lang:    filepath.Join(root, "var/lang"),
		Tmp:     filepath.Join(d.dir, spec.ID, tmpDir),
	}, nil
}

// Create implements sandbox.Driver.
func (d *Driver) Create(ctx context.Context, spec sandbox.Spec) (sandbox.Sandbox, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	paths, err := d.paths(ctx, spec)
	if err != nil {
		return nil, err
	}
	s := &Sandbox{d: d, spec: spec, paths: paths, dir: filepath.Join(d.dir, spec.ID), done: make(chan struct{})}
	d.mu.Lock()
	_, taken := d.live[spec.ID]
	if !taken {
		d.live[spec.ID] = s
	}
	d.mu.Unlock()
	if taken {
		return nil, errs.Newf(errs.Conflict, "there is a sandbox %s already", spec.ID)
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("make sandbox %s: %w", spec.ID, err), s.Close())
	}
	return s, nil
}

// forget ends what the driver knows of a sandbox.
func (d *Driver) forget(s *Sandbox) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.live[s.spec.ID] == s {
		delete(d.live, s.spec.ID)
	}
}

// Sweep implements sandbox.Driver.
func (d *Driver) Sweep(ctx context.Context) error {
	dirs, err := os.ReadDir(d.dir)
	if err != nil {
		return fmt.Errorf("sweep processes: %w", err)
	}
	var failed []error
	for _, e := range dirs {
		if err := ctx.Err(); err != nil {
			return err
		}
		d.mu.Lock()
		_, ours := d.live[e.Name()]
		d.mu.Unlock()
		if ours {
			continue
		}
		if err := d.sweep(filepath.Join(d.dir, e.Name())); err != nil {
			failed = append(failed, fmt.Errorf("sweep sandbox %s: %w", e.Name(), err))
		}
	}
	return errors.Join(failed...)
}

// sweep ends what is left of a sandbox of an earlier node.
func (d *Driver) sweep(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return os.RemoveAll(dir) // nothing was started
	}
	if err != nil {
		return err
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		// A power cut tore it; no process survives one.
		return os.RemoveAll(dir)
	}
	all, err := sessions()
	if err != nil {
		return err
	}
	if r.running(d.boot, all) {
		if err := killSession(r.PID); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// Close implements sandbox.Driver.
func (d *Driver) Close() error {
	d.once.Do(func() { close(d.quit) })
	d.wg.Wait()
	return nil
}

// startThread starts all first processes: the kernel kills them when the thread
// that started them ends, which must be no sooner than the node.
func (d *Driver) startThread() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread() // so that the thread lives on
	for {
		select {
		case start := <-d.starts:
			start()
		case <-d.quit:
			return
		}
	}
}

// onThread runs start on the starting thread.
func (d *Driver) onThread(start func() error) error {
	var err error
	done := make(chan struct{})
	select {
	case d.starts <- func() { err = start(); close(done) }:
		<-done
		return err
	case <-d.quit:
		return errs.Newf(errs.Unavailable, "the process driver is closed")
	}
}

// watch keeps an eye on the memory of running sandboxes while there are any.
func (d *Driver) watch() {
	for {
		select {
		case <-d.wake:
		case <-d.quit:
			return
		}
		tick := time.NewTicker(watchEvery)
		for d.look() {
			select {
			case <-tick.C:
			case <-d.quit:
				tick.Stop()
				return
			}
		}
		tick.Stop()
	}
}

// look measures all running sandboxes and reports whether there are any.
func (d *Driver) look() bool {
	var running []*Sandbox
	d.mu.Lock()
	for _, s := range d.live {
		if s.running() {
			running = append(running, s)
		}
	}
	d.mu.Unlock()
	if len(running) == 0 {
		return false
	}
	all, err := sessions()
	if err != nil {
		return true // /proc may be short of memory, too; look again
	}
	for _, s := range running {
		s.measure(all)
	}
	return true
}

// wakeWatch makes the watcher look for running sandboxes.
func (d *Driver) wakeWatch() {
	select {
	case d.wake <- struct{}{}:
	default: // it has been told already
	}
}
