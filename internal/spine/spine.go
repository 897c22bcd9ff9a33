// Package spine is the durable middle of the node: streams and key/value
// buckets on NATS JetStream. It is the only room that knows NATS.
//
// On one machine the server is embedded, without a TCP port, and syncs each
// write to disk before it is acknowledged; what work queues hold is in files beside
// it, as accepted calls wait for them. Past one machine the same code
// connects to an existing cluster. After Open there is one code path.
package spine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// maxMessage bounds one message in bytes: the largest queued call, its header
// and room for later kinds of event.
const maxMessage = 8 << 20

const startTimeout = 30 * time.Second

// Config says where the spine lives.
type Config struct {
	Dir      string // directory of the embedded server's files; used when URL is ""
	URL      string // address of an existing NATS cluster with JetStream, e.g. nats://host:4222
	Replicas int    // copies of each stream; 0 means 1 when embedded, 3 on a cluster
	Log      *slog.Logger
}

// Spine is an open connection to the engine. It is safe for concurrent use.
type Spine struct {
	srv      *server.Server // nil on an external cluster
	nc       *nats.Conn
	js       jetstream.JetStream
	replicas int
	log      *slog.Logger
	dir      string                // of the embedded server's files
	free     func() (int64, error) // bytes free on the embedded server's disk

	mu    sync.Mutex
	files []*files // guarded by mu: of work queues, beside the embedded server's
}

// Open starts the embedded server, or connects to the cluster that cfg names. It
// returns when the engine can serve.
func Open(ctx context.Context, cfg Config) (*Spine, error) {
	s := &Spine{replicas: cfg.Replicas, log: cfg.Log, dir: filepath.Clean(cfg.Dir), free: func() (int64, error) { return freeBytes(cfg.Dir) }}
	opts := []nats.Option{nats.Name("mayfly"), nats.MaxReconnects(-1)}
	if cfg.URL == "" {
		srv, err := startServer(cfg)
		if err != nil {
			return nil, err
		}
		s.srv = srv
		opts = append(opts, nats.InProcessServer(srv))
		s.replicas = max(s.replicas, 1)
	} else if s.replicas == 0 {
		s.replicas = 3
	}
	if err := s.connect(ctx, cfg.URL, opts); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Spine) connect(ctx context.Context, url string, opts []nats.Option) (err error) {
	if s.nc, err = nats.Connect(url, opts...); err != nil {
		return errs.Newf(errs.Unavailable, "connect to the spine at %q: %w", url, err)
	}
	if s.js, err = jetstream.New(s.nc, jetstream.WithPublishAsyncMaxPending(4096)); err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	if _, err = s.js.AccountInfo(ctx); err != nil {
		return errs.Newf(errs.Unavailable, "the spine at %q offers no JetStream: %w", url, err)
	}
	return nil
}

func startServer(cfg Config) (*server.Server, error) {
	srv, err := server.NewServer(&server.Options{
		ServerName: "mayfly",
		DontListen: true,
		JetStream:  true,
		StoreDir:   filepath.Clean(cfg.Dir),
		SyncAlways: true, // accepted means on disk
		MaxPayload: maxMessage,
		NoSigs:     true,
		// The engine's own caches stay small: a node at rest costs little.
		JetStreamMaxMemory: 64 << 20,
		JetStreamMaxStore:  1 << 40,
	})
	if err != nil {
		return nil, fmt.Errorf("make the spine in %s: %w", cfg.Dir, err)
	}
	srv.SetLoggerV2(serverLog{cfg.Log}, false, false, false)
	srv.Start()
	if !srv.ReadyForConnections(startTimeout) {
		srv.Shutdown()
		return nil, errs.Newf(errs.Unavailable, "the spine in %s did not start within %s; its log says why", cfg.Dir, startTimeout)
	}
	return srv, nil
}

// Close lets go of the engine; an embedded server is stopped and its files are
// closed. Work under way elsewhere on the spine fails.
func (s *Spine) Close() {
	if s.nc != nil {
		s.nc.Close()
	}
	if s.srv != nil {
		s.srv.Shutdown()
		s.srv.WaitForShutdown()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.files {
		f.close()
	}
}

// Usage returns how many streams there are and how many bytes they hold.
func (s *Spine) Usage(ctx context.Context) (streams int, bytes uint64, err error) {
	info, err := s.js.AccountInfo(ctx)
	if err != nil {
		return 0, 0, wrap(err, "ask for the spine's usage")
	}
	bytes = info.Store
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.files {
		bytes += f.bytes()
	}
	return info.Streams, bytes, nil
}

// stream makes the stream, or brings an existing one to cfg.
func (s *Spine) stream(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	cfg.Replicas = s.replicas
	cfg.Storage = jetstream.FileStorage
	st, err := s.js.CreateOrUpdateStream(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("make stream %s: %w", cfg.Name, err)
	}
	return st, nil
}

// publish stores one message durably before it returns its number. A message
// whose id was published within the stream's duplicate window is dropped. need
// bytes must be free on the disk.
func (s *Spine) publish(ctx context.Context, subject, id string, body []byte, need int64) (seq uint64, err error) {
	if err := s.room(need); err != nil {
		return 0, err
	}
	var opts []jetstream.PublishOpt
	if id != "" {
		opts = append(opts, jetstream.WithMsgID(id))
	}
	ack, err := s.js.Publish(ctx, subject, body, opts...)
	if err != nil {
		return 0, wrap(err, "store a message on %s", subject)
	}
	return ack.Sequence, nil
}

// wrap gives an engine's error its kind.
func wrap(err error, format string, args ...any) error {
	kind := errs.Internal
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled),
		errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrTimeout), errors.Is(err, nats.ErrNoResponders):
		kind = errs.Unavailable
	}
	return &errs.Error{Kind: kind, Message: fmt.Sprintf(format, args...), Err: err}
}

// serverLog sends the embedded server's own words to slog: what it calls a
// notice is routine here.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Noticef(f string, v ...any) { l.log.Debug(fmt.Sprintf(f, v...), "part", "spine") }
func (l serverLog) Warnf(f string, v ...any)   { l.log.Warn(fmt.Sprintf(f, v...), "part", "spine") }
func (l serverLog) Errorf(f string, v ...any)  { l.log.Error(fmt.Sprintf(f, v...), "part", "spine") }
func (l serverLog) Fatalf(f string, v ...any)  { l.log.Error(fmt.Sprintf(f, v...), "part", "spine") }
func (l serverLog) Debugf(string, ...any)      {}
func (l serverLog) Tracef(string, ...any)      {}
