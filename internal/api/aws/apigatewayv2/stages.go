package apigatewayv2

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
)

var stageForm = regexp.MustCompile(`^(\$default|[a-zA-Z0-9_-]{1,128})$`)

// CreateStage adds a stage to an API.
func (d *Door) CreateStage(ctx context.Context, in *CreateStageInput) (*CreateStageOutput, error) {
	if !stageForm.MatchString(wire.Value(in.StageName)) {
		return nil, bad("StageName %q is neither $default nor made of letters, digits, - and _", wire.Value(in.StageName))
	}
	s := &Stage{
		CreatedDate: now(), LastUpdatedDate: now(), AutoDeploy: new(false), DefaultRouteSettings: &RouteSettings{DetailedMetricsEnabled: new(false)},
		RouteSettings: map[string]RouteSettings{}, StageVariables: map[string]string{}, Tags: map[string]string{},
	}
	merge(s, in)
	if s.DeploymentId != nil && wire.Value(s.AutoDeploy) {
		return nil, bad("A stage with AutoDeploy has no DeploymentId of yours")
	}
	doc, err := d.change(ctx, in.ApiId, func(doc *document) error {
		if doc.Stages[*s.StageName] != nil {
			return wire.Errorf(CodeConflict, "Stage already exists")
		}
		doc.Stages[*s.StageName] = s
		if err := doc.checkStage(s); err != nil {
			return err
		}
		return doc.checkRouteSettings(s, in.RouteSettings)
	})
	if err != nil {
		return nil, err
	}
	return (*CreateStageOutput)(doc.Stages[*s.StageName]), nil
}

// checkStage refuses a stage that the API can't have.
func (doc *document) checkStage(s *Stage) error {
	if err := unsupported(map[string]bool{"ClientCertificateId": wire.Value(s.ClientCertificateId) != ""}); err != nil {
		return err
	}
	if id := wire.Value(s.DeploymentId); id != "" && doc.Deployments[id] == nil {
		return noDeployment(s.DeploymentId)
	}
	if l := s.AccessLogSettings; l != nil {
		if logGroupOf(wire.Value(l.DestinationArn)) == "" {
			return bad("Access log destination %q must be the ARN of a log group", wire.Value(l.DestinationArn))
		}
		if wire.Value(l.Format) == "" {
			return bad("Access log format must not be empty")
		}
	}
	all := maps.Clone(s.RouteSettings)
	if all == nil {
		all = map[string]RouteSettings{}
	}
	if s.DefaultRouteSettings != nil {
		all[""] = *s.DefaultRouteSettings
	}
	for key, r := range all {
		if err := unsupported(map[string]bool{"DataTraceEnabled": wire.Value(r.DataTraceEnabled), "LoggingLevel": r.LoggingLevel != ""}); err != nil {
			return err
		}
		if wire.Value(r.ThrottlingBurstLimit) < 0 || wire.Value(r.ThrottlingRateLimit) < 0 {
			return bad("The throttling limits of %s must not be negative", cmp.Or(key, "DefaultRouteSettings"))
		}
	}
	return nil
}

// checkRouteSettings refuses settings for routes that the stage does not have: a
// key that is misspelt would leave its route without limits.
func (doc *document) checkRouteSettings(s *Stage, settings map[string]RouteSettings) error {
	c := doc.serves(s)
	if c == nil {
		c = &doc.Live
	}
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		has := func(r *Route) bool { return wire.Value(r.RouteKey) == key }
		if !slices.ContainsFunc(slices.Collect(maps.Values(c.Routes)), has) {
			return wire.Errorf(CodeNotFound, "Unable to find Route by key %s within the provided RouteSettings", key)
		}
	}
	return nil
}

// logGroupOf returns the log group that an ARN names, "" for none.
func logGroupOf(arn string) string {
	if !strings.HasPrefix(arn, "arn:") {
		return ""
	}
	_, group, ok := strings.Cut(arn, ":log-group:")
	if !ok {
		return ""
	}
	return strings.TrimSuffix(group, ":*")
}

func noStage(name *string) error {
	return wire.Errorf(CodeNotFound, "Invalid stage identifier specified %s", wire.Value(name))
}

// GetStage shows a stage.
func (d *Door) GetStage(_ context.Context, in *GetStageInput) (*GetStageOutput, error) {
	doc, err := d.get(in.ApiId)
	if err != nil {
		return nil, err
	}
	s := doc.Stages[wire.Value(in.StageName)]
	if s == nil {
		return nil, noStage(in.StageName)
	}
	return (*GetStageOutput)(s), nil
}

// GetStages lists the stages of an API.
func (d *Door) GetStages(_ context.Context, in *GetStagesInput) (*GetStagesOutput, error) {
	doc, err := d.get(in.ApiId)
	if err != nil {
		return nil, err
	}
	items, next, err := listed(doc.Stages, in.MaxResults, in.NextToken)
	return &GetStagesOutput{Items: items, NextToken: next}, err
}

// UpdateStage changes what the request names of a stage.
func (d *Door) UpdateStage(ctx context.Context, in *UpdateStageInput) (*UpdateStageOutput, error) {
	doc, err := d.changeStage(ctx, in.ApiId, in.StageName, func(doc *document, s *Stage) error {
		if in.DeploymentId != nil && (wire.Value(s.AutoDeploy) || wire.Value(in.AutoDeploy)) {
			return bad("Deployment ID cannot be set on a stage with AutoDeploy enabled")
		}
		if wire.Value(s.AutoDeploy) && in.AutoDeploy != nil && !*in.AutoDeploy {
			doc.freeze(wire.Value(s.DeploymentId))
		}
		merge(s, in)
		return doc.checkRouteSettings(s, in.RouteSettings)
	})
	if err != nil {
		return nil, err
	}
	return (*UpdateStageOutput)(doc.Stages[*in.StageName]), nil
}

// freeze keeps what is live as a deployment's configuration: its stage deploys no
// more by itself.
func (doc *document) freeze(id string) {
	if d := doc.Deployments[id]; d != nil && d.Frozen == nil {
		d.Frozen = doc.Live.clone()
	}
}

// clone returns a copy that shares nothing with c.
func (c *configuration) clone() *configuration {
	b, err := json.Marshal(c)
	if err != nil {
		panic("apigatewayv2: shapes always marshal: " + err.Error())
	}
	copied := new(configuration)
	if err := json.Unmarshal(b, copied); err != nil {
		panic("apigatewayv2: shapes always unmarshal: " + err.Error())
	}
	return copied
}

func (d *Door) changeStage(ctx context.Context, api, name *string, edit func(*document, *Stage) error) (*document, error) {
	return d.change(ctx, api, func(doc *document) error {
		s := doc.Stages[wire.Value(name)]
		if s == nil {
			return noStage(name)
		}
		if err := edit(doc, s); err != nil {
			return err
		}
		s.LastUpdatedDate = now()
		return doc.checkStage(s)
	})
}

// DeleteStage removes a stage.
func (d *Door) DeleteStage(ctx context.Context, in *DeleteStageInput) (*DeleteStageOutput, error) {
	for _, dom := range d.domains.All() {
		for _, m := range dom.Mappings {
			if wire.Value(m.ApiId) == wire.Value(in.ApiId) && wire.Value(m.Stage) == wire.Value(in.StageName) {
				return nil, bad("The domain name %s is mapped to this stage. Delete its API mapping first.", wire.Value(dom.Domain.DomainName))
			}
		}
	}
	_, err := d.change(ctx, in.ApiId, func(doc *document) error {
		s := doc.Stages[wire.Value(in.StageName)]
		if s == nil {
			return noStage(in.StageName)
		}
		if dep := doc.Deployments[wire.Value(s.DeploymentId)]; dep != nil && wire.Value(dep.AutoDeployed) {
			delete(doc.Deployments, wire.Value(s.DeploymentId))
		}
		delete(doc.Stages, *in.StageName)
		return nil
	})
	return &DeleteStageOutput{}, err
}

// DeleteAccessLogSettings ends a stage's access log.
func (d *Door) DeleteAccessLogSettings(ctx context.Context, in *DeleteAccessLogSettingsInput) (*DeleteAccessLogSettingsOutput, error) {
	_, err := d.changeStage(ctx, in.ApiId, in.StageName, func(_ *document, s *Stage) error {
		s.AccessLogSettings = nil
		return nil
	})
	return &DeleteAccessLogSettingsOutput{}, err
}

// DeleteRouteSettings leaves a route to its stage's default settings.
func (d *Door) DeleteRouteSettings(ctx context.Context, in *DeleteRouteSettingsInput) (*DeleteRouteSettingsOutput, error) {
	_, err := d.changeStage(ctx, in.ApiId, in.StageName, func(_ *document, s *Stage) error {
		if _, ok := s.RouteSettings[wire.Value(in.RouteKey)]; !ok {
			return noRoute(in.RouteKey)
		}
		delete(s.RouteSettings, *in.RouteKey)
		return nil
	})
	return &DeleteRouteSettingsOutput{}, err
}
