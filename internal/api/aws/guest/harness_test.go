package guest

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/runtimes"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

// instance is a function's first process, run as a plain process of this
// machine, with the test at the host's end of its link.
type instance struct {
	t    *testing.T
	g    *Guest
	v    *function.Version
	cmd  *exec.Cmd
	in   *os.File
	out  *os.File
	log  *logBuffer
	gone chan struct{} // closed when the process has ended
}

// logBuffer collects what a process writes to its standard error.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// hang bounds what a broken bootstrap can cost a test run.
const hang = 30 * time.Second

const testLimit = 1 << 20

// interpreter is a language runtime of this machine.
type interpreter struct {
	runtime runtimes.Runtime
	path    string
}

// testGuest returns a Guest that resolves every name to r.
func testGuest(t *testing.T, r runtimes.Runtime) *Guest {
	t.Helper()
	g, err := New(Config{
		Account: "000000000000", Region: "us-east-1", MaxResponse: testLimit,
		Resolve: func(string) (runtimes.Runtime, error) { return r, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// paths lays out what a process driver would: the files of the runtime's family
// and its interpreter, and the code.
func paths(t *testing.T, in interpreter, code map[string]string) sandbox.Paths {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p := sandbox.Paths{
		Root: root, Task: root + "/task", Runtime: root + "/runtime", Lang: root + "/lang", Tmp: root + "/tmp",
	}
	for _, dir := range []string{p.Task, p.Runtime, p.Lang + "/bin", p.Tmp} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, data := range Files(in.runtime.Family) {
		if err := os.WriteFile(filepath.Join(p.Runtime, name), data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if in.path != "" {
		if err := os.Symlink(in.path, filepath.Join(p.Lang, "bin", in.runtime.Command)); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range code {
		file := filepath.Join(p.Task, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// launch starts an instance of v with the code.
func launch(t *testing.T, in interpreter, v function.Version, code map[string]string) *instance {
	t.Helper()
	return launchAt(t, in, v, paths(t, in, code))
}

func launchAt(t *testing.T, in interpreter, v function.Version, p sandbox.Paths) *instance {
	t.Helper()
	if v.Function == "" {
		v.Function = "hello"
	}
	if v.Runtime == "" {
		v.Runtime = in.runtime.Name
	}
	v.Version, v.MemoryMB = function.Latest, 128
	g := testGuest(t, in.runtime)
	proc, err := g.Process(&v, sandbox.Birth{ID: "0123456789abcdef0123456789abcdef"}, p)
	if err != nil {
		t.Fatal(err)
	}
	inR, inW := pipe(t)
	outR, outW := pipe(t)
	i := &instance{t: t, g: g, v: &v, in: inW, out: outR, log: &logBuffer{}, gone: make(chan struct{})}
	i.cmd = &exec.Cmd{
		Path: proc.Args[0], Args: proc.Args, Env: proc.Env, Dir: proc.Dir,
		Stdin: inR, Stdout: outW, Stderr: i.log, WaitDelay: 5 * time.Second,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}
	if err := i.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	inR.Close()
	outW.Close()
	go func() {
		_ = i.cmd.Wait() // how it ended is asked of ProcessState
		close(i.gone)
	}()
	t.Cleanup(func() {
		inW.Close()
		_ = syscall.Kill(-i.cmd.Process.Pid, syscall.SIGKILL) // may have ended by itself
		<-i.gone
		outR.Close()
		if t.Failed() {
			t.Logf("log of the instance:\n%s", i.log)
		}
	})
	outR.SetReadDeadline(time.Now().Add(hang))
	return i
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return r, w
}

// frame reads the next frame.
func (i *instance) frame() sandbox.Frame {
	i.t.Helper()
	f, err := sandbox.ReadFrame(i.out, 64<<20)
	if err != nil {
		i.t.Fatalf("read a frame: %v\nlog:\n%s", err, i.log)
	}
	return f
}

// ready waits for the end of init.
func (i *instance) ready() *instance {
	i.t.Helper()
	if f := i.frame(); f.Kind != sandbox.FrameReady {
		i.t.Fatalf("frame of kind %d instead of Ready: %s", f.Kind, f.Body)
	}
	return i
}

// send starts a call with the payload.
func (i *instance) send(c sandbox.Call) {
	i.t.Helper()
	if c.RequestID == "" {
		c.RequestID = "11111111-2222-3333-4444-555555555555"
	}
	if c.Deadline.IsZero() {
		c.Deadline = time.Now().Add(3 * time.Second)
	}
	i.write(sandbox.Frame{Kind: sandbox.FrameInvoke, Header: i.g.Header(nil, i.v, &c), Body: c.Payload})
}

func (i *instance) write(f sandbox.Frame) {
	i.t.Helper()
	if _, err := i.in.Write(sandbox.AppendFrame(nil, f)); err != nil {
		i.t.Fatalf("write a frame: %v\nlog:\n%s", err, i.log)
	}
}

// call sends payload and returns the answering frame.
func (i *instance) call(payload string) sandbox.Frame {
	i.t.Helper()
	i.send(sandbox.Call{Payload: []byte(payload)})
	return i.frame()
}

// want fails the test unless f is a response with the body.
func (i *instance) want(f sandbox.Frame, body string) {
	i.t.Helper()
	if f.Kind != sandbox.FrameResponse || string(f.Body) != body {
		i.t.Errorf("answer %d %q, want a response %q", f.Kind, f.Body, body)
	}
}

// wantError fails the test unless f is an error of the kind with the document.
func (i *instance) wantError(f sandbox.Frame, kind sandbox.FrameKind, errorType string, doc map[string]any) {
	i.t.Helper()
	var got map[string]any
	if err := json.Unmarshal(f.Body, &got); err != nil {
		i.t.Fatalf("error document %q: %v", f.Body, err)
	}
	if header := "Error-Type: " + errorType + "\r\n"; f.Kind != kind || string(f.Header) != header {
		i.t.Errorf("frame of kind %d with header %q, want %d %q; body %s", f.Kind, f.Header, kind, header, f.Body)
	}
	for k, v := range doc {
		if !equalJSON(got[k], v) {
			i.t.Errorf("%s is %#v, want %#v", k, got[k], v)
		}
	}
}

func equalJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// exit waits for the process's end and says how it was, in Fault's terms.
func (i *instance) exit() sandbox.Exit {
	i.t.Helper()
	select {
	case <-i.gone:
	case <-time.After(hang):
		i.t.Fatal("the process did not end")
	}
	ws := i.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		return sandbox.Exit{Signal: int(ws.Signal())}
	}
	return sandbox.Exit{Code: ws.ExitStatus()}
}

// fullLog ends the process in an orderly way and returns all that it logged.
func (i *instance) fullLog() string {
	i.t.Helper()
	i.in.Close()
	i.exit()
	return i.log.String()
}

// ended waits for the link's end: nothing more was said on it.
func (i *instance) ended() {
	i.t.Helper()
	if f, err := sandbox.ReadFrame(i.out, 64<<20); err != io.EOF {
		i.t.Errorf("read %v %q, %v, want the link's end", f.Kind, f.Body, err)
	}
}

func document(t *testing.T, body []byte) map[string]any {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	return doc
}

// writeFile makes a file that code waits for.
func writeFile(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}
