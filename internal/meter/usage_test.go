package meter

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

func TestBilledRoundsHandlerAndInitUpTogether(t *testing.T) {
	for _, c := range []struct{ duration, init, want time.Duration }{
		{0, 0, 0},
		{1, 0, time.Millisecond},
		{time.Millisecond, 0, time.Millisecond},
		{time.Millisecond + 1, 0, 2 * time.Millisecond},
		{2340 * time.Microsecond, 120550 * time.Microsecond, 123 * time.Millisecond},
		{400 * time.Microsecond, 400 * time.Microsecond, time.Millisecond},
		{3 * time.Second, 0, 3 * time.Second},
		{-time.Second, time.Millisecond, time.Millisecond},
	} {
		if got := Billed(c.duration, c.init); got != c.want {
			t.Errorf("Billed(%v, %v) = %v, want %v", c.duration, c.init, got, c.want)
		}
	}
}

// listed is AWS Lambda's price list for x86 in us-east-1.
var listed = PriceSheet{MillionCalls: 200_000_000_000, GBSecond: 16_666_700, StorageSecond: 30_900, FreeStorageMB: 512}

func openLedger(t *testing.T, cfg Config) *Ledger {
	t.Helper()
	if cfg.Path == "" {
		cfg.Path = filepath.Join(t.TempDir(), "ledger")
	}
	if cfg.Journal == nil {
		cfg.Journal = &memoryJournal{}
	}
	cfg.Log = slog.New(slog.DiscardHandler)
	l, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func fill(t *testing.T, records ...Record) *Ledger {
	t.Helper()
	l := openLedger(t, Config{})
	for _, rec := range records {
		if err := l.Add(rec); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func TestBillIsExactAtListPrices(t *testing.T) {
	// The worked example of AWS's pricing page: 3 million requests of 120 ms
	// with 1,536 MB are 540,000 GB-seconds: $9.00 and $0.60.
	var u Usage
	var all sums
	for range 3_000_000 {
		all.count(&Record{Outcome: OK, Billed: 120 * time.Millisecond})
	}
	u.add(&rowKey{MemoryMB: 1536}, &all, &PriceSheet{})
	p := listed
	u.price(&p)
	for _, c := range []struct{ what, got, want string }{
		{"GB-seconds", u.GBSeconds, "540000.000000"},
		{"requests", u.RequestCost.String(), "0.60"},
		{"duration", u.DurationCost.String(), "9.000018"},
		{"total", u.Cost.String(), "9.600018"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", c.what, c.got, c.want)
		}
	}
}

func TestBillChargesOnlyStorageAboveTheFreePart(t *testing.T) {
	r := fill(t,
		Record{RequestID: "a", Start: time.Now(), MemoryMB: 128, TmpMB: 512, Billed: time.Second, Outcome: OK},
		Record{RequestID: "b", Start: time.Now(), MemoryMB: 128, TmpMB: 1536, Billed: time.Second, Outcome: OK},
		Record{RequestID: "c", Start: time.Now(), MemoryMB: 128, Billed: time.Second, Outcome: OK})
	b, err := r.Bill(t.Context(), Query{}, listed)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := b.Total.StorageCost.String(), "0.0000000309"; got != want {
		t.Errorf("storage of 1 GB-second costs %s, want %s", got, want)
	}
}

func TestBillGroupsAndSelects(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	mk := func(id, fn, start string, o Outcome, init time.Duration) Record {
		return Record{RequestID: id, Function: fn, Version: "1", Start: at(start), Init: init, Billed: time.Second, MemoryMB: 1024, Outcome: o}
	}
	r := fill(t,
		mk("1", "a", "2026-10-31T23:59:59Z", OK, time.Millisecond),
		mk("2", "b", "2026-11-01T00:00:00Z", Failed, 0),
		mk("3", "b", "2026-11-01T01:00:00+02:00", OK, 0), // still October in UTC
		mk("4", "a", "2026-11-02T12:00:00Z", TimedOut, 0),
		mk("4", "a", "2026-11-02T12:00:00Z", TimedOut, 0), // the same again
	)
	r4 := mk("4", "a", "2026-11-02T12:01:00Z", OK, 0)
	r4.Attempt = 2 // a further attempt is a further record
	if err := r.Add(r4); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		q    Query
		want string
	}{
		{"function is the default", Query{}, "a:3/1/1 b:2/1/0 total 5 5.000000"},
		{"day", Query{By: ByDay}, "2026-10-31:2/0/1 2026-11-01:1/1/0 2026-11-02:2/1/0 total 5 5.000000"},
		{"month", Query{By: ByMonth}, "2026-10:2/0/1 2026-11:3/2/0 total 5 5.000000"},
		{"hour", Query{By: ByHour, Function: "a"}, "2026-10-31T23:00Z:1/0/1 2026-11-02T12:00Z:2/1/0 total 3 3.000000"},
		{"version", Query{By: ByVersion}, "a:1:3/1/1 b:1:2/1/0 total 5 5.000000"},
		{"one function", Query{By: ByMonth, Function: "b"}, "2026-10:1/0/0 2026-11:1/1/0 total 2 2.000000"},
		{"since is inclusive, until exclusive", Query{Since: at("2026-11-01T00:00:00Z"), Until: at("2026-11-02T12:00:00Z")}, "b:1/1/0 total 1 1.000000"},
		{"nothing", Query{Function: "c"}, "total 0 0.000000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := r.Bill(t.Context(), c.q, listed)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, l := range b.Lines {
				got += fmt.Sprintf("%s:%d/%d/%d ", l.Key, l.Requests, l.Errors, l.ColdStarts)
			}
			got += fmt.Sprintf("total %d %s", b.Total.Requests, b.Total.GBSeconds)
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	if _, err := r.Bill(t.Context(), Query{By: "week"}, listed); !errs.Is(err, errs.Invalid) {
		t.Errorf("a grouping that doesn't exist: %v", err)
	}
}

func TestSeenForgetsOnlyWhatIsFarBack(t *testing.T) {
	var s seen
	for i := range 5 * seenWindow {
		if !s.first(fmt.Sprint(i)) {
			t.Fatalf("%d was new", i)
		}
		if back := i - seenWindow + 1; back >= 0 && s.first(fmt.Sprint(back)) {
			t.Fatalf("%d was forgotten %d keys later", back, seenWindow)
		}
	}
	if n := len(s.young) + len(s.old); n > 2*seenWindow {
		t.Errorf("%d keys in memory", n)
	}
}

func TestMoneyText(t *testing.T) {
	for s, want := range map[string]Money{
		"0.00": 0, "0.20": Dollar / 5, "0.0000166667": 16_666_700, "1.000000000001": Dollar + 1,
		"9223372.036854775807": math.MaxInt64,
	} {
		m, err := ParseMoney(s)
		if err != nil || m != want || m.String() != s {
			t.Errorf("ParseMoney(%q) = %d, %v; printed %s", s, m, err, m)
		}
	}
	for _, s := range []string{"", ".", "-1", "1e3", "0.0000000000001", "9223372.036854775808", "12345678", "1.2.3", "1,5"} {
		if m, err := ParseMoney(s); err == nil {
			t.Errorf("ParseMoney(%q) = %s", s, m)
		}
	}
	b, err := json.Marshal(struct{ M Money }{Dollar / 8})
	if err != nil || string(b) != `{"M":"0.125"}` {
		t.Errorf("%s, %v", b, err)
	}
}

func TestMoneyStaysAtItsLimit(t *testing.T) {
	if got := Money(math.MaxInt64).times(math.MaxInt64, 1); got != math.MaxInt64 {
		t.Errorf("times: %d", got)
	}
	if got := Money(math.MaxInt64 - 1).plus(2); got != math.MaxInt64 {
		t.Errorf("plus: %d", got)
	}
	if got := Money(3).times(1, 2); got != 2 {
		t.Errorf("1.5 rounds to %d", got)
	}
}

func FuzzParseMoney(f *testing.F) {
	f.Add("0.0000166667")
	f.Add("12.5")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMoney(s)
		if err != nil {
			return
		}
		again, err := ParseMoney(m.String())
		if err != nil || again != m {
			t.Errorf("%q is %d, printed as %s, read as %d, %v", s, m, m, again, err)
		}
	})
}

func TestCostOfRecordsIsThatOfTheirBill(t *testing.T) {
	sheet := listed
	sheet.KeptRunSecond = 9_722_200
	for name, r := range map[string]Record{
		"brief":                  {Billed: time.Millisecond, MemoryMB: 128},
		"failed":                 {Billed: 37 * time.Millisecond, MemoryMB: 1769, Outcome: Crashed},
		"with storage":           {Billed: 3 * time.Second, MemoryMB: 1024, TmpMB: 10240},
		"on what was kept ready": {Billed: 3 * time.Second, MemoryMB: 1024, Kept: true},
	} {
		r.RequestID, r.Function, r.Start = "r", "f", time.Now()
		bill, err := fill(t, r).Bill(t.Context(), Query{}, sheet)
		if err != nil {
			t.Fatal(err)
		}
		if got := sheet.Cost(&r); got != bill.Total.Cost || got <= 0 {
			t.Errorf("%s: a record costs %s, its bill is %s", name, got, bill.Total.Cost)
		}
	}
}
