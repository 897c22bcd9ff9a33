package process

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// proc is a process as /proc/PID/stat tells of it.
type proc struct {
	pid, session int
	state        byte
	start        uint64 // in clock ticks since the machine's start
}

func (p proc) alive() bool { return p.state != 'Z' && p.state != 'X' }

// readProc returns the process pid. An error means that there is none.
func readProc(pid int) (proc, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return proc{}, err
	}
	// The second field is the program's name in parentheses and may hold
	// anything. See proc_pid_stat(5); fields count from 1.
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	const first, session, start = 3, 6, 22
	if len(f) <= start-first {
		return proc{}, fmt.Errorf("process %d: bad stat %q", pid, b)
	}
	p := proc{pid: pid, state: f[0][0]}
	p.session, err = strconv.Atoi(f[session-first])
	if err == nil {
		p.start, err = strconv.ParseUint(f[start-first], 10, 64)
	}
	return p, err
}

// sessions returns all living processes by their session.
func sessions() (map[int][]proc, error) {
	d, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	all := map[int][]proc{}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if p, err := readProc(pid); err == nil && p.alive() {
			all[p.session] = append(all[p.session], p)
		}
	}
	return all, nil
}

// memory returns the bytes that processes have for themselves: what is mapped
// from files (programs, libraries) is shared and not counted.
func memory(procs []proc) int64 {
	var sum int64
	for _, p := range procs {
		sum += private(p.pid)
	}
	return sum
}

// private is 0 for a process that has gone.
func private(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	var sum int64
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		name, value, _ := strings.Cut(s.Text(), ":")
		if name != "RssAnon" && name != "RssShmem" {
			continue
		}
		kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err == nil {
			sum += kb << 10
		}
	}
	return sum
}

// killTries bounds how often killSession looks for processes that are left:
// dying takes a moment, and others may be started meanwhile.
const killTries = 200

// killSession kills all processes of the session that began with leader. The
// caller makes sure that the leader's number is not another's by now.
func killSession(leader int) error {
	// At once for all that stayed in the first process group, then what left it.
	if err := unix.Kill(-leader, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process group %d: %w", leader, err)
	}
	for range killTries {
		all, err := sessions()
		if err != nil {
			return fmt.Errorf("look for processes: %w", err)
		}
		if len(all[leader]) == 0 {
			return nil
		}
		for _, p := range all[leader] {
			if err := unix.Kill(p.pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("kill process %d: %w", p.pid, err)
			}
		}
	}
	return fmt.Errorf("processes of session %d do not end", leader)
}

// record tells of a first process, so that a later node can find it.
type record struct {
	Boot  string // the machine's start that the numbers belong to
	PID   int
	Start uint64 // see proc.start
	Task  string // directory of the function's code
}

// running returns whether processes of the record's sandbox are left. A process
// that only has the same number is none of them.
func (r record) running(boot string, all map[int][]proc) bool {
	if r.Boot != boot || r.PID <= 1 {
		return false
	}
	members := all[r.PID]
	for _, p := range members {
		if p.pid == r.PID {
			return p.start == r.Start
		}
	}
	// The first process is gone. A session of that number is ours if what is
	// left of it knows our code.
	for _, p := range members {
		if p.start >= r.Start && r.known(p.pid) {
			return true
		}
	}
	return false
}

func (r record) known(pid int) bool {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	if cwd, err := os.Readlink(filepath.Join(dir, "cwd")); err == nil && cwd == r.Task {
		return true
	}
	env, err := os.ReadFile(filepath.Join(dir, "environ"))
	return err == nil && bytes.Contains(env, []byte("="+r.Task+"\x00"))
}

func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("learn the machine's start: %w", err)
	}
	return string(bytes.TrimSpace(b)), nil
}
