package gvisor

import (
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/guest"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/runtimes"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
	"github.com/mayfly-dev/mayfly/internal/sandbox/sandboxtest"
)

const guestPackage = "github.com/mayfly-dev/mayfly/internal/api/aws/guest"

// served is a sandbox whose code asks the kernel's own server for work.
type served struct {
	t *testing.T
	sandbox.Sandbox
}

// serving is a driver with the images of a function for a custom runtime.
type serving struct {
	t      *testing.T
	d      sandbox.Driver
	g      *guest.Guest
	v      *function.Version
	images sandboxtest.Set
}

// newServing builds the program of a package as a function's bootstrap.
func newServing(t *testing.T, program string) *serving {
	t.Helper()
	d, err := New(Config{Dir: filepath.Join(t.TempDir(), "run"), Serves: true, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	g, err := guest.New(guest.Config{
		Account: "000000000000", Region: "us-east-1",
		Resolve: func(string) (runtimes.Runtime, error) { return runtimes.Runtime{Family: runtimes.Provided}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	images := sandboxtest.ImagesIn(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "root", runtimeDir, "agent"), guest.Agent(), 0o755); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "code", "bootstrap"), program)
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", program, err, out)
	}
	v := &function.Version{Function: "f", Version: function.Latest}
	v.Runtime, v.MemoryMB = "provided.al2023", 128
	return &serving{t: t, d: d, g: g, v: v, images: images}
}

func (s *serving) spec() sandbox.Spec {
	spec := s.images.Spec()
	spec.Process = func(p sandbox.Paths) sandbox.Process {
		proc, err := s.g.Process(s.v, sandbox.Birth{ID: "0123456789abcdef0123456789abcdef"}, p)
		if err != nil {
			s.t.Fatal(err)
		}
		if proc.Serve == 0 {
			s.t.Fatal("the guest wants no service")
		}
		return proc
	}
	return spec
}

// start returns a sandbox that is ready for calls.
func (s *serving) start() *served {
	s.t.Helper()
	sb, err := s.d.Create(s.t.Context(), s.spec())
	if err != nil {
		s.t.Fatal(err)
	}
	p := s.took(sb)
	if err := sb.Start(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	if f := p.read(); f.Kind != sandbox.FrameReady {
		s.t.Fatalf("the first frame is of kind %d: %s", f.Kind, f.Body)
	}
	return p
}

func (s *serving) took(sb sandbox.Sandbox) *served {
	s.t.Cleanup(func() {
		if err := sb.Close(); err != nil {
			s.t.Error(err)
		}
	})
	stdin, stdout, stderr := sb.Link()
	for _, f := range []*os.File{stdin, stdout, stderr} {
		if err := f.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			s.t.Fatal(err)
		}
	}
	return &served{s.t, sb}
}

// restore returns a copy.
func (s *serving) restore(path string) *served {
	s.t.Helper()
	spec := s.spec()
	b, err := s.d.(sandbox.Snapshotter).Blank(s.t.Context(), spec.ID, spec)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { b.Close() })
	f, err := os.Open(path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	sb, err := b.Restore(s.t.Context(), spec, f)
	if err != nil {
		s.t.Fatal(err)
	}
	p := s.took(sb)
	p.send(sandbox.Frame{Kind: sandbox.FrameRestore})
	if f := p.read(); f.Kind != sandbox.FrameReady {
		s.t.Fatalf("the copy's first frame is of kind %d: %s", f.Kind, f.Body)
	}
	return p
}

// save makes a snapshot of p, which ends, and returns its path.
func (p *served) save() string {
	p.t.Helper()
	p.send(sandbox.Frame{Kind: sandbox.FrameSnapshot})
	if f := p.read(); f.Kind != sandbox.FrameReady {
		p.t.Fatalf("a frame of kind %d: %s", f.Kind, f.Body)
	}
	f, err := os.Create(filepath.Join(p.t.TempDir(), "state"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	if err := p.Sandbox.(sandbox.Saver).Save(p.t.Context(), f); err != nil {
		p.t.Fatal(err)
	}
	return f.Name()
}

func (p *served) send(f sandbox.Frame) {
	p.t.Helper()
	stdin, _, _ := p.Link()
	if _, err := stdin.Write(sandbox.AppendFrame(nil, f)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *served) read() sandbox.Frame {
	p.t.Helper()
	_, stdout, stderr := p.Link()
	f, err := sandbox.ReadFrame(stdout, 64<<20)
	if err != nil {
		stderr.SetReadDeadline(time.Now().Add(time.Second))
		b := make([]byte, 8192)
		n, _ := stderr.Read(b)
		p.t.Fatalf("read frame: %v\nstandard error: %s\nkernel: %s", err, b[:n], p.Sandbox.(*Sandbox).lastWords())
	}
	return f
}

func (s *serving) invoke(payload string) sandbox.Frame {
	c := sandbox.Call{RequestID: "11111111-2222-3333-4444-555555555555", Deadline: time.Now().Add(time.Minute)}
	return sandbox.Frame{Kind: sandbox.FrameInvoke, Header: s.g.Header(nil, s.v, &c), Body: []byte(payload)}
}

// call calls the code with a payload.
func (s *serving) call(p *served, payload string) sandbox.Frame {
	p.t.Helper()
	sent := make(chan error, 1)
	stdin, _, _ := p.Link()
	go func() { // a large payload has to be read while it is sent
		_, err := stdin.Write(sandbox.AppendFrame(nil, s.invoke(payload)))
		sent <- err
	}()
	f := p.read()
	if err := <-sent; err != nil {
		p.t.Fatal(err)
	}
	return f
}

func (s *serving) want(p *served, payload, answer string) {
	p.t.Helper()
	if f := s.call(p, payload); f.Kind != sandbox.FrameResponse || string(f.Body) != answer {
		p.t.Fatalf("the answer to %.100s is of kind %d: %.200s", payload, f.Kind, f.Body)
	}
}

// A function that is written with the cloud's own library, unmodified, asks the
// sandbox's kernel for work, and does in each copy of its snapshot.
func TestKernelServesTheCodeInside(t *testing.T) {
	s := newServing(t, guestPackage+"/testdata/bootstrap")
	p := s.start()
	for range 3 {
		s.want(p, `{"do": "this"}`, `"did this"`)
	}
	if f := s.call(p, `{"do": "fail"}`); f.Kind != sandbox.FrameFailure || !strings.Contains(string(f.Body), "told to") {
		t.Errorf("a failure is of kind %d: %s", f.Kind, f.Body)
	}
	long := strings.Repeat("x", 5<<20)
	s.want(p, `{"do": "`+long+`"}`, `"did `+long+`"`)
	if err := p.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.want(p, `{"do": "that"}`, `"did that"`)

	state := s.start().save()
	for range 3 {
		c := s.restore(state)
		s.want(c, `{"do": "this"}`, `"did this"`)
		s.want(c, `{"do": "that"}`, `"did that"`)
	}

	var doc map[string]any
	if err := json.Unmarshal(s.call(p, `{"do": "context"}`).Body, &doc); err != nil || doc["left"] != true {
		t.Errorf("the call's context is %v, %v", doc, err)
	}
}

// What hostile code does to the service concerns its own requests, and the next
// call is served.
func TestServiceWithstandsTheCodeInside(t *testing.T) {
	s := newServing(t, "./testdata/hostile")
	p := s.start()
	for _, c := range []struct{ act, outcome string }{
		{"slow", "404"}, {"garbage", "400"}, {"smuggle", "400"}, {"long head", "431"}, {"long path", "431"}, {"pipelined", "200"},
		{"half", "EOF"}, {"many", "true true"}, {"hold", "true"}, {"unread", "bounded"}, {"finish", "404"},
		{"socket", "transport endpoint is already connected; 0 <nil>; transport endpoint is already connected; 0 <nil>"},
		{"flood", "over"}, {"many", "true true"},
	} {
		t.Run(c.act, func(t *testing.T) {
			s.want(p, c.act, c.outcome)
			s.want(p, "echo", "echo")
		})
	}
	if _, peak, err := p.Memory(); err != nil || peak > 120<<20 {
		t.Errorf("the code had %d bytes, %v", peak, err)
	}
}

// A request that is not complete, and its connection, are part of a snapshot.
func TestCopiesGoOnWithinARequest(t *testing.T) {
	s := newServing(t, "./testdata/hostile")
	state := s.start().save()
	for range 3 {
		c := s.restore(state)
		s.want(c, "finish", "404")
		s.want(c, "many", "true true")
	}
}

// An answer that the host takes its time to read holds up the code, not the kernel.
func TestServiceStreamsAtTheHostsPace(t *testing.T) {
	s := newServing(t, "./testdata/hostile")
	p := s.start()
	if f := s.call(p, "stream"); f.Kind != sandbox.FrameHead {
		t.Fatalf("a frame of kind %d: %.100s", f.Kind, f.Body)
	}
	if err := p.Pause(t.Context()); err != nil { // with the link full
		t.Fatal(err)
	}
	if err := p.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	total := 0
	for {
		f := p.read()
		if f.Kind == sandbox.FrameEnd {
			break
		}
		total += len(f.Body)
	}
	if total != 20<<20 {
		t.Errorf("the answer has %d bytes", total)
	}
	s.want(p, "echo", "echo")
}

func TestServedSandboxEndsAsItsCodeDoes(t *testing.T) {
	s := newServing(t, "./testdata/hostile")
	for name, c := range map[string]struct {
		end  func(p *served)
		want sandbox.Exit
	}{
		"exit":     {func(p *served) { p.send(s.invoke("exit")) }, sandbox.Exit{Code: 7}},
		"shutdown": {func(p *served) { p.send(sandbox.Frame{Kind: sandbox.FrameShutdown}) }, sandbox.Exit{Signal: 15}},
		"unknown":  {func(p *served) { p.send(sandbox.Frame{Kind: 99}) }, sandbox.Exit{Code: 2}},
		"host gone": {func(p *served) {
			stdin, _, _ := p.Link()
			stdin.Close()
		}, sandbox.Exit{}},
	} {
		t.Run(name, func(t *testing.T) {
			p := s.start()
			c.end(p)
			select {
			case <-p.Done():
			case <-time.After(time.Minute):
				t.Fatal("it lives")
			}
			if got := p.Exit(); got != c.want {
				t.Errorf("it ended with %+v, want %+v", got, c.want)
			}
		})
	}
}

// A sandbox whose program is missing says so over the link.
func TestServedSandboxWithoutProgramFails(t *testing.T) {
	s := newServing(t, "./testdata/hostile")
	s.images.Code = sandboxtest.Images(t).Code
	sb, err := s.d.Create(t.Context(), s.spec())
	if err != nil {
		t.Fatal(err)
	}
	p := s.took(sb)
	if err := sb.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f := p.read(); f.Kind != sandbox.FrameInitError || !strings.Contains(string(f.Body), "Couldn't find valid bootstrap(s)") {
		t.Errorf("the first frame is of kind %d: %s", f.Kind, f.Body)
	}
}

// Large payloads and answers pass through the kernel, which must stay within what
// it may have beside the code's memory.
func TestServiceKeepsNoLargeAnswers(t *testing.T) {
	s := newServing(t, guestPackage+"/testdata/bootstrap")
	p := s.start()
	long := strings.Repeat("x", 5900<<10)
	for range 12 {
		s.want(p, `{"do": "`+long+`"}`, `"did `+long+`"`)
	}
	status, err := os.ReadFile("/proc/" + strconv.Itoa(p.Sandbox.(*Sandbox).pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "\nRssAnon:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil || kb<<10 > sentryMemory*3/4 {
		t.Errorf("the kernel has %d KiB of its own, %v", kb, err)
	}
}
