package lambda

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/mayfly-dev/mayfly/internal/api/aws/payload"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/invoke"
)

// maxClientContext is the longest client context, in bytes of base64.
const maxClientContext = 3583

// noEvent is what a handler gets from a call without a payload.
var noEvent = []byte("{}")

// Invoke runs a function: now, later (Event), or not at all (DryRun).
func (d *Door) Invoke(ctx context.Context, in *InvokeInput) (*InvokeOutput, error) {
	t, err := d.target(in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	r, err := d.call(ctx, t, in)
	if err != nil {
		return nil, err
	}
	switch in.InvocationType {
	case InvocationTypeDryRun:
		if err := d.o.Invoker.Check(r); err != nil {
			return nil, d.failCall(t, err, d.o.MaxSync)
		}
		return &InvokeOutput{StatusCode: new(int32(http.StatusNoContent))}, nil
	case InvocationTypeEvent:
		if err := d.o.Invoker.Async(ctx, r); err != nil {
			return nil, d.failCall(t, err, d.o.MaxAsync)
		}
		return &InvokeOutput{StatusCode: new(int32(http.StatusAccepted))}, nil
	}
	res, err := d.o.Invoker.Sync(ctx, r)
	if err != nil {
		return nil, d.failCall(t, err, d.o.MaxSync)
	}
	out := &InvokeOutput{
		Payload: res.Payload, ExecutedVersion: new(res.Version),
		FunctionError: wire.Some(res.FunctionError), StatusCode: new(int32(http.StatusOK)),
	}
	if r.Tail {
		out.LogResult = new(base64.StdEncoding.EncodeToString(res.LogTail))
	}
	return out, nil
}

// call checks the request and makes a call of it.
func (d *Door) call(ctx context.Context, t target, in *InvokeInput) (invoke.Request, error) {
	var c constraints
	c.oneOf("invocationType", in.InvocationType, InvocationTypeEvent, InvocationTypeRequestResponse, InvocationTypeDryRun)
	c.oneOf("logType", in.LogType, LogTypeNone, LogTypeTail)
	if err := c.err(); err != nil {
		return invoke.Request{}, err
	}
	switch {
	case in.TenantId != nil:
		return invoke.Request{}, invalid("Tenant isolation is not supported: call without TenantId.")
	case in.DurableExecutionName != nil:
		return invoke.Request{}, invalid("Durable executions are not supported yet: call without DurableExecutionName.")
	}
	clientContext, err := readClientContext(in.ClientContext)
	if err != nil {
		return invoke.Request{}, err
	}
	r := invoke.Request{
		RequestID: requestID(ctx), Function: t.name, Qualifier: t.qualifier, InvokedName: t.arn,
		Payload: in.Payload, ClientContext: clientContext, TraceID: traceID(ctx),
		// An asynchronous call has no one to show its log to.
		Tail: in.LogType == LogTypeTail && in.InvocationType != InvocationTypeEvent,
	}
	r.Lineage = payload.Lineage(r.TraceID)
	if len(r.Payload) == 0 {
		r.Payload = noEvent
	}
	limit := d.o.MaxSync
	if in.InvocationType == InvocationTypeEvent {
		limit = d.o.MaxAsync
	}
	if int64(len(r.Payload)) > limit {
		return invoke.Request{}, payloadTooLarge(limit)
	}
	if !json.Valid(r.Payload) {
		return invoke.Request{}, wire.Errorf(CodeInvalidRequestContent, "Could not parse request body into json: %s", jsonFault(r.Payload))
	}
	return r, nil
}

// failCall is fail for the errors of the invoker.
func (d *Door) failCall(t target, err error, limit int64) error {
	if errs.Is(err, errs.TooLarge) {
		return payloadTooLarge(limit)
	}
	return d.fail(t, err)
}

// jsonFault says where a text stops to be JSON.
func jsonFault(b []byte) string {
	var v json.RawMessage
	err := json.Unmarshal(b, &v)
	var s *json.SyntaxError
	if errors.As(err, &s) {
		return fmt.Sprintf("%v (byte %d)", s, s.Offset)
	}
	return fmt.Sprint(err)
}

func readClientContext(header *string) (string, error) {
	if wire.Value(header) == "" {
		return "", nil
	}
	if len(*header) > maxClientContext {
		return "", wire.Errorf(CodeInvalidRequestContent, "Client context must be no more than %d bytes when base64-encoded.", maxClientContext)
	}
	b, err := base64.StdEncoding.DecodeString(*header)
	if err != nil || !json.Valid(b) {
		return "", wire.Errorf(CodeInvalidRequestContent, "Client context must be a valid Base64-encoded JSON object.")
	}
	return string(b), nil
}
