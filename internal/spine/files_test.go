package spine

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// openSmall opens a log whose segments hold few records.
func openSmall(t *testing.T, dir string, log *slog.Logger) *files {
	t.Helper()
	l, err := openFiles(fileConfig{dir: filepath.Join(dir, itemsDir, "q"), name: "q", next: 1, room: func(int64) error { return nil }, log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	l.size = 500
	return l
}

// add appends records with ids of their own, "" is none, in one write.
func (l *files) add(t *testing.T, ids ...string) []*entry {
	t.Helper()
	var all []*entry
	for i, id := range ids {
		n := l.next + uint64(i)
		all = append(all, &entry{id: id, head: fmt.Sprint("head ", n), body: fmt.Append(nil, "body ", n)})
	}
	l.appendAll(t.Context(), all)
	return all
}

// numbers returns which records there are, and checks that each is whole.
func (l *files) numbers(t *testing.T) (all []uint64) {
	t.Helper()
	err := l.headsAfter(t.Context(), 0, func(n uint64, head string) error {
		body, err := l.Body(t.Context(), n)
		if want := fmt.Sprint(n); head != "head "+want || string(body) != "body "+want {
			t.Errorf("record %d: %q, %q, %v", n, head, body, err)
		}
		all = append(all, n)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func upTo(from, to uint64) (all []uint64) {
	for n := from; n <= to; n++ {
		all = append(all, n)
	}
	return all
}

func TestFilesKeepRecordsUntilTheyAreRemoved(t *testing.T) {
	dir := t.TempDir()
	discard := slog.New(slog.DiscardHandler)
	l := openSmall(t, dir, discard)
	if err := l.roll(0); err != nil { // a small one
		t.Fatal(err)
	}
	for range 40 {
		for _, e := range l.add(t, "", "") {
			if e.err != nil {
				t.Fatal(e.err)
			}
		}
	}
	first, err := l.removeBefore(t.Context(), 33)
	if err != nil || first > 33 || first < 20 {
		t.Fatalf("the first that is kept is %d, %v", first, err)
	}
	if _, err := l.Body(t.Context(), 1); !errs.Is(err, errs.NotFound) {
		t.Errorf("a removed record: %v", err)
	}
	for range 2 {
		if got := l.numbers(t); !slices.Equal(got, upTo(first, 80)) {
			t.Errorf("records %v, want %d to 80", got, first)
		}
		l.close()
		l = openSmall(t, dir, discard)
	}
	big := &entry{head: "head 81", body: bytes.Repeat([]byte("x"), 5000)} // larger than a segment
	l.appendAll(t.Context(), []*entry{big})
	if b, err := l.Body(t.Context(), 81); big.err != nil || err != nil || !bytes.Equal(b, big.body) {
		t.Errorf("a large record: %v, %v", big.err, err)
	}
	if first, err := l.removeBefore(t.Context(), 82); first != 82 || err != nil || len(l.numbers(t)) != 0 {
		t.Errorf("after all were removed the first is %d, %v", first, err)
	}
	l.close()
	if e := openSmall(t, dir, discard).add(t, "")[0]; e.number != 82 || e.err != nil {
		t.Errorf("the next has number %d, %v", e.number, e.err)
	}
}

func TestRecordWithAnIDIsKeptOnce(t *testing.T) {
	dir := t.TempDir()
	l := openSmall(t, dir, slog.New(slog.DiscardHandler))
	if all := l.add(t, "a", "b", "a"); all[0].repeat || all[1].repeat || !all[2].repeat || all[2].number != 1 {
		t.Errorf("in one write: %+v, %+v, %+v", all[0], all[1], all[2])
	}
	l.close()
	l = openSmall(t, dir, slog.New(slog.DiscardHandler))
	if e := l.add(t, "b")[0]; !e.repeat || e.number != 2 {
		t.Errorf("after a restart: %+v", e)
	}
	k := l.ids["b"]
	k.at = k.at.Add(-2 * duplicateWindow)
	l.ids["a"], l.ids["b"] = k, k
	if e := l.add(t, "b")[0]; e.repeat || e.number != 3 || len(l.ids) != 1 {
		t.Errorf("when it was long ago: %+v; %d ids are known", e, len(l.ids))
	}
}

// A write that fails may have left anything: none of it is a record later.
func TestFailedWriteLeavesNoRecord(t *testing.T) {
	dir := t.TempDir()
	var said bytes.Buffer
	l := openSmall(t, dir, slog.New(slog.NewTextHandler(&said, nil)))
	l.add(t, "")
	whole := l.file
	var err error
	if l.file, err = os.Open(whole.Name()); err != nil { // which can't be written to
		t.Fatal(err)
	}
	for _, e := range l.add(t, "id", "", "id") {
		if !errs.Is(e.err, errs.Unavailable) {
			t.Errorf("written to a file that takes nothing: %v", e.err)
		}
	}
	l.file.Close()
	l.file = whole
	var left []byte // as if the disk had got it before it failed
	for n := range uint64(3) {
		left = appendFrame(left, 2+n, time.Now(), &entry{head: "never", body: []byte("stored")})
	}
	if _, err := whole.WriteAt(left, int64(l.end)); err != nil {
		t.Fatal(err)
	}
	l.spoiled = len(left)
	if e := l.add(t, "id")[0]; e.repeat || e.err != nil || e.number != 2 {
		t.Errorf("the next: %+v", e)
	}
	for range 2 {
		if got := l.numbers(t); !slices.Equal(got, upTo(1, 2)) {
			t.Errorf("records %v, want two", got)
		}
		l.close()
		l = openSmall(t, dir, slog.New(slog.NewTextHandler(&said, nil)))
	}
	if said.Len() > 0 {
		t.Errorf("the log says %s", said.String())
	}
}

func TestDamageToARecordCostsNoOther(t *testing.T) {
	for what, damage := range map[string]struct {
		do   func(b []byte, l *files)
		lost uint64
		said string
	}{
		"in the middle": {func(b []byte, l *files) { b[l.segments[0].offsets[2]+frameHead]++ }, 3, "are broken and lost"},
		"beginning of the last": {func(b []byte, l *files) {
			at := l.segments[0].offsets[5]
			copy(b[at:], make([]byte, 20))
		}, 6, "is torn"},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			l := openSmall(t, dir, slog.New(slog.DiscardHandler))
			l.add(t, "", "", "", "", "", "")
			l.close()
			rewrite(t, l.segments[0].path, func(b []byte) []byte { damage.do(b, l); return b })
			var said bytes.Buffer
			l = openSmall(t, dir, slog.New(slog.NewTextHandler(&said, nil)))
			want := slices.DeleteFunc(upTo(1, 6), func(n uint64) bool { return n == damage.lost })
			if got := l.numbers(t); !slices.Equal(got, want) || !strings.Contains(said.String(), damage.said) {
				t.Errorf("records %v, want %v; the log says %s", got, want, said.String())
			}
			if _, err := l.Body(t.Context(), damage.lost); !errs.Is(err, errs.NotFound) {
				t.Errorf("the damaged record: %v", err)
			}
			next := l.add(t, "")[0]
			l.close()
			l = openSmall(t, dir, slog.New(slog.DiscardHandler))
			if got := l.numbers(t); next.err != nil || !slices.Contains(got, next.number) || len(got) != 6 {
				t.Errorf("after the next, number %d, %v: records %v", next.number, next.err, got)
			}
		})
	}
}

func TestQueueInTheEngineIsTakenOver(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	cfg := jetstream.StreamConfig{Name: callsName + itemsStream, Subjects: []string{itemsSubject + callsName}, Duplicates: duplicateWindow}
	log, err := s.logAs(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ends, err := s.journal(t.Context(), callsName+endsStream, endsSubject+callsName, deleteReserve)
	if err != nil {
		t.Fatal(err)
	}
	old := newLanes(s.log, callsName, remoteItems{log}, ends)
	if _, err := old.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	const done, n = 5, 400
	for i := range done {
		put(t, old, "f", "", fmt.Sprint("done ", i))
	}
	run(t, old, &handler{runs: map[string]int{}}, done)
	var batch []*incoming
	for i := range n {
		body := fmt.Append(nil, i)
		batch = append(batch, &incoming{head: itemHead{Lane: "g", Size: len(body)}, body: body})
	}
	if err := old.storeAll(batch); err != nil {
		t.Fatal(err)
	}
	// A start that did not come to its end.
	half, err := openFiles(fileConfig{dir: filepath.Join(dir, itemsDir, callsName), name: callsName, next: 1, room: s.room, log: s.log})
	if err != nil {
		t.Fatal(err)
	}
	if w := newLanes(s.log, callsName, half, ends).write(t.Context(), batch[:7]); w[0].err != nil {
		t.Fatal(w[0].err)
	}
	half.close()

	h := &handler{runs: map[string]int{}}
	calls := openCalls(t, s)
	if _, err := s.js.Stream(t.Context(), cfg.Name); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("the engine's stream: %v", err)
	}
	if waiting := calls.Waiting(); waiting["g"] != n || len(waiting) != 1 {
		t.Errorf("waiting: %v", waiting)
	}
	s.Close()
	s = open(t, dir)
	defer s.Close()
	run(t, openCalls(t, s), h, n)
	for i := range n {
		if key := fmt.Sprint("g ", i); h.runs[key] != 1 {
			t.Errorf("item %q was handled %d times", key, h.runs[key])
		}
	}
}

func FuzzScan(f *testing.F) {
	whole := appendFrame(nil, 1, time.Now(), &entry{id: "id", head: "head", body: []byte("body")})
	whole = appendFrame(whole, 2, time.Now(), &entry{head: "{}"})
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		last, until := uint64(0), 0
		end, _, err := scan(b, 1, func(at int, r frame) error {
			if r.number <= last || at < until {
				t.Errorf("record %d at %d after %d, which ends at %d", r.number, at, last, until)
			}
			last, until = r.number, at+r.size
			return nil
		})
		if err != nil || end != until || end > len(b) {
			t.Errorf("the last of %d bytes ends at %d, not at %d, %v", len(b), until, end, err)
		}
	})
}
