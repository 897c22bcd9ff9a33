package node

import (
	"context"

	"github.com/mayfly-dev/mayfly/internal/api/aws/functionurl"
	"github.com/mayfly-dev/mayfly/internal/api/aws/lambda"
	"github.com/mayfly-dev/mayfly/internal/endpoint"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

// openEndpoints opens what makes functions reachable over HTTP.
func (n *Node) openEndpoints(ctx context.Context) error {
	bucket, err := n.spine.Bucket(ctx, spine.EndpointsBucket)
	if err != nil {
		return err
	}
	if n.urls, err = endpoint.OpenURLs(ctx, bucket); err != nil {
		return err
	}
	if n.policies, err = endpoint.OpenDocuments[lambda.Policy](ctx, bucket, "policy"); err != nil {
		return err
	}
	n.front.labels[labelURLs] = functionurl.New(functionurl.Options{
		Region: n.cfg.Region, Account: n.cfg.Account, Domain: n.cfg.Domain, URLs: n.urls, Invoker: n.invoker,
		Auth: n.auth, MaxBody: n.cfg.MaxSyncPayload, Log: n.log,
	})
	return nil
}
