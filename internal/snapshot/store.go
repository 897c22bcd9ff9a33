// Package snapshot keeps what initialised sandboxes were saved as, on disk, so
// that later cold starts restore a copy. A snapshot holds a function's memory,
// so the files are for the node's user alone.
package snapshot

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

const (
	suffix    = ".state"
	tmpPrefix = "tmp-"

	// touchEvery is how often a snapshot's time of use is written down.
	touchEvery = time.Minute
)

// Key names a snapshot. A change in any of its parts makes another one.
type Key struct {
	Fingerprint string   // of the version, which a snapshot becomes obsolete with
	Parts       []string // what else it depends on, in any words
}

func (k Key) name() string {
	h := sha256.New()
	for _, p := range k.Parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return k.Fingerprint + "-" + hex.EncodeToString(h.Sum(nil)[:12]) + suffix
}

// Config is what a Store is made of.
type Config struct {
	Dir      string // the Store has it for itself; made if it is missing
	MaxBytes int64  // budget on disk; what was not used for longest goes first
	Log      *slog.Logger
}

// Store keeps snapshots. Its methods are safe for concurrent use.
type Store struct {
	cfg Config

	mu    sync.Mutex
	files map[string]*file // by name; guarded by mu
	bytes int64            // of all files; guarded by mu
}

type file struct {
	size    int64
	used    time.Time
	touched time.Time // used, as far as it is on disk
}

// Open returns the store in cfg.Dir and removes what was being written when an
// earlier one ended.
func Open(cfg Config) (*Store, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open snapshot store: %w", err)
	}
	entries, err := os.ReadDir(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open snapshot store: %w", err)
	}
	s := &Store{cfg: cfg, files: map[string]*file{}}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tmpPrefix) {
			if err := os.Remove(s.path(e.Name())); err != nil {
				return nil, fmt.Errorf("sweep snapshot store: %w", err)
			}
			continue
		}
		info, err := e.Info()
		if err != nil || !strings.HasSuffix(e.Name(), suffix) {
			continue
		}
		s.files[e.Name()] = &file{size: info.Size(), used: info.ModTime(), touched: info.ModTime()}
		s.bytes += info.Size()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.evict("")
	return s, nil
}

func (s *Store) path(name string) string { return filepath.Join(s.cfg.Dir, name) }

// Has reports whether there is a snapshot.
func (s *Store) Has(k Key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[k.name()] != nil
}

// Holds reports whether there is any snapshot with a fingerprint.
func (s *Store) Holds(fingerprint string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.files {
		if strings.HasPrefix(name, fingerprint+"-") {
			return true
		}
	}
	return false
}

// Get opens a snapshot; the caller closes it. It may be evicted meanwhile: the
// open file stays whole. Without one the error is of kind errs.NotFound.
func (s *Store) Get(k Key) (*os.File, error) {
	name := k.name()
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.files[name]
	if have == nil {
		return nil, errs.Newf(errs.NotFound, "there is no snapshot of %s", k.Fingerprint)
	}
	f, err := os.Open(s.path(name))
	if err != nil {
		s.remove(name) // someone took it away
		return nil, &errs.Error{Kind: errs.NotFound, Message: "the snapshot of " + k.Fingerprint + " is gone", Err: err}
	}
	have.used = time.Now()
	if have.used.Sub(have.touched) > touchEvery {
		s.touch(name)
	}
	return f, nil
}

// touch writes a snapshot's time of use down. The caller holds mu.
func (s *Store) touch(name string) {
	f := s.files[name]
	f.touched = f.used
	if err := os.Chtimes(s.path(name), time.Time{}, f.used); err != nil {
		s.cfg.Log.Warn("a snapshot's time of use was not written down", "err", err)
	}
}

// Put keeps what save writes to the file that it is given, in place of other
// snapshots with k's Fingerprint. A snapshot is there whole or not at all, also
// after a power cut. It fails with errs.TooLarge when it exceeds the budget.
func (s *Store) Put(k Key, save func(*os.File) error) error {
	f, err := os.CreateTemp(s.cfg.Dir, tmpPrefix+"*")
	if err != nil {
		return fmt.Errorf("keep snapshot: %w", err)
	}
	defer os.Remove(f.Name()) // gone when it was renamed
	err = save(f)
	if err == nil {
		err = f.Sync()
	}
	info, statErr := f.Stat()
	if err = errors.Join(err, statErr, f.Close()); err != nil {
		return fmt.Errorf("keep snapshot: %w", err)
	}
	if info.Size() > s.cfg.MaxBytes {
		return errs.Newf(errs.TooLarge, "the snapshot has %d bytes, more than all snapshots of this node may have together (%d)", info.Size(), s.cfg.MaxBytes)
	}
	name := k.name()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, old := range s.of(k.Fingerprint) {
		s.remove(old)
	}
	if err := os.Rename(f.Name(), s.path(name)); err != nil {
		return fmt.Errorf("keep snapshot: %w", err)
	}
	s.files[name] = &file{size: info.Size(), used: time.Now()}
	s.touch(name)
	s.bytes += info.Size()
	s.evict(name)
	return nil
}

// Drop removes the snapshots of a fingerprint, if there are any.
func (s *Store) Drop(fingerprint string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range s.of(fingerprint) {
		s.remove(name)
	}
}

// Usage returns how many snapshots there are, and their bytes.
func (s *Store) Usage() (n int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.files), s.bytes
}

// of returns the names of a fingerprint's snapshots. The caller holds mu.
func (s *Store) of(fingerprint string) (names []string) {
	for name := range s.files {
		if strings.HasPrefix(name, fingerprint+"-") {
			names = append(names, name)
		}
	}
	return names
}

// evict removes what was not used for longest until the rest fits the budget,
// but not the one named. The caller holds mu.
func (s *Store) evict(but string) {
	if s.bytes <= s.cfg.MaxBytes {
		return
	}
	names := make([]string, 0, len(s.files))
	for name := range s.files {
		if name != but {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(s.files[a].used.Compare(s.files[b].used), cmp.Compare(a, b))
	})
	for _, name := range names {
		if s.bytes <= s.cfg.MaxBytes {
			return
		}
		s.remove(name)
	}
}

// remove takes a snapshot away. The caller holds mu.
func (s *Store) remove(name string) {
	if err := os.Remove(s.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.cfg.Log.Warn("a snapshot could not be removed", "err", err)
	}
	s.bytes -= s.files[name].size
	delete(s.files, name)
}
