// Package httpapi serves HTTP APIs: it finds the route of a request, asks its
// authorizer, and passes it to a function or to another server. What an API is
// made of is told by the door for API Gateway, package apigatewayv2.
package httpapi

import (
	"net/url"
	"time"

	"golang.org/x/time/rate"

	"github.com/mayfly-dev/mayfly/internal/endpoint"
)

// DefaultStage is the stage whose name is not a part of paths.
const DefaultStage = "$default"

// API is an API as it is served. It does not change once the Server has it: a
// changed API takes its place.
type API struct {
	ID         string
	CORS       *endpoint.CORS // nil leaves pages of other origins to the integrations
	DomainOnly bool           // not reachable under its id
	Stages     map[string]*Stage
}

// Stage is one stage of an API.
type Stage struct {
	Name      string
	Variables map[string]string
	Routes    endpoint.Table[*Route]
	Log       *AccessLog // nil for none
}

// Route is one route of a stage.
type Route struct {
	Key         string
	Integration Integration
	Authorizer  Authorizer    // nil lets everybody in
	Limiter     *rate.Limiter // nil for no limit
}

// Integration is where a route's requests go: to a Function, or else to URL.
type Integration struct {
	Function  string
	Qualifier string
	Invoked   string // the function's ARN, as it was configured
	Format    string // of payloads: "1.0" or "2.0"

	URL    *url.URL // a path variable stands in its path as {name}
	Method string   // "" or "ANY" passes the request's own

	Timeout time.Duration
}

// Domain is a domain name of APIs' own.
type Domain struct {
	Name     string
	Mappings []Mapping // longest key first
}

// Mapping leads a domain's paths that begin with a key to a stage.
type Mapping struct {
	Key   string // "" for all paths
	API   string
	Stage string
}
