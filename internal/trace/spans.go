package trace

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Kind says what role a span's owner played.
type Kind string

// The kinds of span.
const (
	Internal Kind = "internal" // a part of what its parent did
	Server   Kind = "server"   // served a request
	Consumer Kind = "consumer" // handled what had been queued
	Producer Kind = "producer" // handed something to a queue or the like
)

// Span is one thing that took time.
type Span struct {
	Trace      string            `json:"trace"`
	ID         string            `json:"id"`
	Parent     string            `json:"parent,omitempty"`
	Name       string            `json:"name"`
	Kind       Kind              `json:"kind"`
	Start      time.Time         `json:"start"`
	Duration   time.Duration     `json:"durationNs"`
	Error      string            `json:"error,omitempty"` // how it failed
	Attributes map[string]string `json:"attributes,omitempty"`
}

// End returns when the span ended.
func (s *Span) End() time.Time { return s.Start.Add(s.Duration) }

// maxSpans is how many of the latest spans are kept in memory.
const maxSpans = 16 << 10

// Spans keeps the latest spans. It is safe for concurrent use.
type Spans struct {
	send func([]Span) // to a collector; nil without one. It doesn't wait

	mu   sync.Mutex
	ring []Span // guarded by mu
	next int    // guarded by mu; where the next one goes once the ring is full
}

// NewSpans returns a Spans that also hands what it gets to send, unless that is
// nil. send must not wait.
func NewSpans(send func([]Span)) *Spans { return &Spans{send: send} }

// Add takes spans that have ended. Those without a trace are left out.
func (s *Spans) Add(spans ...Span) {
	spans = slices.DeleteFunc(spans, func(x Span) bool { return x.Trace == "" })
	if len(spans) == 0 {
		return
	}
	s.mu.Lock()
	for _, x := range spans {
		if len(s.ring) < maxSpans {
			s.ring = append(s.ring, x)
			continue
		}
		s.ring[s.next] = x
		s.next = (s.next + 1) % maxSpans
	}
	s.mu.Unlock()
	if s.send != nil {
		s.send(spans)
	}
}

// Trace returns the spans of a trace that are still kept, by their beginning.
func (s *Spans) Trace(id string) []Span {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Span
	for _, x := range s.ring {
		if x.Trace == id {
			list = append(list, x)
		}
	}
	Sort(list)
	return list
}

// Sort orders spans by their beginning, parents before their children.
func Sort(list []Span) {
	slices.SortStableFunc(list, func(a, b Span) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(b.Duration, a.Duration))
	})
}

// Summary is a trace in short.
type Summary struct {
	Trace    string        `json:"trace"`
	Name     string        `json:"name"` // of its first span
	Start    time.Time     `json:"start"`
	Duration time.Duration `json:"durationNs"`
	Spans    int           `json:"spans"`
	Failed   bool          `json:"failed"` // a span did
}

// Recent returns the traces whose spans came last, the newest first.
func (s *Spans) Recent(most int) []Summary {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := map[string]int{}
	var list []Summary
	for i := range s.ring {
		x := &s.ring[(s.next+len(s.ring)-1-i)%len(s.ring)]
		at, known := found[x.Trace]
		if !known {
			if len(list) == most {
				continue
			}
			at = len(list)
			found[x.Trace] = at
			list = append(list, Summary{Trace: x.Trace, Name: x.Name, Start: x.Start, Duration: x.Duration})
		}
		t := &list[at]
		end := t.Start.Add(t.Duration)
		if x.Start.Before(t.Start) || x.Start.Equal(t.Start) && x.Parent == "" {
			t.Name, t.Start = x.Name, x.Start
		}
		if x.End().After(end) {
			end = x.End()
		}
		t.Duration = end.Sub(t.Start)
		t.Spans++
		t.Failed = t.Failed || x.Error != ""
	}
	return list
}
