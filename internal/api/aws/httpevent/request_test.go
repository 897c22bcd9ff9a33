package httpevent

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// documented is the request of the examples in AWS's documentation.
func documented(t *testing.T, body string) *Request {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/my/path?parameter1=value1&parameter1=value2&parameter2=value", strings.NewReader(body))
	r.Host = "id.api.localhost:9555"
	r.RemoteAddr = "192.0.2.1:40000"
	r.Header = http.Header{
		"Header1": {"value1"}, "Header2": {"value1", "value2"}, "Cookie": {"cookie1; cookie2"},
		"User-Agent": {"agent"}, "X-Amzn-Trace-Id": {"Root=1-5759e988-bd862e3fe1be46a994272793"}, "X-Forwarded-For": {"198.51.100.7"},
		"Connection": {"keep-alive"},
	}
	return &Request{
		HTTP: r, Path: "/my/path", Body: []byte(body), ID: "id", Time: time.UnixMilli(1583348638390),
		Account: "123456789012", API: "api-id", Domain: "id.api.localhost", Stage: "$default", RouteKey: "POST /my/{parameter1}",
		PathParameters: map[string]string{"parameter1": "value1"},
		StageVariables: map[string]string{"stageVariable1": "value1", "stageVariable2": "value2"},
	}
}

// golden compares an event with a file, field by field.
func golden(t *testing.T, file string, event []byte, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	var got, expected any
	if err := json.Unmarshal(event, &got); err != nil {
		t.Fatalf("%v: %s", err, event)
	}
	if err := json.Unmarshal(want, &expected); err != nil {
		t.Fatal(err)
	}
	diff(t, file, got, expected)
}

func diff(t *testing.T, path string, got, want any) {
	t.Helper()
	g, ok := got.(map[string]any)
	w, both := want.(map[string]any)
	if !ok || !both {
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
		return
	}
	for k := range w {
		if _, ok := g[k]; !ok {
			t.Errorf("%s.%s is missing, want %v", path, k, w[k])
			continue
		}
		diff(t, path+"."+k, g[k], w[k])
	}
	for k := range g {
		if _, ok := w[k]; !ok {
			t.Errorf("%s.%s: %v, want nothing", path, k, g[k])
		}
	}
}

func TestEventsHaveTheDocumentedFields(t *testing.T) {
	q := documented(t, "Hello from client!")
	q.HTTP.Header.Set("Content-Type", "text/plain")
	event, err := q.V2()
	golden(t, "api-2.0.json", event, err)

	event, err = q.V1()
	golden(t, "api-1.0.json", event, err)

	q.Authorizer = map[string]any{"jwt": map[string]any{"claims": map[string]string{"claim1": "value1"}, "scopes": []string{"scope1"}}}
	event, err = q.V2()
	if err != nil || !strings.Contains(string(event), `"authorizer":{"jwt":{"claims":{"claim1":"value1"},"scopes":["scope1"]}}`) {
		t.Errorf("%s, %v", event, err)
	}
	q.Authorizer = nil
	event, err = q.AuthorizerV2("arn:aws:execute-api:us-east-1:123456789012:api-id/$default/POST/my/path", []string{"user1", "123"})
	golden(t, "authorizer-2.0.json", event, err)
	event, err = q.AuthorizerV1("arn:aws:execute-api:us-east-1:123456789012:api-id/$default/POST/my/path", []string{"user1", "123"})
	golden(t, "authorizer-1.0.json", event, err)

	// A function URL's event: cookies are a header too, the path stays escaped.
	q = documented(t, `{"hello": "world"}`)
	q.URL, q.Account, q.RouteKey, q.PathParameters, q.StageVariables = true, "anonymous", "$default", nil, nil
	q.Path = "/my/path%20with"
	q.HTTP.Header.Set("Content-Type", "application/json")
	event, err = q.V2()
	golden(t, "url-2.0.json", event, err)
}

func TestQueriesLoseNothing(t *testing.T) {
	for raw, want := range map[string]string{
		"":                       "null",
		"a=1&b=2&a=3":            `{"a":"1,3","b":"2"}`,
		"a=1;b=2":                `{"a":"1;b=2"}`,
		"a=100%&b=%zz&%=c":       `{"%":"c","a":"100%","b":"%zz"}`,
		"a%20b=c+d&e&f=&&g=h=i&": `{"a b":"c d","e":"","f":"","g":"h=i"}`,
	} {
		b, err := json.Marshal(joined(Query(raw)))
		if err != nil || string(b) != want {
			t.Errorf("%q: %s, %v, want %s", raw, b, err, want)
		}
	}
}

func TestCookiesOfSeveralLinesStayApart(t *testing.T) {
	q := documented(t, "")
	q.URL = true
	q.HTTP.Header["Cookie"] = []string{"a=1; b=2", "c=3"}
	e := q.event2()
	if got := e.Headers["cookie"]; got != "a=1; b=2; c=3" || !slices.Equal(e.Cookies, []string{"a=1", "b=2", "c=3"}) {
		t.Errorf("header %q, cookies %q", got, e.Cookies)
	}
}

func TestFormat1TellsWhoSigned(t *testing.T) {
	q := documented(t, "")
	q.Caller, q.StageVariables = &Caller{AccessKey: "AKIA", Account: "123456789012", ARN: "arn:user"}, map[string]string{}
	b, err := q.V1()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"accessKey":"AKIA"`, `"accountId":"123456789012","caller":"AKIA"`, `"user":"AKIA"`, `"userArn":"arn:user"`, `"stageVariables":null`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in %s", want, b)
		}
	}
}

func TestBodiesAreTextByTheirTypeElseBase64(t *testing.T) {
	for _, tc := range []struct {
		content, body string
		encoded       bool
	}{
		{"text/plain", "hi", false},
		{"TEXT/html; charset=utf-8", "hi", false},
		{"application/json", "{}", false},
		{"application/vnd.api+json", "{}", false},
		{"application/soap+xml; charset=utf-8", "<a/>", false},
		{"application/xml", "<a/>", false},
		{"application/javascript", "1", false},
		{"application/x-www-form-urlencoded", "a=b", true},
		{"application/octet-stream", "a", true},
		{"multipart/form-data; boundary=x", "a", true},
		{"image/png", "a", true},
		{"", "a", true},
		{"text/plain", "\xff\xfe", true}, // no text after all
		{"image/png", "", false},
	} {
		q := documented(t, tc.body)
		q.HTTP.Header.Set("Content-Type", tc.content)
		if _, encoded := q.body(); encoded != tc.encoded {
			t.Errorf("%q %q: base64 %v", tc.content, tc.body, encoded)
		}
	}
}
