package invoke

import (
	"archive/zip"
	"bytes"
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

// guests is a sandbox.Driver whose guests are goroutines, and their
// sandbox.Guest: a test says how calls are answered.
type guests struct {
	answer func(payload []byte) (body string, fails bool)
}

func (guests) Name() string                                { return "fake" }
func (guests) Prepare(context.Context, sandbox.Spec) error { return nil }
func (guests) Sweep(context.Context) error                 { return nil }
func (guests) Close() error                                { return nil }

func (guests) Process(*function.Version, sandbox.Birth, sandbox.Paths) (sandbox.Process, error) {
	return sandbox.Process{}, nil
}

func (guests) Header(dst []byte, _ *function.Version, c *sandbox.Call) []byte {
	return append(dst, "Trace: "+c.TraceID+"\r\n"...)
}
func (guests) Copies(*function.Version) bool                   { return false }
func (guests) Fresh(*function.Version, sandbox.Birth) []string { return nil }
func (guests) Own(*function.Version, sandbox.Birth) []string   { return nil }
func (guests) Fault(sandbox.Fault) ([]byte, string)            { return []byte(`{}`), "Fault" }

type guestBox struct {
	g     guests
	ends  [6]*os.File // stdin, stdout, stderr: the host's and the guest's
	done  chan struct{}
	close sync.Once
}

func (g guests) Create(context.Context, sandbox.Spec) (sandbox.Sandbox, error) {
	b := &guestBox{g: g, done: make(chan struct{})}
	for i, hostReads := range []bool{false, true, true} {
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
			return nil, err
		}
		r, w := os.NewFile(uintptr(fds[0]), "r"), os.NewFile(uintptr(fds[1]), "w")
		if hostReads {
			b.ends[i], b.ends[i+3] = r, w
		} else {
			b.ends[i], b.ends[i+3] = w, r
		}
	}
	return b, nil
}

func (b *guestBox) Start(context.Context) error {
	go func() {
		b.ends[4].Write(sandbox.AppendFrame(nil, sandbox.Frame{Kind: sandbox.FrameReady}))
		for {
			f, err := sandbox.ReadFrame(b.ends[3], 1<<30)
			if err != nil {
				return
			}
			body, fails := b.g.answer(f.Body)
			kind := sandbox.FrameResponse
			if fails {
				kind = sandbox.FrameFailure
			}
			b.ends[4].Write(sandbox.AppendFrame(nil, sandbox.Frame{Kind: kind, Body: []byte(body)}))
		}
	}()
	return nil
}

func (b *guestBox) Settle() error                          { return nil }
func (b *guestBox) Link() (stdin, stdout, stderr *os.File) { return b.ends[0], b.ends[1], b.ends[2] }
func (b *guestBox) Pause(context.Context) error            { return nil }
func (b *guestBox) Resume(context.Context) error           { return nil }
func (b *guestBox) Memory() (int64, int64, error)          { return 1 << 20, 1 << 20, nil }
func (b *guestBox) Done() <-chan struct{}                  { return b.done }
func (b *guestBox) Exit() sandbox.Exit                     { return sandbox.Exit{} }

func (b *guestBox) Close() error {
	b.close.Do(func() {
		close(b.done)
		for _, f := range b.ends {
			f.Close()
		}
	})
	return nil
}

// Build makes anyRuntime a builder too, which agrees to everything.
func (anyRuntime) Build(context.Context, *function.Version) error { return nil }

// create makes a function and waits until it can be called.
func create(t *testing.T, r *function.Registry, name string, edit func(*function.Config)) {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	_, err := z.Create("app.py")
	ok(t, err)
	ok(t, z.Close())
	c := function.Config{Runtime: "python3.11", Handler: "app.handler", MemoryMB: 128, Timeout: 5 * time.Second, TmpMB: 512, Architecture: "amd64"}
	if edit != nil {
		edit(&c)
	}
	_, err = r.Create(t.Context(), function.New{Name: name, Config: c, Package: b.Bytes()}, false)
	ok(t, err)
	for {
		if _, err = r.Lookup(name, ""); !errs.Is(err, errs.Conflict) {
			ok(t, err)
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// sent is what a target got.
type sent struct {
	to event.Target
	event.Message
}

// inbox is a sender that keeps what it is given, and refuses it first if told so.
type inbox struct {
	got    chan sent
	mu     sync.Mutex
	refuse []error // guarded by mu: of the next sends
}

func newInbox() *inbox { return &inbox{got: make(chan sent, 1000)} }

func (i *inbox) Send(_ context.Context, to event.Target, m event.Message) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.refuse) > 0 {
		err := i.refuse[0]
		i.refuse = i.refuse[1:]
		return err
	}
	i.got <- sent{to, m}
	return nil
}

// next waits for a message.
func (i *inbox) next(t *testing.T) sent {
	t.Helper()
	select {
	case s := <-i.got:
		return s
	case <-time.After(time.Minute):
		t.Fatal("nothing was sent")
		panic("unreachable")
	}
}

// plainWords says conditions as they are.
type plainWords struct{}

func (plainWords) Record(_ event.Target, e Ended) event.Message {
	m := event.Message{Body: []byte(e.Condition), Attributes: map[string]string{"payload": string(e.Payload)}}
	if e.Result != nil {
		m.Attributes["answer"] = string(e.Result.Payload)
	}
	return m
}
func (plainWords) DeadLetter(e Ended) event.Message           { return event.Message{Body: e.Payload} }
func (plainWords) Trace(trace string, l event.Lineage) string { return trace }
