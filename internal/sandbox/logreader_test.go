package sandbox

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// heard collects lines, and says when some came.
type heard struct {
	mu    sync.Mutex
	texts []string
	sinks int
	came  chan struct{}
}

func (h *heard) sink(l Lines) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.texts = append(h.texts, l.Texts...)
	h.sinks++
	select {
	case h.came <- struct{}{}:
	default:
	}
}

// await returns the lines once there are so many.
func (h *heard) await(t *testing.T, n int) []string {
	t.Helper()
	late := time.After(30 * time.Second)
	for {
		h.mu.Lock()
		have := slices.Clone(h.texts)
		h.mu.Unlock()
		if len(have) >= n {
			return have
		}
		select {
		case <-h.came:
		case <-late:
			t.Fatalf("%d of %d lines came", len(have), n)
		}
	}
}

func openLogReader(t *testing.T) (*logReader, *os.File, *heard) {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	h := &heard{came: make(chan struct{}, 1)}
	r, err := newLogReader(out, h.sink, &Instance{ID: "i"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		r.close()
	})
	return r, in, h
}

func TestEachLineIsHeardThoughNobodyDrains(t *testing.T) {
	_, in, h := openLogReader(t)
	for n := range 20 { // each after the reader rests again, or not
		fmt.Fprintf(in, "line %d\n", n)
		if got := h.await(t, n+1); got[n] != fmt.Sprintf("line %d", n) {
			t.Fatalf("line %d is %q", n, got[n])
		}
	}
}

func TestAFloodIsReadWholeAndInFewPieces(t *testing.T) {
	r, in, h := openLogReader(t)
	r.begin("r")
	const lines = 20_000
	var want []string
	for n := range lines {
		want = append(want, fmt.Sprintf("line %d of the flood", n))
		fmt.Fprintln(in, want[n])
	}
	if got := h.await(t, lines); !slices.Equal(got, want) {
		t.Error("the lines are not those that were written, in their order")
	}
	if h.sinks > lines/2 {
		t.Errorf("%d lines came in %d pieces", lines, h.sinks)
	}
	tail := string(r.end())
	if !strings.HasSuffix(strings.Join(want, "\n")+"\n", tail) || len(tail) < TailBytes || len(tail) > 3*TailBytes {
		t.Errorf("a tail of %d bytes: %.60q", len(tail), tail)
	}
}

func TestWhatAWriterLeftIsReadAtClose(t *testing.T) {
	r, in, h := openLogReader(t)
	fmt.Fprint(in, "whole\nhalf")
	in.Close()
	r.close()
	if got := h.await(t, 2); !slices.Equal(got, []string{"whole", "half"}) {
		t.Errorf("lines %q", got)
	}
}

func TestAWriterWithoutEndHoldsUpNeitherDrainNorClose(t *testing.T) {
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	line := strings.Repeat("x", 1023) + "\n"
	write := func(lines int) {
		if _, err := in.WriteString(strings.Repeat(line, lines)); err != nil {
			t.Error(err)
		}
	}
	write(maxLogBuffer / len(line))
	h := &heard{came: make(chan struct{}, 1)}
	r, err := newLogReader(out, func(l Lines) {
		write(len(l.Texts)) // so that the pipe is always full
		h.sink(l)
	}, &Instance{ID: "i"})
	if err != nil {
		t.Fatal(err)
	}
	h.await(t, 1)
	r.drain()
	r.close()
}

func TestLongLinesAreCutHoweverTheyAreRead(t *testing.T) {
	long := strings.Repeat("x", maxLine+10)
	for _, at := range []int{1, 8 << 10, maxLine - 1, maxLine, maxLine + 5} {
		var got []string
		r := &logReader{sink: func(l Lines) { got = append(got, l.Texts...) }}
		for _, part := range []string{long[:at], long[at:] + "\nshort\n"} {
			r.split(part, time.Now())
		}
		if !slices.Equal(got, []string{long[:maxLine], long[maxLine:], "short"}) {
			t.Errorf("read in two parts at %d: %d lines", at, len(got))
		}
	}
}
