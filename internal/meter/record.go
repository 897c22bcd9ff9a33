// Package meter keeps one record for each invocation and adds them up into
// requests, GB-seconds and money. It listens; it never stands in the path of an
// invocation.
//
// A Recorder makes records durable in a journal, in batches. A Ledger takes them
// from there into a file of its own: the records, in blocks that can be searched,
// and their sums by minute, hour and day. Old records and old minutes are
// removed; the sums of days stay.
package meter

import (
	"strconv"
	"time"
)

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
	Canceled    Outcome = "canceled"    // whoever read its streamed answer left
)

// Record is what one invocation used. Exactly one is kept for each attempt to
// run the function.
type Record struct {
	RequestID string        `json:"id"`
	Attempt   int           `json:"attempt,omitempty"` // 0 for a synchronous call, from 1 on for queued ones
	Function  string        `json:"fn"`
	Version   string        `json:"v"`
	Alias     string        `json:"alias,omitempty"` // that the caller named
	Start     time.Time     `json:"start"`
	Duration  time.Duration `json:"dur"`                // in the handler
	Init      time.Duration `json:"init,omitempty"`     // of the init phase, 0 on a warm instance
	Restore   time.Duration `json:"restore,omitempty"`  // of a copy of a snapshot that the call waited for, in place of an init
	Revive    time.Duration `json:"revive,omitempty"`   // the part of Restore that is the code's own: its hooks
	Billed    time.Duration `json:"billed"`             // Init + Duration, and Revive, each rounded up to whole milliseconds
	MemoryMB  int           `json:"mb"`                 // configured
	TmpMB     int           `json:"tmp,omitempty"`      // configured temporary storage
	PeakBytes int64         `json:"peak"`               // most memory the instance had in use so far
	Streamed  int64         `json:"streamed,omitempty"` // bytes of the answer that were passed on while it was made
	Outcome   Outcome       `json:"outcome"`
	ErrorType string        `json:"err,omitempty"`   // of a failure, as the caller saw it
	Age       time.Duration `json:"age,omitempty"`   // of a queued call: from its acceptance to Start
	Kept      bool          `json:"pc,omitempty"`    // ran on provisioned concurrency
	Instance  string        `json:"inst,omitempty"`  // "" if none became ready
	Trace     string        `json:"trace,omitempty"` // id of the trace it is part of, 32 hexadecimal digits
	Span      string        `json:"span,omitempty"`  // id of the call's own span in it, 16 digits
	Parent    string        `json:"from,omitempty"`  // id of the span that caused the call
	Phases    Phases        `json:"phases,omitzero"`
}

// Phases says what the caller of a cold start waited for. All zero on a warm
// instance, except Queue.
type Phases struct {
	Queue   time.Duration `json:"queue,omitempty"`   // until an instance or the right to start one was there
	Sandbox time.Duration `json:"sandbox,omitempty"` // creating the sandbox, or waiting for one that was booted before
	Restore time.Duration `json:"restore,omitempty"` // making it a copy of a snapshot, with the code's hooks
	Init    time.Duration `json:"init,omitempty"`    // starting the runtime and the code's own init
	Answer  time.Duration `json:"answer,omitempty"`  // the first call itself
}

// Billed returns the time that an invocation is charged for: the handler's
// time and the init that this invocation waited for, rounded up together to
// whole milliseconds. Lambda counts init for every kind of function since
// August 2025. Negative times, from a clock that was set back, count as zero.
func Billed(duration, init time.Duration) time.Duration {
	used := max(duration, 0) + max(init, 0)
	return (used + time.Millisecond - 1) / time.Millisecond * time.Millisecond
}

// key tells records apart: a record that was journalled twice counts once. A queued
// call whose node was killed runs again as the same attempt, at another time: it
// counts again, as its log has it.
func (r *Record) key() string {
	return r.RequestID + "/" + strconv.Itoa(r.Attempt) + "/" + strconv.FormatInt(r.Start.UnixNano(), 36)
}

// End is when the invocation had ended.
func (r *Record) End() time.Time { return r.Start.Add(max(r.Duration, 0)) }
