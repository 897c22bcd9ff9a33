// Package s3 is the door for Amazon S3's API. An embedded versitygw serves it
// from files below one directory; what it lacks, the configuration of
// notifications, is served here, from AWS's model.
//
// api_gen.go holds the generated shapes. docs/api-coverage.md says which
// operations are served.
package s3

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"sync"

	"github.com/valyala/fasthttp"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3api/utils"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/bucket"
	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Limits of the store.
const (
	maxRequests = 512 // under way at a time; each may hold a thread
	ioBuffer    = 128 << 10
	maxParts    = 10_000
	maxCopy     = 5 << 30 // bytes of an object that is copied by one request
)

// Changes is told of the changes of objects, and keeps what it was told before
// it returns. It is safe for concurrent use.
type Changes interface {
	// Wants reports whether changes in the bucket are worth being told.
	Wants(bucket string) bool
	// Record takes a change; when it returns nil the change is on disk.
	Record(ctx context.Context, c bucket.Change) error
	// Forget drops what is configured for a bucket that was deleted.
	Forget(ctx context.Context, bucket string) error
}

// Config says how a Store is made. All fields are required.
type Config struct {
	Dir         string // absolute; made if need be
	Region      string
	Account     string // 12 digits; it owns all buckets
	Credentials wire.Credentials
	Changes     Changes
	Limited     func(accessKey string) bool // whether the key is for objects only
	Log         *slog.Logger
}

// Store keeps buckets and their objects, and serves them to HTTP clients. It is
// safe for concurrent use.
type Store struct {
	cfg     Config
	cwd     *workdir
	backend *recorder
	account auth.Account
	gateway fasthttp.RequestHandler
	quiet   *log.Logger // of the gateway
	buffers *sync.Pool
}

// Open opens the store; its Front serves it.
func Open(cfg Config) (_ *Store, err error) {
	s := &Store{cfg: cfg, buffers: newBuffers()}
	buckets := filepath.Join(cfg.Dir, "buckets")
	for _, dir := range []string{buckets, s.versions()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make the object store: %w", err)
		}
	}
	if s.cwd, err = openWorkdir(buckets); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.cwd.close()
		}
	}()
	files, err := s.openFiles()
	if err != nil {
		return nil, err
	}
	identity := newIdentity(cfg.Credentials, cfg.Account)
	s.account = identity.account
	s.backend = &recorder{Backend: files, files: files, store: s, changes: cfg.Changes, log: cfg.Log, seed: maphash.MakeSeed()}
	return s, s.openGateway(identity)
}

func (s *Store) versions() string { return filepath.Join(s.cfg.Dir, "versions") }

// openFiles opens the backend that keeps objects in files.
func (s *Store) openFiles() (files *posix.Posix, err error) {
	opts := posix.PosixOpts{Concurrency: maxRequests, IOBufferSize: ioBuffer, ForceNoObjLockFile: true, CopyObjectThreshold: maxCopy}
	opts.SetNewDirPerm(0o700)
	opts.SetNewFilePerm(0o600)
	refused := s.cwd.do(func() { // it moves the working directory
		if err = (meta.XattrMeta{}).Test("."); err == nil {
			files, err = posix.New(".", meta.XattrMeta{}, opts)
		}
	})
	if err := errors.Join(refused, err); err != nil {
		return nil, errs.Newf(errs.Unavailable, "open the object store in %s: %w", s.cwd.dir, err)
	}
	// The option for it prints a line on the standard output.
	f := reflect.ValueOf(files).Elem().FieldByName("versioningDir")
	if !f.IsValid() || f.Kind() != reflect.String {
		return nil, errors.New("open the object store: this version of versitygw keeps its directory of versions elsewhere")
	}
	reflect.NewAt(f.Type(), f.Addr().UnsafePointer()).Elem().SetString(s.versions())
	return files, nil
}

// Close lets go of the files. Requests under way have ended before.
func (s *Store) Close() error {
	s.backend.Shutdown()
	s.cwd.close()
	return nil
}

// Exists reports whether there is such a bucket.
func (s *Store) Exists(name string) bool {
	if !utils.IsValidBucketName(name) {
		return false
	}
	info, err := os.Stat(filepath.Join(s.cwd.dir, name))
	return err == nil && info.IsDir()
}

// background is the context of the store's own requests to the backend.
func (s *Store) background(ctx context.Context) context.Context {
	return context.WithValue(ctx, "account", s.account) //nolint:staticcheck // the key is the gateway's
}

var _ backend.Backend = (*recorder)(nil)

var _ io.Closer = (*Store)(nil)
