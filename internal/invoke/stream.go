package invoke

import (
	"context"
	"time"

	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

// StreamWriter takes an answer while it is made: see sandbox.StreamWriter.
type StreamWriter = sandbox.StreamWriter

// Starter is what a StreamWriter may be besides: Start is called once, before
// Begin, with the version that runs the call and the time by which everything
// must have been written.
type Starter interface {
	Start(version string, until time.Time)
}

// writeGrace is how long after the call's own deadline what it wrote before may
// be on its way.
const writeGrace = 5 * time.Second

// Stream runs a call and passes its answer on to w as it comes; an answer in one
// piece is one Write. A Result with a FunctionError is a function that failed,
// perhaps midway, with the error document as Payload; else its Payload is nil.
// When ctx ends, or w fails, the caller is taken to be gone: the call is cut off,
// accounted for, and an error of kind Unavailable returned. Other errors are those
// of Sync, and come before w is used.
func (n *Invoker) Stream(ctx context.Context, r Request, w StreamWriter) (Result, error) {
	v, err := n.admitNow(r)
	if err != nil {
		return Result{}, err
	}
	return n.run(ctx, v, r, 0, w)
}

// stream runs the call on an instance and counts the bytes of its answer.
func stream(ctx context.Context, inst *sandbox.Instance, c *sandbox.Call, w StreamWriter) (sandbox.Answer, int64) {
	if s, ok := w.(Starter); ok {
		s.Start(inst.Version.Version, c.Deadline.Add(writeGrace))
	}
	counted := &counter{StreamWriter: w}
	a := inst.Stream(ctx, c, counted)
	return a, counted.bytes
}

// counter counts what passes through it.
type counter struct {
	StreamWriter
	bytes int64
}

// Write implements StreamWriter.
func (c *counter) Write(p []byte) (int, error) {
	n, err := c.StreamWriter.Write(p)
	c.bytes += int64(n)
	return n, err
}
