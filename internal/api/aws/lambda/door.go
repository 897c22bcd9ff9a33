// Package lambda is the door for AWS Lambda's API: it turns requests into calls
// of the function registry and of the invoker, and what they answer into
// Lambda's shapes and error codes.
//
// api_gen.go holds the shapes, which come from AWS's model. docs/api-coverage.md
// says which operations and parameters are served.
package lambda

import (
	"context"
	"crypto/rand"
	"log/slog"

	"github.com/mayfly-dev/mayfly/internal/api/aws/arn"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/endpoint"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/invoke"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
	"github.com/mayfly-dev/mayfly/internal/trigger"
)

// Invoker runs functions. Its errors are of the kinds of package errs.
type Invoker interface {
	// Check reports whether Sync would accept r, without running it.
	Check(r invoke.Request) error
	// Sync runs a call and returns its answer, which may be the function's error.
	Sync(ctx context.Context, r invoke.Request) (invoke.Result, error)
	// Stream runs a call and passes its answer on to w while it is made.
	Stream(ctx context.Context, r invoke.Request, w invoke.StreamWriter) (invoke.Result, error)
	// Async accepts a call; when it returns nil the call is on disk.
	Async(ctx context.Context, r invoke.Request) error
}

// Capacity tells how far the provisioning of a version's instances has come.
type Capacity interface {
	Ready(v *function.Version) sandbox.Readiness
}

// Snapshots tells of initialised instances that were saved.
type Snapshots interface {
	// Saved reports whether the next instance of v would come of a snapshot.
	Saved(ctx context.Context, v *function.Version) bool
}

// Options are what a Door is made of. All are required.
type Options struct {
	Region      string
	Account     string // 12 digits
	Functions   *function.Registry
	Invoker     Invoker
	Capacity    Capacity
	Snapshots   Snapshots
	Runtimes    []string // the names on offer, for error messages
	Concurrency int      // calls that may run at one time
	MaxSync     int64    // largest payload of a synchronous call, in bytes
	MaxAsync    int64    // largest payload of an asynchronous call, in bytes
	Objects     Objects  // nil without an object store
	Log         *slog.Logger

	URLs     *endpoint.URLs
	URL      func(id string) string // where the URL of an id is served, with a slash at its end
	Policies *endpoint.Documents[Policy]

	// Deleted is told of each function that was removed, so that what others keep
	// for it goes too.
	Deleted func(name string) error

	Triggers *trigger.Triggers
}

// Door serves Lambda's API. It is safe for concurrent use.
type Door struct {
	o       Options
	codeKey [32]byte // signs the addresses of code packages; of this process only
}

var _ API = (*Door)(nil)

// New returns a Door.
func New(o Options) *Door {
	d := &Door{o: o}
	rand.Read(d.codeKey[:]) // never fails
	return d
}

// maxUpload is the largest request that carries a code package, in bytes: what
// Lambda allows, which is 50 MiB in base64 with some room for the rest.
const maxUpload = 70167211

// invokeSlack is how much more of a payload than allowed is read, so that
// Invoke itself can refuse it.
const invokeSlack = 1 << 10

// Service returns the service for a wire.Mux.
func (d *Door) Service() *wire.Service {
	s := NewService(d)
	s.Limit("CreateFunction", maxUpload, uploadTooLarge("CreateFunction"))
	s.Limit("UpdateFunctionCode", maxUpload, uploadTooLarge("UpdateFunctionCode"))
	most := max(d.o.MaxSync, d.o.MaxAsync)
	s.Limit("Invoke", most+invokeSlack, payloadTooLarge(d.o.MaxSync))
	s.Limit("InvokeWithResponseStream", d.o.MaxSync+invokeSlack, payloadTooLarge(d.o.MaxSync))
	return s
}

// target is a function that a request names.
type target struct {
	name      string
	qualifier string // "" if the request has none
	arn       string // with the qualifier, if there is one
}

// target reads the function that a request names, with the qualifier that it
// may give beside the name.
func (d *Door) target(name, qualifier *string) (target, error) {
	var c constraints
	f, ok := arn.Parse(wire.Value(name))
	switch {
	case name == nil:
		c.null("functionName")
	case !ok:
		c.pattern("functionName", *name, arn.FunctionPattern)
	case len(f.Name) > function.MaxNameLength:
		c.longest("functionName", *name, function.MaxNameLength)
	}
	q := wire.Value(qualifier)
	if qualifier != nil && !arn.ValidQualifier(q) {
		c.pattern("qualifier", q, arn.QualifierPattern)
	}
	if err := c.err(); err != nil {
		return target{}, err
	}
	switch {
	case f.Qualifier == "":
		f.Qualifier = q
	case q != "" && q != f.Qualifier:
		return target{}, invalid("The derived qualifier from the function name does not match the specified qualifier.")
	}
	if f.Region != "" && f.Region != d.o.Region {
		return target{}, wire.Errorf(CodeResourceNotFound, "Functions from '%s' are not reachable in this region ('%s')", f.Region, d.o.Region)
	}
	if f.Account != "" && f.Account != d.o.Account {
		return target{}, &wire.Error{
			Code: codeAccessDenied, Status: 403,
			Message: "The resource " + f.String() + " belongs to another account: this node serves account " + d.o.Account + " only.",
		}
	}
	return target{name: f.Name, qualifier: f.Qualifier, arn: d.arn(f.Name, f.Qualifier)}, nil
}

// unqualified is target for operations on a function as a whole.
func (d *Door) unqualified(name *string) (target, error) {
	t, err := d.target(name, nil)
	if err == nil && t.qualifier != "" && t.qualifier != function.Latest {
		return target{}, invalid("This operation works on $LATEST only: name the function without the qualifier %s.", t.qualifier)
	}
	return t, err
}

func (d *Door) arn(name, qualifier string) string {
	return arn.Function{Region: d.o.Region, Account: d.o.Account, Name: name, Qualifier: qualifier}.String()
}
