package apigatewayv2

import (
	"context"
	"maps"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
)

// resource is what an ARN names: an API, a stage of it, or a domain name.
type resource struct{ api, stage, domain string }

func (d *Door) resource(arn *string) (resource, error) {
	path, ok := strings.CutPrefix(wire.Value(arn), d.arn("/"))
	parts := strings.Split(path, "/")
	switch {
	case ok && len(parts) == 2 && parts[0] == "apis":
		return resource{api: parts[1]}, nil
	case ok && len(parts) == 4 && parts[0] == "apis" && parts[2] == "stages":
		return resource{api: parts[1], stage: parts[3]}, nil
	case ok && len(parts) == 2 && parts[0] == "domainnames":
		return resource{domain: parts[1]}, nil
	}
	return resource{}, wire.Errorf(CodeNotFound, "Invalid resource identifier specified: %s is not the ARN of an API, a stage or a domain name", wire.Value(arn))
}

// changeTags lets edit change the tags of what an ARN names.
func (d *Door) changeTags(ctx context.Context, arn *string, edit func(map[string]string)) error {
	r, err := d.resource(arn)
	if err != nil {
		return err
	}
	change := func(tags *map[string]string) {
		if *tags == nil {
			*tags = map[string]string{}
		}
		edit(*tags)
	}
	switch {
	case r.domain != "":
		_, err = d.changeDomain(ctx, &r.domain, func(dom *domain) error {
			change(&dom.Domain.Tags)
			return nil
		})
	case r.stage != "":
		_, err = d.changeStage(ctx, &r.api, &r.stage, func(_ *document, s *Stage) error {
			change(&s.Tags)
			return nil
		})
	default:
		_, err = d.change(ctx, &r.api, func(doc *document) error {
			change(&doc.API.Tags)
			return nil
		})
	}
	return err
}

// TagResource adds tags to an API, a stage or a domain name.
func (d *Door) TagResource(ctx context.Context, in *TagResourceInput) (*TagResourceOutput, error) {
	return &TagResourceOutput{}, d.changeTags(ctx, in.ResourceArn, func(tags map[string]string) { maps.Copy(tags, in.Tags) })
}

// UntagResource removes tags from an API, a stage or a domain name.
func (d *Door) UntagResource(ctx context.Context, in *UntagResourceInput) (*UntagResourceOutput, error) {
	return &UntagResourceOutput{}, d.changeTags(ctx, in.ResourceArn, func(tags map[string]string) {
		for _, k := range in.TagKeys {
			delete(tags, k)
		}
	})
}

// GetTags shows the tags of an API, a stage or a domain name.
func (d *Door) GetTags(_ context.Context, in *GetTagsInput) (*GetTagsOutput, error) {
	r, err := d.resource(in.ResourceArn)
	if err != nil {
		return nil, err
	}
	if r.domain != "" {
		dom, err := d.domain(&r.domain)
		if err != nil {
			return nil, err
		}
		return &GetTagsOutput{Tags: dom.Domain.Tags}, nil
	}
	doc, err := d.get(&r.api)
	if err != nil {
		return nil, err
	}
	if r.stage == "" {
		return &GetTagsOutput{Tags: doc.API.Tags}, nil
	}
	s := doc.Stages[r.stage]
	if s == nil {
		return nil, noStage(&r.stage)
	}
	return &GetTagsOutput{Tags: s.Tags}, nil
}
