// Package meter keeps one record for each invocation and adds them up into
// requests, GB-seconds and money. It listens; it never stands in the path of an
// invocation.
package meter

import "time"

// Outcome is how an invocation ended.
type Outcome string

// The outcomes. Throttled calls leave no record: nothing ran.
const (
	OK          Outcome = "ok"
	Failed      Outcome = "error"       // the function returned or raised an error
	TimedOut    Outcome = "timeout"     // over its time limit
	Crashed     Outcome = "crash"       // the runtime exited without an answer
	OutOfMemory Outcome = "outofmemory" // over its memory limit
	InitFailed  Outcome = "initerror"   // never got as far as the handler
)

// Record is what one invocation used. Exactly one is kept for each attempt to
// run the function.
type Record struct {
	RequestID string        `json:"id"`
	Attempt   int           `json:"attempt,omitempty"` // 0 for a synchronous call, from 1 on for queued ones
	Function  string        `json:"fn"`
	Version   string        `json:"v"`
	Start     time.Time     `json:"start"`
	Duration  time.Duration `json:"dur"`            // in the handler
	Init      time.Duration `json:"init,omitempty"` // of the init phase, 0 on a warm instance
	Billed    time.Duration `json:"billed"`         // Init + Duration, rounded up to whole milliseconds
	MemoryMB  int           `json:"mb"`             // configured
	PeakBytes int64         `json:"peak"`           // most memory the instance had in use so far
	Outcome   Outcome       `json:"outcome"`
	Phases    Phases        `json:"phases,omitzero"`
}

// Phases says what the caller of a cold start waited for. All zero on a warm
// instance, except Queue.
type Phases struct {
	Queue   time.Duration `json:"queue,omitempty"`   // until an instance or the right to start one was there
	Sandbox time.Duration `json:"sandbox,omitempty"` // creating the sandbox
	Init    time.Duration `json:"init,omitempty"`    // starting the runtime and the code's own init
}
