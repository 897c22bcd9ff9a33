package node

import (
	"github.com/mayfly-dev/mayfly/internal/api/aws/arn"
	"github.com/mayfly-dev/mayfly/internal/api/aws/payload"
	"github.com/mayfly-dev/mayfly/internal/invoke"
)

// place is what the node's identifiers say of it.
func (n *Node) place() arn.Place { return arn.Place{Region: n.cfg.Region, Account: n.cfg.Account} }

// words are how the ends of asynchronous calls are told.
func (n *Node) words() invoke.Words { return payload.Calls{Place: n.place()} }
