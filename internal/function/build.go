package function

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Why an image could not be built, as the reason code of a version's state or
// update.
const (
	CodeInvalidPackage = "InvalidPackage" // the owner's fault
	CodeInternal       = "InternalError"  // the node's
)

// builds is how many images are built at once.
const builds = 2

// enqueue asks Run to build the function's image.
func (r *Registry) enqueue(name string) {
	r.mu.Lock()
	r.todo[name] = struct{}{}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default: // told already
	}
}

// Run builds images in the background until ctx ends, beginning with those
// that an earlier node did not finish, and returns when none is being built
// any more. It is called once.
func (r *Registry) Run(ctx context.Context) error {
	if err := r.collectAll(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	r.resume()
	var g errgroup.Group
	g.SetLimit(builds)
	for {
		for _, name := range r.takeTodo() {
			g.Go(func() error { r.build(ctx, name); return nil })
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
			return g.Wait()
		}
	}
}

// resume asks for each build that an earlier node did not finish.
func (r *Registry) resume() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, e := range r.entries {
		if e.doc.building() != nil {
			r.todo[name] = struct{}{}
		}
	}
}

func (r *Registry) takeTodo() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := make([]string, 0, len(r.todo))
	for name := range r.todo {
		names = append(names, name)
	}
	clear(r.todo)
	return names
}

// build builds the function's image and records the outcome. When ctx ends
// first, it stays to be done by the next node.
func (r *Registry) build(ctx context.Context, name string) {
	e := r.entry(name)
	if e == nil {
		return
	}
	v := e.doc.building()
	if v == nil {
		return
	}
	log := r.o.Log.With("function", name, "revision", v.Revision)
	err := r.o.Builder.Build(ctx, v)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		log.Error("building the function's image failed", "err", err)
	}
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		serr := r.settle(ctx, name, v.Revision, err)
		if serr == nil || ctx.Err() != nil {
			return
		}
		log.Error("the outcome of a build can't be stored, trying again", "err", serr, "wait", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// errSettled says that the version that was built is no longer to be built.
var errSettled = errors.New("settled")

// settle records the outcome of a build, failed being nil for success.
func (r *Registry) settle(ctx context.Context, name, revision string, failed error) error {
	var before []string
	_, err := r.change(ctx, name, func(e *entry) (*document, error) {
		if e == nil {
			return nil, errSettled
		}
		v := e.doc.building()
		if v == nil || v.Revision != revision {
			return nil, errSettled
		}
		before = e.doc.packages()
		d := e.doc.clone()
		d.settle(failed)
		return d, nil
	})
	if errors.Is(err, errSettled) {
		return nil
	}
	if err != nil {
		return err
	}
	r.discard(ctx, before...)
	return nil
}

// settle moves d's version under construction on, and the published one that
// was made of it.
func (d *document) settle(failed error) {
	reason, code := "", ""
	if failed != nil {
		reason, code = blame(failed)
	}
	d.settlePublished(reason, code, failed != nil)
	switch {
	case failed == nil:
		if d.Candidate != nil {
			d.Latest, d.Candidate = d.Candidate, nil
		}
		d.Latest.State, d.Latest.StateReason, d.Latest.StateReasonCode = Active, "", ""
		d.Latest.Update, d.Latest.UpdateReason, d.Latest.UpdateReasonCode = UpdateSuccessful, "", ""
	case d.Candidate != nil && d.Latest.State == Active:
		d.Candidate = nil // what works goes on working
		d.Latest.Update, d.Latest.UpdateReason, d.Latest.UpdateReasonCode = UpdateFailed, reason, code
	default:
		if d.Candidate != nil {
			d.Latest, d.Candidate = d.Candidate, nil
			d.Latest.Update, d.Latest.UpdateReason, d.Latest.UpdateReasonCode = UpdateFailed, reason, code
		}
		d.Latest.State, d.Latest.StateReason, d.Latest.StateReasonCode = Failed, reason, code
	}
	d.Latest.Revision = newRevision()
}

func (d *document) settlePublished(reason, code string, failed bool) {
	n := len(d.Versions) - 1
	if n < 0 || d.Versions[n].State != Pending {
		return
	}
	v := d.Versions[n].Clone()
	v.State, v.StateReason, v.StateReasonCode, v.Revision = Active, reason, code, newRevision()
	if failed {
		v.State = Failed
	}
	d.Versions[n] = v
}

func blame(err error) (reason, code string) {
	switch e := errs.Of(err); e.Kind {
	case errs.Invalid, errs.TooLarge:
		return e.Message, CodeInvalidPackage
	default:
		return "The node could not prepare the function: " + e.Message, CodeInternal
	}
}
