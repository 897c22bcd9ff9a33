package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// planned is an entry of a root that is to be built.
type planned struct {
	name   string
	mode   fs.FileMode // type and permissions
	mtime  time.Time
	size   int64
	host   string // a file's content is that of this file of the host,
	data   []byte // or this
	target string // of a symbolic link
}

// plan is what goes into a root. It holds no contents of host files, only what
// tells whether they have changed.
type plan struct {
	byName  map[string]planned
	compile []compilation // Python modules without a valid compiled form
}

func newPlan() *plan { return &plan{byName: map[string]planned{}} }

// has reports whether the name is taken.
func (p *plan) has(name string) bool {
	_, ok := p.byName[name]
	return ok
}

// add puts an entry into the plan; the first one of a name counts.
func (p *plan) add(e planned) {
	if !p.has(e.name) {
		p.byName[e.name] = e
	}
}

func (p *plan) dir(names ...string) {
	for _, n := range names {
		p.add(planned{name: n, mode: fs.ModeDir | 0o755, mtime: epoch})
	}
}

func (p *plan) link(name, target string) {
	p.add(planned{name: name, mode: fs.ModeSymlink | 0o777, mtime: epoch, target: target})
}

func (p *plan) text(name, data string) {
	p.add(planned{name: name, mode: 0o644, mtime: epoch, size: int64(len(data)), data: []byte(data)})
}

// file takes a file of the host, through symbolic links. Everyone may read it,
// and run it if its owner may; other bits of its mode are dropped.
func (p *plan) file(name, host string) error {
	info, err := os.Stat(host)
	if err != nil {
		return err
	}
	return p.fileInfo(name, host, info)
}

func (p *plan) fileInfo(name, host string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", host)
	}
	mode := fs.FileMode(0o644)
	if info.Mode()&0o100 != 0 {
		mode = 0o755
	}
	p.add(planned{name: name, mode: mode, mtime: info.ModTime(), size: info.Size(), host: host})
	return nil
}

// optional takes the first of the host's files that there is.
func (p *plan) optional(name string, hosts ...string) {
	for _, h := range hosts {
		if p.file(name, h) == nil {
			return
		}
	}
}

// tree takes a directory of the host; keep says which of its entries, named
// relative to it, to take. Symbolic links to files become those files, unless
// they lead to a sibling; links to directories are left out.
func (p *plan) tree(name, host string, keep func(rel string, d fs.DirEntry) bool) error {
	return fs.WalkDir(os.DirFS(host), ".", func(rel string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if rel != "." && !keep(rel, d) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		return p.treeEntry(path.Join(name, rel), path.Join(host, rel), d)
	})
}

func (p *plan) treeEntry(name, host string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	switch info.Mode().Type() {
	case fs.ModeDir:
		p.add(planned{name: name, mode: fs.ModeDir | 0o755, mtime: info.ModTime()})
	case 0:
		return p.fileInfo(name, host, info)
	case fs.ModeSymlink:
		target, err := os.Readlink(host)
		if err != nil {
			return err
		}
		info, err := os.Stat(host)
		if err != nil || !info.Mode().IsRegular() {
			return nil
		}
		if !strings.Contains(target, "/") {
			p.link(name, target)
			return nil
		}
		return p.fileInfo(name, host, info)
	}
	return nil
}

// entries returns the plan in the order of names.
func (p *plan) entries() []planned {
	list := make([]planned, 0, len(p.byName))
	for _, e := range p.byName {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b planned) int { return strings.Compare(a.name, b.name) })
	return list
}

// key identifies all that goes in.
func (p *plan) key(version int) string {
	h := sha256.New()
	fmt.Fprintf(h, "version %d\n", version)
	for _, e := range p.entries() {
		fmt.Fprintf(h, "%q %v %d %d %q %q %x\n", e.name, e.mode, e.mtime.UnixNano(), e.size, e.host, e.target, sha256.Sum256(e.data))
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// write puts the plan into s.
func (p *plan) write(ctx context.Context, s sink, prog *progress) error {
	list := p.entries()
	for _, e := range list {
		prog.total += e.size
	}
	for _, e := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := e.write(ctx, s, prog); err != nil {
			return err
		}
	}
	return nil
}

func (e *planned) write(ctx context.Context, s sink, prog *progress) error {
	switch e.mode.Type() {
	case fs.ModeDir:
		return s.Mkdir(e.name, e.mode, e.mtime)
	case fs.ModeSymlink:
		return s.Symlink(e.name, e.target, e.mtime)
	}
	var n int64
	var err error
	if e.host == "" {
		n, err = s.File(e.name, e.mode, e.mtime, strings.NewReader(string(e.data)))
	} else {
		n, err = e.copy(s)
	}
	prog.add(n)
	return err
}

// copy writes a host file that is as it was planned.
func (e *planned) copy(s sink) (int64, error) {
	f, err := os.Open(e.host)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	n, err := s.File(e.name, e.mode, e.mtime, f)
	if err == nil && (n != e.size || !info.ModTime().Equal(e.mtime)) {
		err = errs.Newf(errs.Unavailable, "%s changed while an image was made of it. Try again.", e.host)
	}
	return n, err
}
