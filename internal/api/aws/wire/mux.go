package wire

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"

	"github.com/google/uuid"
)

// MaxHeaderBytes is what the server in front of a Mux should accept for the
// request line and headers together.
const MaxHeaderBytes = 64 << 10

// Mux leads requests to services by the service name in their signature. It
// verifies the signature first: no handler sees an unsigned request. It is
// safe for concurrent use once all services are registered.
type Mux struct {
	auth     *Authenticator
	log      *slog.Logger
	services map[string]*Service
	plain    map[string]plain
	permits  func(c Caller, operation string) bool // nil permits all
}

// plain is a handler that does its own decoding.
type plain struct {
	handler http.Handler
	maxBody int64
}

// NewMux returns a Mux without services.
func NewMux(auth *Authenticator, log *slog.Logger) *Mux {
	return &Mux{auth: auth, log: log, services: map[string]*Service{}, plain: map[string]plain{}}
}

// Register adds a service. Call it before the first request.
func (m *Mux) Register(s *Service) {
	s.prepare()
	m.services[s.Name] = s
}

// HandleHTTP adds a handler for requests that are signed for the service name:
// for doors that speak no AWS protocol. Its bodies hold at most maxBody bytes.
// Call it before the first request.
func (m *Mux) HandleHTTP(name string, maxBody int64, h http.Handler) {
	m.plain[name] = plain{h, maxBody}
}

// Restrict has permits decide what callers may do. operation is as the service's
// model names it, and "" for a handler without operations. Call it before the
// first request.
func (m *Mux) Restrict(permits func(c Caller, operation string) bool) { m.permits = permits }

// authorize returns the error for a caller who may not do what the request asks.
func (x *exchange) authorize(c Caller) error {
	operation := ""
	if x.op != nil {
		operation = x.op.Name
	}
	if x.mux.permits == nil || x.mux.permits(c, operation) {
		return nil
	}
	return &Error{
		Code: "AccessDeniedException", Status: http.StatusForbidden, own: true,
		Message: "User: " + c.Principal + " is not authorized to perform: " + c.Service + ":" + operation + " because no identity-based policy allows the action",
	}
}

// meta is what a context knows of its request.
type meta struct {
	id     string
	caller Caller
	http   *http.Request
}

type metaKey struct{}

// RequestID returns the id of the request that ctx belongs to, which is also
// in the answer's headers; "" outside of a request.
func RequestID(ctx context.Context) string {
	m, _ := ctx.Value(metaKey{}).(*meta)
	if m == nil {
		return ""
	}
	return m.id
}

// HTTPRequest returns the request that ctx belongs to, for what no shape tells:
// its host, and headers that are not modelled. Its body has been read. It is
// nil outside of a request.
func HTTPRequest(ctx context.Context) *http.Request {
	m, _ := ctx.Value(metaKey{}).(*meta)
	if m == nil {
		return nil
	}
	return m.http
}

// CallerOf returns who signed the request that ctx belongs to.
func CallerOf(ctx context.Context) Caller {
	m, _ := ctx.Value(metaKey{}).(*meta)
	if m == nil {
		return Caller{}
	}
	return m.caller
}

// ServeHTTP implements http.Handler.
func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{mux: m, w: w, req: &request{http: r, id: uuid.NewString(), protocol: RESTJSON}}
	defer x.recover()
	if err := x.serve(); err != nil {
		x.fail(err)
	}
}

// exchange is one request and its answer.
type exchange struct {
	mux     *Mux
	w       http.ResponseWriter
	req     *request
	service *Service // nil until it is known
	plain   *plain
	op      *Operation // nil if the request names none that is served
	whole   bool       // the body has been read to its end
	ctx     context.Context
}

// recover answers a panic of a handler with an internal error. One that is
// meant to break the connection goes on.
func (x *exchange) recover() {
	switch v := recover(); {
	case v == nil:
	case v == any(http.ErrAbortHandler):
		panic(v)
	default:
		x.mux.log.Error("a handler panicked", "request", x.req.id, "path", x.req.path, "panic", v, "stack", string(debug.Stack()))
		x.fail(internalFailure(nil))
	}
}

// serve takes a request through: which service, which operation, who calls,
// what body, decode, call, encode. The error it returns is not yet answered.
func (x *exchange) serve() error {
	r := x.req.http
	x.req.path = sentPath(r)
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return serialization("the query of the URL can't be parsed: %v", err)
	}
	x.req.query = query
	sig, refused := parseSignature(r, query)
	if refused != nil {
		x.guess()
		return refused
	}
	x.choose(sig.service)
	t, err := x.mux.auth.begin(r, sig, x.req.path, query)
	if err != nil {
		return err
	}
	if err := x.receive(t); err != nil {
		return err
	}
	if err := x.authorize(t.caller); err != nil {
		return err
	}
	x.ctx = context.WithValue(r.Context(), metaKey{}, &meta{id: x.req.id, caller: t.caller, http: r})
	switch {
	case x.plain != nil:
		return x.hand()
	case x.service == nil:
		return unknownService(sig.service)
	case x.op == nil:
		return x.unknownOperation()
	}
	return x.call()
}

type leadKey struct{}

// Lead returns r such that a Mux chooses its operation as if path, escaped, had
// been sent. The signature still has to cover the path that was: for services
// that let the host name a part of it.
func Lead(r *http.Request, path string) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), leadKey{}, path))
}

// leadPath returns the path by which the request's operation is chosen.
func (x *exchange) leadPath() string {
	if path, ok := x.req.http.Context().Value(leadKey{}).(string); ok {
		return path
	}
	return x.req.path
}

// sentPath returns the request's path as the client sent it, escaped.
func sentPath(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		path, _, _ := strings.Cut(r.RequestURI, "?")
		return path
	}
	return r.URL.EscapedPath()
}

// guess chooses a protocol for the answer to a request that names no service.
func (x *exchange) guess() {
	h := x.req.http.Header
	switch {
	case h.Get("X-Amz-Target") != "":
		x.req.protocol = JSON10
	case isForm(h):
		x.req.protocol = Query
	}
}

func isForm(h http.Header) bool {
	return strings.HasPrefix(h.Get("Content-Type"), "application/x-www-form-urlencoded")
}

// choose finds service, protocol and, unless the body names it, the operation.
// Without a service it goes on, so that only who can sign learns what is here.
func (x *exchange) choose(name string) {
	if p, ok := x.mux.plain[name]; ok {
		x.plain = &p
		return
	}
	s := x.mux.services[name]
	if s == nil {
		x.guess()
		return
	}
	x.service = s
	r := x.req
	r.protocol = s.protocolOf(r.http, r.query)
	switch r.protocol {
	case JSON10, JSON11:
		prefix, op, ok := cutLast(r.http.Header.Get("X-Amz-Target"), '.')
		if ok && prefix == s.TargetPrefix {
			x.op = s.byName[op]
		}
	case Query:
		x.op = s.byName[r.query.Get("Action")]
	default:
		x.op, r.labels = s.routes.match(r.http.Method, x.leadPath(), r.query, r.http.Header)
	}
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// protocolOf returns the protocol that a request speaks.
func (s *Service) protocolOf(r *http.Request, query url.Values) Protocol {
	if len(s.Protocols) == 1 {
		return s.Protocols[0]
	}
	target := r.Header.Get("X-Amz-Target") != ""
	for _, p := range s.Protocols {
		switch p {
		case JSON10, JSON11:
			if target {
				return p
			}
		case Query:
			if !target && (isForm(r.Header) || query.Has("Action")) {
				return p
			}
		}
	}
	return s.Protocols[0]
}

// receive reads the body and verifies the signature, in the order that the
// kind of payload allows.
func (x *exchange) receive(t *attempt) error {
	var rules SigningRules
	if x.service != nil {
		rules = x.service.Signing
	}
	switch declared := t.payload; {
	case strings.HasPrefix(declared, "STREAMING-"):
		return x.receiveChunks(t, rules)
	case declared == unsignedPayload, declared == "" && t.presigned && rules.UnsignedPayload:
		if !rules.UnsignedPayload {
			return refuse("InvalidSignatureException", "An unsigned payload is not accepted here. Sign the hash of the body.")
		}
		if err := asError(t.verify(unsignedPayload, rules)); err != nil {
			return err
		}
		return x.readBody(x.req.http.Body)
	case declared != "":
		// The signature covers the hash that the client gave, so it is checked
		// before the body is let in.
		if err := asError(t.verify(declared, rules)); err != nil {
			return err
		}
		body := io.Reader(&hashReader{r: x.req.http.Body, sum: sha256.New(), want: declared})
		return x.readBody(body)
	case x.op != nil && x.op.streams():
		return &Error{Code: "InvalidRequest", Message: "Missing required header for this request: x-amz-content-sha256", own: true}
	}
	raw, err := x.readAll(x.req.http.Body)
	if err != nil {
		return err
	}
	if err := asError(t.verify(hexSHA256(raw), rules)); err != nil {
		return err
	}
	return x.accept(raw)
}

// asError keeps a nil *Error from becoming an error that is not nil.
func asError(e *Error) error {
	if e == nil {
		return nil
	}
	return e
}

func (x *exchange) receiveChunks(t *attempt, rules SigningRules) error {
	known := t.payload == streamingSigned || t.payload == streamingTrailer || t.payload == streamingUnsigned
	if !known || !rules.Streaming {
		return refuse("InvalidSignatureException", "The payload form '"+printable(t.payload)+"' is not accepted here.")
	}
	if err := asError(t.verify(t.payload, rules)); err != nil {
		return err
	}
	r := x.req.http
	if r.Trailer == nil {
		r.Trailer = http.Header{}
	}
	return x.readBody(newChunkReader(r.Body, t, r.Trailer))
}

// readBody takes in a body that verifies itself: whole, or for an operation
// that streams as a reader.
func (x *exchange) readBody(body io.Reader) error {
	if x.op != nil && x.op.streams() {
		if x.op.maxBody > 0 {
			body = &limitReader{r: body, left: x.op.maxBody, over: x.tooLarge()}
		}
		x.req.stream = body
		return nil
	}
	raw, err := x.readAll(body)
	if err != nil {
		return err
	}
	return x.accept(raw)
}

// accept takes a whole, verified body: it undoes compression and, for the
// query protocol, finds the operation in it.
func (x *exchange) accept(raw []byte) error {
	x.whole = true
	var err error
	if x.plain == nil {
		if raw, err = x.decompress(raw); err != nil {
			return err
		}
	}
	x.req.body = raw
	if x.req.protocol != Query || x.service == nil {
		return nil
	}
	if x.req.form, err = url.ParseQuery(string(raw)); err != nil {
		return serialization("the form in the body can't be parsed: %v", err)
	}
	for k, v := range x.req.query {
		x.req.form[k] = append(x.req.form[k], v...)
	}
	x.op = x.service.byName[x.req.form.Get("Action")]
	return nil
}

// hand gives the request to a handler that does its own decoding.
func (x *exchange) hand() error {
	r := x.req.http.WithContext(x.ctx)
	r.Body = io.NopCloser(bytes.NewReader(x.req.body))
	r.ContentLength = int64(len(x.req.body))
	x.w.Header().Set("X-Amzn-Requestid", x.req.id)
	x.plain.handler.ServeHTTP(x.w, r)
	return nil
}

// call decodes the input, calls the handler and answers.
func (x *exchange) call() error {
	in := x.op.Handler.New()
	if err := decode(x.req, in); err != nil {
		return err
	}
	out, err := x.op.Handler.Call(x.ctx, in)
	if err != nil {
		return err
	}
	res, err := x.service.encode(x.req, x.op, out, x.w.Header())
	if err != nil {
		return err
	}
	x.w.Header().Set(x.service.requestIDHeader(), x.req.id)
	if res.events != nil {
		return x.sendEvents(res)
	}
	res.send(x.w, x.req.http)
	return nil
}

func (s *Service) requestIDHeader() string {
	if s != nil && s.BareErrors {
		return "X-Amz-Request-Id"
	}
	return "X-Amzn-Requestid"
}

// fail answers with an error. What the caller is not told goes to the log.
func (x *exchange) fail(err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = internalFailure(err)
	}
	if e.own {
		e = x.service.reword(x.req.protocol, e)
	}
	res := x.service.encodeError(x.req, e, x.w.Header())
	if res.status >= 500 && x.req.http.Context().Err() == nil {
		x.mux.log.Error("a request failed", "request", x.req.id, "operation", x.operationName(), "code", e.Code, "error", err)
	}
	x.w.Header().Set(x.service.requestIDHeader(), x.req.id)
	x.drain()
	res.send(x.w, x.req.http)
}

func (x *exchange) operationName() string {
	if x.op != nil {
		return x.op.Name
	}
	return x.req.http.Method + " " + x.req.path
}

func internalFailure(err error) *Error {
	return &Error{Code: "InternalFailure", Status: http.StatusInternalServerError, Message: "An error occurred and the request cannot be processed.", Err: err, own: true}
}

func unknownService(name string) *Error {
	return &Error{Code: "UnknownOperationException", Status: http.StatusNotFound, Message: "This node does not offer the service '" + printable(name) + "'.", own: true}
}

func (x *exchange) unknownOperation() *Error {
	what := x.req.http.Method + " " + x.req.path
	switch x.req.protocol {
	case JSON10, JSON11:
		what = x.req.http.Header.Get("X-Amz-Target")
	case Query:
		what = x.req.form.Get("Action")
	}
	return &Error{
		Code: "UnknownOperationException", Status: http.StatusNotFound,
		Message: "'" + printable(what) + "' is not an operation that this node offers for " + x.service.Name + ".", own: true,
	}
}
