package lambda

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/mayfly-dev/mayfly/internal/api/aws/payload"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/trace"
)

// requestID returns the id of the HTTP request that ctx belongs to, which is
// also the id of the call that it makes.
func requestID(ctx context.Context) string {
	if id := wire.RequestID(ctx); id != "" {
		return id
	}
	return uuid.NewString()
}

// w3cHeader is the W3C's header for the same.
const w3cHeader = "Traceparent"

func traceID(ctx context.Context) string {
	if r := wire.HTTPRequest(ctx); r != nil {
		if id := r.Header.Get(payload.TraceHeader); id != "" {
			return id
		}
		if t := trace.ParseW3C(r.Header.Get(w3cHeader)); t.Trace != "" {
			return t.Header()
		}
	}
	return payload.NewTrace(time.Now())
}

// baseURL returns scheme and host under which the caller reached this node.
func baseURL(ctx context.Context) (scheme, host string) {
	r := wire.HTTPRequest(ctx)
	switch {
	case r == nil:
		return "http", "localhost"
	case r.TLS != nil:
		return "https", r.Host
	}
	return "http", r.Host
}
