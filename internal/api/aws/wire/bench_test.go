package wire_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
)

// callInput is like Lambda's InvocationRequest.
type callInput struct {
	FunctionName   *string
	InvocationType string
	Qualifier      *string
	Payload        []byte
}

var callInputShape = wire.Shape{Name: "CallInput", Members: []wire.Member{
	{Name: "FunctionName", Type: wire.TypeString, Loc: wire.InLabel, Required: true},
	{Name: "InvocationType", Wire: "X-Amz-Invocation-Type", Type: wire.TypeString, Loc: wire.InHeader},
	{Name: "Qualifier", Type: wire.TypeString, Loc: wire.InQuery},
	{Name: "Payload", Type: wire.TypeBlob, Loc: wire.InPayload},
}}

func (*callInput) Shape() *wire.Shape { return &callInputShape }
func (v *callInput) Walk(w wire.Walker) {
	w.Member(0, &v.FunctionName)
	w.Member(1, &v.InvocationType)
	w.Member(2, &v.Qualifier)
	w.Member(3, &v.Payload)
}

// callOutput is like Lambda's InvocationResponse.
type callOutput struct {
	StatusCode *int32
	Payload    []byte
}

var callOutputShape = wire.Shape{Name: "CallOutput", Members: []wire.Member{
	{Name: "StatusCode", Type: wire.TypeInteger, Loc: wire.InStatus},
	{Name: "Payload", Type: wire.TypeBlob, Loc: wire.InPayload},
}}

func (*callOutput) Shape() *wire.Shape { return &callOutputShape }
func (v *callOutput) Walk(w wire.Walker) {
	w.Member(0, &v.StatusCode)
	w.Member(1, &v.Payload)
}

// sink is a ResponseWriter that keeps nothing.
type sink struct{ h http.Header }

func (s sink) Header() http.Header         { return s.h }
func (s sink) Write(b []byte) (int, error) { return len(b), nil }
func (s sink) WriteHeader(int)             {}

func callMux() *wire.Mux {
	s := &wire.Service{Name: "lambda", Protocols: []wire.Protocol{wire.RESTJSON}, Operations: []*wire.Operation{{
		Name: "Call", Method: "POST", Path: "/2015-03-31/functions/{FunctionName}/invocations",
		Handler: wire.Handle(func(_ context.Context, in *callInput) (*callOutput, error) {
			return &callOutput{StatusCode: new(int32(200)), Payload: in.Payload}, nil
		}),
	}}}
	s.Limit("Call", 6<<20+100, nil)
	return newMux(s)
}

func benchmarkCall(b *testing.B, size int) {
	m := callMux()
	body := bytes.Repeat([]byte("x"), size)
	r := httptest.NewRequest("POST", "/2015-03-31/functions/f/invocations?Qualifier=%24LATEST", nil)
	r.Header.Set("X-Amz-Invocation-Type", "RequestResponse")
	r.ContentLength = int64(size)
	sign(b, r, "lambda", body)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		r.Body = io.NopCloser(bytes.NewReader(body))
		m.ServeHTTP(sink{http.Header{}}, r)
	}
}

// BenchmarkCall is what verifying, decoding and encoding add to an invocation.
func BenchmarkCall(b *testing.B) {
	b.Run("2B", func(b *testing.B) { benchmarkCall(b, 2) })
	b.Run("1KiB", func(b *testing.B) { benchmarkCall(b, 1<<10) })
	b.Run("6MiB", func(b *testing.B) { benchmarkCall(b, 6<<20) })
}

func TestPayloadOfACallIsNotCopied(t *testing.T) {
	const size = 6 << 20
	m := callMux()
	body := bytes.Repeat([]byte("x"), size)
	r := httptest.NewRequest("POST", "/2015-03-31/functions/f/invocations", nil)
	r.ContentLength = size
	sign(t, r, "lambda", body)
	const calls = 4
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range calls {
		r.Body = io.NopCloser(bytes.NewReader(body))
		m.ServeHTTP(sink{http.Header{}}, r)
	}
	runtime.ReadMemStats(&after)
	// One buffer of the body's size, and little else.
	if per := (after.TotalAlloc - before.TotalAlloc) / calls; per > size+size/8 {
		t.Errorf("a call with a body of %d bytes allocates %d", size, per)
	}
}
