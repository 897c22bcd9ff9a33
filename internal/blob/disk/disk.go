// Package disk keeps blobs as files in a directory.
//
// A blob with key abcdef is the file ab/abcdef. Puts go through tmp/, so that a
// blob is either whole or not there.
package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/blob"
	"github.com/mayfly-dev/mayfly/internal/errs"
)

const (
	tmp      = "tmp" // no shard has a name of three characters
	shardLen = 2
)

// Store is a blob.Store in a directory that it has for itself.
type Store struct{ dir string }

var _ blob.Store = (*Store)(nil)

// Open returns the store in dir, which is made if it is missing, and removes
// what interrupted Puts left. Only one process may have it open.
func Open(dir string) (*Store, error) {
	t := filepath.Join(dir, tmp)
	if err := os.RemoveAll(t); err != nil {
		return nil, fmt.Errorf("sweep blob store: %w", err)
	}
	if err := os.MkdirAll(t, 0o700); err != nil {
		return nil, fmt.Errorf("open blob store: %w", err)
	}
	if err := syncDir(dir); err != nil {
		return nil, fmt.Errorf("open blob store: %w", err)
	}
	return &Store{dir: dir}, nil
}

// Put implements blob.Store.
func (s *Store) Put(ctx context.Context, key string, r io.Reader) (size int64, err error) {
	if err := blob.CheckKey(key); err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("put blob %s: %w", key, err)
		}
	}()
	f, err := os.CreateTemp(filepath.Join(s.dir, tmp), "put-*")
	if err != nil {
		return 0, err
	}
	size, err = io.Copy(f, &reader{ctx, r})
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = s.install(f.Name(), key)
	}
	if err != nil {
		return 0, errors.Join(err, remove(f.Name()))
	}
	return size, nil
}

// install gives a complete file its place.
func (s *Store) install(name, key string) error {
	dir := filepath.Dir(s.path(key))
	switch err := os.Mkdir(dir, 0o700); {
	case err == nil:
		if err := syncDir(s.dir); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrExist):
		return err
	}
	if err := os.Rename(name, s.path(key)); err != nil {
		return err
	}
	return syncDir(dir)
}

// Open implements blob.Store.
func (s *Store) Open(_ context.Context, key string) (blob.Reader, error) {
	if err := blob.CheckKey(key); err != nil {
		return nil, err
	}
	f, err := os.Open(s.path(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errs.Newf(errs.NotFound, "there is no blob %s", key)
	}
	if err != nil {
		return nil, fmt.Errorf("open blob: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open blob: %w", err), f.Close())
	}
	return &file{f, st.Size()}, nil
}

// Delete implements blob.Store.
func (s *Store) Delete(_ context.Context, key string) error {
	if err := blob.CheckKey(key); err != nil {
		return err
	}
	if err := remove(s.path(key)); err != nil {
		return fmt.Errorf("delete blob: %w", err)
	}
	return nil
}

// List implements blob.Store.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		shards, err := os.ReadDir(s.dir)
		if err != nil {
			yield(blob.Info{}, fmt.Errorf("list blobs: %w", err))
			return
		}
		for _, d := range shards {
			n := min(len(prefix), shardLen)
			if len(d.Name()) > shardLen || !strings.HasPrefix(d.Name(), prefix[:n]) {
				continue
			}
			if !s.listShard(ctx, d.Name(), prefix, yield) {
				return
			}
		}
	}
}

func (s *Store) listShard(ctx context.Context, shard, prefix string, yield func(blob.Info, error) bool) bool {
	files, err := os.ReadDir(filepath.Join(s.dir, shard))
	if err != nil {
		yield(blob.Info{}, fmt.Errorf("list blobs: %w", err))
		return false
	}
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			yield(blob.Info{}, err)
			return false
		}
		if !strings.HasPrefix(f.Name(), prefix) {
			continue
		}
		st, err := f.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			yield(blob.Info{}, fmt.Errorf("list blobs: %w", err))
			return false
		}
		if !yield(blob.Info{Key: f.Name(), Size: st.Size(), Modified: st.ModTime()}, nil) {
			return false
		}
	}
	return true
}

func (s *Store) path(key string) string {
	return filepath.Join(s.dir, key[:min(len(key), shardLen)], key)
}

// file is a blob.Reader.
type file struct {
	*os.File
	size int64
}

func (f *file) Size() int64 { return f.size }

// reader ends a Put whose context has ended.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

func remove(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncDir makes renames and new names in dir survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
