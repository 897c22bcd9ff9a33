// Package blob keeps bytes under keys: code packages, and bodies too large for
// a message. What is kept, and for how long, is its callers' business.
package blob

import (
	"context"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// MaxKey is the longest key, in bytes.
const MaxKey = 200

// Store keeps blobs. Its methods may be called from any goroutine, also for
// one key: a reader sees either the old or the new content, whole. A key that
// CheckKey refuses gives its error. Package blobtest holds the tests that every
// Store passes.
type Store interface {
	// Put stores all that r gives under key, in place of what was there, and
	// returns its size. When it returns without error the blob survives a
	// power cut; with an error nothing has changed.
	Put(ctx context.Context, key string, r io.Reader) (size int64, err error)

	// Open opens the blob for reading. A missing one is of kind errs.NotFound.
	// What was opened stays readable after a Put or Delete of its key.
	Open(ctx context.Context, key string) (Reader, error)

	// Delete removes the blob. Removing a missing one is no error.
	Delete(ctx context.Context, key string) error

	// List gives all blobs whose keys begin with prefix, which may be empty,
	// in the order of their keys. It ends after the first error. A blob put or
	// deleted meanwhile may be missed or given.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
}

// Reader reads one blob. ReadAt may be called from many goroutines.
type Reader interface {
	io.ReadSeekCloser
	io.ReaderAt
	Size() int64 // in bytes
}

// Info describes a blob.
type Info struct {
	Key      string
	Size     int64     // in bytes
	Modified time.Time // when it was put
}

// CheckKey returns an error of kind errs.Invalid unless key is 1 to MaxKey
// characters from a-z, 0-9, ".", "_" and "-" and begins with a letter or digit.
func CheckKey(key string) error {
	if key == "" || len(key) > MaxKey {
		return errs.Newf(errs.Invalid, "blob key %.40q has %d characters: it must have 1 to %d", key, len(key), MaxKey)
	}
	if strings.ContainsRune("._-", rune(key[0])) {
		return errs.Newf(errs.Invalid, "blob key %q must begin with a letter or digit", key)
	}
	for _, c := range []byte(key) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return errs.Newf(errs.Invalid, "blob key %q may hold only a-z, 0-9, \".\", \"_\" and \"-\"", key)
		}
	}
	return nil
}
