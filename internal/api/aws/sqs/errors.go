package sqs

import (
	"errors"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/queue"
)

// Codes that SQS sends and its model doesn't name, with what they are called in
// the query protocol.
const (
	codeInvalidParameter = "InvalidParameterValueException"
	codeMissingParameter = "MissingRequiredParameterException"
	codeUnavailable      = "ServiceUnavailable"
	codeInternal         = "InternalFailure"
)

var plainCodes = map[string]string{
	codeInvalidParameter: "InvalidParameterValue",
	codeMissingParameter: "MissingParameter",
}

func missing(parameter string) *wire.Error {
	return wire.Errorf(codeMissingParameter, "The request must contain the parameter %s.", parameter)
}

func invalid(format string, args ...any) *wire.Error {
	return wire.Errorf(codeInvalidParameter, format, args...)
}

// outOf is the error for a number that is not within its bounds.
func outOf(v any, parameter string, low, high any) *wire.Error {
	return invalid("Value %v for parameter %s is invalid. Reason: Must be between %v and %v, if provided.", v, parameter, low, high)
}

func noQueue() *wire.Error {
	return wire.Errorf(CodeQueueDoesNotExist, "The specified queue does not exist.")
}

// reasons are SQS's codes for the reasons that the queues give.
var reasons = map[string]string{
	queue.ReasonNoQueue:   CodeQueueDoesNotExist,
	queue.ReasonExists:    CodeQueueNameExists,
	queue.ReasonPurging:   CodePurgeQueueInProgress,
	queue.ReasonInFlight:  CodeOverLimit,
	queue.ReasonNotOut:    CodeMessageNotInflight,
	queue.ReasonHandle:    CodeReceiptHandleIsInvalid,
	queue.ReasonMoving:    CodeUnsupportedOperation,
	queue.ReasonNoTask:    CodeResourceNotFound,
	queue.ReasonAttribute: CodeInvalidAttributeValue,
	queue.ReasonGroup:     codeMissingParameter,
}

// messages are SQS's own words where clients may look at them.
var messages = map[string]string{
	queue.ReasonNoQueue: "The specified queue does not exist.",
	queue.ReasonStale:   "The receipt handle has expired",
	queue.ReasonGroup:   "The request must contain the parameter MessageGroupId.",
	queue.ReasonDedup:   "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
	queue.ReasonNotDead: "Source queue must be configured as a Dead Letter Queue.",
	queue.ReasonMoving:  "There is already a task running. Only one active task is allowed for a source queue arn at a given time.",
	queue.ReasonNoTask:  "The resource that you specified for the TaskHandle parameter doesn't exist or is not running.",
}

// fail words an error of the queues.
func fail(err error) error {
	var known *wire.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	e := errs.Of(err)
	w := &wire.Error{Code: reasons[e.Reason], Message: e.Message, RetryAfter: e.RetryAfter, Err: err}
	if m, ok := messages[e.Reason]; ok {
		w.Message = m
	}
	if w.Code != "" {
		return w
	}
	switch e.Kind {
	case errs.NotFound:
		w.Code = CodeQueueDoesNotExist
	case errs.Invalid, errs.Conflict, errs.TooLarge:
		w.Code = codeInvalidParameter
	case errs.Throttled:
		w.Code = CodeRequestThrottled
	case errs.Unavailable:
		w.Code, w.Status = codeUnavailable, 503
	default:
		w.Code, w.Status, w.Message = codeInternal, 500, "An error occurred and the request cannot be processed."
	}
	return w
}

// entry words an error for one entry of a batch.
func (d *Door) entry(id *string, err error) BatchResultErrorEntry {
	var w *wire.Error
	if !errors.As(fail(err), &w) {
		w = &wire.Error{Code: codeInternal, Status: 500}
	}
	code := w.Code
	if q, ok := plainCodes[code]; ok {
		code = q
	}
	return BatchResultErrorEntry{Id: id, Code: &code, Message: &w.Message, SenderFault: new(w.Status < 500)}
}
