package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxLine is where a log line is cut in two, in bytes: the field's own limit of
// one log event.
const maxLine = 256 << 10

// TailBytes is how much of the end of a call's log its caller can have.
const TailBytes = 4 << 10

// Line is one line that code in an instance wrote to its log.
type Line struct {
	Instance  *Instance
	RequestID string // of the call that ran then; "" during init
	Time      time.Time
	Text      string // without its line end
}

// LineSink takes log lines. It must not block for long: it holds up the
// instance that wrote the line. It may be called from many goroutines.
type LineSink func(Line)

// logReader splits an instance's standard error into lines. A goroutine reads
// whenever there is something; drain reads what is there at once, so that
// the lines of a call are known when its answer is.
type logReader struct {
	file *os.File
	raw  syscall.RawConn
	sink LineSink
	inst *Instance

	mu      sync.Mutex // guards what follows, and reading itself
	request string
	tail    []byte // end of the lines of the present request
	partial []byte
	buf     []byte
	done    chan struct{}
}

func newLogReader(f *os.File, sink LineSink, i *Instance) (*logReader, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("read the log of instance %s: %w", i.ID, err)
	}
	r := &logReader{file: f, raw: raw, sink: sink, inst: i, buf: make([]byte, 8<<10), done: make(chan struct{})}
	go r.run()
	return r, nil
}

// run ends when the pipe does, or is closed.
func (r *logReader) run() {
	defer close(r.done)
	for open := true; open; {
		err := r.raw.Read(func(fd uintptr) bool {
			var got bool
			got, open = r.take(int(fd))
			return got || !open
		})
		open = open && err == nil
	}
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
	r.raw.Control(func(fd uintptr) {
		for got, open := true, true; got && open; {
			got, open = r.take(int(fd))
		}
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flush()
}

// take reads once. got says that there was something, open that more may come.
func (r *logReader) take(fd int) (got, open bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, err := unix.Read(fd, r.buf)
	switch {
	case errors.Is(err, unix.EINTR):
		return true, true
	case errors.Is(err, unix.EAGAIN):
		return false, true
	case err != nil || n <= 0:
		r.flush()
		return false, false
	}
	r.split(r.buf[:n], time.Now())
	return true, true
}

func (r *logReader) split(b []byte, now time.Time) {
	for {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			break
		}
		r.partial = append(r.partial, b[:end]...)
		r.emit(now)
		b = b[end+1:]
	}
	for len(r.partial)+len(b) >= maxLine {
		n := maxLine - len(r.partial)
		r.partial = append(r.partial, b[:n]...)
		r.emit(now)
		b = b[n:]
	}
	r.partial = append(r.partial, b...)
}

// flush gives an unfinished line out as it is.
func (r *logReader) flush() {
	if len(r.partial) > 0 {
		r.emit(time.Now())
	}
}

func (r *logReader) emit(now time.Time) {
	text := string(bytes.TrimSuffix(r.partial, []byte("\r")))
	r.partial = r.partial[:0]
	r.keep(text)
	r.sink(Line{Instance: r.inst, RequestID: r.request, Time: now, Text: text})
}

// keep adds a line to the tail, which is at least TailBytes long if there was as much.
func (r *logReader) keep(text string) {
	r.tail = append(append(r.tail, text...), '\n')
	if n := len(r.tail) - TailBytes; n > TailBytes {
		r.tail = append(r.tail[:0], r.tail[n:]...)
	}
}

// close returns when the last line has been handed over. The pipe must have
// been closed or have lost its writers.
func (r *logReader) close() {
	r.file.Close()
	<-r.done
}
