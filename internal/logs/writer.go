package logs

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// idleClose is how long the file of a quiet function stays open.
const idleClose = 10 * time.Second

// writer appends to one function's log.
type writer struct {
	dir, function string
	cfg           Config
	log           *slog.Logger

	mu       sync.Mutex // guards what follows
	end      position   // of what was appended
	day      int        // of the newest segment's first entry, so that no segment holds two
	window   window     // onto the newest segment
	sizes    map[int]int64
	head     []byte // of the entry being written
	line     []byte // the entries being written
	held     int    // how many they are
	flood    flood
	lost     int // entries that could not be written
	settings Settings
	closed   bool
	watchers map[chan struct{}]struct{} // told when there is more
	used     time.Time                  // when something was written last
	idle     *time.Timer                // closes the window of a quiet log; nil while it is closed
}

func openWriter(dir, function string, cfg Config, log *slog.Logger) (*writer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	w := &writer{dir: dir, function: function, cfg: cfg, log: log, sizes: map[int]int64{}, watchers: map[chan struct{}]struct{}{}}
	w.flood.init(cfg.FloodRate, cfg.FloodBurst)
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
		w.day = dayOf(info.ModTime())
	}
	if w.settings, err = readSettings(dir); err != nil {
		return nil, err
	}
	return w, w.mend()
}

// mend cuts off what a crash left: a torn line, and room that was not used.
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
	torn, err := tornAfter(f, size)
	if err != nil {
		return err
	}
	if torn > 0 {
		w.log.Warn("the end of a log was torn and is cut off; the lines before it are whole", "file", f.Name(), "bytes", torn)
	}
	w.end.offset, w.sizes[w.end.segment] = size, size
	return f.Truncate(size)
}

func dayOf(t time.Time) int { return int(t.Unix() / (24 * 3600)) }

func (w *writer) append(entries []Entry) error {
	return w.appending(func(now time.Time) {
		for i := range entries {
			e := &entries[i]
			if e.Time.IsZero() {
				e.Time = now
			}
			w.head = appendHead(w.head[:0], e)
			w.add(e, e.Text, now)
			w.flush(e.Time)
		}
	})
}

// maxHeld is how many bytes of entries are written at once.
const maxHeld = windowBytes / 4

// appendLines appends an entry for each text, all like one.
func (w *writer) appendLines(like Entry, texts []string) error {
	return w.appending(func(now time.Time) {
		w.head = appendHead(w.head[:0], &like)
		for _, text := range texts {
			w.add(&like, text, now)
			if len(w.line) >= maxHeld {
				w.flush(like.Time)
			}
		}
		w.flush(like.Time)
	})
}

// appending runs do, which appends entries, and tells those who wait for them.
func (w *writer) appending(do func(now time.Time)) error {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return errs.Newf(errs.Unavailable, "the node is stopping; logs are closed")
	}
	do(now)
	w.stay(now)
	for ch := range w.watchers {
		wake(ch)
	}
	return nil
}

// add holds an entry until the next flush, unless it is over the limit of a flood.
// w.head is its head.
func (w *writer) add(e *Entry, text string, now time.Time) {
	if e.Stream == Output && !w.flood.admits(len(text), now) {
		return
	}
	if note := w.flood.note(now, e.Stream == Platform); note != "" {
		w.say(note, now)
	}
	w.line = appendText(w.line, w.head, text, e.Record)
	w.held++
	if w.cfg.Wrote != nil && e.Stream == Output {
		w.cfg.Wrote(w.function, text)
	}
}

// say holds an entry of the platform's own.
func (w *writer) say(text string, now time.Time) {
	w.line = appendEntry(w.line, &Entry{Time: now, Stream: Platform, Text: text})
	w.held++
}

// flush writes what is held, of one day, or counts it as lost.
func (w *writer) flush(at time.Time) {
	if w.held == 0 {
		return
	}
	err := w.write(dayOf(at))
	held := w.held
	w.line, w.held = w.line[:0], 0
	if err != nil {
		if w.lost == 0 {
			w.log.Error("log lines are lost", "err", err)
		}
		w.lost += held
		return
	}
	if w.lost == 0 {
		return
	}
	n := w.lost
	w.lost = 0
	now := time.Now()
	w.say(fmt.Sprintf("%d log lines could not be written and are lost", n), now)
	w.flush(now)
}

// write brings w.line to the log's end.
func (w *writer) write(day int) error {
	if w.end.offset >= w.cfg.SegmentBytes || w.end.offset > 0 && day > w.day {
		if err := w.window.close(w.end.offset); err != nil {
			return err
		}
		w.sizes[w.end.segment] = w.end.offset
		w.end = position{segment: w.end.segment + 1}
	}
	if w.end.offset == 0 {
		w.day = day
	}
	if !w.window.reaches(w.end.offset, len(w.line)) {
		if err := w.window.move(segmentPath(w.dir, w.end.segment), w.end.offset, len(w.line), w.cfg.SegmentBytes, w.cfg.KeepFree); err != nil {
			return err
		}
		if w.end.offset == 0 {
			w.sizes[w.end.segment] = 0
			if err := w.retain(); err != nil {
				return err
			}
		}
	}
	if err := w.window.write(w.end.offset, w.line); err != nil {
		return errors.Join(err, w.window.close(w.end.offset))
	}
	w.end.offset += int64(len(w.line))
	return nil
}

// stay keeps the window open for a while after this.
func (w *writer) stay(now time.Time) {
	w.used = now
	if w.idle == nil && w.window.file != nil {
		w.idle = time.AfterFunc(idleClose, w.rest)
	}
}

// rest closes the window of a log that has been quiet.
func (w *writer) rest() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.idle == nil {
		return
	}
	if left := idleClose - time.Since(w.used); left > 0 {
		w.idle.Reset(left)
		return
	}
	w.idle = nil
	if err := w.window.close(w.end.offset); err != nil {
		w.log.Warn("a log file could not be closed", "err", err)
	}
}

// retain removes the oldest segments until the rest, with a full newest one, is
// within the budget.
func (w *writer) retain() error {
	total := w.cfg.SegmentBytes
	for n, size := range w.sizes {
		if n != w.end.segment {
			total += size
		}
	}
	for total > w.cfg.FunctionBytes {
		n, size, ok := w.oldest()
		if !ok {
			return nil
		}
		if err := w.remove(n); err != nil {
			return err
		}
		total -= size
	}
	return nil
}

// oldest returns the oldest segment that is not the newest as well.
func (w *writer) oldest() (n int, size int64, ok bool) {
	n = w.end.segment
	for i, s := range w.sizes {
		if i < n {
			n, size, ok = i, s, true
		}
	}
	return n, size, ok
}

func (w *writer) remove(n int) error {
	if err := os.Remove(segmentPath(w.dir, n)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove an old segment: %w", err)
	}
	delete(w.sizes, n)
	return nil
}

// present returns the end of what can be read now.
func (w *writer) present() position {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.end
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
	if w.idle != nil {
		w.idle.Stop()
	}
	return w.window.close(w.end.offset)
}
