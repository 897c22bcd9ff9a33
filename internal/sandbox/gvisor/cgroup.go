package gvisor

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cgroupRoot is where Linux has its control groups.
const cgroupRoot = "/sys/fs/cgroup"

// controllers are what the driver limits sandboxes with.
var controllers = []string{"memory", "cpu", "pids"}

// cgroupTree is the node's own part of the control groups: a parent with one
// group per sandbox below it. gVisor's own code is not used, since on v1 it
// moves the calling process; the driver places processes itself.
type cgroupTree struct {
	version int               // 1 or 2
	dirs    map[string]string // controller -> the parent's directory; all the same on v2
}

// cgroupName is the name of the parent group of the node on the given data
// directory, so that two nodes don't meet.
func cgroupName(dir string) string {
	h := fnv.New64a()
	h.Write([]byte(dir))
	return fmt.Sprintf("mayfly-%016x", h.Sum64())
}

// openCgroups finds the control groups that this process may use and makes the
// node's parent group. Every error says what is missing. own is the content of
// /proc/self/cgroup and mounts that of /proc/self/mountinfo.
func openCgroups(own, mounts []byte, name string) (*cgroupTree, error) {
	t, err := openCgroupV1(mounts, name)
	if err == nil || !errors.Is(err, errNoV1) {
		return t, err
	}
	mount := cgroup2Mount(mounts)
	if mount == "" {
		return nil, errors.New("no control groups are mounted below " + cgroupRoot)
	}
	return openCgroupV2(mount, filepath.Join(mount, ownCgroup2(own)), name)
}

var errNoV1 = errors.New("the memory controller is not on cgroup v1")

// openCgroupV1 uses the v1 hierarchies if the memory controller is on v1: a
// controller is either on v1 or on v2, and hybrid systems have them on v1.
func openCgroupV1(mounts []byte, name string) (*cgroupTree, error) {
	t := &cgroupTree{version: 1, dirs: map[string]string{}}
	for _, m := range parseMounts(mounts) {
		if m.fstype != "cgroup" {
			continue
		}
		for _, c := range controllers {
			for _, o := range strings.Split(m.options, ",") {
				if o == c {
					t.dirs[c] = filepath.Join(m.dir, name)
				}
			}
		}
	}
	if t.dirs["memory"] == "" {
		return nil, errNoV1
	}
	for _, dir := range t.dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("make control group: %w", err)
		}
	}
	return t, nil
}

// openCgroupV2 makes the parent group on the unified hierarchy: below its root,
// or, where that can't be (as a normal user, in a container), below the group
// that this process was started in, if that was delegated to it.
func openCgroupV2(mount, own, name string) (*cgroupTree, error) {
	var errsSeen []error
	for _, base := range []string{mount, own} {
		err := enableControllers(base)
		if err != nil && base == own {
			// A group with processes can't give controllers to groups below
			// it. If all of them are ours, move them one group down.
			err = leaveGroup(base, err)
		}
		parent := filepath.Join(base, name)
		if err == nil {
			err = mkdir(parent)
		}
		if err == nil {
			err = enableControllers(parent)
		}
		if err == nil {
			t := &cgroupTree{version: 2, dirs: map[string]string{}}
			for _, c := range controllers {
				t.dirs[c] = parent
			}
			return t, nil
		}
		errsSeen = append(errsSeen, err)
		if own == mount {
			break
		}
	}
	return nil, errors.Join(errsSeen...)
}

// enableControllers lets the groups below dir use the controllers.
func enableControllers(dir string) error {
	available, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for _, c := range controllers {
		if !hasWord(string(available), c) {
			return fmt.Errorf("controller %s is not available in %s", c, dir)
		}
	}
	control := filepath.Join(dir, "cgroup.subtree_control")
	if enabled, err := os.ReadFile(control); err == nil && hasWords(string(enabled), controllers) {
		return nil
	}
	return writeFile(control, "+"+strings.Join(controllers, " +"))
}

// leaveGroup moves this process from the group dir to a new one below it and
// enables the controllers of dir. It refuses, with why as the reason, when the
// group is not this process's alone.
func leaveGroup(dir string, why error) error {
	if !errors.Is(why, syscall.EBUSY) {
		return why
	}
	procs, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(procs)) != strconv.Itoa(os.Getpid()) {
		return fmt.Errorf("%s holds other processes: %w", dir, why)
	}
	leaf := filepath.Join(dir, "mayfly-node")
	if err := mkdir(leaf); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(leaf, "cgroup.procs"), strconv.Itoa(os.Getpid())); err != nil {
		return err
	}
	return enableControllers(dir)
}

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
	mem := strconv.FormatInt(l.memory, 10)
	if t.version == 2 {
		weight := min(max(1+(l.milliCPU*1024/1000-2)*9999/262142, 1), 10000) // shares of v1, as everybody converts them
		return g, errors.Join(
			g.write("memory", "memory.max", mem),
			g.writeIfThere("memory", "memory.swap.max", "0"),
			g.writeIfThere("memory", "memory.oom.group", "1"),
			g.write("cpu", "cpu.weight", strconv.Itoa(weight)),
			g.write("pids", "pids.max", strconv.Itoa(l.pids)),
		)
	}
	return g, errors.Join(
		g.write("memory", "memory.limit_in_bytes", mem),
		g.writeIfThere("memory", "memory.memsw.limit_in_bytes", mem),
		g.writeIfThere("memory", "memory.swappiness", "0"),
		g.write("cpu", "cpu.shares", strconv.Itoa(max(l.milliCPU*1024/1000, 2))),
		g.write("pids", "pids.max", strconv.Itoa(l.pids)),
	)
}

// list returns the ids of the groups that exist.
func (t *cgroupTree) list() ([]string, error) {
	seen := map[string]bool{}
	var ids []string
	for _, parent := range t.dirs {
		entries, err := os.ReadDir(parent)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			if e.IsDir() && !seen[e.Name()] {
				seen[e.Name()] = true
				ids = append(ids, e.Name())
			}
		}
	}
	return ids, nil
}

// remove removes the parent group, which must be empty.
func (t *cgroupTree) remove() error {
	var err error
	for _, dir := range t.dirs {
		err = errors.Join(err, rmdir(dir))
	}
	return err
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

// mountEntry is a line of mountinfo.
type mountEntry struct{ dir, fstype, options string }

func parseMounts(mountinfo []byte) []mountEntry {
	var out []mountEntry
	s := bufio.NewScanner(bytes.NewReader(mountinfo))
	for s.Scan() {
		before, after, ok := strings.Cut(s.Text(), " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if ok && len(f) >= 5 && len(g) >= 3 {
			out = append(out, mountEntry{dir: f[4], fstype: g[0], options: g[2]})
		}
	}
	return out
}

func cgroup2Mount(mountinfo []byte) string {
	for _, m := range parseMounts(mountinfo) {
		if m.fstype == "cgroup2" {
			return m.dir
		}
	}
	return ""
}

// ownCgroup2 returns the path of the v2 group in the text of /proc/self/cgroup.
func ownCgroup2(own []byte) string {
	for line := range strings.Lines(string(own)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return path
		}
	}
	return "/"
}

func hasWord(text, word string) bool { return hasWords(text, []string{word}) }

func hasWords(text string, words []string) bool {
	have := map[string]bool{}
	for _, f := range strings.Fields(text) {
		have[f] = true
	}
	for _, w := range words {
		if !have[w] {
			return false
		}
	}
	return true
}

func mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// rmdir removes a group's directory. A group of processes that were killed and
// waited for can be busy for a little longer: the kernel frees them in its own
// time and tells nobody.
func rmdir(dir string) error {
	for wait := time.Millisecond; ; wait *= 2 {
		err := syscall.Rmdir(dir)
		switch {
		case err == nil || errors.Is(err, fs.ErrNotExist):
			return nil
		case !errors.Is(err, syscall.EBUSY) || wait > time.Second:
			return fmt.Errorf("remove control group %s: %w", dir, err)
		}
		time.Sleep(wait)
	}
}

func writeFile(path, value string) error { return os.WriteFile(path, []byte(value), 0o644) }
