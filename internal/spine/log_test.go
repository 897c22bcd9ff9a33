package spine

import (
	"fmt"
	"slices"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

func TestLogKeepsRecordsUntilTheyAreRemoved(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	l, err := s.Log(t.Context(), "a-1")
	if err != nil {
		t.Fatal(err)
	}
	var seqs []uint64
	for i := range 6 {
		seq, err := l.Append(t.Context(), fmt.Sprintf(`{"n":%d}`, i), fmt.Appendf(nil, "body %d", i))
		if err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, seq)
	}
	if err := l.RemoveBefore(t.Context(), seqs[1]); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it is gone already
		if err := l.Remove(t.Context(), seqs[3]); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Remove(t.Context(), seqs[0]); err != nil {
		t.Errorf("remove of a record before the first: %v", err)
	}
	s.Close()

	s = open(t, dir)
	defer s.Close()
	if l, err = s.Log(t.Context(), "a-1"); err != nil {
		t.Fatal(err)
	}
	var heads []string
	if err := l.Heads(t.Context(), func(seq uint64, head string) error {
		heads = append(heads, head)
		body, err := l.Body(t.Context(), seq)
		if want := "body " + head[5:6]; err != nil || string(body) != want {
			t.Errorf("record %d: %q, %v; want %q", seq, body, err, want)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if want := []string{`{"n":1}`, `{"n":2}`, `{"n":4}`, `{"n":5}`}; !slices.Equal(heads, want) {
		t.Errorf("heads %v, want %v", heads, want)
	}
	if _, err := l.Body(t.Context(), seqs[3]); !errs.Is(err, errs.NotFound) {
		t.Errorf("body of a removed record: %v, want not found", err)
	}
	if err := l.RemoveBefore(t.Context(), seqs[5]+1); err != nil {
		t.Fatal(err)
	}
	if err := l.Heads(t.Context(), func(uint64, string) error { return fmt.Errorf("a record is left") }); err != nil {
		t.Error(err)
	}
	seq, err := l.Append(t.Context(), "{}", nil)
	if err != nil || seq <= seqs[5] {
		t.Errorf("record after all were removed: number %d after %d, %v", seq, seqs[5], err)
	}
}

func TestLogsAreListedAndRemoved(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	for _, id := range []string{"a", "b"} {
		if _, err := s.Log(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := s.RemoveLog(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
	}
	if ids, err := s.Logs(t.Context()); err != nil || !slices.Equal(ids, []string{"b"}) {
		t.Errorf("logs %v, %v", ids, err)
	}
}
