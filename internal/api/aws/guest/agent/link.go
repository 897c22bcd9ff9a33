package main

import (
	"encoding/binary"
	"io"
	"syscall"
)

const framePrefix = 8

// link is the connection to the host. Reads and writes block.
type link struct {
	in, out int
	rbuf    []byte
	n       int // bytes of rbuf that are filled
	wbuf    []byte
}

// frame is what the host sent. Its slices are valid until the next receive.
type frame struct {
	kind   byte
	header []byte
	body   []byte
}

// newLink takes standard input and output as the link, for this process alone.
func newLink() *link {
	for _, fd := range []int{0, 1} {
		syscall.CloseOnExec(fd)
		_ = syscall.SetNonblock(fd, false) // a pipe of the host's event loop may say otherwise
	}
	return &link{in: 0, out: 1, rbuf: make([]byte, 64<<10)}
}

// receive returns the next frame; io.EOF when the host is gone.
func (l *link) receive() (frame, error) {
	if err := l.fill(framePrefix); err != nil {
		return frame{}, err
	}
	head := int(binary.LittleEndian.Uint16(l.rbuf[6:]))
	size := int(binary.LittleEndian.Uint32(l.rbuf))
	end := framePrefix + head + size
	if err := l.fill(end); err != nil {
		return frame{}, err
	}
	whole := make([]byte, head+size)
	copy(whole, l.rbuf[framePrefix:end])
	f := frame{kind: l.rbuf[4], header: whole[:head], body: whole[head:]}
	l.n = copy(l.rbuf, l.rbuf[end:l.n])
	if l.n == 0 && len(l.rbuf) > 1<<20 {
		l.rbuf = make([]byte, 64<<10) // a large payload is rare: don't keep its memory
	}
	return f, nil
}

// buffered reports whether a frame, or part of one, has been read already.
func (l *link) buffered() bool { return l.n > 0 }

func (l *link) fill(want int) error {
	if want > len(l.rbuf) {
		larger := make([]byte, want)
		copy(larger, l.rbuf[:l.n])
		l.rbuf = larger
	}
	for l.n < want {
		n, err := read(l.in, l.rbuf[l.n:])
		if err != nil {
			return err
		}
		if n == 0 {
			return io.EOF
		}
		l.n += n
	}
	return nil
}

func (l *link) send(kind byte, header string, body []byte) error {
	l.wbuf = append(l.wbuf[:0], 0, 0, 0, 0, kind, 0, 0, 0)
	binary.LittleEndian.PutUint32(l.wbuf, uint32(len(body)))
	binary.LittleEndian.PutUint16(l.wbuf[6:], uint16(len(header)))
	l.wbuf = append(l.wbuf, header...)
	l.wbuf = append(l.wbuf, body...)
	err := write(l.out, l.wbuf)
	if cap(l.wbuf) > 1<<20 {
		l.wbuf = nil
	}
	return err
}

func read(fd int, p []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, p)
		if err != syscall.EINTR {
			return n, err
		}
	}
}

func write(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := syscall.Write(fd, p)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}
