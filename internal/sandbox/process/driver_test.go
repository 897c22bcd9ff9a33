package process

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
	"github.com/mayfly-dev/mayfly/internal/sandbox/sandboxtest"
)

func open(t *testing.T, dir string) *Driver {
	t.Helper()
	d, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestDriver(t *testing.T) {
	sandboxtest.Run(t, func(t *testing.T) sandbox.Driver { return open(t, t.TempDir()) }, sandboxtest.Options{Memory: true})
}

// shell is a Spec that runs a shell script, with the probe's images.
func shell(images sandboxtest.Set, script string) sandbox.Spec {
	spec := images.Spec()
	spec.Process = func(p sandbox.Paths) sandbox.Process {
		return sandbox.Process{Args: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin", "TASK=" + p.Task}, Dir: p.Task}
	}
	return spec
}

// start runs a script that prints the numbers of its processes in a line.
func start(t *testing.T, d *Driver, spec sandbox.Spec) (sandbox.Sandbox, []int) {
	t.Helper()
	sb, err := d.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sb.Close() })
	if err := sb.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, stdout, _ := sb.Link()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, f := range strings.Fields(line) {
		pid, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return sb, pids
}

func alive(pid int) bool {
	p, err := readProc(pid)
	return err == nil && p.alive()
}

func TestCloseEndsWhatTheProcessStarted(t *testing.T) {
	d, images := open(t, t.TempDir()), sandboxtest.Images(t)
	// One child in a process group of its own, which kill of the first group misses.
	sb, pids := start(t, d, shell(images, "sleep 1000 & a=$!; set -m; sleep 1000 & echo $$ $a $!; wait"))
	if err := sb.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := sb.Close(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d of %v lives", pid, pids)
		}
	}
	if left, err := os.ReadDir(d.dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestEndOfTheFirstProcessEndsTheOthers(t *testing.T) {
	d, images := open(t, t.TempDir()), sandboxtest.Images(t)
	sb, pids := start(t, d, shell(images, "sleep 1000 & echo $!; exit 7"))
	<-sb.Done()
	if got := sb.Exit(); got != (sandbox.Exit{Code: 7}) {
		t.Errorf("exit is %+v", got)
	}
	if alive(pids[0]) {
		t.Error("its child lives")
	}
	for name, do := range map[string]func() error{"Pause": func() error { return sb.Pause(t.Context()) }, "Start": func() error { return sb.Start(t.Context()) }} {
		if err := do(); !errs.Is(err, errs.Conflict) {
			t.Errorf("%s after the end: %v", name, err)
		}
	}
}

func TestOneIDIsOneSandbox(t *testing.T) {
	d, images := open(t, t.TempDir()), sandboxtest.Images(t)
	spec := images.Spec()
	sb, err := d.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Create(t.Context(), spec); !errs.Is(err, errs.Conflict) {
		t.Errorf("second Create: %v", err)
	}
	if err := sb.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSweepSparesLiveSandboxes(t *testing.T) {
	d, images := open(t, t.TempDir()), sandboxtest.Images(t)
	p := sandboxtest.Start(t, d, images.Spec())
	if err := d.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Must("echo", []byte("lives"))
}

// leave writes what a dead node leaves of a sandbox.
func leave(t *testing.T, dir, id string, r record) {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, id, tmpDir), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, id, recordFile), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// orphan starts a process in a session of its own. ended is closed when it ends.
func orphan(t *testing.T, script, dir string) (p proc, ended chan struct{}) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Dir = dir
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended = make(chan struct{})
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if p, err = readProc(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() { cmd.Process.Kill(); <-ended })
	return p, ended
}

func TestSweepEndsOnlyWhatADeadNodeLeft(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	ours, oursEnded := orphan(t, "echo; sleep 1000", "/")
	stranger, strangerEnded := orphan(t, "echo; sleep 1000", "/")
	leave(t, dir, "ours", record{Boot: d.boot, PID: ours.pid, Start: ours.start, Task: "/task"})
	leave(t, dir, "number-reused", record{Boot: d.boot, PID: stranger.pid, Start: stranger.start - 1, Task: "/"})
	leave(t, dir, "earlier-boot", record{Boot: "another", PID: stranger.pid, Start: stranger.start, Task: "/"})
	leave(t, dir, "nobody", record{Boot: d.boot, PID: 0})
	if err := os.WriteFile(filepath.Join(dir, "nobody", recordFile), []byte("{torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "not-started", tmpDir), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := d.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-oursEnded
	select {
	case <-strangerEnded:
		t.Error("a stranger was killed")
	default:
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestSweepEndsChildrenOfAFirstProcessThatIsGone(t *testing.T) {
	for _, tt := range []struct {
		name string
		task func(dir string) string
		want bool // that they end
	}{
		{"they work in the task's directory", func(dir string) string { return dir }, true},
		{"they are strangers", func(string) string { return "/another" }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, task := t.TempDir(), t.TempDir()
			d := open(t, dir)
			// The first process leaves a child behind that holds standard error.
			cmd := exec.Command("/bin/sh", "-c", "sleep 1000 & echo $!")
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			cmd.Dir = task
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			child, err := strconv.Atoi(strings.TrimSpace(line))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { syscall.Kill(child, syscall.SIGKILL) })
			p, err := readProc(child)
			if err != nil {
				t.Fatal(err)
			}
			var exit *exec.ExitError
			if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			leave(t, dir, "gone", record{Boot: d.boot, PID: cmd.Process.Pid, Start: p.start - 1, Task: tt.task(task)})
			if err := d.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			if alive(child) == tt.want {
				t.Errorf("the child lives: %v", alive(child))
			}
		})
	}
}

func TestClosedDriverStartsNothing(t *testing.T) {
	d, images := open(t, t.TempDir()), sandboxtest.Images(t)
	sb, err := d.Create(t.Context(), images.Spec())
	if err != nil {
		t.Fatal(err)
	}
	defer sb.Close()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := sb.Start(t.Context()); !errs.Is(err, errs.Unavailable) {
		t.Errorf("Start: %v", err)
	}
}

func TestFilesThatTheNodeInheritedAreNotPassedOn(t *testing.T) {
	const fd = 200
	if err := unix.Dup3(int(os.Stderr.Fd()), fd, 0); err != nil { // without close-on-exec
		t.Fatal(err)
	}
	defer unix.Close(fd)
	d, images := open(t, t.TempDir()), sandboxtest.Images(t)
	_, got := start(t, d, shell(images, "test -e /proc/self/fd/200; echo $?; read wait"))
	if got[0] == 0 {
		t.Error("the process has the node's file")
	}
}
