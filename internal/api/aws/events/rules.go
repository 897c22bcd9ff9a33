package events

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/bus"
	"github.com/mayfly-dev/mayfly/internal/event"
)

// rateForm is how rules spell rates: one minute, but two minutes.
var rateForm = regexp.MustCompile(`^rate\((1 (minute|hour|day)|([2-9]|[1-9][0-9]+) (minutes|hours|days))\)$`)

// maxPattern is the longest pattern, in characters.
const maxPattern = 4096

// PutRule makes or changes a rule.
func (d *Door) PutRule(ctx context.Context, in *PutRuleInput) (*PutRuleOutput, error) {
	switch in.State {
	case "", RuleStateEnabled, RuleStateDisabled:
	default:
		return nil, invalid("State %s is not supported: use ENABLED or DISABLED.", in.State)
	}
	expression := wire.Value(in.ScheduleExpression)
	if strings.HasPrefix(expression, "rate(") && !rateForm.MatchString(expression) {
		return nil, invalid("Parameter ScheduleExpression is not valid.")
	}
	if len(wire.Value(in.EventPattern)) > maxPattern {
		return nil, invalid("1 validation error detected: Value at 'eventPattern' failed to satisfy constraint: Member must have length less than or equal to %d", maxPattern)
	}
	r, err := d.o.Buses.PutRule(ctx, bus.Rule{
		Bus: d.busName(in.EventBusName), Name: wire.Value(in.Name), Description: wire.Value(in.Description), Pattern: wire.Value(in.EventPattern),
		Schedule: expression, Disabled: in.State == RuleStateDisabled, Role: wire.Value(in.RoleArn), Tags: tagMap(in.Tags),
	})
	if err != nil {
		return nil, fail(err)
	}
	return &PutRuleOutput{RuleArn: new(d.words.Rule(r.Bus, r.Name))}, nil
}

func state(r *bus.Rule) string {
	if r.Disabled {
		return RuleStateDisabled
	}
	return RuleStateEnabled
}

// DescribeRule shows a rule.
func (d *Door) DescribeRule(_ context.Context, in *DescribeRuleInput) (*DescribeRuleOutput, error) {
	r, err := d.o.Buses.Rule(d.busName(in.EventBusName), wire.Value(in.Name))
	if err != nil {
		return nil, fail(err)
	}
	return &DescribeRuleOutput{
		Arn: new(d.words.Rule(r.Bus, r.Name)), Name: new(r.Name), EventBusName: new(r.Bus), Description: wire.Some(r.Description),
		EventPattern: wire.Some(r.Pattern), ScheduleExpression: wire.Some(r.Schedule), State: state(r), RoleArn: wire.Some(r.Role), CreatedBy: new(d.o.Place.Account),
	}, nil
}

// ListRules lists the rules of a bus by name.
func (d *Door) ListRules(_ context.Context, in *ListRulesInput) (*ListRulesOutput, error) {
	name := d.busName(in.EventBusName)
	if _, err := d.o.Buses.Get(name); err != nil {
		return nil, fail(err)
	}
	list, next, err := page(d.o.Buses.Rules(name, wire.Value(in.NamePrefix)), func(r *bus.Rule) string { return r.Name }, in.Limit, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &ListRulesOutput{Rules: []Rule{}, NextToken: next}
	for _, r := range list {
		out.Rules = append(out.Rules, Rule{
			Arn: new(d.words.Rule(r.Bus, r.Name)), Name: new(r.Name), EventBusName: new(r.Bus), Description: wire.Some(r.Description),
			EventPattern: wire.Some(r.Pattern), ScheduleExpression: wire.Some(r.Schedule), State: state(r), RoleArn: wire.Some(r.Role),
		})
	}
	return out, nil
}

// ListRuleNamesByTarget lists the rules that send to a target.
func (d *Door) ListRuleNamesByTarget(_ context.Context, in *ListRuleNamesByTargetInput) (*ListRuleNamesByTargetOutput, error) {
	name := d.busName(in.EventBusName)
	if _, err := d.o.Buses.Get(name); err != nil {
		return nil, fail(err)
	}
	to, err := d.o.Place.Parse(wire.Value(in.TargetArn))
	if err != nil {
		return nil, fail(err)
	}
	list, next, err := page(d.o.Buses.ByTarget(name, to), func(s string) string { return s }, in.Limit, in.NextToken)
	if err != nil {
		return nil, err
	}
	return &ListRuleNamesByTargetOutput{RuleNames: append([]string{}, list...), NextToken: next}, nil
}

// EnableRule lets a rule send events.
func (d *Door) EnableRule(ctx context.Context, in *EnableRuleInput) (*EnableRuleOutput, error) {
	return &EnableRuleOutput{}, fail(d.o.Buses.Enable(ctx, d.busName(in.EventBusName), wire.Value(in.Name), true))
}

// DisableRule ends that.
func (d *Door) DisableRule(ctx context.Context, in *DisableRuleInput) (*DisableRuleOutput, error) {
	return &DisableRuleOutput{}, fail(d.o.Buses.Enable(ctx, d.busName(in.EventBusName), wire.Value(in.Name), false))
}

// DeleteRule removes a rule without targets.
func (d *Door) DeleteRule(ctx context.Context, in *DeleteRuleInput) (*DeleteRuleOutput, error) {
	return &DeleteRuleOutput{}, fail(d.o.Buses.DeleteRule(ctx, d.busName(in.EventBusName), wire.Value(in.Name)))
}

// PutTargets adds or changes targets of a rule.
func (d *Door) PutTargets(ctx context.Context, in *PutTargetsInput) (*PutTargetsOutput, error) {
	if len(in.Targets) == 0 {
		return nil, invalid("1 validation error detected: Value '[]' at 'targets' failed to satisfy constraint: Member must have length greater than or equal to 1")
	}
	targets := make([]bus.Target, len(in.Targets))
	for i := range in.Targets {
		var err error
		if targets[i], err = d.readTarget(&in.Targets[i]); err != nil {
			return nil, fail(err)
		}
	}
	if err := d.o.Buses.PutTargets(ctx, d.busName(in.EventBusName), wire.Value(in.Rule), targets); err != nil {
		return nil, fail(err)
	}
	return &PutTargetsOutput{FailedEntryCount: new(int32(0)), FailedEntries: []PutTargetsResultEntry{}}, nil
}

// Bounds of a target's retry policy.
const (
	maxRetries = 185
	minAge     = 60
	maxAge     = 86400
)

func (d *Door) readTarget(in *Target) (t bus.Target, err error) {
	if in.AppSyncParameters != nil || in.BatchParameters != nil || in.EcsParameters != nil || in.HttpParameters != nil || in.KinesisParameters != nil ||
		in.RedshiftDataParameters != nil || in.RunCommandParameters != nil || in.SageMakerPipelineParameters != nil {
		return t, invalid("Target %s is not supported: targets are functions, queues and event buses.", wire.Value(in.Id))
	}
	to, err := d.o.Place.Parse(wire.Value(in.Arn))
	switch {
	case err != nil:
		return t, invalid("Parameter Arn of target %s is not valid. Reason: %s", wire.Value(in.Id), err)
	case to.Kind == event.Bucket:
		return t, invalid("Target %s is not supported: targets are functions, queues and event buses.", wire.Value(in.Id))
	}
	t = bus.Target{ID: wire.Value(in.Id), To: to, Input: wire.Value(in.Input), InputPath: wire.Value(in.InputPath), Role: wire.Value(in.RoleArn)}
	if x := in.InputTransformer; x != nil {
		t.Template, t.Paths = wire.Value(x.InputTemplate), maps.Clone(x.InputPathsMap)
	}
	if in.SqsParameters != nil {
		t.Group = wire.Value(in.SqsParameters.MessageGroupId)
	}
	if p := in.RetryPolicy; p != nil {
		if n := p.MaximumRetryAttempts; n != nil {
			if *n < 0 || *n > maxRetries {
				return t, invalid("MaximumRetryAttempts of target %s must be from 0 to %d.", t.ID, maxRetries)
			}
			t.Retries = new(int(*n))
		}
		if n := p.MaximumEventAgeInSeconds; n != nil {
			if *n < minAge || *n > maxAge {
				return t, invalid("MaximumEventAgeInSeconds of target %s must be from %d to %d.", t.ID, minAge, maxAge)
			}
			t.MaxAge = time.Duration(*n) * time.Second
		}
	}
	if dead := in.DeadLetterConfig; dead != nil && wire.Value(dead.Arn) != "" {
		if t.DeadLetter, err = d.o.Place.Parse(*dead.Arn); err != nil || t.DeadLetter.Kind != event.Queue {
			return t, invalid("The dead letter queue of target %s is not valid: name a queue of this node.", t.ID)
		}
	}
	return t, nil
}

func (d *Door) showTarget(t bus.Target) Target {
	out := Target{
		Id: new(t.ID), Arn: new(d.o.Place.Target(t.To)), Input: wire.Some(t.Input), InputPath: wire.Some(t.InputPath), RoleArn: wire.Some(t.Role),
	}
	if t.Template != "" {
		out.InputTransformer = &InputTransformer{InputTemplate: new(t.Template), InputPathsMap: t.Paths}
	}
	if t.Group != "" {
		out.SqsParameters = &SqsParameters{MessageGroupId: new(t.Group)}
	}
	if t.Retries != nil || t.MaxAge != 0 {
		out.RetryPolicy = &RetryPolicy{MaximumEventAgeInSeconds: wire.Some(int32(t.MaxAge / time.Second))}
		if t.Retries != nil {
			out.RetryPolicy.MaximumRetryAttempts = new(int32(*t.Retries))
		}
	}
	if t.DeadLetter.Kind != "" {
		out.DeadLetterConfig = &DeadLetterConfig{Arn: new(d.o.Place.Target(t.DeadLetter))}
	}
	return out
}

// ListTargetsByRule lists a rule's targets by id.
func (d *Door) ListTargetsByRule(_ context.Context, in *ListTargetsByRuleInput) (*ListTargetsByRuleOutput, error) {
	r, err := d.o.Buses.Rule(d.busName(in.EventBusName), wire.Value(in.Rule))
	if err != nil {
		return nil, fail(err)
	}
	sorted := slices.SortedFunc(slices.Values(r.Targets), func(a, b bus.Target) int { return strings.Compare(a.ID, b.ID) })
	list, next, err := page(sorted, func(t bus.Target) string { return t.ID }, in.Limit, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &ListTargetsByRuleOutput{Targets: []Target{}, NextToken: next}
	for _, t := range list {
		out.Targets = append(out.Targets, d.showTarget(t))
	}
	return out, nil
}

// RemoveTargets removes targets of a rule.
func (d *Door) RemoveTargets(ctx context.Context, in *RemoveTargetsInput) (*RemoveTargetsOutput, error) {
	missing, err := d.o.Buses.RemoveTargets(ctx, d.busName(in.EventBusName), wire.Value(in.Rule), in.Ids)
	if err != nil {
		return nil, fail(err)
	}
	out := &RemoveTargetsOutput{FailedEntryCount: new(int32(len(missing))), FailedEntries: []RemoveTargetsResultEntry{}}
	for _, id := range missing {
		out.FailedEntries = append(out.FailedEntries, RemoveTargetsResultEntry{
			TargetId: new(id), ErrorCode: new(CodeResourceNotFound), ErrorMessage: new("Rule " + wire.Value(in.Rule) + " does not have the target."),
		})
	}
	return out, nil
}

// tagged reads the ARN of a bus or rule, and returns its tags and how they change.
func (d *Door) tagged(s *string) (tags map[string]string, change func(context.Context, func(map[string]string)) error, err error) {
	resource, _ := d.o.Place.CutResource(wire.Value(s), "events")
	if name, ok := strings.CutPrefix(resource, "event-bus/"); ok {
		b, err := d.o.Buses.Get(name)
		if err != nil {
			return nil, nil, fail(err)
		}
		return b.Tags, func(ctx context.Context, edit func(map[string]string)) error {
			return d.o.Buses.TagBus(ctx, name, edit)
		}, nil
	}
	path, ok := strings.CutPrefix(resource, "rule/")
	if !ok {
		return nil, nil, invalid("%s is not the ARN of an event bus or a rule.", wire.Value(s))
	}
	busName, name, named := strings.Cut(path, "/")
	if !named {
		busName, name = bus.Default, path
	}
	r, err := d.o.Buses.Rule(busName, name)
	if err != nil {
		return nil, nil, fail(err)
	}
	return r.Tags, func(ctx context.Context, edit func(map[string]string)) error {
		return d.o.Buses.TagRule(ctx, busName, name, edit)
	}, nil
}

// ListTagsForResource shows the tags of a bus or rule.
func (d *Door) ListTagsForResource(_ context.Context, in *ListTagsForResourceInput) (*ListTagsForResourceOutput, error) {
	tags, _, err := d.tagged(in.ResourceARN)
	if err != nil {
		return nil, err
	}
	out := &ListTagsForResourceOutput{Tags: []Tag{}}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		out.Tags = append(out.Tags, Tag{Key: new(k), Value: new(tags[k])})
	}
	return out, nil
}

// TagResource adds tags to a bus or rule.
func (d *Door) TagResource(ctx context.Context, in *TagResourceInput) (*TagResourceOutput, error) {
	_, change, err := d.tagged(in.ResourceARN)
	if err != nil {
		return nil, err
	}
	return &TagResourceOutput{}, fail(change(ctx, func(tags map[string]string) { maps.Copy(tags, tagMap(in.Tags)) }))
}

// UntagResource removes tags from a bus or rule.
func (d *Door) UntagResource(ctx context.Context, in *UntagResourceInput) (*UntagResourceOutput, error) {
	_, change, err := d.tagged(in.ResourceARN)
	if err != nil {
		return nil, err
	}
	return &UntagResourceOutput{}, fail(change(ctx, func(tags map[string]string) {
		for _, k := range in.TagKeys {
			delete(tags, k)
		}
	}))
}
