package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	restSpan   = 8 * time.Second // after which idle instances have given back what they don't need
	cpuSpan    = 5 * time.Second // over which idle instances must use none
	fitsBytes  = 8 << 30
	clockTicks = 100 // of /proc/PID/stat per second, on Linux everywhere
)

// processes returns the ids of the processes that the node started, and theirs.
func (n *node) processes() ([]string, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := make(map[string][]string)
	for _, path := range stats {
		if f := statFields(path); len(f) > 1 { // else it is gone
			children[f[1]] = append(children[f[1]], filepath.Base(filepath.Dir(path)))
		}
	}
	found := children[fmt.Sprint(n.cmd.Process.Pid)]
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i]]...)
	}
	return found, nil
}

// statFields returns what follows the name: state, parent and so on.
func statFields(path string) []string {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
}

// cpuOf returns the CPU time that a process has used.
func cpuOf(pid string) (time.Duration, error) {
	f := statFields("/proc/" + pid + "/stat")
	if len(f) < 13 {
		return 0, fmt.Errorf("process %s has no stat", pid)
	}
	user, err := strconv.ParseInt(f[11], 10, 64)
	system, serr := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * time.Second / clockTicks, errors.Join(err, serr)
}

// sandboxes returns the memory (PSS, in bytes) and the CPU time of all processes
// that the node started.
func (n *node) sandboxes() (pss int64, cpu time.Duration, err error) {
	pids, err := n.processes()
	if err != nil {
		return 0, 0, err
	}
	for _, pid := range pids {
		b, err := os.ReadFile("/proc/" + pid + "/smaps_rollup")
		if err != nil {
			continue // it is gone
		}
		for line := range strings.Lines(string(b)) {
			var kb int64
			if _, err := fmt.Sscanf(line, "Pss: %d kB", &kb); err == nil {
				pss += kb << 10
			}
		}
		if used, err := cpuOf(pid); err == nil { // else it is gone
			cpu += used
		}
	}
	return pss, cpu, nil
}

// densityTable measures what idle instances cost, and a burst of calls to a
// function at zero.
func densityTable(ctx context.Context, out io.Writer, o options, work string, small []subject) error {
	fmt.Fprintf(out, "\n## Idle instances and bursts\n\n")
	fmt.Fprintf(out, "Burst: time until %d concurrent calls of 100 ms to a function at zero are all answered. Memory is PSS of all processes of the instances that the burst left, divided by their number, as soon as all are frozen, and some seconds later; what fits into 8 GiB is extrapolated from it. CPU: of all of them together over %v.\n", o.burst, cpuSpan)
	fmt.Fprintf(out, "\n| function | start | burst s | instances | MiB each | after %v | fit in 8 GiB | CPU ms |\n|---|---|---|---|---|---|---|---|\n", restSpan)
	for _, s := range small {
		for _, off := range []bool{false, true} {
			if o.driver != "gvisor" && !off {
				continue
			}
			s.off = off
			if err := densityRow(ctx, out, o, work, s); err != nil {
				return err
			}
		}
	}
	if o.driver != "gvisor" || len(small) == 0 {
		return nil
	}
	return spareRow(ctx, out, o, work, small[0])
}

// startReady starts a node that has s, at zero.
func startReady(ctx context.Context, o options, work string, s subject, flags ...string) (*node, error) {
	dir, err := os.MkdirTemp(work, "node-")
	if err != nil {
		return nil, err
	}
	n, err := startNode(ctx, o, dir, flags...)
	if err != nil {
		return nil, err
	}
	if err = n.create(ctx, s); err == nil {
		err = n.ready(ctx, s)
	}
	if err != nil {
		return nil, errors.Join(err, n.stop())
	}
	return n, nil
}

// spareRow measures what a sandbox costs that was booted ahead of calls.
func spareRow(ctx context.Context, out io.Writer, o options, work string, s subject) (err error) {
	note("spare sandboxes")
	n, err := startReady(ctx, o, work, s, "--keep-alive", "1s")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	if _, err := n.burst(ctx, s, 20); err != nil { // many starts: many are kept ready
		return err
	}
	if err := n.atZero(ctx, true); err != nil {
		return err
	}
	if err := pause(ctx, restSpan); err != nil {
		return err
	}
	var now status
	if err := n.get(ctx, "node", &now); err != nil {
		return err
	}
	pss, _, err := n.sandboxes()
	if err != nil {
		return err
	}
	spares := now.Snapshots.Spares
	_, err = fmt.Fprintf(out, "\nSandboxes that were booted ahead: %d, **%.1f MiB** PSS each.\n", spares, mib(pss/int64(max(spares, 1))))
	return err
}

func densityRow(ctx context.Context, out io.Writer, o options, work string, s subject) (err error) {
	name := map[bool]string{false: "snapshot", true: "no snapshot"}[s.off]
	note("burst: " + s.name + ", " + name)
	n, err := startReady(ctx, o, work, s, "--keep-alive", "1s", "--spare-memory", "0")
	if err != nil {
		return err
	}
	// What was measured once is to stay while it is measured again, but nobody
	// wants to wait so long for a function at zero.
	if err := n.stop(); err != nil {
		return err
	}
	if n, err = startNode(ctx, o, filepath.Dir(n.dir), "--keep-alive", "40s", "--spare-memory", "0"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	took, err := n.burst(ctx, s, o.burst)
	if err != nil {
		return err
	}
	var count int
	err = n.settle(ctx, "instances to freeze", func(now status) bool {
		count = len(now.Instances)
		for _, i := range now.Instances {
			if i.State != "frozen" {
				return false
			}
		}
		return count > 0
	})
	if err != nil {
		return err
	}
	soon, _, err := n.sandboxes()
	if err != nil {
		return err
	}
	if err := pause(ctx, restSpan); err != nil {
		return err
	}
	pss, before, err := n.sandboxes()
	if err != nil {
		return err
	}
	if err := pause(ctx, cpuSpan); err != nil {
		return err
	}
	_, after, err := n.sandboxes()
	if err != nil {
		return err
	}
	each := pss / int64(count)
	fmt.Fprintf(out, "| %s | %s | **%.2f** | %d | %.1f | **%.1f** | %d | %d |\n", s.name, name, took.Seconds(), count, mib(soon/int64(count)), mib(each), fitsBytes/max(each, 1), (after - before).Milliseconds())
	return nil
}

// ready brings s to zero, with its snapshot taken if it wants one.
func (n *node) ready(ctx context.Context, s subject) error {
	if _, _, err := n.coldCall(ctx, s); err != nil {
		return err
	}
	if !s.off {
		if err := n.settle(ctx, "a snapshot", func(now status) bool { return now.Snapshots.Kept > 0 }); err != nil {
			return err
		}
	}
	return n.atZero(ctx, false)
}

// burst makes calls of 100 ms at once and returns when the last is answered.
func (n *node) burst(ctx context.Context, s subject, calls int) (time.Duration, error) {
	var wg sync.WaitGroup
	failed := make([]error, calls)
	began := time.Now()
	for i := range calls {
		wg.Go(func() {
			req, err := n.signed(ctx, "POST", invocations(s.name), "lambda", []byte(`{"name":"burst","pause":100}`))
			if err == nil {
				err = do(n.http, req)
			}
			failed[i] = err
		})
	}
	wg.Wait()
	return time.Since(began), errors.Join(failed...)
}
