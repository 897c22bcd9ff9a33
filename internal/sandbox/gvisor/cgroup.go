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
