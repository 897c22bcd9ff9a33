// Drives a Mayfly node's event buses and schedules with AWS's SDK for JavaScript.
// The Go test TestJavaScriptSDKEvents runs it and says by the environment where
// the node is.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  CreateEventBusCommand, DeleteEventBusCommand, DeleteRuleCommand, DescribeEventBusCommand, DescribeRuleCommand, DisableRuleCommand,
  EnableRuleCommand, EventBridgeClient, InvalidEventPatternException, ListEventBusesCommand, ListRuleNamesByTargetCommand, ListRulesCommand,
  ListTagsForResourceCommand, ListTargetsByRuleCommand, PutEventsCommand, PutRuleCommand, PutTargetsCommand, RemoveTargetsCommand,
  ResourceNotFoundException, TagResourceCommand, TestEventPatternCommand, UntagResourceCommand,
} from '@aws-sdk/client-eventbridge';
import {
  ConflictException, CreateScheduleCommand, CreateScheduleGroupCommand, DeleteScheduleCommand, DeleteScheduleGroupCommand, GetScheduleCommand,
  GetScheduleGroupCommand, ListScheduleGroupsCommand, SchedulerClient, UpdateScheduleCommand, ValidationException, paginateListSchedules,
} from '@aws-sdk/client-scheduler';
import { CreateQueueCommand, ReceiveMessageCommand, SQSClient } from '@aws-sdk/client-sqs';

const env = process.env;
const events = new EventBridgeClient({ maxAttempts: 1 });
const schedules = new SchedulerClient({ maxAttempts: 1 });
const queues = new SQSClient({ maxAttempts: 1 });
const arn = (service, name) => `arn:aws:${service}:${env.AWS_REGION}:000000000000:${name}`;
const bus = (Command, input) => events.send(new Command(input));
const clock = (Command, input) => schedules.send(new Command(input));

async function receive(QueueUrl) {
  for (const end = Date.now() + 60_000; Date.now() < end;) {
    const { Messages } = await queues.send(new ReceiveMessageCommand({ QueueUrl, WaitTimeSeconds: 10 }));
    if (Messages) return Messages[0].Body;
  }
  throw new Error('no message comes');
}

test('an event goes to the targets of its rules', async () => {
  const { QueueUrl } = await queues.send(new CreateQueueCommand({ QueueName: 'js-events' }));
  const EventBusName = 'js-bus';
  const made = await bus(CreateEventBusCommand, { Name: EventBusName });
  assert.equal(made.EventBusArn, arn('events', 'event-bus/js-bus'));
  const Rule = 'js-rule';
  const { RuleArn } = await bus(PutRuleCommand, { Name: Rule, EventBusName, EventPattern: '{"source":["js"]}', Tags: [{ Key: 'a', Value: '1' }] });
  await assert.rejects(bus(PutRuleCommand, { Name: 'x', EventPattern: '[]' }), InvalidEventPatternException);
  await assert.rejects(bus(DescribeRuleCommand, { Name: 'nothing' }), ResourceNotFoundException);
  const put = await bus(PutTargetsCommand, {
    Rule, EventBusName,
    Targets: [{ Id: 'q', Arn: arn('sqs', 'js-events'), InputTransformer: { InputPathsMap: { n: '$.detail.n' }, InputTemplate: '{"got":<n>}' } }],
  });
  assert.equal(put.FailedEntryCount, 0);
  const out = await bus(PutEventsCommand, { Entries: [
    { EventBusName, Source: 'js', DetailType: 't', Detail: '{"n":[1,"ü"]}', Time: new Date(1_700_000_000_000) },
    { EventBusName, Source: 'js', DetailType: 't', Detail: 'no JSON' },
  ] });
  assert.equal(out.FailedEntryCount, 1);
  assert.equal(out.Entries[1].ErrorCode, 'MalformedDetail');
  assert.deepEqual(JSON.parse(await receive(QueueUrl)), { got: [1, 'ü'] });

  const { Targets: [t] } = await bus(ListTargetsByRuleCommand, { Rule, EventBusName });
  assert.equal(t.InputTransformer.InputTemplate, '{"got":<n>}');
  assert.deepEqual((await bus(ListRuleNamesByTargetCommand, { TargetArn: t.Arn, EventBusName })).RuleNames, [Rule]);
  await bus(DisableRuleCommand, { Name: Rule, EventBusName });
  assert.equal((await bus(DescribeRuleCommand, { Name: Rule, EventBusName })).State, 'DISABLED');
  await bus(EnableRuleCommand, { Name: Rule, EventBusName });
  assert.equal((await bus(ListRulesCommand, { EventBusName })).Rules[0].State, 'ENABLED');
  await bus(TagResourceCommand, { ResourceARN: RuleArn, Tags: [{ Key: 'b', Value: '2' }] });
  await bus(UntagResourceCommand, { ResourceARN: RuleArn, TagKeys: ['a'] });
  assert.deepEqual((await bus(ListTagsForResourceCommand, { ResourceARN: RuleArn })).Tags, [{ Key: 'b', Value: '2' }]);
  const event = { id: '1', account: '0', source: 's', time: '2026-11-29T20:00:00Z', region: 'r', resources: [], 'detail-type': 't', detail: {} };
  assert.equal((await bus(TestEventPatternCommand, { EventPattern: '{"source":["t"]}', Event: JSON.stringify(event) })).Result, false);
  await bus(RemoveTargetsCommand, { Rule, EventBusName, Ids: ['q'] });
  await bus(DeleteRuleCommand, { Name: Rule, EventBusName });
  const shown = await bus(DescribeEventBusCommand, { Name: EventBusName });
  assert.ok(shown.CreationTime instanceof Date && !Number.isNaN(+shown.CreationTime));
  await bus(DeleteEventBusCommand, { Name: EventBusName });
  assert.deepEqual((await bus(ListEventBusesCommand, { NamePrefix: 'js-' })).EventBuses, []);
});

test('schedules live in groups', async () => {
  await queues.send(new CreateQueueCommand({ QueueName: 'js-clock' }));
  const GroupName = 'js-group';
  await clock(CreateScheduleGroupCommand, { Name: GroupName });
  const input = {
    GroupName, FlexibleTimeWindow: { Mode: 'OFF' }, ScheduleExpression: 'cron(0 8 ? * MON-FRI *)', ScheduleExpressionTimezone: 'Asia/Tokyo',
    StartDate: new Date(Date.now() + 3_600_000), Target: { Arn: arn('sqs', 'js-clock'), RoleArn: env.MAYFLY_ROLE, Input: '{}' },
  };
  const { ScheduleArn } = await clock(CreateScheduleCommand, { ...input, Name: 'a' });
  assert.equal(ScheduleArn, arn('scheduler', 'schedule/js-group/a'));
  await assert.rejects(clock(CreateScheduleCommand, { ...input, Name: 'a' }), ConflictException);
  await assert.rejects(clock(CreateScheduleCommand, { ...input, Name: 'c', ScheduleExpression: 'rate(10 seconds)' }), (e) => {
    assert.ok(e instanceof ValidationException);
    assert.equal(e.Message ?? e.message, 'Invalid Schedule Expression rate(10 seconds).');
    return true;
  });
  await clock(CreateScheduleCommand, { ...input, Name: 'b', FlexibleTimeWindow: { Mode: 'FLEXIBLE', MaximumWindowInMinutes: 5 } });
  await clock(UpdateScheduleCommand, { ...input, Name: 'b', State: 'DISABLED' });
  const b = await clock(GetScheduleCommand, { GroupName, Name: 'b' });
  assert.equal(b.State, 'DISABLED');
  assert.ok(Math.abs(b.StartDate - input.StartDate) < 1000);
  const names = [];
  for await (const page of paginateListSchedules({ client: schedules, pageSize: 1 }, { GroupName })) names.push(...page.Schedules.map((s) => s.Name));
  assert.deepEqual(names, ['a', 'b']);
  await clock(DeleteScheduleCommand, { GroupName, Name: 'a' });
  assert.equal((await clock(GetScheduleGroupCommand, { Name: GroupName })).State, 'ACTIVE');
  await clock(DeleteScheduleGroupCommand, { Name: GroupName });
  assert.deepEqual((await clock(ListScheduleGroupsCommand, { NamePrefix: 'js-' })).ScheduleGroups, []);
});
