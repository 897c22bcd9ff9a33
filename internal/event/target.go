// Package event holds the words for what happens and where it goes: a target is
// named, a message is sent to it, and whoever serves that kind of target takes it
// durably.
package event

import (
	"context"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Kind says what a target is.
type Kind string

// The kinds of target.
const (
	Function Kind = "function"
	Queue    Kind = "queue"
	Bucket   Kind = "bucket" // of objects
	Bus      Kind = "bus"    // an event bus
	API      Kind = "api"    // an HTTP endpoint, by its URL
)

// Target names something that takes messages. It is comparable.
type Target struct {
	Kind      Kind   `json:"kind"`
	Name      string `json:"name"`
	Qualifier string `json:"qualifier,omitempty"` // of a function: version or alias
}

// String names the target for people: "queue orders", "function resize:live".
func (t Target) String() string {
	s := string(t.Kind) + " " + t.Name
	if t.Qualifier != "" {
		s += ":" + t.Qualifier
	}
	return s
}

// Message is one event on its way to a target. Its body is already in the shape
// that the receiver's code reads.
type Message struct {
	ID         string            `json:"id"` // the same in each repetition of one sending: receivers may drop repeats
	Body       []byte            `json:"body"`
	Attributes map[string]string `json:"attributes,omitempty"` // of a queue's message; a bus reads Source and DetailType
	Group      string            `json:"group,omitempty"`      // of a FIFO queue's message
	Source     string            `json:"source,omitempty"`     // who sends, in the field's words ("aws.s3" is the door's business)
	DetailType string            `json:"detailType,omitempty"` // of a bus's event
	Time       time.Time         `json:"time"`                 // when it happened
	TraceID    string            `json:"traceId,omitempty"`    // in the door's format
	Lineage    Lineage           `json:"lineage"`              // the functions it came through
}

// Lineage counts how often a chain of events has passed through each function,
// so that an endless loop can be told from a chain. The zero Lineage is a
// chain's beginning.
type Lineage struct {
	Counts map[string]int `json:"counts,omitempty"` // by function name
}

// With returns the lineage after one more pass through a function.
func (l Lineage) With(function string) Lineage {
	next := Lineage{Counts: make(map[string]int, len(l.Counts)+1)}
	for f, n := range l.Counts {
		next.Counts[f] = n
	}
	next.Counts[function]++
	return next
}

// Sender takes messages for one kind of target. When Send returns nil the message
// is on disk or was handled; after an error the caller sends it again, with the
// same ID. Errors: NotFound when the target does not exist, Invalid and TooLarge
// when it will never take the message; others are worth another try. Safe for
// concurrent use.
type Sender interface {
	Send(ctx context.Context, t Target, m Message) error
}

// Senders are the node's senders by kind of target. It is a Sender itself.
// It is filled before the node runs and not changed after.
type Senders map[Kind]Sender

// Send passes the message to the sender of the target's kind.
func (s Senders) Send(ctx context.Context, t Target, m Message) error {
	to := s[t.Kind]
	if to == nil {
		return errs.Newf(errs.Unsupported, "nothing on this node takes messages for a %s", t.Kind)
	}
	return to.Send(ctx, t, m)
}
