package trace

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestWaterfallPutsSpansBelowTheirParents(t *testing.T) {
	began := time.Now()
	span := func(id, parent string, at, took time.Duration) Span {
		return Span{ID: id, Parent: parent, Start: began.Add(at), Duration: took}
	}
	for name, c := range map[string]struct {
		spans []Span
		want  string
	}{
		"a tree":               {[]Span{span("b", "a", 2, 3), span("a", "elsewhere", 1, 9), span("c", "b", 3, 1), span("d", "a", 6, 5)}, "0a@0 1b@1 2c@2 1d@5 =10"},
		"two roots":            {[]Span{span("a", "", 0, 1), span("b", "", 5, 5)}, "0a@0 0b@5 =10"},
		"its own parent":       {[]Span{span("a", "a", 0, 4)}, "0a@0 =4"},
		"a circle beside more": {[]Span{span("r", "", 0, 4), span("a", "b", 0, 4), span("b", "a", 1, 1)}, "0r@0 0a@0 1b@1 =4"},
		"nothing":              {nil, "=0"},
	} {
		t.Run(name, func(t *testing.T) {
			bars, total := Waterfall(c.spans)
			var got []string
			for _, b := range bars {
				got = append(got, fmt.Sprintf("%d%s@%d", b.Depth, b.ID, b.At))
			}
			if s := strings.Join(append(got, fmt.Sprintf("=%d", total)), " "); s != c.want {
				t.Errorf("got %s, want %s", s, c.want)
			}
		})
	}
}
