package endpoint

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

func TestPathKeepsWhatTheClientSentAndRefusesTricks(t *testing.T) {
	for _, tc := range []struct{ prefix, target, want string }{
		{"", "/", "/"},
		{"", "http://h", "/"},
		{"", "/a%20b/%2F/c?x=/..", "/a%20b/%2F/c"},
		{"", "//a//b/", "//a//b/"},
		{"", "/...", "/..."},
		{"/_fn/x", "/_fn/x", "/"},
		{"/_fn/x", "/_fn/x/y", "/y"},
		{"/_fn/x", "/_fn/x/_fn/x/y", "/_fn/x/y"},
		{"", "/a/../b", ""},
		{"", "/a/.", ""},
		{"", "/a/%2e%2e/b", ""},
		{"", "/a/.%2E", ""},
		{"", "/a%2F..%2Fb", ""},
		{"", "/a%5c..%5Cb", ""},
		{"", "/a%2F...%2Fb..", "/a%2F...%2Fb.."},
		{"/_fn/x", "/%5ffn/x/y", ""},
		{"", "/a%00b", ""},
		{"", "/a%0d%0aX:y", ""},
		{"", "/a%7f", ""},
	} {
		u, err := url.Parse(tc.target)
		if strings.HasPrefix(tc.target, "/") { // as the server reads a request line
			u, err = url.ParseRequestURI(tc.target)
		}
		if err != nil {
			t.Fatalf("%q: %v", tc.target, err)
		}
		r := &http.Request{URL: u}
		got, err := Address{Prefix: tc.prefix}.Path(r)
		if got != tc.want || (err != nil) != (tc.want == "") || err != nil && !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: %q, %v, want %q", tc.target, got, err, tc.want)
		}
	}
}

func TestCORSTellsBrowsersWhatIsAllowed(t *testing.T) {
	all := CORS{Origins: []string{"*"}, Methods: []string{"*"}, Headers: []string{"*"}, MaxAge: 60e9}
	some := CORS{Origins: []string{"https://a.example", "https://*.b.example"}, Methods: []string{"GET", "PUT"}, Headers: []string{"x-a"}, Expose: []string{"x-b"}, Credentials: true}
	for _, tc := range []struct {
		name   string
		cors   CORS
		origin string
		method string // asked by a preflight, "" for none
		want   map[string]string
	}{
		{"any", all, "https://x", "PATCH", map[string]string{"Allow-Origin": "*", "Allow-Methods": "PATCH", "Allow-Headers": "x-q", "Max-Age": "60"}},
		{"any, no preflight", all, "https://x", "", map[string]string{"Allow-Origin": "*"}},
		{"listed", some, "https://A.example", "PUT", map[string]string{"Allow-Origin": "https://A.example", "Allow-Methods": "GET,PUT", "Allow-Headers": "x-a", "Allow-Credentials": "true"}},
		{"listed, no preflight", some, "https://c.b.example", "", map[string]string{"Allow-Origin": "https://c.b.example", "Expose-Headers": "x-b", "Allow-Credentials": "true"}},
		{"another method", some, "https://a.example", "DELETE", map[string]string{"Allow-Origin": "https://a.example", "Allow-Headers": "x-a", "Allow-Credentials": "true"}},
		{"another origin", some, "https://evil.example", "GET", nil},
		{"an origin that ends alike", some, "https://evilb.example", "GET", nil},
		{"another scheme", some, "http://a.example", "", nil},
		{"no origin", some, "", "", nil},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Origin", tc.origin)
		h := http.Header{}
		if tc.method != "" {
			r.Header.Set("Access-Control-Request-Method", tc.method)
			r.Header.Set("Access-Control-Request-Headers", "x-q")
			tc.cors.Preflight(h, r)
		} else {
			h.Set("Access-Control-Allow-Origin", "https://from-the-function")
			tc.cors.Apply(h, r)
		}
		h.Del("Vary")
		if len(h) != len(tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, h, tc.want)
		}
		for k, v := range tc.want {
			if got := h.Get("Access-Control-" + k); got != v {
				t.Errorf("%s: %s is %q, want %q", tc.name, k, got, v)
			}
		}
	}
}

func bucket(t *testing.T) *spine.Bucket {
	t.Helper()
	s, err := spine.Open(t.Context(), spine.Config{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	b, err := s.Bucket(t.Context(), spine.EndpointsBucket)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestURLsOutliveTheProcess(t *testing.T) {
	b, ctx := bucket(t), t.Context()
	u, err := OpenURLs(ctx, b)
	if err != nil {
		t.Fatal(err)
	}
	made, err := u.Create(ctx, URL{Function: "f", CORS: &CORS{Origins: []string{"*"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Create(ctx, URL{Function: "f"}); !errs.Is(err, errs.Conflict) {
		t.Errorf("a second URL of the function: %v", err)
	}
	if _, err := u.Create(ctx, URL{Function: "f", Qualifier: "live"}); err != nil {
		t.Errorf("a URL of an alias: %v", err)
	}
	if _, err := u.Update(ctx, "f", "", func(u *URL) { u.Signed = true }); err != nil {
		t.Fatal(err)
	}
	if made.Signed {
		t.Error("a change shows in what was handed out before")
	}
	again, err := OpenURLs(ctx, b)
	if err != nil {
		t.Fatal(err)
	}
	got, err := again.Lookup(made.ID)
	if err != nil || !got.Signed || got.Function != "f" || got.CORS == nil || !got.Created.Equal(made.Created) {
		t.Errorf("%+v, %v", got, err)
	}
	if l := again.List("f"); len(l) != 2 || l[1].Qualifier != "live" {
		t.Errorf("list %v", l)
	}
	if err := again.DeleteAll(ctx, "f"); err != nil {
		t.Fatal(err)
	}
	if _, err := again.Lookup(made.ID); !errs.Is(err, errs.NotFound) {
		t.Errorf("after it was deleted: %v", err)
	}
	if _, err := again.Create(ctx, URL{Function: "f"}); err != nil {
		t.Errorf("a new URL after that: %v", err)
	}
}
