package gvisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Sweep implements sandbox.Driver. Sentries die with the node that started
// them, so it rarely finds a process; what it finds are the directories and
// control groups of a node that was killed. It leaves alone what is of this
// driver's own sandboxes, and of other data directories.
func (d *Driver) Sweep(ctx context.Context) error {
	err := d.sweepProcesses(ctx)
	err = errors.Join(err, d.sweepGroups(), d.sweepDirs())
	if d.cfg.Network != nil {
		err = errors.Join(err, d.cfg.Network.Sweep(ctx))
	}
	if err != nil {
		return fmt.Errorf("sweep sandboxes: %w", err)
	}
	return nil
}

// sweepProcesses kills the Sentries on the driver's directory that are not
// this process's children, and waits for their end.
func (d *Driver) sweepProcesses(ctx context.Context) error {
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	var errsSeen error
	for _, p := range procs {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || !d.stale(pid) {
			continue
		}
		errsSeen = errors.Join(errsSeen, d.end(ctx, pid))
	}
	return errsSeen
}

// stale reports whether pid is a Sentry on the driver's directory that another
// process started.
func (d *Driver) stale(pid int) bool {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return false
	}
	args := strings.Split(string(cmdline), "\x00")
	if args[0] != sandboxArg0 {
		return false
	}
	ours := false
	for _, a := range args[1:] {
		ours = ours || a == "--root="+d.cfg.Dir
	}
	return ours && parent(dir) != os.Getpid()
}

// parent returns the parent of the process with the /proc directory dir.
func parent(dir string) int {
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return 0
	}
	// The name, in parentheses, may hold anything.
	_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
	if f := strings.Fields(rest); len(f) > 1 {
		ppid, _ := strconv.Atoi(f[1])
		return ppid
	}
	return 0
}

// end kills a stale Sentry and waits until it is gone.
func (d *Driver) end(ctx context.Context, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	if !d.stale(pid) { // the number was given to another process meanwhile
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill stale sandbox process %d: %w", pid, err)
	}
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 100)
		if n > 0 {
			return nil
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("stale sandbox process %d does not end: %w", pid, context.Cause(ctx))
		}
	}
}

// sweepGroups removes the control groups below the node's own, with whatever
// is in them.
func (d *Driver) sweepGroups() error {
	if d.cgroups == nil {
		return nil
	}
	ids, err := d.cgroups.list()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if d.isLive(id) {
			continue
		}
		g := &cgroup{tree: d.cgroups, id: id}
		err = errors.Join(err, g.killAll(), g.remove())
	}
	return err
}

// killAll kills what is in the group until nothing is.
func (g *cgroup) killAll() error {
	for range 100 {
		empty := true
		for _, dir := range g.dirs() {
			procs, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			if err != nil {
				continue // the group is not in all hierarchies
			}
			for _, f := range strings.Fields(string(procs)) {
				if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
					empty = false
					unix.Kill(pid, unix.SIGKILL)
				}
			}
		}
		if empty {
			return nil
		}
		time.Sleep(10 * time.Millisecond) // there is no event to wait for on v1
	}
	return fmt.Errorf("processes of control group %s do not end", g.id)
}

// sweepDirs removes the directories of sandboxes, and half-written files.
func (d *Driver) sweepDirs() error {
	entries, err := os.ReadDir(d.cfg.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() && !d.isLive(e.Name()) || strings.HasPrefix(e.Name(), nodeTemp) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(d.cfg.Dir, e.Name())))
		}
	}
	return err
}

func (d *Driver) isLive(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.live[id]
}

func (d *Driver) setLive(id string, live bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if live {
		d.live[id] = true
	} else {
		delete(d.live, id)
	}
}
