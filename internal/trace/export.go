package trace

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/url"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

const (
	exportQueue = 4096             // groups of spans that wait for the collector; more are dropped
	exportBatch = 512              // spans sent together
	exportDelay = time.Second      // how long spans wait for company
	exportLimit = 10 * time.Second // for one sending
)

// Exporter sends spans to a collector over OTLP. Its Send never waits.
type Exporter struct {
	client  *otlptrace.Exporter
	res     *resource.Resource
	log     *slog.Logger
	queue   chan []Span
	dropped atomic.Int64
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
	exporter, err := otlptrace.New(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("make the exporter of traces: %w", err)
	}
	res := resource.NewSchemaless(
		attribute.String("service.name", "mayfly"), attribute.String("service.version", version), attribute.String("host.name", node))
	return &Exporter{client: exporter, res: res, log: log, queue: make(chan []Span, exportQueue)}, nil
}

// Send takes spans for the collector. When it does not keep up, they are dropped
// and counted.
func (e *Exporter) Send(spans []Span) {
	select {
	case e.queue <- spans:
	default:
		e.dropped.Add(int64(len(spans)))
	}
}

// Run sends spans until ctx ends, then what is left.
func (e *Exporter) Run(ctx context.Context) error {
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), exportLimit)
		defer cancel()
		_ = e.client.Shutdown(last) // the collector is gone, at worst
	}()
	var batch []Span
	failing := false
	flush := func(ctx context.Context) {
		if len(batch) == 0 {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, exportLimit)
		defer cancel()
		err := e.client.ExportSpans(ctx, e.convert(batch))
		batch = batch[:0]
		if err != nil && !failing {
			e.log.Warn("traces can't be sent to the collector", "err", err)
		}
		failing = err != nil
		if n := e.dropped.Swap(0); n > 0 {
			e.log.Warn("spans were dropped: the collector does not keep up", "spans", n)
		}
	}
	tick := time.NewTicker(exportDelay)
	defer tick.Stop()
	for {
		select {
		case spans := <-e.queue:
			if batch = append(batch, spans...); len(batch) >= exportBatch {
				flush(ctx)
			}
		case <-tick.C:
			flush(ctx)
		case <-ctx.Done():
			for len(e.queue) > 0 {
				batch = append(batch, <-e.queue...)
			}
			flush(context.WithoutCancel(ctx))
			return nil
		}
	}
}

var kinds = map[Kind]oteltrace.SpanKind{
	Internal: oteltrace.SpanKindInternal, Server: oteltrace.SpanKindServer,
	Consumer: oteltrace.SpanKindConsumer, Producer: oteltrace.SpanKindProducer,
}

// convert gives spans the form of the SDK.
func (e *Exporter) convert(spans []Span) []sdktrace.ReadOnlySpan {
	stubs := make(tracetest.SpanStubs, 0, len(spans))
	for i := range spans {
		s := &spans[i]
		stub := tracetest.SpanStub{
			Name: s.Name, SpanKind: kinds[s.Kind], StartTime: s.Start, EndTime: s.End(), Resource: e.res,
			SpanContext:          contextOf(s.Trace, s.ID),
			InstrumentationScope: instrumentation.Scope{Name: "mayfly"},
		}
		if s.Parent != "" {
			stub.Parent = contextOf(s.Trace, s.Parent)
		}
		for k, v := range s.Attributes {
			stub.Attributes = append(stub.Attributes, attribute.String(k, v))
		}
		if s.Error != "" {
			stub.Status = sdktrace.Status{Code: codes.Error, Description: s.Error}
		}
		stubs = append(stubs, stub)
	}
	return stubs.Snapshots()
}

func contextOf(trace, span string) oteltrace.SpanContext {
	var c oteltrace.SpanContextConfig
	hex.Decode(c.TraceID[:], []byte(trace)) // its form was checked
	hex.Decode(c.SpanID[:], []byte(span))
	c.TraceFlags = oteltrace.FlagsSampled
	return oteltrace.NewSpanContext(c)
}
