package metrics

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"
)

func labelsIn(m *dto.Metric) map[string]string {
	labels := map[string]string{}
	for _, l := range m.Label {
		labels[l.GetName()] = l.GetValue()
	}
	return labels
}

func TestSamplesOfFunctionsAreSummed(t *testing.T) {
	m := New("v1")
	for v := range 5000 {
		m.Report(Sample{Function: "f", Namespace: "Shop", Name: "Latency", Unit: "Milliseconds", Dimensions: map[string]string{"Path": "/a", "unit": "u", "9 lives": "x"}, Values: []float64{float64(v)}})
	}
	m.Report(Sample{Function: "f", Namespace: "Shop", Name: "Latency", Unit: "Milliseconds", Dimensions: map[string]string{"Path": "/b"}, Values: []float64{1, 2}})
	family := read(t, m)["mayfly_function_metric"].GetMetric()
	if len(family) != 2 {
		t.Fatalf("%d series, want 2: %v", len(family), family)
	}
	for _, s := range family {
		labels, sum := labelsIn(s), s.GetSummary()
		switch labels["Path"] {
		case "/a":
			want := map[string]string{"function": "f", "namespace": "Shop", "metric": "Latency", "unit": "Milliseconds", "Path": "/a", "dimension_unit": "u", "dimension_9_lives": "x"}
			if !maps.Equal(labels, want) {
				t.Errorf("labels %v, want %v", labels, want)
			}
			if sum.GetSampleCount() != 5000 || sum.GetSampleSum() != 5000*4999/2 {
				t.Errorf("%d values that add up to %v", sum.GetSampleCount(), sum.GetSampleSum())
			}
			for _, q := range sum.Quantile {
				if want := q.GetQuantile() * 4999; q.GetValue() < want-350 || q.GetValue() > want+350 {
					t.Errorf("quantile %v is %v, want about %v", q.GetQuantile(), q.GetValue(), want)
				}
				if q.GetQuantile() == 1 && q.GetValue() != 4999 {
					t.Errorf("the largest is %v", q.GetValue())
				}
			}
		case "/b":
			if sum.GetSampleCount() != 2 || sum.GetSampleSum() != 3 {
				t.Errorf("%d values that add up to %v", sum.GetSampleCount(), sum.GetSampleSum())
			}
		default:
			t.Errorf("labels %v", labels)
		}
	}
}

func TestSeriesOfFunctionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New("v1")
		report := func(function string, n int) {
			for i := range n {
				m.Report(Sample{Function: function, Namespace: "n", Name: "m", Unit: "None", Dimensions: map[string]string{"User": fmt.Sprint(i)}, Values: []float64{1, 2}})
			}
		}
		series := func() int { return len(read(t, m)["mayfly_function_metric"].GetMetric()) }
		report("greedy", 500)
		if got := series(); got != maxFunctionSeries {
			t.Errorf("one function has %d series, want %d", got, maxFunctionSeries)
		}
		if got := value(t, read(t, m)["mayfly_function_metric_left_out_total"], "greedy", "limit"); got != 2*(500-maxFunctionSeries) {
			t.Errorf("%v values are told to be left out", got)
		}
		report("greedy", 1) // one that is known is still counted
		for i := range 50 {
			report(fmt.Sprint("f", i), 50)
		}
		if got := series(); got != maxSeries {
			t.Errorf("all have %d series, want %d", got, maxSeries)
		}
		time.Sleep(seriesIdle)
		report("late", 10)
		if got := series(); got != 10 {
			t.Errorf("an hour later, %d series are left, want the 10 new ones", got)
		}
	})
}

func TestNamesOfDimensionsBecomeLabels(t *testing.T) {
	labels, _ := labelsOf(Sample{Function: "f", Namespace: "n", Name: "m", Unit: "None", Dimensions: map[string]string{"a b": "1", "a.b": "2", "a_b": "3", "le": "4", "__name__": "5", "": "6", "ü": "7"}})
	got := slices.Sorted(maps.Keys(labels))
	want := []string{"_", "a_b", "a_b_", "a_b__", "dimension_", "dimension___name__", "dimension_le", "function", "metric", "namespace", "unit"}
	if !slices.Equal(got, want) {
		t.Errorf("labels %q, want %q", got, want)
	}
}
