// Package trigger leads messages from queues to functions: it receives them in
// batches, drops those that no filter lets through, calls the function, and
// deletes what was handled. What was not comes back by the rules of the queue.
package trigger

import (
	"maps"
	"slices"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/event/pattern"
	"github.com/mayfly-dev/mayfly/internal/queue"
)

// Bounds of mappings.
const (
	MaxBatch       = 10_000          // messages of a call
	MaxBatchFIFO   = 10              // of a call, from a FIFO queue
	smallBatch     = 10              // the largest batch that needs no window
	MaxWindow      = 5 * time.Minute // that a batch is gathered for
	MinConcurrency = 2               // of a mapping that limits its calls
	MaxConcurrency = 1000
	MaxFilters     = 10
)

// State is what a mapping does, or is about to do.
type State string

// The states of a mapping.
const (
	Creating  State = "creating"
	Enabled   State = "enabled"
	Disabling State = "disabling"
	Disabled  State = "disabled"
	Updating  State = "updating"
	Deleting  State = "deleting"
)

// Mapping leads the messages of a source to a function.
type Mapping struct {
	ID       string       `json:"id"`
	Source   event.Target `json:"source"` // a queue
	Function event.Target `json:"function"`
	Settings
	Enabled  bool              `json:"enabled"` // is wanted; State tells what is
	State    State             `json:"state"`
	Result   string            `json:"result,omitempty"` // of the last batch, for people
	Tags     map[string]string `json:"tags,omitempty"`
	Modified time.Time         `json:"modified"`
}

// Settings are how a mapping makes calls.
type Settings struct {
	Batch       int           `json:"batch"`                 // messages of a call at most
	Window      time.Duration `json:"window,omitempty"`      // for which a batch is gathered after its first message
	Filters     []string      `json:"filters,omitempty"`     // patterns; a message that matches none is deleted unseen
	Partial     bool          `json:"partial,omitempty"`     // the answer may name the messages that failed
	Concurrency int           `json:"concurrency,omitempty"` // calls at one time; 0 means as many as it takes
}

// DefaultSettings are those of a mapping of which nothing else is said.
func DefaultSettings() Settings { return Settings{Batch: 10} }

// Reasons of errors that doors tell apart.
const (
	ReasonExists = "MappingExists"   // Conflict: the queue is mapped to the function already
	ReasonBusy   = "MappingBusy"     // Conflict: an earlier change is not finished
	ReasonNone   = "NoMapping"       // NotFound
	ReasonFilter = "Filter"          // Invalid: a pattern
	ReasonSource = "NoSource"        // Invalid: the source does not exist
	ReasonHidden = "ShortVisibility" // Invalid: the queue shows messages again while a call may still run
)

// check returns an errs.Invalid for the first setting that is out of bounds.
func (s Settings) check(source event.Target, of queue.Config) error {
	bad := func(format string, args ...any) error { return errs.Newf(errs.Invalid, format, args...) }
	switch {
	case s.Batch < 1 || s.Batch > MaxBatch:
		return bad("a batch holds from 1 to %d messages", MaxBatch)
	case of.FIFO && s.Batch > MaxBatchFIFO:
		return bad("a batch of a FIFO queue holds from 1 to %d messages", MaxBatchFIFO)
	case s.Window < 0 || s.Window > MaxWindow:
		return bad("the batching window must be from 0s to %s", MaxWindow)
	case of.FIFO && s.Window > 0:
		return bad("a FIFO queue has no batching window: %s is one", source.Name)
	case s.Batch > smallBatch && s.Window < time.Second:
		return bad("a batch of more than %d messages needs a batching window of at least 1s", smallBatch)
	case s.Concurrency != 0 && (s.Concurrency < MinConcurrency || s.Concurrency > MaxConcurrency):
		return bad("the concurrency must be from %d to %d", MinConcurrency, MaxConcurrency)
	case len(s.Filters) > MaxFilters:
		return bad("a mapping has at most %d filters", MaxFilters)
	}
	_, err := s.compile()
	return err
}

// compile reads the filters.
func (s Settings) compile() ([]*pattern.Pattern, error) {
	var ps []*pattern.Pattern
	for _, f := range s.Filters {
		p, err := pattern.Compile([]byte(f))
		if err != nil {
			return nil, errs.Newf(errs.Invalid, "the filter %.200s is wrong: %w", f, err).WithReason(ReasonFilter)
		}
		ps = append(ps, p)
	}
	return ps, nil
}

// clone returns a copy that shares nothing.
func (m Mapping) clone() Mapping {
	m.Filters, m.Tags = slices.Clone(m.Filters), maps.Clone(m.Tags)
	return m
}
