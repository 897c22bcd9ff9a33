package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/httpevent"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/endpoint"
	"github.com/mayfly-dev/mayfly/internal/invoke"
)

// Invoker runs functions. Its errors are of the kinds of package errs.
type Invoker interface {
	// Sync runs a call and returns its answer, which may be the function's error.
	Sync(ctx context.Context, r invoke.Request) (invoke.Result, error)
	// ServesHTTP reports whether a function is a web server.
	ServesHTTP(name, qualifier string) bool
	// ServeWeb passes a request on to one; an error means that nothing was answered.
	ServeWeb(w http.ResponseWriter, req *http.Request, r invoke.Request) error
}

// Options are what a Server is made of. All are required.
type Options struct {
	Region  string
	Account string // 12 digits
	Domain  string // an API is at ID.api.DOMAIN
	Invoker Invoker
	Auth    *wire.Authenticator
	MaxBody int64 // bytes in a request
	Client  *http.Client
	Log     *slog.Logger
	// Access takes a line of an API's access log for a log group.
	Access func(group, line string)
}

// Server serves APIs under their ids and their domain names. It is safe for
// concurrent use.
type Server struct {
	o Options

	mu      sync.RWMutex
	apis    map[string]*API    // guarded by mu
	domains map[string]*Domain // guarded by mu
}

var _ endpoint.Handler = (*Server)(nil)

// New returns a Server without APIs.
func New(o Options) *Server {
	return &Server{o: o, apis: map[string]*API{}, domains: map[string]*Domain{}}
}

// Set serves an API from now on, in place of the one of its id.
func (s *Server) Set(a *API) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apis[a.ID] = a
}

// Remove stops serving an API.
func (s *Server) Remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.apis, id)
}

// SetDomain serves a domain name from now on.
func (s *Server) SetDomain(d *Domain) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.domains[d.Name] = d
}

// RemoveDomain stops serving a domain name.
func (s *Server) RemoveDomain(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.domains, name)
}

// Has reports whether there is an API of an id.
func (s *Server) Has(id string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.apis[id] != nil
}

// HasDomain reports whether a host name is one that SetDomain has set.
func (s *Server) HasDomain(host string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.domains[host] != nil
}

// ServeEndpoint answers a request to the API, or to the domain name, that is the
// address's name.
func (s *Server) ServeEndpoint(w http.ResponseWriter, r *http.Request, a endpoint.Address) {
	x := &exchange{s: s, w: &meteredWriter{ResponseWriter: w}, r: r, id: newID(), began: time.Now()}
	w.Header().Set("Apigw-Requestid", x.id)
	path, err := a.Path(r)
	if err != nil {
		x.fail(http.StatusBadRequest, "Bad Request: "+err.Error())
		return
	}
	rest, ok := x.find(a, path)
	if !ok {
		x.fail(http.StatusNotFound, "Not Found")
		return
	}
	defer x.log()
	if c := x.api.CORS; c != nil && endpoint.IsPreflight(r) {
		c.Preflight(w.Header(), r)
		x.w.WriteHeader(http.StatusNoContent)
		return
	}
	x.serve(rest)
}

// newID returns an id of a request in API Gateway's form.
func newID() string {
	var b [11]byte
	rand.Read(b[:]) // never fails
	return base64.URLEncoding.EncodeToString(b[:])
}

// exchange is one request and its answer.
type exchange struct {
	s     *Server
	w     *meteredWriter
	r     *http.Request
	id    string
	began time.Time

	api   *API   // nil until it is known
	stage *Stage // nil until it is known
	route *Route // nil until it is known
	event *httpevent.Request

	// What the access log tells.
	problem   string            // an error of this server, as the client is told
	denied    string            // why an authorizer let nobody in
	broken    string            // what was wrong with the integration's answer
	status    int               // the integration's
	took      time.Duration     // by the integration
	principal map[string]string // what the authorizer told
}

// find finds API and stage. It returns the path that is left for the routes, and
// prepares the event.
func (x *exchange) find(a endpoint.Address, path string) (rest string, ok bool) {
	x.s.mu.RLock()
	defer x.s.mu.RUnlock()
	domain := a.Name
	if d := x.s.domains[a.Name]; d != nil {
		m, below, found := d.find(path)
		if !found {
			return "", false
		}
		if x.api = x.s.apis[m.API]; x.api == nil {
			return "", false
		}
		x.stage, rest = x.api.Stages[m.Stage], below
	} else {
		if x.api = x.s.apis[a.Name]; x.api == nil || x.api.DomainOnly {
			return "", false
		}
		domain = x.api.ID + ".api." + x.s.o.Domain
		x.stage, rest = x.api.stage(path)
	}
	if x.stage == nil {
		return "", false
	}
	x.event = &httpevent.Request{
		HTTP: x.r, Path: path, ID: x.id, Time: x.began, TraceID: x.r.Header.Get("X-Amzn-Trace-Id"),
		Account: x.s.o.Account, API: x.api.ID, Domain: domain, Stage: x.stage.Name, StageVariables: x.stage.Variables,
	}
	if x.event.TraceID == "" {
		x.event.TraceID = httpevent.NewTraceID(x.began)
	}
	return rest, true
}

// stage returns the stage that a path's first segment names, else the default
// one, and the path below it.
func (a *API) stage(path string) (s *Stage, rest string) {
	first, below, more := strings.Cut(path[1:], "/")
	if s := a.Stages[first]; s != nil && first != DefaultStage {
		if !more {
			return s, "/"
		}
		return s, "/" + below
	}
	return a.Stages[DefaultStage], path
}

// find returns the mapping with the longest key that the path begins with.
func (d *Domain) find(path string) (m Mapping, rest string, ok bool) {
	for _, m := range d.Mappings {
		if m.Key == "" {
			return m, path, true
		}
		below, ok := strings.CutPrefix(path, "/"+m.Key)
		if ok && (below == "" || below[0] == '/') {
			return m, "/" + strings.TrimPrefix(below, "/"), true
		}
	}
	return Mapping{}, "", false
}

// serve takes the request through its route.
func (x *exchange) serve(path string) {
	route, variables, ok := x.stage.Routes.Match(x.r.Method, path)
	if !ok {
		x.fail(http.StatusNotFound, "Not Found")
		return
	}
	x.route = route
	x.event.RouteKey, x.event.PathParameters = route.Key, variables
	if route.Limiter != nil && !route.Limiter.Allow() {
		x.fail(http.StatusTooManyRequests, "Too Many Requests")
		return
	}
	// What goes on as it is needs no body of its own here, but for a signature.
	i := &route.Integration
	web := i.URL == nil && x.s.o.Invoker.ServesHTTP(i.Function, i.Qualifier)
	if !x.readBody((web || i.URL != nil) && route.Authorizer == nil) {
		return
	}
	if route.Authorizer != nil && !route.Authorizer.authorize(x) {
		return
	}
	switch {
	case i.URL != nil:
		x.forward()
	case web:
		x.serveWeb()
	default:
		x.invoke()
	}
}

// readBody reads the body, or bounds it if it goes on as it comes.
func (x *exchange) readBody(asItComes bool) bool {
	endpoint.BoundBody(x.w, x.r)
	if asItComes {
		x.r.Body = http.MaxBytesReader(x.w, x.r.Body, x.s.o.MaxBody)
		return true
	}
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, x.s.o.MaxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		x.fail(http.StatusRequestEntityTooLarge, "Request Entity Too Large")
	case err != nil:
		x.fail(http.StatusBadRequest, "Bad Request: the body could not be read")
	default:
		x.event.Body = body
		return true
	}
	return false
}

// finish lays the API's own rules over the header of an answer.
func (x *exchange) finish(h http.Header) {
	if x.api != nil && x.api.CORS != nil {
		x.api.CORS.Apply(h, x.r)
	}
}

// fail answers with an error in API Gateway's form.
func (x *exchange) fail(status int, message string) {
	x.problem = message
	b, _ := json.Marshal(map[string]string{"message": message}) // a string always marshals
	h := x.w.Header()
	h.Set("Content-Type", "application/json")
	x.finish(h)
	x.w.WriteHeader(status)
	x.w.Write(b) // the client may be gone, or its method allow no body
}

// meteredWriter counts what goes out.
type meteredWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// WriteHeader implements http.ResponseWriter.
func (w *meteredWriter) WriteHeader(status int) {
	if w.status == 0 || w.status < 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *meteredWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the server's own writer.
func (w *meteredWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
