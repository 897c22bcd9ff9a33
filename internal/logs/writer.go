package logs

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// gather is how long entries are collected before they are written together: a
// write for each line would cost a busy node a tenth of its time. It is also
// what a node that is killed can lose.
const gather = 2 * time.Millisecond

// idleClose is how long the file of a quiet function stays open.
const idleClose = 10 * time.Second

// writer appends to one function's log. Where each entry goes is decided when
// it is appended, so that a reader can be given an exact end; a goroutine that
// lives only while there is something to write brings it to the file.
type writer struct {
	dir string
	cfg Config
	log *slog.Logger

	mu       sync.Mutex
	calm     sync.Cond                  // on mu: chunks were written
	end      position                   // guarded by mu; of what was appended
	written  position                   // guarded by mu; of what readers can see
	chunks   []*chunk                   // guarded by mu; appended, not yet taken to be written
	buffered int                        // guarded by mu; bytes in memory
	draining bool                       // guarded by mu; the goroutine lives
	lost     int                        // guarded by mu; entries that could not be written
	closed   bool                       // guarded by mu
	watchers map[chan struct{}]struct{} // guarded by mu; told when written moves

	file   *os.File      // owned by drain, or by who holds mu while draining is false
	number int           // of file; owned likewise
	sizes  map[int]int64 // of the segments on disk; owned likewise
	idle   *time.Timer   // guarded by mu
}

// chunk is a run of whole lines for one segment.
type chunk struct {
	at      position
	data    bytes.Buffer
	entries int
}

func openWriter(dir string, cfg Config, log *slog.Logger) (*writer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	w := &writer{dir: dir, cfg: cfg, log: log, sizes: map[int]int64{}, watchers: map[chan struct{}]struct{}{}}
	w.calm.L = &w.mu
	list, err := segments(dir)
	if err != nil {
		return nil, err
	}
	w.end.segment = 1
	for _, n := range list {
		info, err := os.Stat(segmentPath(dir, n))
		if err != nil {
			return nil, err
		}
		w.sizes[n] = info.Size()
		w.end = position{segment: n, offset: info.Size()}
	}
	if err := w.mend(); err != nil {
		return nil, err
	}
	w.written = w.end
	return w, nil
}

// mend cuts off a line that a crash tore.
func (w *writer) mend() error {
	f, err := os.OpenFile(segmentPath(w.dir, w.end.segment), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := wholeLines(f)
	if err != nil {
		return err
	}
	w.end.offset, w.sizes[w.end.segment] = size, size
	return f.Truncate(size)
}

func (w *writer) append(entries []Entry) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range entries {
		for w.buffered >= maxBuffered && !w.closed {
			w.calm.Wait()
		}
		if w.closed {
			return errs.Newf(errs.Unavailable, "the node is stopping; logs are closed")
		}
		if e.Time.IsZero() {
			e.Time = time.Now()
		}
		w.place(e)
	}
	return nil
}

// place puts an entry into the chunk for the log's end. The caller holds mu.
func (w *writer) place(e Entry) {
	if w.end.offset >= w.cfg.SegmentBytes {
		w.end = position{segment: w.end.segment + 1}
	}
	var c *chunk
	if n := len(w.chunks); n > 0 && w.chunks[n-1].at.segment == w.end.segment {
		c = w.chunks[n-1]
	} else {
		c = &chunk{at: w.end}
		w.chunks = append(w.chunks, c)
	}
	before := c.data.Len()
	appendEntry(&c.data, e)
	size := c.data.Len() - before
	c.entries++
	w.end.offset += int64(size)
	w.buffered += size
	if !w.draining {
		w.draining = true
		if w.idle != nil {
			w.idle.Stop()
		}
		go w.drain()
	}
}

// drain writes until nothing is left, what came within gather at once.
func (w *writer) drain() {
	for {
		time.Sleep(gather)
		w.mu.Lock()
		chunks := w.chunks
		w.chunks = nil
		if len(chunks) == 0 {
			w.draining = false
			w.calm.Broadcast()
			w.rest()
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
		for _, c := range chunks {
			w.finish(c, w.write(c))
		}
	}
}

// finish accounts for a chunk that was written or lost.
func (w *writer) finish(c *chunk, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	size := c.data.Len()
	w.buffered -= size
	w.written = position{segment: c.at.segment, offset: c.at.offset + int64(size)}
	w.calm.Broadcast()
	for ch := range w.watchers {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
	switch {
	case err != nil:
		if w.lost == 0 {
			w.log.Error("log lines are lost", "err", err)
		}
		w.lost += c.entries
	case w.lost > 0:
		n := w.lost
		w.lost = 0
		w.place(Entry{
			Time: time.Now(), Stream: Platform,
			Text: fmt.Sprintf("%d log lines could not be written and are lost", n),
		})
	}
}

// rest closes the file if nothing comes for a while. The caller holds mu, and
// drain has ended.
func (w *writer) rest() {
	if w.closed {
		return
	}
	if w.idle == nil {
		w.idle = time.AfterFunc(idleClose, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			if !w.draining && w.file != nil {
				w.file.Close()
				w.file = nil
			}
		})
		return
	}
	w.idle.Reset(idleClose)
}

// write brings a chunk to its place. Writing at an offset, and not at the file's
// end, keeps later chunks in their place after a failure.
func (w *writer) write(c *chunk) error {
	if w.file != nil && w.number != c.at.segment {
		err := w.file.Close()
		w.file = nil
		if err != nil {
			return err
		}
	}
	if w.file == nil {
		f, err := os.OpenFile(segmentPath(w.dir, c.at.segment), os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		w.file, w.number = f, c.at.segment
	}
	if _, err := w.file.WriteAt(c.data.Bytes(), c.at.offset); err != nil {
		return errors.Join(err, w.file.Truncate(c.at.offset)) // no half line
	}
	_, known := w.sizes[c.at.segment]
	w.sizes[c.at.segment] = c.at.offset + int64(c.data.Len())
	if !known {
		return w.retain()
	}
	return nil
}

// retain removes the oldest segments until the rest, with a full newest one, is
// within the budget.
func (w *writer) retain() error {
	total := w.cfg.SegmentBytes
	oldest := w.number
	for n, size := range w.sizes {
		if n != w.number {
			total += size
			oldest = min(oldest, n)
		}
	}
	for ; total > w.cfg.FunctionBytes && oldest < w.number; oldest++ {
		size, ok := w.sizes[oldest]
		if !ok {
			continue
		}
		if err := os.Remove(segmentPath(w.dir, oldest)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove an old segment: %w", err)
		}
		delete(w.sizes, oldest)
		total -= size
	}
	return nil
}

// settled waits until all that was appended can be read, and returns its end.
func (w *writer) settled() position {
	w.mu.Lock()
	defer w.mu.Unlock()
	goal := w.end
	for w.written.before(goal) {
		w.calm.Wait()
	}
	return goal
}

// watch returns a channel that gets a token whenever more can be read, and what
// ends that.
func (w *writer) watch() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watchers[ch] = struct{}{}
	return ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.watchers, ch)
	}
}

func (w *writer) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.calm.Broadcast()
	for w.draining {
		w.calm.Wait()
	}
	if w.idle != nil {
		w.idle.Stop()
	}
	if w.file == nil {
		return nil
	}
	err := w.file.Close()
	w.file = nil
	return err
}
