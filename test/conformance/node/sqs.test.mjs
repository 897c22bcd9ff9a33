// Drives a Mayfly node's queues with AWS's SDK for JavaScript. The Go test
// TestJavaScriptSDKQueues runs it and says by the environment where the node is.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  CancelMessageMoveTaskCommand, ChangeMessageVisibilityBatchCommand, ChangeMessageVisibilityCommand, CreateQueueCommand,
  DeleteMessageBatchCommand, DeleteMessageCommand, DeleteQueueCommand, GetQueueAttributesCommand, GetQueueUrlCommand,
  ListDeadLetterSourceQueuesCommand, ListMessageMoveTasksCommand, ListQueueTagsCommand, PurgeQueueCommand, QueueDoesNotExist,
  ReceiveMessageCommand, SQSClient, SendMessageBatchCommand, SendMessageCommand, SetQueueAttributesCommand,
  StartMessageMoveTaskCommand, TagQueueCommand, UntagQueueCommand, paginateListQueues,
} from '@aws-sdk/client-sqs';

const env = process.env;
const client = new SQSClient({ maxAttempts: 1 });
const arn = `arn:aws:sqs:${env.AWS_REGION}:000000000000:`;
const send = (Command, input) => client.send(new Command(input));
const queue = async (QueueName, Attributes) => (await send(CreateQueueCommand, { QueueName, Attributes })).QueueUrl;

test('a message goes round', async () => {
  const QueueUrl = await queue('js-q');
  assert.equal((await send(GetQueueUrlCommand, { QueueName: 'js-q' })).QueueUrl, QueueUrl);
  await assert.rejects(send(GetQueueUrlCommand, { QueueName: 'nowhere' }), QueueDoesNotExist);
  const sent = await send(SendMessageCommand, { // the SDK checks the digests
    QueueUrl, MessageBody: 'a <b> & c', MessageAttributes: { b: { DataType: 'Binary', BinaryValue: new Uint8Array([0, 255]) } },
  });
  const { Messages: [m] } = await send(ReceiveMessageCommand, { QueueUrl, WaitTimeSeconds: 5, MessageAttributeNames: ['All'], MessageSystemAttributeNames: ['All'] });
  assert.equal(m.MessageId, sent.MessageId);
  assert.deepEqual([...m.MessageAttributes.b.BinaryValue], [0, 255]);
  assert.equal(m.Attributes.ApproximateReceiveCount, '1');
  await send(ChangeMessageVisibilityCommand, { QueueUrl, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: 0 });
  const { Messages: [again] } = await send(ReceiveMessageCommand, { QueueUrl });
  await send(DeleteMessageCommand, { QueueUrl, ReceiptHandle: again.ReceiptHandle });
  assert.equal((await send(ReceiveMessageCommand, { QueueUrl })).Messages, undefined);
});

test('batches have an outcome for each entry', async () => {
  const QueueUrl = await queue('js-batch');
  const out = await send(SendMessageBatchCommand, { QueueUrl, Entries: [{ Id: 'a', MessageBody: 'x' }, { Id: 'b', MessageBody: 'y', DelaySeconds: 901 }] });
  assert.deepEqual([out.Successful.map((e) => e.Id), out.Failed.map((e) => [e.Id, e.SenderFault])], [['a'], [['b', true]]]);
  const { Messages: [m] } = await send(ReceiveMessageCommand, { QueueUrl, MaxNumberOfMessages: 10 });
  const entry = { Id: 'a', ReceiptHandle: m.ReceiptHandle };
  assert.equal((await send(ChangeMessageVisibilityBatchCommand, { QueueUrl, Entries: [{ ...entry, VisibilityTimeout: 9 }] })).Successful[0].Id, 'a');
  assert.equal((await send(DeleteMessageBatchCommand, { QueueUrl, Entries: [entry] })).Successful[0].Id, 'a');
  await assert.rejects(send(SendMessageBatchCommand, { QueueUrl, Entries: [] }), { name: 'EmptyBatchRequest' });
});

test('dead letters, moves and settings', async () => {
  const dead = await queue('js-dead');
  const QueueUrl = await queue('js-source', { RedrivePolicy: JSON.stringify({ deadLetterTargetArn: `${arn}js-dead`, maxReceiveCount: 1 }) });
  assert.deepEqual((await send(ListDeadLetterSourceQueuesCommand, { QueueUrl: dead })).queueUrls, [QueueUrl]);
  await send(SendMessageCommand, { QueueUrl, MessageBody: 'x' });
  await send(ReceiveMessageCommand, { QueueUrl, VisibilityTimeout: 0 });
  assert.equal((await send(ReceiveMessageCommand, { QueueUrl })).Messages, undefined);
  const { TaskHandle } = await send(StartMessageMoveTaskCommand, { SourceArn: `${arn}js-dead`, MaxNumberOfMessagesPerSecond: 500 });
  for (const end = Date.now() + 60_000; ;) {
    const { Results: [r] } = await send(ListMessageMoveTasksCommand, { SourceArn: `${arn}js-dead` });
    if (r.Status === 'COMPLETED') break;
    assert.ok(Date.now() < end, 'the move does not end');
  }
  await assert.rejects(send(CancelMessageMoveTaskCommand, { TaskHandle }), { name: 'ResourceNotFoundException' });
  await send(SetQueueAttributesCommand, { QueueUrl, Attributes: { DelaySeconds: '1' } });
  const { Attributes } = await send(GetQueueAttributesCommand, { QueueUrl, AttributeNames: ['All'] });
  assert.equal(Attributes.DelaySeconds, '1');
  assert.equal(Attributes.ApproximateNumberOfMessages, '1');
  await send(TagQueueCommand, { QueueUrl, Tags: { a: '1', b: '2' } });
  await send(UntagQueueCommand, { QueueUrl, TagKeys: ['a'] });
  assert.deepEqual((await send(ListQueueTagsCommand, { QueueUrl })).Tags, { b: '2' });
  const urls = [];
  for await (const page of paginateListQueues({ client, pageSize: 1 }, { QueueNamePrefix: 'js-' })) urls.push(...page.QueueUrls);
  assert.ok(urls.includes(QueueUrl) && urls.includes(dead));
  await send(PurgeQueueCommand, { QueueUrl });
  await assert.rejects(send(PurgeQueueCommand, { QueueUrl }), { name: 'PurgeQueueInProgress' });
  await send(DeleteQueueCommand, { QueueUrl });
});
