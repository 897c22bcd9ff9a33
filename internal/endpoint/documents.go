package endpoint

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Bucket is a durable map from keys to revisioned values, safe for concurrent
// use.
type Bucket interface {
	Create(ctx context.Context, key string, value []byte) (rev uint64, err error)
	Update(ctx context.Context, key string, value []byte, rev uint64) (uint64, error)
	Delete(ctx context.Context, key string, rev uint64) error
	List(ctx context.Context, prefix string, fn func(key string, value []byte, rev uint64) error) error
}

// Documents are the documents of one kind, by id. Reads come from memory; what
// they return is shared and must not be changed. A change is on disk when its
// method returns. It is safe for concurrent use, and its bucket's only writer.
type Documents[T any] struct {
	bucket Bucket
	prefix string // of keys
	what   string // a document's name in errors

	writing sync.Mutex // held over a change, from reading to keeping

	mu   sync.RWMutex
	docs map[string]kept[T] // guarded by mu
}

type kept[T any] struct {
	doc *T
	rev uint64
}

// OpenDocuments reads all documents whose keys begin with what and a dot.
func OpenDocuments[T any](ctx context.Context, b Bucket, what string) (*Documents[T], error) {
	d := &Documents[T]{bucket: b, prefix: what + ".", what: what, docs: map[string]kept[T]{}}
	err := b.List(ctx, d.prefix, func(key string, value []byte, rev uint64) error {
		doc := new(T)
		if err := json.Unmarshal(value, doc); err != nil {
			return fmt.Errorf("document %s: %w", key, err)
		}
		d.docs[strings.TrimPrefix(key, d.prefix)] = kept[T]{doc, rev}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Get returns a document, or errs.NotFound.
func (d *Documents[T]) Get(id string) (*T, error) {
	k, err := d.get(id)
	return k.doc, err
}

func (d *Documents[T]) get(id string) (kept[T], error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	k, ok := d.docs[id]
	if !ok {
		return k, errs.Newf(errs.NotFound, "there is no %s %s", d.what, id)
	}
	return k, nil
}

// All returns all documents, in no order.
func (d *Documents[T]) All() []*T {
	d.mu.RLock()
	defer d.mu.RUnlock()
	all := make([]*T, 0, len(d.docs))
	for _, k := range d.docs {
		all = append(all, k.doc)
	}
	return all
}

// Create keeps a new document, or fails with errs.Conflict if there is one of
// that id. The document must not be changed any more.
func (d *Documents[T]) Create(ctx context.Context, id string, doc *T) error {
	b, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("encode %s %s: %w", d.what, id, err)
	}
	d.writing.Lock()
	defer d.writing.Unlock()
	rev, err := d.bucket.Create(ctx, d.prefix+id, b)
	if err != nil {
		return err
	}
	d.keep(id, kept[T]{doc, rev})
	return nil
}

// Change lets change edit a copy of a document and keeps that, unless change
// fails. Fails with errs.NotFound if there is no document of that id.
func (d *Documents[T]) Change(ctx context.Context, id string, change func(*T) error) (*T, error) {
	d.writing.Lock()
	defer d.writing.Unlock()
	old, err := d.get(id)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(old.doc)
	if err != nil {
		return nil, fmt.Errorf("copy %s %s: %w", d.what, id, err)
	}
	next := new(T)
	if err := json.Unmarshal(b, next); err != nil {
		return nil, fmt.Errorf("copy %s %s: %w", d.what, id, err)
	}
	if err := change(next); err != nil {
		return nil, err
	}
	if b, err = json.Marshal(next); err != nil {
		return nil, fmt.Errorf("encode %s %s: %w", d.what, id, err)
	}
	rev, err := d.bucket.Update(ctx, d.prefix+id, b, old.rev)
	if err != nil {
		return nil, err
	}
	d.keep(id, kept[T]{next, rev})
	return next, nil
}

// Delete removes a document, or fails with errs.NotFound.
func (d *Documents[T]) Delete(ctx context.Context, id string) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	old, err := d.get(id)
	if err != nil {
		return err
	}
	if err := d.bucket.Delete(ctx, d.prefix+id, old.rev); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.docs, id)
	return nil
}

func (d *Documents[T]) keep(id string, k kept[T]) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.docs[id] = k
}
