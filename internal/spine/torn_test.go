package spine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// lastBlock returns the newest file of messages of a stream.
func lastBlock(t *testing.T, dir, stream string) string {
	t.Helper()
	blocks, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", stream, "msgs", "*.blk"))
	if err != nil || len(blocks) == 0 {
		t.Fatalf("no blocks in %s: %v", dir, err)
	}
	return slices.Max(blocks)
}

// lastSegment returns the newest file of a work queue's items.
func lastSegment(t *testing.T, dir, queue string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, itemsDir, queue, "*"+segmentSuffix))
	if err != nil || len(all) == 0 {
		t.Fatalf("no segments in %s: %v", dir, err)
	}
	return slices.Max(all)
}

// written changes what is written of a segment, and leaves the zeros behind it.
func written(change func([]byte) []byte) func([]byte) []byte {
	return func(b []byte) []byte {
		n := len(bytes.TrimRight(b, "\x00"))
		return append(change(slices.Clone(b[:n])), make([]byte, len(b)-n)...)
	}
}

// tears are what a crash or a bad disk makes of the end of a file.
var tears = map[string]func(b []byte) []byte{
	"cut off":     func(b []byte) []byte { return b[:len(b)-5] },
	"overwritten": func(b []byte) []byte { return append(b[:len(b)-12], "xxxxxxxxxxxx"...) },
	"zeroed":      func(b []byte) []byte { return append(b[:len(b)-12], make([]byte, 12)...) },
	"lengthened":  func(b []byte) []byte { return append(b, "garbage garbage garbage"...) },
}

func TestTornTailOfALogIsToldOfAndCostsNothingBeforeIt(t *testing.T) {
	const n = 20
	for name, tear := range tears {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			calls := openCalls(t, s)
			for i := range n {
				put(t, calls, "f", "", fmt.Sprint(i))
			}
			s.Close()
			rewrite(t, lastSegment(t, dir, callsName), written(tear))

			var said bytes.Buffer
			s, err := Open(t.Context(), Config{Dir: dir, Log: slog.New(slog.NewTextHandler(&said, nil))})
			if err != nil {
				t.Fatalf("a torn tail: %v", err)
			}
			defer s.Close()
			calls = openCalls(t, s)
			left := calls.Waiting()["f"]
			least := n
			if name != "lengthened" {
				least-- // the last one is torn
			}
			t.Logf("%d of %d items are left; the engine says:\n%s", left, n, said.String())
			if left < least {
				t.Errorf("%d of %d items are left", left, n)
			}
			if !strings.Contains(said.String(), "is torn") {
				t.Error("the log tells nobody")
			}
			if err := calls.Put(context.Background(), "f", "", []byte("next")); err != nil {
				t.Errorf("an item after that: %v", err)
			}
			s.Close()
			said.Reset()
			if s, err = Open(t.Context(), Config{Dir: dir, Log: slog.New(slog.NewTextHandler(&said, nil))}); err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if again := openCalls(t, s).Waiting()["f"]; again != left+1 || strings.Contains(said.String(), "torn") {
				t.Errorf("after another start %d items are left of %d and one more; it said %q", again, left, said.String())
			}
		})
	}
}

// What reads all of a stream must not wait for a record that is gone, also when
// that was the only one, and what comes after it is read.
func TestTornRecordsAreReadToTheirEnd(t *testing.T) {
	for name, tear := range tears {
		for _, n := range []int{1, 2, 20} {
			t.Run(fmt.Sprint(name, n), func(t *testing.T) {
				dir := t.TempDir()
				s := open(t, dir)
				r := openRecords(t, s)
				for i := range n {
					r.append(t, fmt.Sprint(i))
				}
				s.Close()
				for _, stream := range []string{meterStream, logPrefix + "l", "KV_" + bucketPrefix + "b"} {
					block := lastBlock(t, dir, stream)
					rewrite(t, block, tear)
					// Written at a clean end only.
					if err := os.Remove(filepath.Join(filepath.Dir(block), "index.db")); err != nil {
						t.Fatal(err)
					}
				}
				s = open(t, dir)
				defer s.Close()
				r = openRecords(t, s)
				var want []string
				for i := range n {
					want = append(want, fmt.Sprint(i))
				}
				if name != "lengthened" {
					want = want[:n-1]
				}
				r.check(t, want)
				r.append(t, "next")
				r.check(t, append(want, "next"))
			})
		}
	}
}

// records are what nodes keep on the spine.
type records struct {
	journal *Journal
	log     *Log
	bucket  *Bucket
}

func openRecords(t *testing.T, s *Spine) (r records) {
	t.Helper()
	var failed [3]error
	r.journal, failed[0] = s.Meter(t.Context())
	r.log, failed[1] = s.Log(t.Context(), "l")
	r.bucket, failed[2] = s.Bucket(t.Context(), "b")
	if err := errors.Join(failed[:]...); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r records) append(t *testing.T, text string) {
	t.Helper()
	_, inJournal := r.journal.Append(t.Context(), "", []byte(text))
	_, inLog := r.log.Append(t.Context(), text, []byte("body of "+text))
	_, inBucket := r.bucket.Create(t.Context(), text, []byte("value"))
	if err := errors.Join(inJournal, inLog, inBucket); err != nil {
		t.Fatal(err)
	}
}

// check reads all that there is.
func (r records) check(t *testing.T, want []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var batches, heads, keys []string
	for what, read := range map[string]func() error{
		"journal": func() error {
			return r.journal.Read(ctx, 0, func(_ uint64, b []byte) error { batches = append(batches, string(b)); return nil })
		},
		"log": func() error {
			return r.log.Heads(ctx, func(_ uint64, head string) error { heads = append(heads, head); return nil })
		},
		"bucket": func() error {
			return r.bucket.List(ctx, "", func(key string, _ []byte, _ uint64) error { keys = append(keys, key); return nil })
		},
	} {
		if err := read(); err != nil {
			t.Errorf("the %s: %v", what, err)
		}
	}
	for what, got := range map[string][]string{"journal": batches, "log": heads, "bucket": keys} {
		if !slices.Equal(got, want) {
			t.Errorf("the %s holds %q, want %q", what, got, want)
		}
	}
}

// rewrite gives a file other content.
func rewrite(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}
