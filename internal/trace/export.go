package trace

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

const (
	maxWaiting  = 16 << 10         // calls and requests that wait for the collector; more are dropped
	exportBatch = 512              // of them sent together
	exportDelay = time.Second      // how long spans wait for company
	exportLimit = 10 * time.Second // for one sending
)

// Exporter sends spans to a collector over OTLP. Its Send never waits.
type Exporter struct {
	client otlptrace.Client
	res    *resource.Resource
	log    *slog.Logger
	many   chan struct{} // holds a token when there is a batch

	mu      sync.Mutex
	waiting []Work // guarded by mu
	dropped int    // guarded by mu; since the last sending
}

// NewExporter returns an exporter to the collector at endpoint: http://HOST:4318,
// https://…, or grpc://HOST:4317. It connects when there is something to send.
// node names this node.
func NewExporter(ctx context.Context, endpoint, node, version string, log *slog.Logger) (*Exporter, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return nil, errs.Newf(errs.Invalid, "%q is not the address of a collector, such as http://127.0.0.1:4318 or grpc://127.0.0.1:4317", endpoint)
	}
	var client otlptrace.Client
	switch u.Scheme {
	case "grpc":
		client = otlptracegrpc.NewClient(otlptracegrpc.WithEndpoint(u.Host), otlptracegrpc.WithInsecure())
	case "http", "https":
		opts := []otlptracehttp.Option{otlptracehttp.WithEndpoint(u.Host)}
		if u.Scheme == "http" {
			opts = append(opts, otlptracehttp.WithInsecure())
		}
		if u.Path != "" && u.Path != "/" {
			opts = append(opts, otlptracehttp.WithURLPath(u.Path))
		}
		client = otlptracehttp.NewClient(opts...)
	default:
		return nil, errs.Newf(errs.Invalid, "a collector is reached by http, https or grpc, not by %q", u.Scheme)
	}
	if err := client.Start(ctx); err != nil {
		return nil, fmt.Errorf("make the exporter of traces: %w", err)
	}
	res := &resource.Resource{Attributes: attributes(map[string]string{"service.name": "mayfly", "service.version": version, "host.name": node})}
	return &Exporter{client: client, res: res, log: log, many: make(chan struct{}, 1)}, nil
}

// Send takes work for the collector. When that does not keep up, work is dropped
// and counted.
func (e *Exporter) Send(ended []Work) {
	e.mu.Lock()
	room := min(len(ended), maxWaiting-len(e.waiting))
	e.waiting = append(e.waiting, ended[:room]...)
	e.dropped += len(ended) - room
	many := len(e.waiting) >= exportBatch
	e.mu.Unlock()
	if many {
		select {
		case e.many <- struct{}{}:
		default:
		}
	}
}

// Run sends spans until ctx ends, then what is left.
func (e *Exporter) Run(ctx context.Context) error {
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), exportLimit)
		defer cancel()
		_ = e.client.Stop(last) // the collector is gone, at worst
	}()
	failing := false
	tick := time.NewTicker(exportDelay)
	defer tick.Stop()
	for {
		select {
		case <-e.many:
		case <-tick.C:
		case <-ctx.Done():
			e.flush(context.WithoutCancel(ctx), failing)
			return nil
		}
		failing = e.flush(ctx, failing)
	}
}

// flush sends all that waits, and reports whether that fails; was says whether it
// did before.
func (e *Exporter) flush(ctx context.Context, was bool) (failing bool) {
	e.mu.Lock()
	waiting, dropped := e.waiting, e.dropped
	e.waiting, e.dropped = nil, 0
	e.mu.Unlock()
	if dropped > 0 {
		e.log.Warn("calls and requests were left out of traces: the collector does not keep up", "dropped", dropped)
	}
	failing = was
	for batch := range slices.Chunk(waiting, exportBatch) {
		limited, cancel := context.WithTimeout(ctx, exportLimit)
		err := e.client.UploadTraces(limited, e.convert(batch))
		cancel()
		if err != nil && !failing {
			e.log.Warn("traces can't be sent to the collector", "err", err)
		}
		failing = err != nil
	}
	return failing
}

var kinds = map[Kind]otlp.Span_SpanKind{
	Internal: otlp.Span_SPAN_KIND_INTERNAL, Server: otlp.Span_SPAN_KIND_SERVER,
	Consumer: otlp.Span_SPAN_KIND_CONSUMER, Producer: otlp.Span_SPAN_KIND_PRODUCER,
}

// sampled are the flags of spans: they are in a trace that is kept.
const sampled = 1

// convert gives work the form of the protocol.
func (e *Exporter) convert(batch []Work) []*otlp.ResourceSpans {
	var spans []*otlp.Span
	for _, w := range batch {
		for _, s := range w.Spans() {
			x := &otlp.Span{
				TraceId: id(s.Trace), SpanId: id(s.ID), ParentSpanId: id(s.Parent), Flags: sampled, Name: s.Name, Kind: kinds[s.Kind],
				StartTimeUnixNano: uint64(s.Start.UnixNano()), EndTimeUnixNano: uint64(s.End().UnixNano()), Attributes: attributes(s.Attributes),
			}
			if s.Error != "" {
				x.Status = &otlp.Status{Code: otlp.Status_STATUS_CODE_ERROR, Message: s.Error}
			}
			spans = append(spans, x)
		}
	}
	scope := &common.InstrumentationScope{Name: "mayfly"}
	return []*otlp.ResourceSpans{{Resource: e.res, ScopeSpans: []*otlp.ScopeSpans{{Scope: scope, Spans: spans}}}}
}

// id is an id as bytes; nil for none.
func id(digits string) []byte {
	b, _ := hex.DecodeString(digits) // its form was checked
	return b
}

func attributes(from map[string]string) []*common.KeyValue {
	list := make([]*common.KeyValue, 0, len(from))
	for k, v := range from {
		list = append(list, &common.KeyValue{Key: k, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: v}}})
	}
	return list
}
