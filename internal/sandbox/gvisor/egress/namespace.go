package egress

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"golang.org/x/sys/unix"
)

// namespace is a network namespace that is held by an open file only.
type namespace struct{ file *os.File }

func (ns *namespace) fd() int { return int(ns.file.Fd()) }

// path names the namespace for other parts of this process and its children.
func (ns *namespace) path() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.fd())
}

// close lets go of the namespace. The kernel removes it once no process is in it.
func (ns *namespace) close() { _ = ns.file.Close() } // reading end of a pseudo file: can't fail usefully

// currentNamespace returns the namespace of the calling thread.
func currentNamespace() (*namespace, error) {
	f, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, errs.Newf(errs.Unsupported, "The sandbox network needs network namespaces and /proc: %w", err)
	}
	return &namespace{f}, nil
}

// newNamespace makes a network namespace.
func newNamespace() (*namespace, error) {
	var ns *namespace
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return errs.Newf(errs.Unsupported, "Network namespaces can't be made here (root is needed, and CONFIG_NET_NS): %w", err)
		}
		var err error
		ns, err = currentNamespace()
		return err
	})
	return ns, err
}

// within calls f on a thread that is in ns. f must not start goroutines that
// rely on it; sockets opened by f stay in ns.
func (ns *namespace) within(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(ns.fd(), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return f()
	})
}

// onThread calls f on a thread of its own, whose network namespace f may
// change. A thread that can't be brought back afterwards is ended.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		before, err := currentNamespace()
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		defer before.close()
		err = f()
		if back := unix.Setns(before.fd(), unix.CLONE_NEWNET); back == nil {
			runtime.UnlockOSThread()
		} else {
			err = errors.Join(err, fmt.Errorf("leave network namespace: %w", back))
		}
		done <- err
	}()
	return <-done
}
