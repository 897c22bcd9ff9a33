package httpevent

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAnswersOfFormat2AreInferred(t *testing.T) {
	for _, tc := range []struct {
		payload string
		status  int // 0: it is no answer
		header  string
		body    string
	}{
		{`"Hello from Lambda!"`, 200, "Content-Type: application/json", "Hello from Lambda!"},
		{`{ "message": "Hello" }`, 200, "Content-Type: application/json", `{ "message": "Hello" }`},
		{`[1, 2]`, 200, "Content-Type: application/json", "[1, 2]"},
		{`3.5`, 200, "Content-Type: application/json", "3.5"},
		{`null`, 200, "Content-Type: application/json", "null"},
		{`{"statusCode": 201, "headers": {"Content-Type": "text/css", "x-n": 5, "x-b": true}, "body": "hi"}`, 201, "Content-Type: text/css|X-N: 5|X-B: true", "hi"},
		{`{"statusCode": 200, "body": "hi"}`, 200, "Content-Type: text/plain", "hi"},
		{`{"statusCode": "204"}`, 204, "", ""},
		{`{"statusCode": 200, "body": null}`, 200, "", ""},
		{`{"statusCode": 200, "body": {"a": 1}}`, 200, "", `{"a": 1}`},
		{`{"statusCode": 200, "cookies": ["a=1; Path=/", "b=2"], "body": "aGk=", "isBase64Encoded": true}`, 200, "Set-Cookie: a=1; Path=/|Set-Cookie: b=2", "hi"},
		{`{"statusCode": 200, "headers": {"Content-Length": "99", "Connection": "close", "Transfer-Encoding": "chunked"}, "body": "hi"}`, 200, "", "hi"},
		{`{"statusCode": 200, "multiValueHeaders": {"x-a": ["1"]}, "body": "hi"}`, 200, "", "hi"},
		{`{"statusCode": "teapot"}`, 0, "", ""},
		{`{"statusCode": 99}`, 0, "", ""},
		{`{"statusCode": 600}`, 0, "", ""},
		{`{"statusCode": 200, "headers": {"x-a": ["1"]}}`, 0, "", ""},
		{`{"statusCode": 200, "headers": "x"}`, 0, "", ""},
		{`{"statusCode": 200, "body": "no base64!", "isBase64Encoded": true}`, 0, "", ""},
	} {
		a, err := ParseV2([]byte(tc.payload), "text/plain")
		if tc.status == 0 {
			if err == nil {
				t.Errorf("%s is an answer: %v", tc.payload, a)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc.payload, err)
			continue
		}
		if a.Status != tc.status || string(a.Body) != tc.body {
			t.Errorf("%s: %d %q, want %d %q", tc.payload, a.Status, a.Body, tc.status, tc.body)
		}
		has(t, tc.payload, a.Header, tc.header)
		for _, name := range []string{"Content-Length", "Connection", "Transfer-Encoding", "X-A"} {
			if a.Header.Get(name) != "" {
				t.Errorf("%s: header %s goes out", tc.payload, name)
			}
		}
	}
}

// has fails unless h has all the headers in "Name: value|Name: value".
func has(t *testing.T, what string, h http.Header, want string) {
	t.Helper()
	all := ""
	for name, values := range h {
		for _, v := range values {
			all += "|" + name + ": " + v
		}
	}
	for w := range strings.SplitSeq(want, "|") {
		if !strings.Contains(all, w) {
			t.Errorf("%s: no %q in %s", what, w, all)
		}
	}
}

func TestAnswersOfFormat1NeedAStatus(t *testing.T) {
	a, err := ParseV1([]byte(`{"statusCode": 200, "headers": {"x-a": "0"}, "multiValueHeaders": {"x-a": ["1", "2"], "set-cookie": ["a=1", "b=2"]}, "cookies": ["c=3"], "body": "hi"}`), "")
	if err != nil || string(a.Body) != "hi" || strings.Join(a.Header["X-A"], " ") != "1 2" || strings.Join(a.Header["Set-Cookie"], " ") != "a=1 b=2" {
		t.Errorf("%+v, %v", a, err)
	}
	for _, payload := range []string{`"text"`, `{"body": "x"}`, `null`, `not json`} {
		if _, err := ParseV1([]byte(payload), ""); err == nil {
			t.Errorf("%s is an answer", payload)
		}
	}
}

func TestAStreamBeginsWithItsPrelude(t *testing.T) {
	prelude := `{"statusCode": 418, "headers": {"x-a": "1"}, "cookies": ["c=1"]}` + strings.Repeat("\x00", 8)
	for _, parts := range [][]string{
		{prelude + "one two"},
		{prelude[:10], prelude[10 : len(prelude)-3], prelude[len(prelude)-3:], "one ", "two"},
	} {
		w := httptest.NewRecorder()
		s := NewStream(w, "application/octet-stream", func(h http.Header) { h.Set("X-Seen", "yes") })
		if err := s.Begin(Prelude); err != nil {
			t.Fatal(err)
		}
		for _, p := range parts {
			if n, err := s.Write([]byte(p)); err != nil || n != len(p) {
				t.Fatalf("%q: %d, %v", p, n, err)
			}
		}
		if w.Code != 418 || w.Body.String() != "one two" || w.Header().Get("X-A") != "1" || w.Header().Get("Set-Cookie") != "c=1" || w.Header().Get("X-Seen") != "yes" {
			t.Errorf("%v: %d %v %q", parts, w.Code, w.Header(), w.Body)
		}
	}
	w := httptest.NewRecorder()
	s := NewStream(w, "application/octet-stream", func(http.Header) {})
	s.Begin("text/event-stream")
	s.Write([]byte("data: 1\n\n"))
	if w.Header().Get("Content-Type") != "text/event-stream" || !w.Flushed {
		t.Errorf("%v, flushed %v", w.Header(), w.Flushed)
	}
	endless := NewStream(httptest.NewRecorder(), "", func(http.Header) {})
	endless.Begin(Prelude)
	if _, err := endless.Write(make([]byte, 7)); err != nil {
		t.Error(err)
	}
	if _, err := endless.Write([]byte(strings.Repeat("x", maxPrelude))); err == nil {
		t.Error("metadata without an end is kept for ever")
	}
}

func FuzzAnswersAreReadOrRefused(f *testing.F) {
	f.Add([]byte(`{"statusCode": 200, "headers": {"a": "b"}, "cookies": ["c"], "body": "x", "isBase64Encoded": false}`))
	f.Add([]byte(`"text"`))
	f.Add([]byte(`{"statusCode": "200", "multiValueHeaders": {"a": ["b"]}, "body": null}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		for _, parse := range []func([]byte, string) (*Answer, error){ParseV1, ParseV2, ParsePrelude} {
			if a, err := parse(payload, "text/plain"); err == nil && (a.Status < 200 || a.Status > 599 || a.Header == nil) {
				t.Errorf("%q: %+v", payload, a)
			}
		}
	})
}
