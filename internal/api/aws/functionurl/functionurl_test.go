package functionurl

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/mayfly-dev/mayfly/internal/access"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/endpoint"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/invoke"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

// invoker answers as a test says and keeps what it was asked.
type invoker struct {
	got    invoke.Request
	result invoke.Result
	err    error

	content string   // of a streamed answer
	parts   []string // of a streamed answer
}

func (i *invoker) Sync(_ context.Context, r invoke.Request) (invoke.Result, error) {
	i.got = r
	return i.result, i.err
}

func (i *invoker) Stream(_ context.Context, r invoke.Request, w invoke.StreamWriter) (invoke.Result, error) {
	i.got = r
	if i.parts != nil {
		if err := w.Begin(i.content); err != nil {
			return invoke.Result{}, err
		}
	}
	for _, p := range i.parts {
		if _, err := w.Write([]byte(p)); err != nil {
			return invoke.Result{}, errs.Newf(errs.Unavailable, "%w", err)
		}
	}
	return i.result, i.err
}

func (i *invoker) ServesHTTP(name, _ string) bool { return name == "site" }

func (i *invoker) ServeWeb(w http.ResponseWriter, req *http.Request, r invoke.Request) error {
	i.got = r
	if i.err == nil {
		io.WriteString(w, "web "+req.Method+" "+req.URL.RequestURI())
	}
	return i.err
}

type rig struct {
	*Door
	invoker *invoker
	urls    *endpoint.URLs
	key     access.Key
}

func newRig(t *testing.T) *rig {
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
	keys, _, err := access.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{invoker: &invoker{}, key: keys.Primary()}
	if r.urls, err = endpoint.OpenURLs(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	r.Door = New(Options{
		Region: "us-east-1", Account: "000000000000", Domain: "localhost", URLs: r.urls, Invoker: r.invoker,
		Auth: wire.NewAuthenticator(keys), MaxBody: 1000, Log: slog.New(slog.DiscardHandler),
	})
	return r
}

func (r *rig) url(t *testing.T, u endpoint.URL) string {
	t.Helper()
	made, err := r.urls.Create(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	return made.ID
}

func (r *rig) serve(id string, req *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r.ServeEndpoint(w, req, endpoint.Address{Name: id})
	return w
}

func TestErrorsHaveTheirStatusAndTellNoSecrets(t *testing.T) {
	r := newRig(t)
	id := r.url(t, endpoint.URL{Function: "f"})
	for _, tc := range []struct {
		name    string
		id      string
		target  string
		body    string
		result  invoke.Result
		err     error
		status  int
		message string
	}{
		{"no such URL", "nosuch", "/", "", invoke.Result{}, nil, 404, "No function has this URL."},
		{"a trick in the path", id, "/a/%2e%2e/b", "", invoke.Result{}, nil, 400, ""},
		{"a large body", id, "/", strings.Repeat("x", 1001), invoke.Result{}, nil, 413, "Request must be smaller than 1000 bytes for the InvokeFunction operation"},
		{"a large event", id, "/", "", invoke.Result{}, errs.Newf(errs.TooLarge, "x"), 413, ""},
		{"throttled", id, "/", "", invoke.Result{}, errs.Newf(errs.Throttled, "x"), 429, "Rate Exceeded."},
		{"the function is gone", id, "/", "", invoke.Result{}, errs.Newf(errs.NotFound, "x"), 404, ""},
		{"the function is not ready", id, "/", "", invoke.Result{}, errs.Newf(errs.Conflict, "x"), 503, "Service Unavailable"},
		{"the node is stopping", id, "/", "", invoke.Result{}, errs.Newf(errs.Unavailable, "x"), 503, "Service Unavailable"},
		{"a fault of the node", id, "/", "", invoke.Result{}, errs.Newf(errs.Internal, "secret"), 500, "Internal Server Error"},
		{"the function failed", id, "/", "", invoke.Result{FunctionError: invoke.Unhandled, Payload: []byte(`{"errorMessage": "secret"}`)}, nil, 502, "Internal Server Error"},
		{"the function answered nonsense", id, "/", "", invoke.Result{Payload: []byte(`{"statusCode": "secret"}`)}, nil, 502, "Internal Server Error"},
	} {
		r.invoker.result, r.invoker.err = tc.result, tc.err
		w := r.serve(tc.id, httptest.NewRequest(http.MethodPost, tc.target, strings.NewReader(tc.body)))
		var doc struct{ Message string }
		if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || w.Code != tc.status || tc.message != "" && doc.Message != tc.message {
			t.Errorf("%s: %d %s, want %d %s", tc.name, w.Code, w.Body, tc.status, tc.message)
		}
		if strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s: the client learns %s", tc.name, w.Body)
		}
		if w.Header().Get("X-Amzn-Requestid") == "" || w.Header().Get("X-Amzn-Errortype") == "" {
			t.Errorf("%s: %v", tc.name, w.Header())
		}
	}
}

func TestASignedURLLetsInTheNodesKeysOnly(t *testing.T) {
	r := newRig(t)
	r.invoker.result.Payload = []byte(`"ok"`)
	id := r.url(t, endpoint.URL{Function: "f", Signed: true})
	request := func(service, secret string, change func(*http.Request)) *http.Request {
		body := []byte("body")
		req := httptest.NewRequest(http.MethodPost, "http://"+id+".fn.localhost/a%20b?x=1", bytes.NewReader(body))
		sum := "230d8358dc8e8890b4c58deeb62912ee2f20357ae92a5cc861b98e68fe31acb5" // of "body"
		err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: r.key.ID, SecretAccessKey: secret}, req, sum, service, "us-east-1", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(req)
		}
		return req
	}
	w := r.serve(id, request("lambda", r.key.Secret, nil))
	if w.Code != http.StatusOK || w.Body.String() != "ok" {
		t.Errorf("signed: %d %s", w.Code, w.Body)
	}
	var event struct {
		Headers        map[string]string
		RequestContext struct {
			AccountID  string
			Authorizer struct {
				IAM struct{ AccessKey, UserARN string }
			}
		}
	}
	if err := json.Unmarshal(r.invoker.got.Payload, &event); err != nil {
		t.Fatal(err)
	}
	if c := event.RequestContext; c.AccountID != "000000000000" || c.Authorizer.IAM.AccessKey != r.key.ID || event.Headers["authorization"] != "" {
		t.Errorf("event %s", r.invoker.got.Payload)
	}
	for name, req := range map[string]*http.Request{
		"unsigned":        httptest.NewRequest(http.MethodGet, "/", nil),
		"another secret":  request("lambda", strings.Repeat("x", 40), nil),
		"another service": request("execute-api", r.key.Secret, nil),
		"another path":    request("lambda", r.key.Secret, func(req *http.Request) { req.URL.Path, req.RequestURI = "/other", "/other?x=1" }),
		"another body": request("lambda", r.key.Secret, func(req *http.Request) {
			req.Body = http.NoBody
		}),
	} {
		r.invoker.got = invoke.Request{}
		if w := r.serve(id, req); w.Code != http.StatusForbidden || r.invoker.got.Function != "" {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

func TestPreflightsAreAnsweredWithoutTheFunction(t *testing.T) {
	r := newRig(t)
	id := r.url(t, endpoint.URL{Function: "f", Signed: true, CORS: &endpoint.CORS{Origins: []string{"https://a.example"}, Methods: []string{"PUT"}}})
	req := httptest.NewRequest(http.MethodOptions, "/x", nil)
	req.Header.Set("Origin", "https://a.example")
	req.Header.Set("Access-Control-Request-Method", "PUT")
	w := r.serve(id, req)
	if w.Code != http.StatusOK || w.Header().Get("Access-Control-Allow-Methods") != "PUT" || r.invoker.got.Function != "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	// Errors are readable by the page too.
	req = httptest.NewRequest(http.MethodGet, "/x", nil)
	req.Header.Set("Origin", "https://a.example")
	if w = r.serve(id, req); w.Code != http.StatusForbidden || w.Header().Get("Access-Control-Allow-Origin") != "https://a.example" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	// Without rules of its own, the URL leaves OPTIONS to the function.
	plain := r.url(t, endpoint.URL{Function: "g"})
	r.invoker.result.Payload = []byte(`{"statusCode": 204, "headers": {"access-control-allow-origin": "*"}}`)
	req = httptest.NewRequest(http.MethodOptions, "/x", nil)
	req.Header.Set("Origin", "https://a.example")
	req.Header.Set("Access-Control-Request-Method", "PUT")
	if w = r.serve(plain, req); w.Code != http.StatusNoContent || r.invoker.got.Function != "g" || w.Header().Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestAStreamThatFailsMidwayIsNotTakenForWhole(t *testing.T) {
	r := newRig(t)
	id := r.url(t, endpoint.URL{Function: "f", Stream: true, CORS: &endpoint.CORS{Origins: []string{"*"}}})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.ServeEndpoint(w, req, endpoint.Address{Name: id})
	}))
	defer srv.Close()
	failed := invoke.Result{FunctionError: invoke.Unhandled, Payload: []byte(`{}`)}
	for _, tc := range []struct {
		name   string
		parts  []string
		result invoke.Result
		err    error
		status int
		body   string
		cut    bool
	}{
		{"whole", []string{"one ", "two"}, invoke.Result{}, nil, 200, "one two", false},
		{"failed before", nil, failed, nil, 502, `{"Message":"Internal Server Error"}`, false},
		{"throttled", nil, invoke.Result{}, errs.Newf(errs.Throttled, "x"), 429, `{"Message":"Rate Exceeded."}`, false},
		{"failed midway", []string{"one "}, failed, nil, 200, "one ", true},
	} {
		r.invoker.content, r.invoker.parts, r.invoker.result, r.invoker.err = "text/event-stream", tc.parts, tc.result, tc.err
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", "https://a.example")
		res, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != tc.status || string(body) != tc.body || (err != nil) != tc.cut {
			t.Errorf("%s: %d %q, %v", tc.name, res.StatusCode, body, err)
		}
		if res.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: a page of another origin can't read it: %v", tc.name, res.Header)
		}
	}
}
