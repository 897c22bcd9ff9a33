package sandbox

import (
	"testing"
	"testing/synctest"
	"time"
)

// gauge is a sandbox of which only the memory is known.
type gauge struct {
	Sandbox
	peak  int64
	asked int
}

func (g *gauge) Memory() (now, peak int64, err error) {
	g.asked++
	return g.peak, g.peak, nil
}

func TestAPeakThatDoesNotGrowIsAskedForLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gauge{peak: 20 << 20}
		var p peak
		call := func(took time.Duration) int64 { return p.after(took, false, g) }
		if got := call(time.Millisecond); got != 20<<20 || g.asked != 1 {
			t.Fatalf("first call: %d bytes, asked %d times", got, g.asked)
		}
		for range 1000 { // ten seconds of short calls
			time.Sleep(10 * time.Millisecond)
			call(time.Millisecond)
		}
		if g.asked < 10 || g.asked > 16 {
			t.Errorf("asked %d times in ten seconds, want about once a second", g.asked)
		}
		before := g.asked
		if call(peakInterval); g.asked != before+1 {
			t.Errorf("a long call did not ask")
		}
		g.peak = 60 << 20
		time.Sleep(peakPatience)
		if got := call(time.Millisecond); got != 60<<20 {
			t.Errorf("%d bytes after it grew", got)
		}
		g.peak = 61 << 20
		time.Sleep(peakInterval)
		if got := call(time.Millisecond); got != 61<<20 {
			t.Errorf("%d bytes while it grows", got)
		}
	})
}
