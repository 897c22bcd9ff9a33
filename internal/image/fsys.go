package image

import (
	"context"
	"io"
	"io/fs"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/image/erofs"
)

// WriteEROFS writes the tree of fsys to out as an EROFS image that a sandbox
// can map, outside of any Store. Modes lose everything but their permission
// bits and all belongs to root; symbolic links are kept if fsys is an
// fs.ReadLinkFS. Other special files are an error of kind errs.Invalid.
func WriteEROFS(ctx context.Context, out io.WriteSeeker, fsys fs.FS) error {
	w := erofs.NewWriter(out)
	if err := copyFS(ctx, w, fsys); err != nil {
		return err
	}
	return w.Close()
}

func copyFS(ctx context.Context, s sink, fsys fs.FS) error {
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
		switch info.Mode().Type() {
		case fs.ModeDir:
			return s.Mkdir(name, info.Mode(), info.ModTime())
		case fs.ModeSymlink:
			target, err := fs.ReadLink(fsys, name)
			if err != nil {
				return err
			}
			return s.Symlink(name, target, info.ModTime())
		case 0:
			f, err := fsys.Open(name)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = s.File(name, info.Mode(), info.ModTime(), f)
			return err
		default:
			return errs.Newf(errs.Invalid, "%s is neither a file, a directory nor a symbolic link", name)
		}
	})
}
