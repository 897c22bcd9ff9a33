package gvisor

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// spawner starts Sentries from one OS thread that lives as long as the driver.
// The kernel sends a child its parent-death signal when the *thread* that
// started it ends; from a thread of the Go scheduler's pool, which any package
// may end, sandboxes could die at random moments.
type spawner struct {
	calls chan func()
	done  chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{calls: make(chan func()), done: make(chan struct{})}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		defer close(s.done)
		for call := range s.calls {
			call()
		}
	}()
	return s
}

// close ends the thread, and with it every process that it started.
func (s *spawner) close() {
	close(s.calls)
	<-s.done
}

// sentry is a process to start.
type sentry struct {
	args   []string   // after argv[0]
	files  []*os.File // their numbers in the child are their indexes
	netns  string     // path of the network namespace to start in, or "" for a new one
	hostID int        // user and group outside that root inside the user namespace is
}

// start starts p and returns its process id and a pidfd.
//
// The process gets new namespaces of every kind. In its user namespace it is
// root, so that it can build its empty root file system, after which gVisor
// drops all capabilities; outside it is hostID, which owns nothing.
func (s *spawner) start(p sentry) (pid, pidfd int, err error) {
	pidfd = -1
	attr := &syscall.ProcAttr{
		Env: []string{}, // the host's environment is no business of a sandbox
		Sys: &syscall.SysProcAttr{
			Setsid:      true,
			Pdeathsig:   syscall.SIGKILL,
			PidFD:       &pidfd,
			Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: p.hostID, Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: p.hostID, Size: 1}},
			Credential:  &syscall.Credential{Uid: 0, Gid: 0},
		},
	}
	if os.Geteuid() == 0 {
		attr.Sys.GidMappingsEnableSetgroups = true
	} else {
		// The kernel lets an unprivileged process map only itself, and not
		// change its groups.
		attr.Sys.GidMappings[0].HostID = os.Getegid()
		attr.Sys.Credential.NoSetGroups = true
	}
	for _, f := range p.files {
		attr.Files = append(attr.Files, f.Fd())
	}
	argv := append([]string{sandboxArg0}, p.args...)

	finished := make(chan struct{})
	s.calls <- func() {
		defer close(finished)
		if p.netns == "" {
			attr.Sys.Cloneflags |= unix.CLONE_NEWNET
		} else {
			var leave func() error
			if leave, err = joinNetns(p.netns); err != nil {
				return
			}
			defer func() { err = errors.Join(err, leave()) }()
		}
		pid, _, err = syscall.StartProcess("/proc/self/exe", argv, attr)
	}
	<-finished
	runtime.KeepAlive(p.files)
	if err != nil {
		return 0, -1, fmt.Errorf("start sandbox process: %w", err)
	}
	return pid, pidfd, nil
}

// joinNetns moves the calling thread, which must be locked, into the network
// namespace at path. The returned function moves it back.
func joinNetns(path string) (leave func() error, err error) {
	old, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	ns, err := os.Open(path)
	if err != nil {
		old.Close()
		return nil, err
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		old.Close()
		return nil, fmt.Errorf("join network namespace %s: %w", path, err)
	}
	return func() error {
		defer old.Close()
		if err := unix.Setns(int(old.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("leave network namespace %s: %w", path, err)
		}
		return nil
	}, nil
}

// donations builds a child's descriptor table and the flags that tell gVisor
// which number is what.
type donations struct{ files []*os.File }

// add gives f to the child and returns the flag "--name=number".
func (d *donations) add(name string, f *os.File) string {
	d.files = append(d.files, f)
	return "--" + name + "=" + strconv.Itoa(len(d.files)-1)
}
