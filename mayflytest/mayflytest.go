// Package mayflytest gives a whole Mayfly node to a Go test: real sandboxes, real
// wire protocols, in the test's own process.
//
//	func TestMain(m *testing.M) { mayflytest.Main(m) }
//
//	func TestOrders(t *testing.T) {
//		node := mayflytest.Start(t)
//		// point an AWS SDK at node.Endpoint with node.AccessKey and node.SecretKey
//	}
//
// Tests must be built with CGO_ENABLED=0, as the node itself.
package mayflytest

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/node"
)

// Main runs a package's tests; TestMain must call it, and nothing else. A
// sandbox's kernel runs in copies of this very process, and Main is where they
// turn into it.
func Main(m *testing.M) {
	node.Reexec()
	os.Exit(m.Run())
}

// Options changes a node from its default. The zero value changes nothing.
type Options struct {
	DataDir       string           // "" is a new one that goes with the test
	Driver        string           // "gvisor" or "process"
	KeepAlive     time.Duration    // how long idle instances are kept
	MemoryMB      int              // for all instances together
	ReserveMB     int              // of the machine's memory, below which what idles gives way
	Concurrency   int              // calls at one time
	QueueLimit    time.Duration    // how long a call waits for an instance
	DrainLimit    time.Duration    // how long calls under way may take at the end
	VersionDirs   []string         // directories of version managers, for interpreters
	RetryWaits    []time.Duration  // between the runs of an asynchronous call whose function failed
	OTLP          string           // address of a collector of traces and metrics
	StrictRuntime bool             // refuse runtimes whose exact version is missing
	TLSListen     string           // HOST:PORT of TLS besides, with the two files
	TLSCert       string           // PEM file
	TLSKey        string           // PEM file
	EgressHost    []netip.AddrPort // services of this machine that functions may reach
	Log           io.Writer        // the node's own log; nil shows it when the test fails
}

// Node is a running node. Its fields don't change.
type Node struct {
	Endpoint  string // URL of its API
	Region    string
	Account   string
	AccessKey string
	SecretKey string
	DataDir   string

	stop func() error
}

// Stop ends the node in its orderly way, before the test's end does, and returns
// what its stop returned. Further calls return the same.
func (n *Node) Stop() error { return n.stop() }

// Start runs a node until the test ends. It fails the test when the node does
// not start, or does not stop cleanly.
func Start(t testing.TB) *Node {
	t.Helper()
	return StartWith(t, Options{})
}

// StartWith is Start with options.
func StartWith(t testing.TB, o Options) *Node {
	t.Helper()
	cfg := o.config(t)
	out := o.Log
	if out == nil {
		out = t.Output()
	}
	log := slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelWarn}))
	ctx, cancel := context.WithCancel(context.Background())
	inner, err := node.New(ctx, cfg, "test", log)
	if err != nil {
		cancel()
		t.Fatalf("start a node: %v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- inner.Run(ctx) }()
	key, _ := inner.Key()
	n := &Node{
		Endpoint: inner.Endpoint(), Region: cfg.Region, Account: cfg.Account,
		AccessKey: key.ID, SecretKey: key.Secret, DataDir: inner.Config().DataDir,
		stop: sync.OnceValue(func() error { cancel(); return <-ended }),
	}
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			t.Errorf("stop the node: %v", err)
		}
	})
	return n
}

func (o Options) config(t testing.TB) node.Config {
	cfg := node.Default()
	cfg.Listen = "127.0.0.1:0"
	cfg.DataDir = o.DataDir
	if cfg.DataDir == "" {
		cfg.DataDir = filepath.Join(t.TempDir(), "node")
	}
	cfg.StrictRuntimes = o.StrictRuntime
	cfg.VersionDirs = o.VersionDirs
	if o.RetryWaits != nil {
		cfg.RetryWaits = o.RetryWaits
	}
	set(&cfg.Driver, o.Driver)
	set(&cfg.OTLP, o.OTLP)
	set(&cfg.KeepAlive, o.KeepAlive)
	set(&cfg.MemoryMB, o.MemoryMB)
	set(&cfg.ReserveMB, o.ReserveMB)
	set(&cfg.Concurrency, o.Concurrency)
	set(&cfg.QueueLimit, o.QueueLimit)
	set(&cfg.DrainLimit, o.DrainLimit)
	set(&cfg.TLSListen, o.TLSListen)
	set(&cfg.TLSCert, o.TLSCert)
	set(&cfg.TLSKey, o.TLSKey)
	cfg.EgressHost = o.EgressHost
	return cfg
}

// set changes *to unless v is zero.
func set[T comparable](to *T, v T) {
	var zero T
	if v != zero {
		*to = v
	}
}
