package metrics

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// exportEvery is how often the figures go to a collector.
const exportEvery = 15 * time.Second

// Export sends the figures to the collector at endpoint (see trace.NewExporter)
// over OTLP until ctx ends, and once more then.
func (m *Metrics) Export(ctx context.Context, endpoint, node, version string) error {
	exporter, err := collector(ctx, endpoint)
	if err != nil {
		return err
	}
	bridge := prometheus.NewMetricProducer(prometheus.WithGatherer(m.registry))
	provider := metric.NewMeterProvider(
		metric.WithReader(metric.NewPeriodicReader(exporter, metric.WithProducer(bridge), metric.WithInterval(exportEvery))),
		metric.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "mayfly"), attribute.String("service.version", version), attribute.String("host.name", node))),
	)
	<-ctx.Done()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = provider.Shutdown(last) // the collector is gone, at worst
	return nil
}

func collector(ctx context.Context, endpoint string) (metric.Exporter, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return nil, errs.Newf(errs.Invalid, "%q is not the address of a collector", endpoint)
	}
	var exporter metric.Exporter
	if u.Scheme == "grpc" {
		exporter, err = otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithEndpoint(u.Host), otlpmetricgrpc.WithInsecure())
	} else {
		opts := []otlpmetrichttp.Option{otlpmetrichttp.WithEndpoint(u.Host)}
		if u.Scheme == "http" {
			opts = append(opts, otlpmetrichttp.WithInsecure())
		}
		exporter, err = otlpmetrichttp.New(ctx, opts...)
	}
	if err != nil {
		return nil, fmt.Errorf("make the exporter of metrics: %w", err)
	}
	return exporter, nil
}
