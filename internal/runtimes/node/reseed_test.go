package node

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestReseedModuleIsAValidObject(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		module, err := reseedModule(arch)
		if err != nil {
			t.Fatal(err)
		}
		f, err := elf.NewFile(bytes.NewReader(module))
		if err != nil {
			t.Fatalf("%s: %v", arch, err)
		}
		if len(f.Progs) != programs || len(module) > 4096 {
			t.Errorf("%s: %d segments, %d bytes", arch, len(f.Progs), len(module))
		}
		for _, p := range f.Progs {
			if p.Flags&elf.PF_W != 0 && p.Flags&elf.PF_X != 0 {
				t.Errorf("%s: a segment can be written and run", arch)
			}
		}
	}
}

// That the module takes effect, copies of real snapshots show; this shows that
// Node.js loads and runs it, more than once.
func TestNodeLoadsTheReseedModule(t *testing.T) {
	program, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is missing")
	}
	module, err := reseedModule(runtime.GOARCH)
	if err != nil {
		t.Skip(err)
	}
	path := filepath.Join(t.TempDir(), reseedName)
	if err := os.WriteFile(path, module, 0o755); err != nil {
		t.Fatal(err)
	}
	script := `for (let i = 0; i < 3; i++) {
		try { process.dlopen({ exports: {} }, process.argv[1]); } catch (e) { console.log(e.message.split(':')[0]); }
	}`
	out, err := exec.Command(program, "-e", script, path).CombinedOutput()
	if want := strings.Repeat("Module did not self-register\n", 3); err != nil || string(out) != want {
		t.Errorf("%v: %s", err, out)
	}
}
