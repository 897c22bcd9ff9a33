package s3

import (
	"encoding/xml"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/endpoint"
)

// Service is the service's name in signatures.
const Service = "s3"

// Front leads requests for the object store to it and all others to next, which
// also gets those for the operations that Service serves. A request is the
// store's if
//
//   - its host names a bucket (see ServeEndpoint),
//   - or its signature, in a header or in the query, is for s3,
//   - or it has no signature, and its path begins with the name of a bucket that
//     exists: what such a request may do is said by the bucket's policy.
type Front struct {
	store  *Store
	domain string // of the node: BUCKET.DOMAIN is what clients make of an endpoint at DOMAIN
	next   http.Handler
}

// limited refuses what a function's key may not do: it is for objects, not for
// buckets and their settings. Who claims a key without its secret is refused by the
// gateway.
func (f *Front) limited(r *http.Request, key, object string) bool {
	if !f.store.cfg.Limited(key) {
		return false
	}
	q := r.URL.Query()
	switch {
	case object != "":
		return q.Has("acl") && changes(r.Method)
	case !changes(r.Method):
		for _, setting := range settings {
			if q.Has(setting) {
				return true
			}
		}
		return false
	}
	return !(r.Method == http.MethodPost && q.Has("delete")) // of many objects at once
}

// settings are the parameters that lead to a bucket's settings.
var settings = []string{
	"acl", "accelerate", "analytics", "cors", "encryption", "inventory", "lifecycle", "logging", "metrics", "notification",
	"object-lock", "ownershipControls", "policy", "policyStatus", "publicAccessBlock", "replication", "requestPayment", "tagging", "website",
}

// Front returns the front of the store.
func (s *Store) Front(domain string, next http.Handler) *Front {
	return &Front{store: s, domain: domain, next: next}
}

// ServeHTTP implements http.Handler.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key, service := wire.Claim(r)
	switch {
	case service == Service:
		f.serve(w, r, f.hosted(r.Host), key)
	case service == "" && f.anonymous(r):
		f.serve(w, r, "", "")
	default:
		f.next.ServeHTTP(w, r)
	}
}

// ServeEndpoint implements endpoint.Handler: the address's name is a bucket.
func (f *Front) ServeEndpoint(w http.ResponseWriter, r *http.Request, a endpoint.Address) {
	key, _ := wire.Claim(r)
	f.serve(w, r, a.Name, key)
}

// hosted returns the bucket of a host BUCKET.DOMAIN, or "".
func (f *Front) hosted(host string) string {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host = host[:i]
	}
	name, ok := strings.CutSuffix(strings.ToLower(host), "."+f.domain)
	if !ok || name == Service {
		return ""
	}
	return name
}

// anonymous reports whether a request without a signature is for the store.
func (f *Front) anonymous(r *http.Request) bool {
	h := r.Header
	if h.Get("Authorization") != "" || h.Get("X-Amz-Target") != "" {
		return false
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	return name != "" && f.store.Exists(name)
}

// serve leads a request of the store's. bucket is "" for one that names it in its
// path.
func (f *Front) serve(w http.ResponseWriter, r *http.Request, bucket, key string) {
	path := r.URL.EscapedPath()
	if bucket != "" {
		path = "/" + bucket + path
	}
	name, object, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if f.limited(r, key, object) {
		refuse(w, r, http.StatusForbidden, "AccessDenied", "The keys of functions are for objects: this operation is for the node's owner.")
		return
	}
	if r.URL.Query().Has("notification") && object == "" {
		f.next.ServeHTTP(w, wire.Lead(r, "/"+name))
		return
	}
	f.store.forward(w, r, bucket, key)
}

// refuse answers with an error of S3.
func refuse(w http.ResponseWriter, r *http.Request, status int, code, message string) {
	type body struct {
		XMLName   xml.Name `xml:"Error"`
		Code      string
		Message   string
		Resource  string
		RequestID string `xml:"RequestId"`
	}
	b := body{Code: code, Message: message, Resource: r.URL.Path, RequestID: uuid.NewString()}
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("X-Amz-Request-Id", b.RequestID)
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	// The client may be gone.
	w.Write([]byte(xml.Header))
	xml.NewEncoder(w).Encode(b)
}
