// Package emf reads metrics that code prints to its log in CloudWatch's Embedded
// Metric Format. It listens to the log and never stands in its way.
package emf

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/metrics"
)

// Bounds of a document: the specification's own, but maxSamples and maxText,
// which it does not have or has larger.
const (
	maxMetrics    = 100 // of a directive
	maxValues     = 100 // of a metric
	maxDimensions = 30  // of a set
	maxSamples    = 1000
	maxObserved   = 10_000 // values of all samples
	maxText       = 255    // bytes of a name, or of a dimension's value
)

// directive is the specification's MetricDirective.
type directive struct {
	Namespace  string
	Dimensions [][]string
	Metrics    []struct{ Name, Unit string }
}

// errNone is of a line that has no document.
var errNone = errors.New("no document in embedded metric format")

// parse returns the samples of a document, one for each metric and set of
// dimensions. What loggers put before it is passed over. With an error there may
// be samples too: those of the other metrics.
func parse(line string) ([]metrics.Sample, error) {
	root, directives, err := open(line)
	if err != nil {
		return nil, err
	}
	d := document{root: root}
	var all error
	for _, dir := range directives {
		if err := d.read(dir); err != nil {
			all = errors.Join(all, err)
		}
	}
	return d.samples, all
}

// open reads a document's root and what it says of its metrics.
func open(line string) (root map[string]json.RawMessage, directives []directive, err error) {
	begin := strings.IndexByte(line, '{')
	if begin < 0 {
		return nil, nil, errNone
	}
	if err := json.Unmarshal([]byte(line[begin:]), &root); err != nil {
		return nil, nil, fmt.Errorf("the line is no JSON object: %w", err)
	}
	var meta struct{ CloudWatchMetrics *[]directive }
	if root["_aws"] == nil {
		return nil, nil, errNone
	}
	if err := json.Unmarshal(root["_aws"], &meta); err != nil {
		if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return nil, nil, fmt.Errorf("_aws is not as specified: %s can't be a %s", strings.TrimPrefix(t.Field, "."), t.Value)
		}
		return nil, nil, fmt.Errorf("_aws is not as specified: %w", err)
	}
	if meta.CloudWatchMetrics == nil {
		return nil, nil, errNone
	}
	return root, *meta.CloudWatchMetrics, nil
}

// document is one that is being read.
type document struct {
	root     map[string]json.RawMessage
	samples  []metrics.Sample
	observed int
}

func (d *document) read(dir directive) error {
	if dir.Namespace == "" || len(dir.Namespace) > maxText {
		return fmt.Errorf("a Namespace has 1 to %d bytes", maxText)
	}
	if len(dir.Metrics) > maxMetrics {
		return fmt.Errorf("%d Metrics, over the limit of %d", len(dir.Metrics), maxMetrics)
	}
	if len(dir.Dimensions) == 0 {
		dir.Dimensions = [][]string{nil}
	}
	if n := len(dir.Dimensions) * len(dir.Metrics); len(d.samples)+n > maxSamples {
		return fmt.Errorf("over %d metrics times sets of dimensions", maxSamples)
	}
	sets := make([]map[string]string, len(dir.Dimensions))
	for i, names := range dir.Dimensions {
		var err error
		if sets[i], err = d.dimensions(names); err != nil {
			return err
		}
	}
	var all error
	for _, m := range dir.Metrics {
		values, err := d.values(m.Name)
		if m.Unit == "" {
			m.Unit = "None"
		}
		if !units[m.Unit] {
			err = fmt.Errorf("metric %q: %q is no Unit", m.Name, m.Unit)
		}
		if d.observed += len(values) * len(sets); err == nil && d.observed > maxObserved {
			err = fmt.Errorf("over %d values", maxObserved)
		}
		if err != nil {
			all = errors.Join(all, err)
			continue
		}
		for _, set := range sets {
			d.samples = append(d.samples, metrics.Sample{Namespace: dir.Namespace, Name: m.Name, Unit: m.Unit, Dimensions: set, Values: values})
		}
	}
	return all
}

// dimensions returns the values of a set.
func (d *document) dimensions(names []string) (map[string]string, error) {
	if len(names) > maxDimensions {
		return nil, fmt.Errorf("%d dimensions, over the limit of %d", len(names), maxDimensions)
	}
	set := make(map[string]string, len(names))
	for _, name := range names {
		var value string
		if err := json.Unmarshal(d.root[name], &value); err != nil {
			return nil, fmt.Errorf("dimension %q is no string at the document's root", name)
		}
		if name == "" || len(name) > maxText || value == "" || len(value) > maxText {
			return nil, fmt.Errorf("dimension %q: name and value have 1 to %d bytes", name[:min(len(name), maxText)], maxText)
		}
		set[name] = value
	}
	return set, nil
}

// values returns a metric's values: a number or several.
func (d *document) values(name string) ([]float64, error) {
	if name == "" || len(name) > maxText {
		return nil, fmt.Errorf("the Name of a metric has 1 to %d bytes", maxText)
	}
	raw := d.root[name]
	var values []float64
	if len(raw) > 0 && raw[0] == '[' {
		var list []*float64
		if err := json.Unmarshal(raw, &list); err != nil || len(list) > maxValues {
			return nil, fmt.Errorf("metric %q is no list of at most %d numbers", name, maxValues)
		}
		for _, v := range list {
			if v == nil {
				return nil, fmt.Errorf("metric %q has a null among its numbers", name)
			}
			values = append(values, *v)
		}
		return values, nil
	}
	var one *float64
	if err := json.Unmarshal(raw, &one); err != nil || one == nil {
		return nil, fmt.Errorf("metric %q is no number at the document's root", name)
	}
	return []float64{*one}, nil
}

// units are those that CloudWatch knows.
var units = func() map[string]bool {
	known := map[string]bool{"Seconds": true, "Microseconds": true, "Milliseconds": true, "Percent": true, "None": true}
	for _, of := range []string{"Bytes", "Kilobytes", "Megabytes", "Gigabytes", "Terabytes", "Bits", "Kilobits", "Megabits", "Gigabits", "Terabits", "Count"} {
		known[of], known[of+"/Second"] = true, true
	}
	return known
}()
