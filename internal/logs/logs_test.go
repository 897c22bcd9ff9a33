package logs

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

func open(t *testing.T, cfg Config) *Store {
	t.Helper()
	s, err := Open(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func put(t *testing.T, s *Store, fn string, texts ...string) {
	t.Helper()
	for _, x := range texts {
		if err := s.Append(fn, Entry{Text: x, Stream: Output}); err != nil {
			t.Fatal(err)
		}
	}
}

func texts(t *testing.T, s *Store, fn string, f Filter) []string {
	t.Helper()
	var got []string
	for e, err := range s.Query(t.Context(), fn, f) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Text)
	}
	return got
}

func numbered(from, to int) (list []string) {
	for i := from; i < to; i++ {
		list = append(list, fmt.Sprintf("line %05d", i))
	}
	return list
}

func same(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d entries, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("entry %d is %.80q, want %.80q", i, got[i], want[i])
		}
	}
}

func TestQueryReturnsWhatWasAppendedInOrder(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	put(t, s, "f", numbered(0, 500)...)
	put(t, s, "g", "other")
	same(t, texts(t, s, "f", Filter{}), numbered(0, 500))
	same(t, texts(t, s, "g", Filter{}), []string{"other"})
	same(t, texts(t, s, "none", Filter{}), nil)
}

func TestQueryFilters(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	base := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for i := range 10 {
		err := s.Append("f", Entry{Time: base.Add(time.Duration(i) * time.Second), RequestID: fmt.Sprint("r", i%2), Text: fmt.Sprint("n", i)})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		f    Filter
		want []string
	}{
		{"since is inclusive", Filter{Since: base.Add(8 * time.Second)}, []string{"n8", "n9"}},
		{"until is exclusive", Filter{Until: base.Add(2 * time.Second)}, []string{"n0", "n1"}},
		{"one request", Filter{RequestID: "r1", Since: base.Add(6 * time.Second)}, []string{"n7", "n9"}},
		{"text", Filter{Contains: "n3"}, []string{"n3"}},
	} {
		t.Run(c.name, func(t *testing.T) { same(t, texts(t, s, "f", c.f), c.want) })
	}
}

func TestEntriesKeepAllTheirFields(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	want := Entry{Time: time.Unix(1, 2).UTC(), RequestID: "r", Instance: "i", Version: "7", Stream: Platform, Record: `{"id":"r"}`, Text: "a <b> & \"c\"\t\x01ü\n"}
	if err := s.Append("f", want); err != nil {
		t.Fatal(err)
	}
	for e, err := range s.Query(t.Context(), "f", Filter{}) {
		if err != nil || e != want {
			t.Errorf("got %+v, %v", e, err)
		}
	}
}

func TestLogsOutliveTheirStoreWithoutClose(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir}) // closed only after the second has read: as if killed
	put(t, s, "f", numbered(0, 10)...)
	texts(t, s, "f", Filter{}) // all are in the file now
	again := open(t, Config{Dir: dir})
	same(t, texts(t, again, "f", Filter{}), numbered(0, 10))
}

func TestRoomThatADeadNodeTookInAdvanceIsGivenBack(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	put(t, s, "f", numbered(0, 10)...)
	file := segmentPath(filepath.Join(dir, "f"), 1)
	if info, err := os.Stat(file); err != nil || info.Size() < windowBytes {
		t.Fatalf("%v, %v: this tests nothing", info, err)
	}
	again := open(t, Config{Dir: dir})
	put(t, again, "f", "next")
	same(t, texts(t, again, "f", Filter{}), append(numbered(0, 10), "next"))
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); err != nil || bytes.IndexByte(b, 0) >= 0 || bytes.Count(b, []byte{'\n'}) != 11 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func TestFileCutShortUnderTheStoreCostsLinesOnly(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	put(t, s, "f", "one")
	if err := os.Truncate(segmentPath(filepath.Join(dir, "f"), 1), 0); err != nil {
		t.Fatal(err)
	}
	put(t, s, "f", "two", "three")
	got := texts(t, s, "f", Filter{})
	if len(got) == 0 || got[len(got)-1] != "1 log lines could not be written and are lost" {
		t.Errorf("got %q", got)
	}
}

func TestTornLastLineIsCutOff(t *testing.T) {
	for name, tail := range map[string]string{
		"half an entry":        `{"time":"2026-11-01T00:00:00Z","te`,
		"entry without end":    `{"time":"2026-11-01T00:00:00Z","text":"x"}`,
		"zeros of a lost page": strings.Repeat("\x00", 5000),
		"long":                 strings.Repeat("x", 200<<10),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, Config{Dir: dir})
			put(t, s, "f", "one")
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			file := segmentPath(filepath.Join(dir, "f"), 1)
			f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			f.WriteString(tail)
			f.Close()
			var told bytes.Buffer
			again, err := Open(Config{Dir: dir}, slog.New(slog.NewTextHandler(&told, nil)))
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			same(t, texts(t, again, "f", Filter{}), []string{"one"})
			// Zeros are room that a killed node had taken in advance.
			if want := tail[0] != 0; want != strings.Contains(told.String(), "torn") {
				t.Errorf("the node's log says %q, want a torn end: %t", told.String(), want)
			}
			put(t, again, "f", "two")
			same(t, texts(t, again, "f", Filter{}), []string{"one", "two"})
		})
	}
}

func TestDamagedLinesInTheMiddleAreSkipped(t *testing.T) {
	dir := t.TempDir()
	os.MkdirAll(filepath.Join(dir, "f"), 0o700)
	data := `{"text":"one"}` + "\n" + "garbage\n" + strings.Repeat("\x00", 100) + `{"text":"two"}` + "\n"
	if err := os.WriteFile(segmentPath(filepath.Join(dir, "f"), 3), []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	same(t, texts(t, open(t, Config{Dir: dir}), "f", Filter{}), []string{"one", "two"})
}

func TestRetentionKeepsTheNewestWithinTheBudget(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir, SegmentBytes: 4 << 10, FunctionBytes: 20 << 10})
	for i := range 200 { // in small steps: one chunk may be larger than a segment's rest
		put(t, s, "f", numbered(i*10, i*10+10)...)
		texts(t, s, "f", Filter{})
	}
	got := texts(t, s, "f", Filter{})
	same(t, got, numbered(2000-len(got), 2000))
	if err := s.Close(); err != nil { // which gives back the room that the newest has in advance
		t.Fatal(err)
	}
	var total int64
	files, err := os.ReadDir(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if total > 20<<10 || len(files) < 4 {
		t.Errorf("%d bytes in %d segments", total, len(files))
	}
	if s2 := open(t, Config{Dir: dir, SegmentBytes: 4 << 10, FunctionBytes: 20 << 10}); true {
		put(t, s2, "f", numbered(2000, 2100)...)
		got := texts(t, s2, "f", Filter{})
		same(t, got, numbered(2100-len(got), 2100))
	}
}

func TestLongTextIsCutBetweenCharacters(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	long := strings.Repeat("ü", MaxText) // twice MaxText bytes
	put(t, s, "f", "a"+long, "", "after")
	got := texts(t, s, "f", Filter{})
	if len(got) != 5 || got[3] != "" || got[4] != "after" {
		t.Fatalf("%d entries", len(got))
	}
	for _, g := range got[:3] {
		if len(g) > MaxText || !utf8.ValidString(g) {
			t.Errorf("a piece of %d bytes, valid %v", len(g), utf8.ValidString(g))
		}
	}
	if strings.Join(got[:3], "") != "a"+long {
		t.Error("text was lost")
	}
}

func TestNamesThatCouldReachOtherPlacesAreRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: filepath.Join(dir, "logs")})
	for _, name := range []string{"", ".", "..", "../x", "a/b", "/etc", "a\x00b", "a.b", "a:b", strings.Repeat("a", 141)} {
		if err := s.Append(name, Entry{Text: "x"}); !errs.Is(err, errs.Invalid) {
			t.Errorf("Append to %q: %v", name, err)
		}
		for _, err := range s.Query(t.Context(), name, Filter{}) {
			if !errs.Is(err, errs.Invalid) {
				t.Errorf("Query of %q: %v", name, err)
			}
		}
	}
	if files, _ := os.ReadDir(filepath.Join(dir, "logs")); len(files) != 0 {
		t.Errorf("made %v", files)
	}
}

func TestFollowGivesHistoryAndThenEachNewEntryOnce(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir(), SegmentBytes: 8 << 10, FunctionBytes: 8 << 20})
	put(t, s, "f", numbered(0, 100)...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for range 3 {
		half := make(chan struct{})
		wg.Go(func() {
			var got []string
			for e, err := range s.Follow(ctx, "f", Filter{}) {
				if err != nil {
					t.Error(err)
					return
				}
				got = append(got, e.Text)
				if len(got) == 100 {
					close(half)
				}
				if len(got) == 3000 {
					break
				}
			}
			if strings.Join(got, "\n") != strings.Join(numbered(0, 3000), "\n") {
				t.Errorf("got %d entries, not each once in order", len(got))
			}
		})
		<-half
	}
	put(t, s, "f", numbered(100, 3000)...)
	wg.Wait()
}

func TestFollowEndsWithItsContext(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	put(t, s, "f", "one")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for e, err := range s.Follow(ctx, "f", Filter{}) {
		if err != nil || e.Text != "one" {
			t.Errorf("%v, %v", e, err)
		}
		cancel()
	}
}

func TestFollowIsToldOfAFunctionThatHadNoLog(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	got := make(chan string)
	go func() {
		for e := range s.Follow(t.Context(), "new", Filter{}) {
			got <- e.Text
			return
		}
	}()
	put(t, s, "new", "first")
	if g := <-got; g != "first" {
		t.Errorf("got %q", g)
	}
}

func TestConcurrentWritersLoseNothing(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir(), FunctionBytes: 1 << 30})
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for i := range 1000 {
				if err := s.Append("f", Entry{Text: fmt.Sprintf("%d %d %s", n, i, strings.Repeat("x", 1000))}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	next := map[int]int{}
	for _, x := range texts(t, s, "f", Filter{}) {
		var n, i int
		if _, err := fmt.Sscanf(x, "%d %d", &n, &i); err != nil || next[n] != i {
			t.Fatalf("%.20s after %d: %v", x, next[n]-1, err)
		}
		next[n]++
	}
	for n := range 8 {
		if next[n] != 1000 {
			t.Errorf("writer %d: %d entries", n, next[n])
		}
	}
}

func TestRefusedWritesAreCountedInTheLog(t *testing.T) {
	dir := t.TempDir()
	var told bytes.Buffer
	s, err := Open(Config{Dir: dir, SegmentBytes: 1, FunctionBytes: 1 << 20}, slog.New(slog.NewTextHandler(&told, nil)))
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "f", "kept")
	texts(t, s, "f", Filter{})
	// A folder where the next segments belong makes the writes fail, as root too.
	for n := 2; n <= 4; n++ {
		os.Mkdir(segmentPath(filepath.Join(dir, "f"), n), 0o700)
	}
	put(t, s, "f", "gone", "gone", "gone")
	for n := 2; n <= 4; n++ {
		os.Remove(segmentPath(filepath.Join(dir, "f"), n))
	}
	put(t, s, "f", "back")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, Config{Dir: dir})
	same(t, texts(t, again, "f", Filter{}), []string{"kept", "back", "3 log lines could not be written and are lost"})
	if n := strings.Count(told.String(), "log lines are lost"); n != 1 {
		t.Errorf("told %d times: %s", n, told.String())
	}
	if err := s.Append("f", Entry{Text: "late"}); !errs.Is(err, errs.Unavailable) {
		t.Errorf("Append after Close: %v", err)
	}
}

func TestLogsLeaveTheRestOfANearlyFullDiskToOthers(t *testing.T) {
	dir := t.TempDir()
	var told bytes.Buffer
	s, err := Open(Config{Dir: dir, KeepFree: 1 << 60}, slog.New(slog.NewTextHandler(&told, nil)))
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "f", "one", "two")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	same(t, texts(t, open(t, Config{Dir: dir}), "f", Filter{}), nil)
	if !strings.Contains(told.String(), "disk of the data directory is full") {
		t.Errorf("the node's log says %q", told.String())
	}
}

func TestFloodIsLimitedAndNoted(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir(), FloodRate: 1, FloodBurst: 1000})
	for range 30 {
		put(t, s, "f", strings.Repeat("x", 100))
	}
	put(t, s, "g", "a neighbour's line")
	if err := s.Append("f", Entry{Stream: Platform, Text: "END"}); err != nil {
		t.Fatal(err)
	}
	got := texts(t, s, "f", Filter{})
	if len(got) < 12 || len(got) > 14 || got[len(got)-1] != "END" {
		t.Fatalf("%d entries, the last is %q", len(got), got[len(got)-1])
	}
	left := 0
	for _, x := range got {
		var lines, bytes int
		if n, _ := fmt.Sscanf(x, "%d log lines (%d bytes) were left out", &lines, &bytes); n == 2 {
			left += lines
		}
	}
	if left != 20 {
		t.Errorf("%d lines are said to be left out, want 20: %q", left, got)
	}
	same(t, texts(t, s, "g", Filter{}), []string{"a neighbour's line"})
}

func TestFollowAllSeesLogsThatBeginLater(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	put(t, s, "f", "one")
	got := make(chan string)
	go func() {
		defer close(got)
		for e, err := range s.FollowAll(t.Context(), nil, Filter{}) {
			if err != nil {
				t.Error(err)
				return
			}
			got <- e.Function + " " + e.Text
		}
	}()
	for i, want := range []string{"f one", "g two", "f three"} {
		if i > 0 {
			name, text, _ := strings.Cut(want, " ")
			put(t, s, name, text)
		}
		if g := <-got; g != want {
			t.Errorf("got %q, want %q", g, want)
		}
	}
}

func TestLevelsAreReadOffLines(t *testing.T) {
	for text, want := range map[string]Level{
		"plain":                                  Info,
		"[ERROR] ValueError: x":                  Error,
		"[WARNING]\t2026-11-01T00:00:00Z\tid\tx": Warn,
		"2026-11-01T00:00:00Z\tid\tDEBUG\tx":     Debug,
		"an ERROR":                               Error,
		"no error here":                          Info,
		`{"level":"WARN","message":"x"}`:         Warn,
		`{"level":"warning"}`:                    Warn,
		`{"log_level":"ERROR"}`:                  Error,
		`{"level":30,"msg":"x"}`:                 Info,
		`{"level":`:                              Info,
		"":                                       Info,
	} {
		if got := LevelOf(&Entry{Text: text, Stream: Output}); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
	if got := LevelOf(&Entry{Text: TimeoutLine(time.Now(), "id", time.Second), Stream: Platform}); got != Error {
		t.Errorf("a timeout is %s", got)
	}
}

func TestSettingsOutliveTheirStore(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	err := s.Change("f", func(x *Settings) error {
		x.RetentionDays, x.Tags = 3, map[string]string{"a": "b"}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	refused := fmt.Errorf("refused")
	if err := s.Change("f", func(x *Settings) error { x.Tags["a"] = "c"; return refused }); err != refused {
		t.Errorf("Change: %v", err)
	}
	put(t, s, "g", "x")
	list, err := open(t, Config{Dir: dir}).List()
	if err != nil || len(list) != 2 || list[0].Settings.RetentionDays != 3 || list[0].Settings.Tags["a"] != "b" || list[1].Name != "g" || list[1].Bytes == 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if err := s.Remove("f"); err != nil {
		t.Fatal(err)
	}
	if _, there, err := s.Get("f"); there || err != nil {
		t.Errorf("a removed log is there: %v", err)
	}
}

func TestRemovedLogTakesNewLines(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	put(t, s, "f", "old")
	if err := s.Remove("f"); err != nil {
		t.Fatal(err)
	}
	same(t, texts(t, s, "f", Filter{}), nil)
	put(t, s, "f", "new")
	same(t, texts(t, s, "f", Filter{}), []string{"new"})
}

func TestOldLinesExpireAndTheBudgetHolds(t *testing.T) {
	now := time.Now()
	s := open(t, Config{Dir: t.TempDir(), SegmentBytes: 1, FunctionBytes: 1 << 20, TotalBytes: 1000})
	age := func(fn string, n int, days float64) {
		t.Helper()
		at := now.Add(-time.Duration(days * 24 * float64(time.Hour)))
		if err := os.Chtimes(segmentPath(filepath.Join(s.cfg.Dir, fn), n), at, at); err != nil {
			t.Fatal(err)
		}
	}
	for _, fn := range []string{"f", "g"} {
		put(t, s, fn, "a "+strings.Repeat("x", 300), "b", "c")
	}
	age("f", 1, 5)
	age("f", 2, 3)
	age("g", 1, 5)
	age("g", 2, 4)
	if err := s.Change("f", func(x *Settings) error { x.RetentionDays = 4; return nil }); err != nil {
		t.Fatal(err)
	}
	if err := s.expire(now); err != nil {
		t.Fatal(err)
	}
	same(t, texts(t, s, "f", Filter{}), []string{"b", "c"})
	if got := texts(t, s, "g", Filter{}); len(got) != 3 {
		t.Errorf("%d lines of g, which are within the budget", len(got))
	}
	put(t, s, "h", strings.Repeat("x", 400), "z")
	if err := s.expire(now); err != nil {
		t.Fatal(err)
	}
	same(t, texts(t, s, "g", Filter{}), []string{"b", "c"}) // the oldest of all went
	same(t, texts(t, s, "f", Filter{}), []string{"b", "c"})
}

func TestPlatformLines(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{StartLine("id", "$LATEST"), "START RequestId: id Version: $LATEST"},
		{EndLine("id"), "END RequestId: id"},
		{
			ReportLine(Report{RequestID: "id", Duration: 2340 * time.Microsecond, Billed: 123 * time.Millisecond, MemoryMB: 128, PeakBytes: 39<<20 + 1, Init: 120550 * time.Microsecond}),
			"REPORT RequestId: id\tDuration: 2.34 ms\tBilled Duration: 123 ms\tMemory Size: 128 MB\tMax Memory Used: 40 MB\tInit Duration: 120.55 ms\t",
		},
		{
			ReportLine(Report{RequestID: "id", Duration: 3 * time.Second, Billed: 3 * time.Second, MemoryMB: 128, PeakBytes: 1, Status: StatusTimeout}),
			"REPORT RequestId: id\tDuration: 3000.00 ms\tBilled Duration: 3000 ms\tMemory Size: 128 MB\tMax Memory Used: 1 MB\tStatus: timeout\t",
		},
		{
			ReportLine(Report{RequestID: "id", Duration: 9999 * time.Nanosecond, Billed: time.Millisecond, MemoryMB: 10240, Status: StatusError, ErrorType: "Runtime.ExitError"}),
			"REPORT RequestId: id\tDuration: 0.01 ms\tBilled Duration: 1 ms\tMemory Size: 10240 MB\tMax Memory Used: 0 MB\tStatus: error\tError Type: Runtime.ExitError\t",
		},
		{RestoreReportLine(1234567*time.Microsecond, StatusError, "Runtime.Hook"), "RESTORE_REPORT Restore Duration: 1234.57 ms\tStatus: error\tError Type: Runtime.Hook\t"},
		{InitReportLine(10*time.Second, StatusTimeout, ""), "INIT_REPORT Init Duration: 10000.00 ms\tPhase: init\tStatus: timeout\t"},
	} {
		if c.got != c.want {
			t.Errorf("\ngot  %q\nwant %q", c.got, c.want)
		}
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add([]byte(`{"time":"2026-11-01T00:00:00Z","text":"x"}` + "\n"))
	f.Add([]byte("\x00\x00{}"))
	f.Add([]byte(`{"time":"2026-11-01T00:00:00.5Z","requestId":"r","instance":"i","version":"$LATEST","stream":"output","text":"a\\u0001\"","record":{"a":[1]}}` + "\n"))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, ok := parseLine(line)
		if !ok {
			return
		}
		b := appendEntry(nil, &e)
		if len(e.Text) > MaxText {
			return
		}
		again, ok := parseOwn(bytes.TrimSuffix(b, []byte{'\n'}))
		if !ok || !again.Time.Equal(e.Time) {
			t.Fatalf("%q became %q", line, b)
		}
		if again.Time = e.Time; again != e {
			t.Errorf("%q became %q", line, b)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	s, err := Open(Config{Dir: b.TempDir(), FloodBurst: 1 << 40}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	e := Entry{Time: time.Now(), RequestID: "3f1c2a34-9d9d-4b6a-8f5e-2c6c1f0d7a11", Instance: strings.Repeat("a", 32), Version: "$LATEST", Stream: Output, Text: strings.Repeat("a usual line ", 8)}
	b.SetBytes(int64(len(appendEntry(nil, &e))))
	for b.Loop() {
		if err := s.Append("f", e); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}

func BenchmarkQuery(b *testing.B) {
	s, err := Open(Config{Dir: b.TempDir(), FloodBurst: 1 << 40}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for i := range 100_000 {
		e := Entry{RequestID: fmt.Sprintf("3f1c2a34-9d9d-4b6a-8f5e-%012d", i), Instance: strings.Repeat("a", 32), Version: "$LATEST", Stream: Output, Text: strings.Repeat("a usual line ", 8)}
		if err := s.Append("f", e); err != nil {
			b.Fatal(err)
		}
	}
	for name, f := range map[string]Filter{"all": {}, "text": {Contains: "nothing like it"}, "request": {RequestID: "3f1c2a34-9d9d-4b6a-8f5e-000000050000"}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				for _, err := range s.Query(b.Context(), "f", f) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(100_000*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}
