package s3

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/valyala/fasthttp"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"
	"github.com/versity/versitygw/s3api/utils"
)

// Headers that tell the gateway what it can't see. Those that a client sends are
// dropped.
const (
	headerPrefix = "X-Mayfly-"
	headerBucket = headerPrefix + "Bucket" // that the request's host names
	headerSource = headerPrefix + "Source" // the client's IP address
	headerKey    = headerPrefix + "Key"    // the access key that it claims to hold
)

// rootAccess is the access key of the gateway's root. It has characters that no
// access key has, and its secret is known to nobody.
const rootAccess = "-"

// openGateway makes the gateway, whose requests are handed to it in this process:
// a connection of its own for each would be most of what a small one costs.
func (s *Store) openGateway(identity identity) error {
	utils.SetBucketNameValidationStrict(true)
	// Nobody is the gateway's root: its account is the node's.
	nobody := middlewares.RootUserConfig{Access: rootAccess, Secret: rand.Text()}
	server, err := s3api.New(s.backend, nobody, s.cfg.Region, identity, nil, nil, nil, nil,
		s3api.WithQuiet(), s3api.WithMpMaxParts(maxParts), s3api.WithConcurrencyLimiter(2*maxRequests, maxRequests),
		s3api.WithMiddleware("/", s.within))
	if err != nil {
		return fmt.Errorf("make the S3 gateway: %w", err)
	}
	f := reflect.ValueOf(server).Elem().FieldByName("app")
	if !f.IsValid() || f.Type() != reflect.TypeFor[*fiber.App]() {
		return errors.New("make the S3 gateway: this version of versitygw keeps its handler elsewhere")
	}
	s.gateway = (*fiber.App)(f.UnsafePointer()).Handler()
	s.quiet = slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug)
	return nil
}

// forward hands a request to the gateway. What signatures cover stays unchanged:
// method, path, query, host and headers; so does the body, which is read as it
// comes. bucket is what the host names, or "".
func (s *Store) forward(w http.ResponseWriter, r *http.Request, bucket, key string) {
	c := new(fasthttp.RequestCtx) // not used again: what was begun for it may outlast it
	c.Init2(noConn{}, s.quiet, true)
	head := requestHead(r, bucket, key)
	if err := c.Request.Header.Read(bufio.NewReaderSize(bytes.NewReader(head), len(head))); err != nil {
		s.cfg.Log.Debug("a request is not understood by the S3 gateway", "method", r.Method, "path", r.URL.Path, "err", err)
		refuse(w, r, http.StatusBadRequest, "InvalidRequest", "The request's header can't be read.")
		return
	}
	switch {
	case r.ContentLength == 0 && strings.EqualFold(r.Header.Get("Expect"), "100-continue"):
		// The server says so only when a body is read. botocore, which asks also before an
		// empty one, takes the answer otherwise, but waits for that of the next request forever.
		w.WriteHeader(http.StatusContinue)
	case r.ContentLength != 0:
		c.Request.SetBodyStream(r.Body, int(r.ContentLength)) // -1 is that of chunks for both
	}
	s.gateway(c)
	drain(r)
	s.answer(w, r, &c.Response)
}

// requestHead writes a request up to its body, as it would go over a connection:
// the gateway reads some of it in that form.
func requestHead(r *http.Request, bucket, key string) []byte {
	b := fmt.Appendf(make([]byte, 0, 2<<10), "%s %s HTTP/1.1\r\n", r.Method, r.URL.RequestURI())
	line := func(name, value string) { b = append(append(append(append(b, name...), ": "...), value...), "\r\n"...) }
	line("Host", r.Host)
	hop := connectionHeaders(r.Header)
	for name, values := range r.Header {
		if strings.HasPrefix(name, headerPrefix) || slices.Contains(hop, name) {
			continue
		}
		for _, v := range values {
			line(name, v)
		}
	}
	if bucket != "" {
		line(headerBucket, bucket)
	}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		line(headerSource, host)
	}
	line(headerKey, key)
	switch {
	case r.ContentLength < 0:
		line("Transfer-Encoding", "chunked")
	case r.ContentLength > 0, r.Method != http.MethodGet && r.Method != http.MethodHead:
		line("Content-Length", strconv.FormatInt(r.ContentLength, 10))
	}
	return append(b, "\r\n"...)
}

// connectionHeaders lists the headers of a message that are about its connection,
// or that its length and its body say themselves.
func connectionHeaders(h http.Header) []string {
	names := []string{"Connection", "Content-Length", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}
	for _, list := range h["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			names = append(names, textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)))
		}
	}
	return names
}

const metadata = "X-Amz-Meta-"

// answer writes the gateway's answer as its own server would.
func (s *Store) answer(w http.ResponseWriter, r *http.Request, resp *fasthttp.Response) {
	defer resp.CloseBodyStream()
	stream, code := resp.BodyStream(), resp.StatusCode()
	bodiless := r.Method == http.MethodHead || code < http.StatusOK || code == http.StatusNoContent || code == http.StatusNotModified
	if stream == nil && (!bodiless || len(resp.Body()) > 0) {
		resp.Header.SetContentLength(len(resp.Body()))
	}
	head, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(fields(&resp.Header)))).ReadMIMEHeader()
	if err != nil {
		s.cfg.Log.Warn("the S3 gateway gave no answer", "method", r.Method, "path", r.URL.Path, "err", err)
		refuse(w, r, http.StatusServiceUnavailable, "ServiceUnavailable", "The object store does not answer. Please try again.")
		return
	}
	s.copyHeader(w.Header(), http.Header(head))
	if n := head.Get("Content-Length"); n != "" {
		w.Header().Set("Content-Length", n)
	}
	w.WriteHeader(code)
	switch {
	case bodiless:
	case stream == nil:
		_, err = w.Write(resp.Body())
	default:
		if n := resp.Header.ContentLength(); n >= 0 {
			stream = io.LimitReader(stream, int64(n))
		}
		b := s.buffers.Get().(*[copyBuffer]byte)
		_, err = io.CopyBuffer(struct{ io.Writer }{w}, stream, b[:])
		s.buffers.Put(b)
	}
	if err != nil { // the client must not take it for the whole
		if r.Context().Err() == nil {
			s.cfg.Log.Debug("an object could not be sent to its end", "path", r.URL.Path, "err", err)
		}
		panic(http.ErrAbortHandler)
	}
}

// fields returns the lines of a header after the first.
func fields(h *fasthttp.ResponseHeader) []byte {
	_, b, _ := bytes.Cut(h.Header(), []byte("\r\n"))
	return b
}

// copyHeader copies what an answer says to the client. The names of the owner's
// metadata are written as S3 does, in lower case: some clients show them as they are.
func (s *Store) copyHeader(to, from http.Header) {
	hop := connectionHeaders(from)
	for name, values := range from {
		switch {
		case slices.Contains(hop, name), name == "Server", name == "Date":
			continue
		case strings.HasPrefix(name, metadata):
			name = strings.ToLower(name)
		}
		if strings.HasPrefix(name, "X-Amz-") && len(values) > 1 && values[0] == values[1] { // the gateway sets some twice
			values = values[:1]
		}
		to[name] = values
	}
}

// copyBuffer is the size of the buffers that bodies are copied with.
const copyBuffer = 64 << 10

func newBuffers() *sync.Pool { return &sync.Pool{New: func() any { return new([copyBuffer]byte) }} }

// noConn stands for a connection, of which the gateway sets deadlines: the node's
// server looks after its own.
type noConn struct{ net.Conn }

func (noConn) RemoteAddr() net.Addr            { return &net.TCPAddr{} }
func (noConn) LocalAddr() net.Addr             { return &net.TCPAddr{} }
func (noConn) Close() error                    { return nil }
func (noConn) SetDeadline(time.Time) error     { return nil }
func (noConn) SetReadDeadline(time.Time) error { return nil }

// within has the gateway handle a request in the store's directory, after it has
// put the bucket that the host names into the path.
func (s *Store) within(c fiber.Ctx) (err error) {
	if bucket := c.Get(headerBucket); bucket != "" {
		raw := string(c.Request().URI().PathOriginal())
		signed, err := url.PathUnescape(raw)
		if err != nil {
			return err
		}
		c.Locals("original-uri-path", signed) // where the gateway looks for what was signed
		if raw == "/" {
			raw = ""
		}
		c.Path("/" + bucket + raw)
	}
	if wrong := checkNames(c); wrong != nil {
		id, host := utils.EnsureRequestIDs(c)
		c.Response().Header.SetContentType(fiber.MIMEApplicationXML)
		return c.Status(wrong.StatusCode()).Send(wrong.XMLBody(id, host))
	}
	if refused := s.cwd.do(func() { err = c.Next() }); refused != nil {
		return refused
	}
	if err == nil && c.Response().StatusCode() < http.StatusMultipleChoices && changes(c.Method()) && c.RequestCtx().UserValue(onDisk) == nil {
		s.syncNamed(c.Path())
	}
	return err
}

// maxDrain bounds what is read of a body that a request did not need, in bytes.
const maxDrain = 96 << 20

// drain reads what is left of a request's body, as of one that was refused or that
// makes a directory. A client that is still writing would otherwise see a broken
// connection and not the answer; one that waits to be told to write would write when
// its next request is expected.
func drain(r *http.Request) {
	_, _ = io.CopyN(io.Discard, r.Body, maxDrain) // it ends early, as it should
}

// changes reports whether requests of the method may change something.
func changes(method string) bool {
	return method != http.MethodGet && method != http.MethodHead && method != http.MethodOptions
}
