package gvisor

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// fakeGroup makes a directory look like a v2 group with the controllers.
func fakeGroup(t *testing.T, dir string, controllers string) {
	t.Helper()
	for name, text := range map[string]string{"cgroup.controllers": controllers, "cgroup.subtree_control": "", "cgroup.procs": ""} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func wantFiles(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	for name, text := range want {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		} else if strings.TrimSpace(string(got)) != text {
			t.Errorf("%s is %q, want %q", name, got, text)
		}
	}
}

func TestCgroupV2WritesTheUnifiedFiles(t *testing.T) {
	mount := t.TempDir()
	const name = "mayfly-0123"
	fakeGroup(t, mount, "cpuset cpu io memory pids\n")
	fakeGroup(t, filepath.Join(mount, name), "cpu memory pids\n")
	group := filepath.Join(mount, name, "fn-1")
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"memory.swap.max", "memory.oom.group"} {
		if err := os.WriteFile(filepath.Join(group, f), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	mounts := fmt.Sprintf("31 23 0:28 / %s rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n", mount)

	tree, err := openCgroups([]byte("0::/user.slice\n"), []byte(mounts), name)
	if err != nil {
		t.Fatal(err)
	}
	if tree.version != 2 {
		t.Errorf("version is %d", tree.version)
	}
	enabled := map[string]string{"cgroup.subtree_control": "+memory +cpu +pids"}
	wantFiles(t, mount, enabled)
	wantFiles(t, filepath.Join(mount, name), enabled)

	g, err := tree.create("fn-1", limits{memory: 176 << 20, milliCPU: 1000, pids: 600})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.add(4711); err != nil {
		t.Fatal(err)
	}
	if err := g.limitCPU(72); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, group, map[string]string{
		"memory.max": "184549376", "memory.swap.max": "0", "memory.oom.group": "1",
		"cpu.weight": "39", "cpu.max": "1440 20000", "pids.max": "600", "cgroup.procs": "4711",
	})
	if err := g.limitCPU(0); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, group, map[string]string{"cpu.max": "max 20000"})

	for name, text := range map[string]string{
		"memory.current": "30000\n", "memory.peak": "50000\n",
		"memory.stat":   "anon 10000\nfile 20000\nshmem 15000\n",
		"memory.events": "low 0\nhigh 0\nmax 7\noom 1\noom_kill 1\noom_group_kill 1\n",
	} {
		if err := os.WriteFile(filepath.Join(group, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	all, peak, shared, err := g.memory()
	if err != nil || all != 30000 || peak != 50000 || shared != 15000 {
		t.Errorf("memory is %d, %d, %d, %v", all, peak, shared, err)
	}
	if !g.oomKilled() {
		t.Error("an oom kill was not seen")
	}
}

// Where the hierarchy's root can't be used, the node's own delegated group is.
func TestCgroupV2FallsBackToTheOwnGroup(t *testing.T) {
	mount := t.TempDir()
	const name = "mayfly-0123"
	own := filepath.Join(mount, "user.slice/session.scope")
	fakeGroup(t, mount, "cpu\n") // memory is missing
	fakeGroup(t, own, "cpu memory pids\n")
	fakeGroup(t, filepath.Join(own, name), "cpu memory pids\n")
	tree, err := openCgroupV2(mount, own, name)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(own, name); tree.dirs["memory"] != want {
		t.Errorf("the parent is %s, want %s", tree.dirs["memory"], want)
	}
}

// A group with processes can't have controllers for groups below: the node
// moves itself down, but never others.
func TestCgroupV2LeavesItsGroupOnlyAlone(t *testing.T) {
	own := t.TempDir()
	fakeGroup(t, own, "cpu memory pids\n")
	procs := filepath.Join(own, "cgroup.procs")
	self := strconv.Itoa(os.Getpid())

	if err := os.WriteFile(procs, []byte("1\n"+self+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := leaveGroup(own, syscall.EBUSY); err == nil {
		t.Error("it left a group that it shares")
	}
	if err := os.WriteFile(procs, []byte(self+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := leaveGroup(own, syscall.EBUSY); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, filepath.Join(own, "mayfly-node"), map[string]string{"cgroup.procs": self})
	wantFiles(t, own, map[string]string{"cgroup.subtree_control": "+memory +cpu +pids"})

	if err := leaveGroup(own, syscall.EACCES); err != syscall.EACCES {
		t.Errorf("without permission it says %v", err)
	}
}

func TestCgroupMounts(t *testing.T) {
	const hybrid = `32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`
	if got := cgroup2Mount([]byte(hybrid)); got != "/sys/fs/cgroup/unified" {
		t.Errorf("v2 is mounted at %q", got)
	}
	mounts := parseMounts([]byte(hybrid))
	if len(mounts) != 3 || mounts[0].dir != "/sys/fs/cgroup/cpu,cpuacct" || mounts[0].options != "rw,cpu,cpuacct" {
		t.Errorf("mounts are %+v", mounts)
	}
	if got := ownCgroup2([]byte("8:pids:/x\n0::/user.slice/a b\n")); got != "/user.slice/a b" {
		t.Errorf("the own group is %q", got)
	}
	if _, err := openCgroups(nil, []byte("1 1 0:1 / / rw - ext4 /dev/sda rw\n"), "x"); err == nil {
		t.Error("a machine without control groups has some")
	}
}
