package node

import (
	"context"

	"github.com/mayfly-dev/mayfly/internal/api/admin"
	"github.com/mayfly-dev/mayfly/internal/api/aws/lambda"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/runtimes"
)

// maxAdminBody bounds a request to the admin door in bytes.
const maxAdminBody = 1 << 20

// openDoors makes the doors.
func (n *Node) openDoors(context.Context) error {
	mux := wire.NewMux(n.auth, n.log)
	mux.Restrict(permits)
	door := lambda.New(lambda.Options{
		Region: n.cfg.Region, Account: n.cfg.Account, Functions: n.registry, Invoker: n.invoker, Capacity: n.pool, Snapshots: n.pool,
		Runtimes: runtimes.Names(), Concurrency: n.cfg.Concurrency,
		MaxSync: n.cfg.MaxSyncPayload, MaxAsync: n.cfg.MaxAsyncPayload, Log: n.log,
		URLs: n.urls, URL: func(id string) string { return n.endpointURL(id, labelURLs) }, Policies: n.policies,
		Deleted:  func(name string) error { return n.replay.Set(name, nil) },
		Objects:  n.codeObjects(),
		Triggers: n.triggers,
	})
	mux.Register(door.Service())
	mux.Register(n.queueDoor())
	mux.Register(n.busDoor())
	mux.Register(n.scheduleDoor())
	mux.Register(n.logsService())
	mux.HandleHTTP(admin.Service, maxAdminBody, admin.New(admin.Config{
		Node: n.describe, Meter: n.meter, Prices: n.prices, List: n.list, Logs: n.logs, Spans: n.spans,
		Functions: n.registry, Instances: n.pool, Log: n.log,
		Replay: n.replay, Invoker: n.invoker, Budgets: n.budgets,
	}))
	mux.Register(n.apis.Service())
	n.front.rest = mux
	n.serveObjects(mux)
	n.front.paths = append(n.front.paths, pathHandler{lambda.CodePath, false, door.CodeHandler()})
	return nil
}

// describe tells the admin door what this node is.
func (n *Node) describe() admin.Node {
	d := admin.Node{
		Version: n.version, Endpoint: n.Endpoint(), DataDir: n.cfg.DataDir, Region: n.cfg.Region, Account: n.cfg.Account,
		Driver: n.driver.Name(), Started: n.started, MemoryMB: n.cfg.MemoryMB, Warnings: n.warnings,
		Snapshots: n.describeSnapshots(),
	}
	for _, r := range n.catalog.Found() {
		d.Runtimes = append(d.Runtimes, admin.Runtime{Name: r.Name, Version: r.Version, Path: r.Interpreter})
	}
	return d
}
