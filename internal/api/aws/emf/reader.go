package emf

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mayfly-dev/mayfly/internal/metrics"
)

// Bounds of what waits to be read.
const (
	queueLines = 4096
	queueBytes = 4 << 20
)

// noteEvery is how often a function's log may say what is wrong with its lines.
const noteEvery = time.Minute

// Reader reads the metrics off lines of logs. Only Run reads; Line may be called
// by anybody.
type Reader struct {
	to    *metrics.Metrics
	lines chan line
	bytes atomic.Int64         // of lines
	noted map[string]time.Time // Run's own: when a function was told
}

type line struct{ function, text string }

// New returns a Reader that counts in to.
func New(to *metrics.Metrics) *Reader {
	return &Reader{to: to, lines: make(chan line, queueLines), noted: map[string]time.Time{}}
}

// Line takes a line that a function wrote. It never waits: lines that come
// faster than they are read are left out and counted.
func (r *Reader) Line(function, text string) {
	if !strings.Contains(text, `"_aws"`) || !strings.Contains(text, `"CloudWatchMetrics"`) {
		return
	}
	size := int64(len(text))
	if r.bytes.Add(size) <= queueBytes {
		select {
		case r.lines <- line{function, strings.Clone(text)}: // it may be a part of much more
			return
		default:
		}
	}
	r.bytes.Add(-size)
	r.to.Left(function, metrics.TooFast)
}

// Run reads until ctx ends, and then what still waits. note writes to a
// function's log what is wrong with its lines, at most once a minute each.
func (r *Reader) Run(ctx context.Context, note func(function, text string)) error {
	for {
		select {
		case l := <-r.lines:
			r.read(l, note)
		case <-ctx.Done():
			for {
				select {
				case l := <-r.lines:
					r.read(l, note)
				default:
					return nil
				}
			}
		}
	}
}

func (r *Reader) read(l line, note func(function, text string)) {
	r.bytes.Add(-int64(len(l.text)))
	samples, err := parse(l.text)
	for _, s := range samples {
		s.Function = l.function
		r.to.Report(s)
	}
	if err == nil || errors.Is(err, errNone) {
		return
	}
	r.to.Left(l.function, metrics.Malformed)
	if now := time.Now(); now.Sub(r.noted[l.function]) >= noteEvery {
		if len(r.noted) >= queueLines { // names of functions that are gone, most of them
			clear(r.noted)
		}
		r.noted[l.function] = now
		first, _, _ := strings.Cut(err.Error(), "\n")
		note(l.function, fmt.Sprintf("a line in embedded metric format is left out of the metrics: %s", first))
	}
}
