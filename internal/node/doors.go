package node

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/admin"
	"github.com/mayfly-dev/mayfly/internal/api/aws/lambda"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/runtimes"
)

// Patience with clients. A request's body and answer may be large and slow, so
// they have no limit of time of their own.
const (
	headerLimit = 10 * time.Second
	idleLimit   = 2 * time.Minute
)

// maxAdminBody bounds a request to the admin door in bytes.
const maxAdminBody = 1 << 20

// openDoors makes the server and listens.
func (n *Node) openDoors(ctx context.Context) error {
	mux := wire.NewMux(wire.NewAuthenticator(n.keys), n.log)
	door := lambda.New(lambda.Options{
		Region: n.cfg.Region, Account: n.cfg.Account, Functions: n.registry, Invoker: n.invoker,
		Runtimes: runtimes.Names(), Concurrency: n.cfg.Concurrency,
		MaxSync: n.cfg.MaxSyncPayload, MaxAsync: n.cfg.MaxAsyncPayload, Log: n.log,
	})
	mux.Register(door.Service())
	mux.HandleHTTP(admin.Service, maxAdminBody, admin.New(admin.Config{
		Node: n.describe, Meter: n.meter, Prices: admin.ListPrices(goarch), Logs: n.logs,
		Functions: n.registry, Instances: n.pool, Log: n.log,
	}))
	root := http.NewServeMux()
	root.Handle("/", mux)
	root.Handle(lambda.CodePath, door.CodeHandler())
	root.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })

	var lc net.ListenConfig
	var err error
	if n.listener, err = lc.Listen(ctx, "tcp", n.cfg.Listen); err != nil {
		return fmt.Errorf("listen for the API; choose another address with --listen: %w", err)
	}
	n.server = &http.Server{
		Handler: root, ReadHeaderTimeout: headerLimit, IdleTimeout: idleLimit, MaxHeaderBytes: wire.MaxHeaderBytes,
		ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
	}
	return nil
}

// describe tells the admin door what this node is.
func (n *Node) describe() admin.Node {
	d := admin.Node{
		Version: n.version, Endpoint: n.Endpoint(), DataDir: n.cfg.DataDir, Region: n.cfg.Region, Account: n.cfg.Account,
		Driver: n.driver.Name(), Started: n.started, MemoryMB: n.cfg.MemoryMB, Warnings: n.warnings,
	}
	for _, r := range n.catalog.Found() {
		d.Runtimes = append(d.Runtimes, admin.Runtime{Name: r.Name, Version: r.Version, Path: r.Interpreter})
	}
	return d
}
