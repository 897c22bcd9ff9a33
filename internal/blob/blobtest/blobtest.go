// Package blobtest holds the tests that every blob.Store passes.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/blob"
	"github.com/mayfly-dev/mayfly/internal/errs"
)

// ErrRead is the error of a FailingReader.
var ErrRead = errors.New("read failed")

// FailingReader returns a reader that gives s and then fails with ErrRead.
func FailingReader(s string) io.Reader {
	return io.MultiReader(strings.NewReader(s), failing{})
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, ErrRead }

// Run runs all tests. open returns a new, empty store that lives until its
// test ends.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	for name, test := range map[string]func(*testing.T, blob.Store){
		"PutThenOpenGivesTheBytes":            putOpen,
		"PutReplaces":                         putReplaces,
		"FailedPutChangesNothing":             putFails,
		"MissingIsNotFound":                   missing,
		"DeleteTwiceIsNoError":                deleteTwice,
		"BadKeysAreInvalid":                   badKeys,
		"ListGivesKeysWithPrefixInOrder":      list,
		"ListStopsWhenAsked":                  listStops,
		"OpenBlobOutlivesDelete":              outlives,
		"ConcurrentPutsOfOneKeyLeaveOneWhole": concurrent,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func put(t *testing.T, s blob.Store, key, data string) {
	t.Helper()
	n, err := s.Put(t.Context(), key, strings.NewReader(data))
	if err != nil || n != int64(len(data)) {
		t.Fatalf("Put(%q) = %d, %v; want %d", key, n, err, len(data))
	}
}

func get(t *testing.T, s blob.Store, key string) string {
	t.Helper()
	r, err := s.Open(t.Context(), key)
	if err != nil {
		t.Fatalf("Open(%q): %v", key, err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read %q: %v", key, err)
	}
	if r.Size() != int64(len(b)) {
		t.Errorf("%q: size %d, but %d bytes", key, r.Size(), len(b))
	}
	return string(b)
}

func putOpen(t *testing.T, s blob.Store) {
	big := strings.Repeat("0123456789", 300_000)
	for key, data := range map[string]string{"a": "", "0.b_c-d": "small", strings.Repeat("k", blob.MaxKey): big} {
		put(t, s, key, data)
		if got := get(t, s, key); got != data {
			t.Errorf("%.10q: got %d bytes, want %d", key, len(got), len(data))
		}
	}
	r, err := s.Open(t.Context(), strings.Repeat("k", blob.MaxKey))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	at := make([]byte, 5)
	if _, err := r.ReadAt(at, 1_000_003); err != nil || string(at) != "34567" {
		t.Errorf("ReadAt gives %q, %v", at, err)
	}
	if _, err := r.Seek(-3, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	if tail, err := io.ReadAll(r); err != nil || string(tail) != "789" {
		t.Errorf("after Seek: %q, %v", tail, err)
	}
}

func putReplaces(t *testing.T, s blob.Store) {
	put(t, s, "key", "the first and longer one")
	put(t, s, "key", "second")
	if got := get(t, s, "key"); got != "second" {
		t.Errorf("got %q", got)
	}
}

func putFails(t *testing.T, s blob.Store) {
	put(t, s, "old", "kept")
	for _, key := range []string{"old", "new"} {
		if _, err := s.Put(t.Context(), key, FailingReader("part")); !errors.Is(err, ErrRead) {
			t.Errorf("Put(%q) = %v, want the reader's error", key, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Put(ctx, "new", strings.NewReader("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("Put with an ended context = %v", err)
	}
	if got := get(t, s, "old"); got != "kept" {
		t.Errorf("old is %q", got)
	}
	if _, err := s.Open(t.Context(), "new"); !errs.Is(err, errs.NotFound) {
		t.Errorf("Open(new) = %v", err)
	}
}

func missing(t *testing.T, s blob.Store) {
	if _, err := s.Open(t.Context(), "missing"); !errs.Is(err, errs.NotFound) {
		t.Errorf("Open = %v, want kind not found", err)
	}
}

func deleteTwice(t *testing.T, s blob.Store) {
	put(t, s, "key", "x")
	for range 2 {
		if err := s.Delete(t.Context(), "key"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Open(t.Context(), "key"); !errs.Is(err, errs.NotFound) {
		t.Errorf("Open = %v, want kind not found", err)
	}
}

func badKeys(t *testing.T, s blob.Store) {
	for _, key := range []string{"", ".", "..", ".a", "-a", "a/b", "../a", "/a", "A", "a b", "a\x00", "ä", strings.Repeat("k", blob.MaxKey+1)} {
		if _, err := s.Put(t.Context(), key, strings.NewReader("x")); !errs.Is(err, errs.Invalid) {
			t.Errorf("Put(%q) = %v, want kind invalid", key, err)
		}
		if _, err := s.Open(t.Context(), key); !errs.Is(err, errs.Invalid) {
			t.Errorf("Open(%q) = %v, want kind invalid", key, err)
		}
		if err := s.Delete(t.Context(), key); !errs.Is(err, errs.Invalid) {
			t.Errorf("Delete(%q) = %v, want kind invalid", key, err)
		}
	}
}

func list(t *testing.T, s blob.Store) {
	since := time.Now().Add(-time.Minute)
	keys := []string{"a", "ab", "ab-1", "ab.2", "abc", "b", "ba", "tmp", "tm"}
	for _, k := range keys {
		put(t, s, k, k)
	}
	for prefix, want := range map[string][]string{
		"":     {"a", "ab", "ab-1", "ab.2", "abc", "b", "ba", "tm", "tmp"},
		"a":    {"a", "ab", "ab-1", "ab.2", "abc"},
		"ab":   {"ab", "ab-1", "ab.2", "abc"},
		"ab-":  {"ab-1"},
		"none": nil,
	} {
		var got []string
		for info, err := range s.List(t.Context(), prefix) {
			if err != nil {
				t.Fatal(err)
			}
			if info.Size != int64(len(info.Key)) || info.Modified.Before(since) {
				t.Errorf("info = %+v", info)
			}
			got = append(got, info.Key)
		}
		if !slices.Equal(got, want) {
			t.Errorf("List(%q) = %q, want %q", prefix, got, want)
		}
	}
}

func listStops(t *testing.T, s blob.Store) {
	for i := range 5 {
		put(t, s, fmt.Sprintf("key-%d", i), "x")
	}
	n := 0
	for range s.List(t.Context(), "") {
		if n++; n == 2 {
			break
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var last error
	for _, err := range s.List(ctx, "") {
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("List with an ended context gives %v", last)
	}
}

func outlives(t *testing.T, s blob.Store) {
	put(t, s, "key", "first")
	r, err := s.Open(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	put(t, s, "key", "second")
	if err := s.Delete(t.Context(), "key"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != "first" {
		t.Errorf("read %q, %v", b, err)
	}
}

func concurrent(t *testing.T, s blob.Store) {
	const writers, size = 8, 200_000
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			if _, err := s.Put(t.Context(), "key", bytes.NewReader(bytes.Repeat([]byte{'a' + byte(i)}, size))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got := get(t, s, "key")
	if len(got) != size || strings.Trim(got, got[:1]) != "" {
		t.Errorf("the blob is a mixture of %d bytes", len(got))
	}
}
