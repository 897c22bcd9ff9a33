package wire_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire/botocore"
)

var update = flag.Bool("update", false, "write the golden files anew")

// lambdaService is Lambda by its committed model, with call as every handler.
func lambdaService(t testing.TB, call func(op string, in *record) (map[string]any, error)) *wire.Service {
	t.Helper()
	b, err := os.ReadFile("../models/lambda.json")
	if err != nil {
		t.Fatal(err)
	}
	var model botocore.Model
	if err := json.Unmarshal(b, &model); err != nil {
		t.Fatal(err)
	}
	s := &wire.Service{Name: "lambda", Protocols: []wire.Protocol{wire.RESTJSON}, Errors: model.WireErrors()}
	for name, op := range model.Operations {
		create := func() wire.Struct { return newRecord(&model, op.Input.Shape) }
		s.Operations = append(s.Operations, &wire.Operation{
			Name: name, Method: op.HTTP.Method, Path: op.HTTP.RequestURI, Status: op.HTTP.ResponseCode,
			Handler: wire.Handler{Input: create().Shape(), New: create, Call: func(_ context.Context, in wire.Struct) (wire.Struct, error) {
				fields, err := call(name, in.(*record))
				if err != nil || op.Output == nil {
					return nothing{&wire.Shape{}}, err
				}
				out := newRecord(&model, op.Output.Shape)
				fillRecord(out, fields)
				return out, nil
			}},
		})
	}
	return s
}

// exchange sends a signed request straight to a mux.
func exchange(t testing.TB, m http.Handler, service, method, target string, header map[string]string, body []byte) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, target, bytes.NewReader(body))
	for k, v := range header {
		r.Header.Set(k, v)
	}
	sign(t, r, service, body)
	w := httptest.NewRecorder()
	m.ServeHTTP(w, r)
	return w
}

// golden compares an answer, but for its request id, with a file.
func golden(t *testing.T, name string, w *httptest.ResponseRecorder) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%d\n", w.Code)
	id := w.Header().Get("x-amzn-RequestId") + w.Header().Get("x-amz-request-id")
	if uuid.Validate(id) != nil {
		t.Errorf("request id %q", id)
	}
	for _, k := range slices.Sorted(maps.Keys(w.Header())) {
		fmt.Fprintf(&b, "%s: %s\n", k, strings.Join(w.Header()[k], " | "))
	}
	fmt.Fprintf(&b, "\n%s\n", w.Body)
	got := strings.ReplaceAll(b.String(), id, "REQUEST-ID")
	file := filepath.Join("testdata", "golden", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestAnswersOfLambdaAreGolden(t *testing.T) {
	const list = "/2015-03-31/functions"
	const fn = list + "/f"
	configuration := map[string]any{"FunctionName": "f", "MemorySize": 128.0, "Description": "", "LastModified": "2026-01-02T03:04:05.678+0000", "Architectures": []any{"x86_64"}, "Environment": map[string]any{"Variables": map[string]any{"B": "2", "A": "<1>"}}}
	for name, c := range map[string]struct {
		method, target, body string
		out                  map[string]any
		err                  error
	}{
		"create":            {"POST", list, `{"FunctionName":"f"}`, configuration, nil},
		"get":               {"GET", fn, "", map[string]any{"Configuration": configuration, "Code": map[string]any{"RepositoryType": "S3"}, "Tags": map[string]any{}}, nil},
		"list-empty":        {"GET", list + "/?MaxItems=10", "", map[string]any{"Functions": []any{}}, nil},
		"delete":            {"DELETE", fn, "", map[string]any{"StatusCode": 204.0}, nil},
		"untag":             {"DELETE", "/2017-03-31/tags/arn%3Aaws%3Alambda?tagKeys=a&tagKeys=b", "", nil, nil},
		"invoke":            {"POST", fn + "/invocations", `{}`, map[string]any{"StatusCode": 200.0, "Payload": "[1]", "ExecutedVersion": "$LATEST", "LogResult": "bG9n"}, nil},
		"invoke-event":      {"POST", fn + "/invocations", `{}`, map[string]any{"StatusCode": 202.0, "Payload": ""}, nil},
		"missing":           {"GET", fn, "", nil, wire.Errorf("ResourceNotFoundException", "Function not found: %s", "arn:f")},
		"conflict":          {"POST", list, `{}`, nil, wire.Errorf("ResourceConflictException", "Function already exist: f")},
		"throttled":         {"POST", fn + "/invocations", ``, nil, &wire.Error{Code: "TooManyRequestsException", Message: "Rate Exceeded.", RetryAfter: 1500 * time.Millisecond, Detail: &throttle{"ConcurrentInvocationLimitExceeded"}}},
		"internal":          {"GET", fn, "", nil, errors.New("a secret of ours")},
		"unmodelled":        {"GET", fn, "", nil, &wire.Error{Code: "AccessDeniedException", Message: "No.", Status: 403}},
		"unknown-operation": {"POST", "/2020-04-22/code-signing-configs/", "{}", nil, nil},
		"bad-json":          {"POST", list, `{"FunctionName":`, nil, nil},
		"bad-type":          {"POST", list, `{"MemorySize":"128"}`, nil, nil},
		"bad-base64":        {"POST", list, `{"Code":{"ZipFile":"%%%"}}`, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMux(lambdaService(t, func(string, *record) (map[string]any, error) { return c.out, c.err }))
			golden(t, name, exchange(t, m, "lambda", c.method, c.target, nil, []byte(c.body)))
		})
	}
}

// throttle is the detail of TooManyRequestsException.
type throttle struct{ Reason string }

var throttleShape = wire.Shape{Name: "TooManyRequestsException", Members: []wire.Member{{Name: "Reason", Type: wire.TypeString}}}

func (*throttle) Shape() *wire.Shape   { return &throttleShape }
func (v *throttle) Walk(w wire.Walker) { w.Member(0, &v.Reason) }

func TestErrorsOfOtherProtocolsAreGolden(t *testing.T) {
	fail := wire.Handle(func(context.Context, *throttle) (*throttle, error) {
		return nil, &wire.Error{Code: "QueueDoesNotExist", Message: "The <queue> is gone."}
	})
	queue := &wire.Service{
		Name: "sqs", Protocols: []wire.Protocol{wire.JSON10, wire.Query}, TargetPrefix: "AmazonSQS", Namespace: "http://queue.amazonaws.com/doc/2012-11-05/",
		Errors:     map[string]wire.ErrorInfo{"QueueDoesNotExist": {Status: 400, Sender: true, Query: "AWS.SimpleQueueService.NonExistentQueue"}},
		Operations: []*wire.Operation{{Name: "GetQueueUrl", Method: "POST", Path: "/", Handler: fail}},
	}
	store := &wire.Service{
		Name: "s3", Protocols: []wire.Protocol{wire.RESTXML}, BareErrors: true,
		Errors:     map[string]wire.ErrorInfo{"QueueDoesNotExist": {Status: 404}},
		Operations: []*wire.Operation{{Name: "ListBuckets", Method: "GET", Path: "/", Handler: fail}},
	}
	m := newMux(queue, store)
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	target := func(op string) map[string]string { return map[string]string{"X-Amz-Target": "AmazonSQS." + op} }
	golden(t, "json-error", exchange(t, m, "sqs", "POST", "/", target("GetQueueUrl"), []byte("{}")))
	golden(t, "json-unknown", exchange(t, m, "sqs", "POST", "/", target("Other"), []byte("{}")))
	golden(t, "query-error", exchange(t, m, "sqs", "POST", "/", form, []byte("Action=GetQueueUrl&Version=2012-11-05")))
	golden(t, "query-unknown", exchange(t, m, "sqs", "POST", "/", form, []byte("Action=Other")))
	golden(t, "xml-error", exchange(t, m, "s3", "GET", "/", nil, nil))
	golden(t, "unknown-service", exchange(t, m, "ec2", "POST", "/", form, []byte("Action=RunInstances")))
}

func TestLabelsKeepTheirEscapedSlashes(t *testing.T) {
	for target, want := range map[string]string{
		"/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A0%3Afunction%3Af/configuration": "arn:aws:lambda:us-east-1:0:function:f",
		"/2015-03-31/functions/arn:aws:lambda:us-east-1:0:function:f/configuration":             "arn:aws:lambda:us-east-1:0:function:f",
		"/2015-03-31/functions/a%2Fconfiguration/configuration":                                 "a/configuration",
		"/2015-03-31/functions/..%2F..%2Fetc/configuration":                                     "../../etc",
		"/2015-03-31/functions/%20/configuration":                                               " ",
	} {
		var op, got string
		m := newMux(lambdaService(t, func(name string, in *record) (map[string]any, error) {
			op, got = name, plain(in, false).(map[string]any)["FunctionName"].(string)
			return nil, nil
		}))
		if w := exchange(t, m, "lambda", "GET", target, nil, nil); w.Code != http.StatusOK || op != "GetFunctionConfiguration" || got != want {
			t.Errorf("%s: %d, %s of %q", target, w.Code, op, got)
		}
	}
}

func TestPathsThatNoTemplateHasAreNotServed(t *testing.T) {
	m := newMux(lambdaService(t, func(op string, _ *record) (map[string]any, error) {
		t.Error("called", op)
		return nil, nil
	}))
	for _, target := range []string{
		"/", "/2015-03-31", "/2015-03-31/functions//configuration", "/2015-03-31/functions/f/other", "/2015-03-31/functions/../functions",
		"/2015-03-31%2Ffunctions", "/x/2015-03-31/functions", "/2015-03-31/functions/f/configuration//",
	} {
		if w := exchange(t, m, "lambda", "GET", target, nil, nil); w.Code != http.StatusNotFound || w.Header().Get("x-amzn-ErrorType") != "UnknownOperationException" {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
}

func TestBodyLargerThanTheOperationTakesIsRefusedInItsWords(t *testing.T) {
	s := lambdaService(t, func(string, *record) (map[string]any, error) { return map[string]any{"Payload": "ok"}, nil })
	const limit = 6 << 20
	s.Limit("Invoke", limit, &wire.Error{Code: "RequestTooLargeException", Message: "Request must be smaller than 6291456 bytes for the InvokeFunction operation"})
	srv := httptest.NewServer(newMux(s))
	defer srv.Close()
	for name, c := range map[string]struct {
		size    int
		chunked bool
		status  int
	}{
		"at the limit":          {limit, false, 200},
		"at the limit, chunked": {limit, true, 200},
		"over":                  {limit + 1, false, 413},
		"over, chunked":         {limit + 1, true, 413},
		"far over":              {8 * limit, false, 413},
	} {
		t.Run(name, func(t *testing.T) {
			body := bytes.Repeat([]byte("x"), c.size)
			r, err := http.NewRequest("POST", srv.URL+"/2015-03-31/functions/f/invocations", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if c.chunked {
				r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), -1
			}
			sign(t, r, "lambda", body)
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			answer, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			want := "ok"
			if c.status != 200 {
				want = `{"Type":"User","message":"Request must be smaller than 6291456 bytes for the InvokeFunction operation"}`
			}
			if res.StatusCode != c.status || string(answer) != want {
				t.Errorf("got %d %s, want %d %s", res.StatusCode, answer, c.status, want)
			}
		})
	}
}

func TestCompressedRequestIsDecoded(t *testing.T) {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write([]byte(`{"FunctionName":"packed"}`)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var got any
	m := newMux(lambdaService(t, func(_ string, in *record) (map[string]any, error) {
		got = plain(in, false).(map[string]any)["FunctionName"]
		return nil, nil
	}))
	exchange(t, m, "lambda", "POST", "/2015-03-31/functions", map[string]string{"Content-Encoding": "gzip"}, z.Bytes())
	if got != "packed" {
		t.Errorf("decoded %v", got)
	}
}

func TestHandlersPanicIsAnInternalError(t *testing.T) {
	m := newMux(lambdaService(t, func(string, *record) (map[string]any, error) { panic("oh") }))
	golden(t, "panic", exchange(t, m, "lambda", "GET", "/2015-03-31/functions", nil, nil))
}

func TestHandlerLearnsWhoCallsAndTheRequestID(t *testing.T) {
	var id string
	var caller wire.Caller
	m := newMux(&wire.Service{
		Name: "lambda", Protocols: []wire.Protocol{wire.RESTJSON},
		Operations: []*wire.Operation{{Name: "Get", Method: "GET", Path: "/", Handler: wire.Handle(func(ctx context.Context, in *throttle) (*throttle, error) {
			id, caller = wire.RequestID(ctx), wire.CallerOf(ctx)
			return in, nil
		})}},
	})
	w := exchange(t, m, "lambda", "GET", "/", nil, nil)
	if want := (wire.Caller{AccessKeyID: testKey, Principal: "root", Region: "us-east-1", Service: "lambda"}); caller != want {
		t.Errorf("caller %+v, want %+v", caller, want)
	}
	if id == "" || w.Header().Get("x-amzn-RequestId") != id {
		t.Errorf("request id %q, in the answer %q", id, w.Header().Get("x-amzn-RequestId"))
	}
}
