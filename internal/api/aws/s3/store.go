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
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"time"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"
	"github.com/versity/versitygw/s3api/utils"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/bucket"
	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Limits of the store.
const (
	maxRequests = 512 // under way at a time; each holds a thread
	ioBuffer    = 128 << 10
	maxParts    = 10_000
	maxCopy     = 5 << 30 // bytes of an object that is copied by one request
	startLimit  = 10 * time.Second
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
	dir     *os.File // cfg.Dir
	cwd     *workdir
	backend *recorder
	account auth.Account
	server  *s3api.S3ApiServer
	served  chan error // what serving returned
	socket  string
	proxy   http.Handler
	conns   *http.Transport
}

// Open opens the store and starts to serve it on a socket in its directory that
// only this user can reach; ServeHTTP leads there.
func Open(ctx context.Context, cfg Config) (_ *Store, err error) {
	s := &Store{
		cfg: cfg, cwd: newWorkdir(filepath.Join(cfg.Dir, "buckets"), maxRequests),
		served: make(chan error, 1),
	}
	for _, dir := range []string{s.cwd.dir, s.versions()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make the object store: %w", err)
		}
	}
	if s.dir, err = os.Open(cfg.Dir); err != nil {
		return nil, fmt.Errorf("open the object store: %w", err)
	}
	defer func() {
		if err != nil {
			s.dir.Close()
		}
	}()
	files, err := s.openFiles(ctx)
	if err != nil {
		return nil, err
	}
	identity := newIdentity(cfg.Credentials, cfg.Account)
	s.account = identity.account
	s.backend = &recorder{Backend: files, files: files, store: s, changes: cfg.Changes, log: cfg.Log, seed: maphash.MakeSeed()}
	if err := s.serve(ctx, identity); err != nil {
		return nil, err
	}
	s.openProxy()
	return s, nil
}

func (s *Store) versions() string { return filepath.Join(s.cfg.Dir, "versions") }

// openFiles opens the backend that keeps objects in files.
func (s *Store) openFiles(ctx context.Context) (files *posix.Posix, err error) {
	opts := posix.PosixOpts{Concurrency: maxRequests, IOBufferSize: ioBuffer, ForceNoObjLockFile: true, CopyObjectThreshold: maxCopy}
	opts.SetNewDirPerm(0o700)
	opts.SetNewFilePerm(0o600)
	refused := s.cwd.do(ctx, func() { // it moves the working directory
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

// serve starts the gateway and returns when it can be reached.
func (s *Store) serve(ctx context.Context, identity identity) (err error) {
	utils.SetBucketNameValidationStrict(true)
	ready := make(chan struct{})
	// Nobody is the gateway's root: its account is the node's.
	nobody := middlewares.RootUserConfig{Access: rootAccess, Secret: randomSecret()}
	s.server, err = s3api.New(s.backend, nobody, s.cfg.Region, identity, nil, nil, nil, nil,
		s3api.WithQuiet(), s3api.WithKeepAlive(), s3api.WithMpMaxParts(maxParts),
		s3api.WithConcurrencyLimiter(2*maxRequests, maxRequests), s3api.WithSocketPerm(0o600),
		s3api.WithMiddleware("/", s.within), s3api.WithOnListen(func() { close(ready) }))
	if err != nil {
		return fmt.Errorf("make the S3 gateway: %w", err)
	}
	// A socket's path may have 107 bytes; that of the data directory has any number.
	s.socket = "/proc/self/fd/" + strconv.Itoa(int(s.dir.Fd())) + "/s3.sock"
	if err := os.Remove(s.socket); err != nil && !errors.Is(err, os.ErrNotExist) { // a dead node's
		return fmt.Errorf("make the S3 gateway: %w", err)
	}
	go func() { s.served <- s.server.ServeMultiPort([]string{s.socket}) }()
	select {
	case <-ready:
		return nil
	case err := <-s.served:
		return fmt.Errorf("start the S3 gateway: %w", err)
	case <-time.After(startLimit):
		return errors.New("start the S3 gateway: it is not ready")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close ends the service. Requests under way have ended before.
func (s *Store) Close() error {
	s.conns.CloseIdleConnections()
	err := s.server.ShutDown()
	<-s.served // which says that its listener was closed
	s.backend.Shutdown()
	return errors.Join(err, s.dir.Close())
}

// Exists reports whether there is such a bucket.
func (s *Store) Exists(name string) bool {
	if !utils.IsValidBucketName(name) {
		return false
	}
	info, err := os.Stat(filepath.Join(s.cwd.dir, name))
	return err == nil && info.IsDir()
}

func (s *Store) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", s.socket)
}

// background is the context of the store's own requests to the backend.
func (s *Store) background(ctx context.Context) context.Context {
	return context.WithValue(ctx, "account", s.account) //nolint:staticcheck // the key is the gateway's
}

var _ backend.Backend = (*recorder)(nil)

var _ io.Closer = (*Store)(nil)
