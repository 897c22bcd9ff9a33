package spine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Bucket is a durable map from keys to revisioned values. Keys are made of
// letters, digits, '-', '_', '/', '=' and '.'. It is safe for concurrent use.
type Bucket struct {
	s  *Spine
	kv jetstream.KeyValue
}

// Bucket opens the named bucket, which is made if need be.
func (s *Spine) Bucket(ctx context.Context, name string) (*Bucket, error) {
	kv, err := s.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: bucketPrefix + name, History: 1, Storage: jetstream.FileStorage, Replicas: s.replicas,
	})
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", name, err)
	}
	return &Bucket{s: s, kv: kv}, nil
}

// Get returns the value and its revision, or errs.NotFound.
func (b *Bucket) Get(ctx context.Context, key string) (value []byte, rev uint64, err error) {
	e, err := b.kv.Get(ctx, key)
	if err != nil {
		return nil, 0, b.fail(err, "read", key)
	}
	return e.Value(), e.Revision(), nil
}

// Create stores a value under a key that has none, else errs.Conflict.
func (b *Bucket) Create(ctx context.Context, key string, value []byte) (rev uint64, err error) {
	if err := b.s.room(reserve); err != nil {
		return 0, err
	}
	rev, err = b.kv.Create(ctx, key, value)
	if err != nil {
		return 0, b.fail(err, "create", key)
	}
	return rev, nil
}

// Put stores a value under a key, whatever was there.
func (b *Bucket) Put(ctx context.Context, key string, value []byte) error {
	if err := b.s.room(reserve); err != nil {
		return err
	}
	if _, err := b.kv.Put(ctx, key, value); err != nil {
		return b.fail(err, "put", key)
	}
	return nil
}

// Update replaces the value whose revision is rev, else errs.Stale.
func (b *Bucket) Update(ctx context.Context, key string, value []byte, rev uint64) (uint64, error) {
	if err := b.s.room(reserve); err != nil {
		return 0, err
	}
	next, err := b.kv.Update(ctx, key, value, rev)
	if err != nil {
		return 0, b.fail(err, "update", key)
	}
	return next, nil
}

// Delete removes the key if its revision is rev, else errs.Stale. A rev of 0
// removes it whatever its revision.
func (b *Bucket) Delete(ctx context.Context, key string, rev uint64) error {
	if err := b.s.room(deleteReserve); err != nil {
		return err
	}
	var opts []jetstream.KVDeleteOpt
	if rev != 0 {
		opts = append(opts, jetstream.LastRevision(rev))
	}
	if err := b.kv.Purge(ctx, key, opts...); err != nil {
		return b.fail(err, "delete", key)
	}
	return nil
}

// List calls fn for each key that starts with prefix, in no order, until fn
// returns an error, which List then returns.
func (b *Bucket) List(ctx context.Context, prefix string, fn func(key string, value []byte, rev uint64) error) error {
	w, err := b.kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return b.fail(err, "list", prefix)
	}
	defer w.Stop()
	for {
		select {
		case e, ok := <-w.Updates():
			if !ok {
				return errs.Newf(errs.Unavailable, "list of bucket ended early")
			}
			if e == nil { // all that was there when the list began
				return nil
			}
			if !strings.HasPrefix(e.Key(), prefix) {
				continue
			}
			if err := fn(e.Key(), e.Value(), e.Revision()); err != nil {
				return err
			}
		case <-ctx.Done():
			return b.fail(ctx.Err(), "list", prefix)
		}
	}
}

func (b *Bucket) fail(err error, verb, key string) error {
	var kind errs.Kind
	var api *jetstream.APIError
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrKeyDeleted):
		kind = errs.NotFound
	case errors.Is(err, jetstream.ErrKeyExists) && verb == "create":
		kind = errs.Conflict
	case errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence:
		kind = errs.Stale
	default:
		return wrap(err, "%s key %q", verb, key)
	}
	return &errs.Error{Kind: kind, Message: fmt.Sprintf("%s key %q", verb, key), Err: err}
}
