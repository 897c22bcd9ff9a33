package invoke

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
)

const (
	maxInline  = 1 << 20        // bytes of a queued call in the queue itself; larger ones are blobs
	blobPrefix = "event-"       // of their keys
	blobAge    = 24 * time.Hour // after it, nothing refers to such a blob any more
)

// queued is the durable form of an asynchronous call.
type queued struct {
	Request
	Accepted   time.Time
	NotBefore  time.Time `json:",omitzero"`  // when it is due
	Runs       int       `json:",omitempty"` // that ended
	Failures   int       `json:",omitempty"` // runs in which the function failed
	Deliveries int       `json:",omitempty"` // of earlier forms
	Result     *Result   `json:",omitempty"` // of the last run
	Ended      *ending   `json:",omitempty"` // it is over: only destinations are to be told

	// Blob is the key of a larger form of this call, which stands for it.
	Blob string `json:",omitempty"`

	blob string // where it was read from
}

// ending is what is left of a call that is over.
type ending struct {
	Condition Condition
	At        time.Time
	Tell      []telling
}

// telling is one target that is to be told of a call's end.
type telling struct {
	Target event.Target
	Dead   bool // as a dead letter, not as a record
}

// put stores a call in its function's lane.
func (n *Invoker) put(ctx context.Context, id string, q queued) error {
	body, err := json.Marshal(q)
	if err != nil {
		return fmt.Errorf("encode call %s: %w", q.RequestID, err)
	}
	if len(body) > maxInline {
		key := blobPrefix + uuid.NewString()
		if _, err := n.cfg.Blobs.Put(ctx, key, bytes.NewReader(body)); err != nil {
			return err
		}
		if body, err = json.Marshal(queued{Request: Request{RequestID: q.RequestID, Function: q.Function}, Accepted: q.Accepted, NotBefore: q.NotBefore, Blob: key}); err != nil {
			return fmt.Errorf("encode call %s: %w", q.RequestID, err)
		}
	}
	return n.cfg.Calls.Put(ctx, q.Function, id, body)
}

// read decodes a call from the queue.
func (n *Invoker) read(ctx context.Context, body []byte) (q queued, err error) {
	if err := json.Unmarshal(body, &q); err != nil {
		return q, err
	}
	// What is not due need not be fetched.
	if q.Blob == "" || time.Now().Before(q.NotBefore) {
		return q, nil
	}
	key := q.Blob
	r, err := n.cfg.Blobs.Open(ctx, key)
	if errs.Is(err, errs.NotFound) {
		return q, err
	}
	if err != nil {
		return q, errs.Newf(errs.Unavailable, "read a queued call: %w", err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return q, errs.Newf(errs.Unavailable, "read a queued call: %w", err)
	}
	q = queued{}
	err = json.Unmarshal(b, &q)
	q.blob = key
	return q, err
}

// forget removes what a call kept outside the queue.
func (n *Invoker) forget(ctx context.Context, q queued) {
	if q.blob == "" {
		return
	}
	if err := n.cfg.Blobs.Delete(context.WithoutCancel(ctx), q.blob); err != nil {
		n.cfg.Log.Warn("the body of a finished call could not be removed", "key", q.blob, "err", err)
	}
}

// sweep removes what calls left outside the queue when the node was killed
// between two writes.
func (n *Invoker) sweep(ctx context.Context) {
	for b, err := range n.cfg.Blobs.List(ctx, blobPrefix) {
		if err == nil && time.Since(b.Modified) > blobAge {
			err = n.cfg.Blobs.Delete(ctx, b.Key)
		}
		if err != nil && ctx.Err() == nil {
			n.cfg.Log.Warn("bodies of finished calls could not be removed", "err", err)
		}
	}
}
