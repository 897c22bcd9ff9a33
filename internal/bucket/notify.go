package bucket

import (
	"context"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

// Change is what happened to an object.
type Change struct {
	Event     Event     `json:"event"`
	Bucket    string    `json:"bucket"`
	Key       string    `json:"key"`
	Size      int64     `json:"size,omitempty"` // bytes, of a new object
	ETag      string    `json:"etag,omitempty"` // of a new object, without quotes
	Version   string    `json:"version,omitempty"`
	Time      time.Time `json:"time"`
	RequestID string    `json:"requestId,omitempty"` // of the request that made the change
	HostID    string    `json:"hostId,omitempty"`
	Source    string    `json:"source,omitempty"` // the client's IP address
	Principal string    `json:"principal,omitempty"`
}

// Notice is a change that a rule wants to tell its target.
type Notice struct {
	Change   Change       `json:"change"`
	Rule     string       `json:"rule"` // its id
	Target   event.Target `json:"target"`
	Sequence uint64       `json:"sequence,omitempty"` // grows with each change of a key
}

// Options are what Notifications are made of. All are required.
type Options struct {
	Rules   *spine.Bucket
	Outbox  *spine.Outbox // of notices that their targets did not take at once
	Senders event.Sender
	// Encode gives a notice the shape that the target's code reads.
	Encode func(Notice) (event.Message, error)
	Log    *slog.Logger
}

// Notifications keep the rules of all buckets and deliver what they ask for. They
// are safe for concurrent use.
type Notifications struct {
	o        Options
	sequence sequence

	mu    sync.RWMutex
	rules map[string][]Rule // guarded by mu: by bucket; the slices are never changed
}

// Open reads the rules.
func Open(ctx context.Context, o Options) (*Notifications, error) {
	n := &Notifications{o: o, sequence: sequence{kept: o.Rules}, rules: map[string][]Rule{}}
	if err := n.sequence.open(ctx, o.Outbox); err != nil {
		return nil, err
	}
	err := o.Rules.List(ctx, "", func(key string, value []byte, _ uint64) error {
		if key == sequenceKey {
			return nil
		}
		var s stored
		if err := json.Unmarshal(value, &s); err != nil {
			return fmt.Errorf("read the notifications of a bucket: %w", err)
		}
		n.rules[s.Bucket] = s.Rules
		return nil
	})
	return n, err
}

// stored is what is kept for a bucket.
type stored struct {
	Bucket string `json:"bucket"`
	Rules  []Rule `json:"rules"`
}

// storeKey returns the key under which a bucket's rules are kept.
func storeKey(bucket string) string {
	return strings.TrimRight(base32.HexEncoding.EncodeToString([]byte(bucket)), "=")
}

// Set replaces the rules of a bucket; none remove them. They are in force, and on
// disk, when it returns nil. The error is Check's, or of kind Unavailable.
func (n *Notifications) Set(ctx context.Context, bucket string, rules []Rule) error {
	if err := Check(rules); err != nil {
		return err
	}
	n.mu.Lock() // also so that two changes are not mixed up
	defer n.mu.Unlock()
	if len(rules) == 0 {
		if n.rules[bucket] == nil {
			return nil
		}
		if err := n.o.Rules.Delete(ctx, storeKey(bucket), 0); err != nil {
			return err
		}
		delete(n.rules, bucket)
		return nil
	}
	b, err := json.Marshal(stored{Bucket: bucket, Rules: rules})
	if err != nil {
		return err
	}
	if err := n.o.Rules.Put(ctx, storeKey(bucket), b); err != nil {
		return err
	}
	n.rules[bucket] = rules
	return nil
}

// Forget removes the rules of a bucket.
func (n *Notifications) Forget(ctx context.Context, bucket string) error {
	return n.Set(ctx, bucket, nil)
}

// Rules returns the rules of a bucket. They must not be changed.
func (n *Notifications) Rules(bucket string) []Rule {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.rules[bucket]
}

// All returns the rules by bucket. They must not be changed.
func (n *Notifications) All() map[string][]Rule {
	n.mu.RLock()
	defer n.mu.RUnlock()
	all := make(map[string][]Rule, len(n.rules))
	for b, r := range n.rules {
		all[b] = r
	}
	return all
}

// Wants reports whether there are rules for the bucket.
func (n *Notifications) Wants(bucket string) bool { return len(n.Rules(bucket)) > 0 }

// Record takes a change that has been made. When it returns nil, the notices that
// the rules ask for are on disk: with their targets or, of those that take nothing
// now, in the outbox. The changes of one key must be recorded in the order in which
// they were made.
func (n *Notifications) Record(ctx context.Context, c Change) error {
	rules := n.Rules(c.Bucket)
	for i := range rules {
		r := &rules[i]
		if !r.matches(c.Event, c.Key) {
			continue
		}
		number, err := n.sequence.next(ctx)
		if err != nil {
			return err
		}
		if err := n.tell(ctx, Notice{Change: c, Rule: r.ID, Target: r.Target, Sequence: number}); err != nil {
			return err
		}
	}
	return nil
}

// tell hands a notice to its target, and keeps it if the target doesn't take it. A
// target may have it twice then, with the same id.
func (n *Notifications) tell(ctx context.Context, notice Notice) error {
	at, end := context.WithTimeout(ctx, handLimit)
	err := n.send(at, notice)
	end()
	if err == nil {
		return nil
	}
	n.o.Log.Debug("a notice about an object is sent later", "target", notice.Target.String(), "err", err)
	b, err := json.Marshal(notice)
	if err != nil {
		return err
	}
	return n.o.Outbox.Put(ctx, b)
}

// handLimit is how long a target may take to take a notice while a client waits.
const handLimit = 3 * time.Second

// Run delivers notices until ctx ends.
func (n *Notifications) Run(ctx context.Context) error {
	return n.o.Outbox.Run(ctx, n.deliver)
}

// Pauses before another try.
const (
	firstPause = 500 * time.Millisecond
	lastPause  = time.Minute
)

// deliver sends one notice from the outbox.
func (n *Notifications) deliver(ctx context.Context, body []byte, place uint64, attempt int) (retry time.Duration, err error) {
	var notice Notice
	if err := json.Unmarshal(body, &notice); err != nil {
		n.o.Log.Error("a notice about an object can't be read and is dropped", "err", err)
		return 0, nil
	}
	if notice.Sequence == 0 { // of a node that numbered notices in the outbox
		notice.Sequence = place
	}
	if err := n.send(ctx, notice); err != nil {
		n.o.Log.Debug("a notice about an object is sent again", "target", notice.Target.String(), "attempt", attempt, "err", err)
		return min(firstPause<<min(attempt-1, 10), lastPause), err
	}
	return 0, nil
}

// send sends one notice. One that can never arrive is dropped, and the log tells;
// then there is no error.
func (n *Notifications) send(ctx context.Context, notice Notice) error {
	m, err := n.o.Encode(notice)
	if err != nil {
		n.o.Log.Error("a notice about an object has no form and is dropped", "bucket", notice.Change.Bucket, "key", notice.Change.Key, "err", err)
		return nil
	}
	err = n.o.Senders.Send(ctx, notice.Target, m)
	switch {
	case errs.Is(err, errs.NotFound), errs.Is(err, errs.Invalid), errs.Is(err, errs.TooLarge), errs.Is(err, errs.Unsupported):
		n.o.Log.Warn("a notice about an object can't be delivered and is dropped", "bucket", notice.Change.Bucket,
			"key", notice.Change.Key, "rule", notice.Rule, "target", notice.Target.String(), "err", err)
		return nil
	}
	return err
}
