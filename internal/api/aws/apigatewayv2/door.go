// Package apigatewayv2 is the door for Amazon API Gateway's API, version 2: it
// keeps what HTTP APIs are made of and tells the server of package httpapi.
//
// api_gen.go holds the shapes, which come from AWS's model. docs/api-coverage.md
// says which operations and parameters are served.
package apigatewayv2

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/mayfly-dev/mayfly/internal/api/aws/httpapi"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/endpoint"
	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Options are what a Door is made of. All are required.
type Options struct {
	Region  string
	Account string // 12 digits
	Domain  string // custom domain names are to point to it
	Bucket  endpoint.Bucket
	Server  *httpapi.Server
	Client  *http.Client           // reaches the issuers of tokens
	URL     func(id string) string // where the API of an id is served, with a slash at its end
}

// Door serves API Gateway's API. It is safe for concurrent use.
type Door struct {
	o       Options
	apis    *endpoint.Documents[document]
	domains *endpoint.Documents[domain]

	mu sync.Mutex // held over a change, until the server has it
}

var _ API = (*Door)(nil)

// Open reads all APIs and domain names from the bucket, and has the server serve
// them.
func Open(ctx context.Context, o Options) (*Door, error) {
	d := &Door{o: o}
	var err error
	if d.apis, err = endpoint.OpenDocuments[document](ctx, o.Bucket, "api"); err != nil {
		return nil, err
	}
	if d.domains, err = endpoint.OpenDocuments[domain](ctx, o.Bucket, "domain"); err != nil {
		return nil, err
	}
	for _, doc := range d.apis.All() {
		api, err := d.compile(doc)
		if err != nil {
			return nil, fmt.Errorf("the API %s can't be served: %w", wire.Value(doc.API.ApiId), err)
		}
		o.Server.Set(api)
	}
	for _, dom := range d.domains.All() {
		o.Server.SetDomain(dom.compile())
	}
	return d, nil
}

// Service returns the service for a wire.Mux.
func (d *Door) Service() *wire.Service { return NewService(d) }

// get returns the document of an API.
func (d *Door) get(id *string) (*document, error) {
	doc, err := d.apis.Get(wire.Value(id))
	if err != nil {
		return nil, d.noAPI(id)
	}
	return doc, nil
}

func (d *Door) noAPI(id *string) error {
	return wire.Errorf(CodeNotFound, "Invalid API identifier specified %s:%s", d.o.Account, wire.Value(id))
}

// change lets edit change an API, and serves it as it is then. An API that could
// not be served stays as it was.
func (d *Door) change(ctx context.Context, id *string, edit func(*document) error) (*document, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.get(id); err != nil {
		return nil, err
	}
	var api *httpapi.API
	doc, err := d.apis.Change(ctx, wire.Value(id), func(doc *document) error {
		if err := edit(doc); err != nil {
			return err
		}
		doc.redeploy()
		var err error
		api, err = d.compile(doc)
		return err
	})
	if err != nil {
		return nil, fail(err)
	}
	d.o.Server.Set(api)
	return doc, nil
}

// fail words an error of the core.
func fail(err error) error {
	var known *wire.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	e := errs.Of(err)
	switch e.Kind {
	case errs.Invalid, errs.Unsupported, errs.TooLarge:
		return &wire.Error{Code: CodeBadRequest, Message: e.Message, Err: err}
	case errs.Conflict:
		return &wire.Error{Code: CodeConflict, Message: e.Message, Err: err}
	case errs.NotFound:
		return &wire.Error{Code: CodeNotFound, Message: e.Message, Err: err}
	case errs.Unavailable:
		return &wire.Error{Code: "ServiceUnavailableException", Status: 503, Message: e.Message, RetryAfter: e.RetryAfter, Err: err}
	}
	return err
}

func bad(format string, args ...any) error { return wire.Errorf(CodeBadRequest, format, args...) }

// required refuses a request that lacks one of the named parameters.
func required(params ...param) error {
	for _, p := range params {
		if p.value == nil || *p.value == "" {
			return bad("Missing required parameter: %s", p.name)
		}
	}
	return nil
}

type param struct {
	name  string
	value *string
}

// unsupported refuses a parameter that asks for what this node does not do.
func unsupported(asked map[string]bool) error {
	var names []string
	for name, given := range asked {
		if given {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return bad("This node does not support %s for HTTP APIs.", strings.Join(names, ", "))
}

// oneOf refuses a value that is neither empty nor one of those.
func oneOf(name, v string, allowed ...string) error {
	if v == "" || slices.Contains(allowed, v) {
		return nil
	}
	return bad("%s %s is not one of %s", name, v, strings.Join(allowed, ", "))
}

func (d *Door) arn(path string) string {
	return "arn:aws:apigateway:" + d.o.Region + "::" + path
}
