// Package metrics counts what the node does, for Prometheus and whoever reads
// its format. What functions did comes from the meter's records once they are
// durable, so that no call waits for a counter; what rooms hold is asked when
// somebody looks.
//
// docs/guide/metrics.md names them all.
package metrics

import (
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/mayfly-dev/mayfly/internal/meter"
)

// maxNames bounds how many functions, and how many queues, have figures of their
// own; those that come later share the name Other.
const maxNames = 1000

// Other stands for what is too much to be told apart.
const Other = "other"

// Metrics are the node's counters. It is safe for concurrent use.
type Metrics struct {
	registry          *prometheus.Registry
	functions, queues names

	invocations, throttles, billed, deadLetters  *prometheus.CounterVec
	duration, sandbox, init, restore, first, age *prometheus.HistogramVec
	wait                                         prometheus.Histogram

	mu     sync.Mutex
	called map[string]*called // guarded by mu; by function's label

	reported *reported
	left     *prometheus.CounterVec
}

// names hands out labels.
type names struct {
	mu    sync.Mutex
	known map[string]struct{} // guarded by mu
}

func (n *names) label(name string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.known[name]; ok {
		return name
	}
	if len(n.known) >= maxNames {
		return Other
	}
	n.known[name] = struct{}{}
	return name
}

// Buckets of histograms, in seconds.
var (
	fast = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900}
	slow = []float64{.01, .1, 1, 10, 60, 300, 1800, 3600, 6 * 3600}
)

// New returns metrics that count nothing yet. version is shown.
func New(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), functions: names{known: map[string]struct{}{}}, queues: names{known: map[string]struct{}{}}, called: map[string]*called{}, reported: newReported()}
	function := []string{"function"}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		m.registry.MustRegister(v)
		return v
	}
	histogram := func(name, help string, buckets []float64, labels []string) *prometheus.HistogramVec {
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
		m.registry.MustRegister(v)
		return v
	}
	m.invocations = counter("mayfly_invocations_total", "Attempts to run a function, by how they ended.", "function", "outcome")
	m.throttles = counter("mayfly_throttles_total", "Calls that were refused for want of concurrency or memory, or by a budget.", "function")
	m.billed = counter("mayfly_billed_seconds_total", "Billed time.", "function")
	m.left = counter("mayfly_function_metric_left_out_total", "What functions reported that is not in mayfly_function_metric.", "function", "reason")
	m.deadLetters = counter("mayfly_dead_letters_total", "Asynchronous calls that were given up.", "function")
	m.duration = histogram("mayfly_invocation_duration_seconds", "Time in the handler.", fast, function)
	m.sandbox = histogram("mayfly_sandbox_duration_seconds", "Making of a sandbox, or taking of one that was booted before, that a call waited for.", fast, function)
	m.first = histogram("mayfly_first_answer_seconds", "First call of an instance, in the handler.", fast, function)
	m.init = histogram("mayfly_init_duration_seconds", "Init that a call waited for.", fast, function)
	m.restore = histogram("mayfly_restore_duration_seconds", "Restore of a snapshot that a call waited for.", fast, function)
	m.age = histogram("mayfly_async_age_seconds", "Age of asynchronous calls when they ran.", slow, function)
	m.wait = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "mayfly_instance_wait_seconds", Help: "Wait for an instance, or for the right to start one.", Buckets: fast})
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "mayfly_build_info", Help: "1, with the node's version."}, []string{"version"})
	info.WithLabelValues(version).Set(1)
	m.registry.MustRegister(m.wait, m.reported, info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// called is the figures of one function's calls, each found once.
type called struct {
	label       string
	invocations map[meter.Outcome]prometheus.Counter
	billed      prometheus.Counter
	duration    prometheus.Observer
}

// of returns the figures of a function's calls. The caller holds m.mu.
func (m *Metrics) of(function string) *called {
	fn := m.functions.label(function)
	c := m.called[fn]
	if c == nil {
		c = &called{
			label: fn, invocations: map[meter.Outcome]prometheus.Counter{}, billed: m.billed.WithLabelValues(fn), duration: m.duration.WithLabelValues(fn),
		}
		m.called[fn] = c
	}
	return c
}

// Observe counts records. It does not keep them.
func (m *Metrics) Observe(records []meter.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range records {
		r := &records[i]
		c := m.of(r.Function)
		n := c.invocations[r.Outcome]
		if n == nil {
			n = m.invocations.WithLabelValues(c.label, string(r.Outcome))
			c.invocations[r.Outcome] = n
		}
		n.Inc()
		c.billed.Add(r.Billed.Seconds())
		c.duration.Observe(r.Duration.Seconds())
		m.wait.Observe(r.Phases.Queue.Seconds())
		for _, rare := range [...]struct {
			of   *prometheus.HistogramVec
			took time.Duration
		}{{m.sandbox, r.Phases.Sandbox}, {m.init, r.Init}, {m.restore, r.Restore}, {m.first, r.Phases.Answer}, {m.age, r.Age}} {
			if rare.took > 0 {
				rare.of.WithLabelValues(c.label).Observe(rare.took.Seconds())
			}
		}
	}
}

// Throttled counts a call that was refused.
func (m *Metrics) Throttled(function string) {
	m.throttles.WithLabelValues(m.functions.label(function)).Inc()
}

// DeadLetter counts an asynchronous call that was given up.
func (m *Metrics) DeadLetter(function string) {
	m.deadLetters.WithLabelValues(m.functions.label(function)).Inc()
}

// Gauge is a figure that a room tells when somebody looks.
type Gauge struct {
	Name   string // mayfly_THING_UNIT
	Help   string
	Labels []string
	// Read calls tell with each value and the values of Labels. It must be quick.
	Read func(tell func(value float64, labels ...string))
}

// Register adds gauges. It panics on a name that is taken: that is a fault in the
// program. Call it before the node serves.
func (m *Metrics) Register(gauges ...Gauge) {
	for _, g := range gauges {
		m.registry.MustRegister(&room{Gauge: g, m: m, desc: prometheus.NewDesc(g.Name, g.Help, g.Labels, nil)})
	}
}

// room is a Gauge as a prometheus.Collector.
type room struct {
	Gauge
	m    *Metrics
	desc *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (r *room) Describe(ch chan<- *prometheus.Desc) { ch <- r.desc }

// Collect implements prometheus.Collector. What falls under one label is added up.
func (r *room) Collect(ch chan<- prometheus.Metric) {
	sums := map[string]float64{}
	labels := map[string][]string{}
	r.Read(func(value float64, values ...string) {
		key := ""
		for i, name := range r.Labels {
			switch name {
			case "function":
				values[i] = r.m.functions.label(values[i])
			case "queue":
				values[i] = r.m.queues.label(values[i])
			}
			key += values[i] + "\x00"
		}
		sums[key] += value
		labels[key] = values
	})
	for key, sum := range sums {
		ch <- prometheus.MustNewConstMetric(r.desc, prometheus.GaugeValue, sum, labels[key]...)
	}
}

// Handler serves the metrics in Prometheus's formats.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Gatherer returns what a bridge to other formats reads.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }
