package lambda

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/budget"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/invoke"
)

// Codes that Lambda sends and its model doesn't name.
const (
	codeValidation     = "ValidationException"
	codeAccessDenied   = "AccessDeniedException"
	codeEntityTooLarge = "RequestEntityTooLargeException"
)

// codes says which code an error of a kind has. Reasons that need another one
// are in reasons.
var codes = map[errs.Kind]string{
	errs.Internal:    CodeService,
	errs.Invalid:     CodeInvalidParameterValue,
	errs.NotFound:    CodeResourceNotFound,
	errs.Conflict:    CodeResourceConflict,
	errs.Stale:       CodePreconditionFailed,
	errs.Denied:      codeAccessDenied,
	errs.Throttled:   CodeTooManyRequests,
	errs.TooLarge:    CodeRequestTooLarge,
	errs.Unavailable: CodeService,
	errs.Unsupported: CodeInvalidParameterValue,
}

// reasons are Lambda's words for errors that it words in its own way.
var reasons = map[string]func(d *Door, t target, e *errs.Error) *wire.Error{
	function.ReasonNoPackage: func(*Door, target, *errs.Error) *wire.Error {
		return invalid("Please provide a source for function code.")
	},
	function.ReasonEmptyPackage: func(*Door, target, *errs.Error) *wire.Error {
		return invalid("Uploaded file must be a non-empty zip")
	},
	function.ReasonNotZip: func(*Door, target, *errs.Error) *wire.Error {
		return invalid("Could not unzip uploaded file. Please check your file, then try to upload again.")
	},
	function.ReasonUnpacked: func(d *Door, _ target, _ *errs.Error) *wire.Error {
		return invalid("Unzipped size must be smaller than %d bytes", d.o.Functions.Limits().Unpacked)
	},
	function.ReasonPackage: func(_ *Door, _ target, e *errs.Error) *wire.Error {
		return &wire.Error{Code: codeEntityTooLarge, Status: 413, Message: e.Message}
	},
	function.ReasonCodeStorage: func(*Door, target, *errs.Error) *wire.Error {
		return wire.Errorf(CodeCodeStorageExceeded, "Code storage limit exceeded.")
	},
	function.ReasonNotNumber: func(*Door, target, *errs.Error) *wire.Error {
		return invalid("Deletion of aliases is not currently supported.")
	},
	invoke.ReasonLoop: func(*Door, target, *errs.Error) *wire.Error {
		return wire.Errorf(CodeRecursiveInvocation, "Lambda has detected your function being invoked in a recursive loop with other Amazon Web Services resources and stopped your function's invocation.")
	},
	function.ReasonUpdating: func(d *Door, t target, _ *errs.Error) *wire.Error {
		return wire.Errorf(CodeResourceConflict, "The operation cannot be performed at this time. An update is in progress for resource: %s", d.arn(t.name, ""))
	},
}

// fail words an error of the core for the caller of an operation on t.
func (d *Door) fail(t target, err error) error {
	var known *wire.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	e := errs.Of(err)
	var vs function.Violations
	if errors.As(err, &vs) {
		return broken(vs)
	}
	if words, ok := reasons[e.Reason]; ok {
		w := words(d, t, e)
		w.Err = err
		return w
	}
	w := &wire.Error{Code: codes[e.Kind], Message: e.Message, RetryAfter: e.RetryAfter, Err: err}
	switch e.Kind {
	case errs.NotFound:
		w.Message = "Function not found: " + t.arn
		var missing *function.MissingError
		if errors.As(err, &missing) {
			w.Message = "Function not found: " + d.arn(missing.Function, missing.Qualifier)
		}
	case errs.Stale:
		w.Message = "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
	case errs.Throttled:
		w.Message = "Rate Exceeded."
		w.Detail = &TooManyRequestsException{Reason: throttleReason(e.Reason)}
		w.RetryAfter = max(e.RetryAfter, time.Second)
		if e.Reason == budget.Reason { // Lambda has no word for it
			w.Message = e.Message
			w.Detail = &TooManyRequestsException{Reason: ThrottleReasonCallerRateLimitExceeded}
		}
	case errs.Denied:
		w.Status = 403
	case errs.Unavailable:
		w.Status = 503
	case errs.Internal:
		w.Message = "An error occurred and the request cannot be processed."
	}
	return w
}

// failRuntime is fail for operations that name a runtime.
func (d *Door) failRuntime(t target, runtime string, err error) error {
	if e := errs.Of(err); e != nil && e.Reason == function.ReasonRuntime && e.Kind == errs.Invalid {
		return invalid("Value %s at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [%s] or be a valid ARN", runtime, strings.Join(d.o.Runtimes, ", "))
	}
	return d.fail(t, err)
}

// throttleReason returns reason if Lambda knows it.
func throttleReason(reason string) string {
	switch reason {
	case ThrottleReasonFunctionInvocationRateLimitExceeded, ThrottleReasonReservedFunctionConcurrentInvocationLimitExceeded,
		ThrottleReasonReservedFunctionInvocationRateLimitExceeded, ThrottleReasonCallerRateLimitExceeded,
		ThrottleReasonConcurrentSnapshotCreateLimitExceeded:
		return reason
	}
	return ThrottleReasonConcurrentInvocationLimitExceeded
}

func invalid(format string, args ...any) *wire.Error {
	return wire.Errorf(CodeInvalidParameterValue, format, args...)
}

func uploadTooLarge(operation string) *wire.Error {
	return &wire.Error{
		Code: codeEntityTooLarge, Status: 413,
		Message: fmt.Sprintf("Request must be smaller than %d bytes for the %s operation", maxUpload, operation),
	}
}

func payloadTooLarge(limit int64) *wire.Error {
	return &wire.Error{
		Code:    CodeRequestTooLarge,
		Message: fmt.Sprintf("Request must be smaller than %d bytes for the InvokeFunction operation", limit),
	}
}
