package apigatewayv2

import (
	"context"
	"net/url"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
)

// Limits of an integration's timeout in milliseconds.
const (
	minTimeout = 50
	maxTimeout = 30000
)

// CreateIntegration adds an integration to an API.
func (d *Door) CreateIntegration(ctx context.Context, in *CreateIntegrationInput) (*CreateIntegrationOutput, error) {
	if err := required(param{"IntegrationType", &in.IntegrationType}); err != nil {
		return nil, err
	}
	i := &Integration{
		IntegrationId: newID(), ConnectionType: ConnectionTypeInternet, TimeoutInMillis: new(int32(maxTimeout)), PayloadFormatVersion: new("1.0"),
	}
	merge(i, in)
	if err := d.checkIntegration(i); err != nil {
		return nil, err
	}
	_, err := d.change(ctx, in.ApiId, func(doc *document) error {
		doc.Live.Integrations[*i.IntegrationId] = i
		return nil
	})
	return (*CreateIntegrationOutput)(i), err
}

// checkIntegration refuses an integration that this node can't serve.
func (d *Door) checkIntegration(i *Integration) error {
	err := unsupported(map[string]bool{
		"ConnectionType VPC_LINK": i.ConnectionType == ConnectionTypeVpcLink, "ConnectionId": wire.Value(i.ConnectionId) != "",
		"IntegrationSubtype": wire.Value(i.IntegrationSubtype) != "", "RequestParameters": len(i.RequestParameters) > 0,
		"ResponseParameters": len(i.ResponseParameters) > 0, "RequestTemplates": len(i.RequestTemplates) > 0,
		"TemplateSelectionExpression": wire.Value(i.TemplateSelectionExpression) != "", "TlsConfig": i.TlsConfig != nil,
		"ContentHandlingStrategy": i.ContentHandlingStrategy != "",
	})
	if err != nil {
		return err
	}
	if err := required(param{"IntegrationUri", i.IntegrationUri}); err != nil {
		return err
	}
	if n := wire.Value(i.TimeoutInMillis); n < minTimeout || n > maxTimeout {
		return bad("Timeout should be between %d ms and %d ms", minTimeout, maxTimeout)
	}
	if err := oneOf("PayloadFormatVersion", wire.Value(i.PayloadFormatVersion), "1.0", "2.0"); err != nil {
		return err
	}
	switch i.IntegrationType {
	case IntegrationTypeAwsProxy:
		if wire.Value(i.IntegrationMethod) == "" {
			i.IntegrationMethod = new("POST")
		}
		if strings.Contains(*i.IntegrationUri, "${stageVariables.") {
			return nil // each stage says what it is
		}
		_, err := d.functionOf(*i.IntegrationUri, nil)
		return err
	case IntegrationTypeHttpProxy:
		if err := required(param{"IntegrationMethod", i.IntegrationMethod}); err != nil {
			return err
		}
		if wire.Value(i.PayloadFormatVersion) == "2.0" {
			return bad("PayloadFormatVersion of an HTTP_PROXY integration is 1.0")
		}
		u, err := url.Parse(*i.IntegrationUri)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return bad("Invalid HTTP endpoint specified for URI: %s", *i.IntegrationUri)
		}
		return nil
	}
	return bad("IntegrationType %s is not one of AWS_PROXY, HTTP_PROXY", i.IntegrationType)
}

func noIntegration(id *string) error {
	return wire.Errorf(CodeNotFound, "Invalid Integration identifier specified %s", wire.Value(id))
}

// GetIntegration shows an integration.
func (d *Door) GetIntegration(_ context.Context, in *GetIntegrationInput) (*GetIntegrationOutput, error) {
	doc, err := d.get(in.ApiId)
	if err != nil {
		return nil, err
	}
	i := doc.Live.Integrations[wire.Value(in.IntegrationId)]
	if i == nil {
		return nil, noIntegration(in.IntegrationId)
	}
	return (*GetIntegrationOutput)(i), nil
}

// GetIntegrations lists the integrations of an API.
func (d *Door) GetIntegrations(_ context.Context, in *GetIntegrationsInput) (*GetIntegrationsOutput, error) {
	doc, err := d.get(in.ApiId)
	if err != nil {
		return nil, err
	}
	items, next, err := listed(doc.Live.Integrations, in.MaxResults, in.NextToken)
	return &GetIntegrationsOutput{Items: items, NextToken: next}, err
}

// UpdateIntegration changes what the request names of an integration.
func (d *Door) UpdateIntegration(ctx context.Context, in *UpdateIntegrationInput) (*UpdateIntegrationOutput, error) {
	doc, err := d.change(ctx, in.ApiId, func(doc *document) error {
		i := doc.Live.Integrations[wire.Value(in.IntegrationId)]
		if i == nil {
			return noIntegration(in.IntegrationId)
		}
		merge(i, in)
		return d.checkIntegration(i)
	})
	if err != nil {
		return nil, err
	}
	return (*UpdateIntegrationOutput)(doc.Live.Integrations[*in.IntegrationId]), nil
}

// DeleteIntegration removes an integration that no route uses.
func (d *Door) DeleteIntegration(ctx context.Context, in *DeleteIntegrationInput) (*DeleteIntegrationOutput, error) {
	_, err := d.change(ctx, in.ApiId, func(doc *document) error {
		if doc.Live.Integrations[wire.Value(in.IntegrationId)] == nil {
			return noIntegration(in.IntegrationId)
		}
		for _, r := range doc.Live.Routes {
			if wire.Value(r.Target) == "integrations/"+*in.IntegrationId {
				return wire.Errorf(CodeConflict, "Cannot delete Integration %s because it is referenced by a Route with key %s", *in.IntegrationId, wire.Value(r.RouteKey))
			}
		}
		delete(doc.Live.Integrations, *in.IntegrationId)
		return nil
	})
	return &DeleteIntegrationOutput{}, err
}
