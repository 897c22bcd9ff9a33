package apigatewayv2

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/endpoint"
)

// document is all that is kept of one API. Its JSON form is what is on disk: names
// of fields must stay.
type document struct {
	API         Api
	Live        configuration // as it is edited
	Stages      map[string]*Stage
	Deployments map[string]*deployment
}

// configuration is what a deployment freezes.
type configuration struct {
	Routes       map[string]*Route
	Integrations map[string]*Integration
	Authorizers  map[string]*Authorizer
}

// deployment is a configuration as it was. That of a stage with automatic
// deployment is not frozen: the stage serves what is live.
type deployment struct {
	Deployment
	Frozen *configuration
}

// maxDeployments bounds the deployments that an API keeps.
const maxDeployments = 100

func newDocument(api Api) *document {
	return &document{
		API: api, Stages: map[string]*Stage{}, Deployments: map[string]*deployment{},
		Live: configuration{Routes: map[string]*Route{}, Integrations: map[string]*Integration{}, Authorizers: map[string]*Authorizer{}},
	}
}

// newID returns an id of the form that API Gateway gives.
func newID() *string { return new(endpoint.NewID(10)) }

func now() *time.Time { return new(time.Now().UTC().Truncate(time.Second)) }

// redeploy gives each stage with automatic deployment a new one, and drops the one
// before.
func (doc *document) redeploy() {
	for _, s := range doc.Stages {
		if wire.Value(s.AutoDeploy) {
			doc.autoDeploy(s)
		}
	}
}

func (doc *document) autoDeploy(s *Stage) {
	if old := doc.Deployments[wire.Value(s.DeploymentId)]; old != nil && wire.Value(old.AutoDeployed) {
		delete(doc.Deployments, wire.Value(s.DeploymentId))
	}
	id := newID()
	doc.Deployments[*id] = &deployment{Deployment: Deployment{
		DeploymentId: id, AutoDeployed: new(true), CreatedDate: now(), DeploymentStatus: DeploymentStatusDeployed,
		Description: new("Automatic deployment triggered by changes to the Api configuration"),
	}}
	s.DeploymentId = id
	s.LastDeploymentStatusMessage = new("Successfully deployed stage with deployment ID '" + *id + "'")
}

// serves returns the configuration that a stage serves, nil for none.
func (doc *document) serves(s *Stage) *configuration {
	if wire.Value(s.AutoDeploy) {
		return &doc.Live
	}
	d := doc.Deployments[wire.Value(s.DeploymentId)]
	if d == nil {
		return nil
	}
	if d.Frozen == nil { // it was made automatically, and the stage left that mode
		return &doc.Live
	}
	return d.Frozen
}

// listed returns a page of a map's values by their keys: up to max of them, that
// come after token.
func listed[T any](all map[string]*T, most, token *string) (items []T, next *string, err error) {
	n := 500
	if most != nil {
		if n, err = strconv.Atoi(*most); err != nil || n < 1 {
			return nil, nil, bad("MaxResults must be a number from 1 on")
		}
	}
	items = []T{}
	last := ""
	for _, key := range slices.SortedFunc(maps.Keys(all), cmp.Compare[string]) {
		if token != nil && key <= *token {
			continue
		}
		if len(items) == n {
			return items, &last, nil
		}
		items = append(items, *all[key])
		last = key
	}
	return items, nil, nil
}
