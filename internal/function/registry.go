package function

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/mayfly-dev/mayfly/internal/blob"
	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Runtimes is the catalog of language runtimes.
type Runtimes interface {
	// Resolve says what serves a runtime's name on this node. warning is not
	// empty if that isn't exactly what was named. It fails with errs.Invalid
	// for a name that no runtime has, and with errs.Unsupported if this node
	// can't serve it.
	Resolve(name string) (resolved, warning string, err error)
}

// Builder makes what instances of a version need (its image). Build is
// idempotent and safe for concurrent use. Its errs.Invalid and errs.TooLarge
// errors blame the code package, all others the node.
type Builder interface {
	Build(ctx context.Context, v *Version) error
}

// Options are what a Registry is made of. All are required but Obsolete,
// Published and Changed.
type Options struct {
	Bucket   Bucket
	Packages blob.Store
	Runtimes Runtimes
	Builder  Builder
	Limits   Limits
	Log      *slog.Logger

	// Obsolete, if set, is told each fingerprint whose instances no further
	// call can reach, after the registry has stopped handing it out. The same
	// fingerprint may come back later. It must not block.
	Obsolete func(fingerprint string)

	// Published, if set, is told each published version when it becomes Active,
	// and no more when the node starts again. It must not block.
	Published func(v *Version)

	// Changed, if set, is called after each change of what the registry hands
	// out. It must not block.
	Changed func()
}

// Reasons of Conflict errors.
const (
	ReasonExists   = "Exists"           // a function of that name exists
	ReasonUpdating = "UpdateInProgress" // an earlier change is not finished
	ReasonState    = "State"            // the version's state refuses; the message names it
)

// Registry keeps all functions. Reads come from memory and never wait for the
// bucket; what they return is shared and must not be changed (see
// Version.Clone). Its methods are safe for concurrent use. Run must be running
// for new functions to become Active.
//
// The registry is the bucket's only writer on a machine; a change that another
// writer made is seen when a write meets it.
type Registry struct {
	o Options

	mu      sync.RWMutex
	entries map[string]*entry   // guarded by mu; entries never change
	todo    map[string]struct{} // guarded by mu: names of functions with a build to do
	claimed int                 // guarded by mu: calls that have places of their own, of all functions
	wake    chan struct{}       // told after todo grew

	claiming sync.Mutex // held while capacity is changed

	collecting sync.Mutex
	pins       map[string]int // guarded by collecting: packages that a change under way needs
}

type entry struct {
	doc *document
	rev uint64
}

// Open reads all functions from the bucket.
func Open(ctx context.Context, o Options) (*Registry, error) {
	r := &Registry{
		o:       o,
		entries: map[string]*entry{},
		todo:    map[string]struct{}{},
		wake:    make(chan struct{}, 1),
		pins:    map[string]int{},
	}
	err := o.Bucket.List(ctx, keyPrefix, func(k string, value []byte, rev uint64) error {
		d, err := decode(value)
		if err != nil {
			return err
		}
		r.resolve(d)
		r.entries[d.Name] = &entry{doc: d.seal(), rev: rev}
		r.claimed += d.claimed
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// resolve refreshes what serves the versions' runtimes: the machine's
// interpreters may have changed since the document was written.
func (r *Registry) resolve(d *document) {
	for v := range d.all() {
		resolved, warning, err := r.o.Runtimes.Resolve(v.Runtime)
		if err != nil {
			warning = err.Error()
		}
		v.RuntimeResolved, v.RuntimeWarning = resolved, warning
	}
}

func (r *Registry) entry(name string) *entry {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.entries[name]
}

// MissingError says which function or version does not exist. It is the cause
// (errors.As) of errs.NotFound errors.
type MissingError struct {
	Function  string
	Qualifier string // "" if the function itself is missing
}

func (e *MissingError) Error() string {
	name := e.Function
	if e.Qualifier != "" {
		name += ":" + e.Qualifier
	}
	return "function " + name + " does not exist"
}

func notFound(name, qualifier string) error {
	return errs.Newf(errs.NotFound, "%w", &MissingError{name, qualifier})
}

func refusedByState(s State) error {
	return errs.Newf(errs.Conflict, "The operation cannot be performed at this time. The function is currently in the following state: %s", s).WithReason(ReasonState)
}

// Lookup returns the version that a call of name runs; for an alias with
// routing, each call draws anew. An empty qualifier means Latest. It fails with
// errs.NotFound, or with errs.Conflict if the version's state refuses calls. It
// does not allocate unless it fails.
func (r *Registry) Lookup(name, qualifier string) (*Version, error) {
	e := r.entry(name)
	if e == nil {
		return nil, notFound(name, qualifier)
	}
	rt, ok := e.doc.routes[qualifier]
	if !ok {
		return nil, notFound(name, qualifier)
	}
	v := rt.first
	if rt.second != nil {
		v = rt.pick(rand.Float64())
	}
	if v.State != Active {
		return nil, refusedByState(v.State)
	}
	return v, nil
}

// Get returns a version as its owner sees it: Latest with a change that is
// under way, and for an alias the version that it points at. An empty qualifier
// means Latest. It fails with errs.NotFound.
func (r *Registry) Get(name, qualifier string) (*Version, error) {
	e := r.entry(name)
	if e == nil {
		return nil, notFound(name, qualifier)
	}
	rt, ok := e.doc.routes[qualifier]
	switch {
	case !ok:
		return nil, notFound(name, qualifier)
	case rt.first == e.doc.Latest:
		return e.doc.shown(), nil
	}
	return rt.first, nil
}

// Created returns when the function was made, or errs.NotFound.
func (r *Registry) Created(name string) (time.Time, error) {
	e := r.entry(name)
	if e == nil {
		return time.Time{}, notFound(name, "")
	}
	return e.doc.Created, nil
}

// Tags returns a copy of the function's tags, never nil, or errs.NotFound.
func (r *Registry) Tags(name string) (map[string]string, error) {
	e := r.entry(name)
	if e == nil {
		return nil, notFound(name, "")
	}
	tags := maps.Clone(e.doc.Tags)
	if tags == nil {
		tags = map[string]string{}
	}
	return tags, nil
}

// List returns the latest versions, as Get does, of up to most functions whose
// names come after the given one, sorted by name. more says that the list goes
// on after the last of them.
func (r *Registry) List(after string, most int) (page []*Version, more bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	names := make([]string, 0, len(r.entries))
	for name := range r.entries {
		if name > after {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if len(names) > most {
		names, more = names[:most], true
	}
	for _, name := range names {
		page = append(page, r.entries[name].doc.shown())
	}
	return page, more
}

// Usage returns how many functions there are and the bytes of the code
// packages of all their versions, each version counted.
func (r *Registry) Usage() (functions int, codeBytes int64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, e := range r.entries {
		for v := range e.doc.all() {
			codeBytes += v.Code.Size
		}
	}
	return len(r.entries), codeBytes
}

// Limits returns the limits that the registry enforces.
func (r *Registry) Limits() Limits { return r.o.Limits }

// keep puts a document in the cache unless a newer one is there, and tells
// what became obsolete.
func (r *Registry) keep(d *document, rev uint64) *entry {
	e := &entry{doc: d.seal(), rev: rev}
	r.mu.Lock()
	old := r.entries[d.Name]
	if old != nil && old.rev >= rev {
		r.mu.Unlock()
		return old
	}
	r.entries[d.Name] = e
	r.claimed += d.claimed
	if old != nil {
		r.claimed -= old.doc.claimed
	}
	r.mu.Unlock()
	if old != nil {
		r.tellObsolete(old.doc, d)
		r.tellPublished(old.doc, d)
	}
	r.tellChanged()
	return e
}

// drop takes an entry out of the cache unless a newer one is there.
func (r *Registry) drop(name string, rev uint64) {
	r.mu.Lock()
	old := r.entries[name]
	if old == nil || old.rev > rev {
		r.mu.Unlock()
		return
	}
	delete(r.entries, name)
	r.claimed -= old.doc.claimed
	r.mu.Unlock()
	r.tellObsolete(old.doc, nil)
	r.tellChanged()
}

func (r *Registry) tellChanged() {
	if r.o.Changed != nil {
		r.o.Changed()
	}
}

// tellPublished tells of versions that are Active in next and were not in old. (A
// new function has none: it is still to be built.)
func (r *Registry) tellPublished(old, next *document) {
	if r.o.Published == nil {
		return
	}
	active := map[string]bool{}
	for _, v := range old.Versions {
		active[v.Version] = v.State == Active
	}
	for _, v := range next.Versions {
		if v.State == Active && !active[v.Version] {
			r.o.Published(v)
		}
	}
}

func (r *Registry) tellObsolete(old, next *document) {
	if r.o.Obsolete == nil {
		return
	}
	var still map[string]bool
	if next != nil {
		still = next.fingerprints()
	}
	for f := range old.fingerprints() {
		if !still[f] {
			r.o.Obsolete(f)
		}
	}
}

// refresh reads one document again, after another writer changed it.
func (r *Registry) refresh(ctx context.Context, name string, seen uint64) error {
	value, rev, err := r.o.Bucket.Get(ctx, key(name))
	switch {
	case errs.Is(err, errs.NotFound):
		r.drop(name, seen)
		return nil
	case err != nil:
		return err
	}
	d, err := decode(value)
	if err != nil {
		return err
	}
	r.resolve(d)
	r.keep(d, rev)
	if d.building() != nil {
		r.enqueue(name)
	}
	return nil
}

func newRevision() string { return uuid.NewString() }

func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }
