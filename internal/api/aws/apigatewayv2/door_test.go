package apigatewayv2

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/access"
	"github.com/mayfly-dev/mayfly/internal/api/aws/httpapi"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/endpoint"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/invoke"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

// echo answers with the name of the function and its event.
type echo struct{}

func (echo) Sync(_ context.Context, r invoke.Request) (invoke.Result, error) {
	if r.Function == "" {
		return invoke.Result{}, errs.Newf(errs.NotFound, "no function")
	}
	b, err := json.Marshal(map[string]any{"statusCode": 200, "body": r.Function + ":" + r.Qualifier})
	return invoke.Result{Payload: b}, err
}

func (echo) ServesHTTP(string, string) bool { return false }

func (echo) ServeWeb(http.ResponseWriter, *http.Request, invoke.Request) error { return nil }

const (
	function   = "arn:aws:lambda:us-east-1:000000000000:function:f"
	invocation = "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/" + function + "/invocations"
)

type rig struct {
	*Door
	t      *testing.T
	server *httpapi.Server
	bucket endpoint.Bucket
}

func newRig(t *testing.T) *rig {
	t.Helper()
	s, err := spine.Open(t.Context(), spine.Config{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	b, err := s.Bucket(t.Context(), spine.EndpointsBucket)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, bucket: b}
	r.open()
	return r
}

// open makes the door over what the bucket has.
func (r *rig) open() {
	r.t.Helper()
	keys, _, err := access.Open(r.t.TempDir())
	if err != nil {
		r.t.Fatal(err)
	}
	r.server = httpapi.New(httpapi.Options{
		Region: "us-east-1", Account: "000000000000", Domain: "localhost", Invoker: echo{}, Auth: wire.NewAuthenticator(keys),
		MaxBody: 1 << 20, Client: http.DefaultClient, Log: slog.New(slog.DiscardHandler), Access: func(string, string) {},
	})
	r.Door, err = Open(r.t.Context(), Options{
		Region: "us-east-1", Account: "000000000000", Domain: "localhost", Bucket: r.bucket, Server: r.server, Client: http.DefaultClient,
		URL: func(id string) string { return "http://" + id + ".api.localhost:9555/" },
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// get asks an API, or a domain name, for a path.
func (r *rig) get(name, path string) (int, string) {
	w := httptest.NewRecorder()
	r.server.ServeEndpoint(w, httptest.NewRequest(http.MethodGet, path, nil), endpoint.Address{Name: name})
	return w.Code, w.Body.String()
}

func (r *rig) want(name, path string, status int, body string) {
	r.t.Helper()
	if code, got := r.get(name, path); code != status || body != "" && got != body {
		r.t.Errorf("%s%s: %d %s, want %d %s", name, path, code, got, status, body)
	}
}

// must returns the output of an operation that succeeds.
func must[T any](t *testing.T) func(out T, err error) T {
	return func(out T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

func refused(t *testing.T, code string, err error) {
	t.Helper()
	var e *wire.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("%v, want %s", err, code)
	}
}

func TestQuickCreateServesAtOnceAndAfterARestart(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	api := must[*CreateApiOutput](t)(r.CreateApi(ctx, &CreateApiInput{Name: new("quick"), ProtocolType: ProtocolTypeHttp, Target: new(function + ":live"), Tags: map[string]string{"team": "a"}}))
	if *api.ApiEndpoint != "http://"+*api.ApiId+".api.localhost:9555" {
		t.Errorf("endpoint %s", *api.ApiEndpoint)
	}
	r.want(*api.ApiId, "/any/thing", 200, "f:live")
	r.open()
	r.want(*api.ApiId, "/any/thing", 200, "f:live")
	routes := must[*GetRoutesOutput](t)(r.GetRoutes(ctx, &GetRoutesInput{ApiId: api.ApiId}))
	stages := must[*GetStagesOutput](t)(r.GetStages(ctx, &GetStagesInput{ApiId: api.ApiId}))
	if len(routes.Items) != 1 || *routes.Items[0].RouteKey != "$default" || len(stages.Items) != 1 || !*stages.Items[0].AutoDeploy {
		t.Errorf("%+v %+v", routes.Items, stages.Items)
	}
	must[*TagResourceOutput](t)(r.TagResource(ctx, &TagResourceInput{ResourceArn: new("arn:aws:apigateway:us-east-1::/apis/" + *api.ApiId), Tags: map[string]string{"x": "1"}}))
	must[*UntagResourceOutput](t)(r.UntagResource(ctx, &UntagResourceInput{ResourceArn: new("arn:aws:apigateway:us-east-1::/apis/" + *api.ApiId), TagKeys: []string{"team"}}))
	if tags := must[*GetTagsOutput](t)(r.GetTags(ctx, &GetTagsInput{ResourceArn: new("arn:aws:apigateway:us-east-1::/apis/" + *api.ApiId)})).Tags; len(tags) != 1 || tags["x"] != "1" {
		t.Errorf("tags %v", tags)
	}
	must[*DeleteApiOutput](t)(r.DeleteApi(ctx, &DeleteApiInput{ApiId: api.ApiId}))
	r.want(*api.ApiId, "/", 404, "")
	_, err := r.GetApi(ctx, &GetApiInput{ApiId: api.ApiId})
	refused(t, CodeNotFound, err)
}

func TestAStageServesWhatWasDeployed(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	api := must[*CreateApiOutput](t)(r.CreateApi(ctx, &CreateApiInput{Name: new("a"), ProtocolType: ProtocolTypeHttp})).ApiId
	i := must[*CreateIntegrationOutput](t)(r.CreateIntegration(ctx, &CreateIntegrationInput{ApiId: api, IntegrationType: IntegrationTypeAwsProxy, IntegrationUri: new(invocation), PayloadFormatVersion: new("2.0")}))
	target := new("integrations/" + *i.IntegrationId)
	one := must[*CreateRouteOutput](t)(r.CreateRoute(ctx, &CreateRouteInput{ApiId: api, RouteKey: new("GET /one"), Target: target}))
	must[*CreateStageOutput](t)(r.CreateStage(ctx, &CreateStageInput{ApiId: api, StageName: new("auto"), AutoDeploy: new(true)}))
	must[*CreateStageOutput](t)(r.CreateStage(ctx, &CreateStageInput{ApiId: api, StageName: new("prod")}))
	r.want(*api, "/auto/one", 200, "f:")
	r.want(*api, "/prod/one", 404, "")
	must[*CreateDeploymentOutput](t)(r.CreateDeployment(ctx, &CreateDeploymentInput{ApiId: api, StageName: new("prod")}))
	r.want(*api, "/prod/one", 200, "f:")

	must[*CreateRouteOutput](t)(r.CreateRoute(ctx, &CreateRouteInput{ApiId: api, RouteKey: new("GET /two"), Target: target}))
	must[*DeleteRouteOutput](t)(r.DeleteRoute(ctx, &DeleteRouteInput{ApiId: api, RouteId: one.RouteId}))
	r.want(*api, "/auto/two", 200, "f:")
	r.want(*api, "/auto/one", 404, "")
	r.want(*api, "/prod/two", 404, "")
	r.want(*api, "/prod/one", 200, "f:")
	r.open()
	r.want(*api, "/prod/one", 200, "f:")

	// A stage that stops to deploy by itself stays as it is.
	must[*UpdateStageOutput](t)(r.UpdateStage(ctx, &UpdateStageInput{ApiId: api, StageName: new("auto"), AutoDeploy: new(false)}))
	must[*CreateRouteOutput](t)(r.CreateRoute(ctx, &CreateRouteInput{ApiId: api, RouteKey: new("GET /three"), Target: target}))
	r.want(*api, "/auto/two", 200, "f:")
	r.want(*api, "/auto/three", 404, "")
}

func TestStageVariablesChooseTheFunction(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	api := must[*CreateApiOutput](t)(r.CreateApi(ctx, &CreateApiInput{Name: new("a"), ProtocolType: ProtocolTypeHttp})).ApiId
	i := must[*CreateIntegrationOutput](t)(r.CreateIntegration(ctx, &CreateIntegrationInput{ApiId: api, IntegrationType: IntegrationTypeAwsProxy, IntegrationUri: new(function + ":${stageVariables.alias}")}))
	must[*CreateRouteOutput](t)(r.CreateRoute(ctx, &CreateRouteInput{ApiId: api, RouteKey: new("$default"), Target: new("integrations/" + *i.IntegrationId)}))
	must[*CreateStageOutput](t)(r.CreateStage(ctx, &CreateStageInput{ApiId: api, StageName: new("dev"), AutoDeploy: new(true), StageVariables: map[string]string{"alias": "blue"}}))
	must[*CreateStageOutput](t)(r.CreateStage(ctx, &CreateStageInput{ApiId: api, StageName: new("none"), AutoDeploy: new(true)}))
	r.want(*api, "/dev/", 200, "f:blue")
	r.want(*api, "/none/", 500, "")
	must[*UpdateStageOutput](t)(r.UpdateStage(ctx, &UpdateStageInput{ApiId: api, StageName: new("dev"), StageVariables: map[string]string{"alias": "green"}}))
	r.want(*api, "/dev/", 200, "f:green")
}

func TestDomainNamesServeWhatIsMapped(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	api := must[*CreateApiOutput](t)(r.CreateApi(ctx, &CreateApiInput{Name: new("a"), ProtocolType: ProtocolTypeHttp, Target: new(function)})).ApiId
	must[*CreateDomainNameOutput](t)(r.CreateDomainName(ctx, &CreateDomainNameInput{DomainName: new("Shop.Example.com")}))
	m := must[*CreateApiMappingOutput](t)(r.CreateApiMapping(ctx, &CreateApiMappingInput{DomainName: new("shop.example.com"), ApiId: api, Stage: new("$default"), ApiMappingKey: new("v1")}))
	r.want("shop.example.com", "/v1/x", 200, "f:")
	r.want("shop.example.com", "/x", 404, "")
	_, err := r.DeleteApi(ctx, &DeleteApiInput{ApiId: api})
	refused(t, CodeBadRequest, err)
	_, err = r.DeleteStage(ctx, &DeleteStageInput{ApiId: api, StageName: new("$default")})
	refused(t, CodeBadRequest, err)
	r.open()
	r.want("shop.example.com", "/v1/x", 200, "f:")
	must[*UpdateApiMappingOutput](t)(r.UpdateApiMapping(ctx, &UpdateApiMappingInput{DomainName: new("shop.example.com"), ApiId: api, ApiMappingId: m.ApiMappingId, ApiMappingKey: new("v2")}))
	r.want("shop.example.com", "/v2/x", 200, "f:")
	must[*DeleteApiMappingOutput](t)(r.DeleteApiMapping(ctx, &DeleteApiMappingInput{DomainName: new("shop.example.com"), ApiMappingId: m.ApiMappingId}))
	r.want("shop.example.com", "/v2/x", 404, "")
	must[*DeleteDomainNameOutput](t)(r.DeleteDomainName(ctx, &DeleteDomainNameInput{DomainName: new("shop.example.com")}))
	for _, name := range []string{"localhost", "x.fn.localhost", "nodots", "*.example.com", "-a.example.com"} {
		_, err := r.CreateDomainName(ctx, &CreateDomainNameInput{DomainName: &name})
		refused(t, CodeBadRequest, err)
	}
}

func TestWhatAnAPICanNotHaveIsRefusedAndChangesNothing(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	api := must[*CreateApiOutput](t)(r.CreateApi(ctx, &CreateApiInput{Name: new("a"), ProtocolType: ProtocolTypeHttp, Target: new(function)})).ApiId
	i := must[*GetIntegrationsOutput](t)(r.GetIntegrations(ctx, &GetIntegrationsInput{ApiId: api})).Items[0].IntegrationId
	jwt := must[*CreateAuthorizerOutput](t)(r.CreateAuthorizer(ctx, &CreateAuthorizerInput{
		ApiId: api, Name: new("j"), AuthorizerType: AuthorizerTypeJwt, IdentitySource: []string{"$request.header.Authorization"},
		JwtConfiguration: &JWTConfiguration{Audience: []string{"a"}, Issuer: new("https://issuer.example.com")},
	})).AuthorizerId
	route := func(change func(*CreateRouteInput)) error {
		in := &CreateRouteInput{ApiId: api, RouteKey: new("GET /x"), Target: new("integrations/" + *i)}
		change(in)
		_, err := r.CreateRoute(ctx, in)
		return err
	}
	integration := func(in CreateIntegrationInput) error {
		in.ApiId = api
		_, err := r.CreateIntegration(ctx, &in)
		return err
	}
	for name, tc := range map[string]struct {
		code string
		err  error
	}{
		"a second route of a key": {CodeConflict, route(func(in *CreateRouteInput) { in.RouteKey = new("$default") })},
		"no route key":            {CodeBadRequest, route(func(in *CreateRouteInput) { in.RouteKey = new("/x") })},
		"a variable twice":        {CodeBadRequest, route(func(in *CreateRouteInput) { in.RouteKey = new("GET /{a}/x/{a+}") })},
		"no such integration":     {CodeNotFound, route(func(in *CreateRouteInput) { in.Target = new("integrations/x") })},
		"no such authorizer": {CodeNotFound, route(func(in *CreateRouteInput) {
			in.AuthorizationType, in.AuthorizerId = AuthorizationTypeJwt, new("x")
		})},
		"an authorizer of another type": {CodeBadRequest, route(func(in *CreateRouteInput) {
			in.AuthorizationType, in.AuthorizerId = AuthorizationTypeCustom, jwt
		})},
		"an API key":      {CodeBadRequest, route(func(in *CreateRouteInput) { in.ApiKeyRequired = new(true) })},
		"no function":     {CodeBadRequest, integration(CreateIntegrationInput{IntegrationType: IntegrationTypeAwsProxy, IntegrationUri: new("f")})},
		"another account": {CodeBadRequest, integration(CreateIntegrationInput{IntegrationType: IntegrationTypeAwsProxy, IntegrationUri: new("arn:aws:lambda:us-east-1:111111111111:function:f")})},
		"a long timeout":  {CodeBadRequest, integration(CreateIntegrationInput{IntegrationType: IntegrationTypeAwsProxy, IntegrationUri: new(function), TimeoutInMillis: new(int32(30001))})},
		"no URL":          {CodeBadRequest, integration(CreateIntegrationInput{IntegrationType: IntegrationTypeHttpProxy, IntegrationMethod: new("GET"), IntegrationUri: new("file:///etc/passwd")})},
		"a private link":  {CodeBadRequest, integration(CreateIntegrationInput{IntegrationType: IntegrationTypeHttpProxy, IntegrationMethod: new("GET"), IntegrationUri: new("http://h/"), ConnectionType: ConnectionTypeVpcLink})},
		"a mock":          {CodeBadRequest, integration(CreateIntegrationInput{IntegrationType: IntegrationTypeMock, IntegrationUri: new("x")})},
		"no such API":     {CodeNotFound, func() error { _, err := r.GetRoutes(ctx, &GetRoutesInput{ApiId: new("x")}); return err }()},
		"an integration used": {CodeConflict, func() error {
			_, err := r.DeleteIntegration(ctx, &DeleteIntegrationInput{ApiId: api, IntegrationId: i})
			return err
		}()},
		"a WebSocket API": {CodeBadRequest, func() error {
			_, err := r.CreateApi(ctx, &CreateApiInput{Name: new("w"), ProtocolType: ProtocolTypeWebsocket})
			return err
		}()},
		"limits of no route": {CodeNotFound, func() error {
			_, err := r.UpdateStage(ctx, &UpdateStageInput{ApiId: api, StageName: new("$default"), RouteSettings: map[string]RouteSettings{"GET /typo": {ThrottlingBurstLimit: new(int32(1))}}})
			return err
		}()},
		"a new stage with limits of no route": {CodeNotFound, func() error {
			_, err := r.CreateStage(ctx, &CreateStageInput{ApiId: api, StageName: new("s"), RouteSettings: map[string]RouteSettings{"GET /typo": {}}})
			return err
		}()},
		"a log to nowhere": {CodeBadRequest, func() error {
			_, err := r.UpdateStage(ctx, &UpdateStageInput{ApiId: api, StageName: new("$default"), AccessLogSettings: &AccessLogSettings{DestinationArn: new("x"), Format: new("y")}})
			return err
		}()},
	} {
		t.Run(name, func(t *testing.T) { refused(t, tc.code, tc.err) })
	}
	if routes := must[*GetRoutesOutput](t)(r.GetRoutes(ctx, &GetRoutesInput{ApiId: api})).Items; len(routes) != 1 {
		t.Errorf("routes %v", routes)
	}
	r.want(*api, "/x", 200, "f:")
}
