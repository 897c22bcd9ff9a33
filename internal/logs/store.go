// Package logs keeps what functions write, one log per function, and composes
// the lines that a platform adds around each call.
//
// A log is a folder of segments, files of one JSON entry a line that are only
// appended to. What Append took is handed to the operating system within 2 ms, so
// it survives the end of the node, though not a power cut.
package logs

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Entry is one line of a log.
type Entry struct {
	Time      time.Time `json:"time"` // when the line was written
	RequestID string    `json:"requestId,omitempty"`
	Instance  string    `json:"instance,omitempty"`
	Stream    string    `json:"stream,omitempty"` // Output or Platform
	Text      string    `json:"text"`             // without its line end
}

// The streams of a log.
const (
	Output   = "output"   // written by the function's code
	Platform = "platform" // written by the node
)

// MaxText is the size in bytes over which an entry's text is cut into several
// entries.
const MaxText = 256 << 10

// Config says where logs are and how much disk they may use.
type Config struct {
	Dir           string // holds a folder for each function
	SegmentBytes  int64  // size from which a new segment is begun; 0 means 8 MiB
	FunctionBytes int64  // budget of one function, at least two segments; 0 means 64 MiB
}

const (
	defaultSegment  = 8 << 20
	defaultFunction = 64 << 20
	maxBuffered     = 1 << 20 // bytes of one function in memory before Append waits
)

// Store keeps the logs of all functions. Its methods may be called from any
// goroutine. A folder must belong to one Store at a time.
type Store struct {
	cfg Config
	log *slog.Logger

	mu     sync.Mutex
	open   map[string]*writer // guarded by mu
	closed bool               // guarded by mu
}

// Open returns the store in cfg.Dir, which it makes if it is missing.
func Open(cfg Config, log *slog.Logger) (*Store, error) {
	if cfg.SegmentBytes == 0 {
		cfg.SegmentBytes = defaultSegment
	}
	if cfg.FunctionBytes == 0 {
		cfg.FunctionBytes = max(defaultFunction, 2*cfg.SegmentBytes)
	}
	if cfg.SegmentBytes < 0 || cfg.FunctionBytes < 2*cfg.SegmentBytes {
		return nil, errs.Newf(errs.Invalid, "a log budget of %d bytes does not hold two segments of %d", cfg.FunctionBytes, cfg.SegmentBytes)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open logs: %w", err)
	}
	return &Store{cfg: cfg, log: log, open: map[string]*writer{}}, nil
}

// Append adds entries to a function's log, in their order. It returns when they
// are on their way to the file, usually at once; when the disk can't keep up it
// waits, and only writers of the same function wait with it. An entry without a
// time gets the present one. A disk that refuses to write costs entries, never
// the function: the log says then how many were lost.
func (s *Store) Append(function string, entries ...Entry) error {
	w, err := s.writer(function, true)
	if err != nil {
		return err
	}
	return w.append(entries)
}

// Close writes out what was appended. The store takes no entries after it.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	open := s.open
	s.mu.Unlock()
	var all error
	for _, w := range open {
		all = errors.Join(all, w.close())
	}
	return all
}

// writer returns the function's writer, or nil if it has no log and create is
// not set.
func (s *Store) writer(function string, create bool) (*writer, error) {
	if !validName(function) {
		return nil, errs.Newf(errs.Invalid, "%q is not the name of a function", function)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.open[function]; w != nil {
		return w, nil
	}
	if s.closed {
		return nil, errs.Newf(errs.Unavailable, "the node is stopping; logs are closed")
	}
	dir := filepath.Join(s.cfg.Dir, function)
	if !create {
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
	}
	w, err := openWriter(dir, s.cfg, s.log.With("function", function))
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", function, err)
	}
	s.open[function] = w
	return w, nil
}

// validName reports whether a name can be a folder's without reaching any other
// place. Names of functions are narrower still.
func validName(s string) bool {
	if len(s) == 0 || len(s) > 140 {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}
