package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

// Sandbox is a sandbox.Sandbox: a process of the host and what it starts.
type Sandbox struct {
	d     *Driver
	spec  sandbox.Spec
	paths sandbox.Paths
	dir   string

	stdin, stdout, stderr *os.File    // the host's ends of the link
	inside                [3]*os.File // the process's ends, until it has started

	done    chan struct{}
	exit    sandbox.Exit // set before done is closed
	reapErr error        // the same

	mu      sync.Mutex // guards what follows, and makes signals take turns with the end
	pid     int        // of the first process and its session; 0 before Start and after the end
	made    bool       // the directory is ours
	started bool       // Start was called
	ran     bool       // there was a first process
	paused  bool
	closed  bool
	oom     bool
	peak    int64

	closeOnce sync.Once
	closeErr  error
}

var (
	_ sandbox.Sandbox = (*Sandbox)(nil)
	_ sandbox.Dialer  = (*Sandbox)(nil)
)

// open makes the sandbox's directory and link.
func (s *Sandbox) open() error {
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		return err
	}
	s.made = true
	if err := os.Mkdir(s.paths.Tmp, 0o700); err != nil {
		return err
	}
	var err error
	if s.inside[0], s.stdin, err = os.Pipe(); err != nil {
		return err
	}
	if s.stdout, s.inside[1], err = os.Pipe(); err != nil {
		return err
	}
	s.stderr, s.inside[2], err = os.Pipe()
	return err
}

// Start implements sandbox.Sandbox.
func (s *Sandbox) Start(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started || s.closed {
		return errs.Newf(errs.Conflict, "sandbox %s was started or closed before", s.spec.ID)
	}
	s.started = true
	p := s.spec.Process(s.paths)
	if len(p.Args) == 0 || !filepath.IsAbs(p.Args[0]) {
		return errs.Newf(errs.Invalid, "sandbox %s: the first process needs an absolute path, it has %q", s.spec.ID, p.Args)
	}
	cmd := &exec.Cmd{
		Path: p.Args[0], Args: p.Args, Env: append([]string{}, p.Env...), Dir: p.Dir,
		Stdin: s.inside[0], Stdout: s.inside[1], Stderr: s.inside[2],
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	}
	if err := s.d.onThread(cmd.Start); err != nil {
		return fmt.Errorf("start sandbox %s: %w", s.spec.ID, err)
	}
	s.pid, s.ran = cmd.Process.Pid, true
	err := errors.Join(s.limit(), s.record(), s.closeInside())
	go s.reap(cmd)
	if err != nil {
		return errors.Join(fmt.Errorf("start sandbox %s: %w", s.spec.ID, err), unix.Kill(-s.pid, unix.SIGKILL))
	}
	s.d.wakeWatch()
	return nil
}

// limit sets the limits that a process can have for itself.
func (s *Sandbox) limit() error {
	for resource, n := range map[int]uint64{unix.RLIMIT_NOFILE: uint64(s.spec.Files), unix.RLIMIT_CORE: 0} {
		var old unix.Rlimit
		if err := unix.Prlimit(s.pid, resource, nil, &old); err != nil {
			return ended(err)
		}
		if n = min(n, old.Max); n == 0 && resource == unix.RLIMIT_NOFILE {
			continue // Spec.Files was not set
		}
		if err := unix.Prlimit(s.pid, resource, &unix.Rlimit{Cur: n, Max: n}, nil); err != nil {
			return ended(err)
		}
	}
	return nil
}

// ended takes away the error of a process that has ended by itself.
func ended(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// record leaves word of the process for a Sweep.
func (s *Sandbox) record() error {
	p, err := readProc(s.pid)
	if err != nil {
		return err
	}
	text, err := json.Marshal(record{Boot: s.d.boot, PID: s.pid, Start: p.start, Task: s.paths.Task})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dir, recordFile), text, 0o600)
}

func (s *Sandbox) closeInside() error {
	var err error
	for i, f := range s.inside {
		if f != nil {
			err = errors.Join(err, f.Close())
			s.inside[i] = nil
		}
	}
	return err
}

// reap waits for the end of the first process and ends what it left.
func (s *Sandbox) reap(cmd *exec.Cmd) {
	// While it is not reaped, its number can't become another's.
	for {
		err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	killErr := killSession(s.pid)
	waitErr := cmd.Wait()
	s.pid = 0
	s.exit = sandbox.Exit{OOM: s.oom}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok {
		killErr = errors.Join(killErr, waitErr)
	} else if status.Signaled() {
		s.exit.Signal = int(status.Signal())
	} else {
		s.exit.Code = status.ExitStatus()
	}
	s.reapErr = killErr
	close(s.done)
}

// Link implements sandbox.Sandbox.
func (s *Sandbox) Link() (stdin, stdout, stderr *os.File) { return s.stdin, s.stdout, s.stderr }

// Dial implements sandbox.Dialer: programs share the host's network.
func (s *Sandbox) Dial(ctx context.Context, port int) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}

// Pause implements sandbox.Sandbox.
func (s *Sandbox) Pause(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.changeTo(true); err != nil {
		return err
	}
	if err := s.signal(unix.SIGSTOP); err != nil {
		return err
	}
	// The signal takes effect when the process next runs; wait for that.
	for {
		err := unix.Waitid(unix.P_PID, s.pid, nil, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("pause sandbox %s: %w", s.spec.ID, err)
		}
		s.paused = true
		return nil
	}
}

// Settle implements sandbox.Sandbox. This driver limits no CPU.
func (s *Sandbox) Settle() error { return nil }

// Resume implements sandbox.Sandbox.
func (s *Sandbox) Resume(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.changeTo(false); err != nil {
		return err
	}
	if err := s.signal(unix.SIGCONT); err != nil {
		return err
	}
	s.paused = false
	s.d.wakeWatch()
	return nil
}

// changeTo reports why the sandbox can't be paused or resumed. s.mu is held.
func (s *Sandbox) changeTo(paused bool) error {
	switch {
	case s.pid == 0:
		return errs.Newf(errs.Conflict, "sandbox %s does not run", s.spec.ID)
	case s.paused == paused && paused:
		return errs.Newf(errs.Conflict, "sandbox %s is paused already", s.spec.ID)
	case s.paused == paused:
		return errs.Newf(errs.Conflict, "sandbox %s is not paused", s.spec.ID)
	}
	return nil
}

// signal sends sig to all processes of the sandbox. s.mu is held, so that the
// first process is not reaped meanwhile.
func (s *Sandbox) signal(sig unix.Signal) error {
	if err := unix.Kill(-s.pid, sig); err != nil {
		return fmt.Errorf("signal sandbox %s: %w", s.spec.ID, err)
	}
	all, err := sessions()
	if err != nil {
		return fmt.Errorf("signal sandbox %s: %w", s.spec.ID, err)
	}
	for _, p := range all[s.pid] {
		if err := unix.Kill(p.pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("signal sandbox %s: %w", s.spec.ID, err)
		}
	}
	return nil
}

// running reports whether the sandbox may use memory now.
func (s *Sandbox) running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pid != 0 && !s.paused
}

// measure notes the memory in use and ends the sandbox if it is over its limit.
func (s *Sandbox) measure(all map[int][]proc) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pid == 0 {
		return 0
	}
	now := memory(all[s.pid])
	s.peak = max(s.peak, now)
	if limit := int64(s.spec.MemoryMB) << 20; limit > 0 && now > limit && !s.oom {
		// If the signal fails the process has ended; reap tells how.
		s.oom = unix.Kill(-s.pid, unix.SIGKILL) == nil
	}
	return now
}

// Memory implements sandbox.Sandbox. It counts what the processes have for
// themselves; peaks shorter than a tenth of a second may be missed.
func (s *Sandbox) Memory() (now, peak int64, err error) {
	all, err := sessions()
	if err != nil {
		return 0, 0, fmt.Errorf("measure sandbox %s: %w", s.spec.ID, err)
	}
	now = s.measure(all)
	s.mu.Lock()
	defer s.mu.Unlock()
	return now, s.peak, nil
}

// Done implements sandbox.Sandbox.
func (s *Sandbox) Done() <-chan struct{} { return s.done }

// Exit implements sandbox.Sandbox.
func (s *Sandbox) Exit() sandbox.Exit {
	<-s.done
	return s.exit
}

// Close implements sandbox.Sandbox.
func (s *Sandbox) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.end() })
	return s.closeErr
}

func (s *Sandbox) end() error {
	s.mu.Lock()
	s.closed = true
	var all []error
	if s.pid != 0 {
		all = append(all, ended(unix.Kill(-s.pid, unix.SIGKILL)))
	}
	if !s.ran {
		close(s.done)
	}
	s.mu.Unlock()

	<-s.done
	all = append(all, s.reapErr, s.closeInside())
	for _, f := range []*os.File{s.stdin, s.stdout, s.stderr} {
		if f == nil {
			continue
		}
		if err := f.Close(); !errors.Is(err, os.ErrClosed) { // by who reads the log
			all = append(all, err)
		}
	}
	if s.made {
		all = append(all, os.RemoveAll(s.dir))
	}
	s.d.forget(s)
	return errors.Join(all...)
}
