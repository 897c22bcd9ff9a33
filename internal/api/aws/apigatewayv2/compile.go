package apigatewayv2

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/mayfly-dev/mayfly/internal/api/aws/arn"
	"github.com/mayfly-dev/mayfly/internal/api/aws/httpapi"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/endpoint"
)

// defaultBurst is how many requests may come at once where only a rate is set:
// API Gateway's own.
const defaultBurst = 5000

// compile returns an API as it is served.
func (d *Door) compile(doc *document) (*httpapi.API, error) {
	api := &httpapi.API{
		ID: *doc.API.ApiId, DomainOnly: wire.Value(doc.API.DisableExecuteApiEndpoint), Stages: map[string]*httpapi.Stage{},
		CORS: readCORS(doc.API.CorsConfiguration),
	}
	for name, s := range doc.Stages {
		stage := &httpapi.Stage{Name: name, Variables: s.StageVariables}
		if l := s.AccessLogSettings; l != nil {
			stage.Log = httpapi.NewAccessLog(logGroupOf(wire.Value(l.DestinationArn)), wire.Value(l.Format))
		}
		if c := doc.serves(s); c != nil {
			if err := d.compileRoutes(stage, s, c); err != nil {
				return nil, err
			}
		}
		api.Stages[name] = stage
	}
	return api, nil
}

func readCORS(c *Cors) *endpoint.CORS {
	if c == nil {
		return nil
	}
	return &endpoint.CORS{
		Origins: c.AllowOrigins, Methods: c.AllowMethods, Headers: c.AllowHeaders, Expose: c.ExposeHeaders,
		Credentials: wire.Value(c.AllowCredentials), MaxAge: time.Duration(wire.Value(c.MaxAge)) * time.Second,
	}
}

// compileRoutes adds the routes of a configuration to a stage. Routes of one
// authorizer share what it remembers.
func (d *Door) compileRoutes(stage *httpapi.Stage, s *Stage, c *configuration) error {
	authorizers := map[string]any{}
	for _, r := range c.Routes {
		route := &httpapi.Route{Key: wire.Value(r.RouteKey), Limiter: limiter(s, wire.Value(r.RouteKey))}
		i := c.Integrations[strings.TrimPrefix(wire.Value(r.Target), "integrations/")]
		if i == nil {
			if wire.Value(r.Target) != "" {
				return bad("The route %s has no integration any more", route.Key)
			}
			if err := stage.Routes.Add(route.Key, route); err != nil { // its form counts
				return err
			}
			continue
		}
		integration, err := d.compileIntegration(i, s.StageVariables)
		if err != nil && !strings.Contains(wire.Value(i.IntegrationUri), "${stageVariables.") {
			return err
		}
		route.Integration = integration // none, where the stage's variables name none: its requests fail
		if route.Authorizer, err = d.compileAuthorizer(r, c, authorizers); err != nil {
			return err
		}
		if err := stage.Routes.Add(route.Key, route); err != nil {
			return err
		}
	}
	return nil
}

// limiter returns what holds a route to its throttling limits, nil if it has none.
func limiter(s *Stage, key string) *rate.Limiter {
	settings, ok := s.RouteSettings[key]
	if !ok && s.DefaultRouteSettings != nil {
		settings = *s.DefaultRouteSettings
	}
	if settings.ThrottlingRateLimit == nil && settings.ThrottlingBurstLimit == nil {
		return nil
	}
	limit, burst := rate.Inf, defaultBurst
	if settings.ThrottlingRateLimit != nil {
		limit = rate.Limit(*settings.ThrottlingRateLimit)
	}
	if settings.ThrottlingBurstLimit != nil {
		burst = int(*settings.ThrottlingBurstLimit)
		if settings.ThrottlingRateLimit == nil {
			limit = rate.Limit(burst)
		}
	}
	return rate.NewLimiter(limit, burst)
}

func (d *Door) compileIntegration(i *Integration, variables map[string]string) (httpapi.Integration, error) {
	c := httpapi.Integration{
		Format: wire.Value(i.PayloadFormatVersion), Method: wire.Value(i.IntegrationMethod),
		Timeout: time.Duration(wire.Value(i.TimeoutInMillis)) * time.Millisecond,
	}
	if i.IntegrationType == IntegrationTypeHttpProxy {
		uri, err := substitute(wire.Value(i.IntegrationUri), variables)
		if err != nil {
			return c, err
		}
		if c.URL, err = url.Parse(uri); err != nil {
			return c, bad("Invalid HTTP endpoint specified for URI: %s", uri)
		}
		return c, nil
	}
	f, err := d.functionOf(wire.Value(i.IntegrationUri), variables)
	if err != nil {
		return c, err
	}
	c.Function, c.Qualifier, c.Invoked = f.Name, f.Qualifier, f.String()
	return c, nil
}

// compileAuthorizer returns what decides about a route. made holds the authorizers
// of the stage by id.
func (d *Door) compileAuthorizer(r *Route, c *configuration, made map[string]any) (httpapi.Authorizer, error) {
	switch r.AuthorizationType {
	case AuthorizationTypeAwsIam:
		return httpapi.IAM{}, nil
	case AuthorizationTypeJwt, AuthorizationTypeCustom:
	default:
		return nil, nil
	}
	id := wire.Value(r.AuthorizerId)
	a := c.Authorizers[id]
	if a == nil {
		return nil, noAuthorizer(r.AuthorizerId)
	}
	if made[id] == nil {
		var err error
		if made[id], err = d.makeAuthorizer(a); err != nil {
			return nil, err
		}
	}
	switch m := made[id].(type) {
	case *httpapi.JWT:
		return m.Route(r.AuthorizationScopes), nil
	case *httpapi.Lambda:
		return m, nil
	}
	return nil, fmt.Errorf("authorizer %s has no type", id)
}

func (d *Door) makeAuthorizer(a *Authorizer) (any, error) {
	if a.AuthorizerType == AuthorizerTypeJwt {
		return &httpapi.JWT{
			Issuer: wire.Value(a.JwtConfiguration.Issuer), Audience: a.JwtConfiguration.Audience,
			Source: httpapi.IdentitySource(a.IdentitySource[0]), Client: d.o.Client,
		}, nil
	}
	f, err := d.functionOf(wire.Value(a.AuthorizerUri), nil)
	if err != nil {
		return nil, err
	}
	l := &httpapi.Lambda{
		Function: f.Name, Qualifier: f.Qualifier, Invoked: f.String(), Format: wire.Value(a.AuthorizerPayloadFormatVersion),
		Simple: wire.Value(a.EnableSimpleResponses), TTL: time.Duration(wire.Value(a.AuthorizerResultTtlInSeconds)) * time.Second,
	}
	for _, s := range a.IdentitySource {
		l.Sources = append(l.Sources, httpapi.IdentitySource(s))
	}
	return l, nil
}

var stageVariable = regexp.MustCompile(`\$\{stageVariables\.([a-zA-Z0-9_]+)\}`)

// substitute replaces stage variables in a URI.
func substitute(uri string, variables map[string]string) (string, error) {
	missing := ""
	replaced := stageVariable.ReplaceAllStringFunc(uri, func(m string) string {
		name := stageVariable.FindStringSubmatch(m)[1]
		v, ok := variables[name]
		if !ok {
			missing = name
		}
		return v
	})
	if missing != "" {
		return "", bad("The stage has no variable %s, which %s needs", missing, uri)
	}
	return replaced, nil
}

// functionOf reads the function that a URI names: by its ARN, or by the ARN of its
// invocation as an action of API Gateway.
func (d *Door) functionOf(uri string, variables map[string]string) (arn.Function, error) {
	name, err := substitute(uri, variables)
	if err != nil {
		return arn.Function{}, err
	}
	if rest, ok := strings.CutPrefix(name, "arn:aws:apigateway:"+d.o.Region+":lambda:path/"); ok {
		if _, name, ok = strings.Cut(rest, "/functions/"); ok {
			name, ok = strings.CutSuffix(name, "/invocations")
		}
		if !ok {
			return arn.Function{}, badFunction(uri)
		}
	}
	f, ok := arn.Parse(name)
	if !ok || !strings.HasPrefix(name, "arn:") {
		return arn.Function{}, badFunction(uri)
	}
	if f.Region != d.o.Region || f.Account != d.o.Account {
		return arn.Function{}, bad("The function %s is not this node's: it serves region %s and account %s", name, d.o.Region, d.o.Account)
	}
	return f, nil
}

func badFunction(uri string) error {
	return bad("Invalid function ARN or invocation URI specified: %s", uri)
}
