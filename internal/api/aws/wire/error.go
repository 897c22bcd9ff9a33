package wire

import (
	"fmt"
	"net/http"
	"time"
)

// Error is what a door answers instead of an output. The codec writes it in
// the protocol's form; what it does not say is taken from the service's table
// of modelled errors.
type Error struct {
	Code       string        // as the model names it, e.g. "ResourceNotFoundException"
	Message    string        // for the caller
	Status     int           // HTTP status; 0 means the table's, or 400
	RetryAfter time.Duration // sent as a Retry-After header, in whole seconds rounded up; 0 means none
	Detail     Struct        // further modelled members, may be nil
	Err        error         // the cause: for logs, never sent

	own bool // made by wire, in words that reword turns into the service's
}

// Error returns code and message.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Code + ": " + e.Message + " (" + e.Err.Error() + ")"
	}
	return e.Code + ": " + e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an Error with a formatted message. A %w does not set the cause.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// serialization is the error for a request that does not have its shape.
func serialization(format string, args ...any) *Error {
	return &Error{Code: "SerializationException", Status: http.StatusBadRequest, Message: fmt.Sprintf(format, args...), own: true}
}
