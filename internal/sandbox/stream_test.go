package sandbox

import (
	"bufio"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// recorder is a StreamWriter that keeps what it got. A write is handed to wrote
// when that is set, and its answer is the write's.
type recorder struct {
	contentType string
	begun       int
	parts       []string
	wrote       func(part string) error
}

func (r *recorder) Begin(contentType string) error {
	r.begun++
	r.contentType = contentType
	return nil
}

func (r *recorder) Write(p []byte) (int, error) {
	r.parts = append(r.parts, string(p))
	if r.wrote != nil {
		if err := r.wrote(string(p)); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func head(contentType string) Frame {
	return Frame{Kind: FrameHead, Header: []byte("Content-Type: " + contentType + "\r\n")}
}

func chunk(s string) Frame { return Frame{Kind: FrameChunk, Body: []byte(s)} }

// streaming returns a driver whose code streams parts.
func streaming(parts ...string) *fakeDriver {
	return &fakeDriver{answer: func(sb *fakeSandbox, _ Frame) (Frame, bool) {
		sb.send(head("text/plain"))
		for _, p := range parts {
			sb.send(chunk(p))
		}
		return Frame{Kind: FrameEnd}, true
	}}
}

func TestStreamedPartsArriveWhileTheCodeRuns(t *testing.T) {
	next := make(chan struct{})
	d := &fakeDriver{answer: func(sb *fakeSandbox, _ Frame) (Frame, bool) {
		sb.send(head("text/event-stream"))
		for _, p := range []string{"one", "two"} {
			sb.send(chunk(p))
			<-next // only the part's arrival lets the code go on
		}
		return Frame{Kind: FrameEnd}, true
	}}
	p := newTestPool(t, d, nil)
	i := acquire(t, p, "f")
	w := &recorder{wrote: func(string) error { next <- struct{}{}; return nil }}
	a := i.Stream(t.Context(), call("r", ""), w)
	if a.Failed || w.begun != 1 || w.contentType != "text/event-stream" || strings.Join(w.parts, "|") != "one|two" {
		t.Errorf("answer %+v, %d times begun, type %q, parts %q", a, w.begun, w.contentType, w.parts)
	}
	p.Release(i)
	again := acquire(t, p, "f")
	defer p.Release(again)
	if again != i {
		t.Error("the instance does not serve the next call")
	}
}

func TestAnswerInOnePieceIsOneWrite(t *testing.T) {
	p := newTestPool(t, &fakeDriver{}, nil)
	i := acquire(t, p, "f")
	defer p.Release(i)
	w := &recorder{}
	if a := i.Stream(t.Context(), call("r", "whole"), w); a.Failed || a.Body != nil {
		t.Errorf("answer %+v", a)
	}
	if w.begun != 1 || len(w.parts) != 1 || w.parts[0] != "whole" || w.contentType != jsonType {
		t.Errorf("%d times begun with %q, parts %q", w.begun, w.contentType, w.parts)
	}
}

func TestCallerOfStreamingCodeCanHaveTheWhole(t *testing.T) {
	for name, c := range map[string]struct {
		limit int64
		want  string
		fault FaultKind
	}{
		"whole":    {limit: 9, want: "onetwosix"},
		"too much": {limit: 8, want: "fault 5r", fault: ResponseTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			p := newTestPool(t, streaming("one", "two", "six"), func(cfg *PoolConfig) { cfg.MaxResponse = c.limit })
			i := acquire(t, p, "f")
			a := i.Call(call("r", ""))
			if string(a.Body) != c.want || a.Fault != c.fault || a.Failed != (c.fault != 0) {
				t.Errorf("answer %+v %q", a, a.Body)
			}
			p.Release(i)
			again := acquire(t, p, "f")
			defer p.Release(again)
			if again != i {
				t.Error("the instance was not kept: its code is done with the call")
			}
		})
	}
}

func TestStreamsThatBreak(t *testing.T) {
	block := make(chan struct{})
	defer close(block)
	gone := errors.New("the reader left")
	for name, c := range map[string]struct {
		after   func(sb *fakeSandbox) (Frame, bool) // what the code does after its first part
		wrote   func(cancel func(), part string) error
		timeout time.Duration
		fault   FaultKind
		body    string
		typ     string
		kept    bool
	}{
		"error midway": {
			after: func(*fakeSandbox) (Frame, bool) {
				return Frame{Kind: FrameEnd, Header: []byte("Error-Type: Oops\r\n"), Body: []byte("doc")}, true
			},
			body: "doc", typ: "Oops", kept: true,
		},
		"end of the process midway": {
			after: func(*fakeSandbox) (Frame, bool) { return Frame{}, false },
			fault: Exited, body: "fault 2r", typ: "Fault.2",
		},
		"time limit midway": {
			after:   func(*fakeSandbox) (Frame, bool) { <-block; return Frame{}, false },
			timeout: 50 * time.Millisecond,
			fault:   TimedOut, body: "fault 1r", typ: "Fault.1",
		},
		"writer that fails": {
			after: func(*fakeSandbox) (Frame, bool) { <-block; return Frame{}, false },
			wrote: func(func(), string) error { return gone },
			fault: Canceled, body: "fault 6r", typ: "Fault.6",
		},
		"writer that is held up until the time limit": {
			after:   func(*fakeSandbox) (Frame, bool) { <-block; return Frame{}, false },
			timeout: 20 * time.Millisecond,
			wrote: func(func(), string) error {
				time.Sleep(30 * time.Millisecond)
				return os.ErrDeadlineExceeded
			},
			fault: TimedOut, body: "fault 1r", typ: "Fault.1",
		},
		"caller that leaves": {
			after: func(*fakeSandbox) (Frame, bool) { <-block; return Frame{}, false },
			wrote: func(cancel func(), _ string) error { cancel(); return nil },
			fault: Canceled, body: "fault 6r", typ: "Fault.6",
		},
		"more than the limit": {
			after: func(sb *fakeSandbox) (Frame, bool) {
				for range 9 {
					sb.send(chunk(strings.Repeat("x", 1<<20)))
				}
				return Frame{Kind: FrameEnd}, true
			},
			fault: ResponseTooLarge, body: "fault 5r", typ: "Fault.5",
		},
		"frame that has no place in it": {
			after: func(*fakeSandbox) (Frame, bool) { return Frame{Kind: FrameReady}, true },
			fault: Exited, body: "fault 2r", typ: "Fault.2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := &fakeDriver{answer: func(sb *fakeSandbox, _ Frame) (Frame, bool) {
				sb.send(head("text/plain"))
				sb.send(chunk("first"))
				return c.after(sb)
			}}
			p := newTestPool(t, d, nil)
			i := acquire(t, p, "f")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			w := &recorder{}
			if c.wrote != nil {
				w.wrote = func(part string) error { return c.wrote(cancel, part) }
			}
			timeout := c.timeout
			if timeout == 0 {
				timeout = 5 * time.Second
			}
			a := i.Stream(ctx, &Call{RequestID: "r", Deadline: time.Now().Add(timeout)}, w)
			if !a.Failed || a.Fault != c.fault || string(a.Body) != c.body || a.ErrorType != c.typ {
				t.Errorf("answer %+v %q, want fault %d, %q, type %q", a, a.Body, c.fault, c.body, c.typ)
			}
			if w.begun != 1 || w.parts[0] != "first" {
				t.Errorf("%d times begun, parts %q", w.begun, w.parts)
			}
			if i.broken == c.kept {
				t.Errorf("broken is %v", i.broken)
			}
			p.Release(i)
		})
	}
}

func TestCallerThatLeavesBeforeTheFirstPartIsCanceled(t *testing.T) {
	block, called := make(chan struct{}), make(chan struct{})
	defer close(block)
	d := &fakeDriver{answer: func(*fakeSandbox, Frame) (Frame, bool) { close(called); <-block; return Frame{}, false }}
	p := newTestPool(t, d, nil)
	i := acquire(t, p, "f")
	defer p.Release(i)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-called; cancel() }()
	w := &recorder{}
	if a := i.Stream(ctx, call("r", ""), w); a.Fault != Canceled || w.begun != 0 {
		t.Errorf("answer %+v, %d times begun", a, w.begun)
	}
}

// FuzzStreamedAnswer shows that what a guest sends never makes the host write
// more than it was sent, or past the end.
func FuzzStreamedAnswer(f *testing.F) {
	var whole []byte
	for _, fr := range []Frame{chunk("one"), chunk(""), {Kind: FrameEnd}} {
		whole = AppendFrame(whole, fr)
	}
	f.Add(whole)
	f.Add(AppendFrame(nil, Frame{Kind: FrameEnd, Header: []byte("Error-Type: a\r\n"), Body: []byte("{}")}))
	f.Add([]byte{255, 255, 0, 0, 21, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		i := &Instance{out: bufio.NewReader(strings.NewReader(string(b))), limit: 64, most: 128}
		w := &recorder{}
		a, err := i.relay("", w)
		got := strings.Join(w.parts, "")
		if len(got) > 128 || len(got) > len(b) {
			t.Errorf("%d bytes were passed on, of %d", len(got), len(b))
		}
		if err == nil && a.Failed != (a.ErrorType != "") {
			t.Errorf("answer %+v", a)
		}
	})
}
