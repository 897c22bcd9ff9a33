package sandbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"syscall"
)

// A frame is the unit of the link between host and guest, both ways:
//
//	u32le length of body | u8 kind | u8 zero | u16le length of header | header | body
//
// The header is text: "Name: value" lines, each ended by CRLF, with the names of
// the guest's own protocol. An Invoke header is what the guest's runtime API
// answers on its "next" call; a guest that needs no more may copy it verbatim.

// FrameKind says what a frame is for.
type FrameKind uint8

// From host to guest.
const (
	FrameInvoke   FrameKind = 1 // header: the call; body: its payload
	FrameShutdown FrameKind = 2 // no more calls: end in an orderly way, soon
	FrameSnapshot FrameKind = 3 // get ready to be saved; answered by Ready or InitError
	FrameRestore  FrameKind = 4 // this is a copy now; header: new environment variables; answered by Ready or InitError
)

// From guest to host. Each Invoke is answered by exactly one Response or Failure,
// or by a streamed answer: one Head, any number of Chunks, one End. The guest
// writes a Chunk when the code wrote it; a host that reads slowly holds it up, as
// the link is a pipe.
const (
	FrameReady     FrameKind = 16 // init, or what Snapshot and Restore ask for, is done; the guest waits for an Invoke
	FrameInitError FrameKind = 17 // that failed; body: error document; header may have Error-Type
	FrameResponse  FrameKind = 18 // body: the function's answer
	FrameFailure   FrameKind = 19 // body: error document; header may have Error-Type
	FrameHead      FrameKind = 20 // a streamed answer begins; header may have Content-Type
	FrameChunk     FrameKind = 21 // body: the next part of it
	FrameEnd       FrameKind = 22 // it is complete; or with an Error-Type in the header, failed midway: body: error document
)

const (
	framePrefix = 8
	maxHeader   = math.MaxUint16
)

// Frame is one message of the link.
type Frame struct {
	Kind   FrameKind
	Header []byte
	Body   []byte
}

// AppendFrame appends f's encoding to dst. It panics if the header is over 64 KiB
// or the body over 4 GiB: callers bound both long before.
func AppendFrame(dst []byte, f Frame) []byte {
	if len(f.Header) > maxHeader || int64(len(f.Body)) > math.MaxUint32 {
		panic("sandbox: frame out of bounds")
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(f.Body)))
	dst = append(dst, byte(f.Kind), 0)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(f.Header)))
	dst = append(dst, f.Header...)
	return append(dst, f.Body...)
}

// FrameTooLargeError says that the guest announced a body over the limit. The
// link is unusable after it.
type FrameTooLargeError struct{ Size, Max int64 }

func (e *FrameTooLargeError) Error() string {
	return fmt.Sprintf("frame of %d bytes is over the limit of %d", e.Size, e.Max)
}

// ReadFrame reads one frame from r. A body over maxBody is not read and gives a
// *FrameTooLargeError together with the frame's kind; a clean end before the
// first byte gives io.EOF. What the guest sends is not trusted.
func ReadFrame(r io.Reader, maxBody int64) (Frame, error) { return readFrame(r, maxBody, nil) }

// readFrame is ReadFrame into buf, if that is large enough.
func readFrame(r io.Reader, maxBody int64, buf []byte) (Frame, error) {
	var p [framePrefix]byte
	if _, err := io.ReadFull(r, p[:]); err != nil {
		return Frame{}, err
	}
	f := Frame{Kind: FrameKind(p[4])}
	body := int64(binary.LittleEndian.Uint32(p[:]))
	if body > maxBody {
		return f, &FrameTooLargeError{Size: body, Max: maxBody}
	}
	header := int(binary.LittleEndian.Uint16(p[6:]))
	if size := header + int(body); size <= cap(buf) {
		buf = buf[:size]
	} else {
		buf = make([]byte, size)
	}
	if _, err := io.ReadFull(r, buf); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return f, fmt.Errorf("read frame: %w", err)
	}
	f.Header, f.Body = buf[:header:header], buf[header:]
	return f, nil
}

// putBodyLength announces a body that is sent behind an encoded header.
func putBodyLength(frame []byte, n int) {
	if int64(n) > math.MaxUint32 {
		panic("sandbox: frame out of bounds")
	}
	binary.LittleEndian.PutUint32(frame, uint32(n))
}

// headerValue returns the value of the named line of a frame's header, or "".
func headerValue(header []byte, name string) string {
	for line := range bytes.Lines(header) {
		k, v, ok := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(":"))
		if ok && strings.EqualFold(string(k), name) {
			return string(bytes.TrimSpace(v))
		}
	}
	return ""
}

func isBrokenPipe(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}
