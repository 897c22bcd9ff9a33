package node

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/endpoint"
)

// sign is an endpoint that says what reached it.
type sign string

func (s sign) ServeEndpoint(w http.ResponseWriter, _ *http.Request, a endpoint.Address) {
	fmt.Fprintf(w, "%s %s %s", s, a.Name, a.Prefix)
}

func TestTheFrontLeadsByHostBeforePathBeforeTheSignedAPI(t *testing.T) {
	f := newFront("my.example")
	f.labels[labelURLs], f.labels[labelAPIs], f.labels[labelBuckets] = sign("url"), sign("api"), sign("bucket")
	f.domains = func(host string) endpoint.Handler {
		if host == "shop.example.org" || host == "bucket.s3.my.example" {
			return sign("custom")
		}
		return nil
	}
	f.paths = []pathHandler{{"/healthz", true, http.HandlerFunc(health)}}
	f.rest = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "signed") })
	for _, tc := range []struct{ host, path, want string }{
		{"abc.fn.my.example:9555", "/x", "url abc "},
		{"ABC.FN.My.Example.", "/", "url abc "},
		{"abc.fn.my.example", "/_api/other/", "url abc "},
		{"abc.fn.my.example", "/healthz", "url abc "},
		{"abc.api.my.example", "/", "api abc "},
		{"a.b.fn.my.example", "/", "url a.b "},
		{"shop.example.org:443", "/", "custom shop.example.org "},
		{"bucket.s3.my.example", "/", "custom bucket.s3.my.example "},
		{"my.bucket.s3.my.example", "/", "bucket my.bucket "},
		{"my.example", "/_fn/abc/x/y", "url abc /_fn/abc"},
		{"127.0.0.1:9555", "/_fn/abc", "url abc /_fn/abc"},
		{"127.0.0.1:9555", "/_api/abc//x", "api abc /_api/abc"},
		{"127.0.0.1:9555", "/healthz", "ok\n"},
		{"127.0.0.1:9555", "/healthz/", "signed"},
		{"127.0.0.1:9555", "//bucket//key/../x", "signed"}, // nothing is cleaned before the signature is checked
		{"fn.my.example", "/", "signed"},
		{"abc.fn.my.example.evil", "/", "signed"},
		{"abc.xyz.my.example", "/", "signed"},
		{"[::1]:9555", "/", "signed"},
	} {
		r := httptest.NewRequest(http.MethodGet, "http://h"+tc.path, nil)
		r.Host = tc.host
		w := httptest.NewRecorder()
		f.ServeHTTP(w, r)
		if got := w.Body.String(); got != tc.want {
			t.Errorf("%s%s: %q, want %q", tc.host, tc.path, got, tc.want)
		}
	}
}

func TestAnEndpointOfAKindThatIsNotServedIsNotTheSignedAPIs(t *testing.T) {
	f := newFront("localhost")
	f.rest = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "signed") })
	r := httptest.NewRequest(http.MethodGet, "http://abc.fn.localhost/", nil)
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	if w.Code != http.StatusNotFound {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
