// Package node wires the whole house by hand, in one place: one process, one
// data directory.
package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mayfly-dev/mayfly/internal/access"
	"github.com/mayfly-dev/mayfly/internal/api/aws/apigatewayv2"
	"github.com/mayfly-dev/mayfly/internal/api/aws/emf"
	"github.com/mayfly-dev/mayfly/internal/api/aws/guest"
	"github.com/mayfly-dev/mayfly/internal/api/aws/lambda"
	"github.com/mayfly-dev/mayfly/internal/api/aws/s3"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/blob/disk"
	"github.com/mayfly-dev/mayfly/internal/bucket"
	"github.com/mayfly-dev/mayfly/internal/budget"
	"github.com/mayfly-dev/mayfly/internal/bus"
	"github.com/mayfly-dev/mayfly/internal/delivery"
	"github.com/mayfly-dev/mayfly/internal/endpoint"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/image"
	"github.com/mayfly-dev/mayfly/internal/invoke"
	"github.com/mayfly-dev/mayfly/internal/logs"
	"github.com/mayfly-dev/mayfly/internal/meter"
	"github.com/mayfly-dev/mayfly/internal/metrics"
	"github.com/mayfly-dev/mayfly/internal/queue"
	"github.com/mayfly-dev/mayfly/internal/replay"
	"github.com/mayfly-dev/mayfly/internal/runtimes"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
	"github.com/mayfly-dev/mayfly/internal/schedule"
	"github.com/mayfly-dev/mayfly/internal/snapshot"
	"github.com/mayfly-dev/mayfly/internal/spine"
	"github.com/mayfly-dev/mayfly/internal/trace"
	"github.com/mayfly-dev/mayfly/internal/trigger"
)

// AddressFile is the name of the file in the data directory in which a running
// node says how it is reached.
const AddressFile = "node.json"

// Address is the content of AddressFile.
type Address struct {
	Endpoint string `json:"endpoint"`
	Region   string `json:"region"`
	PID      int    `json:"pid"`
}

// Node is a whole node. New makes it, Run runs it and closes it.
type Node struct {
	cfg     Config
	log     *slog.Logger
	version string
	started time.Time

	lock      *os.File
	keys      *access.Keys
	first     bool // the keys were made by this start
	spine     *spine.Spine
	blobs     *disk.Store
	logs      *logs.Store
	meter     *meter.Ledger
	metrics   *metrics.Metrics
	reported  *emf.Reader
	spans     *trace.Spans
	exporter  *trace.Exporter // nil without a collector
	calls     *spine.Lanes
	replay    *replay.Store
	prices    meter.PriceSheet // in force
	list      meter.PriceSheet // of the cloud, for comparison
	catalog   *runtimes.Catalog
	images    *image.Store
	driver    sandbox.Driver
	network   closer       // nil without one
	callers   net.Listener // sandboxes that call the API; nil without a network
	planner   *planner
	shots     *snapshot.Store // nil when none are made
	pool      *sandbox.Pool
	registry  *function.Registry
	invoker   *invoke.Invoker
	signers   *access.Credentials // keys, and those of instances
	auth      *wire.Authenticator
	urls      *endpoint.URLs
	policies  *endpoint.Documents[lambda.Policy]
	apis      *apigatewayv2.Door
	notices   *bucket.Notifications
	objects   *s3.Store // nil on a machine that can't hold it
	front     *front
	capacity  *invoke.Capacity
	senders   event.Senders // by kind of target
	queues    *queue.Queues
	triggers  *trigger.Triggers
	courier   *delivery.Courier
	buses     *bus.Buses
	schedules *schedule.Schedules
	budgets   *budget.Budgets
	clock     *delivery.Clock
	server    *http.Server
	inner     *http.Server // for callers
	listener  net.Listener
	inside    *inside

	tlsServer    *http.Server // nil without TLS
	tlsListener  net.Listener // nil without TLS
	certificates closer       // nil unless they come by themselves

	warnings []string // full sentences; not changed after New
}

type closer interface{ Close() error }

// New opens everything in the data directory, sweeps what a dead node left in
// it, and listens; Run serves. version is shown to clients. On an error nothing
// is left open.
func New(ctx context.Context, cfg Config, version string, log *slog.Logger) (_ *Node, err error) {
	cfg, err = cfg.check()
	if err != nil {
		return nil, err
	}
	if cfg.DataDir, err = filepath.Abs(cfg.DataDir); err != nil {
		return nil, fmt.Errorf("find the data directory: %w", err)
	}
	n := &Node{cfg: cfg, log: log, metrics: metrics.New(version), version: version, started: time.Now(), senders: event.Senders{}, front: newFront(cfg.Domain)}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	for _, open := range []func(context.Context) error{
		n.openDir, n.openStores, n.openTraces, n.openMeter, n.openReplay, n.openRuntimes, n.openDriver, n.openSnapshots, n.openCore,
		n.openEndpoints, n.openQueues, n.openTriggers, n.openBuses, n.openSchedules, n.openBudgets,
		n.openObjects, n.openMetrics,
		n.openDoors, n.openConsole, n.openServer, n.openTLS,
	} {
		if err := open(ctx); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func (n *Node) path(name string) string { return filepath.Join(n.cfg.DataDir, name) }

func (n *Node) openDir(context.Context) (err error) {
	if n.lock, err = lock(n.cfg.DataDir); err != nil {
		return err
	}
	if n.keys, n.first, err = access.Open(n.cfg.DataDir); err != nil {
		return err
	}
	if n.signers, err = n.keys.WithFunctions(n.cfg.DataDir); err != nil {
		return err
	}
	n.auth = wire.NewAuthenticator(n.signers)
	return nil
}

func (n *Node) openStores(ctx context.Context) (err error) {
	if n.spine, err = spine.Open(ctx, spine.Config{Dir: n.path("spine"), URL: n.cfg.Spine, Log: n.log}); err != nil {
		return err
	}
	if n.blobs, err = disk.Open(n.path("blobs")); err != nil {
		return err
	}
	n.reported = emf.New(n.metrics)
	if n.logs, err = logs.Open(logs.Config{Dir: n.path("logs"), Wrote: n.reported.Line}, n.log); err != nil {
		return err
	}
	return nil
}

func (n *Node) openRuntimes(ctx context.Context) (err error) {
	n.catalog, err = runtimes.Detect(ctx, runtimes.Config{
		Dirs: n.cfg.InterpreterDirs, VersionDirs: n.cfg.VersionDirs, Strict: n.cfg.StrictRuntimes,
	})
	if err != nil {
		return err
	}
	n.images, err = image.New(image.Config{Dir: n.path("images"), Blobs: n.blobs, Log: n.log})
	return err
}

// openCore makes what runs functions.
func (n *Node) openCore(ctx context.Context) error {
	inside, err := guest.New(guest.Config{
		Account: n.cfg.Account, Region: n.cfg.Region, Resolve: n.catalog.Resolve, MaxResponse: n.cfg.MaxAnswer,
		Access: n.instanceAccess, Services: servicesOfFunctions(),
	})
	if err != nil {
		return err
	}
	n.planner = &planner{
		catalog: n.catalog, images: n.images, driver: n.driver, guest: inside, files: guest.Files,
		capCPU: n.cfg.CPU == CPUCap, reach: n.network != nil || n.cfg.Driver == DriverProcess, roots: map[runtimes.Runtime]*image.Tree{},
	}
	n.pool = sandbox.NewPool(sandbox.PoolConfig{
		Driver: n.driver, Plan: n.planner.plan, Sink: n.sink(), Log: n.log,
		KeepAlive: n.cfg.KeepAlive, Linger: n.cfg.Linger, MemoryMB: n.cfg.MemoryMB, Starts: n.cfg.Starts, Saturated: sandbox.NewCPUs().Saturated,
		TrimAfter: trimAfter, Available: sandbox.Available, ReserveMB: n.cfg.ReserveMB,
		Snapshots: n.shots, SpareMB: n.cfg.SpareMB, InitLimit: n.cfg.InitLimit, QueueLimit: n.cfg.QueueLimit, MaxResponse: n.cfg.MaxAnswer, MaxStream: n.cfg.MaxStream,
	})
	bucket, err := n.spine.Bucket(ctx, spine.FunctionsBucket)
	if err != nil {
		return err
	}
	limits := function.DefaultLimits(goarch)
	limits.MemoryMB = min(limits.MemoryMB, n.cfg.MemoryMB)
	limits.Concurrency = n.cfg.Concurrency
	n.registry, err = function.Open(ctx, function.Options{
		Bucket: bucket, Packages: n.blobs, Runtimes: n.planner, Builder: n.planner,
		Limits: limits, Log: n.log, Obsolete: n.pool.Retire,
		Changed:   func() { n.capacity.Changed() },
		Published: n.wantSnapshot,
	})
	if err != nil {
		return err
	}
	n.capacity = invoke.NewCapacity(n.registry, n.pool, n.meter)
	if n.calls, err = n.spine.Calls(ctx); err != nil {
		return err
	}
	n.signers.Know(n.registry)
	n.invoker = invoke.New(invoke.Config{
		Functions: n.registry, Pool: n.pool, Logs: n.logs, Meter: n.meter, Calls: n.calls, Log: n.log,
		Blobs: n.blobs, Senders: n.senders, Words: n.words(), RetryWaits: n.cfg.RetryWaits,
		MaxSync: n.cfg.MaxSyncPayload, MaxAsync: n.cfg.MaxAsyncPayload, Unobserved: n.cfg.Unobserved, Finished: n.finished(),
		Allow: n.allow, Throttled: n.metrics.Throttled, GivenUp: n.metrics.DeadLetter,
	})
	n.senders[event.Function] = n.invoker
	return nil
}

// Endpoint returns the URL under which the API is served.
func (n *Node) Endpoint() string { return "http://" + n.listener.Addr().String() }

// Key returns the node's access key, and whether this start made it.
func (n *Node) Key() (key access.Key, first bool) { return n.keys.Primary(), n.first }

// Warnings returns what this node can't do, or does differently, in full
// sentences for its operator.
func (n *Node) Warnings() []string { return n.warnings }

// Config returns the configuration in force.
func (n *Node) Config() Config { return n.cfg }

// Runtimes returns the language runtimes found on the machine.
func (n *Node) Runtimes() []runtimes.Runtime { return n.catalog.Found() }

// Run serves until ctx ends, then stops in reverse and leaves nothing behind. It
// returns nil after a clean stop. It is called once.
func (n *Node) Run(ctx context.Context) error {
	if err := n.announce(); err != nil {
		return errors.Join(err, n.close())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// The meter and the recorder outlive what they listen to.
	meterCtx, stopMeter := context.WithCancel(context.WithoutCancel(ctx))
	defer stopMeter()
	metered := make(chan error, 1)
	go func() {
		var listeners errgroup.Group
		listeners.Go(func() error { return n.meter.Run(meterCtx) })
		listeners.Go(func() error { return n.replay.Run(meterCtx) })
		listeners.Go(func() error { return n.readReported(meterCtx) })
		listeners.Go(func() error { return n.export(meterCtx) })
		metered <- listeners.Wait()
	}()

	if _, err := n.invoker.Reconcile(ctx); err != nil && ctx.Err() == nil { // stopped already: the next start does it
		stopMeter()
		return errors.Join(err, <-metered, n.close())
	}

	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.logs.Run(gctx) })
	g.Go(func() error { return n.registry.Run(gctx) })
	g.Go(func() error { return n.invoker.Run(gctx) })
	g.Go(func() error { return n.capacity.Run(gctx) })
	g.Go(func() error { return n.collectImages(gctx) })
	g.Go(func() error { return n.expectStarts(gctx) })
	g.Go(func() error { return n.pool.Run(gctx) })
	g.Go(func() error { return n.queues.Run(gctx) })
	g.Go(func() error { return n.triggers.Run(gctx) })
	g.Go(func() error { return n.notices.Run(gctx) })
	g.Go(func() error { return n.courier.Run(gctx) })
	g.Go(func() error { return n.clock.Run(gctx) })
	g.Go(func() error { return n.schedules.Run(gctx) })
	g.Go(func() error { return n.budgets.Run(gctx) })
	g.Go(func() error { return n.serve(n.listener) })
	g.Go(func() error { return n.serve(n.inside) })
	g.Go(n.serveSandboxes)
	g.Go(n.serveTLS)
	g.Go(func() error {
		<-gctx.Done()
		return n.drain()
	})
	err := g.Wait()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // a part that was stopped while it was still beginning
	}
	n.log.Info("stopping: calls are done")
	stopMeter()
	return errors.Join(err, <-metered, n.close())
}

// serve answers the requests that come by l until the server is shut down.
func (n *Node) serve(l net.Listener) error {
	if err := n.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", n.Endpoint(), err)
	}
	return nil
}

// serveTLS is serve for TLS, if the node has that.
func (n *Node) serveTLS() error {
	if n.tlsServer == nil {
		return nil
	}
	if err := n.tlsServer.ServeTLS(n.tlsListener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve TLS: %w", err)
	}
	return nil
}

// shutdown has all servers refuse new requests and waits for those under way.
func (n *Node) shutdown(ctx context.Context) error {
	var both errgroup.Group
	for _, s := range n.servers() {
		both.Go(func() error { return s.Shutdown(ctx) })
	}
	return both.Wait()
}

func (n *Node) servers() []*http.Server {
	all := []*http.Server{n.server, n.inner}
	if n.tlsServer != nil {
		all = append(all, n.tlsServer)
	}
	return all
}

// drain refuses new requests and lets those under way finish within the limit;
// then they are cut off.
func (n *Node) drain() error {
	n.log.Info("stopping: letting calls finish", "limit", n.cfg.DrainLimit)
	ctx, cancel := context.WithTimeout(context.Background(), n.cfg.DrainLimit)
	defer cancel()
	err := n.shutdown(ctx)
	if err := n.pool.Close(ctx); err != nil {
		n.log.Warn("stopping: " + err.Error())
	}
	if err != nil { // their calls have just been cut off: they end now
		last, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err = n.shutdown(last); err != nil {
			err = nil
			for _, s := range n.servers() {
				err = errors.Join(err, s.Close())
			}
		}
	}
	return err
}

// announce writes how the node is reached, for the command line on this machine.
func (n *Node) announce() error {
	b, err := json.Marshal(Address{Endpoint: n.Endpoint(), Region: n.cfg.Region, PID: os.Getpid()})
	if err != nil {
		return fmt.Errorf("announce the node: %w", err)
	}
	path := n.path(AddressFile)
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return fmt.Errorf("announce the node: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("announce the node: %w", err)
	}
	return nil
}

// close lets go of everything that was opened, in reverse. It is safe on a node
// that is only half made.
func (n *Node) close() error {
	var all []error
	if n.listener != nil {
		n.listener.Close() // the server has closed it already, or never served
	}
	if n.objects != nil {
		all = append(all, n.objects.Close())
	}
	if n.tlsListener != nil {
		n.tlsListener.Close() // as above
	}
	if n.certificates != nil {
		all = append(all, n.certificates.Close())
	}
	if n.pool != nil {
		done, cancel := context.WithCancel(context.Background())
		cancel()
		n.pool.Close(done) // drained before, or never used
	}
	if n.driver != nil {
		all = append(all, n.driver.Close())
	}
	if n.network != nil {
		all = append(all, n.network.Close())
	}
	if n.images != nil {
		all = append(all, n.images.Close())
	}
	if n.logs != nil {
		all = append(all, n.logs.Close())
	}
	if n.replay != nil {
		all = append(all, n.replay.Close())
	}
	if n.meter != nil {
		all = append(all, n.meter.Close())
	}
	if n.spine != nil {
		n.spine.Close()
	}
	if n.lock != nil {
		os.Remove(n.path(AddressFile)) // missing if the node never ran
		all = append(all, n.lock.Close())
	}
	return errors.Join(all...)
}
