package sandbox

import (
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// Available returns how much memory this process and what it starts can still
// get, in bytes: what the machine has available, or what is left below the limit
// of a control group that the process is in, if that is less. It reports false
// where neither can be known.
func Available() (int64, bool) { return available(os.DirFS("/")) }

func available(root fs.FS) (least int64, known bool) {
	note := func(n int64) {
		if !known || n < least {
			least, known = max(n, 0), true
		}
	}
	if n, ok := field(root, "proc/meminfo", "MemAvailable:"); ok {
		note(n << 10)
	}
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return least, known
	}
	for line := range strings.Lines(string(groups)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3) // hierarchy, controllers, path
		if len(part) != 3 {
			continue
		}
		g := memoryV1
		switch {
		case part[0] == "0" && part[1] == "":
			g = memoryV2
		case !strings.Contains(","+part[1]+",", ",memory,"):
			continue
		}
		for at := path.Clean("/" + part[2]); ; at = path.Dir(at) {
			if n, ok := g.left(root, path.Join(g.dir, at)); ok {
				note(n)
			}
			if at == "/" {
				break
			}
		}
	}
	return least, known
}

// memoryFiles are where a version of control groups keeps what is asked here:
// Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst of Linux.
type memoryFiles struct{ dir, limit, used, cache string }

var (
	memoryV1 = memoryFiles{"sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"}
	memoryV2 = memoryFiles{"sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"}
)

// left returns what a group can still get, by its own limit: what it has cached of
// files and not used lately can be had again.
func (m memoryFiles) left(root fs.FS, dir string) (int64, bool) {
	limit, ok := number(root, path.Join(dir, m.limit))
	if !ok { // "max", or no such group
		return 0, false
	}
	used, ok := number(root, path.Join(dir, m.used))
	if !ok {
		return 0, false
	}
	cache, _ := field(root, path.Join(dir, "memory.stat"), m.cache)
	return limit - used + cache, true
}

func number(root fs.FS, file string) (int64, bool) {
	text, err := fs.ReadFile(root, file)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}

// field reads the number behind a name at the start of a line.
func field(root fs.FS, file, name string) (int64, bool) {
	text, err := fs.ReadFile(root, file)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) >= 2 && f[0] == name {
			n, err := strconv.ParseInt(f[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
