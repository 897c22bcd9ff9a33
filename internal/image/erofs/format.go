package erofs

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"sort"
	"time"
)

// Numbers of the on-disk format.
const (
	magic          = 0xe0f5e1e2
	superOffset    = 1024
	compatChecksum = 1 << 0
	compatMtime    = 1 << 1
	inodeSize      = 64
	slotSize       = 32 // inode numbers count slots
	slotsPerInode  = inodeSize / slotSize
	formatExtended = 1 // extended inode, data layout FLAT_PLAIN
	direntSize     = 12
	typeRegular    = 1
	typeDirectory  = 2
	typeSymlink    = 7
	unixDirectory  = 0o040000
	unixRegular    = 0o100000
	unixSymlink    = 0o120000
	reservedInodes = 1 // inode number 0 is taken for "none" by readdir
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Close writes what is left and completes the image. It does not close or
// sync the output.
func (w *Writer) Close() error {
	if w.err != nil {
		return w.err
	}
	w.err = w.finish()
	if w.err != nil {
		return w.err
	}
	w.err = fs.ErrClosed
	return nil
}

func (w *Writer) finish() error {
	for _, n := range w.all {
		if n.children == nil {
			continue
		}
		d := dirents(n)
		n.block, n.size = w.next, int64(len(d))
		if _, err := w.buf.Write(d); err != nil {
			return fmt.Errorf("write directory: %w", err)
		}
		if err := w.advance(n.size); err != nil {
			return fmt.Errorf("write directory: %w", err)
		}
	}
	meta := w.next
	if err := w.inodes(); err != nil {
		return fmt.Errorf("write inodes: %w", err)
	}
	if err := w.buf.Flush(); err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	if _, err := w.out.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("write superblock: %w", err)
	}
	if _, err := w.out.Write(w.super(meta)); err != nil {
		return fmt.Errorf("write superblock: %w", err)
	}
	return nil
}

// inodes writes the inode table in whole blocks.
func (w *Writer) inodes() error {
	table := make([]byte, reservedInodes*inodeSize, (reservedInodes+len(w.all))*inodeSize)
	for _, n := range w.all {
		table = appendInode(table, n)
	}
	if _, err := w.buf.Write(table); err != nil {
		return err
	}
	return w.advance(int64(len(table)))
}

func (w *Writer) super(meta uint32) []byte {
	b := make([]byte, blockSize)
	s := b[superOffset:]
	le := binary.LittleEndian
	le.PutUint32(s[0:], magic)
	le.PutUint32(s[8:], compatChecksum|compatMtime)
	s[12] = blockBits
	le.PutUint16(s[14:], uint16(w.root.nid()))
	le.PutUint64(s[16:], uint64(len(w.all)))
	le.PutUint32(s[36:], w.next)
	le.PutUint32(s[40:], meta)
	// The checksum covers the superblock to the end of its block, with a zero
	// in its own place; the format leaves out the final inversion.
	le.PutUint32(s[4:], ^crc32.Checksum(s, castagnoli))
	return b
}

func (n *node) nid() uint64 { return uint64(n.index+reservedInodes) * slotsPerInode }

func appendInode(dst []byte, n *node) []byte {
	var b [inodeSize]byte
	le := binary.LittleEndian
	le.PutUint16(b[0:], formatExtended)
	le.PutUint16(b[4:], unixMode(n.mode))
	le.PutUint64(b[8:], uint64(n.size))
	le.PutUint32(b[16:], n.block)
	le.PutUint32(b[20:], uint32(n.index+reservedInodes))
	sec, nsec := stamp(n.mtime)
	le.PutUint64(b[32:], sec)
	le.PutUint32(b[40:], nsec)
	le.PutUint32(b[44:], n.links())
	return append(dst, b[:]...)
}

func (n *node) links() uint32 {
	if n.children == nil {
		return 1
	}
	links := uint32(2)
	for _, c := range n.children {
		if c.children != nil {
			links++
		}
	}
	return links
}

// stamp gives a time as the format has it; times before the epoch, which it
// has not, become the epoch.
func stamp(t time.Time) (sec uint64, nsec uint32) {
	if t.Unix() < 0 {
		return 0, 0
	}
	return uint64(t.Unix()), uint32(t.Nanosecond())
}

func unixMode(m fs.FileMode) uint16 {
	perm := uint16(m.Perm())
	switch m.Type() {
	case fs.ModeDir:
		return unixDirectory | perm
	case fs.ModeSymlink:
		return unixSymlink | perm
	default:
		return unixRegular | perm
	}
}

type dirent struct {
	name string
	nid  uint64
	kind byte
}

// dirents encodes a directory. Names are in strict byte order over the whole
// directory; each block holds its entries first and their names behind.
func dirents(n *node) []byte {
	list := []dirent{{".", n.nid(), typeDirectory}, {"..", n.parent.nid(), typeDirectory}}
	for _, c := range n.children {
		kind := byte(typeRegular)
		switch c.mode.Type() {
		case fs.ModeDir:
			kind = typeDirectory
		case fs.ModeSymlink:
			kind = typeSymlink
		}
		list = append(list, dirent{c.name, c.nid(), kind})
	}
	// "." and ".." have no fixed place: a name may sort before them.
	sort.Slice(list, func(i, j int) bool { return list[i].name < list[j].name })
	var out []byte
	for len(list) > 0 {
		fit := fitting(list)
		if pad := len(out) % blockSize; pad != 0 {
			out = append(out, make([]byte, blockSize-pad)...)
		}
		out = appendDirents(out, list[:fit])
		list = list[fit:]
	}
	return out
}

// fitting returns how many of the entries go into one block.
func fitting(list []dirent) int {
	size := 0
	for i, d := range list {
		size += direntSize + len(d.name)
		if size > blockSize {
			return i
		}
	}
	return len(list)
}

func appendDirents(dst []byte, list []dirent) []byte {
	le := binary.LittleEndian
	name := len(list) * direntSize
	for _, d := range list {
		dst = le.AppendUint64(dst, d.nid)
		dst = le.AppendUint16(dst, uint16(name))
		dst = append(dst, d.kind, 0)
		name += len(d.name)
	}
	for _, d := range list {
		dst = append(dst, d.name...)
	}
	return dst
}
