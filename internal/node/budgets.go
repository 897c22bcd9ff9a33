package node

import (
	"context"

	"github.com/mayfly-dev/mayfly/internal/budget"
	"github.com/mayfly-dev/mayfly/internal/delivery"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

// openBudgets reads the budgets, which refuse calls and tell people.
func (n *Node) openBudgets(ctx context.Context) error {
	bucket, err := n.spine.Bucket(ctx, spine.BudgetsBucket)
	if err != nil {
		return err
	}
	n.senders[event.API] = delivery.NewWebhooks()
	n.budgets, err = budget.Open(ctx, budget.Options{
		Bucket: bucket, Ledger: n.meter, Prices: n.prices, Courier: n.courier, Tags: n.tagsOf, Log: n.log,
	})
	return err
}

// allow is the invoker's question whether a call is within the budgets.
func (n *Node) allow(function, qualifier string) error { return n.budgets.Allow(function, qualifier) }
