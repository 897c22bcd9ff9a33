package apigatewayv2

import (
	"context"
	"net/url"

	"github.com/mayfly-dev/mayfly/internal/api/aws/httpapi"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
)

// maxAuthorizerTTL is the longest time to keep an authorizer's answer, in seconds.
const maxAuthorizerTTL = 3600

// CreateAuthorizer adds an authorizer to an API.
func (d *Door) CreateAuthorizer(ctx context.Context, in *CreateAuthorizerInput) (*CreateAuthorizerOutput, error) {
	if err := required(param{"Name", in.Name}, param{"AuthorizerType", &in.AuthorizerType}); err != nil {
		return nil, err
	}
	a := &Authorizer{AuthorizerId: newID()}
	merge(a, in)
	if err := d.checkAuthorizer(a); err != nil {
		return nil, err
	}
	_, err := d.change(ctx, in.ApiId, func(doc *document) error {
		for _, o := range doc.Live.Authorizers {
			if wire.Value(o.Name) == wire.Value(a.Name) {
				return wire.Errorf(CodeConflict, "Authorizer name must be unique. Authorizer %s already exists in this API.", wire.Value(a.Name))
			}
		}
		doc.Live.Authorizers[*a.AuthorizerId] = a
		return nil
	})
	return (*CreateAuthorizerOutput)(a), err
}

// checkAuthorizer refuses an authorizer that can't work.
func (d *Door) checkAuthorizer(a *Authorizer) error {
	for _, s := range a.IdentitySource {
		if !httpapi.IdentitySource(s).Valid() {
			return bad("Invalid identity source %s: it has the form $request.header.NAME, $request.querystring.NAME, $context.NAME or $stageVariables.NAME", s)
		}
	}
	switch a.AuthorizerType {
	case AuthorizerTypeJwt:
		return checkJWT(a)
	case AuthorizerTypeRequest:
		if err := required(param{"AuthorizerUri", a.AuthorizerUri}, param{"AuthorizerPayloadFormatVersion", a.AuthorizerPayloadFormatVersion}); err != nil {
			return err
		}
		if err := oneOf("AuthorizerPayloadFormatVersion", *a.AuthorizerPayloadFormatVersion, "1.0", "2.0"); err != nil {
			return err
		}
		if wire.Value(a.EnableSimpleResponses) && *a.AuthorizerPayloadFormatVersion != "2.0" {
			return bad("EnableSimpleResponses needs AuthorizerPayloadFormatVersion 2.0")
		}
		if n := wire.Value(a.AuthorizerResultTtlInSeconds); n < 0 || n > maxAuthorizerTTL {
			return bad("AuthorizerResultTtlInSeconds must be from 0 to %d", maxAuthorizerTTL)
		} else if n > 0 && len(a.IdentitySource) == 0 {
			return bad("AuthorizerResultTtlInSeconds needs an IdentitySource")
		}
		_, err := d.functionOf(*a.AuthorizerUri, nil)
		return err
	}
	return bad("AuthorizerType %s is not one of JWT, REQUEST", a.AuthorizerType)
}

func checkJWT(a *Authorizer) error {
	if a.JwtConfiguration == nil {
		return bad("JwtConfiguration is required for a JWT authorizer")
	}
	if len(a.IdentitySource) != 1 {
		return bad("A JWT authorizer has one identity source")
	}
	if len(a.JwtConfiguration.Audience) == 0 {
		return bad("JwtConfiguration needs an Audience")
	}
	u, err := url.Parse(wire.Value(a.JwtConfiguration.Issuer))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return bad("Invalid issuer: %s. Issuer must be the URL of an OpenID Connect issuer", wire.Value(a.JwtConfiguration.Issuer))
	}
	return nil
}

func noAuthorizer(id *string) error {
	return wire.Errorf(CodeNotFound, "Invalid Authorizer identifier specified %s", wire.Value(id))
}

// GetAuthorizer shows an authorizer.
func (d *Door) GetAuthorizer(_ context.Context, in *GetAuthorizerInput) (*GetAuthorizerOutput, error) {
	doc, err := d.get(in.ApiId)
	if err != nil {
		return nil, err
	}
	a := doc.Live.Authorizers[wire.Value(in.AuthorizerId)]
	if a == nil {
		return nil, noAuthorizer(in.AuthorizerId)
	}
	return (*GetAuthorizerOutput)(a), nil
}

// GetAuthorizers lists the authorizers of an API.
func (d *Door) GetAuthorizers(_ context.Context, in *GetAuthorizersInput) (*GetAuthorizersOutput, error) {
	doc, err := d.get(in.ApiId)
	if err != nil {
		return nil, err
	}
	items, next, err := listed(doc.Live.Authorizers, in.MaxResults, in.NextToken)
	return &GetAuthorizersOutput{Items: items, NextToken: next}, err
}

// UpdateAuthorizer changes what the request names of an authorizer.
func (d *Door) UpdateAuthorizer(ctx context.Context, in *UpdateAuthorizerInput) (*UpdateAuthorizerOutput, error) {
	doc, err := d.change(ctx, in.ApiId, func(doc *document) error {
		a := doc.Live.Authorizers[wire.Value(in.AuthorizerId)]
		if a == nil {
			return noAuthorizer(in.AuthorizerId)
		}
		merge(a, in)
		return d.checkAuthorizer(a)
	})
	if err != nil {
		return nil, err
	}
	return (*UpdateAuthorizerOutput)(doc.Live.Authorizers[*in.AuthorizerId]), nil
}

// DeleteAuthorizer removes an authorizer that no route uses.
func (d *Door) DeleteAuthorizer(ctx context.Context, in *DeleteAuthorizerInput) (*DeleteAuthorizerOutput, error) {
	_, err := d.change(ctx, in.ApiId, func(doc *document) error {
		if doc.Live.Authorizers[wire.Value(in.AuthorizerId)] == nil {
			return noAuthorizer(in.AuthorizerId)
		}
		for _, r := range doc.Live.Routes {
			if wire.Value(r.AuthorizerId) == *in.AuthorizerId && r.AuthorizationType != AuthorizationTypeNone {
				return wire.Errorf(CodeConflict, "Cannot delete Authorizer %s because it is used by the Route with key %s", *in.AuthorizerId, wire.Value(r.RouteKey))
			}
		}
		delete(doc.Live.Authorizers, *in.AuthorizerId)
		return nil
	})
	return &DeleteAuthorizerOutput{}, err
}
