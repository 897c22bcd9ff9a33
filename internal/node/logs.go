package node

import (
	logsdoor "github.com/mayfly-dev/mayfly/internal/api/aws/logs"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/invoke"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

// sink is the place for what instances write.
func (n *Node) sink() sandbox.LineSink {
	if n.cfg.Unobserved {
		n.warn("Calls leave no logs, records, traces and metrics; bills are empty, and budgets see nothing: this node is for measurements (--unobserved).")
		return func(sandbox.Lines) {}
	}
	return invoke.Sink(n.logs, n.log)
}

// finished is who is told of calls that have run; nil for nobody.
func (n *Node) finished() func(invoke.Request, invoke.Result) {
	if n.cfg.Unobserved {
		return nil
	}
	return n.replay.Record
}

// logsService is the door to the logs for their own cloud's clients.
func (n *Node) logsService() *wire.Service {
	return logsdoor.New(logsdoor.Options{
		Region: n.cfg.Region, Account: n.cfg.Account, Store: n.logs, Functions: n.registry,
	}).Service()
}
