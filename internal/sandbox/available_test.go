package sandbox

import (
	"testing"
	"testing/fstest"
)

func TestAvailableIsTheLeastOfMachineAndControlGroups(t *testing.T) {
	const meminfo = "MemTotal:  8000 kB\nMemFree: 10 kB\nMemAvailable:    4000 kB\n"
	for name, tt := range map[string]struct {
		files map[string]string
		want  int64
		known bool
	}{
		"nothing is known":  {map[string]string{"proc/meminfo": "MemTotal: 8000 kB\n"}, 0, false},
		"the machine":       {map[string]string{"proc/meminfo": meminfo}, 4000 << 10, true},
		"no limit":          {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n", "sys/fs/cgroup/a/memory.current": "9\n"}, 4000 << 10, true},
		"version 2":         {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "1000\n", "sys/fs/cgroup/a/memory.current": "900\n", "sys/fs/cgroup/a/memory.stat": "anon 7\ninactive_file 50\n"}, 150, true},
		"a parent":          {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "1000\n", "sys/fs/cgroup/a/b/memory.current": "100\n", "sys/fs/cgroup/a/memory.max": "1000\n", "sys/fs/cgroup/a/memory.current": "700\n"}, 300, true},
		"over the limit":    {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "10\n", "sys/fs/cgroup/memory.current": "20\n"}, 0, true},
		"version 1":         {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "5:cpu,memory:/a\n0::/\n", "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "1000\n", "sys/fs/cgroup/memory/a/memory.usage_in_bytes": "600\n", "sys/fs/cgroup/memory/a/memory.stat": "inactive_file 1\ntotal_inactive_file 100\n"}, 500, true},
		"other controllers": {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "5:cpu:/a\nnonsense\n", "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "1000\n", "sys/fs/cgroup/memory/a/memory.usage_in_bytes": "600\n"}, 4000 << 10, true},
	} {
		root := fstest.MapFS{}
		for file, text := range tt.files {
			root[file] = &fstest.MapFile{Data: []byte(text)}
		}
		if got, known := available(root); got != tt.want || known != tt.known {
			t.Errorf("%s: %d, %v; want %d, %v", name, got, known, tt.want, tt.known)
		}
	}
}

func TestThisMachineHasMemoryAvailable(t *testing.T) {
	if got, known := Available(); !known || got <= 0 || got > 1<<50 {
		t.Errorf("%d bytes are available, known: %v", got, known)
	}
}
