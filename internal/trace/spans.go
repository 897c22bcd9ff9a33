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

// TraceID implements Work.
func (s *Span) TraceID() string { return s.Trace }

// Spans implements Work.
func (s *Span) Spans() []Span { return []Span{*s} }

// Work is something that took time and can be told as spans: itself, and what it
// was made of. That is done only when somebody wants to know, so that work costs
// little more than the memory it is in.
type Work interface {
	TraceID() string // "" in no trace
	Spans() []Span   // the same ones each time
}

// maxWork is how much of the latest work is kept in memory. A call has two spans,
// or a few more.
const maxWork = 8 << 10

// Spans keeps the latest spans. It is safe for concurrent use.
type Spans struct {
	send func([]Work) // to a collector; nil without one. It doesn't wait

	mu   sync.Mutex
	ring []Work // guarded by mu
	next int    // guarded by mu; where the next one goes once the ring is full
}

// NewSpans returns a Spans that also hands what it gets to send, unless that is
// nil. send must not wait.
func NewSpans(send func([]Work)) *Spans { return &Spans{send: send} }

// Add takes work that has ended, and keeps it: it must not be changed any more.
// What is in no trace is left out.
func (s *Spans) Add(ended ...Work) {
	ended = slices.DeleteFunc(ended, func(w Work) bool { return w.TraceID() == "" })
	if len(ended) == 0 {
		return
	}
	s.mu.Lock()
	for _, w := range ended {
		if len(s.ring) < maxWork {
			s.ring = append(s.ring, w)
			continue
		}
		s.ring[s.next] = w
		s.next = (s.next + 1) % maxWork
	}
	s.mu.Unlock()
	if s.send != nil {
		s.send(ended)
	}
}

// Trace returns the spans of a trace that are still kept, by their beginning.
func (s *Spans) Trace(id string) []Span {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Span
	for _, w := range s.ring {
		if w.TraceID() == id {
			list = append(list, w.Spans()...)
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
		w := s.ring[(s.next+len(s.ring)-1-i)%len(s.ring)]
		at, known := found[w.TraceID()]
		if !known {
			if len(list) == most {
				continue
			}
			at = len(list)
			found[w.TraceID()] = at
			list = append(list, Summary{Trace: w.TraceID()})
		}
		for _, x := range w.Spans() {
			list[at].add(&x)
		}
	}
	return list
}

func (t *Summary) add(x *Span) {
	end := t.Start.Add(t.Duration)
	if t.Spans == 0 || x.Start.Before(t.Start) || x.Start.Equal(t.Start) && x.Parent == "" {
		t.Name, t.Start = x.Name, x.Start
	}
	if t.Spans == 0 || x.End().After(end) {
		end = x.End()
	}
	t.Duration = end.Sub(t.Start)
	t.Spans++
	t.Failed = t.Failed || x.Error != ""
}
