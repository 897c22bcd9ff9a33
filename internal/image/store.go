// Package image builds the read-only file trees that sandboxes run on: code
// packages and the root file systems of language runtimes. Each is had as an
// EROFS image or as a directory, is built once, and is kept until Collect.
package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-dev/mayfly/internal/blob"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/image/erofs"
)

// MaxUnzipped is the default limit for the files of a code package, in bytes.
// It is Lambda's: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
const MaxUnzipped = 262144000

// grace protects an image from Collect for a while after it was asked for: its
// user may not have opened it yet.
const grace = 10 * time.Minute

const tmpPrefix = "tmp-"

// Blobs is where code packages come from. A blob.Store is one.
type Blobs interface {
	Open(ctx context.Context, key string) (blob.Reader, error)
}

// Config is what a Store needs. Dir, Blobs and Log must be set.
type Config struct {
	Dir         string       // for the images; the Store has it for itself
	Blobs       Blobs        // code packages, keyed by their SHA-256
	Log         *slog.Logger // told of each image built, and how long it took
	MaxUnzipped int64        // limit for a code package's files in bytes; 0 means MaxUnzipped
	Progress    func(Progress)
}

// Progress tells how far the building of one image is. Config.Progress gets it
// now and then, and once at the end with Done set, from any goroutine.
type Progress struct {
	Image   string // "code-…", "root-python3.11-…"
	Written int64  // bytes so far
	Total   int64  // bytes in all, 0 when unknown
	Done    bool
	Err     error // why it failed, when Done
}

// Store builds images and keeps them in a directory. Its methods and those of
// its Trees may be called from any goroutine; concurrent calls for one image
// build it once.
type Store struct {
	cfg    Config
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // of running builds

	mu     sync.Mutex
	builds map[string]*build    // by file name; guarded by mu
	used   map[string]time.Time // when a file was last asked for; guarded by mu
}

// build is an image in the making.
type build struct {
	done chan struct{} // closed when err is set
	err  error
}

// New returns the store in cfg.Dir, which is made if it is missing, and removes
// what interrupted builds left. Only one process may use it.
func New(cfg Config) (*Store, error) {
	if cfg.MaxUnzipped == 0 {
		cfg.MaxUnzipped = MaxUnzipped
	}
	if cfg.Progress == nil {
		cfg.Progress = func(Progress) {}
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("open image store: %w", err)
	}
	left, err := filepath.Glob(filepath.Join(cfg.Dir, tmpPrefix+"*"))
	if err != nil {
		return nil, fmt.Errorf("open image store: %w", err)
	}
	for _, name := range left {
		if err := removeTree(name); err != nil {
			return nil, fmt.Errorf("sweep image store: %w", err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Store{cfg: cfg, ctx: ctx, cancel: cancel, builds: map[string]*build{}, used: map[string]time.Time{}}, nil
}

// Close stops running builds and waits for them. Images that were built stay
// in place; the Store must not be used any more.
func (s *Store) Close() error {
	s.cancel()
	s.wg.Wait()
	return nil
}

// source is what an image is made from.
type source interface {
	// name returns the image's name without its suffix. Equal names mean equal
	// images, so it changes with everything that goes in.
	name(ctx context.Context) (string, error)
	// write puts the tree's entries into s, parents before what they hold, and
	// tells p the total.
	write(ctx context.Context, s sink, p *progress) error
}

// Tree is a file tree in a Store. It implements sandbox.Image: nothing is built
// before it is asked for.
type Tree struct {
	store *Store
	image source // for EROFS
	dir   source // for Dir
}

// EROFS returns the path of an EROFS image of the tree, building it if need be.
// The image belongs to root throughout and can be mapped by gVisor.
func (t *Tree) EROFS(ctx context.Context) (string, error) {
	return t.store.get(ctx, t.image, ".erofs", func(ctx context.Context, tmp string, p *progress) error {
		f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		w := erofs.NewWriter(f)
		err = t.image.write(ctx, w, p)
		if err == nil {
			err = w.Close()
		}
		if err == nil {
			err = f.Sync()
		}
		return errors.Join(err, f.Close())
	})
}

// Dir returns the path of a directory that holds the tree, building it if need
// be. See Store.Root for what that is for a root.
func (t *Tree) Dir(ctx context.Context) (string, error) {
	return t.store.get(ctx, t.dir, ".d", func(ctx context.Context, tmp string, p *progress) error {
		if err := os.Mkdir(tmp, 0o755); err != nil {
			return err
		}
		root, err := os.OpenRoot(tmp)
		if err != nil {
			return err
		}
		d := newDirSink(root)
		err = t.dir.write(ctx, d, p)
		if err == nil {
			err = d.finish()
		}
		return errors.Join(err, root.Close())
	})
}

// get returns the path of the image that src names, making it if it is missing.
func (s *Store) get(ctx context.Context, src source, suffix string, fill func(ctx context.Context, tmp string, p *progress) error) (string, error) {
	name, err := src.name(ctx)
	if err != nil {
		return "", err
	}
	path := filepath.Join(s.cfg.Dir, name+suffix)
	b, err := s.start(name, path, fill)
	if b == nil || err != nil {
		return path, err
	}
	select {
	case <-b.done:
		return path, b.err
	case <-ctx.Done():
		return "", fmt.Errorf("wait for image %s: %w", name, ctx.Err())
	}
}

// start returns the running build of path, which it starts if it must; nil if
// path is there. The build goes on when its first caller leaves: others may
// wait for it, and the next call would need it anyway.
func (s *Store) start(name, path string, fill func(ctx context.Context, tmp string, p *progress) error) (*build, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used[filepath.Base(path)] = time.Now()
	if b := s.builds[path]; b != nil {
		return b, nil
	}
	if _, err := os.Lstat(path); err == nil {
		return nil, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for image: %w", err)
	}
	if s.ctx.Err() != nil {
		return nil, errs.Newf(errs.Unavailable, "The image store is closed.")
	}
	b := &build{done: make(chan struct{})}
	s.builds[path] = b
	s.wg.Go(func() {
		b.err = s.run(name, path, fill)
		s.mu.Lock()
		delete(s.builds, path)
		s.mu.Unlock()
		close(b.done)
	})
	return b, nil
}

// run makes one image beside its place and moves it there.
func (s *Store) run(name, path string, fill func(ctx context.Context, tmp string, p *progress) error) error {
	start := time.Now()
	p := &progress{name: name, report: s.cfg.Progress}
	tmp := filepath.Join(s.cfg.Dir, tmpPrefix+filepath.Base(path))
	err := fill(s.ctx, tmp, p)
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err == nil {
		err = syncDir(s.cfg.Dir)
	}
	if err != nil {
		err = errors.Join(fmt.Errorf("build image %s: %w", name, err), removeTree(tmp))
	} else {
		s.cfg.Log.Info("image built", "image", name, "bytes", p.written, "took", time.Since(start).Round(time.Millisecond))
	}
	p.finish(err)
	return err
}

// Collect removes all images but those of keep, those asked for in the last ten
// minutes, and those in the making. A sandbox that has opened an image may go on
// using it; one that runs on a directory must have it in keep.
func (s *Store) Collect(ctx context.Context, keep ...*Tree) error {
	names := map[string]bool{}
	for _, t := range keep {
		for _, src := range []source{t.image, t.dir} {
			name, err := src.name(ctx)
			if err != nil {
				return fmt.Errorf("collect images: %w", err)
			}
			names[name] = true
		}
	}
	files, err := os.ReadDir(s.cfg.Dir)
	if err != nil {
		return fmt.Errorf("collect images: %w", err)
	}
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := strings.TrimSuffix(strings.TrimSuffix(f.Name(), ".erofs"), ".d")
		if names[name] || name == f.Name() || strings.HasPrefix(name, tmpPrefix) {
			continue
		}
		if err := s.discard(f.Name()); err != nil {
			return fmt.Errorf("collect images: %w", err)
		}
	}
	return nil
}

// discard removes an image unless it was asked for lately.
func (s *Store) discard(file string) error {
	tmp := filepath.Join(s.cfg.Dir, tmpPrefix+"old-"+file)
	s.mu.Lock()
	if time.Since(s.used[file]) < grace {
		s.mu.Unlock()
		return nil
	}
	delete(s.used, file)
	err := os.Rename(filepath.Join(s.cfg.Dir, file), tmp)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return removeTree(tmp)
}

// removeTree removes a tree whose directories may not be writable.
func removeTree(name string) error {
	err := filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	return os.RemoveAll(name)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
