package spine

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A segment is a file of records, named after the number of its first. It is full
// of zeros before it is used: writes into it change no metadata, so that to have one
// on disk is to have its data there. Each record is a header and then its id, head
// and body:
//
//	0  uint32  CRC-32C of all that follows
//	4  uint32  bytes of the record, with its header
//	8  uint64  number
//	16 int64   when it was stored, in nanoseconds since 1970
//	24 uint32  bytes of the id
//	28 uint32  bytes of the head
const frameHead = 32

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frame is a record as it is in a segment.
type frame struct {
	number uint64
	at     time.Time
	id     []byte
	head   []byte
	body   []byte
	size   int
}

// appendFrame appends a record's bytes.
func appendFrame(b []byte, number uint64, at time.Time, e *entry) []byte {
	from := len(b)
	b = append(b, make([]byte, frameHead)...)
	b = append(append(append(b, e.id...), e.head...), e.body...)
	f := b[from:]
	binary.LittleEndian.PutUint32(f[4:], uint32(len(f)))
	binary.LittleEndian.PutUint64(f[8:], number)
	binary.LittleEndian.PutUint64(f[16:], uint64(at.UnixNano()))
	binary.LittleEndian.PutUint32(f[24:], uint32(len(e.id)))
	binary.LittleEndian.PutUint32(f[28:], uint32(len(e.head)))
	binary.LittleEndian.PutUint32(f, crc32.Checksum(f[4:], castagnoli))
	return b
}

// frameSize is how many bytes a record takes.
func frameSize(e *entry) int { return frameHead + len(e.id) + len(e.head) + len(e.body) }

// parseFrame reads the record at the beginning of b; ok is false if none is there
// in one piece.
func parseFrame(b []byte) (f frame, ok bool) {
	if len(b) < frameHead {
		return f, false
	}
	f.size = int(binary.LittleEndian.Uint32(b[4:]))
	id, head := uint64(binary.LittleEndian.Uint32(b[24:])), uint64(binary.LittleEndian.Uint32(b[28:]))
	if f.size < frameHead || f.size > len(b) || frameHead+id+head > uint64(f.size) {
		return f, false
	}
	b = b[:f.size]
	if crc32.Checksum(b[4:], castagnoli) != binary.LittleEndian.Uint32(b) {
		return f, false
	}
	f.number = binary.LittleEndian.Uint64(b[8:])
	f.at = time.Unix(0, int64(binary.LittleEndian.Uint64(b[16:])))
	b = b[frameHead:]
	f.id, f.head, f.body = b[:id:id], b[id:id+head:id+head], b[id+head:]
	return f, true
}

// scan calls fn for each record of a segment's bytes, the numbers of which begin at
// next or above, and returns where the last ends. Records that are broken before
// others that are not are left out, and counted.
func scan(b []byte, next uint64, fn func(at int, f frame) error) (end int, broken int, err error) {
	for at := 0; at < len(b); {
		f, ok := parseFrame(b[at:])
		if ok && f.number >= next {
			if err := fn(at, f); err != nil {
				return end, broken, err
			}
			next = f.number + 1
			at += f.size
			end = at
			continue
		}
		// Its length may be right still: then a record is behind it.
		if f.size < frameHead || f.size > len(b)-at {
			return end, broken, nil
		}
		behind, ok := parseFrame(b[at+f.size:])
		if !ok || behind.number <= next {
			return end, broken, nil
		}
		broken++
		at += f.size
	}
	return end, broken, nil
}

const segmentSuffix = ".items"

func segmentName(first uint64) string {
	s := strconv.FormatUint(first, 16)
	return "0000000000000000"[len(s):] + s + segmentSuffix
}

// segmentNames returns the names of a directory's segments, in order, and the
// numbers of their first records.
func segmentNames(dir string) (names []string, firsts []uint64, err error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, f := range files { // by name
		hex, ok := cutSegmentName(f.Name())
		if !ok {
			continue
		}
		names, firsts = append(names, f.Name()), append(firsts, hex)
	}
	return names, firsts, nil
}

func cutSegmentName(name string) (first uint64, ok bool) {
	if len(name) != 16+len(segmentSuffix) || name[16:] != segmentSuffix {
		return 0, false
	}
	first, err := strconv.ParseUint(name[:16], 16, 64)
	return first, err == nil
}

// makeSegment makes a file of that content, which is on disk then; its name isn't.
func makeSegment(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil { // a full disk: half a file must not make it fuller
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// openSegment opens a segment so that what a write has written is on disk.
func openSegment(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|unix.O_DSYNC, 0o600)
}

// syncDir has the names of a directory on disk.
func syncDir(dir string) error {
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// zeros reports whether all bytes are zero.
func zeros(b []byte) bool { return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) }
