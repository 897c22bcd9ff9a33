package apigatewayv2

import (
	"context"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/api/aws/httpapi"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
)

// CreateApi makes an API. With a Target it has one route, one integration and a
// stage that deploys itself.
func (d *Door) CreateApi(ctx context.Context, in *CreateApiInput) (*CreateApiOutput, error) {
	if err := required(param{"Name", in.Name}, param{"ProtocolType", &in.ProtocolType}); err != nil {
		return nil, err
	}
	if in.ProtocolType != ProtocolTypeHttp {
		return nil, bad("This node serves APIs with ProtocolType HTTP only, not %s.", in.ProtocolType)
	}
	if err := checkCORS(in.CorsConfiguration); err != nil {
		return nil, err
	}
	if in.RouteKey != nil && in.Target == nil {
		return nil, bad("RouteKey needs a Target")
	}
	api := Api{
		ApiId: newID(), CreatedDate: now(), RouteSelectionExpression: new("$request.method $request.path"),
		ApiKeySelectionExpression: new("$request.header.x-api-key"), DisableExecuteApiEndpoint: new(false), IpAddressType: IpAddressTypeIpv4,
	}
	merge(&api, in)
	api.ApiEndpoint = new(strings.TrimSuffix(d.o.URL(*api.ApiId), "/"))
	doc := newDocument(api)
	if in.Target != nil {
		if err := d.quickCreate(doc, in); err != nil {
			return nil, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	served, err := d.compile(doc)
	if err != nil {
		return nil, fail(err)
	}
	if err := d.apis.Create(ctx, *api.ApiId, doc); err != nil {
		return nil, fail(err)
	}
	d.o.Server.Set(served)
	return (*CreateApiOutput)(d.shown(doc)), nil
}

// quickCreate gives an API what CreateApi's Target asks for.
func (d *Door) quickCreate(doc *document, in *CreateApiInput) error {
	i := &Integration{
		ApiGatewayManaged: new(true), IntegrationId: newID(), IntegrationType: IntegrationTypeAwsProxy, IntegrationUri: in.Target,
		ConnectionType: ConnectionTypeInternet, PayloadFormatVersion: new("2.0"), TimeoutInMillis: new(int32(maxTimeout)), CredentialsArn: in.CredentialsArn,
	}
	if strings.HasPrefix(*in.Target, "http://") || strings.HasPrefix(*in.Target, "https://") {
		i.IntegrationType, i.PayloadFormatVersion, i.IntegrationMethod = IntegrationTypeHttpProxy, new("1.0"), new("ANY")
	}
	if err := d.checkIntegration(i); err != nil {
		return err
	}
	key := wire.Value(in.RouteKey)
	if key == "" {
		key = "$default"
	}
	r := &Route{
		ApiGatewayManaged: new(true), RouteId: newID(), RouteKey: &key, ApiKeyRequired: new(false),
		AuthorizationType: AuthorizationTypeNone, Target: new("integrations/" + *i.IntegrationId),
	}
	s := &Stage{
		ApiGatewayManaged: new(true), StageName: new(httpapi.DefaultStage), AutoDeploy: new(true), CreatedDate: now(), LastUpdatedDate: now(),
		DefaultRouteSettings: &RouteSettings{DetailedMetricsEnabled: new(false)},
	}
	doc.Live.Integrations[*i.IntegrationId] = i
	doc.Live.Routes[*r.RouteId] = r
	doc.Stages[*s.StageName] = s
	doc.redeploy()
	return nil
}

// shown is an API as operations show it. Its endpoint is where it is now: the
// node may listen elsewhere than when the API was made.
func (d *Door) shown(doc *document) *Api {
	api := doc.API
	api.ApiEndpoint = new(strings.TrimSuffix(d.o.URL(*api.ApiId), "/"))
	return &api
}

// GetApi shows an API.
func (d *Door) GetApi(_ context.Context, in *GetApiInput) (*GetApiOutput, error) {
	doc, err := d.get(in.ApiId)
	if err != nil {
		return nil, err
	}
	return (*GetApiOutput)(d.shown(doc)), nil
}

// GetApis lists the APIs.
func (d *Door) GetApis(_ context.Context, in *GetApisInput) (*GetApisOutput, error) {
	all := map[string]*Api{}
	for _, doc := range d.apis.All() {
		all[*doc.API.ApiId] = d.shown(doc)
	}
	items, next, err := listed(all, in.MaxResults, in.NextToken)
	return &GetApisOutput{Items: items, NextToken: next}, err
}

// UpdateApi changes what the request names of an API.
func (d *Door) UpdateApi(ctx context.Context, in *UpdateApiInput) (*UpdateApiOutput, error) {
	if err := checkCORS(in.CorsConfiguration); err != nil {
		return nil, err
	}
	if in.Target != nil || in.RouteKey != nil || in.CredentialsArn != nil {
		return nil, bad("Target, RouteKey and CredentialsArn can't be changed here: change the route or the integration that the API was made with.")
	}
	doc, err := d.change(ctx, in.ApiId, func(doc *document) error {
		merge(&doc.API, in)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return (*UpdateApiOutput)(d.shown(doc)), nil
}

// DeleteApi removes an API with all that it has.
func (d *Door) DeleteApi(ctx context.Context, in *DeleteApiInput) (*DeleteApiOutput, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.get(in.ApiId); err != nil {
		return nil, err
	}
	for _, dom := range d.domains.All() {
		for _, m := range dom.Mappings {
			if wire.Value(m.ApiId) == wire.Value(in.ApiId) {
				return nil, bad("The domain name %s is mapped to this API. Delete its API mapping first.", wire.Value(dom.Domain.DomainName))
			}
		}
	}
	if err := d.apis.Delete(ctx, wire.Value(in.ApiId)); err != nil {
		return nil, fail(err)
	}
	d.o.Server.Remove(wire.Value(in.ApiId))
	return &DeleteApiOutput{}, nil
}

// DeleteCorsConfiguration leaves pages of other origins to the integrations.
func (d *Door) DeleteCorsConfiguration(ctx context.Context, in *DeleteCorsConfigurationInput) (*DeleteCorsConfigurationOutput, error) {
	_, err := d.change(ctx, in.ApiId, func(doc *document) error {
		doc.API.CorsConfiguration = nil
		return nil
	})
	return &DeleteCorsConfigurationOutput{}, err
}

func checkCORS(c *Cors) error {
	if c == nil {
		return nil
	}
	for _, o := range c.AllowOrigins {
		if o != "*" && !strings.Contains(o, "://") {
			return bad("The origin %s in AllowOrigins is neither * nor begins with a scheme", o)
		}
		if o == "*" && wire.Value(c.AllowCredentials) {
			return bad("The value \"*\" is not allowed in AllowOrigins together with AllowCredentials")
		}
	}
	if n := wire.Value(c.MaxAge); n < -1 || n > 86400 {
		return bad("MaxAge must be from -1 to 86400")
	}
	return nil
}
