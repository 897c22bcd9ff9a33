// Package observe watches a node as an operator's tools do: a collector of
// OpenTelemetry gets its traces and figures, Prometheus's parser reads its metrics.
package observe

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/mayfly-dev/mayfly/mayflytest"
	"github.com/mayfly-dev/mayfly/test/lambdatest"
)

func TestMain(m *testing.M) { mayflytest.Main(m) }

// collector keeps what a node sends over OTLP.
type collector struct {
	mu      sync.Mutex
	spans   []*otlp.Span
	figures map[string]bool // names of metrics
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r.URL.Path {
	case "/v1/traces":
		var req coltrace.ExportTraceServiceRequest
		err = proto.Unmarshal(b, &req)
		for _, rs := range req.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				c.spans = append(c.spans, ss.Spans...)
			}
		}
	case "/v1/metrics":
		var req colmetrics.ExportMetricsServiceRequest
		err = proto.Unmarshal(b, &req)
		for _, rm := range req.ResourceMetrics {
			for _, sm := range rm.ScopeMetrics {
				for _, m := range sm.Metrics {
					c.figures[m.Name] = true
				}
			}
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

// trace returns the spans of a trace by name.
func (c *collector) trace(id string) map[string]*otlp.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := map[string]*otlp.Span{}
	for _, s := range c.spans {
		if hex.EncodeToString(s.TraceId) == id {
			found[s.Name] = s
		}
	}
	return found
}

// eventually waits for what no channel tells of.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after 30 s it is still not so that %s", what)
		}
	}
}

const echo = `
import os

def handler(event, context):
    return {"trace": os.environ.get("_X_AMZN_TRACE_ID", "")}
`

const (
	clientTrace = "5759e988bd862e3fe1be46a994272793"
	clientSpan  = "53995c3f42cd8ad8"
)

func TestNodeUnderWatch(t *testing.T) {
	c := &collector{figures: map[string]bool{}}
	server := httptest.NewServer(c)
	defer server.Close()
	n := mayflytest.StartWith(t, mayflytest.Options{OTLP: server.URL})
	l := lambdatest.New(n)
	l.Deploy(t, lambdatest.Python{Name: "front", Source: echo})
	l.Deploy(t, lambdatest.Python{Name: "after", Source: echo})

	t.Run("a request is one trace, from the client to the handler", func(t *testing.T) { watchRequest(t, n, l, c) })
	t.Run("an event is one trace, through its queue to its destination", func(t *testing.T) { watchEvent(t, n, l, c) })
	t.Run("Prometheus reads the metrics, and finds those of the dashboard", func(t *testing.T) { watchMetrics(t, n) })
	t.Run("Prometheus reads the metrics that a function prints", func(t *testing.T) { watchReported(t, n, l) })

	if err := n.Stop(); err != nil { // which sends what is left
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.figures["mayfly_invocations_total"] && !c.figures["mayfly_invocations"] {
		t.Errorf("the collector has no figure of invocations: %v", c.figures)
	}
}

func watchRequest(t *testing.T, n *mayflytest.Node, l *lambdatest.Client, c *collector) {
	out, err := l.CreateFunctionUrlConfig(t.Context(), &lambda.CreateFunctionUrlConfigInput{FunctionName: aws.String("front"), AuthType: types.FunctionUrlAuthTypeNone})
	if err != nil {
		t.Fatal(err)
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(aws.ToString(out.FunctionUrl), "http://"), ".")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.Endpoint+"/_fn/"+id+"/path", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Traceparent", "00-"+clientTrace+"-"+clientSpan+"-01")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ Trace string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("status %s, %v", resp.Status, err)
	}
	if !strings.HasPrefix(answer.Trace, "Root=1-"+clientTrace[:8]+"-"+clientTrace[8:]) {
		t.Errorf("the function is in the trace %q", answer.Trace)
	}
	names := []string{"GET /_fn/" + id + "/path", "front", "create sandbox", "handler"}
	eventually(t, "the collector has the whole trace", func() bool {
		got := c.trace(clientTrace)
		return !slices.ContainsFunc(names, func(name string) bool { return got[name] == nil }) && (got["init"] != nil || got["restore snapshot"] != nil)
	})
	got := c.trace(clientTrace)
	request, call := got[names[0]], got["front"]
	if hex.EncodeToString(request.ParentSpanId) != clientSpan || string(call.ParentSpanId) != string(request.SpanId) || string(got["handler"].ParentSpanId) != string(call.SpanId) {
		t.Errorf("the spans don't hang together: %v", got)
	}
	if !strings.Contains(answer.Trace, "Parent="+hex.EncodeToString(call.SpanId)) {
		t.Errorf("what the function calls would not hang below it: %s, its span is %x", answer.Trace, call.SpanId)
	}
}

func watchEvent(t *testing.T, n *mayflytest.Node, l *lambdatest.Client, c *collector) {
	_, err := l.PutFunctionEventInvokeConfig(t.Context(), &lambda.PutFunctionEventInvokeConfigInput{
		FunctionName:      aws.String("front"),
		DestinationConfig: &types.DestinationConfig{OnSuccess: &types.OnSuccess{Destination: aws.String("arn:aws:lambda:" + n.Region + ":" + n.Account + ":function:after")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("front"), InvocationType: types.InvocationTypeEvent}); err != nil {
		t.Fatal(err)
	}
	var front, after *otlp.Span
	eventually(t, "both functions are in one trace", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, s := range c.spans {
			if s.Name == "after" {
				after = s
			}
		}
		for _, s := range c.spans {
			if after != nil && s.Name == "front" && string(s.TraceId) == string(after.TraceId) {
				front = s
			}
		}
		return front != nil
	})
	if string(after.ParentSpanId) != string(front.SpanId) || after.Kind != otlp.Span_SPAN_KIND_CONSUMER {
		t.Errorf("the destination's call %v does not hang below %v", after, front)
	}
}

// metricsOf reads the metrics as Prometheus does.
func metricsOf(t *testing.T, n *mayflytest.Node) map[string]*dto.MetricFamily {
	t.Helper()
	resp, err := http.Get(n.Endpoint + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("status %s, %v", resp.Status, err)
	}
	return families
}

var metricName = regexp.MustCompile(`\bmayfly_[a-z_]+\b`)

func watchMetrics(t *testing.T, n *mayflytest.Node) {
	var families map[string]*dto.MetricFamily
	eventually(t, "both functions are counted", func() bool {
		families = metricsOf(t, n)
		return len(families["mayfly_invocations_total"].GetMetric()) == 2
	})
	known := map[string]bool{}
	for name := range families {
		known[name] = true
		for _, part := range []string{"_bucket", "_sum", "_count"} {
			known[name+part] = true
		}
	}
	// Those without a value yet show nothing, and are known by their names here.
	for _, quiet := range []string{"mayfly_throttles_total", "mayfly_dead_letters_total", "mayfly_restore_duration_seconds", "mayfly_restore_duration_seconds_bucket", "mayfly_init_duration_seconds", "mayfly_init_duration_seconds_bucket", "mayfly_sandbox_duration_seconds", "mayfly_first_answer_seconds", "mayfly_queue_messages", "mayfly_trigger_lag_messages", "mayfly_async_waiting", "mayfly_function_metric", "mayfly_function_metric_sum", "mayfly_function_metric_left_out_total"} {
		known[quiet] = true
	}
	for _, file := range []string{"../../docs/monitoring/grafana.json", "../../docs/monitoring/alerts.yaml", "../../docs/guide/metrics.md"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, ".json") && !json.Valid(b) {
			t.Errorf("%s is no JSON", file)
		}
		named := metricName.FindAllString(string(b), -1)
		if len(named) == 0 {
			t.Errorf("%s names no metrics", file)
		}
		for _, name := range named {
			if !known[name] {
				t.Errorf("%s names %s, which is not there", file, name)
			}
		}
	}
	guide, err := os.ReadFile("../../docs/guide/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range families {
		if strings.HasPrefix(name, "mayfly_") && !strings.Contains(string(guide), "`"+name+"`") {
			t.Errorf("the guide does not name %s", name)
		}
	}
}

const shop = `
import json

def handler(event, context):
    meta = {"Timestamp": 0, "CloudWatchMetrics": [{"Namespace": "Shop", "Dimensions": [["Page"]],
        "Metrics": [{"Name": "Sold", "Unit": "Count"}]}]}
    print(json.dumps({"_aws": meta, "Page": event["page"], "Sold": event["sold"]}))
`

func watchReported(t *testing.T, n *mayflytest.Node, l *lambdatest.Client) {
	l.Deploy(t, lambdatest.Python{Name: "shop", Source: shop})
	sell := func(page, sold string) {
		t.Helper()
		out, err := l.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("shop"), Payload: []byte(`{"page":"` + page + `","sold":` + sold + `}`)})
		if err != nil || out.FunctionError != nil {
			t.Fatalf("%v %s", err, out.Payload)
		}
	}
	sell("books", "2")
	sell("books", "[3, 4]")
	sell("games", "1")
	sell("games", `"none"`) // which is not as specified
	for i := range 120 {    // more series than a function may have
		sell(fmt.Sprint("page ", i), "1")
	}
	var families map[string]*dto.MetricFamily
	value := func(family string, labels map[string]string) *dto.Metric {
		for _, m := range families[family].GetMetric() {
			got := map[string]string{}
			for _, l := range m.Label {
				got[l.GetName()] = l.GetValue()
			}
			if maps.Equal(got, labels) {
				return m
			}
		}
		return nil
	}
	eventually(t, "all lines are read", func() bool {
		families = metricsOf(t, n)
		return value("mayfly_function_metric_left_out_total", map[string]string{"function": "shop", "reason": "limit"}).GetCounter().GetValue() == 22
	})
	if got := value("mayfly_function_metric_left_out_total", map[string]string{"function": "shop", "reason": "invalid"}).GetCounter().GetValue(); got != 1 {
		t.Errorf("%v lines are told to be invalid", got)
	}
	if got := len(families["mayfly_function_metric"].GetMetric()); got != 100 {
		t.Errorf("%d series of one function", got)
	}
	for page, want := range map[string]struct {
		count uint64
		sum   float64
	}{"books": {3, 9}, "games": {1, 1}} {
		s := value("mayfly_function_metric", map[string]string{"function": "shop", "namespace": "Shop", "metric": "Sold", "unit": "Count", "Page": page}).GetSummary()
		if s.GetSampleCount() != want.count || s.GetSampleSum() != want.sum {
			t.Errorf("%s: %d values that add up to %v, want %v", page, s.GetSampleCount(), s.GetSampleSum(), want)
		}
	}
	guide, err := os.ReadFile("../../docs/guide/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mayfly_function_metric", "mayfly_function_metric_left_out_total"} {
		if families[name] == nil || !strings.Contains(string(guide), "`"+name+"`") {
			t.Errorf("the guide or the node does not name %s", name)
		}
	}
}

func TestMetricsAreForThisMachine(t *testing.T) {
	n := mayflytest.Start(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.Endpoint+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-For", "203.0.113.1")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("through a proxy: %s", resp.Status)
	}
}
