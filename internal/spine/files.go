package spine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

const (
	itemsDir     = "items" // of the spine's directory: a directory for each work queue
	segmentBytes = 2 << 20
	spareName    = "spare" // the segment that comes next, before it is used
	nowSuffix    = "-now"  // of the name of one that could not wait for that
)

// fileConfig is what a log in files is made of.
type fileConfig struct {
	dir  string
	name string // in messages
	next uint64 // number of a new log's first record
	room func(need int64) error
	log  *slog.Logger
}

// files is a log of records in segments. A write is one system call, which returns
// when the data is on disk. It is safe for concurrent use.
type files struct {
	fileConfig
	size int // of new segments

	mu       sync.Mutex
	closed   bool             // guarded by mu
	segments []*segment       // guarded by mu: at least one; the last is written to
	file     *os.File         // guarded by mu: of the last segment
	end      int              // guarded by mu: where the next record goes in it
	spoiled  int              // guarded by mu: bytes from there that a failed write may have left
	next     uint64           // guarded by mu: number of the next record
	ids      map[string]known // guarded by mu: of the last minutes
	recent   []string         // guarded by mu: keys of ids, oldest first
	buffer   []byte           // guarded by mu

	making sync.WaitGroup // of a spare
	spare  bool           // guarded by mu: it is there
	asked  bool           // guarded by mu: it is there or being made
}

// segment is what is known of a segment.
type segment struct {
	path    string
	first   uint64
	size    int
	offsets []int // of its records, from first on; -1 for one that is broken
}

// known is a record with an id.
type known struct {
	number uint64
	at     time.Time
}

// openFiles opens the log in a directory, which is made if need be. What a torn
// write left at its end is told of and removed.
func openFiles(cfg fileConfig) (*files, error) {
	l := &files{fileConfig: cfg, size: segmentBytes, ids: map[string]known{}, next: cfg.next}
	if err := l.open(); err != nil {
		return nil, errs.Newf(errs.Internal, "open work queue %s in %s: %w", l.name, l.dir, err)
	}
	return l, nil
}

func (l *files) open() error {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	if err := errors.Join(syncDir(filepath.Dir(l.dir)), syncDir(filepath.Dir(filepath.Dir(l.dir)))); err != nil {
		return err
	}
	names, firsts, err := segmentNames(l.dir)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range []string{spareName, spareName + nowSuffix} {
		if err := os.Remove(filepath.Join(l.dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	for i, name := range names {
		if err := l.load(filepath.Join(l.dir, name), firsts[i], i == len(names)-1); err != nil {
			return err
		}
	}
	if len(names) == 0 {
		return l.roll(0)
	}
	last := l.segments[len(l.segments)-1]
	l.file, err = openSegment(last.path)
	return err
}

// load reads a segment. mu is held.
func (l *files) load(path string, first uint64, last bool) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	s := &segment{path: path, first: first, size: len(b)}
	l.next = max(l.next, first)
	end, broken, err := scan(b, l.next, func(at int, f frame) error {
		for n := s.first + uint64(len(s.offsets)); n < f.number; n++ {
			s.offsets = append(s.offsets, -1)
		}
		s.offsets = append(s.offsets, at)
		l.next = f.number + 1
		l.remember(string(f.id), f.number, f.at)
		return nil
	})
	if err != nil {
		return err
	}
	l.segments = append(l.segments, s)
	if broken > 0 {
		l.log.Error("records of a work queue are broken and lost", "queue", l.name, "file", path, "records", broken)
	}
	if zeros(b[end:]) {
		l.end = end
		return nil
	}
	l.log.Warn("the end of a work queue's log is torn: what was being written when the node or its machine died, or was damaged since, is left out",
		"queue", l.name, "file", path, "offset", end)
	l.end = end
	if !last {
		return nil
	}
	return l.clear(s, b[:end])
}

// clear makes a segment anew of its whole records. mu is held.
func (l *files) clear(s *segment, whole []byte) error {
	fresh := filepath.Join(l.dir, spareName)
	s.size = max(l.size, len(whole))
	b := make([]byte, s.size)
	copy(b, whole)
	if err := makeSegment(fresh, b); err != nil {
		return err
	}
	if err := os.Rename(fresh, s.path); err != nil {
		return err
	}
	return syncDir(l.dir)
}

// remember notes a record's id. mu is held.
func (l *files) remember(id string, number uint64, at time.Time) {
	if id == "" {
		return
	}
	l.ids[id] = known{number, at}
	l.recent = append(l.recent, id)
}

// forget drops ids that are old enough. mu is held.
func (l *files) forget(now time.Time) {
	n := 0
	for n < len(l.recent) && now.Sub(l.ids[l.recent[n]].at) > duplicateWindow {
		delete(l.ids, l.recent[n])
		n++
	}
	l.recent = l.recent[n:]
}

func (l *files) appendAll(_ context.Context, all []*entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fresh, err := l.write(all)
	for _, e := range fresh {
		e.err = err
	}
	if err != nil {
		for _, e := range all { // a repeat of one that is not there
			if e.repeat && e.number >= l.next {
				e.err = err
			}
		}
	}
}

// write stores those of the records that are no repeats. mu is held.
func (l *files) write(all []*entry) (fresh []*entry, err error) {
	now := time.Now()
	l.forget(now)
	number := l.next
	size := 0
	same := map[string]uint64(nil) // ids of this write
	for _, e := range all {
		if e.id != "" {
			k, old := l.ids[e.id]
			n, own := same[e.id]
			if e.repeat = old || own; e.repeat {
				e.number = max(k.number, n)
				continue
			}
			if same == nil {
				same = map[string]uint64{}
			}
			same[e.id] = number
		}
		e.number = number
		number++
		size += frameSize(e)
		fresh = append(fresh, e)
	}
	if len(fresh) == 0 {
		return nil, nil
	}
	if err := l.ready(size); err != nil {
		return fresh, err
	}
	l.buffer = l.buffer[:0]
	for _, e := range fresh {
		l.buffer = appendFrame(l.buffer, e.number, now, e)
	}
	if _, err := l.file.WriteAt(l.buffer, int64(l.end)); err != nil {
		l.spoiled = max(l.spoiled, size)
		return fresh, l.failed(err)
	}
	s := l.segments[len(l.segments)-1]
	for _, e := range fresh {
		s.offsets = append(s.offsets, l.end)
		l.end += frameSize(e)
		l.remember(e.id, e.number, now)
	}
	l.next = number
	if cap(l.buffer) > segmentBytes {
		l.buffer = nil
	}
	if !l.asked && l.end > s.size/2 {
		l.asked = true
		l.making.Go(l.makeSpare)
	}
	return fresh, nil
}

func (l *files) failed(err error) error {
	return &errs.Error{Kind: errs.Unavailable, Message: "store items of work queue " + l.name, Err: err}
}

// ready sees to it that so many bytes can be written at the end. mu is held.
func (l *files) ready(size int) error {
	if l.closed {
		return l.failed(os.ErrClosed)
	}
	if err := l.room(reserve); err != nil {
		return err
	}
	s := l.segments[len(l.segments)-1]
	if l.spoiled > 0 { // what would look like a record must not stay behind a shorter one
		if _, err := l.file.WriteAt(make([]byte, min(l.spoiled, s.size-l.end)), int64(l.end)); err != nil {
			return l.failed(err)
		}
		l.spoiled = 0
	}
	if l.end+size <= s.size {
		return nil
	}
	if err := l.roll(size); err != nil {
		return l.failed(err)
	}
	return nil
}

// roll begins a segment with room for so many bytes. mu is held.
func (l *files) roll(size int) error {
	s := &segment{path: filepath.Join(l.dir, segmentName(l.next)), first: l.next, size: max(l.size, size)}
	spare := filepath.Join(l.dir, spareName)
	if l.asked && !l.spare || size > l.size { // one is being made still, or is too small
		spare += nowSuffix
	}
	if !l.spare || size > l.size {
		if err := makeSegment(spare, make([]byte, s.size)); err != nil {
			return err
		}
	} else {
		l.spare, l.asked = false, false
	}
	if err := os.Rename(spare, s.path); err != nil {
		return err
	}
	if err := syncDir(l.dir); err != nil {
		return err
	}
	f, err := openSegment(s.path)
	if err != nil {
		return err
	}
	if l.file != nil {
		l.file.Close() // all that was written is on disk
	}
	l.file, l.end = f, 0
	if n := len(l.segments); n > 0 && len(l.segments[n-1].offsets) == 0 { // its name is the new one's
		l.segments = l.segments[:n-1]
	}
	l.segments = append(l.segments, s)
	return nil
}

// makeSpare makes the next segment ahead.
func (l *files) makeSpare() {
	err := makeSegment(filepath.Join(l.dir, spareName), make([]byte, l.size))
	l.mu.Lock()
	defer l.mu.Unlock()
	// If it failed, whoever needs the segment makes it, and is told.
	l.spare, l.asked = err == nil, err == nil
}

func (l *files) Body(_ context.Context, number uint64) ([]byte, error) {
	l.mu.Lock()
	path, at, end := l.find(number)
	l.mu.Unlock()
	gone := errs.Newf(errs.NotFound, "work queue %s has no record %d", l.name, number)
	if path == "" {
		return nil, gone
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, gone
	}
	if err != nil {
		return nil, l.failed(err)
	}
	defer f.Close()
	b := make([]byte, end-at)
	if n, err := f.ReadAt(b, int64(at)); n < frameHead {
		return nil, errs.Newf(errs.NotFound, "record %d of work queue %s can't be read: %w", number, l.name, err)
	}
	r, ok := parseFrame(b)
	if !ok || r.number != number {
		return nil, errs.Newf(errs.NotFound, "record %d of work queue %s is broken", number, l.name)
	}
	return r.body, nil
}

// find returns where a record is, and an offset at which it has ended. mu is held.
func (l *files) find(number uint64) (path string, at, end int) {
	for i, s := range l.segments {
		n := number - s.first
		if number < s.first || n >= uint64(len(s.offsets)) || s.offsets[n] < 0 {
			continue
		}
		end := s.size
		if i == len(l.segments)-1 {
			end = l.end
		}
		for _, next := range s.offsets[n+1:] {
			if next >= 0 {
				end = next
				break
			}
		}
		return s.path, s.offsets[n], end
	}
	return "", 0, 0
}

func (l *files) removeBefore(_ context.Context, number uint64) (uint64, error) {
	if err := l.room(deleteReserve); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, l.failed(os.ErrClosed)
	}
	if number >= l.next && l.end > l.segments[len(l.segments)-1].size/2 { // so that an idle queue is empty
		if err := l.roll(0); err != nil {
			return 0, l.failed(err)
		}
	}
	before := len(l.segments)
	for len(l.segments) > 1 && l.segments[1].first <= number {
		if err := os.Remove(l.segments[0].path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return 0, fmt.Errorf("remove records of work queue %s: %w", l.name, err)
		}
		l.segments = l.segments[1:]
	}
	if len(l.segments) == before {
		return min(l.segments[0].first, number), nil
	}
	// Before others forget what became of the removed, they must not come again.
	if err := syncDir(l.dir); err != nil {
		return 0, fmt.Errorf("remove records of work queue %s: %w", l.name, err)
	}
	return min(l.segments[0].first, number), nil
}

func (l *files) headsAfter(_ context.Context, after uint64, fn func(number uint64, head string) error) error {
	l.mu.Lock()
	all := append([]*segment(nil), l.segments...)
	next := l.next
	l.mu.Unlock()
	for i, s := range all {
		if i+1 < len(all) && all[i+1].first <= after+1 {
			continue
		}
		b, err := os.ReadFile(s.path)
		if err != nil {
			return fmt.Errorf("read work queue %s: %w", l.name, err)
		}
		_, _, err = scan(b, s.first, func(_ int, f frame) error {
			if f.number <= after || f.number >= next {
				return nil
			}
			return fn(f.number, string(f.head))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *files) bounds(context.Context) (first, last uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.segments[0].first, l.next - 1, nil
}

// bytes returns how much the log takes on the disk.
func (l *files) bytes() (n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segments {
		n += uint64(s.size)
	}
	return n
}

// close lets go of the files. Writes fail after that.
func (l *files) close() {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		l.file.Close() // all that was written is on disk
	}
	l.mu.Unlock()
	l.making.Wait()
}
