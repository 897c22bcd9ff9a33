package node

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/apigatewayv2"
	"github.com/mayfly-dev/mayfly/internal/api/aws/functionurl"
	"github.com/mayfly-dev/mayfly/internal/api/aws/httpapi"
	"github.com/mayfly-dev/mayfly/internal/api/aws/lambda"
	"github.com/mayfly-dev/mayfly/internal/endpoint"
	"github.com/mayfly-dev/mayfly/internal/logs"
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
	n.front.labels[labelURLs] = traced{spans: n.spans, Handler: functionurl.New(functionurl.Options{
		Region: n.cfg.Region, Account: n.cfg.Account, Domain: n.cfg.Domain, URLs: n.urls, Invoker: n.invoker,
		Auth: n.auth, MaxBody: n.cfg.MaxSyncPayload, Log: n.log,
	})}
	server := httpapi.New(httpapi.Options{
		Region: n.cfg.Region, Account: n.cfg.Account, Domain: n.cfg.Domain, Invoker: n.invoker,
		Auth: n.auth, MaxBody: maxAPIBody, Client: outward(), Log: n.log, Access: n.access,
	})
	n.apis, err = apigatewayv2.Open(ctx, apigatewayv2.Options{
		Region: n.cfg.Region, Account: n.cfg.Account, Domain: n.cfg.Domain, Bucket: bucket, Server: server, Client: outward(),
		URL: func(id string) string { return n.endpointURL(id, labelAPIs) },
	})
	if err != nil {
		return err
	}
	traced := traced{server, n.spans}
	n.front.labels[labelAPIs] = traced
	n.front.domains = func(host string) endpoint.Handler {
		if server.HasDomain(host) {
			return traced
		}
		return nil
	}
	return nil
}

// maxAPIBody bounds a request to an HTTP API in bytes: what API Gateway allows.
const maxAPIBody = 10 << 20

// outwardLimit bounds a request of the node itself to another server.
const outwardLimit = 10 * time.Second

// outward returns a client for servers elsewhere: issuers of tokens and HTTP
// integrations, which use its transport with a limit of their own.
func outward() *http.Client {
	return &http.Client{Timeout: outwardLimit, Transport: &http.Transport{
		ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 64, IdleConnTimeout: idleLimit, TLSHandshakeTimeout: outwardLimit,
		DisableCompression: true, // what is passed on stays as it is
	}}
}

// functionGroup begins the names of functions' log groups.
const functionGroup = "/aws/lambda/"

// access keeps a line of an API's access log with the logs of functions, under the
// group's name.
func (n *Node) access(group, line string) {
	name := strings.TrimPrefix(group, functionGroup)
	name = strings.Trim(notInLogName.ReplaceAllString(name, "-"), "-")
	if err := n.logs.Append(name, logs.Entry{Time: time.Now(), Stream: logs.Output, Text: line}); err != nil {
		n.log.Error("a line of an access log was lost", "group", group, "err", err)
	}
}

var notInLogName = regexp.MustCompile(`[^a-zA-Z0-9_-]+`)
