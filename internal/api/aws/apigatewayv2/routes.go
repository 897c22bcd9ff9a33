package apigatewayv2

import (
	"context"
	"regexp"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
)

// CreateRoute adds a route to an API.
func (d *Door) CreateRoute(ctx context.Context, in *CreateRouteInput) (*CreateRouteOutput, error) {
	if err := required(param{"RouteKey", in.RouteKey}); err != nil {
		return nil, err
	}
	if err := checkVariables(*in.RouteKey); err != nil {
		return nil, err
	}
	r := &Route{RouteId: newID(), ApiKeyRequired: new(false), AuthorizationType: AuthorizationTypeNone}
	merge(r, in)
	_, err := d.change(ctx, in.ApiId, func(doc *document) error {
		if err := doc.checkRoute(r); err != nil {
			return err
		}
		doc.Live.Routes[*r.RouteId] = r
		return nil
	})
	return (*CreateRouteOutput)(r), err
}

var variable = regexp.MustCompile(`\{([^{}+]+)\+?\}`)

// checkVariables refuses a route key that names a variable twice. APIs of before
// this check may have such routes, and are served.
func checkVariables(key string) error {
	seen := map[string]bool{}
	for _, m := range variable.FindAllStringSubmatch(key, -1) {
		if seen[m[1]] {
			return bad("The route key %s holds the variable %s twice", key, m[1])
		}
		seen[m[1]] = true
	}
	return nil
}

// checkRoute refuses a route that the API can't have.
func (doc *document) checkRoute(r *Route) error {
	err := unsupported(map[string]bool{
		"ApiKeyRequired": wire.Value(r.ApiKeyRequired), "ModelSelectionExpression": r.ModelSelectionExpression != nil,
		"RequestModels": len(r.RequestModels) > 0, "RequestParameters": len(r.RequestParameters) > 0,
		"RouteResponseSelectionExpression": r.RouteResponseSelectionExpression != nil,
	})
	if err != nil {
		return err
	}
	if err := oneOf("AuthorizationType", r.AuthorizationType, AuthorizationTypeNone, AuthorizationTypeAwsIam, AuthorizationTypeCustom, AuthorizationTypeJwt); err != nil {
		return err
	}
	for _, o := range doc.Live.Routes {
		if wire.Value(o.RouteKey) == wire.Value(r.RouteKey) && wire.Value(o.RouteId) != wire.Value(r.RouteId) {
			return wire.Errorf(CodeConflict, "Route with key %s already exists for this API", wire.Value(r.RouteKey))
		}
	}
	if target := wire.Value(r.Target); target != "" {
		id, ok := strings.CutPrefix(target, "integrations/")
		if !ok || doc.Live.Integrations[id] == nil {
			return wire.Errorf(CodeNotFound, "Invalid Integration identifier specified in Target %s: it is integrations/ID", target)
		}
	}
	return doc.Live.checkAuthorizer(r)
}

// checkAuthorizer refuses a route whose authorizer does not fit.
func (c *configuration) checkAuthorizer(r *Route) error {
	want := map[string]string{AuthorizationTypeJwt: AuthorizerTypeJwt, AuthorizationTypeCustom: AuthorizerTypeRequest}[r.AuthorizationType]
	if want == "" {
		return nil
	}
	a := c.Authorizers[wire.Value(r.AuthorizerId)]
	if a == nil {
		return wire.Errorf(CodeNotFound, "Invalid Authorizer identifier specified %s", wire.Value(r.AuthorizerId))
	}
	if a.AuthorizerType != want {
		return bad("Authorization type %s needs an authorizer of type %s", r.AuthorizationType, want)
	}
	return nil
}

// route returns a route of an API.
func (d *Door) route(api, id *string) (*Route, error) {
	doc, err := d.get(api)
	if err != nil {
		return nil, err
	}
	if r := doc.Live.Routes[wire.Value(id)]; r != nil {
		return r, nil
	}
	return nil, noRoute(id)
}

func noRoute(id *string) error {
	return wire.Errorf(CodeNotFound, "Unable to find Route by key %s within the provided RestApi", wire.Value(id))
}

// GetRoute shows a route.
func (d *Door) GetRoute(_ context.Context, in *GetRouteInput) (*GetRouteOutput, error) {
	r, err := d.route(in.ApiId, in.RouteId)
	return (*GetRouteOutput)(r), err
}

// GetRoutes lists the routes of an API.
func (d *Door) GetRoutes(_ context.Context, in *GetRoutesInput) (*GetRoutesOutput, error) {
	doc, err := d.get(in.ApiId)
	if err != nil {
		return nil, err
	}
	items, next, err := listed(doc.Live.Routes, in.MaxResults, in.NextToken)
	return &GetRoutesOutput{Items: items, NextToken: next}, err
}

// UpdateRoute changes what the request names of a route.
func (d *Door) UpdateRoute(ctx context.Context, in *UpdateRouteInput) (*UpdateRouteOutput, error) {
	if err := checkVariables(wire.Value(in.RouteKey)); err != nil {
		return nil, err
	}
	doc, err := d.change(ctx, in.ApiId, func(doc *document) error {
		r := doc.Live.Routes[wire.Value(in.RouteId)]
		if r == nil {
			return noRoute(in.RouteId)
		}
		merge(r, in)
		return doc.checkRoute(r)
	})
	if err != nil {
		return nil, err
	}
	return (*UpdateRouteOutput)(doc.Live.Routes[*in.RouteId]), nil
}

// DeleteRoute removes a route.
func (d *Door) DeleteRoute(ctx context.Context, in *DeleteRouteInput) (*DeleteRouteOutput, error) {
	_, err := d.change(ctx, in.ApiId, func(doc *document) error {
		if doc.Live.Routes[wire.Value(in.RouteId)] == nil {
			return noRoute(in.RouteId)
		}
		delete(doc.Live.Routes, *in.RouteId)
		return nil
	})
	return &DeleteRouteOutput{}, err
}
