package node

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/endpoint"
)

// Patience with clients. A request's body and answer may be large and slow, so
// they have no limit of time of their own.
const (
	headerLimit = 10 * time.Second
	idleLimit   = 2 * time.Minute
)

// The labels before the node's domain, and the beginnings of paths for clients
// that have no DNS for them. No bucket's name begins with an underscore.
const (
	labelURLs    = "fn"  // function URLs: ID.fn.DOMAIN, /_fn/ID/
	labelAPIs    = "api" // HTTP APIs: ID.api.DOMAIN, /_api/ID/
	labelBuckets = "s3"  // buckets: NAME.s3.DOMAIN
)

// front leads the requests of the node's one port, in this order:
//
//  1. by host: ID.fn.DOMAIN is a function URL, ID.api.DOMAIN an HTTP API;
//  2. by host: the domain name of an HTTP API;
//  3. by host: NAME.s3.DOMAIN is a bucket;
//  4. by path: /_fn/ID/, /_api/ID/, and what rooms have added to paths;
//  5. all else is the signed API's.
//
// A host that looks like an endpoint's never falls through to the signed API: an
// endpoint that does not exist is answered by its own kind. It is filled before
// the node serves and not changed after.
type front struct {
	domain  string
	labels  map[string]endpoint.Handler
	domains func(host string) endpoint.Handler // nil for a host that is no custom domain
	paths   []pathHandler
	rest    http.Handler
}

// pathHandler serves the paths that begin with prefix, or with exact that one.
type pathHandler struct {
	prefix string
	exact  bool
	http.Handler
}

func newFront(domain string) *front {
	return &front{
		domain: strings.ToLower(domain), labels: map[string]endpoint.Handler{},
		domains: func(string) endpoint.Handler { return nil },
		rest:    http.NotFoundHandler(),
	}
}

// ServeHTTP implements http.Handler.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if fault := faultOf(r); fault != "" {
		w.Header().Set("Connection", "close")
		http.Error(w, "bad request: "+fault, http.StatusBadRequest)
		return
	}
	if !strings.HasPrefix(r.URL.Path, "/") && r.URL.Path != "" { // OPTIONS *
		http.Error(w, "bad request: the target has no path", http.StatusBadRequest)
		return
	}
	host := hostName(r.Host)
	name, label := f.split(host)
	if label == labelURLs || label == labelAPIs {
		f.endpoint(label).ServeEndpoint(w, r, endpoint.Address{Name: name})
		return
	}
	if h := f.domains(host); h != nil {
		h.ServeEndpoint(w, r, endpoint.Address{Name: host})
		return
	}
	if h := f.labels[label]; h != nil {
		h.ServeEndpoint(w, r, endpoint.Address{Name: name})
		return
	}
	f.byPath(r.URL.Path).ServeHTTP(w, r)
}

func (f *front) byPath(path string) http.Handler {
	for _, label := range []string{labelURLs, labelAPIs} {
		if rest, ok := strings.CutPrefix(path, "/_"+label+"/"); ok {
			name, _, _ := strings.Cut(rest, "/")
			return at{f.endpoint(label), endpoint.Address{Name: name, Prefix: "/_" + label + "/" + name}}
		}
	}
	for _, p := range f.paths {
		if path == p.prefix || !p.exact && strings.HasPrefix(path, p.prefix) {
			return p
		}
	}
	return f.rest
}

// endpoint returns the handler of a label, or one that has nothing.
func (f *front) endpoint(label string) endpoint.Handler {
	if h := f.labels[label]; h != nil {
		return h
	}
	return nothing{}
}

// split returns the label before the domain and the name before that. The name
// of a bucket may hold dots.
func (f *front) split(host string) (name, label string) {
	rest, ok := strings.CutSuffix(host, "."+f.domain)
	if !ok {
		return "", ""
	}
	i := strings.LastIndexByte(rest, '.')
	if i < 0 {
		return "", ""
	}
	return rest[:i], rest[i+1:]
}

// hostName returns the host of a Host header in lower case, without its port and
// without the dot that may end it.
func hostName(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// at is an endpoint at an address.
type at struct {
	endpoint.Handler
	address endpoint.Address
}

func (a at) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.ServeEndpoint(w, r, a.address) }

type nothing struct{}

func (nothing) ServeEndpoint(w http.ResponseWriter, r *http.Request, _ endpoint.Address) {
	http.NotFound(w, r)
}

// openServer makes the server over the doors that are open, and listens.
func (n *Node) openServer(ctx context.Context) error {
	n.front.paths = append(n.front.paths, pathHandler{"/healthz", true, http.HandlerFunc(health)})
	var lc net.ListenConfig
	var err error
	if n.listener, err = lc.Listen(ctx, "tcp", n.cfg.Listen); err != nil {
		return fmt.Errorf("listen for the API; choose another address with --listen: %w", err)
	}
	n.listener = guard{n.listener}
	n.server = n.newServer(n.front)
	n.inner = n.newServer(n.front.rest) // the signed API and no more
	return nil
}

func (n *Node) newServer(h http.Handler) *http.Server {
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: headerLimit, IdleTimeout: idleLimit, MaxHeaderBytes: wire.MaxHeaderBytes,
		ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
	}
	watch(s)
	return s
}

func health(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	io.WriteString(w, "ok\n") // the client may be gone
}

// endpointURL returns the URL of an endpoint, with a slash at its end: over TLS, if
// the node has that.
func (n *Node) endpointURL(name, label string) string {
	scheme, listener, usual := "http", n.listener, "80"
	if n.tlsListener != nil {
		scheme, listener, usual = "https", n.tlsListener, "443"
	}
	port := ""
	if _, p, err := net.SplitHostPort(listener.Addr().String()); err == nil && p != usual {
		port = ":" + p
	}
	return scheme + "://" + name + "." + label + "." + n.cfg.Domain + port + "/"
}
