package image

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/function"
)

const (
	// codeVersion changes when the same package would give another image.
	codeVersion = 1

	// maxEntries bounds a package's files and directories, also those that are
	// only seen as parents: each costs space that the size limit doesn't see.
	maxEntries = 65535
	maxPath    = 4000 // bytes of a name; Linux allows 4096 with /var/task/
	maxName    = 255
	maxTarget  = 4000

	bootstrap = "bootstrap"
)

// Code returns the tree of the package that c names, which must be a zip in
// Config.Blobs. Building it fails with an error of kind errs.Invalid if the
// package is damaged, over a limit, or has a name or link that leads outside.
// The error's reason is one of package function's where that has one.
//
// Modes are kept without setuid, setgid and sticky bits; what has none is 0644,
// directories and a top-level "bootstrap" are 0755. Symbolic links are kept if
// they stay inside.
func (s *Store) Code(c function.Code) *Tree {
	src := &codeSource{store: s, code: c}
	return &Tree{store: s, image: src, dir: src}
}

type codeSource struct {
	store *Store
	code  function.Code
}

func (c *codeSource) name(context.Context) (string, error) {
	return fmt.Sprintf("code-%s-v%d", c.code.SHA256, codeVersion), nil
}

func (c *codeSource) write(ctx context.Context, s sink, p *progress) error {
	r, err := c.store.cfg.Blobs.Open(ctx, c.code.Key())
	if err != nil {
		return err
	}
	defer r.Close()
	entries, err := readZip(r, r.Size(), c.store.cfg.MaxUnzipped)
	if err != nil {
		return err
	}
	var shut []string
	for _, e := range entries {
		p.total += e.size()
		if !e.readable() {
			shut = append(shut, e.name)
		}
	}
	if len(shut) > 0 {
		c.store.cfg.Log.Warn("the code package has files that the function can't read: their modes let only their owner, root, do so",
			"package", c.code.SHA256, "count", len(shut), "first", shut[0])
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := e.write(ctx, s, p); err != nil {
			return err
		}
	}
	return nil
}

// zipEntry is a file, directory or symbolic link that may go into an image.
type zipEntry struct {
	name   string
	mode   fs.FileMode
	file   *zip.File
	target string // of a symbolic link
}

func (e *zipEntry) size() int64 {
	if !e.mode.IsRegular() {
		return 0
	}
	return int64(e.file.UncompressedSize64)
}

// readable reports whether others than the owner, which is root, can use e.
func (e *zipEntry) readable() bool {
	switch e.mode.Type() {
	case 0:
		return e.mode&0o004 != 0
	case fs.ModeDir:
		return e.mode&0o005 == 0o005
	default:
		return true
	}
}

func (e *zipEntry) write(ctx context.Context, s sink, p *progress) error {
	switch e.mode.Type() {
	case fs.ModeDir:
		return s.Mkdir(e.name, e.mode, e.file.Modified)
	case fs.ModeSymlink:
		return s.Symlink(e.name, e.target, e.file.Modified)
	}
	r, err := e.file.Open()
	if err != nil {
		return damaged(e.name, err)
	}
	defer r.Close()
	src := &zipReader{ctx: ctx, r: r, left: e.size()}
	n, err := s.File(e.name, e.mode, e.file.Modified, src)
	p.add(n)
	if src.err != nil && ctx.Err() == nil {
		return damaged(e.name, src.err)
	}
	return err
}

// zipReader reads a zipped file, never more than it said it had, and keeps its
// error apart from errors of where it is copied to.
type zipReader struct {
	ctx  context.Context
	r    io.Reader
	left int64
	err  error
}

func (z *zipReader) Read(p []byte) (int, error) {
	if err := z.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := z.r.Read(p)
	if z.left -= int64(n); z.left < 0 {
		n, err = 0, zip.ErrFormat
	}
	if err != nil && err != io.EOF {
		z.err = err
	}
	return n, err
}

// readZip returns what a code package holds, parents before their children, or
// refuses it.
func readZip(r io.ReaderAt, size, limit int64) ([]*zipEntry, error) {
	z, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil, errs.Newf(errs.Invalid, "Could not unzip uploaded file. Please check your file, then try to upload again. (%w)", err).WithReason(function.ReasonNotZip)
	}
	if len(z.File) > maxEntries {
		return nil, tooMany()
	}
	set := &zipSet{byName: map[string]*zipEntry{}, limit: limit}
	for _, f := range z.File {
		if err := set.add(f); err != nil {
			return nil, err
		}
	}
	return set.sorted()
}

// zipSet gathers the entries of a package.
type zipSet struct {
	byName map[string]*zipEntry
	size   int64
	limit  int64
}

func (s *zipSet) add(f *zip.File) error {
	name, err := cleanName(f.Name)
	if err != nil || name == "." {
		return err
	}
	e := &zipEntry{name: name, file: f}
	if e.mode, err = zipMode(name, f); err != nil {
		return err
	}
	if f.Flags&1 != 0 {
		return errs.Newf(errs.Invalid, "The package's file %q is encrypted. Make the package without a password.", name)
	}
	if f.UncompressedSize64 > uint64(s.limit) {
		return tooLarge(s.limit)
	}
	if s.size += e.size(); s.size > s.limit {
		return tooLarge(s.limit)
	}
	if e.mode.Type() == fs.ModeSymlink {
		if e.target, err = linkTarget(e); err != nil {
			return err
		}
	}
	if old, ok := s.byName[name]; ok && (!old.mode.IsDir() || !e.mode.IsDir()) {
		return errs.Newf(errs.Invalid, "The package holds %q twice.", name)
	}
	s.byName[name] = e
	return nil
}

// sorted returns the entries by name once their parents are known to be
// directories.
func (s *zipSet) sorted() ([]*zipEntry, error) {
	list := make([]*zipEntry, 0, len(s.byName))
	implied := map[string]bool{}
	for _, e := range s.byName {
		list = append(list, e)
		for dir := path.Dir(e.name); dir != "."; dir = path.Dir(dir) {
			if parent, ok := s.byName[dir]; ok {
				if !parent.mode.IsDir() {
					return nil, errs.Newf(errs.Invalid, "The package holds %q, but also %q, which is no directory.", e.name, dir)
				}
			} else if implied[dir] {
				break
			} else if implied[dir] = true; len(implied)+len(s.byName) > maxEntries {
				return nil, tooMany()
			}
		}
	}
	if len(list) == 0 {
		return nil, errs.Newf(errs.Invalid, "Uploaded file must be a non-empty zip").WithReason(function.ReasonEmptyPackage)
	}
	slices.SortFunc(list, func(a, b *zipEntry) int { return strings.Compare(a.name, b.name) })
	return list, nil
}

// cleanName returns a name of a package as it is in the tree. Names are bytes,
// but for NUL.
func cleanName(name string) (string, error) {
	refuse := func(why string) (string, error) {
		return "", errs.Newf(errs.Invalid, "The package's file %.200q %s.", name, why)
	}
	switch {
	case len(name) > maxPath:
		return refuse(fmt.Sprintf("has a name of over %d bytes", maxPath))
	case strings.HasPrefix(name, "/"):
		return refuse("has an absolute name: make the package with relative ones")
	case strings.Contains(name, `\`):
		return refuse(`has a backslash in its name: make the package with "/" between directories`)
	case strings.IndexByte(name, 0) >= 0:
		return refuse("has a NUL in its name")
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return refuse(`has ".." in its name`)
		}
		if len(part) > maxName {
			return refuse(fmt.Sprintf("has a part of over %d bytes in its name", maxName))
		}
	}
	return path.Clean(name), nil
}

// What a zip's creator field says about the system that it was made on.
const (
	creatorUnix  = 3
	creatorMacOS = 19
)

// Unix file types in the upper half of a zip's external attributes.
const (
	unixType    = 0o170000
	unixDir     = 0o040000
	unixRegular = 0o100000
	unixLink    = 0o120000
)

func zipMode(name string, f *zip.File) (fs.FileMode, error) {
	var mode uint32
	if creator := f.CreatorVersion >> 8; creator == creatorUnix || creator == creatorMacOS {
		mode = f.ExternalAttrs >> 16
	}
	dir := strings.HasSuffix(f.Name, "/") || mode&unixType == unixDir
	perm := fs.FileMode(mode) & fs.ModePerm
	switch {
	case dir && mode == 0:
		return fs.ModeDir | 0o755, nil
	case dir:
		return fs.ModeDir | perm, nil
	case mode == 0 && name == bootstrap:
		return 0o755, nil
	case mode == 0:
		return 0o644, nil
	}
	switch mode & unixType {
	case 0, unixRegular:
		return perm, nil
	case unixLink:
		return fs.ModeSymlink | fs.ModePerm, nil
	}
	return 0, errs.Newf(errs.Invalid, "The package's %q is neither a file, a directory nor a symbolic link.", name)
}

// linkTarget reads where a symbolic link leads and refuses it if that may be
// outside of the package. Only leading ".." are taken: those climb through real
// directories, since nothing lies under a link; later ones may climb from
// wherever another link leads.
func linkTarget(e *zipEntry) (string, error) {
	if e.file.UncompressedSize64 > maxTarget {
		return "", errs.Newf(errs.Invalid, "The package's symbolic link %q has a target of over %d bytes.", e.name, maxTarget)
	}
	r, err := e.file.Open()
	if err != nil {
		return "", damaged(e.name, err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxTarget+1))
	if err != nil {
		return "", damaged(e.name, err)
	}
	target := string(b)
	rest, depth := target, strings.Count(e.name, "/")
	for strings.HasPrefix(rest, "../") || rest == ".." {
		rest = strings.TrimPrefix(strings.TrimPrefix(rest, ".."), "/")
		depth--
	}
	if target == "" || strings.IndexByte(target, 0) >= 0 || path.IsAbs(target) || path.IsAbs(rest) || depth < 0 || slices.Contains(strings.Split(rest, "/"), "..") {
		return "", errs.Newf(errs.Invalid, "The package's symbolic link %q leads outside of it, to %.200q.", e.name, target)
	}
	return target, nil
}

func tooLarge(limit int64) error {
	return errs.Newf(errs.Invalid, "Unzipped size must be smaller than %d bytes", limit).WithReason(function.ReasonUnpacked)
}

func tooMany() error {
	return errs.Newf(errs.Invalid, "The package holds more than %d files and directories.", maxEntries)
}

func damaged(name string, err error) error {
	return errs.Newf(errs.Invalid, "Could not unzip uploaded file. Please check your file, then try to upload again. (%q: %w)", name, err).WithReason(function.ReasonNotZip)
}

// epoch is the time of what has none.
var epoch = time.Unix(0, 0)
