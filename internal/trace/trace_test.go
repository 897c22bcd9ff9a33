package trace

import (
	"context"
	"encoding/hex"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

const (
	traceID = "5759e988bd862e3fe1be46a994272793"
	spanID  = "53995c3f42cd8ad8"
)

func TestHeadersAreReadAndWritten(t *testing.T) {
	for header, want := range map[string]Context{
		"Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1": {traceID, spanID, true},
		"Root=1-5759e988-bd862e3fe1be46a994272793":                                   {Trace: traceID},
		"Self=x; Root=1-5759e988-bd862e3fe1be46a994272793; Sampled=0; Lineage=a:1":   {Trace: traceID},
		"Root=1-5759E988-BD862E3FE1BE46A994272793;Parent=short":                      {Trace: traceID},
		"Root=1-00000000-000000000000000000000000":                                   {},
		"Root=1-5759e988-bd862e3fe1be46a99427279x;Parent=53995c3f42cd8ad8;Sampled=1": {},
		"": {},
	} {
		if got := Parse(header); got != want {
			t.Errorf("%s: %+v, want %+v", header, got, want)
		}
	}
	for header, want := range map[string]Context{
		"00-" + traceID + "-" + spanID + "-01":   {traceID, spanID, true},
		"00-" + traceID + "-" + spanID + "-00":   {traceID, spanID, false},
		"01-" + traceID + "-" + spanID + "-01-x": {traceID, spanID, true}, // a later version may have more
		"00-" + traceID + "-" + spanID + "-01-x": {},
		"ff-" + traceID + "-" + spanID + "-01":   {},
		"00-" + traceID + "-01":                  {},
	} {
		if got := ParseW3C(header); got != want {
			t.Errorf("%s: %+v, want %+v", header, got, want)
		}
	}
	c := Context{traceID, spanID, true}
	if Parse(c.Header()) != c || ParseW3C(c.W3C()) != c {
		t.Errorf("%s and %s don't give %+v again", c.Header(), c.W3C(), c)
	}
	if got := WithParent("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=a;Sampled=1;Lineage=f:2", spanID); Parse(got) != c || got[len(got)-12:] != ";Lineage=f:2" {
		t.Errorf("with another parent: %s", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1")
	f.Add("00-" + traceID + "-" + spanID + "-01")
	f.Fuzz(func(t *testing.T, s string) {
		for _, c := range []Context{Parse(s), ParseW3C(s)} {
			if again := Parse(c.Header()); again != c {
				t.Errorf("%q: %+v became %+v", s, c, again)
			}
		}
	})
}

func span(trace, id, parent string, start time.Time, d time.Duration) *Span {
	return &Span{Trace: trace, ID: id, Parent: parent, Name: id, Kind: Internal, Start: start, Duration: d}
}

func TestLatestSpansAreKept(t *testing.T) {
	s := NewSpans(nil)
	now := time.Now()
	for i := range maxWork + 100 {
		s.Add(span(hex.EncodeToString([]byte{byte(i >> 8), byte(i)}), "a", "", now.Add(time.Duration(i)), time.Second))
	}
	s.Add(&Span{Name: "in no trace"})
	if got := s.Trace("0000"); got != nil {
		t.Errorf("the oldest is still there: %v", got)
	}
	s.Add(span("t", "child", "root", now.Add(time.Second), time.Second), span("t", "root", "", now, 3*time.Second))
	if got := s.Trace("t"); len(got) != 2 || got[0].ID != "root" {
		t.Errorf("trace %v", got)
	}
	recent := s.Recent(2)
	if len(recent) != 2 || recent[0].Trace != "t" || recent[0].Name != "root" || recent[0].Duration != 3*time.Second || recent[0].Spans != 2 {
		t.Errorf("recent %+v", recent)
	}
}

// httpCollector and grpcCollector receive as a collector does.
func httpCollector(t *testing.T, got chan<- *collector.ExportTraceServiceRequest) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		req := &collector.ExportTraceServiceRequest{}
		if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(b, req) != nil {
			http.Error(w, "bad", http.StatusBadRequest)
			return
		}
		got <- req
	}))
	t.Cleanup(s.Close)
	return s.URL
}

type receiver struct {
	collector.UnimplementedTraceServiceServer
	got chan<- *collector.ExportTraceServiceRequest
}

func (r receiver) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.got <- req
	return &collector.ExportTraceServiceResponse{}, nil
}

func grpcCollector(t *testing.T, got chan<- *collector.ExportTraceServiceRequest) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	collector.RegisterTraceServiceServer(s, receiver{got: got})
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return "grpc://" + l.Addr().String()
}

func TestCollectorsGetWholeSpans(t *testing.T) {
	for name, start := range map[string]func(*testing.T, chan<- *collector.ExportTraceServiceRequest) string{"http": httpCollector, "grpc": grpcCollector} {
		t.Run(name, func(t *testing.T) {
			got := make(chan *collector.ExportTraceServiceRequest, 10)
			e, err := NewExporter(t.Context(), start(t, got), "host", "v1", slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- e.Run(ctx) }()
			s := NewSpans(e.Send)
			at := time.Unix(1_800_000_000, 0)
			failed := span(traceID, spanID, "1111111111111111", at, time.Second)
			failed.Error, failed.Kind, failed.Attributes = "boom", Server, map[string]string{"faas.name": "f"}
			s.Add(failed)
			cancel() // what is left is sent at the end
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			x := (<-got).ResourceSpans[0].ScopeSpans[0].Spans[0]
			if hex.EncodeToString(x.TraceId) != traceID || hex.EncodeToString(x.SpanId) != spanID || hex.EncodeToString(x.ParentSpanId) != "1111111111111111" ||
				x.StartTimeUnixNano != uint64(at.UnixNano()) || x.EndTimeUnixNano-x.StartTimeUnixNano != 1e9 ||
				x.Status.Code != otlp.Status_STATUS_CODE_ERROR || x.Status.Message != "boom" || x.Kind != otlp.Span_SPAN_KIND_SERVER || x.Attributes[0].Key != "faas.name" {
				t.Errorf("%v", x)
			}
		})
	}
	for _, bad := range []string{"", "collector", "ftp://host:1"} {
		if _, err := NewExporter(t.Context(), bad, "", "", slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestFullQueueDropsAndDoesNotWait(t *testing.T) {
	e, err := NewExporter(t.Context(), "http://127.0.0.1:1", "", "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for range maxWaiting/8 + 10 { // nobody runs it
		e.Send(make([]Work, 8))
	}
	if e.dropped != 80 || len(e.waiting) != maxWaiting {
		t.Errorf("%d dropped and %d kept, want 80 and %d", e.dropped, len(e.waiting), maxWaiting)
	}
}
