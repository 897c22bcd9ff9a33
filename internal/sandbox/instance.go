package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/mayfly-dev/mayfly/internal/function"
)

const (
	linkBuffer   = 8 << 10         // most answers fit in one read
	inlineBody   = 64 << 10        // bodies up to this are copied behind their header, to save a write
	exitPatience = 2 * time.Second // how long a broken link waits for the sandbox to say why
)

// Instance is one sandbox with a runtime in it. Between Acquire and Release it
// belongs to one caller; the fields below mu's line belong to the pool.
type Instance struct {
	ID      string // 32 hexadecimal digits
	Version *function.Version

	guest  Guest
	sb     Sandbox
	stdin  *os.File
	out    *bufio.Reader
	stdout *os.File
	logs   *logReader
	limit  int64 // of an answer's body, in bytes
	most   int64 // of a streamed answer, in bytes
	frame  []byte

	web *webServer // of a program that serves HTTP; else nil

	power  sync.Mutex // serialises pause and resume
	frozen bool       // guarded by power

	start    StartTimes // set before the instance is handed out
	restored bool       // it is a copy of a snapshot
	peak     peak
	took     time.Duration // by the last call

	provisioned bool // was started to be ready ahead of calls; does not change

	// Guarded by Pool.mu.
	state   state
	fresh   bool // has not run a call yet
	broken  bool // must not run another call
	users   int  // calls that have it now
	surplus bool // was provisioned, and is no longer wanted as such
	watched bool // its end will be noticed
	trimmed bool // has given memory back since its last call
	since   time.Time
	timer   *time.Timer
	armed   uint64 // counts what makes the timer before obsolete
	group   *group
}

// StartTimes is what bringing up an instance took.
type StartTimes struct {
	Sandbox time.Duration // creating the sandbox, or waiting for a blank one
	Init    time.Duration // from starting the runtime until it was ready; 0 for a copy of a snapshot
	Restore time.Duration // from a blank sandbox to a ready copy of a snapshot; 0 without one
	Revive  time.Duration // the part of Restore that is the code's own: its hooks
}

// Answer is how a call ended on an instance.
type Answer struct {
	Body      []byte
	Failed    bool      // the body is an error document
	ErrorType string    // of a failure, as the guest named it
	Fault     FaultKind // what the host found out, 0 when the code itself answered
	Duration  time.Duration
	Log       []byte // end of what the code wrote to its log; valid until the instance's next call
}

// InitError says that the init of the code failed. It is the function's fault,
// not the platform's: callers get the document as the function's error.
type InitError struct {
	Fault     FaultKind // 0 when the code reported the error itself
	Document  []byte
	ErrorType string
	Times     StartTimes
	Log       []byte // end of what the code wrote to its log
	Instance  string // id of the instance that did not become ready
	PeakBytes int64  // most memory that init used

	guest Guest // words found again, for the call that waited
	found Fault
}

// For returns the document for the call that waited for the init: a fault that
// the host found out names the call.
func (e *InitError) For(requestID string) []byte {
	if e.Fault == 0 {
		return e.Document
	}
	found := e.found
	found.RequestID = requestID
	doc, _ := e.guest.Fault(found)
	return doc
}

func (e *InitError) Error() string { return "init failed: " + string(e.Document) }

// Call runs one invocation and returns its whole answer, also of code that
// streams it. Nothing but the call's deadline stops the code; an instance that
// broke is closed when it is released.
func (i *Instance) Call(c *Call) Answer {
	whole := collector{max: i.limit}
	a := i.run(context.Background(), c, &whole)
	switch {
	case a.Failed || !whole.begun:
		return a
	case whole.size > whole.max:
		// The code is done with the call: the instance is as good as before.
		a.Body, a.ErrorType = i.guest.Fault(Fault{RequestID: c.RequestID, Kind: ResponseTooLarge, Size: whole.size, Max: whole.max})
		a.Failed, a.Fault = true, ResponseTooLarge
		return a
	}
	a.Body = whole.body
	return a
}

// run runs one invocation; the parts of a streamed answer go to w.
func (i *Instance) run(ctx context.Context, c *Call, w StreamWriter) Answer {
	i.logs.begin(c.RequestID)
	began := time.Now()
	i.stdout.SetReadDeadline(c.Deadline)
	i.stdin.SetWriteDeadline(c.Deadline)
	release := i.interruptible(ctx)
	a, err := i.exchange(c, w)
	release()
	i.took = time.Since(began)
	a.Duration = i.took
	i.logs.drain()
	if err != nil {
		a = i.fault(ctx, c, err, c.Deadline.Sub(began), a.Duration)
	}
	a.Log = i.logs.end()
	return a
}

// exchange sends the call and reads its answer.
func (i *Instance) exchange(c *Call, w StreamWriter) (Answer, error) {
	i.frame = AppendFrame(i.frame[:0], Frame{Kind: FrameInvoke, Header: i.guest.Header(nil, i.Version, c)})
	putBodyLength(i.frame, len(c.Payload))
	if len(c.Payload) <= inlineBody {
		i.frame = append(i.frame, c.Payload...)
	}
	if _, err := i.stdin.Write(i.frame); err != nil {
		return Answer{}, err
	}
	if len(c.Payload) > inlineBody {
		if _, err := i.stdin.Write(c.Payload); err != nil {
			return Answer{}, err
		}
	}
	f, err := ReadFrame(i.out, i.limit)
	if err != nil {
		return Answer{}, err
	}
	switch f.Kind {
	case FrameResponse:
		return Answer{Body: f.Body}, nil
	case FrameFailure:
		return Answer{Body: f.Body, Failed: true, ErrorType: headerValue(f.Header, "Error-Type")}, nil
	case FrameHead:
		return i.relay(headerValue(f.Header, "Content-Type"), w)
	}
	return Answer{}, fmt.Errorf("frame of kind %d instead of an answer", f.Kind)
}

// fault words what went wrong on the link, and marks the instance as broken: the
// code may be in the middle of anything.
func (i *Instance) fault(ctx context.Context, c *Call, err error, limit, took time.Duration) Answer {
	i.broken = true
	f := Fault{RequestID: c.RequestID, Limit: limit.Round(time.Millisecond)}
	var gone *writeError
	switch late := !time.Now().Before(c.Deadline); {
	case errors.As(err, &gone) && late: // its reader held the call up for too long
		f.Kind = TimedOut
	case gone != nil, ctx.Err() != nil && !late:
		f.Kind = Canceled
	default:
		f.Kind = i.diagnose(err)
	}
	var big *FrameTooLargeError
	if errors.As(err, &big) {
		f.Kind, f.Size, f.Max = ResponseTooLarge, big.Size, big.Max
	}
	f.Exit = i.exit()
	body, typ := i.guest.Fault(f)
	return Answer{Body: body, Failed: true, ErrorType: typ, Fault: f.Kind, Duration: took}
}

// diagnose tells why the link failed. A broken pipe alone doesn't say: it waits
// a moment for the sandbox's end.
func (i *Instance) diagnose(err error) FaultKind {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return TimedOut
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrClosed) || isBrokenPipe(err) {
		select {
		case <-i.sb.Done():
			i.logs.drain()
			if i.sb.Exit().OOM {
				return OutOfMemory
			}
		case <-time.After(exitPatience):
		}
	}
	return Exited
}

// exit returns how the sandbox ended, or a zero Exit while it runs.
func (i *Instance) exit() Exit {
	select {
	case <-i.sb.Done():
		return i.sb.Exit()
	default:
		return Exit{}
	}
}

// thaw makes a frozen instance run again.
func (i *Instance) thaw(ctx context.Context) error {
	i.power.Lock()
	defer i.power.Unlock()
	if !i.frozen {
		return nil
	}
	if err := i.sb.Resume(ctx); err != nil {
		return fmt.Errorf("resume instance %s: %w", i.ID, err)
	}
	i.frozen = false
	return nil
}

// freeze stops the instance's CPU use if still reports that it is idle.
func (i *Instance) freeze(ctx context.Context, still func() bool) error {
	i.power.Lock()
	defer i.power.Unlock()
	if i.frozen || !still() {
		return nil
	}
	if i.web != nil { // they might not outlive it
		i.web.transport.CloseIdleConnections()
	}
	if err := i.sb.Pause(ctx); err != nil {
		return fmt.Errorf("pause instance %s: %w", i.ID, err)
	}
	i.frozen = true
	return nil
}

func (i *Instance) isFrozen() bool {
	i.power.Lock()
	defer i.power.Unlock()
	return i.frozen
}

// Peak returns the most memory the instance had in use so far, in bytes. Of an
// instance whose calls are short it may be up to peakPatience old.
func (i *Instance) Peak() int64 { return i.peak.after(i.took, i.fresh || i.broken, i.sb) }

// Start returns what bringing up the instance took, on its first call; later it
// reports false.
func (i *Instance) Start() (StartTimes, bool) { return i.start, i.fresh }

// Provisioned reports whether the instance was started to be ready ahead of calls.
func (i *Instance) Provisioned() bool { return i.provisioned }

// close ends the sandbox. The log is read to its end first.
func (i *Instance) close() error {
	if i.sb == nil {
		return nil
	}
	if i.web != nil {
		i.stopWeb()
	}
	if i.logs != nil {
		i.logs.drain()
	}
	err := i.sb.Close()
	if i.logs != nil {
		i.logs.close()
	}
	if err != nil {
		return fmt.Errorf("close instance %s: %w", i.ID, err)
	}
	return nil
}
