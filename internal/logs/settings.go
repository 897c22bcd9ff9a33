package logs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Settings is what an owner chooses for a log. The zero Settings is that of a log
// nobody has said anything about.
type Settings struct {
	Name          string               `json:"name,omitempty"`          // of a log that is no function's: what its owner calls it
	Created       time.Time            `json:"created,omitzero"`        // when somebody asked for it
	RetentionDays int                  `json:"retentionDays,omitempty"` // 0 keeps lines until the budget needs room
	Tags          map[string]string    `json:"tags,omitempty"`
	Streams       map[string]time.Time `json:"streams,omitempty"` // made by somebody, before there were lines
}

func (s Settings) clone() Settings {
	s.Tags, s.Streams = maps.Clone(s.Tags), maps.Clone(s.Streams)
	return s
}

const settingsFile = "settings.json"

func readSettings(dir string) (s Settings, err error) {
	b, err := os.ReadFile(filepath.Join(dir, settingsFile))
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("read %s: %w", settingsFile, err)
	}
	return s, nil
}

// Change edits the settings of a log, which is made if there is none. edit may
// refuse with an error, which Change returns.
func (s *Store) Change(log string, edit func(*Settings) error) error {
	w, err := s.writer(log, true)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	next := w.settings.clone()
	if err := edit(&next); err != nil {
		return err
	}
	b, err := json.Marshal(next)
	if err != nil {
		return err
	}
	file := filepath.Join(w.dir, settingsFile)
	if err := os.WriteFile(file+".new", b, 0o600); err != nil {
		return fmt.Errorf("write the settings of log %s: %w", log, err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("write the settings of log %s: %w", log, err)
	}
	w.settings = next
	return nil
}

// Log describes a log.
type Log struct {
	Name     string // name in the store: the function's, mostly
	Bytes    int64  // on disk
	Settings Settings
}

// Get describes one log; false if there is none.
func (s *Store) Get(log string) (Log, bool, error) {
	w, err := s.writer(log, false)
	if err != nil || w == nil {
		return Log{}, false, err
	}
	i := w.info(log)
	return i, i.there(), nil
}

// there reports whether anything is known of a log.
func (i *Log) there() bool {
	return i.Bytes > 0 || !i.Settings.Created.IsZero() || i.Settings.RetentionDays > 0 || len(i.Settings.Tags) > 0
}

// List describes all logs, in the order of their names.
func (s *Store) List() ([]Log, error) {
	names, err := s.names()
	if err != nil {
		return nil, err
	}
	var list []Log
	for _, name := range names {
		i, ok, err := s.Get(name)
		if err != nil {
			return nil, err
		}
		if ok {
			list = append(list, i)
		}
	}
	return list, nil
}

func (w *writer) info(log string) Log {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := Log{Name: log, Bytes: w.end.offset, Settings: w.settings.clone()}
	for n, size := range w.sizes {
		if n != w.end.segment {
			i.Bytes += size
		}
	}
	return i
}

// Remove removes all lines of a log, and its settings. Who follows it sees what
// is written next.
func (s *Store) Remove(log string) error {
	w, err := s.writer(log, false)
	if err != nil || w == nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.window.close(w.end.offset); err != nil {
		return err
	}
	for n := range maps.Clone(w.sizes) {
		if err := w.remove(n); err != nil {
			return err
		}
	}
	w.end = position{segment: w.end.segment + 1}
	w.settings = Settings{}
	if err := os.Remove(filepath.Join(w.dir, settingsFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// expireEvery is how often lines are looked at that may be too old.
const expireEvery = 5 * time.Minute

// Run removes lines that are older than their log keeps them, and the oldest of
// all while logs take more than their budget, until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(expireEvery)
	defer tick.Stop()
	for {
		if err := s.expire(time.Now()); err != nil {
			s.log.Warn("old log lines could not be removed", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// old is a segment that could be removed.
type old struct {
	w       *writer
	number  int
	size    int64
	changed time.Time
}

// expire removes segments: those whose last line is too old, and the oldest ones
// over the budget.
func (s *Store) expire(now time.Time) error {
	names, err := s.names()
	if err != nil {
		return err
	}
	var total int64
	var left []old
	for _, name := range names {
		w, err := s.writer(name, false)
		if err != nil {
			return err
		}
		if w == nil {
			continue
		}
		olds, bytes, err := w.expire(now)
		if err != nil {
			return err
		}
		left, total = append(left, olds...), total+bytes
	}
	slices.SortFunc(left, func(a, b old) int { return a.changed.Compare(b.changed) })
	for _, o := range left {
		if total <= s.cfg.TotalBytes {
			return nil
		}
		o.w.mu.Lock()
		err := o.w.remove(o.number)
		o.w.mu.Unlock()
		if err != nil {
			return err
		}
		total -= o.size
	}
	return nil
}

// expire removes what is older than the log keeps, and returns what could go
// besides and how many bytes the log has.
func (w *writer) expire(now time.Time) (left []old, bytes int64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	oldest := time.Time{}
	if d := w.settings.RetentionDays; d > 0 {
		oldest = now.Add(-time.Duration(d) * 24 * time.Hour)
	}
	for _, n := range slices.Sorted(maps.Keys(w.sizes)) {
		info, err := os.Stat(segmentPath(w.dir, n))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		newest := n == w.end.segment
		if info.ModTime().Before(oldest) && (!newest || w.used.Before(oldest)) {
			if newest { // the next line begins another
				if err := w.window.close(w.end.offset); err != nil {
					return nil, 0, err
				}
				w.end = position{segment: n + 1}
			}
			if err := w.remove(n); err != nil {
				return nil, 0, err
			}
			continue
		}
		if newest {
			bytes += w.end.offset
			continue
		}
		bytes += w.sizes[n]
		left = append(left, old{w, n, w.sizes[n], info.ModTime()})
	}
	return left, bytes, nil
}
