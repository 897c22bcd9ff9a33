package gvisor

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// limits are what a group holds its processes to.
type limits struct {
	memory   int64 // bytes
	milliCPU int   // share; see group.limitCPU for the limit
	pids     int   // threads on the host
}

// create makes the group of a sandbox, without processes yet.
func (t *cgroupTree) create(id string, l limits) (_ *cgroup, err error) {
	g := &cgroup{tree: t, id: id}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("limit sandbox: %w", err), g.remove())
		}
	}()
	for _, dir := range g.dirs() {
		if err := mkdir(dir); err != nil {
			return nil, err
		}
	}
	return g, g.limit(l)
}

// limit holds the group to l.
func (g *cgroup) limit(l limits) error {
	mem := strconv.FormatInt(l.memory, 10)
	if g.tree.version == 2 {
		return errors.Join(
			g.write("memory", "memory.max", mem),
			g.writeIfThere("memory", "memory.swap.max", "0"),
			g.writeIfThere("memory", "memory.oom.group", "1"),
			g.shareCPU(l.milliCPU),
			g.write("pids", "pids.max", strconv.Itoa(l.pids)),
		)
	}
	return errors.Join(
		g.write("memory", "memory.limit_in_bytes", mem),
		g.writeIfThere("memory", "memory.memsw.limit_in_bytes", mem),
		g.writeIfThere("memory", "memory.swappiness", "0"),
		g.shareCPU(l.milliCPU),
		g.write("pids", "pids.max", strconv.Itoa(l.pids)),
	)
}

// shareCPU gives the group its part of a CPU that is scarce.
func (g *cgroup) shareCPU(milliCPU int) error {
	shares := max(milliCPU*1024/1000, 2)
	if g.tree.version == 2 {
		weight := min(max(1+(shares-2)*9999/262142, 1), 10000) // as everybody converts them
		return g.write("cpu", "cpu.weight", strconv.Itoa(weight))
	}
	return g.write("cpu", "cpu.shares", strconv.Itoa(shares))
}

// cgroup is the group of one sandbox.
type cgroup struct {
	tree *cgroupTree
	id   string
}

// dirs returns the group's directories: one per v1 hierarchy, or one.
func (g *cgroup) dirs() []string {
	var dirs []string
	for _, c := range controllers {
		dir := filepath.Join(g.tree.dirs[c], g.id)
		if g.tree.dirs[c] != "" && (len(dirs) == 0 || dirs[len(dirs)-1] != dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// add moves a process, with all its threads, into the group. Processes that it
// starts later are born there.
func (g *cgroup) add(pid int) error {
	for _, dir := range g.dirs() {
		if err := writeFile(filepath.Join(dir, "cgroup.procs"), strconv.Itoa(pid)); err != nil {
			return fmt.Errorf("place process %d: %w", pid, err)
		}
	}
	return nil
}

// holds reports whether the process is in the group already.
func (g *cgroup) holds(pid int) bool {
	own, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	return err == nil && bytes.Count(own, []byte("/"+filepath.Base(g.tree.dirs["memory"])+"/"+g.id+"\n")) == len(g.dirs())
}

// processes returns what is in the group.
func (g *cgroup) processes() (pids []int) {
	procs, err := os.ReadFile(g.path("memory", "cgroup.procs"))
	if err != nil {
		return nil
	}
	for _, f := range strings.Fields(string(procs)) {
		if pid, err := strconv.Atoi(f); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// cpuPeriod is the time over which a CPU limit holds, in microseconds: short,
// so that a throttled sandbox waits little at a time.
const cpuPeriod = 20_000

// limitCPU holds the group to milliCPU thousandths of a CPU; 0 lifts the limit.
func (g *cgroup) limitCPU(milliCPU int) error {
	// The kernel takes no quota under 1 ms.
	quota := max(milliCPU*cpuPeriod/1000, 1000)
	if g.tree.version == 2 {
		limit := "max"
		if milliCPU > 0 {
			limit = strconv.Itoa(quota)
		}
		return g.write("cpu", "cpu.max", fmt.Sprintf("%s %d", limit, cpuPeriod))
	}
	if milliCPU <= 0 {
		quota = -1
	}
	return errors.Join(
		g.write("cpu", "cpu.cfs_period_us", strconv.Itoa(cpuPeriod)),
		g.write("cpu", "cpu.cfs_quota_us", strconv.Itoa(quota)))
}

// oomKilled reports whether the kernel killed a process of the group because
// the group was over its memory limit.
func (g *cgroup) oomKilled() bool {
	file := "memory.oom_control"
	if g.tree.version == 2 {
		file = "memory.events"
	}
	n, err := g.counter(file, "oom_kill")
	return err == nil && n > 0
}

// memory returns what is charged to the group: in all, the most so far, and
// the part that is shared memory, which is where gVisor keeps its guest's.
func (g *cgroup) memory() (all, peak, shared int64, err error) {
	usage, most, field := "memory.usage_in_bytes", "memory.max_usage_in_bytes", "shmem"
	if g.tree.version == 2 {
		usage, most = "memory.current", "memory.peak" // peak: since Linux 5.19
	}
	if all, err = g.number(usage); err != nil {
		return 0, 0, 0, err
	}
	if peak, err = g.number(most); err != nil {
		peak = all
	}
	shared, err = g.counter("memory.stat", field)
	return all, peak, shared, err
}

// resetPeak makes the peak the present use. It reports false where the kernel
// can't: on v2, a peak is reset for one open file only, and since Linux 6.12.
func (g *cgroup) resetPeak() bool {
	return g.tree.version == 1 && g.write("memory", "memory.max_usage_in_bytes", "0") == nil
}

// remove removes the group. Its processes must have been waited for; the kernel
// may need a moment longer to let go of them.
func (g *cgroup) remove() error {
	var err error
	for _, dir := range g.dirs() {
		err = errors.Join(err, rmdir(dir))
	}
	return err
}

func (g *cgroup) path(controller, file string) string {
	return filepath.Join(g.tree.dirs[controller], g.id, file)
}

func (g *cgroup) write(controller, file, value string) error {
	if g.tree.dirs[controller] == "" {
		return nil // v1 without this controller; Report says so
	}
	return writeFile(g.path(controller, file), value)
}

func (g *cgroup) writeIfThere(controller, file, value string) error {
	if _, err := os.Stat(g.path(controller, file)); err != nil {
		return nil
	}
	return g.write(controller, file, value)
}

func (g *cgroup) number(file string) (int64, error) {
	b, err := os.ReadFile(g.path("memory", file))
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}

// counter reads a "name value" line of a file.
func (g *cgroup) counter(file, name string) (int64, error) {
	b, err := os.ReadFile(g.path("memory", file))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == name {
			return strconv.ParseInt(f[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no line %s", g.path("memory", file), name)
}
