package node

import (
	"context"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mayfly-dev/mayfly/internal/api/aws/payload"
	"github.com/mayfly-dev/mayfly/internal/endpoint"
	"github.com/mayfly-dev/mayfly/internal/meter"
	"github.com/mayfly-dev/mayfly/internal/trace"
)

// openTraces makes the place for spans, and the way to a collector.
func (n *Node) openTraces(ctx context.Context) (err error) {
	if n.cfg.OTLP == "" {
		n.spans = trace.NewSpans(nil)
		return nil
	}
	n.exporter, err = trace.NewExporter(ctx, n.cfg.OTLP, hostname(), n.version, n.log)
	if err != nil {
		return err
	}
	n.spans = trace.NewSpans(n.exporter.Send)
	return nil
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}

// export sends traces and metrics to the collector, if there is one, until ctx
// ends.
func (n *Node) export(ctx context.Context) error {
	if n.exporter == nil {
		return nil
	}
	var both errgroup.Group
	both.Go(func() error { return n.exporter.Run(ctx) })
	both.Go(func() error { return n.metrics.Export(ctx, n.cfg.OTLP, hostname(), n.version) })
	return both.Wait()
}

// entered counts records that are durable, and keeps them for those who ask for spans.
func (n *Node) entered(records []meter.Record) {
	n.metrics.Observe(records)
	n.budgets.Wake()
	kept := slices.Clone(records)
	work := make([]trace.Work, len(kept))
	for i := range kept {
		work[i] = &kept[i]
	}
	n.spans.Add(work...)
}

// traced makes a span of each request to an endpoint, in the trace that the client
// names, else in a new one.
type traced struct {
	endpoint.Handler
	spans *trace.Spans
}

// ServeEndpoint implements endpoint.Handler.
func (t traced) ServeEndpoint(w http.ResponseWriter, r *http.Request, a endpoint.Address) {
	if strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-") { // its headers are signed
		t.Handler.ServeEndpoint(w, r, a)
		return
	}
	c := trace.Parse(r.Header.Get(payload.TraceHeader))
	if c.Trace == "" {
		c = trace.ParseW3C(r.Header.Get("Traceparent"))
	}
	if c.Trace == "" {
		c.Trace = trace.NewTraceID()
	}
	s := &trace.Span{
		Trace: c.Trace, ID: trace.NewID(), Parent: c.Span, Name: r.Method + " " + r.URL.Path, Kind: trace.Server, Start: time.Now(),
		Attributes: map[string]string{"http.request.method": r.Method, "url.path": r.URL.Path, "server.address": hostName(r.Host)},
	}
	if h := r.Header.Get(payload.TraceHeader); trace.Parse(h).Trace != "" { // its other fields stay
		r.Header.Set(payload.TraceHeader, trace.WithParent(h, s.ID))
	} else {
		c.Span = s.ID
		r.Header.Set(payload.TraceHeader, c.Header())
	}
	defer func() {
		s.Duration = time.Since(s.Start)
		t.spans.Add(s)
	}()
	t.Handler.ServeEndpoint(w, r, a)
}
