package gvisor

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/bpf"
	"gvisor.dev/gvisor/pkg/seccomp"
	"gvisor.dev/gvisor/pkg/sentry/platform"
	"gvisor.dev/gvisor/runsc/boot/filter/config"

	"github.com/mayfly-dev/mayfly/internal/sandbox/sandboxtest"
)

// filterOptions are what gVisor makes of the driver's configuration.
func filterOptions(t *testing.T) config.Options {
	t.Helper()
	systrap, err := platform.Lookup("systrap")
	if err != nil {
		t.Fatal(err)
	}
	return config.Options{Platform: systrap.PrecompiledSeccompInfo()[0], ControllerFD: 42}
}

// The generated programs must be of the gVisor in go.mod, and be what that
// gVisor would compile itself.
func TestSeccompPrograms(t *testing.T) {
	version, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", "gvisor.dev/gvisor").Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.TrimSpace(string(version)); seccompVersion != want {
		t.Fatalf("the programs are of gVisor %s, go.mod has %s: run go generate ./internal/sandbox/gvisor", seccompVersion, want)
	}
	opt := filterOptions(t)
	program, ok := seccompPrograms()[opt.ConfigKey()]
	if !ok {
		t.Fatalf("no program for %s: run go generate ./internal/sandbox/gvisor", opt.ConfigKey())
	}
	got, err := program.RenderInstructions(opt.Vars())
	if err != nil {
		t.Fatal(err)
	}
	allowed, denied := config.Rules(opt)
	own := seccomp.Program{
		RuleSets: []seccomp.RuleSet{{Rules: denied}, {Rules: allowed, Action: seccomp.Allow}},
		Options:  config.SeccompOptions(opt),
	}
	want, _, err := own.Build()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the generated program has %d instructions, gVisor's own %d, or others: run go generate ./internal/sandbox/gvisor", len(got), len(want))
	}
}

// The filter that a running sandbox's kernel is under is the generated one.
func TestSeccompProgramInForce(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may read another process's filter")
	}
	d, images := newDriver(t), sandboxtest.Images(t)
	p := sandboxtest.Start(t, d, images.Spec())
	got := filterOf(t, p.Sandbox.(*Sandbox).pid)
	restored := sandboxtest.Restore(t, d, images.Spec(), p.Save())
	if !slices.Equal(filterOf(t, restored.Sandbox.(*Sandbox).pid), got) {
		t.Error("the filter of a restored sandbox is another one")
	}

	opt := filterOptions(t)
	opt.ControllerFD = 3 // the first descriptor after the Sentry's stdio
	vars := opt.Vars()
	vars.SetUint64("self_pid", 1) // in its own pid namespace
	program := seccompPrograms()[opt.ConfigKey()]
	want, err := program.RenderInstructions(vars)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the filter in force has %d instructions, the generated one %d, or others", len(got), len(want))
	}
}

// filterOf reads the newest system call filter of a process.
func filterOf(t *testing.T, pid int) []bpf.Instruction {
	t.Helper()
	runtime.LockOSThread() // ptrace knows threads
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(pid); err != nil {
		t.Skipf("can't trace the sandbox's process: %v", err)
	}
	if err := unix.PtraceInterrupt(pid); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		var status unix.WaitStatus
		// The driver's own wait for this child may see the stop; it goes on
		// waiting, so look at the process's state as well.
		if got, _ := unix.Wait4(pid, &status, unix.WNOHANG|unix.WALL, nil); got == pid && status.Stopped() {
			break
		}
		stat, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if strings.Contains(string(stat), ") t ") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the process does not stop")
		}
		runtime.Gosched()
	}
	defer unix.PtraceDetach(pid)
	const getFilter = 0x420c // PTRACE_SECCOMP_GET_FILTER
	n, _, errno := unix.Syscall6(unix.SYS_PTRACE, getFilter, uintptr(pid), 0, 0, 0, 0)
	if errors.Is(errno, unix.EIO) || errors.Is(errno, unix.EINVAL) || errors.Is(errno, unix.EACCES) {
		t.Skipf("this kernel does not show filters: %v", errno)
	}
	if errno != 0 {
		t.Fatalf("read filter: %v", errno)
	}
	program := make([]bpf.Instruction, n)
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, getFilter, uintptr(pid), 0, uintptr(unsafe.Pointer(unsafe.SliceData(program))), 0, 0); errno != 0 {
		t.Fatalf("read filter: %v", errno)
	}
	return program
}
