package apigatewayv2

import (
	"context"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
)

// CreateDeployment freezes an API as it is, for the stages that serve it.
func (d *Door) CreateDeployment(ctx context.Context, in *CreateDeploymentInput) (*CreateDeploymentOutput, error) {
	dep := &deployment{Deployment: Deployment{
		DeploymentId: newID(), CreatedDate: now(), AutoDeployed: new(false), Description: in.Description, DeploymentStatus: DeploymentStatusDeployed,
	}}
	_, err := d.change(ctx, in.ApiId, func(doc *document) error {
		if len(doc.Deployments) >= maxDeployments {
			return bad("This API has %d deployments. Delete those that no stage uses.", len(doc.Deployments))
		}
		if len(doc.Live.Routes) == 0 {
			return bad("At least one route is required before deploying the Api.")
		}
		dep.Frozen = doc.Live.clone()
		doc.Deployments[*dep.DeploymentId] = dep
		if in.StageName == nil {
			return nil
		}
		s := doc.Stages[*in.StageName]
		switch {
		case s == nil:
			return noStage(in.StageName)
		case wire.Value(s.AutoDeploy):
			return bad("Deployment ID cannot be set on a stage with AutoDeploy enabled")
		}
		s.DeploymentId, s.LastUpdatedDate = dep.DeploymentId, now()
		return nil
	})
	return (*CreateDeploymentOutput)(&dep.Deployment), err
}

func noDeployment(id *string) error {
	return wire.Errorf(CodeNotFound, "Invalid Deployment identifier specified %s", wire.Value(id))
}

// GetDeployment shows a deployment.
func (d *Door) GetDeployment(_ context.Context, in *GetDeploymentInput) (*GetDeploymentOutput, error) {
	doc, err := d.get(in.ApiId)
	if err != nil {
		return nil, err
	}
	dep := doc.Deployments[wire.Value(in.DeploymentId)]
	if dep == nil {
		return nil, noDeployment(in.DeploymentId)
	}
	return (*GetDeploymentOutput)(&dep.Deployment), nil
}

// GetDeployments lists the deployments of an API.
func (d *Door) GetDeployments(_ context.Context, in *GetDeploymentsInput) (*GetDeploymentsOutput, error) {
	doc, err := d.get(in.ApiId)
	if err != nil {
		return nil, err
	}
	all := make(map[string]*Deployment, len(doc.Deployments))
	for id, dep := range doc.Deployments {
		all[id] = &dep.Deployment
	}
	items, next, err := listed(all, in.MaxResults, in.NextToken)
	return &GetDeploymentsOutput{Items: items, NextToken: next}, err
}

// DeleteDeployment removes a deployment that no stage serves.
func (d *Door) DeleteDeployment(ctx context.Context, in *DeleteDeploymentInput) (*DeleteDeploymentOutput, error) {
	_, err := d.change(ctx, in.ApiId, func(doc *document) error {
		if doc.Deployments[wire.Value(in.DeploymentId)] == nil {
			return noDeployment(in.DeploymentId)
		}
		for _, s := range doc.Stages {
			if wire.Value(s.DeploymentId) == *in.DeploymentId {
				return bad("Active stages pointing to this deployment must be moved or deleted: %s", wire.Value(s.StageName))
			}
		}
		delete(doc.Deployments, *in.DeploymentId)
		return nil
	})
	return &DeleteDeploymentOutput{}, err
}
