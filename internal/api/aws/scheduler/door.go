// Package scheduler is the door for Amazon EventBridge Scheduler's API.
//
// api_gen.go holds the shapes, which come from AWS's model. docs/api-coverage.md
// says which operations and parameters are served.
package scheduler

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/api/aws/arn"
	"github.com/mayfly-dev/mayfly/internal/api/aws/payload"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/schedule"
)

// Options are what a Door is made of. All are required.
type Options struct {
	Place     arn.Place
	Schedules *schedule.Schedules
}

// Door serves Scheduler's API. It is safe for concurrent use.
type Door struct {
	o     Options
	words payload.Events
}

var _ API = (*Door)(nil)

// New returns a Door.
func New(o Options) *Door { return &Door{o: o, words: payload.Events{Place: o.Place}} }

// Service returns the service for a wire.Mux.
func (d *Door) Service() *wire.Service { return NewService(d) }

func invalid(format string, args ...any) *wire.Error {
	return wire.Errorf(CodeValidation, format, args...)
}

// fail words an error of the schedules.
func fail(err error) error {
	var known *wire.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	e := errs.Of(err)
	w := &wire.Error{Message: e.Message, RetryAfter: e.RetryAfter, Err: err}
	switch e.Kind {
	case errs.NotFound:
		w.Code = CodeResourceNotFound
	case errs.Conflict:
		w.Code = CodeConflict
	case errs.Invalid, errs.TooLarge, errs.Unsupported:
		w.Code = CodeValidation
	case errs.Throttled:
		w.Code = CodeThrottling
	case errs.Unavailable:
		w.Code, w.Status = CodeInternalServer, 503
	default:
		w.Code, w.Status, w.Message = CodeInternalServer, 500, "An error occurred and the request cannot be processed."
	}
	return w
}

// group returns the name of a group; none is the default one.
func group(name *string) string {
	if wire.Value(name) == "" {
		return schedule.Default
	}
	return *name
}

func (d *Door) groupARN(name string) string {
	return d.o.Place.Resource("scheduler", "schedule-group/"+name)
}

// pageSize is the longest page of a list.
const pageSize = 100

// page returns one page of a list that is sorted by key.
func page[T any](list []T, key func(T) string, limit *int32, token *string) ([]T, *string, error) {
	most := pageSize
	if limit != nil {
		if *limit < 1 || *limit > pageSize {
			return nil, nil, invalid("1 validation error detected: Value '%d' at 'maxResults' failed to satisfy constraint: Member must be between 1 and %d", *limit, pageSize)
		}
		most = int(*limit)
	}
	part, next, ok := wire.Page(list, key, token, most)
	if !ok {
		return nil, nil, invalid("Invalid NextToken: pass the NextToken of the page before.")
	}
	return part, next, nil
}

// CreateScheduleGroup makes a group.
func (d *Door) CreateScheduleGroup(ctx context.Context, in *CreateScheduleGroupInput) (*CreateScheduleGroupOutput, error) {
	g, err := d.o.Schedules.CreateGroup(ctx, schedule.Group{Name: wire.Value(in.Name), Tags: tagMap(in.Tags)})
	if err != nil {
		return nil, fail(err)
	}
	return &CreateScheduleGroupOutput{ScheduleGroupArn: new(d.groupARN(g.Name))}, nil
}

// GetScheduleGroup shows a group.
func (d *Door) GetScheduleGroup(_ context.Context, in *GetScheduleGroupInput) (*GetScheduleGroupOutput, error) {
	g, err := d.o.Schedules.Group(wire.Value(in.Name))
	if err != nil {
		return nil, fail(err)
	}
	return &GetScheduleGroupOutput{
		Arn: new(d.groupARN(g.Name)), Name: new(g.Name), CreationDate: new(g.Created), LastModificationDate: new(g.Modified), State: ScheduleGroupStateActive,
	}, nil
}

// ListScheduleGroups lists the groups by name.
func (d *Door) ListScheduleGroups(_ context.Context, in *ListScheduleGroupsInput) (*ListScheduleGroupsOutput, error) {
	list, next, err := page(d.o.Schedules.Groups(wire.Value(in.NamePrefix)), func(g *schedule.Group) string { return g.Name }, in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &ListScheduleGroupsOutput{ScheduleGroups: []ScheduleGroupSummary{}, NextToken: next}
	for _, g := range list {
		out.ScheduleGroups = append(out.ScheduleGroups, ScheduleGroupSummary{
			Arn: new(d.groupARN(g.Name)), Name: new(g.Name), CreationDate: new(g.Created), LastModificationDate: new(g.Modified), State: ScheduleGroupStateActive,
		})
	}
	return out, nil
}

// DeleteScheduleGroup removes a group with its schedules.
func (d *Door) DeleteScheduleGroup(ctx context.Context, in *DeleteScheduleGroupInput) (*DeleteScheduleGroupOutput, error) {
	return &DeleteScheduleGroupOutput{}, fail(d.o.Schedules.DeleteGroup(ctx, wire.Value(in.Name)))
}

func tagMap(tags []Tag) map[string]string {
	m := map[string]string{}
	for _, t := range tags {
		m[wire.Value(t.Key)] = wire.Value(t.Value)
	}
	return m
}

// taggedGroup reads the ARN of a group.
func (d *Door) taggedGroup(s *string) (*schedule.Group, error) {
	resource, _ := d.o.Place.CutResource(wire.Value(s), "scheduler")
	name, ok := strings.CutPrefix(resource, "schedule-group/")
	if !ok {
		return nil, invalid("%s is not the ARN of a schedule group.", wire.Value(s))
	}
	g, err := d.o.Schedules.Group(name)
	return g, fail(err)
}

// ListTagsForResource shows a group's tags.
func (d *Door) ListTagsForResource(_ context.Context, in *ListTagsForResourceInput) (*ListTagsForResourceOutput, error) {
	g, err := d.taggedGroup(in.ResourceArn)
	if err != nil {
		return nil, err
	}
	out := &ListTagsForResourceOutput{Tags: []Tag{}}
	for _, k := range slices.Sorted(maps.Keys(g.Tags)) {
		out.Tags = append(out.Tags, Tag{Key: new(k), Value: new(g.Tags[k])})
	}
	return out, nil
}

// TagResource adds tags to a group.
func (d *Door) TagResource(ctx context.Context, in *TagResourceInput) (*TagResourceOutput, error) {
	g, err := d.taggedGroup(in.ResourceArn)
	if err != nil {
		return nil, err
	}
	return &TagResourceOutput{}, fail(d.o.Schedules.TagGroup(ctx, g.Name, func(tags map[string]string) { maps.Copy(tags, tagMap(in.Tags)) }))
}

// UntagResource removes tags from a group.
func (d *Door) UntagResource(ctx context.Context, in *UntagResourceInput) (*UntagResourceOutput, error) {
	g, err := d.taggedGroup(in.ResourceArn)
	if err != nil {
		return nil, err
	}
	return &UntagResourceOutput{}, fail(d.o.Schedules.TagGroup(ctx, g.Name, func(tags map[string]string) {
		for _, k := range in.TagKeys {
			delete(tags, k)
		}
	}))
}
