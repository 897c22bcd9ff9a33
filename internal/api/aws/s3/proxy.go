package s3

import (
	"crypto/rand"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v3"
)

// Headers by which the proxy tells the gateway what it can't see. Those that a
// client sends are dropped.
const (
	headerPrefix = "X-Mayfly-"
	headerBucket = headerPrefix + "Bucket" // that the request's host names
	headerSource = headerPrefix + "Source" // the client's IP address
	headerKey    = headerPrefix + "Key"    // the access key that it claims to hold
)

// rootAccess is the access key of the gateway's root. It has characters that no
// access key has, and its secret is known to nobody.
const rootAccess = "-"

func randomSecret() string { return rand.Text() }

const proxyBuffer = 64 << 10

// buffers lends the buffers that bodies are copied with.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, proxyBuffer)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }

// openProxy makes the way from the node's port to the gateway. What signatures
// cover passes unchanged: method, path, query, host and headers; so does the body,
// as it comes.
func (s *Store) openProxy() {
	s.conns = &http.Transport{
		DialContext: s.dial, DisableCompression: true, MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute,
		ExpectContinueTimeout: time.Second, WriteBufferSize: proxyBuffer, ReadBufferSize: proxyBuffer,
	}
	s.proxy = &httputil.ReverseProxy{
		Transport: s.conns, BufferPool: &buffers{},
		ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = "http", "s3"
			p.Out.URL.RawQuery = p.In.URL.RawQuery
			p.Out.Host = p.In.Host
		},
		ModifyResponse: func(r *http.Response) error {
			r.Header.Del("Server")
			for name, values := range r.Header { // the gateway sets some twice
				if strings.HasPrefix(name, "X-Amz-") && len(values) > 1 && values[0] == values[1] {
					r.Header[name] = values[:1]
				}
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() == nil {
				s.cfg.Log.Warn("the S3 gateway did not answer", "method", r.Method, "path", r.URL.Path, "err", err)
			}
			refuse(w, r, http.StatusServiceUnavailable, "ServiceUnavailable", "The object store does not answer. Please try again.")
		},
	}
}

// forward passes a request on to the gateway. bucket is what its host names, or "".
func (s *Store) forward(w http.ResponseWriter, r *http.Request, bucket, key string) {
	r = r.Clone(r.Context())
	for name := range r.Header {
		if strings.HasPrefix(name, headerPrefix) {
			r.Header.Del(name)
		}
	}
	if bucket != "" {
		r.Header.Set(headerBucket, bucket)
	}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		r.Header.Set(headerSource, host)
	}
	r.Header.Set(headerKey, key)
	s.proxy.ServeHTTP(answer{w}, r)
}

// answer writes the names of the owner's metadata as S3 does, in lower case: some
// clients show them as they are written.
type answer struct{ http.ResponseWriter }

const metadata = "X-Amz-Meta-"

// WriteHeader implements http.ResponseWriter.
func (a answer) WriteHeader(status int) {
	h := a.Header()
	for name, values := range h {
		if strings.HasPrefix(name, metadata) {
			delete(h, name)
			h[strings.ToLower(name)] = values
		}
	}
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (a answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// within has the gateway handle a request on a thread whose working directory is
// the store's, after it has put the bucket that the host names into the path.
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
	if refused := s.cwd.do(c.RequestCtx(), func() { err = c.Next() }); refused != nil {
		return refused
	}
	if err != nil || c.Response().StatusCode() >= http.StatusMultipleChoices {
		drain(c)
	}
	if c.Request().Header.ContentLength() == chunked {
		// What is left of it would be read as the next request.
		c.Response().Header.SetConnectionClose()
	}
	if err == nil && c.Response().StatusCode() < http.StatusMultipleChoices && changes(c.Method()) && c.RequestCtx().UserValue(onDisk) == nil {
		s.syncNamed(c.Path())
	}
	return err
}

// chunked is fasthttp's word for the length of a body that comes in chunks.
const chunked = -1

// maxDrain bounds what is read of the body of a refused request, in bytes.
const maxDrain = 96 << 20

// drain reads what is left of a refused request's body: the proxy, which is still
// writing, would otherwise see a broken connection and not the answer.
func drain(c fiber.Ctx) {
	body := c.Request().BodyStream()
	if body == nil || c.Request().Header.ContentLength() <= 0 { // of a chunked one the end can't be read twice
		return
	}
	_, _ = io.CopyN(io.Discard, body, maxDrain) // it ends early, as it should
}

// changes reports whether requests of the method may change something.
func changes(method string) bool {
	return method != http.MethodGet && method != http.MethodHead && method != http.MethodOptions
}
