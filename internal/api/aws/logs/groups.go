package logs

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/logs"
)

// CreateLogGroup makes a group that clients can put lines into.
func (d *Door) CreateLogGroup(_ context.Context, in *CreateLogGroupInput) (*CreateLogGroupOutput, error) {
	name := wire.Value(in.LogGroupName)
	if !groupForm.MatchString(name) {
		return nil, invalid(`1 validation error detected: Value '%.100s' at 'logGroupName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+`, name)
	}
	if wire.Value(in.KmsKeyId) != "" {
		return nil, invalid("KmsKeyId is not supported: logs are kept with the node's own data.")
	}
	all, err := d.groups()
	if err != nil {
		return nil, fail(err)
	}
	if g := all[name]; g != nil {
		info, _, err := d.o.Store.Get(g.own)
		// A function's group is there before anybody asks for it: tools that make
		// it first must not fail.
		if err != nil || !info.Settings.Created.IsZero() || !slices.Contains(g.logs, g.own) || !strings.HasPrefix(name, ownGroup) {
			return nil, wire.Errorf(CodeResourceAlreadyExists, "The specified log group already exists")
		}
	}
	own := putLog(name)
	if g := all[name]; g != nil {
		own = g.own
	}
	return &CreateLogGroupOutput{}, fail(d.o.Store.Change(own, func(s *logs.Settings) error {
		if own == putLog(name) {
			s.Name = name
		}
		s.Created = time.Now()
		s.Tags = maps.Clone(in.Tags)
		return nil
	}))
}

// DeleteLogGroup removes a group's lines. A function's group is empty then.
func (d *Door) DeleteLogGroup(_ context.Context, in *DeleteLogGroupInput) (*DeleteLogGroupOutput, error) {
	g, err := d.find(in.LogGroupName, nil)
	if err != nil {
		return nil, fail(err)
	}
	for _, log := range g.logs {
		if err := d.o.Store.Remove(log); err != nil {
			return nil, fail(err)
		}
	}
	return &DeleteLogGroupOutput{}, nil
}

// DescribeLogGroups lists groups by name.
func (d *Door) DescribeLogGroups(ctx context.Context, in *DescribeLogGroupsInput) (*DescribeLogGroupsOutput, error) {
	all, err := d.groups()
	if err != nil {
		return nil, fail(err)
	}
	limit := int(wire.Value(in.Limit))
	if in.Limit == nil {
		limit = 50
	}
	if limit < 1 || limit > 50 {
		return nil, invalid("1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: Member must be between 1 and 50", limit)
	}
	out := &DescribeLogGroupsOutput{LogGroups: []LogGroup{}}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		listed := strings.HasPrefix(name, wire.Value(in.LogGroupNamePrefix)) && strings.Contains(strings.ToLower(name), strings.ToLower(wire.Value(in.LogGroupNamePattern)))
		if len(in.LogGroupIdentifiers) > 0 && !slices.ContainsFunc(in.LogGroupIdentifiers, func(id string) bool { return strings.TrimPrefix(id, d.prefix()) == name }) {
			listed = false
		}
		if !listed || name <= wire.Value(in.NextToken) {
			continue
		}
		if len(out.LogGroups) == limit {
			out.NextToken = out.LogGroups[limit-1].LogGroupName
			break
		}
		shown, err := d.describe(ctx, all[name])
		if err != nil {
			return nil, fail(err)
		}
		out.LogGroups = append(out.LogGroups, shown)
	}
	return out, nil
}

func (d *Door) describe(ctx context.Context, g *group) (LogGroup, error) {
	out := LogGroup{
		LogGroupName: &g.name, Arn: new(d.prefix() + g.name + ":*"), LogGroupArn: new(d.prefix() + g.name),
		LogGroupClass: LogGroupClassStandard, MetricFilterCount: new(int32(0)), StoredBytes: new(int64(0)), CreationTime: new(int64(0)),
	}
	for _, log := range g.logs {
		info, _, err := d.o.Store.Get(log)
		if err != nil {
			return out, err
		}
		*out.StoredBytes += info.Bytes
		if info.Settings.RetentionDays > 0 {
			out.RetentionInDays = new(int32(info.Settings.RetentionDays))
		}
		if !info.Settings.Created.IsZero() {
			out.CreationTime = new(info.Settings.Created.UnixMilli())
		}
	}
	if *out.CreationTime > 0 {
		return out, nil
	}
	for _, log := range g.logs { // a function's: it began with its first line that is left
		for e, err := range d.o.Store.Query(ctx, log, logs.Filter{}) {
			if err != nil {
				return out, err
			}
			if at := e.Time.UnixMilli(); *out.CreationTime == 0 || at < *out.CreationTime {
				out.CreationTime = &at
			}
			break
		}
	}
	return out, nil
}

// retentions are the numbers of days that CloudWatch Logs offers.
var retentions = []int32{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}

// PutRetentionPolicy sets how long a group's lines are kept.
func (d *Door) PutRetentionPolicy(_ context.Context, in *PutRetentionPolicyInput) (*PutRetentionPolicyOutput, error) {
	days := wire.Value(in.RetentionInDays)
	if !slices.Contains(retentions, days) {
		return nil, invalid("Valid values for retentionInDays are: %v", retentions)
	}
	return &PutRetentionPolicyOutput{}, d.retain(in.LogGroupName, int(days))
}

// DeleteRetentionPolicy lets a group's lines be kept as long as there is room.
func (d *Door) DeleteRetentionPolicy(_ context.Context, in *DeleteRetentionPolicyInput) (*DeleteRetentionPolicyOutput, error) {
	return &DeleteRetentionPolicyOutput{}, d.retain(in.LogGroupName, 0)
}

func (d *Door) retain(name *string, days int) error {
	return d.change(name, func(s *logs.Settings) error {
		s.RetentionDays = days
		return nil
	})
}

// change edits the settings of all logs of a group.
func (d *Door) change(name *string, edit func(*logs.Settings) error) error {
	g, err := d.find(name, nil)
	if err != nil {
		return fail(err)
	}
	for _, log := range g.logs {
		if err := d.o.Store.Change(log, edit); err != nil {
			return fail(err)
		}
	}
	return nil
}

const maxTags = 50

// TagLogGroup is the older TagResource.
func (d *Door) TagLogGroup(_ context.Context, in *TagLogGroupInput) (*TagLogGroupOutput, error) {
	return &TagLogGroupOutput{}, d.tag(in.LogGroupName, in.Tags)
}

// TagResource adds tags to a group.
func (d *Door) TagResource(_ context.Context, in *TagResourceInput) (*TagResourceOutput, error) {
	return &TagResourceOutput{}, d.tag(in.ResourceArn, in.Tags)
}

func (d *Door) tag(name *string, tags map[string]string) error {
	return d.change(name, func(s *logs.Settings) error {
		if s.Tags == nil {
			s.Tags = map[string]string{}
		}
		maps.Copy(s.Tags, tags)
		if len(s.Tags) > maxTags {
			return wire.Errorf(CodeTooManyTags, "A resource can have no more than %d tags", maxTags)
		}
		return nil
	})
}

// UntagLogGroup is the older UntagResource.
func (d *Door) UntagLogGroup(_ context.Context, in *UntagLogGroupInput) (*UntagLogGroupOutput, error) {
	return &UntagLogGroupOutput{}, d.untag(in.LogGroupName, in.Tags)
}

// UntagResource removes tags from a group.
func (d *Door) UntagResource(_ context.Context, in *UntagResourceInput) (*UntagResourceOutput, error) {
	return &UntagResourceOutput{}, d.untag(in.ResourceArn, in.TagKeys)
}

func (d *Door) untag(name *string, keys []string) error {
	return d.change(name, func(s *logs.Settings) error {
		for _, k := range keys {
			delete(s.Tags, k)
		}
		return nil
	})
}

// ListTagsLogGroup is the older ListTagsForResource.
func (d *Door) ListTagsLogGroup(_ context.Context, in *ListTagsLogGroupInput) (*ListTagsLogGroupOutput, error) {
	tags, err := d.tagsOf(in.LogGroupName)
	return &ListTagsLogGroupOutput{Tags: tags}, err
}

// ListTagsForResource returns the tags of a group.
func (d *Door) ListTagsForResource(_ context.Context, in *ListTagsForResourceInput) (*ListTagsForResourceOutput, error) {
	tags, err := d.tagsOf(in.ResourceArn)
	return &ListTagsForResourceOutput{Tags: tags}, err
}

func (d *Door) tagsOf(name *string) (map[string]string, error) {
	g, err := d.find(name, nil)
	if err != nil {
		return nil, fail(err)
	}
	tags := map[string]string{}
	for _, log := range g.logs {
		info, _, err := d.o.Store.Get(log)
		if err != nil {
			return nil, fail(err)
		}
		maps.Copy(tags, info.Settings.Tags)
	}
	return tags, nil
}
