// Package functionurl serves the URLs of functions: a request to one is a call of
// its function, in payload format 2.0.
package functionurl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/mayfly-dev/mayfly/internal/api/aws/arn"
	"github.com/mayfly-dev/mayfly/internal/api/aws/httpevent"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/endpoint"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/invoke"
)

// Invoker runs functions. Its errors are of the kinds of package errs.
type Invoker interface {
	// Sync runs a call and returns its answer, which may be the function's error.
	Sync(ctx context.Context, r invoke.Request) (invoke.Result, error)
	// Stream is Sync that passes the answer on while it is made.
	Stream(ctx context.Context, r invoke.Request, w invoke.StreamWriter) (invoke.Result, error)
	// ServesHTTP reports whether a function is a web server.
	ServesHTTP(name, qualifier string) bool
	// ServeWeb passes a request on to one; an error means that nothing was answered.
	ServeWeb(w http.ResponseWriter, req *http.Request, r invoke.Request) error
}

// Options are what a Door is made of. All are required.
type Options struct {
	Region  string
	Account string // 12 digits
	Domain  string // requests by path see ID.fn.DOMAIN as their endpoint's name
	URLs    *endpoint.URLs
	Invoker Invoker
	Auth    *wire.Authenticator
	MaxBody int64 // bytes in a request
	Log     *slog.Logger
}

// Door serves function URLs. It is an endpoint.Handler.
type Door struct{ o Options }

var _ endpoint.Handler = (*Door)(nil)

// New returns a Door.
func New(o Options) *Door { return &Door{o} }

// service is what requests to URLs with AuthType AWS_IAM are signed for.
const service = "lambda"

// anonymous is the account of who calls a URL without a signature.
const anonymous = "anonymous"

// content is the type of answers that name none.
const content = "application/json"

// Has reports whether there is a URL of an id.
func (d *Door) Has(id string) bool {
	_, err := d.o.URLs.Lookup(id)
	return err == nil
}

// ServeEndpoint answers a request to the URL whose id is the address's name.
func (d *Door) ServeEndpoint(w http.ResponseWriter, r *http.Request, a endpoint.Address) {
	x := &exchange{d: d, w: w, r: r, id: uuid.NewString(), began: time.Now()}
	w.Header().Set("X-Amzn-Requestid", x.id)
	path, err := a.Path(r)
	if err != nil {
		x.fail(http.StatusBadRequest, "BadRequestException", err.Error())
		return
	}
	if x.url, err = d.o.URLs.Lookup(a.Name); err != nil {
		x.fail(http.StatusNotFound, "ResourceNotFoundException", "No function has this URL.")
		return
	}
	if c := x.url.CORS; c != nil && endpoint.IsPreflight(r) {
		c.Preflight(w.Header(), r)
		w.WriteHeader(http.StatusOK)
		return
	}
	if d.o.Invoker.ServesHTTP(x.url.Function, x.url.Qualifier) {
		x.serveWeb(path)
		return
	}
	x.serve(path)
}

// exchange is one request and its answer.
type exchange struct {
	d     *Door
	w     http.ResponseWriter
	r     *http.Request
	url   *endpoint.URL // nil until it is known
	id    string
	began time.Time
}

func (x *exchange) serve(path string) {
	endpoint.BoundBody(x.w, x.r)
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, x.d.o.MaxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		x.fail(http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException", x.tooLarge())
		return
	case err != nil:
		x.fail(http.StatusBadRequest, "BadRequestException", "The body could not be read.")
		return
	}
	q := &httpevent.Request{
		HTTP: x.r, Path: path, Body: body, ID: x.id, Time: x.began, TraceID: x.r.Header.Get("X-Amzn-Trace-Id"),
		Account: anonymous, API: x.url.ID, Domain: x.url.ID + ".fn." + x.d.o.Domain,
		Stage: "$default", RouteKey: "$default", URL: true,
	}
	if q.TraceID == "" {
		q.TraceID = httpevent.NewTraceID(x.began)
	}
	if x.url.Signed && !x.authenticate(q) {
		return
	}
	event, err := q.V2()
	if err != nil {
		x.internal(err)
		return
	}
	call := x.call
	if x.url.Stream {
		call = x.stream
	}
	call(invoke.Request{
		RequestID: x.id, Function: x.url.Function, Qualifier: x.url.Qualifier, Payload: event, TraceID: q.TraceID,
		InvokedName: arn.Function{Region: x.d.o.Region, Account: x.d.o.Account, Name: x.url.Function, Qualifier: x.url.Qualifier}.String(),
	})
}

// iam is who signed a request, as the event shows it. A node has one account, and
// its keys stand for its owner.
type iam struct {
	AccessKey      string  `json:"accessKey"`
	AccountID      string  `json:"accountId"`
	CallerID       string  `json:"callerId"`
	Cognito        *string `json:"cognitoIdentity"`
	PrincipalOrgID *string `json:"principalOrgId"`
	UserARN        string  `json:"userArn"`
	UserID         string  `json:"userId"`
}

// authenticate lets in who signed with one of the node's keys, and answers others.
func (x *exchange) authenticate(q *httpevent.Request) bool {
	caller, refused := x.d.o.Auth.Authenticate(x.r, q.Body, service)
	if refused != nil {
		x.fail(http.StatusForbidden, "AccessDeniedException", "Forbidden. "+refused.Message)
		return false
	}
	q.Account = x.d.o.Account
	q.Authorizer = map[string]any{"iam": iam{
		AccessKey: caller.AccessKeyID, AccountID: q.Account, CallerID: caller.AccessKeyID,
		UserARN: "arn:" + arn.Partition + ":iam::" + q.Account + ":user/" + caller.Principal, UserID: caller.AccessKeyID,
	}}
	return true
}

// call runs the function and sends its answer when it is whole.
func (x *exchange) call(r invoke.Request) {
	res, err := x.d.o.Invoker.Sync(x.r.Context(), r)
	if err != nil {
		x.refuse(err)
		return
	}
	if res.FunctionError != "" {
		x.broken("")
		return
	}
	a, err := httpevent.ParseV2(res.Payload, content)
	if err != nil {
		x.broken(err.Error())
		return
	}
	x.finish(a.Header)
	a.Send(x.w)
}

// streamed is the type of a streamed answer that names none.
const streamed = "application/octet-stream"

// stream runs the function and sends its answer while it is made. What fails after
// the answer has begun breaks the connection: its client must not take a part for
// the whole.
func (x *exchange) stream(r invoke.Request) {
	s := httpevent.NewStream(x.w, streamed, x.finish)
	res, err := x.d.o.Invoker.Stream(x.r.Context(), r, s)
	switch {
	case s.Sent() && (err != nil || res.FunctionError != ""):
		panic(http.ErrAbortHandler)
	case s.Sent():
	case err != nil:
		x.refuse(err)
	case res.FunctionError != "":
		x.broken("")
	default:
		x.broken("a streamed answer ended within its metadata")
	}
}

// finish lays the URL's own rules over the header of an answer.
func (x *exchange) finish(h http.Header) {
	if x.url.CORS != nil {
		x.url.CORS.Apply(h, x.r)
	}
}

// broken answers for a function that failed, or that answered nonsense: its
// client is told no more, its log is.
func (x *exchange) broken(why string) {
	if why != "" {
		x.d.o.Log.Warn("a function answered what is no HTTP answer", "function", x.url.Function, "request", x.id, "err", why)
	}
	x.fail(http.StatusBadGateway, "InternalServerErrorException", "Internal Server Error")
}

func (x *exchange) internal(err error) {
	x.d.o.Log.Error("a request failed", "function", x.url.Function, "request", x.id, "err", err)
	x.fail(http.StatusInternalServerError, "ServiceException", "Internal Server Error")
}

// refuse answers for a call that did not begin.
func (x *exchange) refuse(err error) {
	if x.r.Context().Err() != nil {
		return // nobody is there
	}
	switch errs.KindOf(err) {
	case errs.Throttled:
		x.w.Header().Set("Retry-After", "1")
		x.fail(http.StatusTooManyRequests, "TooManyRequestsException", "Rate Exceeded.")
	case errs.TooLarge:
		x.fail(http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException", x.tooLarge())
	case errs.NotFound:
		x.fail(http.StatusNotFound, "ResourceNotFoundException", "The function of this URL does not exist.")
	case errs.Conflict, errs.Unavailable:
		x.w.Header().Set("Retry-After", "1")
		x.fail(http.StatusServiceUnavailable, "ServiceUnavailableException", "Service Unavailable")
	default:
		x.internal(err)
	}
}

func (x *exchange) tooLarge() string {
	return fmt.Sprintf("Request must be smaller than %d bytes for the InvokeFunction operation", x.d.o.MaxBody)
}

// fail answers with an error in Lambda's form.
func (x *exchange) fail(status int, code, message string) {
	b, _ := json.Marshal(map[string]string{"Message": message}) // a string always marshals
	h := x.w.Header()
	h.Set("Content-Type", content)
	h.Set("X-Amzn-Errortype", code)
	if x.url != nil {
		x.finish(h)
	}
	x.w.WriteHeader(status)
	if !strings.EqualFold(x.r.Method, http.MethodHead) {
		x.w.Write(b) // the client may be gone
	}
}
