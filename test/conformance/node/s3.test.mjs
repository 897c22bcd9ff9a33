// Drives a Mayfly node's object store with AWS's SDK for JavaScript. The Go test
// TestObjectClients runs it and says by the environment where the node is.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { before, test } from 'node:test';
import {
  CompleteMultipartUploadCommand, CopyObjectCommand, CreateBucketCommand, CreateMultipartUploadCommand, DeleteBucketCommand,
  DeleteObjectCommand, DeleteObjectsCommand, GetBucketNotificationConfigurationCommand, GetObjectCommand, GetObjectTaggingCommand,
  HeadObjectCommand, NoSuchKey, PutBucketNotificationConfigurationCommand, PutBucketVersioningCommand, PutObjectCommand,
  PutObjectTaggingCommand, S3Client, UploadPartCommand, paginateListObjectsV2,
} from '@aws-sdk/client-s3';

// No endpoint: it is in the environment.
const client = new S3Client({ maxAttempts: 1, forcePathStyle: true });
const send = (Command, input = {}) => client.send(new Command({ Bucket: 'javascript', ...input }));
const text = async (Key, more = {}) => (await send(GetObjectCommand, { Key, ...more })).Body.transformToString();

before(() => send(CreateBucketCommand));

test('objects are stored and read', async () => {
  await send(PutObjectCommand, { Key: 'a/ü b+c', Body: 'hello', ContentType: 'text/plain', Metadata: { owner: 'me' } });
  assert.equal(await text('a/ü b+c'), 'hello');
  assert.equal(await text('a/ü b+c', { Range: 'bytes=1-2' }), 'el');
  const head = await send(HeadObjectCommand, { Key: 'a/ü b+c' });
  assert.deepEqual([head.ContentLength, head.ContentType, head.Metadata.owner], [5, 'text/plain', 'me']);
  await send(CopyObjectCommand, { Key: 'copy', CopySource: `javascript/${encodeURIComponent('a/ü b+c')}` });
  assert.equal(await text('copy'), 'hello');
  await send(DeleteObjectsCommand, { Delete: { Objects: [{ Key: 'a/ü b+c' }, { Key: 'copy' }] } });
  await assert.rejects(text('copy'), NoSuchKey);
});

test('a stream is sent in chunks, with its checksum behind it', async () => {
  const body = randomBytes(300_000);
  await send(PutObjectCommand, { Key: 'stream', Body: Readable.from([body]), ContentLength: body.length, ChecksumAlgorithm: 'CRC32' });
  const out = await send(GetObjectCommand, { Key: 'stream', ChecksumMode: 'ENABLED' });
  assert.ok(Buffer.from(await out.Body.transformToByteArray()).equals(body)); // the SDK checks the checksum
  assert.ok(out.ChecksumCRC32);
});

test('parts become an object', async () => {
  const { UploadId } = await send(CreateMultipartUploadCommand, { Key: 'parts' });
  const bodies = [Buffer.alloc(5 << 20, 'a'), Buffer.from('the end')];
  const Parts = [];
  for (const [i, Body] of bodies.entries()) {
    const { ETag } = await send(UploadPartCommand, { Key: 'parts', UploadId, PartNumber: i + 1, Body });
    Parts.push({ ETag, PartNumber: i + 1 });
  }
  await send(CompleteMultipartUploadCommand, { Key: 'parts', UploadId, MultipartUpload: { Parts } });
  assert.equal(await text('parts'), Buffer.concat(bodies).toString());
});

test('lists come in pages', async () => {
  for (let i = 0; i < 5; i++) await send(PutObjectCommand, { Key: `list/${i}`, Body: `${i}` });
  const keys = [];
  for await (const page of paginateListObjectsV2({ client, pageSize: 2 }, { Bucket: 'javascript', Prefix: 'list/' })) keys.push(...page.Contents.map((o) => o.Key));
  assert.deepEqual(keys, [0, 1, 2, 3, 4].map((i) => `list/${i}`));
});

test('versions and tags', async () => {
  await client.send(new CreateBucketCommand({ Bucket: 'js-versions' }));
  const Bucket = 'js-versions';
  await send(PutBucketVersioningCommand, { Bucket, VersioningConfiguration: { Status: 'Enabled' } });
  const { VersionId } = await send(PutObjectCommand, { Bucket, Key: 'k', Body: 'one' });
  await send(PutObjectCommand, { Bucket, Key: 'k', Body: 'two' });
  assert.equal(await text('k', { Bucket, VersionId }), 'one');
  assert.equal((await send(DeleteObjectCommand, { Bucket, Key: 'k' })).DeleteMarker, true);
  await send(PutObjectCommand, { Key: 'tagged', Body: 'x' });
  await send(PutObjectTaggingCommand, { Key: 'tagged', Tagging: { TagSet: [{ Key: 'a', Value: 'b' }] } });
  assert.deepEqual((await send(GetObjectTaggingCommand, { Key: 'tagged' })).TagSet, [{ Key: 'a', Value: 'b' }]);
});

test('notifications are set and read', async () => {
  const rule = {
    Id: 'r', LambdaFunctionArn: process.env.MAYFLY_FUNCTION, Events: ['s3:ObjectCreated:*'],
    Filter: { Key: { FilterRules: [{ Name: 'prefix', Value: 'in/' }] } },
  };
  await send(PutBucketNotificationConfigurationCommand, { NotificationConfiguration: { LambdaFunctionConfigurations: [rule] } });
  const { LambdaFunctionConfigurations: [got] } = await send(GetBucketNotificationConfigurationCommand);
  assert.deepEqual([got.Id, got.LambdaFunctionArn, got.Events, got.Filter.Key.FilterRules[0].Value], ['r', rule.LambdaFunctionArn, rule.Events, 'in/']);
  await send(PutBucketNotificationConfigurationCommand, { NotificationConfiguration: {} });
  assert.equal((await send(GetBucketNotificationConfigurationCommand)).LambdaFunctionConfigurations, undefined);
});

test('a bucket that holds something stays', () => assert.rejects(send(DeleteBucketCommand), { name: 'BucketNotEmpty' }));
