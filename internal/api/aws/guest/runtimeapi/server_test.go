package runtimeapi

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

func TestFrameKindsAreTheContracts(t *testing.T) {
	for ours, theirs := range map[byte]sandbox.FrameKind{
		FrameInvoke: sandbox.FrameInvoke, FrameShutdown: sandbox.FrameShutdown, FrameReady: sandbox.FrameReady,
		FrameSnapshot: sandbox.FrameSnapshot, FrameRestore: sandbox.FrameRestore,
		FrameInitError: sandbox.FrameInitError, FrameResponse: sandbox.FrameResponse, FrameFailure: sandbox.FrameFailure,
		FrameHead: sandbox.FrameHead, FrameChunk: sandbox.FrameChunk, FrameEnd: sandbox.FrameEnd,
	} {
		if ours != byte(theirs) {
			t.Errorf("kind %d is %d in package sandbox", ours, theirs)
		}
	}
}

var _ sandbox.Outlet = (*outlet)(nil)

// outlet is a host and the clients of a Server.
type outlet struct {
	t      testing.TB
	frames []string // kind, header and body
	sent   map[int]string
	hungUp map[int]bool
}

func (o *outlet) Frame(kind byte, header string, body []byte) {
	if len(header) > 1<<16-1 {
		o.t.Fatalf("a frame's header has %d bytes", len(header))
	}
	o.frames = append(o.frames, fmt.Sprintf("%d %s%s", kind, header, body))
}

func (o *outlet) Answer(conn int, head, body []byte) bool {
	if o.hungUp[conn] {
		o.t.Fatalf("an answer to connection %d, which is closed", conn)
	}
	o.sent[conn] += string(head) + string(body)
	return true
}

func (o *outlet) HangUp(conn int) {
	if o.hungUp[conn] {
		o.t.Fatalf("connection %d is closed again", conn)
	}
	o.hungUp[conn] = true
}

// takeFrames returns the frames since the last time.
func (o *outlet) takeFrames() []string {
	f := o.frames
	o.frames = nil
	return f
}

// status is the status line of the last answer to a connection.
func (o *outlet) status(conn int) string {
	all := o.sent[conn]
	line, _, _ := strings.Cut(all[max(strings.LastIndex(all, "HTTP/1.1 "), 0):], "\r\n")
	return strings.TrimPrefix(line, "HTTP/1.1 ")
}

func newServer(t testing.TB, limit int) (*Server, *outlet) {
	o := &outlet{t: t, sent: map[int]string{}, hungUp: map[int]bool{}}
	return New(limit, o), o
}

const (
	next     = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n"
	callHead = "Lambda-Runtime-Aws-Request-Id: r\r\n"
)

func respond(length int, body string) string {
	return fmt.Sprintf("POST /2018-06-01/runtime/invocation/r/response HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s", length, body)
}

// called returns a Server whose connection 1 has a call.
func called(t testing.TB, limit int) (*Server, *outlet) {
	s, o := newServer(t, limit)
	s.Open(1)
	s.Take(1, []byte(next))
	s.Receive(FrameInvoke, []byte(callHead), []byte("payload"))
	if got := o.takeFrames(); !slices.Equal(got, []string{"16 "}) || !strings.HasSuffix(o.sent[1], "\r\n\r\npayload") {
		t.Fatalf("frames %q, answer %q", got, o.sent[1])
	}
	return s, o
}

func TestServerRefusesRequestsAheadOfAnswers(t *testing.T) {
	t.Run("while one waits", func(t *testing.T) {
		s, o := newServer(t, 100)
		s.Open(1)
		s.Take(1, []byte(next))
		s.Take(1, []byte("G"))
		if o.status(1) != "400 Bad Request" || !o.hungUp[1] {
			t.Errorf("%q", o.sent[1])
		}
		s.Receive(FrameInvoke, []byte(callHead), []byte("payload"))
		s.Open(2)
		s.Take(2, []byte(next))
		if !strings.HasSuffix(o.sent[2], "payload") {
			t.Errorf("the call is lost: %q", o.sent[2])
		}
	})
	t.Run("behind another", func(t *testing.T) {
		s, o := called(t, 100)
		s.Take(1, []byte(respond(2, "ok")+next))
		if got := o.takeFrames(); !slices.Equal(got, []string{"18 ok"}) || o.status(1) != "400 Bad Request" || !o.hungUp[1] {
			t.Errorf("frames %q, answers %q", got, o.sent[1])
		}
	})
	t.Run("but no empty line", func(t *testing.T) {
		s, o := called(t, 100)
		s.Take(1, []byte(respond(2, "ok")+"\r\n"))
		s.Take(1, []byte("\r\n"+next))
		s.Receive(FrameInvoke, []byte(callHead), []byte("second"))
		if o.hungUp[1] || !strings.HasSuffix(o.sent[1], "second") {
			t.Errorf("answers %q", o.sent[1])
		}
	})
}

// Nobody may take for the next request what another takes for a body.
func TestServerAgreesWithNobodyOnAmbiguousLengths(t *testing.T) {
	const head = "POST /2018-06-01/runtime/invocation/r/response HTTP/1.1\r\n"
	for _, fields := range []string{
		"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
		"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
		"Content-Length: 2\r\nContent-Length: 3\r\n",
		"Content-Length: 2, 2\r\n",
		"Content-Length: +2\r\n",
		"Content-Length: -2\r\n",
		"Content-Length: 0x2\r\n",
		"Content-Length: 99999999999999999999\r\n",
		"Content-Length: \r\n",
		"Content-Length : 2\r\n",
		" Content-Length: 2\r\n",
		"A: b\r\n Content-Length: 2\r\n",
		"A: b\nContent-Length: 2\r\n",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
		"Transfer-Encoding: chunked, identity\r\n",
		"Transfer-Encoding: xchunked\r\n",
		"Transfer-Encoding: \r\n",
	} {
		s, o := called(t, 100)
		s.Take(1, []byte(head+fields+"\r\n2\r\nok\r\n0\r\n\r\n"))
		if st := o.status(1); !o.hungUp[1] || st != "400 Bad Request" && st != "501 Not Implemented" || len(o.frames) > 0 {
			t.Errorf("%q: %s, frames %q", fields, st, o.frames)
		}
	}
	for _, chunks := range []string{"2;\nok\r\n", "+2\r\nok\r\n", "0x2\r\nok\r\n", "2\r\nokay\r\n", "\r\n", "ffffffffffffffff\r\n", "2 2\r\nok\r\n", "-1\r\n"} {
		s, o := called(t, 100)
		s.Take(1, []byte(head+"Transfer-Encoding: chunked\r\n\r\n"+chunks))
		if chunks == "2;\nok\r\n" { // an extension, and a chunk that isn't there yet
			continue
		}
		if o.status(1) != "400 Bad Request" || !o.hungUp[1] {
			t.Errorf("chunks %q: %s", chunks, o.status(1))
		}
	}
}

func TestServerBoundsWhatOneRequestHolds(t *testing.T) {
	long := strings.Repeat("x", maxValue+1)
	for name, c := range map[string]struct{ request, status string }{
		"path":          {"GET /" + long + " HTTP/1.1\r\n\r\n", "431 Request Header Fields Too Large"},
		"kept field":    {"POST /x HTTP/1.1\r\nContent-Type: " + long + "\r\n\r\n", "431 Request Header Fields Too Large"},
		"head":          {"POST /x HTTP/1.1\r\nA: " + strings.Repeat("x", maxHead), "431 Request Header Fields Too Large"},
		"other field":   {"POST /x HTTP/1.1\r\nA: " + long + "\r\n\r\n", "404 Not Found"}, // a stack for X-Ray
		"trailer":       {"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nLambda-Runtime-Function-Error-Type: " + long + "\r\n\r\n", "431 Request Header Fields Too Large"},
		"trailers":      {"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: " + strings.Repeat("x", maxHead+1000), "431 Request Header Fields Too Large"},
		"row of a size": {"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("x", maxSizeRow), "400 Bad Request"},
	} {
		for _, size := range []int{1 << 20, 1000, 1} {
			s, o := newServer(t, 100)
			s.Open(1)
			for piece := range slices.Chunk([]byte(c.request), size) {
				s.Take(1, piece)
			}
			if o.status(1) != c.status {
				t.Errorf("%s in pieces of %d: %q", name, size, o.sent[1])
			}
		}
	}
	for _, request := range []string{
		respond(101, strings.Repeat("x", 101)),
		"POST /2018-06-01/runtime/invocation/r/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" + strings.Repeat("x", 101) + "\r\n0\r\n\r\n",
	} {
		s, o := called(t, 100)
		s.Take(1, []byte(request))
		if o.status(1) != "413 Request Entity Too Large" || o.hungUp[1] || len(o.frames) != 1 || !strings.HasPrefix(o.frames[0], "19 Error-Type: Function.ResponseSizeTooLarge") {
			t.Errorf("%q: answers %q, frames %q", request, o.sent[1], o.frames)
		}
	}
}

func TestServerBoundsWhatAllConnectionsHold(t *testing.T) {
	const limit = 1 << 20
	for name, c := range map[string]struct {
		head, piece string
		pieces      int
	}{
		"bodies that are announced": {respond(limit, ""), "x", 1},
		"chunks":                    {"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "10000\r\n" + strings.Repeat("x", 1<<16) + "\r\n", 14},
		"trailers":                  {"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", strings.Repeat("x", 1<<16), 14},
		"heads":                     {"POST /x HTTP/1.1\r\nA: ", strings.Repeat("x", maxHead-100), 1},
	} {
		t.Run(name, func(t *testing.T) {
			s, o := newServer(t, limit)
			full := 0
			for id := 1; s.Room() && id < 4*maxConns; id++ {
				s.Open(id)
				s.Take(id, []byte(c.head))
				for range c.pieces {
					s.Take(id, []byte(c.piece))
				}
				if held := roomFor(limit) - s.room.left; s.room.left < 0 || held > roomFor(limit) {
					t.Fatalf("%d connections hold %d", id, held)
				}
				if o.status(id) == "503 Service Unavailable" {
					full++
				}
				if full > 10 {
					break
				}
			}
			if full == 0 {
				t.Error("no connection was refused")
			}
			for id := range s.conns {
				s.Close(id)
			}
			if s.room.left != roomFor(limit) {
				t.Errorf("with all closed, %d is left of %d", s.room.left, roomFor(limit))
			}
		})
	}
}

func TestServerHasRoomForSoManyConnections(t *testing.T) {
	s, _ := newServer(t, 100)
	n := 0
	for ; s.Room(); n++ {
		s.Open(n)
	}
	s.Close(0)
	if n != maxConns || !s.Room() {
		t.Errorf("%d connections, room for more: %v", n, s.Room())
	}
}

func TestServerGoesOnFromItsState(t *testing.T) {
	t.Run("waiting", func(t *testing.T) {
		s, o := newServer(t, 100)
		s.Open(7)
		s.Take(7, []byte(next))
		s, err := Restore(s.AppendState(nil), o)
		if err != nil {
			t.Fatal(err)
		}
		s.Receive(FrameRestore, nil, nil)
		s.Receive(FrameInvoke, []byte(callHead), []byte("payload"))
		if !strings.HasSuffix(o.sent[7], "payload") || !slices.Equal(o.frames, []string{"16 ", "16 "}) {
			t.Errorf("answer %q, frames %q", o.sent[7], o.frames)
		}
	})
	t.Run("in restore/next", func(t *testing.T) {
		s, o := newServer(t, 100)
		s.Open(7)
		s.Take(7, []byte("GET /2018-06-01/runtime/restore/next HTTP/1.1\r\n\r\n"))
		s, err := Restore(s.AppendState(nil), o)
		if err != nil {
			t.Fatal(err)
		}
		s.Receive(FrameRestore, nil, nil)
		if o.status(7) != "200 OK" {
			t.Errorf("answer %q", o.sent[7])
		}
	})
	t.Run("at each byte of an exchange", func(t *testing.T) {
		s, o := called(t, 1000)
		all := "POST /2018-06-01/runtime/invocation/r/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\nContent-Type: a/b\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\nX: y\r\n\r\n" + next
		for i := range len(all) {
			var err error
			if s, err = Restore(s.AppendState(nil), o); err != nil {
				t.Fatal(err)
			}
			s.Take(1, []byte(all[i:i+1]))
		}
		s.Receive(FrameInvoke, []byte(callHead), []byte("second"))
		if !slices.Equal(o.frames, []string{"18 abcde"}) || !strings.HasSuffix(o.sent[1], "second") {
			t.Errorf("frames %q, answers %q", o.frames, o.sent[1])
		}
	})
	t.Run("unless that is cut off", func(t *testing.T) {
		s, o := called(t, 100)
		s.Take(1, []byte(respond(50, "begin")))
		state := s.AppendState(nil)
		for n := range state {
			if _, err := Restore(state[:n], o); err == nil {
				t.Errorf("%d bytes of %d pass for a state", n, len(state))
			}
		}
	})
}

// FuzzServer has a hostile client send what it likes over some connections, and
// close them, while a host calls. Neither may harm the server, and what it holds
// stays within bounds, also in a copy.
func FuzzServer(f *testing.F) {
	f.Add([]byte(next+"|"+respond(2, "ok")), uint8(7))
	f.Add([]byte("POST /2018-06-01/runtime/invocation/r/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n\r\n2\r\nab\r\n0\r\nLambda-Runtime-Function-Error-Type: x\r\n\r\n"), uint8(3))
	f.Add([]byte("POST /2018-06-01/runtime/init/error HTTP/1.1\r\nContent-Length: 200\r\nExpect: 100-continue\r\n\r\n{}"), uint8(1))
	f.Add([]byte("GET /2018-06-01/runtime/restore/next HTTP/1.0\r\n\r\n~"+next), uint8(90))
	f.Fuzz(func(t *testing.T, script []byte, size uint8) {
		const limit = 64
		s, o := newServer(t, limit)
		conn, last := 0, 0
		for step, piece := range slices.Collect(slices.Chunk(script, int(size)+1)) {
			switch {
			case s.conns[conn] == nil || bytes.ContainsAny(piece, "|"):
				if !s.Room() {
					s.Close(conn)
				}
				last++
				conn = last
				s.Open(conn)
			case bytes.ContainsAny(piece, "~"):
				s.Close(conn)
			}
			s.Take(conn, piece)
			switch {
			case step%5 == 0 && !s.Full():
				s.Receive(FrameInvoke, []byte(callHead), []byte("payload"))
			case step%7 == 0:
				s.Receive(FrameRestore, nil, nil)
			case step%11 == 0:
				c, err := Restore(s.AppendState(nil), o)
				if err != nil {
					t.Fatal(err)
				}
				s = c
			}
			held := 0
			for _, c := range s.conns {
				held += cap(c.parser.held) + cap(c.parser.body)
				if !c.parser.flows && len(c.parser.body) > limit {
					t.Fatalf("a body of %d bytes", len(c.parser.body))
				}
			}
			if held != roomFor(limit)-s.room.left || s.room.left < 0 || len(s.conns) > maxConns {
				t.Fatalf("%d connections hold %d, by the account %d", len(s.conns), held, roomFor(limit)-s.room.left)
			}
			if len(s.api.waiters) > len(s.conns) || len(s.api.copies) > len(s.conns) {
				t.Fatal("who waits has no connection")
			}
		}
	})
}
