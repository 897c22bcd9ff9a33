package metrics

import (
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/mayfly-dev/mayfly/internal/meter"
)

// read asks as Prometheus does, and reads the answer with its own parser.
func read(t *testing.T, m *Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

func value(t *testing.T, f *dto.MetricFamily, labels ...string) float64 {
	t.Helper()
	for _, m := range f.GetMetric() {
		var got []string
		for _, l := range m.Label {
			got = append(got, l.GetValue())
		}
		if fmt.Sprint(got) != fmt.Sprint(labels) {
			continue
		}
		switch {
		case m.Counter != nil:
			return m.Counter.GetValue()
		case m.Gauge != nil:
			return m.Gauge.GetValue()
		}
		return float64(m.Histogram.GetSampleCount())
	}
	t.Errorf("%s has no %v", f.GetName(), labels)
	return -1
}

func TestRecordsAndRoomsAreCounted(t *testing.T) {
	m := New("v1")
	m.Register(Gauge{Name: "mayfly_test_things", Help: "x", Labels: []string{"function"}, Read: func(tell func(float64, ...string)) {
		tell(2, "f")
		tell(3, "f")
	}})
	m.Observe([]meter.Record{
		{Function: "f", Outcome: meter.OK, Billed: 2 * time.Second, Duration: time.Second, Init: time.Second, Age: time.Minute},
		{Function: "f", Outcome: meter.Failed, Billed: time.Second, Restore: time.Second, Phases: meter.Phases{Sandbox: time.Millisecond, Answer: time.Second}},
	})
	m.Throttled("f")
	m.DeadLetter("g")
	got := read(t, m)
	for _, c := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"mayfly_invocations_total", []string{"f", "ok"}, 1},
		{"mayfly_invocations_total", []string{"f", "error"}, 1},
		{"mayfly_billed_seconds_total", []string{"f"}, 3},
		{"mayfly_invocation_duration_seconds", []string{"f"}, 2},
		{"mayfly_init_duration_seconds", []string{"f"}, 1},
		{"mayfly_restore_duration_seconds", []string{"f"}, 1},
		{"mayfly_sandbox_duration_seconds", []string{"f"}, 1},
		{"mayfly_first_answer_seconds", []string{"f"}, 1},
		{"mayfly_async_age_seconds", []string{"f"}, 1},
		{"mayfly_throttles_total", []string{"f"}, 1},
		{"mayfly_dead_letters_total", []string{"g"}, 1},
		{"mayfly_test_things", []string{"f"}, 5},
		{"mayfly_build_info", []string{"v1"}, 1},
	} {
		if v := value(t, got[c.name], c.labels...); v != c.want {
			t.Errorf("%s%v = %v, want %v", c.name, c.labels, v, c.want)
		}
	}
}

func TestManyFunctionsShareOneName(t *testing.T) {
	m := New("v1")
	const n = maxNames + 50
	for i := range n {
		m.Observe([]meter.Record{{Function: fmt.Sprint("f", i), Outcome: meter.OK}})
	}
	got := read(t, m)["mayfly_invocations_total"]
	if len(got.Metric) != maxNames+1 || value(t, got, Other, "ok") != 50 {
		t.Errorf("%d series", len(got.Metric))
	}
}
