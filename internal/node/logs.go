package node

import (
	logsdoor "github.com/mayfly-dev/mayfly/internal/api/aws/logs"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
)

// logsService is the door to the logs for their own cloud's clients.
func (n *Node) logsService() *wire.Service {
	return logsdoor.New(logsdoor.Options{
		Region: n.cfg.Region, Account: n.cfg.Account, Store: n.logs, Functions: n.registry,
	}).Service()
}
