package trace

import "time"

// Bar is a span where it is in a waterfall of its trace.
type Bar struct {
	*Span
	Depth int           // how many of its ancestors are there
	At    time.Duration // from the trace's beginning to the span's
}

// Waterfall puts each span below its parent, and says how long all of them took.
// A circle, which clients can make up, is cut.
func Waterfall(spans []Span) (bars []Bar, total time.Duration) {
	if len(spans) == 0 {
		return nil, 0
	}
	from, to := spans[0].Start, spans[0].End()
	there, children := map[string]bool{}, map[string][]*Span{}
	for i := range spans {
		s := &spans[i]
		there[s.ID] = true
		if s.Start.Before(from) {
			from = s.Start
		}
		if s.End().After(to) {
			to = s.End()
		}
	}
	for i := range spans {
		parent := spans[i].Parent
		if !there[parent] || parent == spans[i].ID {
			parent = ""
		}
		children[parent] = append(children[parent], &spans[i])
	}
	var add func(parent string, depth int)
	add = func(parent string, depth int) {
		list := children[parent]
		delete(children, parent)
		for _, s := range list {
			bars = append(bars, Bar{s, depth, s.Start.Sub(from)})
			add(s.ID, depth+1)
		}
	}
	add("", 0)
	for len(bars) < len(spans) { // circles
		for i := range spans {
			if _, left := children[spans[i].Parent]; left {
				add(spans[i].Parent, 0)
			}
		}
	}
	return bars, max(to.Sub(from), time.Nanosecond)
}
