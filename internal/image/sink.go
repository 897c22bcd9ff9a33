package image

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// sink takes the entries of a tree. *erofs.Writer is one, *dirSink the other.
// Names are slash-separated, relative and clean; missing parents are made.
type sink interface {
	Mkdir(name string, perm fs.FileMode, mtime time.Time) error
	File(name string, perm fs.FileMode, mtime time.Time, r io.Reader) (int64, error)
	Symlink(name, target string, mtime time.Time) error
}

// dirSink writes a tree into a directory that nobody else writes to. It stays
// inside of it whatever names and links it is given.
type dirSink struct {
	root *os.Root
	// Directories get their modes and times at the end, deepest first: until
	// then they must be writable, and writing changes their times.
	dirs map[string]dirMeta
}

type dirMeta struct {
	perm  fs.FileMode
	mtime time.Time
}

func newDirSink(root *os.Root) *dirSink {
	return &dirSink{root: root, dirs: map[string]dirMeta{".": {0o755, time.Unix(0, 0)}}}
}

func (d *dirSink) Mkdir(name string, perm fs.FileMode, mtime time.Time) error {
	if err := d.parents(name); err != nil {
		return err
	}
	if _, ok := d.dirs[name]; !ok {
		if err := d.root.Mkdir(name, 0o700); err != nil {
			return err
		}
	}
	d.dirs[name] = dirMeta{perm.Perm(), mtime}
	return nil
}

func (d *dirSink) File(name string, perm fs.FileMode, mtime time.Time, r io.Reader) (int64, error) {
	if err := d.parents(name); err != nil {
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
	if err := d.parents(name); err != nil {
		return err
	}
	return d.root.Symlink(target, name)
}

// parents makes the directories above name that are missing.
func (d *dirSink) parents(name string) error {
	dir := path.Dir(name)
	if _, ok := d.dirs[dir]; ok {
		return nil
	}
	return d.Mkdir(dir, 0o755, time.Unix(0, 0))
}

// finish gives the directories their modes and times.
func (d *dirSink) finish() error {
	names := make([]string, 0, len(d.dirs))
	for name := range d.dirs {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(b, a) })
	for _, name := range names {
		m := d.dirs[name]
		if err := d.root.Chmod(name, m.perm); err != nil {
			return err
		}
		if err := d.root.Chtimes(name, m.mtime, m.mtime); err != nil {
			return err
		}
	}
	return nil
}

// progress counts what a build writes and reports it every few megabytes.
type progress struct {
	name    string
	report  func(Progress)
	total   int64
	written int64
	told    int64
}

const progressStep = 4 << 20

func (p *progress) add(n int64) {
	p.written += n
	if p.written-p.told >= progressStep {
		p.told = p.written
		p.report(Progress{Image: p.name, Written: p.written, Total: p.total})
	}
}

func (p *progress) finish(err error) {
	p.report(Progress{Image: p.name, Written: p.written, Total: p.total, Done: true, Err: err})
}
