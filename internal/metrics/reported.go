package metrics

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Bounds of what functions report themselves.
const (
	maxSeries         = 1000 // of all functions
	maxFunctionSeries = 100  // of one
	seriesIdle        = time.Hour
)

// Sample is what a function reports of a metric of its own.
type Sample struct {
	Function, Namespace, Name, Unit string
	Dimensions                      map[string]string // none is empty
	Values                          []float64
}

// Loss is why something that a function reported is not in its metrics.
type Loss string

// The losses.
const (
	OverLimit Loss = "limit"   // values: there are too many series
	Malformed Loss = "invalid" // lines that are not what they seem to be
	TooFast   Loss = "busy"    // lines that came faster than they are read
)

// Report counts a sample. What would be a series too many is left out and
// counted; a series that got no value for an hour makes room.
func (m *Metrics) Report(s Sample) {
	s.Function = m.functions.label(s.Function)
	if !m.reported.observe(s, time.Now()) {
		m.left.WithLabelValues(s.Function, string(OverLimit)).Add(float64(len(s.Values)))
	}
}

// Left counts a line of a function that gave no metrics.
func (m *Metrics) Left(function string, why Loss) {
	m.left.WithLabelValues(m.functions.label(function), string(why)).Inc()
}

// reported holds the series of functions' own metrics. Their labels differ, so
// that it describes none beforehand.
type reported struct {
	mu     sync.Mutex
	series map[string]*series // guarded by mu
	of     map[string]int     // guarded by mu; series by function
	swept  time.Time          // guarded by mu
}

type series struct {
	prometheus.Summary
	function string
	used     time.Time // guarded by reported.mu
}

func newReported() *reported {
	return &reported{series: map[string]*series{}, of: map[string]int{}}
}

func (r *reported) observe(s Sample, now time.Time) bool {
	labels, key := labelsOf(s)
	found := r.find(key, s.Function, labels, now)
	if found == nil {
		return false
	}
	for _, v := range s.Values {
		found.Observe(v)
	}
	return true
}

// find returns the series of key, which it makes if there is room.
func (r *reported) find(key, function string, labels prometheus.Labels, now time.Time) *series {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.series[key]
	if found == nil {
		if r.full(function) {
			r.sweep(now)
		}
		if r.full(function) {
			return nil
		}
		found = &series{function: function, Summary: prometheus.NewSummary(prometheus.SummaryOpts{
			Name: "mayfly_function_metric", Help: "Values of a metric that a function reports itself; quantiles of the last ten minutes.",
			ConstLabels: labels, Objectives: map[float64]float64{.5: .05, .9: .01, .99: .001, 1: 0},
			AgeBuckets: 2, BufCap: 64, // little memory each
		})}
		r.series[key] = found
		r.of[function]++
	}
	found.used = now
	return found
}

func (r *reported) full(function string) bool {
	return len(r.series) >= maxSeries || r.of[function] >= maxFunctionSeries
}

// sweep removes idle series, at most once a minute.
func (r *reported) sweep(now time.Time) {
	if now.Sub(r.swept) < time.Minute {
		return
	}
	r.swept = now
	maps.DeleteFunc(r.series, func(_ string, s *series) bool {
		idle := now.Sub(s.used) >= seriesIdle
		if idle {
			r.of[s.function]--
		}
		return idle
	})
	maps.DeleteFunc(r.of, func(_ string, n int) bool { return n == 0 })
}

// labelsOf returns the labels of a sample's series, and what tells it from others.
func labelsOf(s Sample) (labels prometheus.Labels, key string) {
	labels = prometheus.Labels{"function": s.Function, "namespace": s.Namespace, "metric": s.Name, "unit": s.Unit}
	var b strings.Builder
	for _, part := range []string{s.Function, s.Namespace, s.Name, s.Unit} {
		b.WriteString(part + "\x00")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Dimensions)) {
		label := labelName(name)
		for labels[label] != "" { // two names that differ in other characters only
			label += "_"
		}
		labels[label] = s.Dimensions[name]
		b.WriteString(label + "\x00" + s.Dimensions[name] + "\x00")
	}
	return labels, b.String()
}

// labelName makes a dimension's name a label that hides none of ours.
func labelName(name string) string {
	clean := strings.Map(func(c rune) rune {
		if c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' {
			return c
		}
		return '_'
	}, name)
	switch {
	case clean == "function", clean == "namespace", clean == "metric", clean == "unit", clean == "quantile", clean == "le",
		clean == "", strings.HasPrefix(clean, "__"), '0' <= clean[0] && clean[0] <= '9':
		return "dimension_" + clean
	}
	return clean
}

// Describe implements prometheus.Collector. It tells nothing: each series has
// labels of its own.
func (r *reported) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (r *reported) Collect(ch chan<- prometheus.Metric) {
	r.mu.Lock()
	all := make([]*series, 0, len(r.series))
	for _, s := range r.series {
		all = append(all, s)
	}
	r.mu.Unlock()
	for _, s := range all {
		ch <- s.Summary
	}
}
