package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/image/erofs"
)

// sink takes the entries of a tree. *erofs.Writer is one, dirSink the other.
// Names are slash-separated, relative and clean; missing parents are made.
type sink interface {
	Mkdir(name string, perm fs.FileMode, mtime time.Time) error
	File(name string, perm fs.FileMode, mtime time.Time, r io.Reader) (int64, error)
	Symlink(name, target string, mtime time.Time) error
}

// WriteEROFS writes the tree of fsys to out as an EROFS image that a sandbox
// can map. Modes lose everything but their permission bits and all belongs to
// root; symbolic links are kept if fsys is an fs.ReadLinkFS. Other special
// files are an error of kind errs.Invalid.
func WriteEROFS(ctx context.Context, out io.WriteSeeker, fsys fs.FS) error {
	w := erofs.NewWriter(out)
	if err := copyFS(ctx, w, ".", fsys); err != nil {
		return err
	}
	return w.Close()
}

// copyFS puts all of fsys under the directory to.
func copyFS(ctx context.Context, s sink, to string, fsys fs.FS) error {
	return fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		dst := path.Join(to, name)
		switch info.Mode().Type() {
		case fs.ModeDir:
			return s.Mkdir(dst, info.Mode(), info.ModTime())
		case fs.ModeSymlink:
			target, err := fs.ReadLink(fsys, name)
			if err != nil {
				return err
			}
			return s.Symlink(dst, target, info.ModTime())
		case 0:
			f, err := fsys.Open(name)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = s.File(dst, info.Mode(), info.ModTime(), f)
			return err
		default:
			return errs.Newf(errs.Invalid, "%s is neither a file, a directory nor a symbolic link", name)
		}
	})
}

// dirSink writes a tree into a directory that nobody else writes to. It stays
// inside of it whatever names and links it is given.
type dirSink struct {
	root *os.Root
	// Directories get their modes and times at the end, deepest first: until
	// then they must be writable, and writing changes their times.
	dirs []dirMeta
}

type dirMeta struct {
	name  string
	perm  fs.FileMode
	mtime time.Time
}

func (d *dirSink) Mkdir(name string, perm fs.FileMode, mtime time.Time) error {
	if name != "." {
		if err := d.root.MkdirAll(name, 0o755); err != nil {
			return err
		}
	}
	d.dirs = append(d.dirs, dirMeta{name, perm.Perm(), mtime})
	return nil
}

func (d *dirSink) File(name string, perm fs.FileMode, mtime time.Time, r io.Reader) (int64, error) {
	if err := d.parent(name); err != nil {
		return 0, err
	}
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(f, r)
	// The mode is set here and not on opening: the umask must not matter.
	err = errors.Join(err, f.Chmod(perm.Perm()), f.Close())
	if err != nil {
		return n, fmt.Errorf("write %s: %w", name, err)
	}
	return n, d.root.Chtimes(name, mtime, mtime)
}

func (d *dirSink) Symlink(name, target string, _ time.Time) error {
	if err := d.parent(name); err != nil {
		return err
	}
	return d.root.Symlink(target, name)
}

func (d *dirSink) parent(name string) error {
	if dir := path.Dir(name); dir != "." {
		return d.root.MkdirAll(dir, 0o755)
	}
	return nil
}

// finish gives the directories their modes and times.
func (d *dirSink) finish() error {
	for i := len(d.dirs) - 1; i >= 0; i-- {
		m := d.dirs[i]
		if err := d.root.Chmod(m.name, m.perm); err != nil {
			return err
		}
		if err := d.root.Chtimes(m.name, m.mtime, m.mtime); err != nil {
			return err
		}
	}
	return nil
}
