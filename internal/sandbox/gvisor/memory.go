package gvisor

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// memoryFile is the name of the file in memory that holds all of a guest's
// memory, and the contents of its tmpfs.
const memoryFile = "memfd:runsc-memory"

// typicalOwn is what a Sentry adds to its group's memory when that was not
// measured before its end.
const typicalOwn = 10 << 20

// gauge is what Memory remembers from call to call.
type gauge struct {
	mu     sync.Mutex // guards what follows
	path   string     // of the guest's memory file
	mapped int64      // resident pages of files, when last seen
	own    int64      // the Sentry's share of the group's memory, when last seen
	peak   int64      // most memory seen

	tmpTime time.Time // when /tmp was last written to
	soiled  int64     // what of the group's peak may be pages of /tmp
}

// Memory implements sandbox.Sandbox. It tells resident memory, as ps would of the
// same process outside, and as Lambda's figure does:
//
//   - anonymous memory, private copies of files' pages, and shared memory with
//     /dev/shm, of all that runs inside. This part is exact, and counts against
//     the control group's limit.
//   - the resident pages of mapped files, which are mainly the interpreter and
//     its libraries. Processes and sandboxes share them: those of the process
//     that has most stand for all, and they count against no limit.
//
// Neither the Sentry's memory nor what is in /tmp is in it. The group's limit
// leaves room for the Sentry; code that gets some of that is over Spec.MemoryMB
// before it is ended. The figures then stay at Spec.MemoryMB, which is also what
// a sandbox is told to have used that the limit ended.
//
// The peak between two calls is the control group's, less the Sentry's share at
// the time of the call. That peak holds cached pages of /tmp as well: if /tmp was
// written to between two calls, or without control groups, the peak is the most
// that any call has seen. When the sandbox has ended, but is not closed, now is
// 0 and the peak is told still.
func (s *Sandbox) Memory() (now, peak int64, err error) {
	g := &s.gauge
	g.mu.Lock()
	defer g.mu.Unlock()
	ended := false
	select {
	case <-s.done:
		ended = true
	default:
		if now, err = g.guestMemory(s.pid); err != nil {
			return 0, 0, errs.Newf(errs.Unavailable, "read memory use of sandbox %s: %w", s.spec.ID, err)
		}
		g.mapped = mappedFiles(s.guestProcesses())
		now += g.mapped
	}
	most := now
	if s.cgroup != nil {
		limit := int64(s.spec.MemoryMB) << 20
		reached, err := s.groupPeak(ended)
		if err != nil {
			return 0, 0, errs.Newf(errs.Unavailable, "read memory use of sandbox %s: %w", s.spec.ID, err)
		}
		if ended && s.exit.OOM {
			reached = limit
		}
		now, most = min(now, limit), min(max(now, reached), limit)
	}
	g.peak = max(g.peak, most)
	return now, g.peak, nil
}

// groupPeak returns the most memory that the guest has had by its control
// group's account, or 0 if that is no help.
func (s *Sandbox) groupPeak(ended bool) (int64, error) {
	g := &s.gauge
	all, peak, shared, err := s.cgroup.memory()
	if err != nil {
		return 0, err
	}
	own := all - shared
	if !ended {
		g.own = own
	} else if own = g.own; own == 0 {
		own = typicalOwn
	}
	// gVisor makes the file larger with its first use.
	info, err := s.tmp.Stat()
	if err != nil {
		return 0, nil // closed, and so are the calls that would write
	}
	if info.Size() > 0 && !info.ModTime().Equal(g.tmpTime) {
		g.tmpTime = info.ModTime()
		if g.soiled = peak; s.cgroup.resetPeak() {
			g.soiled = all
		}
		return 0, nil
	}
	if peak <= g.soiled {
		return 0, nil
	}
	return peak - own + g.mapped, nil
}

// guestMemory returns the size of what is in the guest's memory file.
func (g *gauge) guestMemory(pid int) (int64, error) {
	for try := 0; ; try++ {
		if g.path == "" {
			found, err := findMemoryFile(pid)
			if err != nil {
				return 0, err
			}
			g.path = found
		}
		var st unix.Stat_t
		err := unix.Stat(g.path, &st)
		if err == nil {
			return st.Blocks * 512, nil
		} else if try > 0 {
			return 0, err
		}
		g.path = "" // the number may have changed
	}
}

// guestProcesses returns the host's processes whose address spaces are those of
// the guest's, and perhaps some more that gVisor has spare.
func (s *Sandbox) guestProcesses() []int {
	if s.cgroup == nil {
		return children(s.pid)
	}
	pids := s.cgroup.processes() // far quicker to read
	return slices.DeleteFunc(pids, func(pid int) bool { return pid == s.pid })
}

// mappedFiles returns the resident bytes of files in the address space, of
// those of pids, that has most of them. The guest's own memory is no file there.
func mappedFiles(pids []int) (most int64) {
	for _, pid := range pids {
		status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
		if err != nil {
			continue // ended meanwhile
		}
		_, rest, _ := strings.Cut(string(status), "\nRssFile:")
		if f := strings.Fields(rest); len(f) > 0 { // none in a process that is ending
			kb, _ := strconv.ParseInt(f[0], 10, 64)
			most = max(most, kb<<10)
		}
	}
	return most
}

// findMemoryFile looks among the descriptors of a Sentry.
func findMemoryFile(pid int) (string, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if target, err := os.Readlink(path); err == nil && strings.Contains(target, memoryFile) {
			return path, nil
		}
	}
	return "", os.ErrNotExist
}
