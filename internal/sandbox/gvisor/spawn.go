package gvisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/sentry/pgalloc"
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
	cpus   int        // that the code inside sees
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
		// The host's environment is no business of a sandbox. The number is that
		// of threads that run code of one process inside, too; more only wake each
		// other up. Left to itself the Go runtime opens cgroup files now and then
		// to follow the CPU limit, and the Sentry's filter kills it for the openat.
		Env: []string{"GOMAXPROCS=" + strconv.Itoa(p.cpus)},
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

// keepNetns calls f on a thread that f may leave in another network namespace.
// gVisor's code goes back to that of the process's first thread, which at that
// time may itself be elsewhere: sockets of the node would end up in a sandbox's.
func keepNetns(f func() error) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	err = f()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		// Still locked, the thread ends with the goroutine.
		return errors.Join(err, fmt.Errorf("return to the node's network namespace: %w", back))
	}
	runtime.UnlockOSThread()
	return err
}

// donations builds a child's descriptor table and the flags that tell gVisor
// which number is what.
type donations struct{ files []*os.File }

// add gives f to the child and returns the flag "--name=number".
func (d *donations) add(name string, f *os.File) string {
	d.files = append(d.files, f)
	return "--" + name + "=" + strconv.Itoa(len(d.files)-1)
}

// spawn starts the Sentry. The returned pipe gets a byte when it is ready.
func (s *Sandbox) spawn(img images, netns string, serve int64) (ready *os.File, err error) {
	var d donations
	var ours []*os.File // closed here in any case: the child has its own
	defer func() {
		for _, f := range ours {
			f.Close()
		}
	}()
	give := func(f *os.File, ferr error) *os.File {
		err = errors.Join(err, ferr)
		if ferr == nil {
			ours = append(ours, f)
		}
		return f
	}
	pipeTo := func(host **os.File) *os.File { // child reads
		r, w, perr := os.Pipe()
		*host = w
		return give(r, perr)
	}
	pipeFrom := func(host **os.File) *os.File { // child writes
		r, w, perr := os.Pipe()
		*host = r
		return give(w, perr)
	}

	s.log, err = memfd("sentry-log", nil)
	if err != nil {
		return nil, err
	}
	if s.tmp, err = tmpFile(s.dir); err != nil {
		return nil, fmt.Errorf("make sandbox: %w", err)
	}
	null := give(os.OpenFile(os.DevNull, os.O_RDWR, 0))
	d.files = append(d.files, null, null, s.log) // its own stdio

	args := append([]string{}, s.d.flags...)
	args = append(args, "--log-fd=2")
	if dir := s.d.cfg.DebugDir; dir != "" {
		args = append(args, d.add("debug-log-fd", give(os.Create(filepath.Join(dir, s.spec.ID+".log")))))
	}
	cpus := guestCPUs(s.spec.MilliCPU)
	// Between the flags of gVisor and those of its boot command.
	args = append(args, "boot",
		"--gofer-mount-confs="+img.mountConfs(),
		"--total-memory="+strconv.FormatInt(int64(s.spec.MemoryMB)<<20, 10),
		"--cpu-num="+strconv.Itoa(cpus),
		"--"+serveFlag+"="+strconv.FormatInt(serve, 10),
	)
	text, merr := json.Marshal(s.oci)
	if merr != nil {
		return nil, merr
	}
	args = append(args,
		d.add("controller-fd", give(controlSocket(s.control.path))),
		d.add("spec-fd", give(memfd("spec", text))),
		d.add("start-sync-fd", pipeFrom(&ready)),
		d.add(exitFDFlag, pipeFrom(&s.exitReport)),
		d.add(trimFlag, pipeTo(&s.trim)),
		d.add("stdio-fds", pipeTo(&s.stdin)),
		d.add("stdio-fds", pipeFrom(&s.stdout)),
		d.add("stdio-fds", pipeFrom(&s.stderr)),
	)
	link := d.files[len(d.files)-3:]
	opened, oerr := img.open()
	err = errors.Join(err, oerr)
	for _, f := range opened {
		s.slots = append(s.slots, len(d.files))
		args = append(args, d.add("io-fds", give(f, nil)))
	}
	if img == blankImages {
		theirs, ferr := s.makeFill()
		args = append(args, d.add(fillFlag, give(theirs, ferr)))
	}
	args = append(args, d.add("gofer-filestore-fds", s.tmp))
	args = append(args, "--"+donatedFlag+"="+strconv.Itoa(len(d.files)), s.spec.ID)
	if err != nil {
		return ready, fmt.Errorf("make sandbox: %w", err)
	}
	for _, f := range link {
		if err := preparePipe(f); err != nil {
			return ready, fmt.Errorf("make sandbox: %w", err)
		}
	}
	var pidfd int
	s.pid, pidfd, err = s.d.spawner.start(sentry{args: args, files: d.files, netns: netns, hostID: hostID(), cpus: cpus})
	if err != nil {
		return ready, err
	}
	if pidfd >= 0 {
		err = unix.SetNonblock(pidfd, true)
		s.pidfd = os.NewFile(uintptr(pidfd), "pidfd")
	}
	return ready, err
}

// guestCPUs is the number of CPUs that the code inside sees: as many as its
// share fills. A runtime that believes in more starts threads for them, and
// pays for their switches.
func guestCPUs(milliCPU int) int {
	return min(max((milliCPU+999)/1000, 1), runtime.NumCPU())
}

// pipeSize makes large frames twice as fast as the default of 64 KiB. The
// kernel takes memory only for what is in a pipe.
const pipeSize = 1 << 20

// preparePipe sets up a pipe that the code inside will have.
func preparePipe(f *os.File) error {
	fd := f.Fd()
	// The code may open /dev/stdout and /dev/stderr anew, which needs
	// permission on the pipes; they are reachable in no other way.
	if err := unix.Fchmod(int(fd), 0o666); err != nil {
		return err
	}
	// A normal user may not have many large pipes: then they are small.
	if _, err := unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize); err != nil && !errors.Is(err, unix.EPERM) {
		return err
	}
	return nil
}

// tmpFile returns an unnamed file in dir for the contents of a sandbox's /tmp.
// In memory they would count against the sandbox's limit. The pages that the
// kernel caches of a file do too, but it can write those to the disk.
func tmpFile(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "tmp"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	pgalloc.IMAWorkAroundForMemFile(f.Fd()) // as gVisor asks of whoever makes one
	return f, nil
}

// memfd returns an unnamed file in memory with the given content.
func memfd(name string, content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = f.Write(content)
	return f, err
}
