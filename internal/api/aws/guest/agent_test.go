package guest

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/runtimes"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

var provided = interpreter{runtime: runtimes.Runtime{Name: "provided.al2023", Family: runtimes.Provided}}

// launchProvided runs an executable bootstrap with the text under the agent.
func launchProvided(t *testing.T, bootstrap string) *instance {
	t.Helper()
	return launch(t, provided, function.Version{}, map[string]string{"bootstrap": bootstrap})
}

var goBootstrap = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "guest-test-")
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, "bootstrap")
	cmd := exec.Command("go", "build", "-o", out, "./testdata/bootstrap")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, text)
	}
	return out, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := goBootstrap(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

func launchGo(t *testing.T) *instance {
	t.Helper()
	path, err := goBootstrap()
	if err != nil {
		t.Fatal(err)
	}
	p := paths(t, provided, nil)
	if err := os.Link(path, p.Task+"/bootstrap"); err != nil {
		t.Fatal(err)
	}
	return launchAt(t, provided, function.Version{}, p)
}

func TestAnUnmodifiedGoFunctionRunsUnderTheAgent(t *testing.T) {
	i := launchGo(t).ready()
	for range 3 {
		i.want(i.call(`{"do": "this"}`), `"did this"`)
	}
	i.wantError(i.call(`{"do": "fail"}`), sandbox.FrameFailure, "Runtime.Unknown", map[string]any{
		"errorMessage": "told to", "errorType": "errorString",
	})
	checkContextOf(t, i, `{"do": "context"}`, func(doc map[string]any) {
		if doc["identity"] != "pool-a" || doc["client"] != "v" {
			t.Errorf("identity %v, client %v", doc["identity"], doc["client"])
		}
	})
	// A NUL is six bytes of JSON.
	f := i.call(`{"do": "big", "size": 100000}`)
	if f.Kind != sandbox.FrameResponse || len(f.Body) != 600_002 {
		t.Errorf("large answer: frame of kind %d with %d bytes", f.Kind, len(f.Body))
	}
	i.want(i.call(`{"do": "`+strings.Repeat("x", 900_000)+`"}`), `"did `+strings.Repeat("x", 900_000)+`"`)
}

func TestAGoFunctionsEndIsTheAgents(t *testing.T) {
	t.Run("panic", func(t *testing.T) {
		i := launchGo(t).ready()
		i.wantError(i.call(`{"do": "panic"}`), sandbox.FrameFailure, "Runtime.Unknown", map[string]any{"errorMessage": "told to"})
		i.ended()
		if e := i.exit(); e.Code != 1 {
			t.Errorf("exit %+v", e)
		}
	})
	t.Run("exit", func(t *testing.T) {
		i := launchGo(t).ready()
		i.send(sandbox.Call{Payload: []byte(`{"do": "exit"}`)})
		i.ended()
		if e := i.exit(); e.Code != 9 {
			t.Errorf("exit %+v", e)
		}
	})
	t.Run("too large an answer", func(t *testing.T) {
		i := launchGo(t).ready()
		i.wantError(i.call(`{"do": "big", "size": 300000}`), sandbox.FrameFailure, "Function.ResponseSizeTooLarge", map[string]any{
			"errorMessage": "Response payload size exceeded maximum allowed payload size (1048576 bytes)."})
	})
}

// TestAShellFunctionRunsUnderTheAgent is the example of Lambda's guide: a new
// connection and process for each request.
func TestAShellFunctionRunsUnderTheAgent(t *testing.T) {
	for _, tool := range []string{"curl", "bash"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s here", tool)
		}
	}
	i := launchProvided(t, `#!/usr/bin/env bash
set -euo pipefail
while true; do
  HEADERS="$(mktemp)"
  EVENT_DATA=$(curl -sS -LD "$HEADERS" "http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation/next")
  REQUEST_ID=$(grep -Fi Lambda-Runtime-Aws-Request-Id "$HEADERS" | tr -d '[:space:]' | cut -d: -f2)
  rm "$HEADERS"
  echo "to stdout: $EVENT_DATA"
  if [ "$EVENT_DATA" = '"big"' ]; then
    head -c 1500000 /dev/zero | tr '\0' z | curl -sS "http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation/$REQUEST_ID/response" -H 'Expect: 100-continue' --data-binary @-
  elif [ "$EVENT_DATA" = '"chunked"' ]; then
    head -c 500000 /dev/zero | tr '\0' z | curl -sS "http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation/$REQUEST_ID/response" -H 'Transfer-Encoding: chunked' -H 'Expect: 100-continue' -T - -X POST
  else
    curl -sS "http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation/$REQUEST_ID/response" -d "echo $EVENT_DATA"
  fi
done
`).ready()
	i.want(i.call(`{"a":1}`), `echo {"a":1}`)
	i.want(i.call(`"chunked"`), strings.Repeat("z", 500_000))
	i.wantError(i.call(`"big"`), sandbox.FrameFailure, "Function.ResponseSizeTooLarge", nil)
	i.want(i.call(`{"a":2}`), `echo {"a":2}`)
	log := i.fullLog()
	for _, want := range []string{"to stdout: {\"a\":1}\n", `{"status":"OK"}`, `{"errorMessage":"Exceeded maximum allowed payload size (1048576 bytes).","errorType":"RequestEntityTooLarge"}`} {
		if !strings.Contains(log, want) {
			t.Errorf("log lacks %q", want)
		}
	}
}

// api is a test in the place of a runtime, as a client of the Runtime API.
type api struct {
	t    *testing.T
	base string
	addr string
}

// runtimeAPI starts a bootstrap that only tells where the API is, and leaves the
// talking to the test.
func runtimeAPI(t *testing.T) (*instance, api) {
	t.Helper()
	p := paths(t, provided, map[string]string{"bootstrap": "#!/bin/sh\nprintf %s \"$AWS_LAMBDA_RUNTIME_API\" > \"$TMPDIR/addr\"\nexec sleep 600\n"})
	fifo := p.Tmp + "/addr"
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	i := launchAt(t, provided, function.Version{}, p)
	addr, err := os.ReadFile(fifo)
	if err != nil {
		t.Fatal(err)
	}
	return i, api{t, "http://" + string(addr) + "/2018-06-01/runtime/", string(addr)}
}

// client returns an HTTP client with connections of its own.
func (a api) client() *http.Client {
	tr := &http.Transport{ExpectContinueTimeout: hang}
	a.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: hang}
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (a api) do(c *http.Client, method, path, body string, header ...string) answer {
	a.t.Helper()
	req, err := http.NewRequest(method, a.base+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	for k := 0; k < len(header); k += 2 {
		req.Header.Set(header[k], header[k+1])
	}
	return a.send(c, req)
}

func (a api) send(c *http.Client, req *http.Request) answer {
	a.t.Helper()
	res, err := c.Do(req)
	if err != nil {
		a.t.Errorf("%s %s: %v", req.Method, req.URL.Path, err)
		return answer{}
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		a.t.Errorf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

// next asks for the next call, at once, and returns where its answer will be.
func (a api) next(c *http.Client) chan answer {
	ch := make(chan answer, 1)
	go func() { ch <- a.do(c, "GET", "invocation/next", "") }()
	return ch
}

func (a api) want(got answer, status int, body string) {
	a.t.Helper()
	if got.status != status || got.body != body {
		a.t.Errorf("answer %d %q, want %d %q", got.status, got.body, status, body)
	}
}

const (
	okBody    = "{\"status\":\"OK\"}\n"
	badID     = `{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}`
	testCall  = "11111111-2222-3333-4444-555555555555"
	errorType = "Lambda-Runtime-Function-Error-Type"
)

func badState(from, to string) string {
	return `{"errorMessage":"State transition from ` + from + ` to ` + to +
		` failed for runtime. Error: State transition is not allowed","errorType":"InvalidStateTransition"}`
}

func TestRuntimeAPIChecksStatesAsAWSDoes(t *testing.T) {
	i, a := runtimeAPI(t)
	c := a.client()
	response := "invocation/" + testCall + "/response"

	a.want(a.do(c, "POST", response, "x"), 400, badID) // no call yet
	call := a.next(c)
	i.ready()
	i.send(sandbox.Call{Payload: []byte(`{"n":1}`), TraceID: "Root=1"})
	got := <-call
	a.want(got, 200, `{"n":1}`)
	for k, want := range map[string]string{
		"Lambda-Runtime-Aws-Request-Id": testCall, "Lambda-Runtime-Trace-Id": "Root=1", "Content-Type": "application/json",
		"Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:000000000000:function:hello",
	} {
		if got.header.Get(k) != want {
			t.Errorf("%s is %q, want %q", k, got.header.Get(k), want)
		}
	}
	a.want(a.do(c, "GET", "invocation/next", ""), 200, `{"n":1}`) // asked again while it runs: the same call
	a.want(a.do(c, "POST", "init/error", "{}"), 403, badState("Running", "InitError"))
	a.want(a.do(c, "POST", "invocation/other/response", "x"), 400, badID)
	a.want(a.do(c, "POST", "invocation/other/error", "x"), 400, badID)
	a.want(a.do(c, "POST", response, "answer"), 202, okBody)
	i.want(i.frame(), "answer")
	a.want(a.do(c, "POST", response, "again"), 403, badState("RuntimeResponseSentState", "InvocationResponse"))
	a.want(a.do(c, "POST", "invocation/"+testCall+"/error", "{}"), 403, badState("RuntimeResponseSentState", "InvocationErrorResponse"))

	i.send(sandbox.Call{Payload: []byte(`2`), RequestID: "second"}) // before the runtime asks
	a.want(<-a.next(c), 200, `2`)
	a.want(a.do(c, "POST", response, "late"), 400, badID)
	a.want(a.do(c, "POST", "invocation/second/error", `{"errorMessage":"m"}`, errorType, "Runtime.Custom"), 202, okBody)
	i.wantError(i.frame(), sandbox.FrameFailure, "Runtime.Custom", map[string]any{"errorMessage": "m"})
}

func TestRuntimeAPIRefusesWhatItDoesNotKnow(t *testing.T) {
	_, a := runtimeAPI(t)
	c := a.client()
	for _, x := range []struct {
		method, path string
		status       int
	}{
		{"GET", "nothing", 404}, {"POST", "restore/next", 405}, {"GET", "restore/error", 405}, {"POST", "invocation/x/else", 404}, {"GET", "invocation/", 404},
		{"POST", "invocation/next", 405}, {"GET", "init/error", 405}, {"GET", "invocation/x/response", 405}, {"PUT", "invocation/x/error", 405},
	} {
		if got := a.do(c, x.method, x.path, ""); got.status != x.status {
			t.Errorf("%s %s: status %d, want %d", x.method, x.path, got.status, x.status)
		}
	}
}

func TestRuntimeAPIHoldsARuntimeUntilItIsACopy(t *testing.T) {
	hold := func(t *testing.T) (*instance, api, *http.Client, chan answer) {
		i, a := runtimeAPI(t)
		c := a.client()
		told := make(chan answer, 1)
		go func() { told <- a.do(c, "GET", "restore/next", "") }()
		return i.ready(), a, a.client(), told
	}
	t.Run("which is ready when it asks for a call", func(t *testing.T) {
		i, a, c, told := hold(t)
		i.write(sandbox.Frame{Kind: sandbox.FrameSnapshot})
		i.ready()
		i.write(sandbox.Frame{Kind: sandbox.FrameRestore})
		a.want(<-told, 200, "{}\n")
		call := a.next(c)
		i.ready()
		i.send(sandbox.Call{RequestID: "first", Payload: []byte("1")})
		a.want(<-call, 200, "1")
	})
	t.Run("or fails", func(t *testing.T) {
		i, a, c, told := hold(t)
		i.write(sandbox.Frame{Kind: sandbox.FrameRestore})
		a.want(<-told, 200, "{}\n")
		a.want(a.do(c, "POST", "restore/error", `{"errorMessage":"m"}`, errorType, "Runtime.Hook"), 202, okBody)
		i.wantError(i.frame(), sandbox.FrameInitError, "Runtime.Hook", map[string]any{"errorMessage": "m"})
	})
	t.Run("or until its first call", func(t *testing.T) {
		i, a, c, told := hold(t)
		i.send(sandbox.Call{RequestID: "first", Payload: []byte("1")})
		a.want(<-told, 200, "{}\n")
		a.want(<-a.next(c), 200, "1")
	})
}

func TestRuntimeAPINormalisesErrorTypes(t *testing.T) {
	i, a := runtimeAPI(t)
	c := a.client()
	var once sync.Once
	for given, want := range map[string]string{
		"Function.MyError": "Function.MyError", "Runtime.Abc": "Runtime.Abc", "": "Runtime.Unknown", "MyError": "Runtime.Unknown",
		"Function.lower": "Function.Unknown", "Function.": "Function.Unknown", "Runtime.x": "Runtime.Unknown", "Function.X": "Function.Unknown",
		"a Runtime.Inner b": "a Runtime.Inner b",
	} {
		call := a.next(c)
		once.Do(func() { i.ready() })
		i.send(sandbox.Call{})
		<-call
		a.want(a.do(c, "POST", "invocation/"+testCall+"/error", "{}", errorType, given), 202, okBody)
		i.wantError(i.frame(), sandbox.FrameFailure, want, nil)
	}
}

func TestRuntimeAPITakesInitErrors(t *testing.T) {
	i, a := runtimeAPI(t)
	c := a.client()
	a.want(a.do(c, "POST", "init/error", `{"errorMessage":"m"}`, errorType, "Function.Bad"), 202, okBody)
	i.wantError(i.frame(), sandbox.FrameInitError, "Function.Bad", map[string]any{"errorMessage": "m"})
	a.want(a.do(c, "POST", "init/error", `{}`), 403, badState("InitError", "InitError"))
	a.want(a.do(c, "GET", "invocation/next", ""), 403, badState("InitError", "Ready"))
}

// TestRuntimeAPIPassesStreamsOn sends answers as a stream, with and without an
// error at its end, and one that breaks off.
func TestRuntimeAPIPassesStreamsOn(t *testing.T) {
	i, a := runtimeAPI(t)
	c := a.client()
	next := make(chan struct{})
	header := map[string]string{"Lambda-Runtime-Function-Response-Mode": "streaming", "Content-Type": "text/plain"}
	stream := func(trailer http.Header, pieces ...string) chan answer {
		r, w := io.Pipe()
		req, err := http.NewRequest("POST", a.base+"invocation/"+testCall+"/response", r)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range header {
			req.Header.Set(name, value)
		}
		req.Trailer = trailer
		go func() {
			for _, p := range pieces {
				if _, err := io.WriteString(w, p); err != nil {
					t.Error(err)
				}
				<-next // only the part's arrival lets the code go on
			}
			w.Close()
		}()
		ch := make(chan answer, 1)
		go func() { ch <- a.send(c, req) }()
		return ch
	}
	call := a.next(c)
	i.ready()
	i.send(sandbox.Call{})
	<-call
	sent := stream(nil, "one ", "two ", strings.Repeat("3", 2*testLimit))
	if f := i.frame(); f.Kind != sandbox.FrameHead || string(f.Header) != "Content-Type: text/plain\r\n" {
		t.Errorf("frame of kind %d, header %q, instead of a head", f.Kind, f.Header)
	}
	for _, want := range []string{"one ", "two "} {
		if f := i.frame(); f.Kind != sandbox.FrameChunk || string(f.Body) != want {
			t.Errorf("frame of kind %d, body %q, want the part %q", f.Kind, f.Body, want)
		}
		next <- struct{}{}
	}
	left := 2 * testLimit
	for left > 0 {
		f := i.frame()
		if f.Kind != sandbox.FrameChunk {
			t.Fatalf("frame of kind %d within a part", f.Kind)
		}
		left -= len(f.Body)
	}
	next <- struct{}{}
	if f := i.frame(); f.Kind != sandbox.FrameEnd || len(f.Header) != 0 {
		t.Errorf("frame of kind %d, header %q, instead of the end", f.Kind, f.Header)
	}
	a.want(<-sent, 202, okBody)

	call = a.next(c)
	i.send(sandbox.Call{})
	<-call
	sent = stream(http.Header{
		"Lambda-Runtime-Function-Error-Type": {"Runtime.Midway"},
		"Lambda-Runtime-Function-Error-Body": {base64.StdEncoding.EncodeToString([]byte(`{"errorMessage":"halfway"}`))},
	}, "part")
	next <- struct{}{}
	s := i.stream()
	if s.body != "part" {
		t.Errorf("body %q", s.body)
	}
	i.wantError(s.end, sandbox.FrameEnd, "Runtime.Midway", map[string]any{"errorMessage": "halfway"})
	a.want(<-sent, 202, okBody)

	// aws-lambda-go names no mode for what it reads of an io.Reader.
	for _, kind := range []string{"application/octet-stream", "application/vnd.awslambda.http-integration-response"} {
		header = map[string]string{"Content-Type": kind}
		call = a.next(c)
		i.send(sandbox.Call{})
		<-call
		sent = stream(nil, "part")
		if f := i.frame(); f.Kind != sandbox.FrameHead || string(f.Header) != "Content-Type: "+kind+"\r\n" {
			t.Errorf("frame of kind %d, header %q, instead of a head", f.Kind, f.Header)
		}
		if f := i.frame(); f.Kind != sandbox.FrameChunk || string(f.Body) != "part" {
			t.Errorf("frame of kind %d, body %q, instead of a part", f.Kind, f.Body)
		}
		next <- struct{}{}
		if f := i.frame(); f.Kind != sandbox.FrameEnd || len(f.Header) != 0 {
			t.Errorf("frame of kind %d, header %q, instead of the end", f.Kind, f.Header)
		}
		a.want(<-sent, 202, okBody)
	}

	call = a.next(c)
	i.send(sandbox.Call{})
	<-call
	a.want(a.do(c, "POST", "invocation/"+testCall+"/response", "x", "Lambda-Runtime-Function-Response-Mode", "strange"), 400,
		`{"errorMessage":"Invalid function response mode","errorType":"InvalidFunctionResponseMode"}`)
	if f := i.frame(); f.Kind != sandbox.FrameFailure || string(f.Header) != "Error-Type: Runtime.InvalidResponseModeHeader\r\n" {
		t.Errorf("frame of kind %d, header %q", f.Kind, f.Header)
	}

	call = a.next(c)
	i.send(sandbox.Call{})
	<-call
	raw, err := net.Dial("tcp", a.addr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(raw, "POST /2018-06-01/runtime/invocation/"+testCall+"/response HTTP/1.1\r\nHost: x\r\n"+
		"Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n")
	i.frame() // the head
	i.frame() // the part
	raw.Close()
	i.wantError(i.frame(), sandbox.FrameEnd, "Runtime.TruncatedResponse", nil)
}

func TestRuntimeAPIServesSeveralConnections(t *testing.T) {
	i, a := runtimeAPI(t)
	waiting, other := a.client(), a.client()
	call := a.next(waiting)
	i.ready()
	a.want(a.do(other, "POST", "invocation/x/response", ""), 400, badID) // while the first one waits
	i.send(sandbox.Call{Payload: []byte("1")})
	a.want(<-call, 200, "1")
	a.want(a.do(other, "POST", "invocation/"+testCall+"/response", "by another"), 202, okBody)
	i.want(i.frame(), "by another")
}

// TestACallGoesToALiveConnection closes the connection that waits, as a client
// with a time limit does, and asks on another.
func TestACallGoesToALiveConnection(t *testing.T) {
	i, a := runtimeAPI(t)
	dead, err := net.Dial("tcp", a.addr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(dead, "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n")
	i.ready()
	dead.Close()
	c := a.client()
	a.do(c, "GET", "nothing", "") // the agent has seen the end by the time it answers this
	call := a.next(c)
	i.send(sandbox.Call{Payload: []byte("for the living")})
	a.want(<-call, 200, "for the living")
}

func TestRuntimeAPIKeepsToHTTP(t *testing.T) {
	i, a := runtimeAPI(t)
	for name, x := range map[string]struct {
		request string
		status  string
		closes  bool
	}{
		"1.0 closes":          {"POST /2018-06-01/runtime/invocation/x/response HTTP/1.0\r\nContent-Length: 1\r\n\r\nx", "400 Bad Request", true},
		"asked to close":      {"GET /x HTTP/1.1\r\nConnection: Close\r\n\r\n", "404 Not Found", true},
		"1.0 kept alive":      {"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "404 Not Found", false},
		"absolute form":       {"GET http://h:1/2018-06-01/runtime/init/error HTTP/1.1\r\n\r\n", "405 Method Not Allowed", false},
		"query":               {"GET /2018-06-01/runtime/init/error?x HTTP/1.1\r\n\r\n", "405 Method Not Allowed", false},
		"no version":          {"GET /x\r\n\r\n", "400 Bad Request", true},
		"two lengths":         {"POST /x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400 Bad Request", true},
		"length and chunks":   {"POST /x HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400 Bad Request", true},
		"bad chunk":           {"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400 Bad Request", true},
		"other coding":        {"POST /x HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", "501 Not Implemented", true},
		"large header":        {"GET /x HTTP/1.1\r\nA: " + strings.Repeat("x", 70<<10), "431 Request Header Fields Too Large", true},
		"white space in name": {"GET /x HTTP/1.1\r\nA : b\r\n\r\n", "400 Bad Request", true},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", a.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(hang))
			if _, err := io.WriteString(conn, x.request); err != nil {
				t.Fatal(err)
			}
			r := bufio.NewReader(conn)
			res, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, res.Body); err != nil {
				t.Fatal(err)
			}
			if res.Status != x.status {
				t.Errorf("status %q, want %q", res.Status, x.status)
			}
			if x.closes {
				if _, err := r.ReadByte(); err == nil {
					t.Error("the connection stays open")
				}
			} else if _, err := io.WriteString(conn, "GET /again HTTP/1.1\r\n\r\n"); err != nil {
				t.Error(err)
			} else if res, err := http.ReadResponse(r, nil); err != nil || res.StatusCode != 404 {
				t.Errorf("second request: %v, %v", res, err)
			}
		})
	}
	_ = i
}

func TestAgentReportsABootstrapThatCannotRun(t *testing.T) {
	for name, x := range map[string]struct {
		mode os.FileMode
		text string
		want string
	}{
		"missing":        {0, "", "Couldn't find valid bootstrap(s): [TASK/bootstrap /opt/bootstrap]"},
		"not executable": {0o644, "#!/bin/sh\n", "fork/exec TASK/bootstrap: permission denied"},
		"no program":     {0o755, "neither script nor ELF", "fork/exec TASK/bootstrap: exec format error"},
		"no interpreter": {0o755, "#!/no/such/shell\n", "fork/exec TASK/bootstrap: no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			p := paths(t, provided, nil)
			if x.mode != 0 {
				if err := os.WriteFile(p.Task+"/bootstrap", []byte(x.text), x.mode); err != nil {
					t.Fatal(err)
				}
			}
			i := launchAt(t, provided, function.Version{}, p)
			i.wantError(i.frame(), sandbox.FrameInitError, "Runtime.InvalidEntrypoint", map[string]any{
				"errorMessage": strings.ReplaceAll(x.want, "TASK", p.Task),
			})
			if e := i.exit(); e.Code != 1 {
				t.Errorf("exit %+v", e)
			}
		})
	}
}

func TestAgentEndsAsItsChildDoes(t *testing.T) {
	for script, want := range map[string]sandbox.Exit{
		"exit 0": {}, "exit 7": {Code: 7}, "kill -9 $$": {Signal: 9}, "kill -SEGV $$": {Signal: 11}, "kill -TERM $$": {Signal: 15},
		"(sleep 0.01 &) ; exit 5": {Code: 5}, // an orphan's end is not the function's
	} {
		t.Run(script, func(t *testing.T) {
			i := launchProvided(t, "#!/bin/sh\n"+script+"\n")
			i.ended()
			if e := i.exit(); e != want {
				t.Errorf("exit %+v, want %+v", e, want)
			}
		})
	}
}

// TestAgentReapsOrphans has a bootstrap that goes on for as long as the process
// that it left behind exists, dead or alive.
func TestAgentReapsOrphans(t *testing.T) {
	i := launchProvided(t, "#!/bin/sh\n(true & echo $! > $TMPDIR/orphan)\nwhile kill -0 $(cat $TMPDIR/orphan) 2>/dev/null; do sleep 0.01; done\nexit 5\n")
	i.ended()
	if e := i.exit(); e.Code != 5 {
		t.Errorf("exit %+v", e)
	}
}

func TestAgentEndsWithTheHost(t *testing.T) {
	t.Run("shutdown", func(t *testing.T) {
		i, _ := runtimeAPI(t)
		i.write(sandbox.Frame{Kind: sandbox.FrameShutdown})
		if e := i.exit(); e.Signal != int(syscall.SIGTERM) {
			t.Errorf("exit %+v, want the child's end by SIGTERM", e)
		}
	})
	t.Run("host gone", func(t *testing.T) {
		i, _ := runtimeAPI(t)
		i.in.Close()
		if e := i.exit(); e.Code != 0 && e.Signal != 9 {
			t.Errorf("exit %+v", e)
		}
	})
	t.Run("unknown frame", func(t *testing.T) {
		i, _ := runtimeAPI(t)
		i.write(sandbox.Frame{Kind: 99})
		if e := i.exit(); e.Code != 2 {
			t.Errorf("exit %+v", e)
		}
	})
}
