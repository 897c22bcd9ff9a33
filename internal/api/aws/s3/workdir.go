package s3

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// workdir runs functions with dir as their working directory. The gateway's
// backend names files relative to the working directory, which belongs to the
// whole process: a node that moved it would break every other relative path, and
// a second store in the process. So the thread that runs the function gets one of
// its own, and is back in the process's when others may have it.
type workdir struct {
	dir      string
	in, home *os.File // dir, and the process's working directory
}

func openWorkdir(dir string) (d *workdir, err error) {
	d = &workdir{dir: dir}
	if d.in, err = os.Open(dir); err != nil {
		return nil, fmt.Errorf("open the object store: %w", err)
	}
	home, err := unix.Open(".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		d.in.Close()
		return nil, fmt.Errorf("open the working directory: %w", err)
	}
	d.home = os.NewFile(uintptr(home), ".")
	return d, nil
}

func (d *workdir) close() {
	d.in.Close() // both were only looked at
	d.home.Close()
}

// do runs fn in the directory. fn must not start goroutines that use relative
// paths. The error is of kind Unavailable: fn did not run.
func (d *workdir) do(fn func()) error {
	if err := d.enter(); err != nil {
		return err
	}
	defer d.leave()
	fn()
	return nil
}

// outside has a part of what do runs go on out of the directory, where it may wait
// without holding a thread. It panics if there is no way back.
func (d *workdir) outside(fn func()) {
	d.leave()
	fn()
	if err := d.enter(); err != nil {
		panic(err) // what follows would find other files by the same names
	}
}

// enter binds the goroutine to its thread, and takes that into the directory.
func (d *workdir) enter() error {
	runtime.LockOSThread()
	// Each time: a thread that was begun meanwhile by this one shares its directory.
	// While a goroutine is bound to this one, none is.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		runtime.UnlockOSThread()
		return errs.Newf(errs.Unavailable, "a thread of its own working directory (unshare CLONE_FS) is refused by this machine: %w", err)
	}
	if err := unix.Fchdir(int(d.in.Fd())); err != nil {
		runtime.UnlockOSThread()
		return errs.Newf(errs.Unavailable, "enter the object store: %w", err)
	}
	return nil
}

// leave takes the thread back.
func (d *workdir) leave() {
	if err := unix.Fchdir(int(d.home.Fd())); err != nil {
		panic(fmt.Sprintf("a thread can't leave the object store for %s: %v", d.home.Name(), err)) // others would go on there
	}
	runtime.UnlockOSThread()
}
