package s3

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// threadIdle is how long a thread without work is kept.
const threadIdle = 30 * time.Second

// workdir runs functions on threads whose working directory is dir. The gateway's
// backend names files relative to the working directory, which belongs to the
// whole process: a node that moved it would break every other relative path, and
// a second store in the process.
type workdir struct {
	dir   string
	jobs  chan func()
	slots chan struct{} // one for each thread that exists
}

func newWorkdir(dir string, threads int) *workdir {
	return &workdir{dir: dir, jobs: make(chan func()), slots: make(chan struct{}, threads)}
}

// do runs fn in the directory and waits for it. fn must not start goroutines
// that use relative paths. Its panic goes on in the caller. The error is of
// kind Unavailable: fn did not run.
func (d *workdir) do(ctx context.Context, fn func()) error {
	done := make(chan error, 1)
	var panicked any
	job := func() {
		defer func() {
			panicked = recover()
			done <- nil
		}()
		fn()
	}
	select {
	case d.jobs <- job: // a thread was idle
	default:
		select {
		case d.jobs <- job:
		case d.slots <- struct{}{}:
			go d.thread(job, done)
		case <-ctx.Done():
			return errs.Newf(errs.Unavailable, "the request ended before the object store had time for it: %w", context.Cause(ctx))
		}
	}
	err := <-done
	if panicked != nil {
		panic(panicked)
	}
	return err
}

// thread makes a thread that has its own working directory, and works on it until
// there is nothing to do for a while. The thread ends with the goroutine, which
// stays locked to it.
func (d *workdir) thread(job func(), refuse chan<- error) {
	defer func() { <-d.slots }()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		refuse <- errs.Newf(errs.Unavailable, "a thread of its own working directory (unshare CLONE_FS) is refused by this machine: %w", err)
		return
	}
	if err := unix.Chdir(d.dir); err != nil {
		refuse <- fmt.Errorf("enter the object store: %w", err)
		return
	}
	idle := time.NewTimer(threadIdle)
	defer idle.Stop()
	for {
		job()
		idle.Reset(threadIdle)
		select {
		case job = <-d.jobs:
		case <-idle.C:
			return
		}
	}
}
