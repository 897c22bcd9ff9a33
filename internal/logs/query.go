package logs

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"strings"
	"time"
)

// Filter selects entries. Its zero value selects all.
type Filter struct {
	Since     time.Time // inclusive; zero means from the oldest that is kept
	Until     time.Time // exclusive; zero means to the newest
	RequestID string    // only entries of this call
	Contains  string    // only entries whose text has this in it
}

func (f *Filter) selects(e *Entry) bool {
	return !e.Time.Before(f.Since) &&
		(f.Until.IsZero() || e.Time.Before(f.Until)) &&
		(f.RequestID == "" || e.RequestID == f.RequestID) &&
		strings.Contains(e.Text, f.Contains)
}

// Query returns the entries of a function's log that f selects, in the order in
// which they were appended, up to those appended before the loop began. A
// function without a log has none. An error is the last thing of the sequence.
func (s *Store) Query(ctx context.Context, function string, f Filter) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		w, err := s.writer(function, false)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		if w == nil {
			return
		}
		_, _, err = w.scan(ctx, position{}, f, func(e Entry) bool { return yield(e, nil) })
		if err != nil {
			yield(Entry{}, fmt.Errorf("read the log of %s: %w", function, err))
		}
	}
}

// Follow is Query that goes on with each entry that is appended, until ctx ends
// or the loop does. It doesn't poll: it sleeps until there is more. Who follows
// slowly falls behind and holds up nobody; entries that retention removes
// meanwhile are skipped.
func (s *Store) Follow(ctx context.Context, function string, f Filter) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		w, err := s.writer(function, true)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		more, end := w.watch()
		defer end()
		var at position
		for {
			var goOn bool
			at, goOn, err = w.scan(ctx, at, f, func(e Entry) bool { return yield(e, nil) })
			if err != nil && ctx.Err() == nil {
				yield(Entry{}, fmt.Errorf("follow the log of %s: %w", function, err))
				return
			}
			if !goOn {
				return
			}
			select {
			case <-more:
			case <-ctx.Done():
				return
			}
		}
	}
}

// scan calls fn with the selected entries from p to the present end, and
// returns that end. goOn is false when fn wanted no more or an error stopped it.
func (w *writer) scan(ctx context.Context, p position, f Filter, fn func(Entry) bool) (end position, goOn bool, err error) {
	end = w.settled()
	list, err := segments(w.dir)
	if err != nil {
		return p, false, err
	}
	for _, n := range list {
		if n < p.segment || n > end.segment {
			continue
		}
		from := position{segment: n}
		if n == p.segment {
			from = p
		}
		if n < end.segment && w.endedBefore(n, f.Since) {
			continue
		}
		goOn, err := readSegment(w.dir, from, end, func(e Entry) bool {
			if ctx.Err() != nil {
				return false
			}
			return !f.selects(&e) || fn(e)
		})
		if err != nil || !goOn {
			return p, false, errors.Join(err, ctx.Err())
		}
	}
	return end, true, nil
}

// endedBefore reports whether a segment holds nothing as new as since: entries
// are not older than the file's last change. A copied file is merely read in vain.
func (w *writer) endedBefore(n int, since time.Time) bool {
	if since.IsZero() {
		return false
	}
	info, err := os.Stat(segmentPath(w.dir, n))
	return err == nil && info.ModTime().Before(since)
}
