// Drives a Mayfly node with AWS's SDK for JavaScript. The Go test
// TestJavaScriptSDK runs it and says by the environment where the node is.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { before, test } from 'node:test';
import {
  CreateFunctionCommand, DeleteFunctionCommand, GetAccountSettingsCommand, GetFunctionCommand, GetFunctionConfigurationCommand,
  InvokeCommand, InvokeWithResponseStreamCommand, LambdaClient, ListTagsCommand, ResourceNotFoundException, TagResourceCommand, UntagResourceCommand,
  UpdateFunctionCodeCommand, UpdateFunctionConfigurationCommand, ListFunctionsCommand,
  paginateListFunctions, waitUntilFunctionActiveV2, waitUntilFunctionUpdatedV2,
} from '@aws-sdk/client-lambda';

const env = process.env;
const arn = `arn:aws:lambda:${env.AWS_REGION}:000000000000:function:`;
const client = new LambdaClient({ maxAttempts: 1 });
const waiting = { client, maxWaitTime: 60, minDelay: 1, maxDelay: 1 };
let zip, zip2;

before(async () => {
  zip = await readFile(env.MAYFLY_ZIP);
  zip2 = await readFile(env.MAYFLY_ZIP2);
});

const create = (FunctionName, more = {}) => client.send(new CreateFunctionCommand({
  FunctionName, Runtime: env.MAYFLY_RUNTIME, Role: env.MAYFLY_ROLE, Handler: 'app.handler', Code: { ZipFile: zip }, ...more,
}));

const invoke = async (FunctionName, payload, more = {}) => {
  const out = await client.send(new InvokeCommand({ FunctionName, Payload: payload && JSON.stringify(payload), ...more }));
  return [out, out.Payload?.length ? JSON.parse(out.Payload.transformToString()) : undefined];
};

const refused = (promise, name, status, words) => assert.rejects(promise, (e) => {
  assert.equal(e.name, name, e.message);
  assert.equal(e.$metadata.httpStatusCode, status);
  assert.match(e.$metadata.requestId, /^[0-9a-f-]{36}$/);
  assert.ok(e.message.includes(words), e.message);
  return true;
});

test('life cycle', async () => {
  const made = await create('life', { MemorySize: 256, Environment: { Variables: { GREETING: 'hi' } } });
  assert.equal(made.$metadata.httpStatusCode, 201);
  assert.equal(made.State, 'Pending');
  assert.equal(made.FunctionArn, arn + 'life');
  assert.equal(made.CodeSha256, createHash('sha256').update(zip).digest('base64'));
  assert.ok(!Number.isNaN(Date.parse(made.LastModified)));
  await waitUntilFunctionActiveV2(waiting, { FunctionName: 'life' });

  const got = await client.send(new GetFunctionCommand({ FunctionName: 'life' }));
  assert.equal(got.Configuration.LastUpdateStatus, 'Successful');
  assert.equal(got.Configuration.MemorySize, 256);
  const code = await fetch(got.Code.Location);
  assert.deepEqual(Buffer.from(await code.arrayBuffer()), zip);

  const upd = await client.send(new UpdateFunctionCodeCommand({ FunctionName: 'life', ZipFile: zip2, RevisionId: got.Configuration.RevisionId }));
  assert.equal(upd.LastUpdateStatus, 'InProgress');
  await waitUntilFunctionUpdatedV2(waiting, { FunctionName: 'life' });
  await refused(client.send(new UpdateFunctionConfigurationCommand({ FunctionName: 'life', RevisionId: made.RevisionId })),
    'PreconditionFailedException', 412, 'The Revision Id provided does not match the latest Revision Id.');
  await client.send(new UpdateFunctionConfigurationCommand({ FunctionName: 'life', Environment: { Variables: { GREETING: 'bye' } } }));
  await waitUntilFunctionUpdatedV2(waiting, { FunctionName: 'life' });
  const [, answer] = await invoke('life');
  assert.equal(answer.greeting, 'bye');
  assert.equal(answer.version, 2);

  const gone = await client.send(new DeleteFunctionCommand({ FunctionName: 'life' }));
  assert.equal(gone.$metadata.httpStatusCode, 204);
  await refused(client.send(new GetFunctionConfigurationCommand({ FunctionName: 'life' })), 'ResourceNotFoundException', 404, `Function not found: ${arn}life`);
});

test('invoke', async () => {
  await create('invoked');
  await waitUntilFunctionActiveV2(waiting, { FunctionName: 'invoked' });
  const [out, answer] = await invoke('invoked', { n: [1, 2.5, 'ü'] }, {
    LogType: 'Tail', ClientContext: Buffer.from('{"custom":{"k":"v"}}').toString('base64'),
  });
  assert.equal(out.StatusCode, 200);
  assert.equal(out.ExecutedVersion, '$LATEST');
  assert.equal(out.FunctionError, undefined);
  assert.deepEqual(answer.event, { n: [1, 2.5, 'ü'] });
  assert.deepEqual(answer.custom, { k: 'v' });
  assert.match(Buffer.from(out.LogResult, 'base64').toString(), new RegExp(`REPORT RequestId: ${answer.id}\tDuration: `));

  const [failed, document] = await invoke('invoked', { fail: 'on purpose' });
  assert.equal(failed.FunctionError, 'Unhandled');
  assert.equal(document.errorType, 'ValueError');
  assert.equal((await invoke('invoked', {}, { InvocationType: 'Event' }))[0].StatusCode, 202);
  assert.equal((await invoke('invoked', {}, { InvocationType: 'DryRun' }))[0].StatusCode, 204);

  await refused(invoke('invoked', 'x'.repeat(6 << 20)), 'RequestTooLargeException', 413, 'Request must be smaller than 6291456 bytes');
  await refused(invoke('nowhere', {}), 'ResourceNotFoundException', 404, `Function not found: ${arn}nowhere`);
});

test('lists', async () => {
  const names = ['listed-0', 'listed-1', 'listed-2', 'listed-3', 'listed-4'];
  await Promise.all(names.map((n) => create(n)));
  const got = [];
  for await (const page of paginateListFunctions({ client, pageSize: 2 }, {})) {
    assert.ok(page.Functions.length <= 2);
    got.push(...page.Functions.map((f) => f.FunctionName));
  }
  assert.deepEqual(got.filter((n) => n.startsWith('listed-')), names);
  const { AccountUsage } = await client.send(new GetAccountSettingsCommand({}));
  assert.ok(AccountUsage.FunctionCount >= names.length);
});

test('tags', async () => {
  const { FunctionArn: Resource } = await create('tagged', { Tags: { a: '1' } });
  await client.send(new TagResourceCommand({ Resource, Tags: { b: '2', 'c/d': 'x y' } }));
  await client.send(new UntagResourceCommand({ Resource, TagKeys: ['a', 'b'] }));
  const { Tags } = await client.send(new ListTagsCommand({ Resource }));
  assert.deepEqual(Tags, { 'c/d': 'x y' });
});

test('refusals', async () => {
  await create('taken');
  await refused(create('taken'), 'ResourceConflictException', 409, 'Function already exist: taken');
  await refused(create('f', { Runtime: 'cobol85' }), 'InvalidParameterValueException', 400, "Value cobol85 at 'runtime' failed to satisfy constraint");
  await refused(create('f', { Handler: 'a b' }), 'ValidationException', 400, "at 'handler' failed to satisfy constraint");
  await refused(create('f', { Code: { ZipFile: Buffer.from('x') } }), 'InvalidParameterValueException', 400, 'Could not unzip uploaded file.');
  await refused(create('f', { Code: { ZipFile: Buffer.alloc(53 << 20) } }), 'RequestEntityTooLargeException', 413, 'Request must be smaller than 70167211 bytes');
  await assert.rejects(client.send(new GetFunctionCommand({ FunctionName: 'nowhere' })), ResourceNotFoundException);
  const wrong = new LambdaClient({ maxAttempts: 1, credentials: { accessKeyId: env.AWS_ACCESS_KEY_ID, secretAccessKey: 'x'.repeat(40) } });
  await refused(wrong.send(new ListFunctionsCommand({})), 'InvalidSignatureException', 403, 'does not match the signature you provided');
});

test('streamed answers', async () => {
  await create('js-stream');
  await waitUntilFunctionActiveV2(waiting, { FunctionName: 'js-stream' });
  const read = async (event) => {
    const out = await client.send(new InvokeWithResponseStreamCommand({ FunctionName: 'js-stream', Payload: JSON.stringify(event), LogType: 'Tail' }));
    assert.equal(out.ExecutedVersion, '$LATEST');
    const parts = [];
    let end;
    for await (const e of out.EventStream) {
      if (e.PayloadChunk) parts.push(Buffer.from(e.PayloadChunk.Payload).toString());
      if (e.InvokeComplete) end = e.InvokeComplete;
    }
    return { parts, end };
  };
  const good = await read({ a: 1 });
  assert.equal(good.parts.length, 1);
  assert.deepEqual(JSON.parse(good.parts[0]).event, { a: 1 });
  assert.equal(good.end.ErrorCode, undefined);
  assert.match(Buffer.from(good.end.LogResult, 'base64').toString(), /REPORT RequestId/);
  const bad = await read({ fail: 'because' });
  assert.equal(bad.end.ErrorCode, 'Unhandled');
  assert.equal(JSON.parse(bad.end.ErrorDetails).errorMessage, 'because');
});
