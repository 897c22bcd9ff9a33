package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/mayfly-dev/mayfly/internal/access"
	"github.com/mayfly-dev/mayfly/internal/api/aws/httpevent"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/endpoint"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/invoke"
)

// functions are an Invoker whose functions are Go's.
type functions map[string]func(event map[string]any) (any, error)

func (f functions) Sync(_ context.Context, r invoke.Request) (invoke.Result, error) {
	fn := f[r.Function]
	if fn == nil {
		return invoke.Result{}, errs.Newf(errs.NotFound, "no %s", r.Function)
	}
	var event map[string]any
	if err := json.Unmarshal(r.Payload, &event); err != nil {
		return invoke.Result{}, err
	}
	answer, err := fn(event)
	if err != nil {
		return invoke.Result{}, err
	}
	if failed, ok := answer.(invoke.Result); ok {
		return failed, nil
	}
	b, err := json.Marshal(answer)
	return invoke.Result{Payload: b}, err
}

// ServesHTTP takes the function called site for a web server.
func (functions) ServesHTTP(name, _ string) bool { return name == "site" }

func (functions) ServeWeb(w http.ResponseWriter, req *http.Request, _ invoke.Request) error {
	b, err := io.ReadAll(req.Body)
	if err != nil {
		return err
	}
	w.Header().Set("Access-Control-Allow-Origin", "*")
	fmt.Fprintf(w, "%s %s %s", req.Method, req.URL.EscapedPath(), b)
	return nil
}

// echo answers with its event.
func echo(event map[string]any) (any, error) { return event, nil }

type rig struct {
	*Server
	lines []string
	mu    sync.Mutex
}

func newRig(t *testing.T, f functions) *rig {
	t.Helper()
	keys, _, err := access.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{}
	r.Server = New(Options{
		Region: "us-east-1", Account: "123456789012", Domain: "localhost", Invoker: f, Auth: wire.NewAuthenticator(keys),
		MaxBody: 1000, Client: &http.Client{Transport: http.DefaultTransport}, Log: slog.New(slog.DiscardHandler),
		Access: func(group, line string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.lines = append(r.lines, group+": "+line)
		},
	})
	return r
}

// serve makes an API of one stage.
func (r *rig) serve(t *testing.T, stage string, routes ...*Route) *API {
	t.Helper()
	s := &Stage{Name: stage, Variables: map[string]string{"v": "1"}}
	for _, rt := range routes {
		if rt.Integration.Timeout == 0 {
			rt.Integration.Timeout = time.Minute
		}
		if err := s.Routes.Add(rt.Key, rt); err != nil {
			t.Fatal(err)
		}
	}
	a := &API{ID: "abc", Stages: map[string]*Stage{stage: s}}
	r.Set(a)
	return a
}

func (r *rig) get(name, method, target string, header ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	r.ServeEndpoint(w, req, endpoint.Address{Name: name})
	return w
}

func to(function, format string) Integration {
	return Integration{Function: function, Format: format, Invoked: "arn:aws:lambda:us-east-1:123456789012:function:" + function}
}

func event(t *testing.T, w *httptest.ResponseRecorder) map[string]any {
	t.Helper()
	var e map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return e
}

func TestStagesAndDomainNamesLeadToTheRoute(t *testing.T) {
	r := newRig(t, functions{"echo": echo})
	a := r.serve(t, "dev", &Route{Key: "GET /pets/{id}", Integration: to("echo", "2.0")}, &Route{Key: "GET /", Integration: to("echo", "2.0")})
	r.SetDomain(&Domain{Name: "shop.example.com", Mappings: []Mapping{{Key: "v1/beta", API: "abc", Stage: "none"}, {Key: "v1", API: "abc", Stage: "dev"}}})
	for _, tc := range []struct {
		name, path string
		status     int
		rawPath    string
	}{
		{"abc", "/dev/pets/1", 200, "/dev/pets/1"},
		{"abc", "/dev/pets/a%20b", 200, "/dev/pets/a b"},
		{"abc", "/dev", 200, "/dev"},
		{"abc", "/dev/", 200, "/dev/"},
		{"abc", "/pets/1", 404, ""}, // no $default stage
		{"abc", "/dev/nosuch", 404, ""},
		{"nosuch", "/dev/pets/1", 404, ""},
		{"abc", "/dev/../dev/pets/1", 400, ""},
		{"shop.example.com", "/v1/pets/1", 200, "/v1/pets/1"},
		{"shop.example.com", "/v1", 200, "/v1"},
		{"shop.example.com", "/v1x/pets/1", 404, ""},
		{"shop.example.com", "/v1/beta/pets/1", 404, ""}, // the longest key, whose stage is gone
		{"shop.example.com", "/pets/1", 404, ""},
	} {
		w := r.get(tc.name, http.MethodGet, tc.path)
		if w.Code != tc.status || w.Header().Get("Apigw-Requestid") == "" {
			t.Errorf("%s%s: %d %v, want %d", tc.name, tc.path, w.Code, w.Header(), tc.status)
			continue
		}
		if tc.status == 200 {
			if e := event(t, w); e["rawPath"] != tc.rawPath || e["stageVariables"].(map[string]any)["v"] != "1" {
				t.Errorf("%s%s: %v", tc.name, tc.path, e)
			}
		}
	}
	a.DomainOnly = true
	if w := r.get("abc", http.MethodGet, "/dev/pets/1"); w.Code != 404 {
		t.Errorf("by its id, which is disabled: %d", w.Code)
	}
	if w := r.get("shop.example.com", http.MethodGet, "/v1/pets/1"); w.Code != 200 {
		t.Errorf("by its domain name: %d", w.Code)
	}
	r.RemoveDomain("shop.example.com")
	if r.HasDomain("shop.example.com") {
		t.Error("the domain name is still there")
	}
}

func TestIntegrationsThatFailHaveTheirStatus(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	fail := func(err error) func(map[string]any) (any, error) {
		return func(map[string]any) (any, error) { return nil, err }
	}
	r := newRig(t, functions{
		"hang":      func(map[string]any) (any, error) { <-release; return nil, nil },
		"fail":      func(map[string]any) (any, error) { return invoke.Result{FunctionError: "Unhandled"}, nil },
		"nonsense":  func(map[string]any) (any, error) { return map[string]any{"statusCode": "x"}, nil },
		"throttled": fail(errs.Newf(errs.Throttled, "x")),
		"large":     fail(errs.Newf(errs.TooLarge, "x")),
		"broken":    fail(errs.Newf(errs.Internal, "secret")),
	})
	slow := to("hang", "2.0")
	slow.Timeout = time.Millisecond
	nowhere, err := url.Parse("http://127.0.0.1:1/")
	if err != nil {
		t.Fatal(err)
	}
	r.serve(t, DefaultStage,
		&Route{Key: "GET /hang", Integration: slow},
		&Route{Key: "GET /fail", Integration: to("fail", "2.0")},
		&Route{Key: "GET /nonsense", Integration: to("nonsense", "2.0")},
		&Route{Key: "GET /nonsense1", Integration: to("nonsense", "1.0")},
		&Route{Key: "GET /throttled", Integration: to("throttled", "2.0")},
		&Route{Key: "GET /large", Integration: to("large", "2.0")},
		&Route{Key: "GET /broken", Integration: to("broken", "2.0")},
		&Route{Key: "GET /gone", Integration: to("gone", "2.0")},
		&Route{Key: "GET /nowhere", Integration: Integration{URL: nowhere}},
		&Route{Key: "GET /limited", Integration: to("fail", "2.0"), Limiter: rate.NewLimiter(0, 0)},
	)
	for path, want := range map[string]string{
		"/hang": `503 {"message":"Service Unavailable"}`, "/fail": `500 {"message":"Internal Server Error"}`,
		"/nonsense": `500 {"message":"Internal Server Error"}`, "/nonsense1": `500 {"message":"Internal Server Error"}`,
		"/throttled": `503 {"message":"Service Unavailable"}`, "/large": `413 {"message":"Request Entity Too Large"}`,
		"/broken": `500 {"message":"Internal Server Error"}`, "/gone": `500 {"message":"Internal Server Error"}`,
		"/nowhere": `503 {"message":"Service Unavailable"}`, "/limited": `429 {"message":"Too Many Requests"}`,
		"/nosuch": `404 {"message":"Not Found"}`,
	} {
		w := r.get("abc", http.MethodGet, path)
		if got := fmt.Sprintf("%d %s", w.Code, w.Body); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	req := httptest.NewRequest(http.MethodGet, "/fail", strings.NewReader(strings.Repeat("x", 1001)))
	w := httptest.NewRecorder()
	r.ServeEndpoint(w, req, endpoint.Address{Name: "abc"})
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a large body: %d", w.Code)
	}
}

func TestHTTPIntegrationsPassRequestsOn(t *testing.T) {
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Back", "yes")
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, "%s %s %s %s", r.Method, r.RequestURI, b, r.Header.Get("X-Forwarded-Proto"))
	}))
	defer back.Close()
	u, err := url.Parse(back.URL + "/base/{proxy}?fixed=1")
	if err != nil {
		t.Fatal(err)
	}
	two, err := url.Parse(back.URL + "/{proxy}/{b}")
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, functions{})
	r.serve(t, DefaultStage,
		&Route{Key: "ANY /x/{proxy+}", Integration: Integration{URL: u, Method: "ANY"}},
		&Route{Key: "ANY /put/{proxy+}", Integration: Integration{URL: u, Method: "PUT"}},
		&Route{Key: "ANY /one/{proxy}", Integration: Integration{URL: u, Method: "ANY"}},
		&Route{Key: "ANY /two/{proxy}/{b}", Integration: Integration{URL: two, Method: "ANY"}},
	)
	for target, want := range map[string]string{
		"/x/a/b%20c?q=1": "POST /base/a/b%20c?fixed=1&q=1 body http",
		"/put/a%3Fb":     "PUT /base/a%3Fb?fixed=1 body http",
		"/one/a%2Fb":     "POST /base/a%2Fb?fixed=1 body http", // one segment stays one
		"/two/%7Bb%7D/x": "POST /%7Bb%7D/x body http",
	} {
		req := httptest.NewRequest(http.MethodPost, target, strings.NewReader("body"))
		w := httptest.NewRecorder()
		r.ServeEndpoint(w, req, endpoint.Address{Name: "abc"})
		if w.Code != http.StatusAccepted || w.Body.String() != want || w.Header().Get("X-Back") != "yes" {
			t.Errorf("%s: %d %s, want %s", target, w.Code, w.Body, want)
		}
	}
}

func TestWebServersGetRequestsAsTheyAre(t *testing.T) {
	r := newRig(t, functions{"auth": func(map[string]any) (any, error) { return map[string]any{"isAuthorized": true}, nil }})
	a := r.serve(t, DefaultStage,
		&Route{Key: "ANY /{proxy+}", Integration: to("site", "2.0")},
		&Route{Key: "POST /mine", Integration: to("site", "2.0"), Authorizer: &Lambda{Function: "auth", Format: "2.0", Simple: true}},
	)
	a.CORS = &endpoint.CORS{Origins: []string{"https://a.example"}}
	for _, path := range []string{"/a%2Fb/c", "/mine"} {
		req := httptest.NewRequest(http.MethodPost, path, strings.NewReader("body"))
		req.Header.Set("Origin", "https://a.example")
		w := httptest.NewRecorder()
		r.ServeEndpoint(w, req, endpoint.Address{Name: "abc"})
		if w.Body.String() != "POST "+path+" body" || strings.Join(w.Header()["Access-Control-Allow-Origin"], " ") != "https://a.example" {
			t.Errorf("%d %s %v", w.Code, w.Body, w.Header())
		}
	}
}

func TestAPIsAnswerPreflightsAndOverruleCORSHeaders(t *testing.T) {
	r := newRig(t, functions{"f": func(map[string]any) (any, error) {
		return map[string]any{"statusCode": 200, "headers": map[string]string{"access-control-allow-origin": "*"}}, nil
	}})
	a := r.serve(t, DefaultStage, &Route{Key: "PUT /x", Integration: to("f", "2.0")})
	a.CORS = &endpoint.CORS{Origins: []string{"https://a.example"}, Methods: []string{"PUT"}}
	w := r.get("abc", http.MethodOptions, "/nosuch", "Origin", "https://a.example", "Access-Control-Request-Method", "PUT")
	if w.Code != http.StatusNoContent || w.Header().Get("Access-Control-Allow-Methods") != "PUT" {
		t.Errorf("preflight: %d %v", w.Code, w.Header())
	}
	w = r.get("abc", http.MethodPut, "/x", "Origin", "https://evil.example")
	if w.Code != 200 || w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another origin: %d %v", w.Code, w.Header())
	}
}

func TestAccessLogsTellTheEndpointsPathAndWhoSigned(t *testing.T) {
	x := &exchange{r: httptest.NewRequest(http.MethodGet, "/_api/abc/a%20b", nil), event: &httpevent.Request{Path: "/a%20b"}}
	want := map[string]string{"path": "/a b", "identity.userArn": "", "identity.accountId": ""}
	for range 2 {
		for name, value := range want {
			if got := x.variable(name); got != value {
				t.Errorf("%s is %q, want %q", name, got, value)
			}
		}
		x.event.Caller = &httpevent.Caller{Account: "123456789012", ARN: "arn:user"}
		want["identity.userArn"], want["identity.accountId"] = "arn:user", "123456789012"
	}
}

func TestAccessLogsTellWhatHappenedAndClientsCanNotForgeThem(t *testing.T) {
	r := newRig(t, functions{"echo": echo})
	a := r.serve(t, DefaultStage, &Route{Key: "GET /pets/{id}", Integration: to("echo", "2.0")})
	a.Stages[DefaultStage].Log = NewAccessLog("/http/a", `{"id": "$context.requestId", "route": "$context.routeKey", "status": "$context.status", "agent": "$context.identity.userAgent", "who": "$context.authorizer.principalId", "error": "$context.error.message", "x": "$context.nosuch.variable."}`)
	w := r.get("abc", http.MethodGet, "/pets/1", "User-Agent", "a\"}\nforged")
	r.get("abc", http.MethodGet, "/nosuch")
	want := []string{
		`/http/a: {"id": "` + w.Header().Get("Apigw-Requestid") + `", "route": "GET /pets/{id}", "status": "200", "agent": "a\"}\nforged", "who": "-", "error": "-", "x": "-."}`,
		`"status": "404", "agent": "-", "who": "-", "error": "Not Found"`,
	}
	if len(r.lines) != 2 || r.lines[0] != want[0] || !strings.Contains(r.lines[1], want[1]) {
		t.Errorf("%q\nwant %q", r.lines, want)
	}
}
