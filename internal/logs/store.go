// Package logs keeps what functions write, one log per function, and composes
// the lines that a platform adds around each call.
//
// A log is a folder of segments, files of one JSON entry a line that are only
// appended to. What Append took is in the file's memory when it returns, which
// belongs to the operating system: it survives the end of the node, though not a
// power cut.
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
	Function  string    `json:"function,omitempty"` // whose log it is in; set by FollowAll only
	Time      time.Time `json:"time"`               // when the line was written
	RequestID string    `json:"requestId,omitempty"`
	Instance  string    `json:"instance,omitempty"`
	Version   string    `json:"version,omitempty"` // of the function; "" for a line that comes from elsewhere
	Stream    string    `json:"stream,omitempty"`  // Output or Platform
	Text      string    `json:"text"`              // without its line end
	Record    string    `json:"-"`                 // of the last line of a call: its metering record, as JSON
}

// The streams of a log.
const (
	Output   = "output"   // written by the function's code
	Platform = "platform" // written by the node
)

// MaxText is the size in bytes over which an entry's text is cut into several
// entries.
const MaxText = 256 << 10

// Config says where logs are and how much they may use. Zeros mean the defaults.
type Config struct {
	Dir           string // holds a folder for each function
	SegmentBytes  int64  // size from which a new segment is begun; 8 MiB
	FunctionBytes int64  // budget of one function, at least two segments; 64 MiB
	TotalBytes    int64  // budget of all together; 4 GiB
	KeepFree      int64  // bytes of the disk that logs leave free; 32 MiB
	FloodRate     int64  // bytes a second that the code of one function may write for long; 4 MiB
	FloodBurst    int64  // bytes that it may write at once before; 16 MiB

	// Wrote, if set, is told of each line of Output that is kept, in order. It
	// must not wait, nor write a log.
	Wrote func(function, text string)
}

const (
	defaultSegment  = 8 << 20
	defaultFunction = 64 << 20
	defaultTotal    = 4 << 30
	defaultKeepFree = 32 << 20
	defaultRate     = 4 << 20
	defaultBurst    = 16 << 20
)

// Store keeps the logs of all functions. Its methods may be called from any
// goroutine. A folder must belong to one Store at a time.
type Store struct {
	cfg Config
	log *slog.Logger

	mu       sync.Mutex
	open     map[string]*writer         // guarded by mu
	closed   bool                       // guarded by mu
	watchers map[chan struct{}]struct{} // guarded by mu; told of every line, and of every new log
}

// Open returns the store in cfg.Dir, which it makes if it is missing.
func Open(cfg Config, log *slog.Logger) (*Store, error) {
	fill(&cfg.SegmentBytes, defaultSegment)
	fill(&cfg.FunctionBytes, max(defaultFunction, 2*cfg.SegmentBytes))
	fill(&cfg.TotalBytes, max(defaultTotal, cfg.FunctionBytes))
	fill(&cfg.KeepFree, defaultKeepFree)
	fill(&cfg.FloodRate, defaultRate)
	fill(&cfg.FloodBurst, max(defaultBurst, cfg.FloodRate))
	if cfg.SegmentBytes < 0 || cfg.FunctionBytes < 2*cfg.SegmentBytes {
		return nil, errs.Newf(errs.Invalid, "a log budget of %d bytes does not hold two segments of %d", cfg.FunctionBytes, cfg.SegmentBytes)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open logs: %w", err)
	}
	return &Store{cfg: cfg, log: log, open: map[string]*writer{}, watchers: map[chan struct{}]struct{}{}}, nil
}

// fill sets *to unless it is set.
func fill(to *int64, v int64) {
	if *to == 0 {
		*to = v
	}
}

// Append adds entries to a function's log, in their order; when it returns they
// outlive the node. An entry without a time gets the present one. What code
// writes above the flood limit is left out, and a disk that refuses to write
// costs entries, never the function: the log says then how many are missing.
func (s *Store) Append(function string, entries ...Entry) error {
	return s.appendWith(function, func(w *writer) error { return w.append(entries) })
}

// AppendLines is Append of an entry for each text, all like one, which has a time.
func (s *Store) AppendLines(function string, like Entry, texts []string) error {
	if len(texts) == 0 {
		return nil
	}
	return s.appendWith(function, func(w *writer) error { return w.appendLines(like, texts) })
}

func (s *Store) appendWith(function string, add func(*writer) error) error {
	w, err := s.writer(function, true)
	if err != nil {
		return err
	}
	if err := add(w); err != nil {
		return err
	}
	s.tell()
	return nil
}

// tell wakes those who follow several logs.
func (s *Store) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ch := range s.watchers {
		wake(ch)
	}
}

func wake(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Close lets go of all files. The store takes no entries after it.
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
	w, err := openWriter(dir, function, s.cfg, s.log.With("function", function))
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", function, err)
	}
	s.open[function] = w
	for ch := range s.watchers {
		wake(ch)
	}
	return w, nil
}

// names returns the logs that there are, in order.
func (s *Store) names() ([]string, error) {
	files, err := os.ReadDir(s.cfg.Dir) // sorted
	if err != nil {
		return nil, fmt.Errorf("list logs: %w", err)
	}
	var list []string
	for _, f := range files {
		if f.IsDir() && validName(f.Name()) {
			list = append(list, f.Name())
		}
	}
	return list, nil
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
