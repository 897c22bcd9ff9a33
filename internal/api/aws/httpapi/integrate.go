package httpapi

import (
	"context"
	"errors"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/mayfly-dev/mayfly/internal/api/aws/httpevent"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/invoke"
)

// content is the type of a function's answer that names none.
const content = "text/plain; charset=utf-8"

// invoke passes the request to the route's function and sends its answer.
func (x *exchange) invoke() {
	i := &x.route.Integration
	encode, parse := x.event.V2, httpevent.ParseV2
	if i.Format == "1.0" {
		encode, parse = x.event.V1, httpevent.ParseV1
	}
	event, err := encode()
	if err != nil {
		x.internal(err)
		return
	}
	began := time.Now()
	res, err := x.call(i.Timeout, invoke.Request{
		RequestID: uuid.NewString(), Function: i.Function, Qualifier: i.Qualifier, InvokedName: i.Invoked,
		Payload: event, TraceID: x.event.TraceID,
	})
	x.took = time.Since(began)
	if err != nil {
		x.refuse(err)
		return
	}
	x.status = http.StatusOK
	if res.FunctionError != "" {
		x.bad("the function failed")
		return
	}
	a, err := parse(res.Payload, content)
	if err != nil {
		x.s.o.Log.Warn("a function answered what is no HTTP answer", "function", i.Function, "request", x.id, "err", err)
		x.bad(err.Error())
		return
	}
	x.status = a.Status
	x.finish(a.Header)
	a.Send(x.w)
}

var errTimeout = errors.New("the integration took too long")

// call runs a function for at most the timeout. A call that has begun runs to its
// own end; its answer is then lost.
func (x *exchange) call(timeout time.Duration, r invoke.Request) (invoke.Result, error) {
	ctx, cancel := context.WithTimeoutCause(x.r.Context(), timeout, errTimeout)
	type outcome struct {
		res invoke.Result
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		defer cancel()
		res, err := x.s.o.Invoker.Sync(ctx, r)
		done <- outcome{res, err}
	}()
	select {
	case o := <-done:
		return o.res, o.err
	case <-ctx.Done():
		select { // the answer may have come together with the end
		case o := <-done:
			return o.res, o.err
		default:
			return invoke.Result{}, context.Cause(ctx)
		}
	}
}

// refuse answers for a call that did not begin or did not end.
func (x *exchange) refuse(err error) {
	switch {
	case x.r.Context().Err() != nil:
		return // nobody is there
	case errors.Is(err, errTimeout):
		x.broken = "Endpoint request timed out"
		x.fail(http.StatusServiceUnavailable, "Service Unavailable")
		return
	}
	x.broken = err.Error()
	switch errs.KindOf(err) {
	case errs.Throttled, errs.Conflict, errs.Unavailable:
		x.w.Header().Set("Retry-After", "1")
		x.fail(http.StatusServiceUnavailable, "Service Unavailable")
	case errs.TooLarge:
		x.fail(http.StatusRequestEntityTooLarge, "Request Entity Too Large")
	case errs.NotFound:
		x.bad(err.Error())
	default:
		x.internal(err)
	}
}

// bad answers for an integration that failed. Its client is told no more.
func (x *exchange) bad(why string) {
	x.broken = why
	x.fail(http.StatusInternalServerError, "Internal Server Error")
}

func (x *exchange) internal(err error) {
	x.s.o.Log.Error("a request failed", "api", x.api.ID, "request", x.id, "err", err)
	x.bad(err.Error())
}

// forward passes the request to the route's URL as it comes, and the answer back.
func (x *exchange) forward() {
	i := &x.route.Integration
	ctx, cancel := context.WithTimeoutCause(x.r.Context(), i.Timeout, errTimeout)
	defer cancel()
	r := x.r.WithContext(ctx)
	if x.route.Authorizer != nil { // the authorizer has read the body
		r.Body = newBody(x.event.Body)
		r.ContentLength = int64(len(x.event.Body))
	}
	began := time.Now()
	proxy := &httputil.ReverseProxy{
		Transport: x.s.o.Client.Transport,
		ErrorLog:  log.New(discard{}, "", 0),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL = x.target(i.URL)
			p.Out.Host = ""
			p.SetXForwarded()
			if i.Method != "" && i.Method != "ANY" {
				p.Out.Method = i.Method
			}
		},
		ModifyResponse: func(res *http.Response) error {
			x.took, x.status = time.Since(began), res.StatusCode
			x.finish(res.Header)
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) {
			x.took = time.Since(began)
			var large *http.MaxBytesError
			switch {
			case errors.As(err, &large):
				x.fail(http.StatusRequestEntityTooLarge, "Request Entity Too Large")
			case x.r.Context().Err() != nil: // nobody is there
			case ctx.Err() != nil:
				x.broken = errTimeout.Error()
				x.fail(http.StatusGatewayTimeout, "Endpoint request timed out")
			default:
				x.broken = err.Error()
				x.fail(http.StatusServiceUnavailable, "Service Unavailable")
			}
		},
	}
	proxy.ServeHTTP(x.w, r)
}

// hole finds a path variable in an escaped path.
var hole = regexp.MustCompile(`(?:\{|%7[Bb])([a-zA-Z0-9._:-]+)(?:\}|%7[Dd])`)

// target returns the URL to forward to, with the values of path variables and
// the request's query. A slash in the value of one segment's variable stays escaped.
func (x *exchange) target(to *url.URL) *url.URL {
	u := *to
	u.RawPath = hole.ReplaceAllStringFunc(to.EscapedPath(), func(m string) string {
		name := hole.FindStringSubmatch(m)[1]
		value, ok := x.event.PathParameters[name]
		if !ok {
			return m
		}
		if !strings.Contains(x.route.Key, "{"+name+"+}") {
			return url.PathEscape(value)
		}
		segments := strings.Split(value, "/")
		for n, s := range segments {
			segments[n] = url.PathEscape(s)
		}
		return strings.Join(segments, "/")
	})
	if plain, err := url.PathUnescape(u.RawPath); err == nil { // it is escaped, by the lines above
		u.Path = plain
	}
	u.RawQuery = strings.Join(slices.DeleteFunc([]string{u.RawQuery, x.r.URL.RawQuery}, func(q string) bool { return q == "" }), "&")
	return &u
}
