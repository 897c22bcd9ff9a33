package gvisor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/guest"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/sandbox/sandboxtest"
)

// nodeEnv makes the test binary a stand-in for a node: see node.
const nodeEnv = "MAYFLY_TEST_NODE"

func TestMain(m *testing.M) {
	Reexec(guest.Inside())
	if dir := os.Getenv(nodeEnv); dir != "" {
		if err := node(dir); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// node starts two sandboxes on images that lie in dir, says so, and waits to be
// killed.
func node(dir string) error {
	d, err := New(Config{Dir: filepath.Join(dir, "run"), Log: slog.Default()})
	if err != nil {
		return err
	}
	images := sandboxtest.At(dir)
	for range 2 {
		s, err := d.Create(context.Background(), images.Spec())
		if err != nil {
			return err
		}
		if err := s.Start(context.Background()); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	select {}
}

// sandboxProcesses returns the processes that belong to sandboxes on dir.
func sandboxProcesses(t *testing.T, dir string) []int {
	t.Helper()
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, p := range procs {
		cmdline, _ := os.ReadFile(filepath.Join(p, "cmdline"))
		if strings.Contains(string(cmdline), "--root="+dir+"\x00") {
			pid, _ := strconv.Atoi(filepath.Base(p))
			pids = append(pids, pid)
			pids = append(pids, children(pid)...)
		}
	}
	return pids
}

func alive(pid int) bool {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	// "X" is shown for a moment while a process is reaped.
	return err == nil && !strings.Contains(string(status), "State:\tZ") && !strings.Contains(string(status), "State:\tX")
}

// A node that is killed takes its sandboxes with it, and the next one on the
// same directory removes what is left.
func TestKilledNodeLeavesNothing(t *testing.T) {
	dir := os.Getenv(rootlessEnv)
	if dir == "" {
		dir = t.TempDir()
		sandboxtest.ImagesIn(t, dir)
	}
	node := exec.Command("/proc/self/exe")
	node.Env = append(os.Environ(), nodeEnv+"="+dir)
	node.Stderr = os.Stderr
	out, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	defer node.Wait()
	defer node.Process.Kill()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("node says %q, %v", line, err)
	}
	run := filepath.Join(dir, "run")
	pids := sandboxProcesses(t, run)
	if len(pids) < 4 { // a Sentry and a stub each
		t.Fatalf("found only processes %v", pids)
	}

	if err := node.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	node.Wait()
	deadline := time.Now().Add(10 * time.Second)
	for _, pid := range pids {
		for alive(pid) {
			if time.Now().After(deadline) {
				t.Fatalf("process %d outlives its node", pid)
			}
			runtime.Gosched()
		}
	}

	d, err := New(Config{Dir: run, Log: slog.Default()})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(run)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != "node.erofs" {
		t.Errorf("Sweep left %v", entries)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(cgroupRoot + "/*/" + cgroupName(run)); len(left) > 0 {
		t.Errorf("control groups are left: %v", left)
	}
}

// Sweep ends Sentries of the same directory that are somehow still there, and
// touches neither its own sandboxes nor another directory's.
func TestSweepKnowsItsOwn(t *testing.T) {
	images := sandboxtest.Images(t)
	d := newDriver(t).(*Driver)
	own := sandboxtest.Start(t, d, images.Spec())
	other := sandboxtest.Start(t, newDriver(t), images.Spec())

	// A Sentry's command line on this directory, in a process of another parent.
	stale := exec.Command("bash", "-c", `exec -a runsc-sandbox bash -c 'read <> <(:)' x --root="$0" & echo $!; wait`, d.cfg.Dir)
	out, err := stale.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := stale.Start(); err != nil {
		t.Fatal(err)
	}
	defer stale.Wait()
	defer stale.Process.Signal(syscall.SIGKILL)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	for !d.stale(pid) && alive(pid) { // until it has its new name
		runtime.Gosched()
	}

	if err := d.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if alive(pid) {
		t.Error("the stale process lives")
	}
	own.Must("echo", nil)
	other.Must("echo", nil)
}

// rootlessEnv hands a test binary that was started as a normal user the
// directory that it may write to.
const rootlessEnv = "MAYFLY_TEST_ROOTLESS"

// As a normal user the driver isolates as well as for root, and limits what
// needs no control groups.
func TestRootless(t *testing.T) {
	dir := os.Getenv(rootlessEnv)
	if os.Geteuid() == 0 {
		dir, err := os.MkdirTemp("", "mayfly-rootless-") // t.TempDir is below a directory of root's
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		sandboxtest.ImagesIn(t, dir)
		binary := filepath.Join(dir, "test")
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		if err := exec.Command("cp", self, binary).Run(); err != nil {
			t.Fatal(err)
		}
		if err := exec.Command("chown", "-R", "nobody", dir).Run(); err != nil {
			t.Fatal(err)
		}
		const nobody = 65534
		again := exec.Command(binary, "-test.run=^(TestRootless|TestKilledNodeLeavesNothing)$", "-test.v")
		again.Dir = dir
		again.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir, rootlessEnv + "=" + dir}
		again.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		out, err := again.CombinedOutput()
		if err != nil || strings.Count(string(out), "\n--- PASS: ") != 2 {
			t.Fatalf("as nobody: %v\n%s", err, out)
		}
		return
	}
	images := sandboxtest.At(dir)
	if dir == "" {
		images = sandboxtest.Images(t)
	}
	sandboxtest.RunOn(t, images, newDriver, sandboxtest.Options{Isolated: true, Limits: true})
	if d := newDriver(t).(*Driver); len(d.Limits()) == 0 {
		t.Error("the driver does not say that anything is missing")
	}
}

// A thousand sandboxes must cost the node no more than one.
func TestSandboxesLeakNothing(t *testing.T) {
	images := sandboxtest.Images(t)
	d := newDriver(t)
	life := func() {
		p := sandboxtest.Start(t, d, images.Spec())
		p.Must("echo", nil)
		if err := p.Pause(t.Context()); err != nil {
			t.Error(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	life() // what is made once
	files, routines := openFiles(t), runtime.NumGoroutine()
	for range 5 {
		life()
	}
	if now := openFiles(t); now != files {
		t.Errorf("%d open files, %d before", now, files)
	}
	// The last goroutine may be on its way out.
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > routines; runtime.Gosched() {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), routines, buf[:runtime.Stack(buf, true)])
		}
	}
	left, err := os.ReadDir(d.(*Driver).cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 1 {
		t.Errorf("files are left: %v", left)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

// An id that is in use is refused, and its sandbox is left alone.
func TestIDsAreUnique(t *testing.T) {
	d, images := newDriver(t), sandboxtest.Images(t)
	spec := images.Spec()
	p := sandboxtest.Start(t, d, spec)
	if _, err := d.Create(t.Context(), spec); !errs.Is(err, errs.Conflict) {
		t.Errorf("a second sandbox of one id gives %v", err)
	}
	if err := p.Pause(t.Context()); err != nil {
		t.Error(err)
	}
}

// A sandbox's end is an error in the node's log when its kernel crashed, and
// only then.
func TestOnlyCrashesAreLogged(t *testing.T) {
	images := sandboxtest.Images(t)
	var log strings.Builder
	d, err := New(Config{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, c := range []struct {
		name  string
		end   func(*sandboxtest.Probe)
		crash bool
	}{
		{"closed", func(p *sandboxtest.Probe) {}, false},
		{"closed at work", func(p *sandboxtest.Probe) { p.Must("spin", nil) }, false},
		{"paused and closed", func(p *sandboxtest.Probe) { p.Pause(t.Context()) }, false},
		{"exited", func(p *sandboxtest.Probe) { p.Send("exit 3", nil); <-p.Done() }, false},
		{"killed", func(p *sandboxtest.Probe) {
			syscall.Kill(p.Sandbox.(*Sandbox).pid, syscall.SIGKILL)
			<-p.Done()
		}, false},
		{"out of memory", func(p *sandboxtest.Probe) {
			if s := p.Sandbox.(*Sandbox); s.cgroup != nil {
				p.Send("alloc 2000", nil)
				<-p.Done()
			}
		}, false},
		{"crashed", func(p *sandboxtest.Probe) { crash(t, p.Sandbox.(*Sandbox).pid); p.Send("echo", nil); <-p.Done() }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			log.Reset()
			p := sandboxtest.Start(t, d, images.Spec())
			c.end(p)
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			if got := strings.Contains(log.String(), "kernel crashed"); got != c.crash {
				t.Errorf("logged as a crash: %v, want %v: %s", got, c.crash, log.String())
			}
		})
	}
}

// crash overwrites a process's code.
func crash(t *testing.T, pid int) {
	t.Helper()
	dir := "/proc/" + strconv.Itoa(pid)
	maps, err := os.ReadFile(dir + "/maps")
	if err != nil {
		t.Fatal(err)
	}
	mem, err := os.OpenFile(dir+"/mem", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("can't write to the sandbox's process: %v", err)
	}
	defer mem.Close()
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		if n, _ := fmt.Sscanf(line, "%x-%x r-xp", &from, &to); n == 2 && strings.Contains(line, ".test") {
			if _, err := mem.WriteAt(make([]byte, to-from), from); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no code found in\n%s", maps)
}

// Code that ends in another network namespace must not take the node's thread
// with it.
func TestThreadsStayInTheirNetwork(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	network := func() string {
		name, err := os.Readlink("/proc/thread-self/ns/net")
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	before := network()
	err := keepNetns(func() error {
		err := syscall.Unshare(syscall.CLONE_NEWNET)
		if err == nil && network() == before {
			t.Error("the thread has not moved")
		}
		return err
	})
	if errors.Is(err, syscall.EPERM) {
		t.Skip("only root can change networks")
	}
	if err != nil {
		t.Error(err)
	}
	if after := network(); after != before {
		t.Errorf("the thread is in %s, was in %s", after, before)
	}
}

// What the node has open without close-on-exec must not get into a sandbox's
// process: gVisor's code in the node does that now and then.
func TestSandboxInheritsNothing(t *testing.T) {
	d, images := newDriver(t), sandboxtest.Images(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 100 { // so that one has a number that the Sentry does not use
		fd, err := syscall.Open(secret, syscall.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(fd)
	}
	p := sandboxtest.Start(t, d, images.Spec())
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.Sandbox.(*Sandbox).pid))
	if err != nil || len(links) == 0 {
		t.Fatalf("no descriptors found: %v", err)
	}
	for _, link := range links {
		if target, _ := os.Readlink(link); target == secret {
			t.Errorf("%s is the node's %s", link, target)
		}
	}
}
