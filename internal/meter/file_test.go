package meter

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

// enterRecords adds records from one number up to another and enters them.
func enterRecords(t *testing.T, l *Ledger, from, to int) {
	t.Helper()
	addAll(t, l.Recorder, from, to)
	if err := l.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// requests is how many the ledger's bill and its records know.
func requests(t *testing.T, l *Ledger) (billed, found int) {
	t.Helper()
	b, err := l.Bill(t.Context(), Query{}, listed)
	if err != nil {
		t.Fatalf("the bill: %v", err)
	}
	records, err := l.Records(t.Context(), Search{Limit: 1 << 20})
	if err != nil {
		t.Fatalf("the records: %v", err)
	}
	return int(b.Total.Requests), len(records)
}

func TestDamagedLedgerIsSetAsideAndWhatCanBeReadIsKept(t *testing.T) {
	const n, page = 8000, 4096
	for name, c := range map[string]struct {
		damage func(b []byte) []byte
		least  int // records that must be left
		quiet  bool
	}{
		"half a page is cut off":   {func(b []byte) []byte { return b[:len(b)-page/2] }, n - 100, false},
		"the last pages are noise": {func(b []byte) []byte { return overwrite(b, len(b)-4*page, 4*page, 'x') }, n - 100, false},
		"the last pages are zeros": {func(b []byte) []byte { return overwrite(b, len(b)-4*page, 4*page, 0) }, n - 100, false},
		"half of it is cut off":    {func(b []byte) []byte { return b[:len(b)/2/page*page] }, 100, false},
		"its newest head is torn":  {tearNewestMeta, n, true},
		"one of its blocks is bad": {func(b []byte) []byte { return damageBlock(t, b) }, n - blockSize, false},
		"both its heads are torn":  {func(b []byte) []byte { return overwrite(b, 0, 2*page, 'x') }, 100, false},
		"one byte is left":         {func(b []byte) []byte { return b[:1] }, 100, false},
	} {
		t.Run(name, func(t *testing.T) {
			j := &memoryJournal{}
			path := filepath.Join(t.TempDir(), "ledger")
			l := openLedger(t, Config{Path: path, Journal: j})
			enterRecords(t, l, 0, n-100)
			if err := l.tidy(t.Context()); err != nil { // from here on the journal has what is newer only
				t.Fatal(err)
			}
			enterRecords(t, l, n-100, n)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			size := highWater(t, path)
			if err := os.WriteFile(path, c.damage(b[:size]), 0o600); err != nil {
				t.Fatal(err)
			}

			var said bytes.Buffer
			l, err = Open(t.Context(), Config{Path: path, Journal: j, Log: slog.New(slog.NewTextHandler(&said, nil))})
			if err != nil {
				t.Fatalf("the damaged ledger: %v", err)
			}
			defer l.Close()
			billed, found := requests(t, l)
			t.Logf("%d of %d records are in the bill, %d are found; the log says:\n%s", billed, n, found, said.String())
			if found < c.least || billed > n || found > n || c.quiet && said.Len() > 0 {
				t.Error("that is not what could be read")
			}
			if aside, _ := filepath.Glob(path + ".damaged-*"); !c.quiet && (len(aside) != 1 || !strings.Contains(said.String(), aside[0])) {
				t.Errorf("set aside: %q", aside)
			}
			enterRecords(t, l, n, n+1000)
			if b, f := requests(t, l); b != billed+1000 || f != found+1000 {
				t.Errorf("1000 records after that: %d are in the bill, %d are found", b, f)
			}
		})
	}
}

func overwrite(b []byte, at, n int, with byte) []byte {
	copy(b[at:], bytes.Repeat([]byte{with}, n))
	return b
}

// damageBlock damages a block that the last few transactions left alone.
func damageBlock(t *testing.T, b []byte) []byte {
	path := filepath.Join(t.TempDir(), "copy")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	var block []byte
	err := withFile(path, func(tx *bbolt.Tx) error {
		block = bytes.Clone(tx.Bucket(blocksBucket).Get(blockKey(11)))
		return nil
	})
	at := bytes.Index(b, block)
	if err != nil || len(block) == 0 || at < 0 {
		t.Fatalf("block of %d bytes is at %d, %v", len(block), at, err)
	}
	return overwrite(b, at+len(block)/2, 64, 0xff)
}

// tearNewestMeta damages the page that ends the last transaction, as a crash
// amid its write does.
func tearNewestMeta(b []byte) []byte {
	const page, txid = 4096, 16 + 48
	newest := 0
	if binary.LittleEndian.Uint64(b[page+txid:]) > binary.LittleEndian.Uint64(b[txid:]) {
		newest = page
	}
	return overwrite(b, newest+txid, 8, 'x')
}

// highWater is the end of the file's pages in use.
func highWater(t *testing.T, path string) (size int64) {
	t.Helper()
	if err := withFile(path, func(tx *bbolt.Tx) error { size = tx.Size(); return nil }); err != nil {
		t.Fatal(err)
	}
	return size
}

// tornJournal is a journal whose batches can be lost.
type tornJournal struct {
	*memoryJournal
	lost map[uint64]bool
}

func (j tornJournal) Read(ctx context.Context, after uint64, fn func(uint64, []byte) error) error {
	return j.memoryJournal.Read(ctx, after, func(number uint64, b []byte) error {
		if j.lost[number] {
			return nil
		}
		return fn(number, b)
	})
}

func TestLostBatchCostsItsRecordsOnlyAndIsToldOf(t *testing.T) {
	j := tornJournal{&memoryJournal{}, map[uint64]bool{2: true}}
	for i := range 3 {
		j.Append(t.Context(), string(rune('a'+i)), encodeBatch([]Record{rec(i)}))
	}
	var said bytes.Buffer
	l, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "ledger"), Journal: j, Log: slog.New(slog.NewTextHandler(&said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if billed, found := requests(t, l); billed != 2 || found != 2 {
		t.Errorf("%d records are in the bill, %d are found; want 2", billed, found)
	}
	if !strings.Contains(said.String(), "missing") {
		t.Errorf("the log says: %q", said.String())
	}
}

// A journal that lost its end gives the numbers that were there to new batches.
func TestJournalThatLostItsEndIsNotCountedTwice(t *testing.T) {
	const n = 30_000 // more than the ledger would recognise as known
	j := &memoryJournal{}
	path := filepath.Join(t.TempDir(), "ledger")
	l := openLedger(t, Config{Path: path, Journal: j})
	enterRecords(t, l, 0, n)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	j.batches = slices.Clone(j.batches[:len(j.batches)-2])
	for range 2 { // it stays so over a restart
		l = openLedger(t, Config{Path: path, Journal: j})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l = openLedger(t, Config{Path: path, Journal: j})
	enterRecords(t, l, n, n+100)
	if billed, found := requests(t, l); billed != n+100 || found != n+100 {
		t.Errorf("%d records are in the bill, %d are found; want %d", billed, found, n+100)
	}
}
