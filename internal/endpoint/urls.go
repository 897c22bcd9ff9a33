package endpoint

import (
	"cmp"
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// URL makes one function an endpoint. A function has at most one for itself and
// one for each alias.
type URL struct {
	ID        string    `json:"id"`
	Function  string    `json:"function"`
	Qualifier string    `json:"qualifier,omitempty"` // an alias, or "" for the latest version
	Signed    bool      `json:"signed"`              // only requests signed with one of the node's keys are let in
	Stream    bool      `json:"stream,omitempty"`    // the answer goes out as it is written
	CORS      *CORS     `json:"cors,omitempty"`      // nil leaves pages of other origins to the function
	Created   time.Time `json:"created"`
	Modified  time.Time `json:"modified"`
}

type urlOf struct{ function, qualifier string }

// URLs keeps the functions' URLs. It is safe for concurrent use.
type URLs struct {
	docs *Documents[URL]

	mu sync.RWMutex
	by map[urlOf]string // guarded by mu: ids
}

// OpenURLs reads all URLs from the bucket.
func OpenURLs(ctx context.Context, b Bucket) (*URLs, error) {
	docs, err := OpenDocuments[URL](ctx, b, "url")
	if err != nil {
		return nil, err
	}
	u := &URLs{docs: docs, by: map[urlOf]string{}}
	for _, d := range docs.All() {
		u.by[urlOf{d.Function, d.Qualifier}] = d.ID
	}
	return u, nil
}

// Lookup returns the URL of an id, or errs.NotFound. What it returns is shared.
func (u *URLs) Lookup(id string) (*URL, error) { return u.docs.Get(id) }

// Get returns the URL of a function and qualifier, or errs.NotFound. What it
// returns is shared.
func (u *URLs) Get(function, qualifier string) (*URL, error) {
	id, ok := u.id(function, qualifier)
	if !ok {
		return nil, errs.Newf(errs.NotFound, "function %s has no URL; make one with: mayfly url %s --public", named(function, qualifier), function)
	}
	return u.docs.Get(id)
}

func (u *URLs) id(function, qualifier string) (string, bool) {
	u.mu.RLock()
	defer u.mu.RUnlock()
	id, ok := u.by[urlOf{function, qualifier}]
	return id, ok
}

func named(function, qualifier string) string {
	if qualifier != "" {
		return function + ":" + qualifier
	}
	return function
}

// List returns the URLs of a function and its aliases, by qualifier.
func (u *URLs) List(function string) []*URL {
	all := slices.DeleteFunc(u.docs.All(), func(d *URL) bool { return d.Function != function })
	slices.SortFunc(all, func(a, b *URL) int { return cmp.Compare(a.Qualifier, b.Qualifier) })
	return all
}

// Create gives a function a URL; it sets ID, Created and Modified. It fails with
// errs.Conflict if there is one.
func (u *URLs) Create(ctx context.Context, url URL) (*URL, error) {
	of := urlOf{url.Function, url.Qualifier}
	url.ID = NewID(32)
	u.mu.Lock()
	_, exists := u.by[of]
	if !exists {
		u.by[of] = url.ID
	}
	u.mu.Unlock()
	if exists {
		return nil, errs.Newf(errs.Conflict, "function %s has a URL already", named(url.Function, url.Qualifier))
	}
	url.Created = time.Now().UTC()
	url.Modified = url.Created
	if err := u.docs.Create(ctx, url.ID, &url); err != nil {
		u.forget(of)
		return nil, err
	}
	return &url, nil
}

func (u *URLs) forget(of urlOf) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.by, of)
}

// Update changes a URL; change must leave id, function and qualifier alone.
func (u *URLs) Update(ctx context.Context, function, qualifier string, change func(*URL)) (*URL, error) {
	old, err := u.Get(function, qualifier)
	if err != nil {
		return nil, err
	}
	return u.docs.Change(ctx, old.ID, func(d *URL) error {
		change(d)
		d.Modified = time.Now().UTC()
		return nil
	})
}

// Delete takes a function's URL away.
func (u *URLs) Delete(ctx context.Context, function, qualifier string) error {
	old, err := u.Get(function, qualifier)
	if err != nil {
		return err
	}
	if err := u.docs.Delete(ctx, old.ID); err != nil {
		return err
	}
	u.forget(urlOf{function, qualifier})
	return nil
}

// DeleteAll takes all URLs of a function away.
func (u *URLs) DeleteAll(ctx context.Context, function string) error {
	for _, d := range u.List(function) {
		if err := u.Delete(ctx, function, d.Qualifier); err != nil && !errs.Is(err, errs.NotFound) {
			return err
		}
	}
	return nil
}

// NewID returns n random characters that can be a label of a host name.
func NewID(n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz234567" // 32: each equally likely
	b := make([]byte, n)
	rand.Read(b) // never fails
	for i := range b {
		b[i] = letters[b[i]%32]
	}
	return string(b)
}
