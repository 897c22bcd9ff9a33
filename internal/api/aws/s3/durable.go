package s3

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/versity/versitygw/backend/posix"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// The backend leaves it to the kernel when files reach the disk. Here they are
// there before a request is answered.

// writeOut writes the contents of a staged file to its disk, before it gets its
// name. Nothing waits for the file system's journal here, which keeps order: after
// a power cut there is no name without the contents that came before. When the
// name is on disk, by syncObject, so is all.
func writeOut(staged *os.File) error {
	const all = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	err := unix.SyncFileRange(int(staged.Fd()), 0, 0, all)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ESPIPE) { // not on this file system
		return staged.Sync()
	}
	return err
}

// syncObject writes an object to disk with its attributes and with the
// directories of its bucket that lead to it; of a deleted one, the directories. Its
// newest old version goes with it.
func (s *Store) syncObject(name, key string) error {
	root := filepath.Join(s.cwd.dir, name)
	if err := syncUp(filepath.Join(root, key), root); err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(key))
	hash := hex.EncodeToString(sum[:])
	dir := filepath.Join(s.versions(), name, hash[:2], hash[2:4], hash[4:6], hash)
	entries, err := os.ReadDir(dir)
	if gone(err) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	return syncUp(filepath.Join(dir, entries[len(entries)-1].Name()), s.versions())
}

// syncNamed writes to disk what a request's path names: the attributes of a bucket
// or of an object. What can't be found is not there to be lost.
func (s *Store) syncNamed(path string) {
	name, key, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if name == "" || name == posix.MetaTmpDir || !filepath.IsLocal(name) || key != "" && !filepath.IsLocal(key) {
		return
	}
	if err := syncUp(filepath.Join(s.cwd.dir, name, key), s.cwd.dir); err != nil {
		s.cfg.Log.Error("the object store could not be written to disk", "bucket", name, "err", err)
	}
}

// syncUp writes path to disk and each directory above it up to root: all at the
// same time, for which the file system's journal needs one write and not one each.
func syncUp(path, root string) error {
	var group errgroup.Group
	group.SetLimit(maxSyncs)
	for ; ; path = filepath.Dir(path) {
		one := path
		group.Go(func() error { return syncFile(one) })
		if path == root || len(path) <= len(root) {
			return group.Wait()
		}
	}
}

const maxSyncs = 8 // of one path at a time; each holds a thread

// syncFile writes a file or directory to disk. One that is gone is no error.
func syncFile(path string) error {
	f, err := os.Open(path)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	err = f.Sync()
	return errors.Join(err, f.Close())
}

func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) }

// size returns the size of an object that has just been stored.
func (s *Store) size(name, key string) int64 {
	info, err := os.Stat(filepath.Join(s.cwd.dir, name, key))
	if err != nil || info.IsDir() {
		return 0
	}
	return info.Size()
}

// present reports whether there is a file for the object.
func (s *Store) present(name, key string) bool {
	_, err := os.Stat(filepath.Join(s.cwd.dir, name, key))
	return err == nil
}
