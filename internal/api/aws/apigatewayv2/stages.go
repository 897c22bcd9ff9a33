package apigatewayv2

import (
	"context"
	"encoding/json"
	"maps"
	"regexp"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
)

var stageForm = regexp.MustCompile(`^(\$default|[a-zA-Z0-9_-]{1,128})$`)

// CreateStage adds a stage to an API.
func (d *Door) CreateStage(ctx context.Context, in *CreateStageInput) (*CreateStageOutput, error) {
	if !stageForm.MatchString(value(in.StageName)) {
		return nil, bad("StageName %q is neither $default nor made of letters, digits, - and _", value(in.StageName))
	}
	s := &Stage{
		CreatedDate: now(), LastUpdatedDate: now(), AutoDeploy: new(false), DefaultRouteSettings: &RouteSettings{DetailedMetricsEnabled: new(false)},
		RouteSettings: map[string]RouteSettings{}, StageVariables: map[string]string{}, Tags: map[string]string{},
	}
	merge(s, in)
	if s.DeploymentId != nil && value(s.AutoDeploy) {
		return nil, bad("A stage with AutoDeploy has no DeploymentId of yours")
	}
	doc, err := d.change(ctx, in.ApiId, func(doc *document) error {
		if doc.Stages[*s.StageName] != nil {
			return wire.Errorf(CodeConflict, "Stage already exists")
		}
		doc.Stages[*s.StageName] = s
		return doc.checkStage(s)
	})
	if err != nil {
		return nil, err
	}
	return (*CreateStageOutput)(doc.Stages[*s.StageName]), nil
}

// checkStage refuses a stage that the API can't have.
func (doc *document) checkStage(s *Stage) error {
	if err := unsupported(map[string]bool{"ClientCertificateId": value(s.ClientCertificateId) != ""}); err != nil {
		return err
	}
	if id := value(s.DeploymentId); id != "" && doc.Deployments[id] == nil {
		return noDeployment(s.DeploymentId)
	}
	if l := s.AccessLogSettings; l != nil {
		if logGroupOf(value(l.DestinationArn)) == "" {
			return bad("Access log destination %q must be the ARN of a log group", value(l.DestinationArn))
		}
		if value(l.Format) == "" {
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
		if err := unsupported(map[string]bool{"DataTraceEnabled": value(r.DataTraceEnabled), "LoggingLevel": r.LoggingLevel != ""}); err != nil {
			return err
		}
		if value(r.ThrottlingBurstLimit) < 0 || value(r.ThrottlingRateLimit) < 0 {
			return bad("The throttling limits of %s must not be negative", key)
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
	return wire.Errorf(CodeNotFound, "Invalid stage identifier specified %s", value(name))
}

// GetStage shows a stage.
func (d *Door) GetStage(_ context.Context, in *GetStageInput) (*GetStageOutput, error) {
	doc, err := d.get(in.ApiId)
	if err != nil {
		return nil, err
	}
	s := doc.Stages[value(in.StageName)]
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
		if in.DeploymentId != nil && (value(s.AutoDeploy) || value(in.AutoDeploy)) {
			return bad("Deployment ID cannot be set on a stage with AutoDeploy enabled")
		}
		if value(s.AutoDeploy) && in.AutoDeploy != nil && !*in.AutoDeploy {
			doc.freeze(value(s.DeploymentId))
		}
		merge(s, in)
		return nil
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
		s := doc.Stages[value(name)]
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
			if value(m.ApiId) == value(in.ApiId) && value(m.Stage) == value(in.StageName) {
				return nil, bad("The domain name %s is mapped to this stage. Delete its API mapping first.", value(dom.Domain.DomainName))
			}
		}
	}
	_, err := d.change(ctx, in.ApiId, func(doc *document) error {
		s := doc.Stages[value(in.StageName)]
		if s == nil {
			return noStage(in.StageName)
		}
		if dep := doc.Deployments[value(s.DeploymentId)]; dep != nil && value(dep.AutoDeployed) {
			delete(doc.Deployments, value(s.DeploymentId))
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
		if _, ok := s.RouteSettings[value(in.RouteKey)]; !ok {
			return noRoute(in.RouteKey)
		}
		delete(s.RouteSettings, *in.RouteKey)
		return nil
	})
	return &DeleteRouteSettingsOutput{}, err
}
