package function

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Bucket is a durable map from keys to revisioned values, safe for concurrent
// use. Revisions grow with each change of the bucket.
type Bucket interface {
	// Get returns the value and its revision, or an errs.NotFound error.
	Get(ctx context.Context, key string) (value []byte, rev uint64, err error)
	// Create stores a value under a key that has none, else errs.Conflict.
	Create(ctx context.Context, key string, value []byte) (rev uint64, err error)
	// Update replaces the value whose revision is rev, else errs.Stale.
	Update(ctx context.Context, key string, value []byte, rev uint64) (uint64, error)
	// Delete removes the key if its revision is rev, else errs.Stale.
	Delete(ctx context.Context, key string, rev uint64) error
	// List calls fn for each key that starts with prefix, in no order, until
	// fn returns an error, which List then returns.
	List(ctx context.Context, prefix string, fn func(key string, value []byte, rev uint64) error) error
}

const keyPrefix = "function."

func key(name string) string { return keyPrefix + name }

// document is what the bucket keeps of a function. A document in the cache is
// never changed: change clones it.
type document struct {
	Name    string            `json:"name"`
	Created time.Time         `json:"created"`
	Tags    map[string]string `json:"tags,omitempty"`

	Async      map[string]AsyncSettings `json:"async,omitempty"` // by qualifier; replaced, never changed
	AllowLoops bool                     `json:"allowLoops,omitempty"`

	// Latest is what a call runs, unless it is not Active.
	Latest *Version `json:"latest"`

	// Candidate is a change of Latest whose image is being built. It takes
	// Latest's place when that succeeds, so that a failed change leaves the
	// code that works.
	Candidate *Version `json:"candidate,omitempty"`

	// Versions are the published ones, oldest first. But for its state none
	// ever changes.
	Versions []*Version `json:"versions,omitempty"`

	// Published is the number of the version that was published last. Numbers
	// of deleted versions are not used again.
	Published int `json:"published,omitempty"`

	Aliases  []*Alias `json:"aliases,omitempty"` // sorted by name; replaced, never changed
	Capacity Capacity `json:"capacity,omitzero"`

	// What seal works out.
	routes  map[string]route // by qualifier
	claimed int              // Capacity's claim
}

func decode(b []byte) (*document, error) {
	d := new(document)
	if err := json.Unmarshal(b, d); err != nil {
		return nil, fmt.Errorf("function document: %w", err)
	}
	if d.Latest == nil {
		return nil, fmt.Errorf("function document %q has no latest version", d.Name)
	}
	return d, nil
}

func (d *document) encode() []byte {
	b, err := json.Marshal(d)
	if err != nil {
		panic("function: a document always marshals: " + err.Error())
	}
	return b
}

// clone returns a copy that can be changed. Published versions and aliases are
// shared: they are replaced, never changed.
func (d *document) clone() *document {
	c := *d
	c.Tags = maps.Clone(d.Tags)
	c.Latest = d.Latest.Clone()
	if d.Candidate != nil {
		c.Candidate = d.Candidate.Clone()
	}
	c.Versions, c.Aliases = slices.Clone(d.Versions), slices.Clone(d.Aliases)
	c.Capacity = d.Capacity.clone()
	c.routes = nil
	return &c
}

// seal makes d fit for the cache.
func (d *document) seal() *document {
	for v := range d.all() {
		v.seal()
	}
	d.connect()
	d.claimed = d.Capacity.claim()
	return d
}

// all yields every version that d refers to.
func (d *document) all() func(yield func(*Version) bool) {
	return func(yield func(*Version) bool) {
		if !yield(d.Latest) || d.Candidate != nil && !yield(d.Candidate) {
			return
		}
		for _, v := range d.Versions {
			if !yield(v) {
				return
			}
		}
	}
}

// shown is the latest version as its owner sees it: with a change under way.
func (d *document) shown() *Version {
	if d.Candidate != nil {
		return d.Candidate
	}
	return d.Latest
}

// building is the version whose image is still to be built, or nil.
func (d *document) building() *Version {
	switch {
	case d.Candidate != nil:
		return d.Candidate
	case d.Latest.State == Pending:
		return d.Latest
	}
	return nil
}

// published returns the published version of the number, or nil.
func (d *document) published(number string) *Version {
	for _, v := range d.Versions {
		if v.Version == number {
			return v
		}
	}
	return nil
}

func (d *document) packages() []string {
	var keys []string
	for v := range d.all() {
		keys = append(keys, v.Code.Key())
	}
	return keys
}

// fingerprints are those of which instances may exist.
func (d *document) fingerprints() map[string]bool {
	f := map[string]bool{d.Latest.Fingerprint(): true}
	for _, v := range d.Versions {
		f[v.Fingerprint()] = true
	}
	return f
}
