package node

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
)

// framing follows the requests that come over a connection, as RFC 9112 divides
// them, and says of each head what in it can be read in two ways. It reads lines as
// Go's server does: they end with a line feed, before which may be a carriage
// return. The zero framing is before the first request.
type framing struct {
	state  framingState
	line   []byte // the beginning of a line that is not whole
	size   int    // bytes of the lines of this head or trailer so far
	left   int64  // bytes of a body or chunk to come
	fault  string // of the head so far
	old    bool   // the head is of HTTP/1.0
	coding bool   // the head has a Transfer-Encoding
	length string // the head's Content-Length
}

type framingState int

const (
	atRequest framingState = iota
	inHead
	inBody
	atChunk
	inChunk
	inTrailer
	lost // what follows is no request: the server ends the connection, or has given it away
)

// feed takes what came, and calls whole with the fault of each head that it
// completes, "" for none.
func (f *framing) feed(p []byte, whole func(fault string)) {
	for len(p) > 0 && f.state != lost {
		if f.state == inBody || f.state == inChunk {
			n := min(int64(len(p)), f.left)
			p, f.left = p[n:], f.left-n
			if f.left == 0 {
				f.endPart()
			}
			continue
		}
		i := bytes.IndexByte(p, '\n')
		if f.size += len(p); i >= 0 {
			f.size += i + 1 - len(p)
		}
		if f.size > 2*wire.MaxHeaderBytes { // the server refuses it
			f.lose()
			return
		}
		if i < 0 {
			f.line = append(f.line, p...)
			return
		}
		line := p[:i]
		if len(f.line) > 0 {
			f.line = append(f.line, line...)
			line = f.line
		}
		p = p[i+1:]
		f.take(bytes.TrimSuffix(line, []byte("\r")), whole)
		f.line = f.line[:0]
	}
}

func (f *framing) lose() { *f = framing{state: lost} }

// begin expects the next request.
func (f *framing) begin() { *f = framing{line: f.line[:0]} }

func (f *framing) endPart() {
	if f.state == inBody {
		f.begin()
		return
	}
	f.state, f.size = atChunk, 0
}

// take reads a whole line.
func (f *framing) take(line []byte, whole func(string)) {
	switch f.state {
	case atRequest:
		if len(line) > 0 { // empty lines may stand before a request
			f.state, f.old = inHead, bytes.HasSuffix(line, []byte("HTTP/1.0"))
		}
		f.look(line)
	case inHead:
		if len(line) > 0 {
			f.header(line)
			return
		}
		f.endHead(whole)
	case atChunk:
		f.chunk(line)
	case inTrailer:
		if len(line) == 0 {
			f.begin()
		}
	}
}

func (f *framing) look(line []byte) {
	if bytes.IndexByte(line, 0) >= 0 {
		f.fault = "the head of the request holds a NUL"
	}
}

func (f *framing) header(line []byte) {
	if line[0] == ' ' || line[0] == '\t' {
		f.fault = "a header goes on in a second line"
		return
	}
	f.look(line)
	name, value, _ := bytes.Cut(line, []byte(":"))
	switch {
	case bytes.EqualFold(name, []byte("Content-Length")):
		f.length = string(bytes.TrimSpace(value))
	case bytes.EqualFold(name, []byte("Transfer-Encoding")):
		f.coding = true
	}
}

// endHead says what is wrong with the head and finds out what follows it.
func (f *framing) endHead(whole func(string)) {
	switch {
	case f.fault != "":
	case f.coding && f.length != "":
		f.fault = "the request has both a Content-Length and a Transfer-Encoding"
	case f.coding && f.old:
		f.fault = "a request of HTTP/1.0 has a Transfer-Encoding"
	}
	whole(f.fault)
	length, err := int64(0), error(nil)
	if f.length != "" {
		length, err = strconv.ParseInt(f.length, 10, 64)
	}
	switch {
	case f.fault != "" || err != nil || length < 0: // the server refuses it
		f.lose()
	case f.coding:
		f.state, f.size = atChunk, 0
	case length > 0:
		f.state, f.left = inBody, length
	default:
		f.begin()
	}
}

// chunk reads the line before a chunk.
func (f *framing) chunk(line []byte) {
	size, _, _ := strings.Cut(string(line), ";")
	n, err := strconv.ParseUint(strings.TrimSpace(size), 16, 62)
	switch {
	case err != nil: // the server refuses it
		f.lose()
	case n == 0:
		f.state, f.size = inTrailer, 0
	default:
		f.state, f.left = inChunk, int64(n)+2 // a line's end follows it
	}
}
