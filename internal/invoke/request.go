// Package invoke is the waist of the house: every call of a function goes
// through it, whatever woke the function. It admits calls, runs them on
// instances, queues asynchronous ones durably, and accounts for each.
package invoke

import (
	"time"

	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/meter"
)

// Limits of a payload in bytes, by default the field's own.
const (
	MaxSyncPayload  = 6 << 20     // request of a synchronous call
	MaxAsyncPayload = 1 << 20     // request of an asynchronous call
	MaxAnswer       = 6<<20 + 100 // answer of a call
	MaxStream       = 200 << 20   // streamed answer of a call
)

// Request is one call of a function.
type Request struct {
	RequestID     string // unique; the caller's door makes it
	Function      string // name
	Qualifier     string // version or alias; "" means the latest
	InvokedName   string // how the caller named the function, shown to the code; "" lets the guest build it
	Payload       []byte
	ClientContext string        // JSON, may be empty
	TraceID       string        // in the door's format, may be empty
	Tail          bool          // the caller wants the end of the log
	Lineage       event.Lineage `json:",omitzero"` // the functions that the call came through

	accepted time.Time // of a queued call: when it was
}

// Result is a finished call. A function that failed is still a result: its
// error document is the payload.
type Result struct {
	Payload       []byte
	FunctionError string // "" for success, else Unhandled
	Version       string // the version that ran
	LogTail       []byte // last 4 KiB of the call's log, if it was asked for
	Record        meter.Record
}

// Unhandled is how a function fails when its code raised an error, crashed, or
// ran out of time or memory.
const Unhandled = "Unhandled"
