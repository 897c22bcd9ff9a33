// Package sqs is the door for Amazon SQS's API, in both forms that clients speak:
// JSON 1.0 and the older query protocol. It turns requests into calls of the
// queues, and what they answer into SQS's shapes and error codes.
//
// api_gen.go holds the shapes, which come from AWS's model. docs/api-coverage.md
// says which operations and parameters are served.
package sqs

import (
	"context"
	"net/url"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/api/aws/arn"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/queue"
)

// Options are what a Door is made of. All are required.
type Options struct {
	Region  string
	Account string // 12 digits
	Queues  *queue.Queues
	// Lineage reads the functions that a chain of events came through from a trace
	// header.
	Lineage func(header string) event.Lineage
}

// Door serves SQS's API. It is safe for concurrent use.
type Door struct{ o Options }

var _ API = (*Door)(nil)

// New returns a Door.
func New(o Options) *Door { return &Door{o} }

// maxRequest is the largest request, in bytes: a message of the largest size whose
// every byte is escaped, with some room for the rest.
const maxRequest = 8 << 20

// Service returns the service for a wire.Mux.
func (d *Door) Service() *wire.Service {
	s := NewService(d)
	for code, query := range plainCodes {
		s.Errors[code] = wire.ErrorInfo{Status: 400, Message: "message", Sender: true, Query: query}
	}
	for _, op := range s.Operations {
		s.Limit(op.Name, maxRequest, wire.Errorf(CodeBatchRequestTooLong, "Batch requests cannot be longer than %d bytes.", queue.MaxSize))
	}
	return s
}

// name reads a queue's name out of its URL.
func (d *Door) name(queueURL *string) (string, error) {
	if queueURL == nil || *queueURL == "" {
		return "", missing("QueueUrl")
	}
	u, err := url.Parse(*queueURL)
	if err != nil {
		return "", wire.Errorf(CodeInvalidAddress, "The address %.200s is not valid for this endpoint.", *queueURL)
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	name := parts[len(parts)-1]
	if len(parts) > 1 && parts[len(parts)-2] != d.o.Account || !queue.ValidName(name) {
		return "", noQueue()
	}
	return name, nil
}

// url returns a queue's URL under the host that the caller used.
func (d *Door) url(ctx context.Context, name string) string {
	scheme, host := "http", "localhost"
	if r := wire.HTTPRequest(ctx); r != nil {
		host = r.Host
		if r.TLS != nil {
			scheme = "https"
		}
	}
	return scheme + "://" + host + "/" + d.o.Account + "/" + name
}

// arn returns a queue's ARN.
func (d *Door) arn(name string) string {
	return arn.Queue{Region: d.o.Region, Account: d.o.Account, Name: name}.String()
}

// queueOf returns the name of the queue of an ARN. ok is false if it is not one of
// this node's.
func (d *Door) queueOf(s string) (name string, ok bool) {
	q, ok := arn.ParseQueue(s)
	return q.Name, ok && q.Region == d.o.Region && q.Account == d.o.Account
}
