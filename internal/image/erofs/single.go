package erofs

import (
	"bytes"
	"io"
	"io/fs"
	"time"
)

// WriteFile writes an image whose root is no directory but a regular file with
// the given content. Mounted over a file, it takes that file's place.
func WriteFile(out io.WriteSeeker, perm fs.FileMode, mtime time.Time, content []byte) error {
	w := NewWriter(out)
	n := &node{mode: perm.Perm(), mtime: mtime}
	w.root, w.all = n, []*node{n}
	if _, err := w.data(n, bytes.NewReader(content)); err != nil {
		return err
	}
	return w.Close()
}
