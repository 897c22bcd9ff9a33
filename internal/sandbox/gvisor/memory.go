package gvisor

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// memoryFile is the name of the file in memory that holds all of a guest's
// memory, and the contents of its tmpfs.
const memoryFile = "memfd:runsc-memory"

// typicalOwn is what a Sentry adds to its group's memory when that was not
// measured before its end.
const typicalOwn = 10 << 20

// Memory implements sandbox.Sandbox. Now is exact: it is the size of the file
// that holds the guest's memory. The peak between two calls is the control
// group's, less the share of the Sentry at the time of the call; without
// control groups it is the most that any call has seen. When the sandbox has
// ended, but is not closed, now is 0 and the peak is told still.
func (s *Sandbox) Memory() (now, peak int64, err error) {
	limit := int64(s.spec.MemoryMB) << 20
	ended := false
	select {
	case <-s.done:
		ended = true
	default:
		if now, err = s.guestMemory(); err != nil {
			return 0, 0, err
		}
	}
	most := now
	if s.cgroup != nil {
		all, groupPeak, shared, err := s.cgroup.memory()
		if err != nil {
			return 0, 0, errs.Newf(errs.Unavailable, "read memory use of sandbox %s: %w", s.spec.ID, err)
		}
		own := all - shared
		if !ended {
			s.own.Store(own)
		} else if own = s.own.Load(); own == 0 {
			own = typicalOwn
		}
		// What the Sentry used at the group's peak is not known: the guest
		// can't have had more than its limit.
		most = max(most, min(groupPeak-own, limit))
	}
	for {
		seen := s.peak.Load()
		if most <= seen {
			return now, seen, nil
		}
		if s.peak.CompareAndSwap(seen, most) {
			return now, most, nil
		}
	}
}

func (s *Sandbox) guestMemory() (int64, error) {
	path := s.memory.Load()
	for try := 0; ; try++ {
		if path == nil {
			found, err := findMemoryFile(s.pid)
			if err != nil {
				return 0, errs.Newf(errs.Unavailable, "read memory use of sandbox %s: %w", s.spec.ID, err)
			}
			path = &found
			s.memory.Store(path)
		}
		var st unix.Stat_t
		if err := unix.Stat(*path, &st); err == nil {
			return st.Blocks * 512, nil
		} else if try > 0 {
			return 0, errs.Newf(errs.Unavailable, "read memory use of sandbox %s: %w", s.spec.ID, err)
		}
		path = nil // the number may have changed
	}
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
