// Package queue holds durable queues of messages. A message that was sent stays
// until it is deleted, moved to a dead-letter queue, or older than its queue
// keeps messages.
//
// On disk a queue is a log of the spine: each record holds the messages that were
// sent at one time. What happens to messages afterwards (received, hidden,
// deleted) is one journal for all queues. Both are written in groups: while one
// write is under way, the next gathers. In memory is an index of each queue, which
// decides who gets what next and is built anew from log and journal at the start.
package queue

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
)

// Limits of queues and messages.
const (
	MaxSize       = 1 << 20             // bytes of a message: body and attributes
	MaxVisibility = 12 * time.Hour      // that a received message stays hidden
	MaxDelay      = 15 * time.Minute    // before a message can be received
	MinRetention  = time.Minute         // that a message is kept
	MaxRetention  = 14 * 24 * time.Hour // as above
	MaxWait       = 20 * time.Second    // of a receive for a first message
	MaxReceives   = 1000                // before a message is a dead letter
	MaxInFlight   = 120_000             // messages of a queue that are received and not yet deleted
	DedupWindow   = 5 * time.Minute     // in which a message that is sent again is dropped
	maxTags       = 50
	maxToken      = 128 // bytes of a group or deduplication id
)

// FIFOSuffix is how the names of FIFO queues end.
const FIFOSuffix = ".fifo"

// Config is how a queue treats its messages.
type Config struct {
	FIFO       bool          `json:"fifo,omitempty"`    // a group's messages in order, one receiver at a time; set when the queue is made
	Visibility time.Duration `json:"visibility"`        // how long a received message stays hidden
	Delay      time.Duration `json:"delay,omitempty"`   // before a message can be received
	Retention  time.Duration `json:"retention"`         // how long a message is kept
	MaxSize    int           `json:"maxSize"`           // bytes of a message
	Wait       time.Duration `json:"wait,omitempty"`    // of a receive that says nothing of waiting
	Dead       *DeadLetter   `json:"dead,omitempty"`    // where messages go that are received too often
	Sources    *Sources      `json:"sources,omitempty"` // whose dead letters it takes; nil means anybody's

	ContentDedup  bool `json:"contentDedup,omitempty"`  // FIFO: a message without a deduplication id gets its body's digest
	DedupPerGroup bool `json:"dedupPerGroup,omitempty"` // FIFO: deduplication ids count within their group

	Notes map[string]string `json:"notes,omitempty"` // what a door keeps for its clients; no meaning here
}

// DeadLetter is what becomes of messages that are received too often.
type DeadLetter struct {
	Queue    string `json:"queue"`    // where they go
	Receives int    `json:"receives"` // how often they are received before
}

// Sources are the queues whose dead letters a queue takes.
type Sources struct {
	All    bool     `json:"all,omitempty"`
	Queues []string `json:"queues,omitempty"` // unless All
}

// DefaultConfig is the configuration of a queue of which nothing else is said.
func DefaultConfig() Config {
	return Config{Visibility: 30 * time.Second, Retention: 4 * 24 * time.Hour, MaxSize: MaxSize}
}

// Info is what is known of a queue. The counts are those of this moment.
type Info struct {
	Name     string
	Config   Config
	Tags     map[string]string
	Created  time.Time
	Modified time.Time

	Visible  int // messages that can be received
	InFlight int // received, hidden
	Delayed  int // not yet to be received
}

// Reasons of errors that doors tell apart.
const (
	ReasonExists    = "QueueExists"     // Conflict: a queue of the name exists
	ReasonPurging   = "PurgeInProgress" // Conflict: the queue was purged a moment ago
	ReasonInFlight  = "InFlight"        // Throttled: too many messages are out
	ReasonNotOut    = "NotInFlight"     // Conflict: the message is not in flight
	ReasonHandle    = "Handle"          // Invalid: not a receipt handle of this queue
	ReasonStale     = "StaleHandle"     // Conflict: the receipt handle has expired
	ReasonMoving    = "Moving"          // Conflict: another move out of the queue is under way
	ReasonNotDead   = "NotDeadLetter"   // Invalid: the queue is nobody's dead-letter queue
	ReasonNoTask    = "NoMoveTask"      // NotFound: no such move
	ReasonNoQueue   = "NoQueue"         // NotFound: no such queue
	ReasonAttribute = "Attribute"       // Invalid: a value of the configuration
	ReasonGroup     = "Group"           // Invalid: a FIFO queue's message needs a group
	ReasonDedup     = "Dedup"           // Invalid: a FIFO queue's message needs a deduplication id
)

var nameForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

// ValidName reports whether name can be a queue's: up to 80 letters, digits, '-'
// and '_', where the last five may be ".fifo".
func ValidName(name string) bool {
	return len(name) <= 80 && nameForm.MatchString(strings.TrimSuffix(name, FIFOSuffix))
}

// check returns an errs.Invalid for the first value that is out of bounds.
func (c Config) check(name string) error {
	bad := func(format string, args ...any) error {
		return errs.Newf(errs.Invalid, format, args...).WithReason(ReasonAttribute)
	}
	switch {
	case c.FIFO != strings.HasSuffix(name, FIFOSuffix):
		return bad("the name of a FIFO queue ends in %s, that of another does not", FIFOSuffix)
	case c.Visibility < 0 || c.Visibility > MaxVisibility:
		return bad("the visibility timeout must be from 0s to %s", MaxVisibility)
	case c.Delay < 0 || c.Delay > MaxDelay:
		return bad("the delay must be from 0s to %s", MaxDelay)
	case c.Retention < MinRetention || c.Retention > MaxRetention:
		return bad("messages can be kept from %s to %s", MinRetention, MaxRetention)
	case c.MaxSize < 1024 || c.MaxSize > MaxSize:
		return bad("the largest message must have from 1024 to %d bytes", MaxSize)
	case c.Wait < 0 || c.Wait > MaxWait:
		return bad("a receive can wait from 0s to %s", MaxWait)
	case c.Dead != nil && (c.Dead.Receives < 1 || c.Dead.Receives > MaxReceives):
		return bad("a message can be received from 1 to %d times before it is a dead letter", MaxReceives)
	case !c.FIFO && (c.ContentDedup || c.DedupPerGroup):
		return bad("deduplication is for FIFO queues")
	}
	return nil
}

// clone returns a copy that shares nothing.
func (c Config) clone() Config {
	c.Notes = maps.Clone(c.Notes)
	if c.Dead != nil {
		d := *c.Dead
		c.Dead = &d
	}
	if c.Sources != nil {
		s := Sources{All: c.Sources.All, Queues: slices.Clone(c.Sources.Queues)}
		c.Sources = &s
	}
	return c
}

// takesFrom reports whether the queue takes the dead letters of another.
func (c Config) takesFrom(queue string) bool {
	return c.Sources == nil || c.Sources.All || slices.Contains(c.Sources.Queues, queue)
}

// Attribute is a named value beside a message's body.
type Attribute struct {
	Type string `json:"type"` // the sender's word: String, Number, Binary, perhaps with a suffix
	Data []byte `json:"data"`
}

// Message is what is sent.
type Message struct {
	Body       string
	Attributes map[string]Attribute
	Group      string         // FIFO: required
	Dedup      string         // FIFO: the deduplication id
	Delay      *time.Duration // nil means the queue's
	TraceID    string         // in the door's format
	Sender     string         // who sends, in the door's words
	Lineage    event.Lineage

	own string // the id of one of the node's own sendings: repeats are dropped
}

// size is what counts against a queue's MaxSize.
func (m *Message) size() int {
	n := len(m.Body)
	for name, a := range m.Attributes {
		n += len(name) + len(a.Type) + len(a.Data)
	}
	return n
}

// Sent says what became of one message of a Send.
type Sent struct {
	ID       string
	Sequence uint64 // grows within the queue
	Err      error  // TooLarge, Invalid, Unavailable; nil means that the message is on disk
}

// Delivery is a message that was received.
type Delivery struct {
	Message
	ID            string
	Handle        string // by which it is deleted or hidden longer
	Sequence      uint64
	Sent          time.Time
	FirstReceived time.Time
	Receives      int       // this one included
	Shown         time.Time // when its visibility timeout is over
	From          string    // the queue of which it is a dead letter, or ""
}
