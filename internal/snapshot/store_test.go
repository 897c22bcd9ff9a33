package snapshot

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

func open(t *testing.T, dir string, max int64) *Store {
	t.Helper()
	s, err := Open(Config{Dir: dir, MaxBytes: max, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func key(fingerprint string, parts ...string) Key {
	return Key{Fingerprint: fingerprint, Parts: parts}
}

func put(t *testing.T, s *Store, k Key, size int) {
	t.Helper()
	if err := s.Put(k, func(f *os.File) error { _, err := f.Write(bytes.Repeat([]byte{'x'}, size)); return err }); err != nil {
		t.Fatal(err)
	}
}

// files returns what is in the store's directory.
func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func TestSnapshotIsFoundByEqualKeyOnlyAlsoAfterARestart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1000)
	put(t, s, key("f", "gvisor 1", "root"), 100)
	for range 2 {
		f, err := s.Get(key("f", "gvisor 1", "root"))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(f); err != nil || len(b) != 100 {
			t.Errorf("it has %d bytes, %v", len(b), err)
		}
		f.Close()
		for _, other := range []Key{
			key("g", "gvisor 1", "root"), key("f", "gvisor 2", "root"), key("f", "gvisor 1"),
			key("f", "gvisor 1r", "oot"), key("f", "gvisor 1", "root", ""),
		} {
			if _, err := s.Get(other); !errs.Is(err, errs.NotFound) || s.Has(other) {
				t.Errorf("%v: %v", other, err)
			}
		}
		s = open(t, dir, 1000)
	}
}

func TestNewSnapshotTakesThePlaceOfAStaleOne(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1000)
	put(t, s, key("f", "gvisor 1"), 100)
	put(t, s, key("f", "gvisor 2"), 200)
	if n, size := s.Usage(); n != 1 || size != 200 || len(files(t, dir)) != 1 {
		t.Errorf("%d snapshots of %d bytes in %v", n, size, files(t, dir))
	}
}

func TestLeastRecentlyUsedIsEvicted(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, 250)
		for _, name := range []string{"a", "b"} {
			put(t, s, key(name), 100)
			time.Sleep(time.Hour)
		}
		if f, err := s.Get(key("a")); err != nil {
			t.Fatal(err)
		} else {
			f.Close()
		}
		time.Sleep(time.Hour)
		s = open(t, dir, 250) // the time of use outlives the node
		put(t, s, key("c"), 100)
		if !s.Has(key("a")) || s.Has(key("b")) || !s.Has(key("c")) {
			t.Errorf("left are %v", files(t, dir))
		}
		s = open(t, dir, 100) // a smaller budget holds at once
		if !s.Has(key("c")) || len(files(t, dir)) != 1 {
			t.Errorf("left are %v", files(t, dir))
		}
	})
}

func TestSnapshotOverTheWholeBudgetIsRefusedAndEvictsNothing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 150)
	put(t, s, key("a"), 100)
	err := s.Put(key("b"), func(f *os.File) error { return f.Truncate(151) })
	if !errs.Is(err, errs.TooLarge) || !s.Has(key("a")) || len(files(t, dir)) != 1 {
		t.Errorf("%v; left are %v", err, files(t, dir))
	}
}

func TestFailedSaveLeavesNothingAndKeepsTheOldOne(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1000)
	put(t, s, key("f"), 100)
	want := errors.New("no")
	err := s.Put(key("f"), func(f *os.File) error { f.WriteString("half"); return want })
	if !errors.Is(err, want) || !s.Has(key("f")) || len(files(t, dir)) != 1 {
		t.Errorf("%v; left are %v", err, files(t, dir))
	}
}

func TestWhatWasHalfWrittenIsSwept(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, tmpPrefix+"1"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, dir, 1000)
	if left := files(t, dir); len(left) != 0 {
		t.Errorf("left are %v", left)
	}
}

func TestDropRemovesOneFingerprint(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1000)
	for _, name := range []string{"a", "ab", "c"} {
		put(t, s, key(name), 10)
	}
	f, err := s.Get(key("a"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s.Drop("a")
	if s.Has(key("a")) || !s.Has(key("ab")) {
		t.Errorf("after Drop: %v", files(t, dir))
	}
	if b, err := io.ReadAll(f); err != nil || len(b) != 10 {
		t.Errorf("the open file has %d bytes, %v", len(b), err)
	}
	s.Drop("ab")
	os.Remove(files(t, dir)[0])
	if _, err := s.Get(key("c")); !errs.Is(err, errs.NotFound) {
		t.Errorf("a snapshot that someone took away: %v", err)
	}
	if n, size := s.Usage(); n != 0 || size != 0 {
		t.Errorf("%d snapshots of %d bytes", n, size)
	}
}
