package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"time"
)

// Filter selects entries. Its zero value selects all.
type Filter struct {
	Since     time.Time         // inclusive; zero means from the oldest that is kept
	Until     time.Time         // exclusive; zero means to the newest
	RequestID string            // only entries of this call
	Contains  string            // only entries whose text has this in it
	Level     Level             // only entries of this level or above
	Recorded  bool              // only entries that carry a record
	Match     func(*Entry) bool // only entries that it says yes to; nil means all
}

func (f *Filter) selects(e *Entry) bool {
	return !e.Time.Before(f.Since) &&
		(f.Until.IsZero() || e.Time.Before(f.Until)) &&
		(f.RequestID == "" || e.RequestID == f.RequestID) &&
		strings.Contains(e.Text, f.Contains) &&
		(!f.Recorded || e.Record != "") &&
		(f.Level == 0 || LevelOf(e) >= f.Level) &&
		(f.Match == nil || f.Match(e))
}

// worth returns a test of stored lines that fails only for those that f does not
// select: reading them is what takes time.
func (f *Filter) worth() func(line []byte) bool {
	var parts [][]byte
	for _, s := range []string{f.RequestID, f.Contains} {
		if stored := appendString(nil, s); s != "" && len(stored) == len(s)+2 { // it is stored as it is
			parts = append(parts, []byte(s))
		}
	}
	if f.Recorded {
		parts = append(parts, []byte(recordKey))
	}
	return func(line []byte) bool {
		for _, p := range parts {
			if !bytes.Contains(line, p) {
				return false
			}
		}
		return true
	}
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

// FollowAll is Follow for several logs, or for all, with those that begin later,
// when functions is empty. Entries say whose they are. Those of one log come in
// their order; between logs, what was appended together may be mixed.
func (s *Store) FollowAll(ctx context.Context, functions []string, f Filter) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		more, end := s.watch()
		defer end()
		at := map[string]position{}
		for {
			names, err := s.names()
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, name := range names {
				if len(functions) > 0 && !slices.Contains(functions, name) {
					continue
				}
				goOn, err := s.followOne(ctx, name, at, f, yield)
				if err != nil && ctx.Err() == nil {
					yield(Entry{}, fmt.Errorf("follow the log of %s: %w", name, err))
					return
				}
				if !goOn {
					return
				}
			}
			select {
			case <-more:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (s *Store) followOne(ctx context.Context, name string, at map[string]position, f Filter, yield func(Entry, error) bool) (goOn bool, err error) {
	w, err := s.writer(name, false)
	if err != nil || w == nil {
		return err == nil, err
	}
	if w.present() == at[name] {
		return true, nil
	}
	at[name], goOn, err = w.scan(ctx, at[name], f, func(e Entry) bool {
		e.Function = name
		return yield(e, nil)
	})
	return goOn, err
}

// watch is writer.watch for all logs, those too that begin later.
func (s *Store) watch() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchers[ch] = struct{}{}
	return ch, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, ch)
	}
}

// scan calls fn with the selected entries from p to the present end, and
// returns that end. goOn is false when fn wanted no more or an error stopped it.
func (w *writer) scan(ctx context.Context, p position, f Filter, fn func(Entry) bool) (end position, goOn bool, err error) {
	end = w.present()
	list, err := segments(w.dir)
	if err != nil {
		return p, false, err
	}
	worth := f.worth()
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
		goOn, err := readSegment(w.dir, from, end, worth, func(e Entry) bool {
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
// are not newer than the file's last change. A copied file is merely read in vain.
func (w *writer) endedBefore(n int, since time.Time) bool {
	if since.IsZero() {
		return false
	}
	info, err := os.Stat(segmentPath(w.dir, n))
	return err == nil && info.ModTime().Before(since)
}
