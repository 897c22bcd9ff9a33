package wire_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire/botocore"
	"github.com/mayfly-dev/mayfly/internal/errs"
)

// suite is one group of vectors: a small model and its cases.
type suite struct {
	Description string                     `json:"description"`
	Metadata    botocore.Metadata          `json:"metadata"`
	Shapes      map[string]*botocore.Shape `json:"shapes"`
	Cases       []vector                   `json:"cases"`
}

type vector struct {
	ID          string             `json:"id"`
	Description string             `json:"description"`
	Given       botocore.Operation `json:"given"`
	Params      map[string]any     `json:"params"`
	Serialized  struct {
		Method  string            `json:"method"`
		URI     string            `json:"uri"`
		Headers map[string]string `json:"headers"`
		Body    string            `json:"body"`
	} `json:"serialized"`
	Result       map[string]any `json:"result"`
	Error        map[string]any `json:"error"`
	ErrorCode    string         `json:"errorCode"`
	ErrorMessage string         `json:"errorMessage"`
	Response     struct {
		Status  int               `json:"status_code"`
		Headers map[string]string `json:"headers"`
		Body    string            `json:"body"`
	} `json:"response"`
}

const testKey, testSecret = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

// oneKey knows one access key.
type oneKey struct{}

func (oneKey) Secret(_ context.Context, id string) (string, string, error) {
	if id != testKey {
		return "", "", errs.Newf(errs.NotFound, "there is no access key %s", id)
	}
	return testSecret, "root", nil
}

// vectorService makes a service of one operation out of a vector.
func vectorService(t *testing.T, model *botocore.Model, op botocore.Operation, call func(wire.Struct) (wire.Struct, error)) *wire.Service {
	t.Helper()
	protocol, err := model.WireProtocol()
	if err != nil {
		t.Fatal(err)
	}
	input := &wire.Shape{Name: op.Name + "Input"}
	create := func() wire.Struct { return nothing{input} }
	if op.Input != nil {
		create = func() wire.Struct { return newRecord(model, op.Input.Shape) }
		input = create().Shape()
	}
	wrapper := ""
	if op.Output != nil {
		wrapper = op.Output.ResultWrapper
	}
	s := &wire.Service{
		Name: "vectors", Protocols: []wire.Protocol{protocol}, TargetPrefix: model.Metadata.TargetPrefix,
		Namespace: model.Metadata.XMLNamespace, Errors: model.WireErrors(),
		Operations: []*wire.Operation{{
			Name: op.Name, Method: op.HTTP.Method, Path: op.HTTP.RequestURI, Status: op.HTTP.ResponseCode, Wrapper: wrapper,
			Handler: wire.Handler{Input: input, New: create, Call: func(_ context.Context, in wire.Struct) (wire.Struct, error) { return call(in) }},
		}},
	}
	if model.Metadata.AWSQueryCompatible != nil {
		s.Protocols = append(s.Protocols, wire.Query)
	}
	return s
}

type nothing struct{ shape *wire.Shape }

func (n nothing) Shape() *wire.Shape { return n.shape }
func (nothing) Walk(wire.Walker)     {}

func newMux(services ...*wire.Service) *wire.Mux {
	m := wire.NewMux(wire.NewAuthenticator(oneKey{}), discard())
	for _, s := range services {
		m.Register(s)
	}
	return m
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// sign signs a request with the SDK's own signer.
func sign(t testing.TB, r *http.Request, service string, body []byte) {
	t.Helper()
	sum := sha256.Sum256(body)
	err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret},
		r, hex.EncodeToString(sum[:]), service, "us-east-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
}

func readSuites(t *testing.T, direction string) map[string][]suite {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "protocol", direction, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatal("no vectors", err)
	}
	out := map[string][]suite{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var s []suite
		if err := json.Unmarshal(b, &s); err != nil {
			t.Fatal(f, err)
		}
		out[strings.TrimSuffix(filepath.Base(f), ".json")] = s
	}
	return out
}

// skippedInputs are vectors whose point is something that only a client does.
var skippedInputs = map[string]string{
	"RestJsonHostWithPath": "the client is configured with an endpoint that has a path of its own; a node is not mounted under one",
}

func TestServerDecodesWhatClientsSerialize(t *testing.T) {
	for file, suites := range readSuites(t, "input") {
		for _, s := range suites {
			for _, c := range s.Cases {
				t.Run(file+"/"+c.ID, func(t *testing.T) {
					if why := skippedInputs[c.ID]; why != "" {
						t.Skip(why)
					}
					decodesVector(t, &s, &c)
				})
			}
		}
	}
}

func decodesVector(t *testing.T, s *suite, c *vector) {
	model := &botocore.Model{Metadata: s.Metadata, Shapes: s.Shapes}
	var got any
	called := false
	mux := newMux(vectorService(t, model, c.Given, func(in wire.Struct) (wire.Struct, error) {
		called = true
		if r, ok := in.(*record); ok {
			got = plain(r, false)
		}
		return nothing{&wire.Shape{Name: "Empty"}}, nil
	}))
	method := c.Serialized.Method
	if method == "" {
		method = c.Given.HTTP.Method
	}
	body := []byte(c.Serialized.Body)
	if len(body) == 0 && strings.HasSuffix(c.Serialized.Headers["Content-Encoding"], "gzip") {
		t.Skip("the vector checks only a header and leaves the compressed body out; TestCompressedRequestIsDecoded has one")
	}
	r := httptest.NewRequest(method, c.Serialized.URI, bytes.NewReader(body))
	if s.Metadata.Protocol == "json" {
		r.Header.Set("X-Amz-Target", s.Metadata.TargetPrefix+"."+c.Given.Name) // some vectors leave it out
	}
	for k, v := range c.Serialized.Headers {
		r.Header.Set(k, v)
	}
	sent := r.URL.RawQuery
	sign(t, r, "vectors", body)
	r.URL.RawQuery = sent // the signer sorts it
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	if !called {
		t.Fatalf("the handler was not called: %d %s", w.Code, w.Body)
	}
	if c.Given.Input == nil {
		return
	}
	want := newRecord(model, c.Given.Input.Shape)
	for _, m := range want.shape.Members {
		if s.Shapes[want.name].Members[m.Name].IdempotencyToken && c.Params[m.Name] == nil && strings.Contains(c.Serialized.URI+c.Serialized.Body, clientToken) {
			c.Params[m.Name] = clientToken
		}
	}
	fillRecord(want, any(c.Params))
	expected := plain(want, false)
	forgive(s.Metadata.Protocol, want.shape, got.(map[string]any), expected.(map[string]any))
	if !reflect.DeepEqual(got, expected) {
		t.Errorf("decoded\n%s\nwant\n%s\nfrom %+v", show(got), show(expected), c.Serialized)
	}
}

// clientToken is what the vectors' clients make up for an idempotency token.
const clientToken = "00000000-0000-4000-8000-000000000000"

// forgive takes out of both values what a request can't tell a server: that
// a list or map outside of a body is empty and not absent; and, in a map of all
// query parameters, which of those that other members are bound to were in it
// (a server puts all parameters there).
func forgive(protocol string, shape *wire.Shape, values ...map[string]any) {
	for _, v := range values {
		for _, m := range shape.Members {
			if all, ok := v[m.Name].(map[string]any); ok && m.Loc == wire.InQuery {
				for _, other := range shape.Members {
					if other.Loc == wire.InQuery && other.Type != wire.TypeMap {
						delete(all, other.WireName())
					}
				}
			}
			if rv := reflect.ValueOf(v[m.Name]); m.Loc != wire.InBody || protocol == "query" {
				if k := rv.Kind(); (k == reflect.Map || k == reflect.Slice) && rv.Len() == 0 {
					delete(v, m.Name)
				}
			}
		}
	}
}

func show(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// skippedOutputs are vectors whose point is something that only a client does.
var skippedOutputs = map[string]string{
	"RestJsonDeserializesDenseSetMapAndSkipsNull": "a client's tolerance of a null that no server should send; generated maps drop it, the test's own keep it",
}

func TestServerAnswersAsClientsExpect(t *testing.T) {
	for file, suites := range readSuites(t, "output") {
		for _, s := range suites {
			for _, c := range s.Cases {
				t.Run(file+"/"+c.ID, func(t *testing.T) {
					if why := skippedOutputs[c.ID]; why != "" {
						t.Skip(why)
					}
					if c.ErrorCode != "" {
						answersError(t, &s, &c)
					} else {
						answersVector(t, &s, &c)
					}
				})
			}
		}
	}
}

// exchangeVector calls the vector's operation and returns the answer.
func exchangeVector(t *testing.T, model *botocore.Model, c *vector, out wire.Struct, failure error) *http.Response {
	op := c.Given
	op.Input = nil
	mux := newMux(vectorService(t, model, op, func(wire.Struct) (wire.Struct, error) { return out, failure }))
	var body []byte
	path := strings.NewReplacer("{", "", "}", "", "+", "").Replace(op.HTTP.RequestURI)
	protocol, _ := model.WireProtocol()
	if protocol == wire.Query {
		body = []byte("Action=" + op.Name)
	}
	r := httptest.NewRequest(op.HTTP.Method, path, bytes.NewReader(body))
	if model.Metadata.Protocol == "json" {
		r.Header.Set("X-Amz-Target", model.Metadata.TargetPrefix+"."+op.Name)
	}
	sign(t, r, "vectors", body)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w.Result()
}

func answersVector(t *testing.T, s *suite, c *vector) {
	model := &botocore.Model{Metadata: s.Metadata, Shapes: s.Shapes}
	protocol, err := model.WireProtocol()
	if err != nil {
		t.Fatal(err)
	}
	if c.Given.Output == nil {
		res := exchangeVector(t, model, c, nothing{&wire.Shape{Name: "Empty"}}, nil)
		if res.StatusCode != c.Response.Status {
			t.Errorf("status %d, want %d", res.StatusCode, c.Response.Status)
		}
		return
	}
	out := newRecord(model, c.Given.Output.Shape)
	fillRecord(out, any(c.Result))
	want := plain(out, false)

	// First the reader is shown to understand the answer that AWS gives…
	wrapper := c.Given.Output.ResultWrapper
	if wrapper == "" {
		wrapper = c.Given.Name + "Result"
	}
	read := newRecord(model, c.Given.Output.Shape)
	h := http.Header{}
	for k, v := range c.Response.Headers {
		h.Set(k, v)
	}
	if err := wire.DecodeAnswer(protocol, wrapper, h, c.Response.Status, []byte(c.Response.Body), read); err != nil {
		t.Fatalf("the vector's own answer is not understood: %v", err)
	}
	got := plain(read, false)
	forgive(s.Metadata.Protocol, out.shape, got.(map[string]any), want.(map[string]any))
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the vector's own answer is read as\n%s\nwant\n%s", show(got), show(want))
	}

	// …and then to find the same in ours.
	c.Given.Output.ResultWrapper = wrapper
	res := exchangeVector(t, model, c, out, nil)
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != c.Response.Status {
		t.Errorf("status %d, want %d: %s", res.StatusCode, c.Response.Status, body)
	}
	res.Header.Del("Content-Length") // a map of all headers would hold ours
	res.Header.Del("X-Amzn-Requestid")
	ours := newRecord(model, c.Given.Output.Shape)
	if err := wire.DecodeAnswer(protocol, wrapper, res.Header, res.StatusCode, body, ours); err != nil {
		t.Fatalf("our answer is not understood: %v\n%s", err, body)
	}
	got = plain(ours, false)
	forgive(s.Metadata.Protocol, out.shape, got.(map[string]any))
	if !reflect.DeepEqual(got, want) {
		t.Errorf("our answer is read as\n%s\nwant\n%s\nbody %s", show(got), show(want), body)
	}
}

func answersError(t *testing.T, s *suite, c *vector) {
	model := &botocore.Model{Metadata: s.Metadata, Shapes: s.Shapes}
	protocol, err := model.WireProtocol()
	if err != nil {
		t.Fatal(err)
	}
	e := &wire.Error{Code: c.ErrorCode, Message: c.ErrorMessage}
	var detail *record
	if len(c.Given.Errors) == 1 {
		detail = newRecord(model, c.Given.Errors[0].Shape)
		fillRecord(detail, any(c.Error))
		e.Detail = detail
	}
	res := exchangeVector(t, model, c, nil, e)
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != c.Response.Status {
		t.Errorf("status %d, want %d: %s", res.StatusCode, c.Response.Status, body)
	}
	if detail == nil {
		return
	}
	got := newRecord(model, c.Given.Errors[0].Shape)
	code := ""
	switch protocol {
	case wire.Query, wire.RESTXML:
		if protocol == wire.RESTXML {
			err = wire.DecodeAnswer(protocol, "", res.Header, res.StatusCode, nil, got)
		}
		if err == nil {
			code, err = wire.DecodeXMLError(body, got)
		}
	default:
		var typed struct {
			Type string `json:"__type"`
		}
		if err := json.Unmarshal(body, &typed); err != nil {
			t.Fatal(err)
		}
		code = typed.Type + res.Header.Get("X-Amzn-Errortype")
		err = wire.DecodeAnswer(protocol, "", res.Header, res.StatusCode, body, got)
	}
	if err != nil {
		t.Fatalf("our answer is not understood: %v\n%s", err, body)
	}
	if code != c.ErrorCode {
		t.Errorf("code %q, want %q", code, c.ErrorCode)
	}
	if g, w := plain(got, false), plain(detail, false); !reflect.DeepEqual(g, w) {
		t.Errorf("error is read as\n%s\nwant\n%s\nbody %s", show(g), show(w), body)
	}
}
