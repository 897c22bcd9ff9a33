package wire

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	defaultMaxBody = 8 << 20  // bytes, for operations that have no limit of their own
	firstBuffer    = 8 << 20  // bytes set aside at once on a client's word
	maxDrain       = 96 << 20 // bytes of a refused body that are read and thrown away
	drainTime      = 10 * time.Second
)

// maxBody returns the largest body that the request may have.
func (x *exchange) maxBody() int64 {
	switch {
	case x.plain != nil:
		return x.plain.maxBody
	case x.op != nil && x.op.maxBody > 0:
		return x.op.maxBody
	}
	return defaultMaxBody
}

func (x *exchange) tooLarge() *Error {
	if x.op != nil && x.op.tooLarge != nil {
		return x.op.tooLarge
	}
	message := "Request must be smaller than " + strconv.FormatInt(x.maxBody(), 10) + " bytes"
	if x.op != nil {
		message += " for the " + x.op.Name + " operation"
	}
	return &Error{Code: "RequestEntityTooLargeException", Status: http.StatusRequestEntityTooLarge, Message: message, own: true}
}

// readAll reads a whole body, at most as large as the operation takes.
func (x *exchange) readAll(body io.Reader) ([]byte, error) {
	limit, length := x.maxBody(), x.req.http.ContentLength
	if length > limit {
		return nil, x.tooLarge()
	}
	if length == 0 {
		// Nothing to read, but the reader may have something to say of that.
		_, err := body.Read(make([]byte, 1))
		return nil, broken(err)
	}
	var b bytes.Buffer
	// One byte more than the body lets ReadFrom see its end without growing.
	b.Grow(int(min(max(length, 512), firstBuffer)) + bytes.MinRead)
	if _, err := b.ReadFrom(io.LimitReader(body, limit+1)); err != nil {
		return nil, broken(err)
	}
	if int64(b.Len()) > limit {
		return nil, x.tooLarge()
	}
	return b.Bytes(), nil
}

// broken words an error of reading a body.
func broken(err error) error {
	var e *Error
	if err == nil || errors.Is(err, io.EOF) || errors.As(err, &e) {
		if e != nil {
			return e
		}
		return nil
	}
	return &Error{Code: "RequestTimeoutException", Status: http.StatusRequestTimeout, Message: "The request body could not be read to its end.", Err: err, own: true}
}

// decompress undoes a Content-Encoding that ends in gzip, which clients use for
// large requests of some operations, and takes it out of the header. A service
// that stores bodies as they are sent keeps both.
func (x *exchange) decompress(raw []byte) ([]byte, error) {
	h := x.req.http.Header
	encoding, found := strings.CutSuffix(h.Get("Content-Encoding"), "gzip")
	if !found || x.service == nil || x.service.BareErrors {
		return raw, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, serialization("the request body is not valid gzip")
	}
	limit := x.maxBody()
	b, err := io.ReadAll(io.LimitReader(z, limit+1))
	if err != nil {
		return nil, serialization("the request body is not valid gzip")
	}
	if int64(len(b)) > limit {
		return nil, x.tooLarge()
	}
	h.Del("Content-Encoding")
	if encoding = strings.TrimRight(encoding, ", "); encoding != "" {
		h.Set("Content-Encoding", encoding)
	}
	return b, nil
}

// drain reads what is left of a refused body, within bounds: a client that is
// still sending would otherwise see a broken connection and not the answer. A
// client that waits for leave to send is not given it.
func (x *exchange) drain() {
	r := x.req.http
	if x.whole || r.Body == nil || r.ContentLength == 0 || strings.EqualFold(r.Header.Get("Expect"), "100-continue") {
		return
	}
	// Not every ResponseWriter has deadlines; the bound on the size stays.
	_ = http.NewResponseController(x.w).SetReadDeadline(time.Now().Add(drainTime))
	n, err := io.CopyN(io.Discard, r.Body, maxDrain)
	if n == maxDrain && err == nil {
		x.w.Header().Set("Connection", "close")
	}
	_ = http.NewResponseController(x.w).SetReadDeadline(time.Time{})
}

// limitReader fails with over when more than left bytes come.
type limitReader struct {
	r    io.Reader
	left int64
	over *Error
}

// Read implements io.Reader.
func (l *limitReader) Read(p []byte) (int, error) {
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return n, l.over
	}
	return n, err
}
