package meter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

func TestRecordsReturnsTheLatest(t *testing.T) {
	l := openLedger(t, Config{})
	addAll(t, l.Recorder, 0, 1000)
	got, err := l.Records(t.Context(), Search{Limit: 3})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[0].RequestID != "r997" || got[2].RequestID != "r999" {
		t.Errorf("got %v", got)
	}
	if got, _ = l.Records(t.Context(), Search{}); len(got) != 100 {
		t.Errorf("%d records without a limit, want 100", len(got))
	}
}

func TestRecordsAreFoundByWhatTheyAre(t *testing.T) {
	l := openLedger(t, Config{})
	start := time.Now().Add(-time.Hour)
	for i := range 3 * blockSize {
		r := rec(i)
		r.Start = start.Add(time.Duration(i) * time.Second)
		r.Function = "f" + strconv.Itoa(i%3)
		switch i {
		case 700:
			r.Outcome = TimedOut
		case 701:
			r.Init = time.Second
		}
		if err := l.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	retry := rec(5)
	retry.Attempt = 2
	if err := l.Add(retry); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		s    Search
		want []string
	}{
		"failed":           {Search{Failed: true}, []string{"r700"}},
		"cold":             {Search{Cold: true}, []string{"r701"}},
		"function":         {Search{Function: "f1", Limit: 2}, []string{"r1531", "r1534"}},
		"stretch":          {Search{Since: start.Add(10 * time.Second), Until: start.Add(12 * time.Second)}, []string{"r10", "r11"}},
		"unknown function": {Search{Function: "g"}, nil},
	} {
		got, err := l.Records(t.Context(), c.s)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, r := range got {
			ids = append(ids, r.RequestID)
		}
		if !slices.Equal(ids, c.want) {
			t.Errorf("%s: %v, want %v", name, ids, c.want)
		}
	}
	got, err := l.Record(t.Context(), "r5")
	if err != nil || len(got) != 2 || got[1].Attempt != 2 {
		t.Errorf("record r5: %v, %v", got, err)
	}
	if _, err := l.Record(t.Context(), "r99999"); !errs.Is(err, errs.NotFound) {
		t.Errorf("a record that is not there: %v", err)
	}
}

// The ledger dies between two batches, and while one is entered; the journal
// holds what it has not.
func TestLedgerCatchesUpWithItsJournal(t *testing.T) {
	j := &memoryJournal{}
	path := filepath.Join(t.TempDir(), "ledger")
	total := 0
	for life := range 5 {
		l := openLedger(t, Config{Path: path, Journal: j})
		for range 700 {
			if err := l.Add(rec(total)); err != nil {
				t.Fatal(err)
			}
			total++
			if total%250 == 0 {
				if err := l.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := l.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if life%2 == 0 { // else it ends without having entered anything
			if err := l.settle(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if life == 2 {
			if err := l.tidy(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l := openLedger(t, Config{Path: path, Journal: j})
	b, err := l.Bill(t.Context(), Query{}, listed)
	if err != nil {
		t.Fatal(err)
	}
	if b.Total.Requests != int64(total) || b.Total.Billed != time.Duration(total)*2*time.Millisecond {
		t.Errorf("%d requests, %s; want %d, 2 ms each", b.Total.Requests, b.Total.Billed, total)
	}
	all, err := l.Records(t.Context(), Search{Limit: 2 * total})
	if err != nil || len(all) != total {
		t.Errorf("%d records, %v; want %d", len(all), err, total)
	}
}

func TestRecordsThatWaitTooLongInMemoryAreReadFromTheJournal(t *testing.T) {
	l := openLedger(t, Config{})
	const n = maxQueued + 3*maxBatch
	for i := 0; i < n; i += 1000 {
		addAll(t, l.Recorder, i, min(i+1000, n))
		if err := l.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !l.behind {
		t.Error("the queue has no limit")
	}
	b, err := l.Bill(t.Context(), Query{}, listed)
	if err != nil || b.Total.Requests != n {
		t.Errorf("%d requests, %v; want %d", b.Total.Requests, err, n)
	}
}

func TestRemovedRecordsLeaveTheirSums(t *testing.T) {
	l := openLedger(t, Config{MaxRecords: 2 * blockSize})
	now := time.Now()
	const n = 10 * blockSize
	for i := range n {
		r := rec(i)
		r.Start = now.Add(-time.Duration(n-i) * 3 * time.Hour)
		if err := l.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	before, err := l.Bill(t.Context(), Query{By: ByMonth}, listed)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, err := l.Bill(t.Context(), Query{By: ByMonth}, listed)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(before) != fmt.Sprint(after) || after.Total.Requests != n {
		t.Errorf("before %+v\nafter %+v", before.Total, after.Total)
	}
	left, err := l.Records(t.Context(), Search{Limit: n})
	if err != nil || len(left) >= 3*blockSize || len(left) < blockSize || left[len(left)-1].RequestID != fmt.Sprintf("r%d", n-1) {
		t.Errorf("%d records are left, %v", len(left), err)
	}
	if _, err := l.Record(t.Context(), "r0"); !errs.Is(err, errs.NotFound) {
		t.Errorf("the oldest record: %v", err)
	}
}

// Whatever the bounds, the coarse spans that a question is answered from hold
// what the single records add up to.
func TestSumsOfAnyStretchEqualTheirRecords(t *testing.T) {
	l := openLedger(t, Config{})
	rnd := rand.New(rand.NewPCG(1, 2))
	now := time.Now()
	var all []Record
	for i := range 5000 {
		r := rec(i)
		r.Start = now.Add(-time.Duration(rnd.Int64N(int64(60 * time.Hour))))
		r.Function = "f" + strconv.Itoa(rnd.IntN(4))
		r.MemoryMB = 128 << rnd.IntN(3)
		r.Billed = time.Duration(1+rnd.IntN(5000)) * time.Millisecond
		all = append(all, r)
		if err := l.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 60 {
		q := Query{By: []By{ByFunction, ByHour, ByMinute, ByDay}[i%4]}
		if i%3 > 0 {
			q.Since = now.Add(-time.Duration(rnd.Int64N(int64(60 * time.Hour)))).Truncate(time.Minute)
		}
		if i%5 > 1 {
			q.Until = now.Add(-time.Duration(rnd.Int64N(int64(60 * time.Hour)))).Truncate(time.Minute)
		}
		if i%7 == 0 {
			q.Function = "f1"
		}
		if q.By == ByDay { // as fine as its keys
			q.Since, q.Until = q.Since.Truncate(24*time.Hour), q.Until.Truncate(24*time.Hour)
		}
		if q.By == ByHour {
			q.Since, q.Until = q.Since.Truncate(time.Hour), q.Until.Truncate(time.Hour)
		}
		var requests, mbMillis int64
		for _, r := range all {
			if (q.Function == "" || r.Function == q.Function) && !r.Start.Before(q.Since) && (q.Until.IsZero() || r.Start.Before(q.Until)) {
				requests++
				mbMillis += int64(r.MemoryMB) * r.Billed.Milliseconds()
			}
		}
		b, err := l.Bill(t.Context(), q, listed)
		if err != nil {
			t.Fatal(err)
		}
		if b.Total.Requests != requests || b.Total.MBMillis != mbMillis {
			t.Errorf("%+v: %d requests, %d MB-ms; want %d, %d", q, b.Total.Requests, b.Total.MBMillis, requests, mbMillis)
		}
		var lines int64
		for _, u := range b.Lines {
			lines += u.MBMillis
		}
		if lines != mbMillis {
			t.Errorf("%+v: the lines add up to %d, want %d", q, lines, mbMillis)
		}
	}
}

func TestBillGroupsByTagsAsTheyWereAtTheTime(t *testing.T) {
	tags := map[string]map[string]string{"f": {"team": "a", "stage": "test"}}
	l := openLedger(t, Config{Tags: func(fn string) map[string]string { return tags[fn] }})
	add := func(i int, fn, alias string) {
		t.Helper()
		r := rec(i)
		r.Function, r.Alias = fn, alias
		if err := l.Add(r); err != nil {
			t.Fatal(err)
		}
		if err := l.settle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	add(0, "f", "live")
	add(1, "g", "")
	tags["f"] = map[string]string{"team": "b"}
	add(2, "f", "")
	for _, c := range []struct {
		q    Query
		want string
	}{
		{Query{By: ByTag, Tag: "team"}, "=1 a=1 b=1 "},
		{Query{By: ByTag}, "=1 stage=test=1 team=a=1 team=b=1 "},
		{Query{By: ByAlias}, "f=1 f:live=1 g=1 "},
	} {
		b, err := l.Bill(t.Context(), c.q, listed)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, u := range b.Lines {
			got += fmt.Sprintf("%s=%d ", u.Key, u.Requests)
		}
		if got != c.want || b.Total.Requests != 3 {
			t.Errorf("%+v: %s of %d, want %s", c.q, got, b.Total.Requests, c.want)
		}
	}
}

func TestMemoryThatIsKeptReadyIsPriced(t *testing.T) {
	l := openLedger(t, Config{})
	p := listed
	p.KeptGBSecond, p.KeptRunSecond = 4_166_700, 9_722_200
	l.Keep("f", "1", "live", 1024, time.Now().Add(-100*time.Second), 100*time.Second)
	r := rec(0)
	r.MemoryMB, r.Billed, r.Kept = 1024, time.Second, true
	if err := l.Add(r); err != nil {
		t.Fatal(err)
	}
	b, err := l.Bill(t.Context(), Query{}, p)
	if err != nil {
		t.Fatal(err)
	}
	u := b.Total
	if u.Requests != 1 || u.KeptMBMillis != 1024*100_000 || u.KeptCost.String() != "0.00041667" || u.DurationCost.String() != "0.0000097222" {
		t.Errorf("%+v", u)
	}
}

func TestFailedReadOfTheJournalLosesNothing(t *testing.T) {
	j := &flakyJournal{}
	l := openLedger(t, Config{Journal: j})
	addAll(t, l.Recorder, 0, 10)
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	l.queue, l.queued, l.behind = nil, 0, true
	l.mu.Unlock()
	j.down = true
	if _, err := l.Bill(t.Context(), Query{}, listed); err == nil {
		t.Fatal("a bill without its records")
	}
	j.down = false
	b, err := l.Bill(t.Context(), Query{}, listed)
	if err != nil || b.Total.Requests != 10 {
		t.Errorf("%d requests, %v", b.Total.Requests, err)
	}
}

type flakyJournal struct {
	memoryJournal
	down bool
}

func (j *flakyJournal) Read(ctx context.Context, after uint64, fn func(uint64, []byte) error) error {
	if j.down {
		return errors.New("down")
	}
	return j.memoryJournal.Read(ctx, after, fn)
}

func TestIndexThatDoesNotTellFailuresIsSearchedForThem(t *testing.T) {
	var b block
	r := rec(1)
	b.add(&r, r.Encode())
	if b.failed != 0 {
		t.Errorf("%d records failed", b.failed)
	}
	now, err := decodeIndex(b.encode())
	if s := (Search{Failed: true}); err != nil || s.mayHold(&now) {
		t.Errorf("a block without failures is opened for them: %v", err)
	}
	old, err := decodeIndex(bytes.TrimSuffix(b.encode(), []byte{0})) // as it was before there was that count
	if s := (Search{Failed: true}); err != nil || !s.mayHold(&old) {
		t.Errorf("an older block is not opened: %v", err)
	}
	if _, err := decodeIndex(append(b.encode(), 1)); err == nil {
		t.Error("an index with something behind it is read")
	}
}

func BenchmarkMillionRecords(b *testing.B) {
	l, err := Open(b.Context(), Config{Path: filepath.Join(b.TempDir(), "ledger"), Journal: &memoryJournal{}})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	start := time.Now()
	for i := range 1_000_000 {
		r := rec(i)
		r.Function = "f" + strconv.Itoa(i%1000)
		r.Start = start.Add(-time.Duration(1_000_000-i) * 100 * time.Millisecond)
		if i == 1234 {
			r.Outcome = Failed
		}
		if err := l.Add(r); err != nil {
			b.Fatal(err)
		}
		if i%5000 == 0 {
			if err := l.settle(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(time.Since(start).Seconds(), "s/million")
	for name, ask := range map[string]func() error{
		"bill": func() error { _, err := l.Bill(b.Context(), Query{}, listed); return err },
		"hours": func() error {
			_, err := l.Bill(b.Context(), Query{By: ByHour, Since: start.Add(-24 * time.Hour)}, listed)
			return err
		},
		"minutes": func() error {
			_, err := l.Bill(b.Context(), Query{By: ByMinute, Since: start.Add(-time.Hour)}, listed)
			return err
		},
		"day of functions": func() error {
			_, err := l.Bill(b.Context(), Query{Since: start.Add(-24 * time.Hour)}, listed)
			return err
		},
		"failed":   func() error { _, err := l.Records(b.Context(), Search{Failed: true, Limit: 6}); return err },
		"recent":   func() error { _, err := l.Records(b.Context(), Search{}); return err },
		"function": func() error { _, err := l.Records(b.Context(), Search{Function: "f77", Limit: 50}); return err },
		"request":  func() error { _, err := l.Record(b.Context(), "r1234"); return err },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := ask(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
