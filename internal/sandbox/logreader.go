package sandbox

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// maxLine is where a log line is cut in two, in bytes: the field's own limit of
// one log event.
const maxLine = 256 << 10

// TailBytes is how much of the end of a call's log its caller can have.
const TailBytes = 4 << 10

// Lines are lines that code in an instance wrote to its log, one after another.
type Lines struct {
	Instance  *Instance
	RequestID string // of the call that ran then; "" during init
	Time      time.Time
	Texts     []string // without line ends; the slice is the sink's until it returns
}

// LineSink takes log lines. It must not block for long: it holds up the
// instance that wrote them. It may be called from many goroutines.
type LineSink func(Lines)

const (
	firstLogBuffer = 4 << 10
	maxLogBuffer   = 64 << 10 // what a pipe holds
	// gatherLines is how long lines gather after some were read. To be woken for
	// each line of many would take longer, for both sides, than all else about it.
	gatherLines = time.Millisecond
)

// logReader splits an instance's standard error into lines. A goroutine reads
// the first line when it comes and those behind it within gatherLines; drain reads
// what is there at once, so that the lines of a call are known when its answer is.
type logReader struct {
	bell    *bell
	sink    LineSink
	inst    *Instance
	closing atomic.Bool
	done    chan struct{} // closed when nothing reads any more

	mu      sync.Mutex // guards what follows, and reading itself
	fd      int        // -1 once it is closed
	ended   bool       // nothing more will come
	request string
	tail    []byte // end of the lines of the present request
	partial []byte
	texts   []string
	buf     []byte
}

// newLogReader takes f over.
func newLogReader(f *os.File, sink LineSink, i *Instance) (*logReader, error) {
	fd, b, err := listen(f)
	if err != nil {
		return nil, fmt.Errorf("read the log of instance %s: %w", i.ID, err)
	}
	r := &logReader{fd: fd, bell: b, sink: sink, inst: i, buf: make([]byte, firstLogBuffer), done: make(chan struct{})}
	go r.run()
	return r, nil
}

// run ends when the pipe does, or is closed.
func (r *logReader) run() {
	defer close(r.done)
	for r.bell.wait() {
		for n := r.read(); n > 0 && !r.closing.Load(); n = r.read() {
			if n < maxLogBuffer/2 { // else its writer may be waiting for room
				time.Sleep(gatherLines)
			}
		}
		if !r.rearm() {
			return
		}
	}
}

// rearm has the bell ring for the next line, and reports whether any may come.
func (r *logReader) rearm() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.ended && r.fd >= 0 && r.bell.arm(r.fd) == nil
}

// begin tags the lines that follow with the call's request id.
func (r *logReader) begin(requestID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.request = requestID
	r.tail = r.tail[:0]
}

// end returns the end of the present request's lines; what follows belongs to
// no request.
func (r *logReader) end() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.request = ""
	return r.tail
}

// drain hands over all lines that were written before it was called.
func (r *logReader) drain() {
	r.read()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flush()
}

// read hands over the lines that are there, and returns how many bytes they were. It
// ends after a pipe's worth: who writes on and on must not hold up a call's answer.
func (r *logReader) read() (bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.fd >= 0 && !r.ended && bytes < maxLogBuffer {
		n, err := readNow(r.fd, r.buf)
		if n > 0 {
			bytes += n
			r.split(string(r.buf[:n]), time.Now())
		}
		switch {
		case err != nil:
			r.ended = true
			r.flush()
		case n < len(r.buf):
			return bytes
		case n < maxLogBuffer:
			r.buf = make([]byte, 2*n)
		}
	}
	return bytes
}

func (r *logReader) split(s string, now time.Time) {
	r.texts = r.texts[:0]
	for {
		end := strings.IndexByte(s, '\n')
		if end < 0 {
			break
		}
		r.texts = append(r.texts, r.whole(r.cut(s[:end])))
		s = s[end+1:]
	}
	r.partial = append(r.partial, r.cut(s)...)
	r.emit(now)
}

// cut hands over what is too long for one line, and returns the rest of s.
func (r *logReader) cut(s string) string {
	for len(r.partial)+len(s) > maxLine {
		n := maxLine - len(r.partial)
		r.texts = append(r.texts, r.whole(s[:n]))
		s = s[n:]
	}
	return s
}

// whole returns the line that ends with s.
func (r *logReader) whole(s string) string {
	if len(r.partial) > 0 {
		s = string(append(r.partial, s...))
		r.partial = r.partial[:0]
	}
	return strings.TrimSuffix(s, "\r")
}

// flush gives an unfinished line out as it is.
func (r *logReader) flush() {
	if len(r.partial) > 0 {
		r.texts = append(r.texts[:0], r.whole(""))
		r.emit(time.Now())
	}
}

func (r *logReader) emit(now time.Time) {
	if len(r.texts) == 0 {
		return
	}
	r.keep()
	r.sink(Lines{Instance: r.inst, RequestID: r.request, Time: now, Texts: r.texts})
	clear(r.texts)
}

// keep adds lines to the tail, which is at least TailBytes long if there was as much.
func (r *logReader) keep() {
	first, size := len(r.texts), 0
	for first > 0 && size <= TailBytes {
		first--
		size += len(r.texts[first]) + 1
	}
	if size > TailBytes {
		r.tail = r.tail[:0]
	}
	for _, text := range r.texts[first:] {
		r.tail = append(append(r.tail, text...), '\n')
	}
	if n := len(r.tail) - TailBytes; n > TailBytes {
		r.tail = append(r.tail[:0], r.tail[n:]...)
	}
}

// close returns when the last line has been handed over. The pipe must have lost
// its writers, or nobody must care for what they write.
func (r *logReader) close() {
	r.closing.Store(true)
	r.bell.close()
	<-r.done
	r.read()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flush()
	closePipe(r.fd)
	r.fd = -1
}
