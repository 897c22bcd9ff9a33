package invoke

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"strconv"
	"sync"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/meter"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

// ServesHTTP reports whether a version is a web server, which takes requests as
// they are: see ServeWeb.
func (n *Invoker) ServesHTTP(name, qualifier string) bool {
	v, err := n.cfg.Functions.Lookup(name, qualifier)
	return err == nil && v.Web != nil
}

// ServeWeb passes an HTTP request on to a function that is a web server, and its
// answer back while it is made; protocols that begin with an upgrade, such as
// WebSocket, pass too. The path of req's URL is the one that the server sees. The
// function's time limit holds for the whole exchange. Of r only Function,
// Qualifier and RequestID are used. An error means that nothing was answered; its
// kinds are those of Sync, and Invalid for what is no web server.
func (n *Invoker) ServeWeb(w http.ResponseWriter, req *http.Request, r Request) error {
	v, err := n.cfg.Functions.Lookup(r.Function, r.Qualifier)
	if err != nil {
		return err
	}
	if v.Web == nil {
		return errs.Newf(errs.Invalid, "%s is not a web server", r.Function)
	}
	whole, body := readWhole(req)
	for try := 1; ; try++ {
		var x *webExchange
		failed, err := n.onWeb(req.Context(), v, r, 0, func(ctx context.Context, inst *sandbox.Instance, rec *meter.Record) bool {
			x = &webExchange{ResponseWriter: w, ctx: ctx, rec: rec, last: try == webTries}
			defer x.judge() // also when the proxy panics, as it does for an answer that broke off
			out := req.WithContext(ctx)
			if req.ContentLength != 0 {
				out.Body = body
			}
			n.proxy(inst, x, whole).ServeHTTP(x, out)
			x.whole = true
			return !x.unreached
		})
		switch {
		case failed != nil && err == nil:
			http.Error(w, "Internal Server Error", http.StatusBadGateway)
		case err == nil && x.unreached:
			continue
		}
		return err
	}
}

// wholeBody is up to which length in bytes a body is read before its request is
// passed on. The head of one that may still come leaves by itself: twice the
// packets, and a server that is woken up twice.
const wholeBody = 16 << 10

// readWhole returns the body of req if it is short; else nil and what reads it. A
// body that breaks off breaks off for the server too.
func readWhole(req *http.Request) (whole []byte, body io.ReadCloser) {
	body = io.NopCloser(req.Body) // a transport closes it even when it can't reach the server
	if req.ContentLength <= 0 || req.ContentLength > wholeBody || req.Header.Get("Expect") != "" {
		return nil, body
	}
	whole = make([]byte, req.ContentLength)
	if n, err := io.ReadFull(req.Body, whole); err != nil {
		return nil, io.NopCloser(io.MultiReader(bytes.NewReader(whole[:n]), req.Body))
	}
	return whole, body
}

// wholeSender sends a body that is there as one, which http.Transport does only for
// readers that it knows.
type wholeSender struct {
	http.RoundTripper
	body []byte
}

// RoundTrip implements http.RoundTripper.
func (s wholeSender) RoundTrip(req *http.Request) (*http.Response, error) {
	out := *req
	out.Body = io.NopCloser(bytes.NewReader(s.body))
	return s.RoundTripper.RoundTrip(&out)
}

// webTries is how many instances are tried for a request: one that has just ended
// may be found out by the attempt to reach it.
const webTries = 3

// onWeb runs do for one request on an instance of a web server and accounts for
// it, unless do reports that the server could not be reached. For an init that
// failed it returns the call's result.
func (n *Invoker) onWeb(ctx context.Context, v *function.Version, r Request, attempt int, do func(context.Context, *sandbox.Instance, *meter.Record) (reached bool)) (failed *Result, err error) {
	inOwn, err := n.enter(r)
	if err != nil {
		return nil, n.refused(r, err)
	}
	defer n.admission.leave(r.Function, inOwn)
	began := time.Now()
	inst, err := n.cfg.Pool.Acquire(ctx, v)
	var initErr *sandbox.InitError
	if errors.As(err, &initErr) {
		res, err := n.initFailed(v, r, attempt, began, initErr)
		return &res, err
	}
	if err != nil {
		return nil, err
	}
	defer n.cfg.Pool.Release(inst)
	rec := n.record(v, r, attempt)
	rec.Instance = inst.ID
	rec.Phases.Queue = rec.Start.Sub(began)
	if times, fresh := inst.Begin(); fresh {
		rec.Init = times.Init
		rec.Phases.Sandbox, rec.Phases.Init = times.Sandbox, times.Init
		rec.Phases.Queue = max(0, rec.Phases.Queue-times.Sandbox-times.Init)
	}
	reached := true
	defer func() {
		if !reached {
			n.cfg.Pool.Abandon(inst)
			inst.End()
			return
		}
		if bad := n.settleWeb(inst, &rec); bad != nil {
			n.cfg.Log.Error("a request to a web server could not be accounted for", "request", rec.RequestID, "err", bad)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, v.Timeout)
	defer cancel()
	reached = do(ctx, inst, &rec)
	return nil, nil
}

// settleWeb accounts for a request. The time that an instance has requests is
// billed once, to the request that is the next to end.
func (n *Invoker) settleWeb(inst *sandbox.Instance, rec *meter.Record) error {
	rec.Duration = time.Since(rec.Start)
	var busy time.Duration
	busy, rec.PeakBytes = inst.End()
	rec.Billed = meter.Billed(busy, rec.Init)
	log := n.openLog(inst.Version, inst.ID, rec.RequestID)
	status := ""
	switch rec.Outcome {
	case meter.TimedOut:
		_, status = outcome(sandbox.TimedOut)
	case meter.Canceled:
		_, status = outcome(sandbox.Canceled)
	case meter.Crashed:
		_, status = outcome(sandbox.Exited)
	}
	if err := errors.Join(log.start(), log.finish(rec, status, int(rec.Streamed))); err != nil {
		return err
	}
	return n.meter(*rec)
}

// webExchange is the answer to one request, as it passes through.
type webExchange struct {
	http.ResponseWriter
	ctx    context.Context
	rec    *meter.Record
	status int
	length int64 // of the answer's body, 0 if it is not known
	whole  bool

	last      bool // no other instance is tried
	unreached bool // another one is to be
}

// Unwrap gives an http.ResponseController what flushes and hijacks.
func (x *webExchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (x *webExchange) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		x.status = status
		x.length, _ = strconv.ParseInt(x.Header().Get("Content-Length"), 10, 64)
	}
	x.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter. A part leaves when it was written; the last
// one does with the end of the exchange, so that a short answer is one packet.
// Answers of unknown length the proxy sends on in the same way.
func (x *webExchange) Write(p []byte) (int, error) {
	n, err := x.ResponseWriter.Write(p)
	x.rec.Streamed += int64(n)
	if err == nil && x.rec.Streamed < x.length {
		err = http.NewResponseController(x.ResponseWriter).Flush()
	}
	return n, err
}

// fail answers for a server that did not.
func (x *webExchange) fail(err error) {
	switch {
	case !x.last && x.ctx.Err() == nil && errors.As(err, new(*sandbox.DialError)):
		x.unreached = true
	case errors.Is(x.ctx.Err(), context.DeadlineExceeded):
		x.rec.Outcome, x.rec.ErrorType = meter.TimedOut, "Sandbox.Timedout"
		http.Error(x.ResponseWriter, "Gateway Timeout", http.StatusGatewayTimeout)
	case x.ctx.Err() != nil:
		x.rec.Outcome, x.rec.ErrorType = meter.Canceled, "Sandbox.Canceled"
	default:
		x.rec.Outcome, x.rec.ErrorType = meter.Crashed, "Web.NoAnswer"
		http.Error(x.ResponseWriter, "Bad Gateway", http.StatusBadGateway)
	}
}

// judge notes how the exchange ended.
func (x *webExchange) judge() {
	switch {
	case x.rec.Outcome != meter.OK:
	case errors.Is(x.ctx.Err(), context.DeadlineExceeded):
		x.rec.Outcome, x.rec.ErrorType = meter.TimedOut, "Sandbox.Timedout"
	case x.ctx.Err() != nil && !x.whole:
		x.rec.Outcome, x.rec.ErrorType = meter.Canceled, "Sandbox.Canceled"
	case !x.whole:
		x.rec.Outcome, x.rec.ErrorType = meter.Crashed, "Web.AnswerBrokeOff"
	case x.status >= 500:
		x.rec.Outcome, x.rec.ErrorType = meter.Failed, "Web.Status"+strconv.Itoa(x.status)
	}
}

// proxy returns what passes one request on to inst. whole is its body, nil if that is
// to be read from the request.
func (n *Invoker) proxy(inst *sandbox.Instance, x *webExchange, whole []byte) *httputil.ReverseProxy {
	transport := inst.Transport()
	if whole != nil {
		transport = wholeSender{transport, whole}
	}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "function"
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		Transport:    transport,
		BufferPool:   &n.buffers,
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { x.fail(err) },
		ErrorLog:     n.proxyLog,
	}
}

// buffers are what answers are copied with.
type buffers struct{ pool sync.Pool }

const copyBuffer = 32 << 10

// Get implements httputil.BufferPool.
func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, copyBuffer)
}

// Put implements httputil.BufferPool.
func (b *buffers) Put(p []byte) { b.pool.Put(&p) }

// runWeb gives an event to a web server: a POST of the payload. Its answer's body
// is the call's; a status of 500 or more is a function that failed.
func (n *Invoker) runWeb(ctx context.Context, v *function.Version, r Request, attempt int, w StreamWriter) (Result, error) {
	var res Result
	for try := 1; ; try++ {
		reached := true
		failed, err := n.onWeb(ctx, v, r, attempt, func(ctx context.Context, inst *sandbox.Instance, rec *meter.Record) bool {
			res, reached = n.postEvent(ctx, inst, r, rec, w, try == webTries)
			return reached
		})
		switch {
		case failed != nil:
			return *failed, err
		case err == nil && !reached:
			continue
		}
		return res, err
	}
}

// postEvent gives an event to inst. On the last try it takes a server that can't be
// reached as one that failed.
func (n *Invoker) postEvent(ctx context.Context, inst *sandbox.Instance, r Request, rec *meter.Record, w StreamWriter, last bool) (res Result, reached bool) {
	x := &webExchange{ctx: ctx, rec: rec}
	body, err := x.post(inst, r, w)
	if !last && ctx.Err() == nil && errors.As(err, new(*sandbox.DialError)) {
		return Result{}, false
	}
	x.whole = err == nil
	x.judge()
	res = Result{Payload: body, Version: inst.Version.Version, Record: *rec}
	if rec.Outcome != meter.OK {
		res.FunctionError = Unhandled
	}
	if err != nil {
		res.Payload = fmt.Appendf(nil, `{"errorType":%q,"errorMessage":%q}`, rec.ErrorType, err.Error())
	}
	return res, true
}

// post sends the event. A good answer goes to w while it comes, unless w is nil.
func (x *webExchange) post(inst *sandbox.Instance, r Request, w StreamWriter) ([]byte, error) {
	req, err := http.NewRequestWithContext(x.ctx, http.MethodPost, "http://function"+inst.Version.Web.Events, bytes.NewReader(r.Payload))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Request-Id", r.RequestID)
	a, err := inst.Transport().RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	x.status = a.StatusCode
	if w == nil || a.StatusCode >= 500 {
		body, err := io.ReadAll(io.LimitReader(a.Body, MaxAnswer+1))
		if len(body) > MaxAnswer {
			return nil, fmt.Errorf("the answer is over the limit of %d bytes", MaxAnswer)
		}
		return body, err
	}
	if err := w.Begin(a.Header.Get("Content-Type")); err != nil {
		return nil, err
	}
	c := &counter{StreamWriter: w}
	_, err = io.Copy(c, a.Body)
	x.rec.Streamed = c.bytes
	return nil, err
}
