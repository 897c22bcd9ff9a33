package sandbox

import (
	"context"
	"fmt"
	"time"
)

// StreamWriter takes an answer while it is made.
type StreamWriter interface {
	// Begin is called once, before the first Write; contentType is "" when the
	// code named none.
	Begin(contentType string) error
	// Write passes a part on at once. It must not keep p.
	Write(p []byte) (int, error)
}

// Stream runs one invocation and passes its answer on to w while it comes; code
// that answers in one piece gives one Write, and a failure before the first part
// none. A w that takes its time holds the code up. When ctx ends, or w fails, the
// call is Canceled and the instance is closed when it is released: what runs in
// it can't be stopped in another way. The Body of the Answer holds the error
// document of a failure only.
func (i *Instance) Stream(ctx context.Context, c *Call, w StreamWriter) Answer {
	a := i.run(ctx, c, w)
	if a.Failed || a.Body == nil {
		return a
	}
	err := w.Begin(jsonType)
	if err == nil {
		_, err = w.Write(a.Body)
	}
	a.Body = nil
	if err != nil { // the code is done; only its caller misses the answer
		a.Body, a.ErrorType = i.guest.Fault(Fault{RequestID: c.RequestID, Kind: Canceled})
		a.Failed, a.Fault = true, Canceled
	}
	return a
}

// jsonType is the content type of an answer in one piece.
const jsonType = "application/json"

// relay passes a streamed answer on to w.
func (i *Instance) relay(contentType string, w StreamWriter) (Answer, error) {
	if err := w.Begin(contentType); err != nil {
		return Answer{}, &writeError{err}
	}
	var buf []byte
	for size := int64(0); ; {
		f, err := readFrame(i.out, i.limit, buf)
		if err != nil {
			return Answer{}, err
		}
		switch f.Kind {
		case FrameChunk:
			if size += int64(len(f.Body)); size > i.most {
				return Answer{}, &FrameTooLargeError{Size: size, Max: i.most}
			}
			if _, err := w.Write(f.Body); err != nil {
				return Answer{}, &writeError{err}
			}
			buf = f.Body[:0]
		case FrameEnd:
			typ := headerValue(f.Header, "Error-Type")
			if typ == "" {
				return Answer{}, nil
			}
			return Answer{Body: f.Body, Failed: true, ErrorType: typ}, nil
		default:
			return Answer{}, fmt.Errorf("frame of kind %d within a streamed answer", f.Kind)
		}
	}
}

// interruptible makes the end of ctx end reads and writes of the link, until
// release is called.
func (i *Instance) interruptible(ctx context.Context) (release func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		i.stdout.SetReadDeadline(time.Unix(1, 0))
		i.stdin.SetWriteDeadline(time.Unix(1, 0))
	})
	return func() {
		if !stop() {
			<-done // else it might hit the next call
		}
	}
}

// writeError says that the one who reads a streamed answer has left.
type writeError struct{ err error }

func (e *writeError) Error() string { return "pass on the answer: " + e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

// collector is the StreamWriter of a caller who wants the whole. Over max it
// only counts.
type collector struct {
	body  []byte
	begun bool
	size  int64
	max   int64
}

// Begin implements StreamWriter.
func (c *collector) Begin(string) error {
	c.begun = true
	return nil
}

// Write implements StreamWriter.
func (c *collector) Write(p []byte) (int, error) {
	if c.size += int64(len(p)); c.size > c.max {
		c.body = nil
	} else {
		c.body = append(c.body, p...)
	}
	return len(p), nil
}
