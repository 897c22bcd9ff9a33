package gvisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/runsc/boot"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

const (
	// sentryMemory is what a Sentry and its helpers need beside the guest's
	// memory: a limit of 128 MB is meant for the code inside. Measured: 13 MiB
	// after boot, 21 to 31 MiB with a busy Python or Node.
	sentryMemory = 48 << 20

	// sentryPids is the same for threads on the host.
	sentryPids = 512

	// startMilliCPU is the least share of CPU that a starting sandbox has.
	startMilliCPU = 4000

	// boost is how long a new sandbox may use more than its share of CPU, as
	// Lambda grants to inits. See Sandbox.Settle.
	boost = 10 * time.Second

	// thaw is how much longer a copy may, once it is ready: its first call does
	// what a start would have done, since all pages that it touches are to be read
	// and mapped.
	thaw = 100 * time.Millisecond
)

// errBoot says that a Sentry died before it was ready.
var errBoot = errors.New("the sandbox's kernel did not boot")

// Sandbox is a sandbox.Sandbox on gVisor: a Sentry and what it runs.
type Sandbox struct {
	d      *Driver
	spec   sandbox.Spec
	oci    *specs.Spec
	dir    string
	cgroup *cgroup // nil without control groups

	stdin, stdout, stderr *os.File
	exitReport            *os.File // the Sentry's word on the first process
	trim                  *os.File // takes the word to give memory back
	log                   *os.File // the Sentry's own last words
	tmp                   *os.File // the contents of /tmp
	control               control
	fill                  *os.File // takes what a blank sandbox is to become; nil in others
	slots                 []int    // the numbers that a blank's images have in its Sentry
	releaseNetwork        func() error

	pid   int
	pidfd *os.File // nil on a kernel without
	netns string   // "" without a network
	done  chan struct{}
	exit  sandbox.Exit // set before done is closed
	boost *time.Timer
	copy  bool // it came of a snapshot

	settled atomic.Bool
	gauge   gauge

	mu     sync.Mutex // guards what follows, and makes Pause and Resume take turns
	paused bool

	closeOnce sync.Once
	closeErr  error
}

var (
	_ sandbox.Sandbox = (*Sandbox)(nil)
	_ sandbox.Dialer  = (*Sandbox)(nil)
)

// Dial implements sandbox.Dialer.
func (s *Sandbox) Dial(ctx context.Context, port int) (net.Conn, error) {
	if s.netns == "" {
		return nil, errs.Newf(errs.Unsupported, "sandbox %s has no network", s.spec.ID)
	}
	return s.d.cfg.Network.Dial(ctx, s.netns, port)
}

// create boots a Sentry, which then waits for Start.
func (d *Driver) create(ctx context.Context, spec sandbox.Spec, img images) (_ *Sandbox, err error) {
	s := &Sandbox{d: d, spec: spec, dir: filepath.Join(d.cfg.Dir, spec.ID), done: make(chan struct{})}
	s.control.path = filepath.Join(s.dir, "control.sock")
	if err := os.Mkdir(s.dir, 0o700); errors.Is(err, fs.ErrExist) {
		return nil, errs.Newf(errs.Conflict, "there is a sandbox %s already", spec.ID)
	} else if err != nil {
		return nil, fmt.Errorf("make sandbox: %w", err)
	}
	d.setLive(spec.ID, true)
	s.boost = time.AfterFunc(math.MaxInt64, s.endBoost) // Start sets the time
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	netns := ""
	if d.cfg.Network != nil {
		if netns, s.releaseNetwork, err = d.cfg.Network.Attach(ctx, spec.ID); err != nil {
			return nil, fmt.Errorf("attach sandbox to the network: %w", err)
		}
	}
	if d.cgroups != nil {
		if s.cgroup, err = d.cgroups.create(spec.ID, limitsOf(spec)); err != nil {
			return nil, err
		}
	}
	s.netns = netns
	p := spec.Process(d.paths())
	s.oci = ociSpec(spec, p, img, netns)
	ready, err := s.spawn(img, netns, p.Serve)
	if ready != nil {
		defer ready.Close()
	}
	if s.pid != 0 {
		go s.reap()
	}
	if err != nil {
		return nil, err
	}

	placed := make(chan error, 1)
	go func() { placed <- s.place() }()
	stop := context.AfterFunc(ctx, func() { ready.SetReadDeadline(time.Unix(1, 0)) })
	_, readErr := io.ReadFull(ready, make([]byte, 1))
	stop()
	err = <-placed
	switch {
	case readErr != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case readErr != nil:
		return nil, fmt.Errorf("%w: %s", errBoot, s.lastWords())
	case err != nil:
		return nil, err
	}
	return s, s.connectNetwork(ctx)
}

// limitsOf returns what the control group of a sandbox holds it to.
func limitsOf(spec sandbox.Spec) limits {
	share := max(spec.MilliCPU, startMilliCPU) // until Settle
	if spec.Patient {
		share = 1
	}
	return limits{
		memory:   int64(spec.MemoryMB)<<20 + sentryMemory,
		milliCPU: share,
		pids:     2*spec.Pids + sentryPids,
	}
}

// place makes the Sentry the kernel's first choice when the machine is out of
// memory, and puts it into the control group, and then what it started before
// it was there. Placing is usually quicker than a Sentry is to start anything,
// but the kernel makes the first one after a pause wait for all CPUs.
func (s *Sandbox) place() error {
	if err := writeFile("/proc/"+strconv.Itoa(s.pid)+"/oom_score_adj", "500"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("place process %d: %w", s.pid, err)
	}
	if s.cgroup == nil {
		return nil
	}
	if err := s.cgroup.add(s.pid); err != nil {
		return err
	}
	for _, pid := range children(s.pid) {
		if s.cgroup.holds(pid) {
			continue
		}
		if err := s.cgroup.add(pid); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// children returns the processes that pid or its children started, at any depth.
func children(pid int) []int {
	tasks, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	var out []int
	for _, file := range tasks {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // ended meanwhile
		}
		for _, f := range strings.Fields(string(b)) {
			if child, err := strconv.Atoi(f); err == nil {
				out = append(append(out, child), children(child)...)
			}
		}
	}
	return out
}

// Start implements sandbox.Sandbox.
func (s *Sandbox) Start(ctx context.Context) error {
	if err := s.start(ctx); err != nil {
		return fmt.Errorf("start %s: %w", s.oci.Process.Args[0], err)
	}
	s.boost.Reset(boost)
	return nil
}

func (s *Sandbox) start(ctx context.Context) error {
	return s.control.call(ctx, boot.ContMgrRootContainerStart, &s.spec.ID, nil)
}

// Settle implements sandbox.Sandbox: it gives the sandbox its share of the CPU
// in place of a start's, and begins to hold one with Spec.CapCPU to that. It
// happens by itself 10 s after Start, and with the first Pause. In a sandbox that
// has ended, or without control groups, it does nothing; in a copy it does that a
// moment later.
func (s *Sandbox) Settle() error {
	if s.copy {
		s.boost.Reset(thaw)
		return nil
	}
	return s.settle()
}

func (s *Sandbox) settle() error {
	s.boost.Stop()
	if s.cgroup == nil || s.spec.Patient || s.settled.Swap(true) {
		return nil
	}
	err := s.cgroup.shareCPU(s.spec.MilliCPU)
	if s.spec.CapCPU {
		err = errors.Join(err, s.cgroup.limitCPU(s.spec.MilliCPU))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("limit sandbox: %w", err)
	}
	return nil
}

func (s *Sandbox) endBoost() {
	if err := s.settle(); err != nil {
		s.d.cfg.Log.Warn("a sandbox's CPU is not limited", "sandbox", s.spec.ID, "error", err)
	}
}

// Link implements sandbox.Sandbox.
func (s *Sandbox) Link() (stdin, stdout, stderr *os.File) { return s.stdin, s.stdout, s.stderr }

// Pause implements sandbox.Sandbox.
func (s *Sandbox) Pause(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused {
		return errs.Newf(errs.Conflict, "sandbox %s is paused already", s.spec.ID)
	}
	if err := s.control.call(ctx, boot.ContMgrPause, nil, nil); err != nil {
		return fmt.Errorf("pause sandbox: %w", err)
	}
	s.paused = true
	s.endBoost()
	return nil
}

// Resume implements sandbox.Sandbox.
func (s *Sandbox) Resume(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.paused {
		return errs.Newf(errs.Conflict, "sandbox %s is not paused", s.spec.ID)
	}
	if err := s.control.call(ctx, boot.ContMgrResume, nil, nil); err != nil {
		return fmt.Errorf("resume sandbox: %w", err)
	}
	s.paused = false
	return nil
}

// Done implements sandbox.Sandbox.
func (s *Sandbox) Done() <-chan struct{} { return s.done }

// Exit implements sandbox.Sandbox.
func (s *Sandbox) Exit() sandbox.Exit {
	<-s.done
	return s.exit
}

// reap waits for the Sentry, which ends with its first process, and tells how.
func (s *Sandbox) reap() {
	status, err := waitFor(s.pid, s.pidfd)
	if err != nil {
		s.d.cfg.Log.Error("lost a sandbox's process", "sandbox", s.spec.ID, "pid", s.pid, "error", err)
	}
	s.exit.OOM = s.cgroup != nil && s.cgroup.oomKilled()
	var report [4]byte
	if _, err := io.ReadFull(s.exitReport, report[:]); err == nil {
		status = parseWaitReport(report)
	} else if crashed(status) && !s.exit.OOM { // the kernel may have killed a helper, without which the Sentry ends
		s.d.cfg.Log.Error("a sandbox's kernel crashed", "sandbox", s.spec.ID, "exit", status.ExitStatus(), "signal", int(status.Signal()), "output", s.lastWords())
	}
	if status.Signaled() {
		s.exit.Signal = int(status.Signal())
	} else {
		s.exit.Code = status.ExitStatus()
	}
	close(s.done)
}

// crashed reports whether a Sentry that said nothing of its first process ended
// by its own fault. Its own crashes are exits and other signals: SIGKILL comes
// from Close, from the kernel when memory is out, or from the operator.
func crashed(status unix.WaitStatus) bool {
	return !status.Signaled() || status.Signal() != unix.SIGKILL
}

// waitFor waits for a child process to end and frees its id. With a pidfd it
// blocks no thread.
func waitFor(pid int, pidfd *os.File) (status unix.WaitStatus, err error) {
	if pidfd == nil {
		for {
			if _, err = unix.Wait4(pid, &status, 0, nil); err != unix.EINTR {
				return status, err
			}
		}
	}
	raw, err := pidfd.SyscallConn()
	if err != nil {
		return 0, err
	}
	var waitErr error
	err = raw.Read(func(uintptr) bool {
		var got int
		got, waitErr = unix.Wait4(pid, &status, unix.WNOHANG, nil)
		return waitErr != unix.EINTR && (waitErr != nil || got == pid)
	})
	return status, errors.Join(err, waitErr)
}

// lastWords returns the end of what the Sentry wrote to its standard error.
func (s *Sandbox) lastWords() string {
	info, err := s.log.Stat()
	if err != nil {
		return ""
	}
	b := make([]byte, min(info.Size(), 4096))
	n, _ := s.log.ReadAt(b, info.Size()-int64(len(b)))
	return strings.TrimSpace(string(b[:n]))
}

// Close implements sandbox.Sandbox.
func (s *Sandbox) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Sandbox) close() error {
	var err error
	s.boost.Stop()
	if s.pid != 0 {
		// The Sentry is the first process of its pid namespace: the kernel
		// kills all others there with it, before it lets us wait for it.
		err = kill(s.pid, s.pidfd)
		<-s.done
	}
	s.control.close()
	for _, f := range []*os.File{s.stdin, s.stdout, s.stderr, s.exitReport, s.trim, s.log, s.tmp, s.fill, s.pidfd} {
		if f != nil {
			f.Close()
		}
	}
	if s.cgroup != nil {
		err = errors.Join(err, s.cgroup.remove())
	}
	if s.releaseNetwork != nil {
		err = errors.Join(err, s.releaseNetwork())
	}
	err = errors.Join(err, os.RemoveAll(s.dir))
	s.d.setLive(s.spec.ID, false)
	if err != nil {
		return fmt.Errorf("close sandbox %s: %w", s.spec.ID, err)
	}
	return nil
}

// CPUTime returns the CPU time that the sandbox has used, its Sentry included.
func (s *Sandbox) CPUTime() (time.Duration, error) {
	return cpuTime(append(children(s.pid), s.pid))
}

// cpuTime adds up the CPU time of processes.
func cpuTime(pids []int) (time.Duration, error) {
	const tick = time.Second / 100 // USER_HZ, the same on all of Linux's ports
	var sum time.Duration
	for _, pid := range pids {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			continue // ended meanwhile
		}
		f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(f) < 13 {
			return 0, fmt.Errorf("process %d has an unreadable stat", pid)
		}
		for _, field := range f[11:13] { // user and system time
			n, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return 0, err
			}
			sum += time.Duration(n) * tick
		}
	}
	return sum, nil
}
