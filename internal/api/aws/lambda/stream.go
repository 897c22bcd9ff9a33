package lambda

import (
	"context"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/invoke"
)

// InvokeWithResponseStream runs a function and passes its answer on while it is
// made: a PayloadChunk for each part, at the end InvokeComplete, which also tells
// of a function that failed.
func (d *Door) InvokeWithResponseStream(ctx context.Context, in *InvokeWithResponseStreamInput) (*InvokeWithResponseStreamOutput, error) {
	var c constraints
	c.oneOf("invocationType", in.InvocationType, ResponseStreamingInvocationTypeRequestResponse, ResponseStreamingInvocationTypeDryRun)
	if err := c.err(); err != nil {
		return nil, err
	}
	t, err := d.target(in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	r, err := d.call(ctx, t, &InvokeInput{
		ClientContext: in.ClientContext, InvocationType: in.InvocationType, LogType: in.LogType,
		Payload: in.Payload, TenantId: in.TenantId,
	})
	if err != nil {
		return nil, err
	}
	if in.InvocationType == ResponseStreamingInvocationTypeDryRun {
		if err := d.o.Invoker.Check(r); err != nil {
			return nil, d.failCall(t, err, d.o.MaxSync)
		}
		return &InvokeWithResponseStreamOutput{StatusCode: new(int32(http.StatusNoContent))}, nil
	}
	return &InvokeWithResponseStreamOutput{EventStream: func(w *wire.EventWriter) error {
		return d.stream(ctx, t, r, w)
	}}, nil
}

// stream runs the call and sends its events.
func (d *Door) stream(ctx context.Context, t target, r invoke.Request, w *wire.EventWriter) error {
	chunks := &chunkWriter{w: w}
	res, err := d.o.Invoker.Stream(ctx, r, chunks)
	if err != nil {
		return d.failCall(t, err, d.o.MaxSync)
	}
	w.Header().Set("X-Amz-Executed-Version", res.Version) // unless it went out with the first part
	end := &InvokeWithResponseStreamCompleteEvent{}
	if res.FunctionError != "" {
		end.ErrorCode, end.ErrorDetails = new(res.FunctionError), new(string(res.Payload))
	}
	if r.Tail {
		end.LogResult = new(base64.StdEncoding.EncodeToString(res.LogTail))
	}
	return w.Send(&InvokeWithResponseStreamResponseEvent{InvokeComplete: end})
}

// chunkWriter is the invoke.StreamWriter that makes PayloadChunk events.
type chunkWriter struct{ w *wire.EventWriter }

var _ invoke.Starter = (*chunkWriter)(nil)

// Start implements invoke.Starter.
func (c *chunkWriter) Start(version string, until time.Time) {
	c.w.Header().Set("X-Amz-Executed-Version", version)
	_ = c.w.SetWriteDeadline(until) // where there is none, the connection's own end bounds a write
}

// Begin implements invoke.StreamWriter: the caller learns at once that the
// function has begun to answer.
func (c *chunkWriter) Begin(string) error { return c.w.Begin() }

// Write implements invoke.StreamWriter.
func (c *chunkWriter) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	err := c.w.Send(&InvokeWithResponseStreamResponseEvent{PayloadChunk: &InvokeResponseStreamUpdate{Payload: p}})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}
