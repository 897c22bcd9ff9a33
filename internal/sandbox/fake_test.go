package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mayfly-dev/mayfly/internal/function"
)

// fakeDriver runs guests as goroutines over real pipes, so that tests decide
// when an instance is ready, how it answers, and when it dies.
type fakeDriver struct {
	answer func(sb *fakeSandbox, call Frame) (Frame, bool) // false: no answer, the guest ends
	around func(sb *fakeSandbox, f Frame) (Frame, bool)    // the same for Snapshot and Restore; nil is Ready

	mu      sync.Mutex
	boots   chan struct{} // when set, each Start waits for a value
	initErr string
	live    map[*fakeSandbox]bool
	created int
}

type fakeSandbox struct {
	d                     *fakeDriver
	in, out, logW         *os.File // guest's ends
	stdin, stdout, stderr *os.File // host's ends
	done                  chan struct{}
	once                  sync.Once
	exit                  Exit

	mu      sync.Mutex
	paused  bool
	pauses  int
	trims   int
	settled int
}

func (d *fakeDriver) Name() string                        { return "fake" }
func (d *fakeDriver) Prepare(context.Context, Spec) error { return nil }
func (d *fakeDriver) Sweep(context.Context) error         { return nil }
func (d *fakeDriver) Close() error                        { return nil }

func pipe() (r, w *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "r"), os.NewFile(uintptr(fds[1]), "w"), nil
}

func (d *fakeDriver) Create(_ context.Context, spec Spec) (Sandbox, error) {
	sb := &fakeSandbox{d: d, done: make(chan struct{})}
	for _, p := range []struct{ r, w **os.File }{{&sb.in, &sb.stdin}, {&sb.stdout, &sb.out}, {&sb.stderr, &sb.logW}} {
		var err error
		if *p.r, *p.w, err = pipe(); err != nil {
			return nil, err
		}
	}
	spec.Process(Paths{})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.created++
	if d.live == nil {
		d.live = map[*fakeSandbox]bool{}
	}
	d.live[sb] = true
	return sb, nil
}

func (sb *fakeSandbox) Start(context.Context) error {
	go sb.run(true)
	return nil
}

// run is the guest, from its init on, or as a copy of a snapshot.
func (sb *fakeSandbox) run(init bool) {
	defer sb.end(Exit{})
	if init {
		if sb.d.boots != nil {
			<-sb.d.boots
		}
		if e := sb.d.initErr; e != "" {
			sb.log("importing\n")
			sb.send(Frame{Kind: FrameInitError, Header: []byte("Error-Type: Bad.Init\r\n"), Body: []byte(e)})
			return
		}
		sb.send(Frame{Kind: FrameReady, Header: []byte("Port: 1\r\n")})
	}
	for {
		f, err := ReadFrame(sb.in, 1<<30)
		if err != nil || f.Kind == FrameShutdown {
			return
		}
		a, ok := Frame{Kind: FrameReady}, true
		switch {
		case f.Kind == FrameInvoke:
			a, ok = sb.d.answer(sb, f)
		case sb.d.around != nil:
			a, ok = sb.d.around(sb, f)
		}
		if !ok {
			return
		}
		sb.send(a)
	}
}

func (sb *fakeSandbox) send(f Frame)             { sb.out.Write(AppendFrame(nil, f)) }
func (sb *fakeSandbox) log(s string)             { io.WriteString(sb.logW, s) }
func (sb *fakeSandbox) Link() (a, b, c *os.File) { return sb.stdin, sb.stdout, sb.stderr }

// Dial implements Dialer; nothing is there.
func (sb *fakeSandbox) Dial(context.Context, int) (net.Conn, error) {
	return nil, errors.New("nobody listens")
}

func (sb *fakeSandbox) Settle() error {
	sb.mu.Lock()
	defer sb.mu.Unlock()
	sb.settled++
	return nil
}

func (sb *fakeSandbox) Pause(context.Context) error {
	sb.mu.Lock()
	defer sb.mu.Unlock()
	if sb.paused {
		return fmt.Errorf("paused twice")
	}
	sb.paused = true
	sb.pauses++
	return nil
}

func (sb *fakeSandbox) Resume(context.Context) error {
	sb.mu.Lock()
	defer sb.mu.Unlock()
	if !sb.paused {
		return fmt.Errorf("not paused")
	}
	sb.paused = false
	return nil
}

func (sb *fakeSandbox) Trim() error {
	sb.mu.Lock()
	defer sb.mu.Unlock()
	sb.trims++
	return nil
}

func (sb *fakeSandbox) trimmed() int {
	sb.mu.Lock()
	defer sb.mu.Unlock()
	return sb.trims
}

func (sb *fakeSandbox) Memory() (int64, int64, error) { return 1 << 20, 2 << 20, nil }
func (sb *fakeSandbox) Done() <-chan struct{}         { return sb.done }
func (sb *fakeSandbox) Exit() Exit                    { return sb.exit }

func (sb *fakeSandbox) end(e Exit) {
	sb.once.Do(func() {
		sb.exit = e
		close(sb.done)
		sb.in.Close()
		sb.out.Close()
		sb.logW.Close()
	})
}

func (sb *fakeSandbox) Close() error {
	sb.end(Exit{Signal: 9})
	sb.stdin.Close()
	sb.stdout.Close()
	sb.stderr.Close()
	sb.d.mu.Lock()
	defer sb.d.mu.Unlock()
	delete(sb.d.live, sb)
	return nil
}

// fakeGuest words faults so that tests can tell them.
type fakeGuest struct{}

func (fakeGuest) Process(*function.Version, Birth, Paths) (Process, error) { return Process{}, nil }
func (fakeGuest) Copies(v *function.Version) bool                          { return v.Function != "unaware" }
func (fakeGuest) Own(*function.Version, Birth) []string                    { return nil }

func (fakeGuest) Fresh(_ *function.Version, b Birth) []string {
	return []string{"INSTANCE=" + b.ID}
}
func (fakeGuest) Header(dst []byte, _ *function.Version, c *Call) []byte {
	return fmt.Appendf(dst, "Id: %s\r\n", c.RequestID)
}
func (fakeGuest) Fault(f Fault) ([]byte, string) {
	return fmt.Appendf(nil, "fault %d%s", f.Kind, f.RequestID), fmt.Sprint("Fault.", f.Kind)
}

func echo(_ *fakeSandbox, f Frame) (Frame, bool) {
	return Frame{Kind: FrameResponse, Body: f.Body}, true
}

// newTestPool returns a pool over d that is closed when the test ends; then
// nothing of it may be left.
func newTestPool(t *testing.T, d *fakeDriver, change func(*PoolConfig)) *Pool {
	t.Helper()
	if d.answer == nil {
		d.answer = echo
	}
	cfg := PoolConfig{
		Driver:    d,
		Plan:      func(context.Context, *function.Version) (Plan, error) { return Plan{Guest: fakeGuest{}}, nil },
		Sink:      func(Lines) {},
		Log:       slog.New(slog.DiscardHandler),
		KeepAlive: time.Hour, Linger: time.Hour, MemoryMB: 1024, Starts: 8,
		InitLimit: 10 * time.Second, QueueLimit: 10 * time.Second, MaxResponse: 1 << 20, MaxStream: 8 << 20,
	}
	if change != nil {
		change(&cfg)
	}
	p := NewPool(cfg)
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if len(d.live) != 0 || p.usedMB != 0 || p.starts != 0 || len(p.instances) != 0 {
			t.Errorf("after Close %d sandboxes live, %d MB and %d starts are counted, %d instances known", len(d.live), p.usedMB, p.starts, len(p.instances))
		}
	})
	return p
}

func version(name string, mb int) *function.Version {
	return &function.Version{Function: name, Version: function.Latest, Config: function.Config{MemoryMB: mb, Timeout: 5 * time.Second}}
}

func call(id, payload string) *Call {
	return &Call{RequestID: id, Deadline: time.Now().Add(5 * time.Second), Payload: []byte(payload)}
}
