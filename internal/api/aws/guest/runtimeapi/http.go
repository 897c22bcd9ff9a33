package runtimeapi

import (
	"bytes"
	"strconv"
)

// Limits of what a client may send. A head may be larger than the values that are
// kept of it: clients of AWS's put an error's whole stack into a field for X-Ray.
const (
	maxHead    = 64 << 10 // request line and header, and again for trailers
	maxValue   = 8 << 10  // a path, or a field's value, that is kept
	maxSizeRow = 1 << 10  // one chunk-size line
)

// httpError is a request that can't be served; the connection ends after it.
type httpError struct {
	status string
	words  string
}

var (
	errBadRequest = &httpError{"400 Bad Request", "malformed HTTP request"}
	errPipelined  = &httpError{"400 Bad Request", "a request came before the last one was answered"}
	errHeadSize   = &httpError{"431 Request Header Fields Too Large", "header over 64 KiB"}
	errValueSize  = &httpError{"431 Request Header Fields Too Large", "header field over 8 KiB"}
	errCoding     = &httpError{"501 Not Implemented", "unsupported Transfer-Encoding"}
	errMemory     = &httpError{"503 Service Unavailable", "the connections hold too much"}
)

// request is what the Runtime API needs to know of an HTTP request.
type request struct {
	method, path string // path without query
	close        bool   // the client wants no further request on the connection
	expect       bool   // waits for 100 Continue before it sends the body
	errorType    string // Lambda-Runtime-Function-Error-Type, from header or trailer
	mode         string // Lambda-Runtime-Function-Response-Mode
	errorBody    string // Lambda-Runtime-Function-Error-Body, from the trailer
	contentType  string
	body         []byte // valid until the parser's next reset
	tooLarge     bool   // the body was over the limit and has been dropped
}

type parsing uint8

const (
	inHead parsing = iota
	inBody
	inChunkSize
	inChunk
	inChunkEnd
	inTrailer
	complete
)

// parser reads HTTP/1.1 requests from one connection, piece by piece. Its memory
// is counted against room, which the parsers of all connections share.
type parser struct {
	limit int // most bytes of a body that are kept
	room  *room

	held    []byte // received and not consumed, between two calls of feed
	in      []byte // the same within one
	scanned int    // bytes of in that are known to hold no end of what is looked for
	phase   parsing
	left    int64 // bytes of the body, or of its chunk, still to come
	flows   bool  // the body is taken away as it comes: no limit holds for it
	body    []byte
	req     request
}

// room is how much memory parsers may hold together, in bytes.
type room struct{ left int }

// grow returns b with space for n more bytes, and at least twice the space it had
// unless that is over most.
func (r *room) grow(b []byte, n, most int) ([]byte, *httpError) {
	if n <= cap(b)-len(b) {
		return b, nil
	}
	size := max(len(b)+n, min(2*cap(b), most))
	if size-cap(b) > r.left {
		return b, errMemory
	}
	r.left -= size - cap(b)
	return append(make([]byte, 0, size), b...), nil
}

// release returns b's space.
func (r *room) release(b []byte) { r.left += cap(b) }

// feed takes received bytes and returns true once req is complete. Bytes of a
// following request stay for the time after reset. It keeps nothing of data.
func (p *parser) feed(data []byte) (bool, *httpError) {
	p.in = data
	if len(p.held) > 0 {
		held, err := p.room.grow(p.held, len(data), maxHead+p.limit)
		if err != nil {
			return false, err
		}
		p.held = append(held, data...)
		p.in = p.held
	}
	done, err := p.advance()
	if err != nil {
		return false, err
	}
	return done, p.keep()
}

// keep holds on to what has not been consumed.
func (p *parser) keep() (err *httpError) {
	switch {
	case len(p.in) == 0 && cap(p.held) > keepSpace:
		p.room.release(p.held)
		p.held = nil
	case len(p.held) > 0: // in is its end
		p.held = p.held[:copy(p.held, p.in)]
	default:
		if p.held, err = p.room.grow(p.held[:0], len(p.in), 0); err == nil {
			p.held = append(p.held, p.in...)
		}
	}
	p.in = nil
	return err
}

// keepSpace is how much space a connection keeps for its next request.
const keepSpace = 16 << 10

// more reports whether bytes of a following request have come. Some clients send
// an empty line after a body.
func (p *parser) more() bool { return len(bytes.Trim(p.held, "\r\n")) > 0 }

// close lets go of all memory.
func (p *parser) close() {
	p.room.release(p.held)
	p.room.release(p.body)
	p.held, p.body = nil, nil
}

func (p *parser) advance() (bool, *httpError) {
	for {
		var more bool
		var err *httpError
		switch p.phase {
		case inHead:
			more, err = p.head()
		case inBody, inChunk:
			more, err = p.take()
		case inChunkSize:
			more, err = p.chunkSize()
		case inChunkEnd:
			more, err = p.chunkEnd()
		case inTrailer:
			more, err = p.trailer()
		case complete:
			p.req.body = p.body
			return true, nil
		}
		if err != nil {
			return false, err
		}
		if more {
			return false, nil
		}
	}
}

// reset makes ready for the next request.
func (p *parser) reset() {
	if cap(p.body) > keepSpace {
		p.room.release(p.body)
		p.body = nil
	}
	*p = parser{limit: p.limit, room: p.room, held: p.held, body: p.body[:0]}
}

// awaitsBody reports whether the head is read and the body is not.
func (p *parser) awaitsBody() bool { return p.phase != inHead && p.phase != complete }

// Each step below consumes what it can, sets the phase that follows, and
// reports whether it needs more input to go on.

func (p *parser) head() (more bool, err *httpError) {
	for bytes.HasPrefix(p.in, []byte("\r\n")) { // RFC 9112, 2.2: ignore empty lines before a request
		p.consume(2)
	}
	end := p.find("\r\n\r\n")
	if end > maxHead || end < 0 && len(p.in) > maxHead {
		return false, errHeadSize
	}
	if end < 0 {
		return true, nil
	}
	line, rest, _ := bytes.Cut(p.in[:end+2], []byte("\r\n"))
	http10, err := p.requestLine(line)
	if err != nil {
		return false, err
	}
	length, chunked, err := p.fields(rest, http10)
	if err != nil {
		return false, err
	}
	p.consume(end + 4)
	if chunked && p.req.mode == "" && isReader(p.req.contentType) {
		p.req.mode = streamed
	}
	p.flows = p.req.mode == streamed
	switch {
	case chunked:
		p.phase = inChunkSize
	case length > 0:
		p.phase, p.left = inBody, length
	default:
		p.phase = complete
	}
	return false, nil
}

// streamed is the response mode of an answer that is passed on in parts.
const streamed = "streaming"

// isReader reports whether a content type is one of those that aws-lambda-go gives
// to what it reads from a function's io.Reader. It names no response mode, and
// expects such an answer to be passed on as it comes.
func isReader(contentType string) bool {
	return contentType == "application/vnd.awslambda.http-integration-response" || contentType == "application/octet-stream"
}

func (p *parser) requestLine(line []byte) (http10 bool, err *httpError) {
	method, rest, ok := bytes.Cut(line, []byte(" "))
	target, version, ok2 := bytes.Cut(rest, []byte(" "))
	if !ok || !ok2 || !isToken(method) || len(target) == 0 || hasControl(target) {
		return false, errBadRequest
	}
	switch string(version) {
	case "HTTP/1.1":
	case "HTTP/1.0":
		http10 = true
	default:
		return false, errBadRequest
	}
	if after, absolute := bytes.CutPrefix(target, []byte("http://")); absolute {
		slash := bytes.IndexByte(after, '/')
		if slash < 0 {
			return false, errBadRequest
		}
		target = after[slash:]
	}
	target, _, _ = bytes.Cut(target, []byte("?"))
	if len(target) > maxValue {
		return false, errValueSize
	}
	p.req.method, p.req.path, p.req.close = string(method), string(target), http10
	return http10, nil
}

func (p *parser) fields(lines []byte, http10 bool) (length int64, chunked bool, err *httpError) {
	length = -1
	for len(lines) > 0 {
		var name, value []byte
		if name, value, lines, err = cutField(lines); err != nil {
			return 0, false, err
		}
		switch {
		case equalFold(name, "content-length"):
			n, perr := strconv.ParseUint(string(value), 10, 62)
			if perr != nil || length >= 0 && length != int64(n) {
				return 0, false, errBadRequest
			}
			length = int64(n)
		case equalFold(name, "transfer-encoding"):
			if !equalFold(value, "chunked") || http10 {
				return 0, false, errCoding
			}
			if chunked {
				return 0, false, errBadRequest
			}
			chunked = true
		case equalFold(name, "connection"):
			if hasToken(value, "close") {
				p.req.close = true
			} else if hasToken(value, "keep-alive") {
				p.req.close = false
			}
		case equalFold(name, "expect"):
			p.req.expect = equalFold(value, "100-continue")
		default:
			if err = p.note(name, value); err != nil {
				return 0, false, err
			}
		}
	}
	if chunked && length >= 0 {
		return 0, false, errBadRequest
	}
	return length, chunked, nil
}

// note keeps a field that the Runtime API defines, from the header or a trailer.
func (p *parser) note(name, value []byte) *httpError {
	var to *string
	switch {
	case equalFold(name, "lambda-runtime-function-error-body"):
		p.req.errorBody = string(value) // a document: feed bounds it
		return nil
	case equalFold(name, "lambda-runtime-function-error-type"):
		to = &p.req.errorType
	case equalFold(name, "lambda-runtime-function-response-mode"):
		to = &p.req.mode
	case equalFold(name, "content-type"):
		to = &p.req.contentType
	default:
		return nil
	}
	if len(value) > maxValue {
		return errValueSize
	}
	*to = string(value)
	return nil
}

func (p *parser) chunkSize() (more bool, err *httpError) {
	end := p.find("\r\n")
	if end > maxSizeRow || end < 0 && len(p.in) > maxSizeRow {
		return false, errBadRequest
	}
	if end < 0 {
		return true, nil
	}
	size, _, _ := bytes.Cut(p.in[:end], []byte(";")) // extensions mean nothing to us
	n, perr := strconv.ParseUint(string(bytes.TrimRight(size, " \t")), 16, 62)
	if perr != nil {
		return false, errBadRequest
	}
	p.consume(end + 2)
	p.left, p.phase = int64(n), inChunk
	if n == 0 {
		p.phase = inTrailer
	}
	return false, nil
}

func (p *parser) take() (more bool, err *httpError) {
	n := int(min(p.left, int64(len(p.in))))
	if !p.flows && len(p.body)+n > p.limit {
		p.req.tooLarge = true
	}
	if p.req.tooLarge {
		p.room.release(p.body)
		p.body = nil
	} else {
		want := n
		if p.phase == inBody && !p.flows && p.left <= int64(p.limit) { // don't copy it as it grows
			want = int(p.left)
		}
		if p.body, err = p.room.grow(p.body, want, p.limit); err != nil {
			return false, err
		}
		p.body = append(p.body, p.in[:n]...)
	}
	p.consume(n)
	if p.left -= int64(n); p.left > 0 {
		return true, nil
	}
	if p.phase == inBody {
		p.phase = complete
	} else {
		p.phase = inChunkEnd
	}
	return false, nil
}

func (p *parser) chunkEnd() (more bool, err *httpError) {
	if len(p.in) < 2 {
		return true, nil
	}
	if p.in[0] != '\r' || p.in[1] != '\n' {
		return false, errBadRequest
	}
	p.consume(2)
	p.phase = inChunkSize
	return false, nil
}

func (p *parser) trailer() (more bool, err *httpError) {
	if bytes.HasPrefix(p.in, []byte("\r\n")) {
		p.consume(2)
		p.phase = complete
		return false, nil
	}
	end := p.find("\r\n\r\n")
	if limit := maxHead + p.limit; end > limit || end < 0 && len(p.in) > limit { // an error body may be in it
		return false, errHeadSize
	}
	if end < 0 {
		return true, nil
	}
	for lines := p.in[:end+2]; len(lines) > 0; {
		var name, value []byte
		if name, value, lines, err = cutField(lines); err != nil {
			return false, err
		}
		if err = p.note(name, value); err != nil {
			return false, err
		}
	}
	p.consume(end + 4)
	p.phase = complete
	return false, nil
}

func (p *parser) consume(n int) { p.in, p.scanned = p.in[n:], 0 }

// find returns where in begins to hold end, or -1. It looks at no byte of a slow
// client's again.
func (p *parser) find(end string) int {
	from := max(p.scanned-len(end)+1, 0)
	if i := bytes.Index(p.in[from:], []byte(end)); i >= 0 {
		return from + i
	}
	p.scanned = len(p.in)
	return -1
}

// cutField returns the first field of lines, each of which ends with CRLF.
func cutField(lines []byte) (name, value, rest []byte, err *httpError) {
	line, rest, _ := bytes.Cut(lines, []byte("\r\n"))
	name, value, ok := bytes.Cut(line, []byte(":"))
	value = bytes.Trim(value, " \t")
	if !ok || !isToken(name) || hasControl(value) {
		return nil, nil, nil, errBadRequest
	}
	return name, value, rest, nil
}

func hasControl(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}

func isToken(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f || bytes.IndexByte([]byte(`"(),/:;<=>?@[\]{}`), c) >= 0 {
			return false
		}
	}
	return len(b) > 0
}

// equalFold reports whether b is s, which is in lower case, without regard to case.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != s[i] {
			return false
		}
	}
	return true
}

func hasToken(list []byte, token string) bool {
	for len(list) > 0 {
		var item []byte
		item, list, _ = bytes.Cut(list, []byte(","))
		if equalFold(bytes.Trim(item, " \t"), token) {
			return true
		}
	}
	return false
}
