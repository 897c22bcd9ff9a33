// Package errs holds the kinds of error that every room of Mayfly shares.
//
// A room returns an error of a kind; only a door turns a kind into a wire code,
// once (ARCHITECTURE.md, conventions). Errors of no kind are Internal.
package errs

import (
	"errors"
	"fmt"
	"time"
)

// Kind says what went wrong in words that each door can map to its own codes.
type Kind uint8

// The kinds. The zero Kind is Internal: a fault of ours.
const (
	Internal    Kind = iota // a fault of the node, not of the caller
	Invalid                 // the request is wrong and will stay wrong
	NotFound                // the thing named does not exist
	Conflict                // the thing exists already, or is in a state that refuses the change
	Stale                   // a precondition (revision) of the caller no longer holds
	Denied                  // the caller may not do this
	Throttled               // over a limit now; the same request may work later
	TooLarge                // a body, code package or result is over its limit
	Unavailable             // a part of the node can't serve now; the same request may work later
	Unsupported             // valid, but this node does not offer it
)

var names = [...]string{"internal", "invalid", "not found", "conflict", "stale", "denied", "throttled", "too large", "unavailable", "unsupported"}

// String returns the kind's name in lower case.
func (k Kind) String() string {
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Error is an error with a kind. Message is for the person who made the
// request: it says what is wrong and, where possible, what to do.
type Error struct {
	Kind       Kind
	Reason     string        // a stable word that tells causes of one kind apart, may be empty
	Message    string        // a full sentence for the caller
	RetryAfter time.Duration // for Throttled and Unavailable; 0 when unknown
	Err        error         // the cause, may be nil
}

// Error returns the message, followed by the cause if the message does not hold it.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Message
	}
	if _, told := e.Err.(hidden); told {
		return e.Message
	}
	return e.Message + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Newf returns an Error of the kind. A %w in the format sets its cause for
// errors.Is and errors.As.
func Newf(k Kind, format string, args ...any) *Error {
	wrapped := fmt.Errorf(format, args...)
	return &Error{Kind: k, Message: wrapped.Error(), Err: hidden{errors.Unwrap(wrapped)}.orNil()}
}

// WithReason returns a copy of e that carries the reason.
func (e *Error) WithReason(reason string) *Error {
	c := *e
	c.Reason = reason
	return &c
}

// WithRetryAfter returns a copy of e that asks the caller to wait d.
func (e *Error) WithRetryAfter(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}

// Of returns the outermost Error in err's chain. An err that has none gives an
// Internal one that wraps it; a nil err gives nil.
func Of(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Kind: Internal, Message: err.Error(), Err: hidden{err}}
}

// KindOf returns the kind of err. A nil err is Internal: don't ask.
func KindOf(err error) Kind {
	if e := Of(err); e != nil {
		return e.Kind
	}
	return Internal
}

// Is reports whether err is of kind k. A nil err is of no kind.
func Is(err error, k Kind) bool { return err != nil && KindOf(err) == k }

// hidden keeps a cause reachable for errors.Is without printing it a second
// time: its text is in the message already.
type hidden struct{ error }

func (h hidden) orNil() error {
	if h.error == nil {
		return nil
	}
	return h
}

func (h hidden) Unwrap() error { return h.error }
