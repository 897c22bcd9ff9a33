package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	schedulertypes "github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/mayfly-dev/mayfly/mayflytest"
)

func eventsClient(n *mayflytest.Node) *eventbridge.Client {
	return eventbridge.New(eventbridge.Options{
		Region: n.Region, BaseEndpoint: aws.String(n.Endpoint), Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(n.AccessKey, n.SecretKey, ""),
	})
}

func schedulerClient(n *mayflytest.Node) *scheduler.Client {
	return scheduler.New(scheduler.Options{
		Region: n.Region, BaseEndpoint: aws.String(n.Endpoint), Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(n.AccessKey, n.SecretKey, ""),
	})
}

func queueARN(n *mayflytest.Node, name string) *string {
	return aws.String("arn:aws:sqs:" + n.Region + ":" + n.Account + ":" + name)
}

// nextMessage takes the next message out of a queue.
func nextMessage(ctx context.Context, t *testing.T, c *sqs.Client, url *string) sqstypes.Message {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		got, err := c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: url, WaitTimeSeconds: 10, MessageAttributeNames: []string{"All"}})
		fatal(t, err)
		if len(got.Messages) == 0 {
			continue
		}
		m := got.Messages[0]
		_, err = c.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: url, ReceiptHandle: m.ReceiptHandle})
		fatal(t, err)
		return m
	}
	t.Fatal("no message comes")
	panic("unreachable")
}

// putEvent puts one event and returns its id.
func putEvent(ctx context.Context, t *testing.T, c *eventbridge.Client, bus, source, detailType, detail string) string {
	t.Helper()
	out, err := c.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{{
		EventBusName: &bus, Source: &source, DetailType: &detailType, Detail: &detail, Resources: []string{"thing"},
	}}})
	fatal(t, err)
	if out.FailedEntryCount != 0 {
		t.Fatalf("refused: %s", *out.Entries[0].ErrorMessage)
	}
	return *out.Entries[0].EventId
}

func TestGoSDKEventsReachTargetsInTheShapeAsked(t *testing.T) {
	n := mayflytest.Start(t)
	c, q, ctx := eventsClient(n), sqsClient(n), t.Context()
	bus := aws.String("go-shop")
	_, err := c.CreateEventBus(ctx, &eventbridge.CreateEventBusInput{Name: bus})
	fatal(t, err)
	whole, part, made := makeQueue(t, q, "ev-whole", nil), makeQueue(t, q, "ev-part", nil), makeQueue(t, q, "ev-made", nil)
	rule, err := c.PutRule(ctx, &eventbridge.PutRuleInput{
		Name: aws.String("large"), EventBusName: bus, EventPattern: aws.String(`{"source":["shop"],"detail":{"total":[{"numeric":[">",100]}]}}`),
	})
	fatal(t, err)
	if want := "arn:aws:events:" + n.Region + ":" + n.Account + ":rule/go-shop/large"; *rule.RuleArn != want {
		t.Errorf("the rule is %s, want %s", *rule.RuleArn, want)
	}
	_, err = c.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: aws.String("large"), EventBusName: bus, Targets: []types.Target{
		{Id: aws.String("whole"), Arn: queueARN(n, "ev-whole")},
		{Id: aws.String("part"), Arn: queueARN(n, "ev-part"), InputPath: aws.String("$.detail.items[1]")},
		{Id: aws.String("made"), Arn: queueARN(n, "ev-made"), InputTransformer: &types.InputTransformer{
			InputPathsMap: map[string]string{"total": "$.detail.total", "who": "$.detail.who"},
			InputTemplate: aws.String(`{"text":"<who> pays <total>","total":<total>,"rule":<aws.events.rule-name>}`),
		}},
	}})
	fatal(t, err)

	putEvent(ctx, t, c, *bus, "shop", "Order", `{"total":99}`) // not large
	putEvent(ctx, t, c, "default", "shop", "Order", `{"total":999}`)
	id := putEvent(ctx, t, c, *bus, "shop", "Order", `{"total":120,"who":"Ada \"A\" L","items":["pen",{"n":2}]}`)
	var e struct {
		Version    string          `json:"version"`
		ID         string          `json:"id"`
		DetailType string          `json:"detail-type"`
		Source     string          `json:"source"`
		Account    string          `json:"account"`
		Time       time.Time       `json:"time"`
		Region     string          `json:"region"`
		Resources  []string        `json:"resources"`
		Detail     json.RawMessage `json:"detail"`
	}
	body := *nextMessage(ctx, t, q, whole).Body
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	if e.Version != "0" || e.ID != id || e.DetailType != "Order" || e.Source != "shop" || e.Account != n.Account || e.Region != n.Region ||
		!slices.Equal(e.Resources, []string{"thing"}) || e.Time.IsZero() || !strings.Contains(string(e.Detail), `"total":120`) {
		t.Errorf("the event is %s", body)
	}
	if got := *nextMessage(ctx, t, q, part).Body; got != `{"n":2}` {
		t.Errorf("the part is %s", got)
	}
	if got := *nextMessage(ctx, t, q, made).Body; got != `{"text":"Ada \"A\" L pays 120","total":120,"rule":"large"}` {
		t.Errorf("what is made of it is %s", got)
	}

	// A target that is not there fails for good, and the event is in the dead letter queue.
	dead := makeQueue(t, q, "ev-dead", nil)
	_, err = c.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: aws.String("large"), EventBusName: bus, Targets: []types.Target{
		{Id: aws.String("lost"), Arn: queueARN(n, "ev-nowhere"), DeadLetterConfig: &types.DeadLetterConfig{Arn: queueARN(n, "ev-dead")},
			RetryPolicy: &types.RetryPolicy{MaximumRetryAttempts: aws.Int32(2), MaximumEventAgeInSeconds: aws.Int32(60)}},
	}})
	fatal(t, err)
	putEvent(ctx, t, c, *bus, "shop", "Order", `{"total":101}`)
	m := nextMessage(ctx, t, q, dead)
	if !strings.Contains(*m.Body, `"total":101`) || aws.ToString(m.MessageAttributes["ERROR_CODE"].StringValue) != "NO_RESOURCE" ||
		aws.ToString(m.MessageAttributes["RULE_ARN"].StringValue) != *rule.RuleArn || aws.ToString(m.MessageAttributes["TARGET_ARN"].StringValue) != *queueARN(n, "ev-nowhere") {
		t.Errorf("the dead letter is %s with %v", *m.Body, m.MessageAttributes)
	}
}

func TestGoSDKRulesLiveAsEventBridgesDo(t *testing.T) {
	n := mayflytest.Start(t)
	c, q, ctx := eventsClient(n), sqsClient(n), t.Context()
	bus := aws.String("go-rules")
	made, err := c.CreateEventBus(ctx, &eventbridge.CreateEventBusInput{Name: bus, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("x")}}})
	fatal(t, err)
	_, err = c.CreateEventBus(ctx, &eventbridge.CreateEventBusInput{Name: bus})
	refusedBy(t, "the same bus again", err, "ResourceAlreadyExistsException")
	url := makeQueue(t, q, "ev-rules", nil)
	for _, name := range []string{"b", "a", "c"} {
		_, err = c.PutRule(ctx, &eventbridge.PutRuleInput{Name: &name, EventBusName: bus, EventPattern: aws.String(`{"source":["` + name + `"]}`), State: types.RuleStateDisabled})
		fatal(t, err)
	}
	_, err = c.PutRule(ctx, &eventbridge.PutRuleInput{Name: aws.String("d"), EventBusName: bus, EventPattern: aws.String(`{"source":"x"}`)})
	refusedBy(t, "a pattern that is none", err, "InvalidEventPatternException")
	_, err = c.PutRule(ctx, &eventbridge.PutRuleInput{Name: aws.String("d"), EventBusName: bus, ScheduleExpression: aws.String("rate(5 minutes)")})
	refusedBy(t, "a timer on another bus", err, "ValidationException")
	_, err = c.PutRule(ctx, &eventbridge.PutRuleInput{Name: aws.String("d"), ScheduleExpression: aws.String("rate(1 minutes)")})
	refusedBy(t, "a rate that is badly spelled", err, "ValidationException")
	_, err = c.PutRule(ctx, &eventbridge.PutRuleInput{Name: aws.String("d"), EventBusName: aws.String("nowhere"), EventPattern: aws.String(`{"source":["x"]}`)})
	refusedBy(t, "no bus", err, "ResourceNotFoundException")

	first, err := c.ListRules(ctx, &eventbridge.ListRulesInput{EventBusName: bus, Limit: aws.Int32(2)})
	fatal(t, err)
	second, err := c.ListRules(ctx, &eventbridge.ListRulesInput{EventBusName: made.EventBusArn, Limit: aws.Int32(2), NextToken: first.NextToken})
	fatal(t, err)
	var names []string
	for _, r := range append(first.Rules, second.Rules...) {
		names = append(names, *r.Name)
	}
	if !slices.Equal(names, []string{"a", "b", "c"}) || second.NextToken != nil {
		t.Errorf("listed %v", names)
	}

	out, err := c.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: aws.String("a"), EventBusName: bus, Targets: []types.Target{{
		Id: aws.String("1"), Arn: queueARN(n, "ev-rules"), Input: aws.String(`{"fixed":true}`),
		RetryPolicy: &types.RetryPolicy{MaximumRetryAttempts: aws.Int32(0), MaximumEventAgeInSeconds: aws.Int32(60)},
	}}})
	fatal(t, err)
	if out.FailedEntryCount != 0 {
		t.Errorf("failed: %v", out.FailedEntries)
	}
	targets, err := c.ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{Rule: aws.String("a"), EventBusName: bus})
	fatal(t, err)
	if got := targets.Targets[0]; *got.Arn != *queueARN(n, "ev-rules") || *got.Input != `{"fixed":true}` || *got.RetryPolicy.MaximumRetryAttempts != 0 || *got.RetryPolicy.MaximumEventAgeInSeconds != 60 {
		t.Errorf("the target reads back as %+v", got)
	}
	by, err := c.ListRuleNamesByTarget(ctx, &eventbridge.ListRuleNamesByTargetInput{TargetArn: queueARN(n, "ev-rules"), EventBusName: bus})
	fatal(t, err)
	if !slices.Equal(by.RuleNames, []string{"a"}) {
		t.Errorf("rules of the target: %v", by.RuleNames)
	}

	// What a rule doesn't see while it is disabled, it doesn't see later.
	putEvent(ctx, t, c, *bus, "a", "x", `{"n":1}`)
	_, err = c.EnableRule(ctx, &eventbridge.EnableRuleInput{Name: aws.String("a"), EventBusName: bus})
	fatal(t, err)
	putEvent(ctx, t, c, *bus, "a", "x", `{"n":2}`)
	if got := *nextMessage(ctx, t, q, url).Body; got != `{"fixed":true}` {
		t.Errorf("got %s", got)
	}
	left, err := q.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: url, AttributeNames: []sqstypes.QueueAttributeName{"ApproximateNumberOfMessages"}})
	fatal(t, err)
	if left.Attributes["ApproximateNumberOfMessages"] != "0" {
		t.Errorf("the queue still has %v", left.Attributes)
	}
	_, err = c.DisableRule(ctx, &eventbridge.DisableRuleInput{Name: aws.String("a"), EventBusName: bus})
	fatal(t, err)
	shown, err := c.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: aws.String("a"), EventBusName: bus})
	fatal(t, err)
	if shown.State != types.RuleStateDisabled || *shown.EventPattern != `{"source":["a"]}` || *shown.EventBusName != *bus {
		t.Errorf("the rule reads back as %+v", shown)
	}

	_, err = c.TagResource(ctx, &eventbridge.TagResourceInput{ResourceARN: shown.Arn, Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}, {Key: aws.String("l"), Value: aws.String("w")}}})
	fatal(t, err)
	_, err = c.UntagResource(ctx, &eventbridge.UntagResourceInput{ResourceARN: shown.Arn, TagKeys: []string{"l"}})
	fatal(t, err)
	for _, tt := range []struct {
		arn  *string
		want string
	}{{shown.Arn, "k=v"}, {made.EventBusArn, "team=x"}} {
		tags, err := c.ListTagsForResource(ctx, &eventbridge.ListTagsForResourceInput{ResourceARN: tt.arn})
		fatal(t, err)
		if len(tags.Tags) != 1 || *tags.Tags[0].Key+"="+*tags.Tags[0].Value != tt.want {
			t.Errorf("%s has tags %+v, want %s", *tt.arn, tags.Tags, tt.want)
		}
	}

	match, err := c.TestEventPattern(ctx, &eventbridge.TestEventPatternInput{
		EventPattern: aws.String(`{"detail":{"key":[{"prefix":"in/"}]}}`),
		Event:        aws.String(`{"id":"1","account":"0","source":"s","time":"2026-11-29T20:00:00Z","region":"r","resources":[],"detail-type":"t","detail":{"key":"in/a"}}`),
	})
	fatal(t, err)
	if !match.Result {
		t.Error("an event that matches a pattern does not")
	}

	_, err = c.DeleteRule(ctx, &eventbridge.DeleteRuleInput{Name: aws.String("a"), EventBusName: bus})
	refusedBy(t, "a rule with targets", err, "ValidationException")
	_, err = c.DeleteEventBus(ctx, &eventbridge.DeleteEventBusInput{Name: bus})
	refusedBy(t, "a bus with rules", err, "ValidationException")
	gone, err := c.RemoveTargets(ctx, &eventbridge.RemoveTargetsInput{Rule: aws.String("a"), EventBusName: bus, Ids: []string{"1", "2"}})
	fatal(t, err)
	if gone.FailedEntryCount != 1 || *gone.FailedEntries[0].TargetId != "2" {
		t.Errorf("removed with %+v", gone.FailedEntries)
	}
	for _, name := range names {
		_, err = c.DeleteRule(ctx, &eventbridge.DeleteRuleInput{Name: &name, EventBusName: bus})
		fatal(t, err)
	}
	_, err = c.DeleteEventBus(ctx, &eventbridge.DeleteEventBusInput{Name: bus})
	fatal(t, err)
	_, err = c.DescribeEventBus(ctx, &eventbridge.DescribeEventBusInput{Name: bus})
	refusedBy(t, "a bus that is gone", err, "ResourceNotFoundException")
	all, err := c.ListEventBuses(ctx, &eventbridge.ListEventBusesInput{NamePrefix: aws.String("def")})
	fatal(t, err)
	if len(all.EventBuses) != 1 || *all.EventBuses[0].Name != "default" {
		t.Errorf("buses: %+v", all.EventBuses)
	}
}

func TestGoSDKRefusedEventsAreToldOneByOne(t *testing.T) {
	n := mayflytest.Start(t)
	c, ctx := eventsClient(n), t.Context()
	entry := func(change func(e *types.PutEventsRequestEntry)) types.PutEventsRequestEntry {
		e := types.PutEventsRequestEntry{Source: aws.String("s"), DetailType: aws.String("t"), Detail: aws.String("{}")}
		change(&e)
		return e
	}
	out, err := c.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{
		entry(func(*types.PutEventsRequestEntry) {}),
		entry(func(e *types.PutEventsRequestEntry) { e.Source = nil }),
		entry(func(e *types.PutEventsRequestEntry) { e.DetailType = nil }),
		entry(func(e *types.PutEventsRequestEntry) { e.Detail = aws.String("[]") }),
		entry(func(e *types.PutEventsRequestEntry) { e.Source = aws.String("aws.ec2") }),
		entry(func(e *types.PutEventsRequestEntry) { e.EventBusName = aws.String("nowhere") }),
	}})
	fatal(t, err)
	var codes []string
	for _, e := range out.Entries {
		codes = append(codes, aws.ToString(e.ErrorCode))
	}
	want := []string{"", "InvalidArgument", "InvalidArgument", "MalformedDetail", "NotAuthorizedForSourceException", "ResourceNotFoundException"}
	if !slices.Equal(codes, want) || out.FailedEntryCount != 5 || out.Entries[0].EventId == nil {
		t.Errorf("%d failed: %q, want %q", out.FailedEntryCount, codes, want)
	}
	_, err = c.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: make([]types.PutEventsRequestEntry, 11)})
	refusedBy(t, "eleven events", err, "ValidationException")
}

// soon is an expression for a time that is about to come.
func soon(zone *time.Location) string {
	return "at(" + time.Now().Add(5*time.Second).In(zone).Format("2006-01-02T15:04:05") + ")"
}

func TestGoSDKSchedules(t *testing.T) {
	n := mayflytest.Start(t)
	c, q, ctx := schedulerClient(n), sqsClient(n), t.Context()
	url := makeQueue(t, q, "sched-out", nil)
	group := aws.String("go-group")
	_, err := c.CreateScheduleGroup(ctx, &scheduler.CreateScheduleGroupInput{Name: group, Tags: []schedulertypes.Tag{{Key: aws.String("k"), Value: aws.String("v")}}})
	fatal(t, err)
	_, err = c.CreateScheduleGroup(ctx, &scheduler.CreateScheduleGroupInput{Name: group})
	refusedBy(t, "the same group again", err, "ConflictException")

	off := &schedulertypes.FlexibleTimeWindow{Mode: schedulertypes.FlexibleTimeWindowModeOff}
	target := &schedulertypes.Target{Arn: queueARN(n, "sched-out"), RoleArn: aws.String(role), Input: aws.String(`{"run":"<aws.scheduler.scheduled-time>"}`)}
	berlin, err := time.LoadLocation("Europe/Berlin")
	fatal(t, err)
	once := &scheduler.CreateScheduleInput{
		Name: aws.String("once"), GroupName: group, ScheduleExpression: aws.String(soon(berlin)), ScheduleExpressionTimezone: aws.String("Europe/Berlin"),
		FlexibleTimeWindow: off, Target: target, ActionAfterCompletion: schedulertypes.ActionAfterCompletionDelete,
	}
	made, err := c.CreateSchedule(ctx, once)
	fatal(t, err)
	if want := "arn:aws:scheduler:" + n.Region + ":" + n.Account + ":schedule/go-group/once"; *made.ScheduleArn != want {
		t.Errorf("made %s, want %s", *made.ScheduleArn, want)
	}
	var got struct{ Run time.Time }
	fatal(t, json.Unmarshal([]byte(*nextMessage(ctx, t, q, url).Body), &got))
	if at := "at(" + got.Run.In(berlin).Format("2006-01-02T15:04:05") + ")"; at != *once.ScheduleExpression {
		t.Errorf("it fired for %s, want %s", at, *once.ScheduleExpression)
	}
	await(t, "the schedule that is over is deleted", func() bool {
		_, err := c.GetSchedule(ctx, &scheduler.GetScheduleInput{Name: once.Name, GroupName: group})
		return code(err) == "ResourceNotFoundException"
	})

	// One that stays, with all that a schedule can have.
	start, end := time.Now().Add(time.Hour).UTC().Truncate(time.Second), time.Now().Add(48*time.Hour).UTC().Truncate(time.Second)
	full := &scheduler.CreateScheduleInput{
		Name: aws.String("nightly"), GroupName: group, Description: aws.String("a report"), ScheduleExpression: aws.String("cron(30 2 ? * MON-FRI *)"),
		ScheduleExpressionTimezone: aws.String("America/New_York"), StartDate: &start, EndDate: &end, State: schedulertypes.ScheduleStateDisabled,
		FlexibleTimeWindow: &schedulertypes.FlexibleTimeWindow{Mode: schedulertypes.FlexibleTimeWindowModeFlexible, MaximumWindowInMinutes: aws.Int32(15)},
		Target: &schedulertypes.Target{
			Arn: queueARN(n, "sched-out"), RoleArn: aws.String(role), Input: aws.String("plain text"),
			DeadLetterConfig: &schedulertypes.DeadLetterConfig{Arn: queueARN(n, "sched-out")},
			RetryPolicy:      &schedulertypes.RetryPolicy{MaximumRetryAttempts: aws.Int32(3), MaximumEventAgeInSeconds: aws.Int32(600)},
		},
	}
	_, err = c.CreateSchedule(ctx, full)
	fatal(t, err)
	_, err = c.CreateSchedule(ctx, full)
	refusedBy(t, "the same again", err, "ConflictException")
	shown, err := c.GetSchedule(ctx, &scheduler.GetScheduleInput{Name: full.Name, GroupName: group})
	fatal(t, err)
	if *shown.ScheduleExpression != *full.ScheduleExpression || *shown.ScheduleExpressionTimezone != "America/New_York" || !shown.StartDate.Equal(start) || !shown.EndDate.Equal(end) ||
		shown.State != schedulertypes.ScheduleStateDisabled || *shown.FlexibleTimeWindow.MaximumWindowInMinutes != 15 || *shown.Target.RetryPolicy.MaximumRetryAttempts != 3 ||
		*shown.Target.DeadLetterConfig.Arn != *queueARN(n, "sched-out") || *shown.Description != "a report" || shown.CreationDate == nil {
		t.Errorf("it reads back as %+v, target %+v", shown, shown.Target)
	}
	_, err = c.UpdateSchedule(ctx, &scheduler.UpdateScheduleInput{Name: full.Name, GroupName: group, ScheduleExpression: aws.String("rate(10 minutes)"), FlexibleTimeWindow: off, Target: target})
	fatal(t, err)
	shown, err = c.GetSchedule(ctx, &scheduler.GetScheduleInput{Name: full.Name, GroupName: group})
	fatal(t, err)
	if shown.State != schedulertypes.ScheduleStateEnabled || shown.Description != nil || shown.EndDate != nil || *shown.ScheduleExpressionTimezone != "UTC" {
		t.Errorf("an update keeps what it doesn't name: %+v", shown)
	}
	list, err := c.ListSchedules(ctx, &scheduler.ListSchedulesInput{GroupName: group, State: schedulertypes.ScheduleStateEnabled})
	fatal(t, err)
	if len(list.Schedules) != 1 || *list.Schedules[0].Name != "nightly" || *list.Schedules[0].Target.Arn != *queueARN(n, "sched-out") {
		t.Errorf("listed %+v", list.Schedules)
	}

	for what, change := range map[string]func(in *scheduler.CreateScheduleInput){
		"seconds": func(in *scheduler.CreateScheduleInput) { in.ScheduleExpression = aws.String("rate(10 seconds)") },
		"spaces":  func(in *scheduler.CreateScheduleInput) { in.ScheduleExpression = aws.String("rate( 10 minutes )") },
		"a zoned time": func(in *scheduler.CreateScheduleInput) {
			in.ScheduleExpression = aws.String("at(2026-11-29T20:00:00Z)")
		},
		"five fields": func(in *scheduler.CreateScheduleInput) { in.ScheduleExpression = aws.String("cron(0 8 * * *)") },
		"no zone":     func(in *scheduler.CreateScheduleInput) { in.ScheduleExpressionTimezone = aws.String("Mars/Olympus") },
		"another cloud": func(in *scheduler.CreateScheduleInput) {
			in.Target = &schedulertypes.Target{Arn: aws.String("arn:aws:sqs:mars:1:q"), RoleArn: aws.String(role)}
		},
		"a wide window": func(in *scheduler.CreateScheduleInput) {
			in.FlexibleTimeWindow = &schedulertypes.FlexibleTimeWindow{Mode: "FLEXIBLE", MaximumWindowInMinutes: aws.Int32(1441)}
		},
		"end then start": func(in *scheduler.CreateScheduleInput) { in.StartDate, in.EndDate = &end, &start },
	} {
		in := &scheduler.CreateScheduleInput{Name: aws.String("bad"), ScheduleExpression: aws.String("rate(1 hour)"), FlexibleTimeWindow: off, Target: target}
		change(in)
		_, err := c.CreateSchedule(ctx, in)
		refusedBy(t, what, err, "ValidationException")
	}

	groups, err := c.ListScheduleGroups(ctx, &scheduler.ListScheduleGroupsInput{NamePrefix: aws.String("go-")})
	fatal(t, err)
	g, err := c.GetScheduleGroup(ctx, &scheduler.GetScheduleGroupInput{Name: group})
	fatal(t, err)
	if len(groups.ScheduleGroups) != 1 || *groups.ScheduleGroups[0].Arn != *g.Arn || g.State != schedulertypes.ScheduleGroupStateActive {
		t.Errorf("groups %+v, group %+v", groups.ScheduleGroups, g)
	}
	_, err = c.TagResource(ctx, &scheduler.TagResourceInput{ResourceArn: g.Arn, Tags: []schedulertypes.Tag{{Key: aws.String("l"), Value: aws.String("w")}}})
	fatal(t, err)
	_, err = c.UntagResource(ctx, &scheduler.UntagResourceInput{ResourceArn: g.Arn, TagKeys: []string{"k"}})
	fatal(t, err)
	tags, err := c.ListTagsForResource(ctx, &scheduler.ListTagsForResourceInput{ResourceArn: g.Arn})
	fatal(t, err)
	if len(tags.Tags) != 1 || *tags.Tags[0].Key != "l" {
		t.Errorf("tags %+v", tags.Tags)
	}
	_, err = c.DeleteScheduleGroup(ctx, &scheduler.DeleteScheduleGroupInput{Name: group})
	fatal(t, err)
	_, err = c.DeleteSchedule(ctx, &scheduler.DeleteScheduleInput{Name: full.Name, GroupName: group})
	refusedBy(t, "a schedule of a group that is gone", err, "ResourceNotFoundException")
	_, err = c.ListSchedules(ctx, &scheduler.ListSchedulesInput{GroupName: group})
	refusedBy(t, fmt.Sprintf("list of %s", *group), err, "ResourceNotFoundException")
}
