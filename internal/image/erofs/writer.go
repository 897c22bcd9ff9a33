// Package erofs writes EROFS images that a sandbox can map: uncompressed, each
// file's data in whole blocks of its own (layout FLAT_PLAIN), 64-byte inodes
// with real times. Libraries that write EROFS put small files inline behind
// their inodes, and gVisor can't map those.
//
// Format: https://docs.kernel.org/filesystems/erofs.html
package erofs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strings"
	"time"
)

const (
	blockBits  = 12
	blockSize  = 1 << blockBits
	maxName    = 255
	maxTarget  = blockSize - 1
	bufferSize = 256 << 10
	// Files from this size on are copied straight to the output, so that the
	// kernel can move the bytes without showing them to us.
	directSize = 128 << 10
)

// ErrExist says that a name was added twice, or lies under something that is
// no directory.
var ErrExist = fs.ErrExist

// Writer writes an image in one pass: data as it comes, then directories,
// inodes and the superblock on Close. Everything in the image belongs to root
// and has no setuid, setgid or sticky bit. A Writer is not safe for concurrent
// use. After an error it refuses all further calls.
type Writer struct {
	out  io.WriteSeeker
	buf  *bufio.Writer
	next uint32 // the block that the next data goes to
	root *node
	all  []*node // in the order of their inode numbers
	err  error
}

type node struct {
	name     string
	mode     fs.FileMode
	mtime    time.Time
	size     int64
	block    uint32 // first block of the data
	index    int    // place in Writer.all
	parent   *node
	children map[string]*node // of a directory
	implied  bool             // a directory that was only seen as a parent
}

// NewWriter returns a Writer that writes an image to out from its start.
func NewWriter(out io.WriteSeeker) *Writer {
	w := &Writer{out: out, buf: bufio.NewWriterSize(out, bufferSize), next: 1}
	w.root = &node{mode: fs.ModeDir | 0o755, children: map[string]*node{}, implied: true}
	w.root.parent = w.root
	w.all = []*node{w.root}
	// Block 0 is the superblock's; it is written last.
	_, w.err = w.buf.Write(make([]byte, blockSize))
	return w
}

// Mkdir adds a directory. name is slash-separated, relative, and clean, "." is
// the root. Missing parents are added with mode 0755 and the epoch as their
// time; adding such a parent later gives it its mode and time.
func (w *Writer) Mkdir(name string, perm fs.FileMode, mtime time.Time) error {
	if w.err != nil {
		return w.err
	}
	n, err := w.directory(name)
	if err != nil {
		return err
	}
	if !n.implied {
		return fmt.Errorf("add directory %q: %w", name, ErrExist)
	}
	n.implied, n.mode, n.mtime = false, fs.ModeDir|perm.Perm(), mtime
	return nil
}

// File adds a regular file with all that r gives, and returns how much that
// was. An error of r leaves the Writer unusable.
func (w *Writer) File(name string, perm fs.FileMode, mtime time.Time, r io.Reader) (int64, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.add(name, perm.Perm(), mtime)
	if err != nil {
		return 0, err
	}
	return w.data(n, r)
}

// Symlink adds a symbolic link to target, which is kept as it is.
func (w *Writer) Symlink(name, target string, mtime time.Time) error {
	if w.err != nil {
		return w.err
	}
	if target == "" || len(target) > maxTarget || strings.IndexByte(target, 0) >= 0 {
		return fmt.Errorf("add symbolic link %q: its target is empty, over %d bytes, or holds a NUL", name, maxTarget)
	}
	n, err := w.add(name, fs.ModeSymlink|0o777, mtime)
	if err != nil {
		return err
	}
	_, err = w.data(n, strings.NewReader(target))
	return err
}

// data writes r as n's data in whole blocks.
func (w *Writer) data(n *node, r io.Reader) (int64, error) {
	n.block = w.next
	size, err := w.copy(r)
	if err == nil {
		err = w.advance(size)
	}
	if err != nil {
		w.err = fmt.Errorf("write %q to image: %w", n.name, err)
		return size, w.err
	}
	n.size = size
	if size == 0 {
		n.block = 0
	}
	return size, nil
}

func (w *Writer) copy(r io.Reader) (int64, error) {
	f, ok := r.(*os.File)
	if !ok {
		return io.Copy(w.buf, r)
	}
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if st.Size() < directSize {
		return io.Copy(w.buf, struct{ io.Reader }{r})
	}
	if err := w.buf.Flush(); err != nil {
		return 0, err
	}
	return io.Copy(w.out, f)
}

// advance pads size bytes of data to whole blocks and moves next past them.
func (w *Writer) advance(size int64) error {
	blocks := (size + blockSize - 1) / blockSize
	if blocks > math.MaxUint32-int64(w.next) {
		return errors.New("the image is over 16 TiB")
	}
	w.next += uint32(blocks)
	_, err := w.buf.Write(make([]byte, blocks*blockSize-size))
	return err
}

// add makes the node of a file or symbolic link.
func (w *Writer) add(name string, mode fs.FileMode, mtime time.Time) (*node, error) {
	dir, base := ".", name
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		dir, base = name[:i], name[i+1:]
	}
	if err := checkBase(base); err != nil {
		return nil, fmt.Errorf("add %q: %w", name, err)
	}
	parent, err := w.directory(dir)
	if err != nil {
		return nil, err
	}
	if _, ok := parent.children[base]; ok {
		return nil, fmt.Errorf("add %q: %w", name, ErrExist)
	}
	n := &node{name: base, mode: mode, mtime: mtime, parent: parent}
	w.attach(n)
	return n, nil
}

// directory returns the node of a directory, making it and its parents.
func (w *Writer) directory(name string) (*node, error) {
	at := w.root
	if name == "." {
		return at, nil
	}
	for _, base := range strings.Split(name, "/") {
		if err := checkBase(base); err != nil {
			return nil, fmt.Errorf("add directory %q: %w", name, err)
		}
		child, ok := at.children[base]
		if !ok {
			child = &node{name: base, mode: fs.ModeDir | 0o755, mtime: time.Unix(0, 0), parent: at, children: map[string]*node{}, implied: true}
			w.attach(child)
		}
		if child.children == nil {
			return nil, fmt.Errorf("add directory %q: %q is no directory: %w", name, base, ErrExist)
		}
		at = child
	}
	return at, nil
}

func (w *Writer) attach(n *node) {
	n.index = len(w.all)
	w.all = append(w.all, n)
	n.parent.children[n.name] = n
}

func checkBase(base string) error {
	switch {
	case base == "" || base == "." || base == "..":
		return fmt.Errorf("%q is not a file name", base)
	case len(base) > maxName:
		return fmt.Errorf("a name is over %d bytes", maxName)
	case strings.IndexByte(base, 0) >= 0:
		return errors.New("a name holds a NUL")
	}
	return nil
}
