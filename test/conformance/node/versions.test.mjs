// Drives the versions, aliases and concurrency of a Mayfly node with AWS's SDK
// for JavaScript. The Go test TestVersions runs it and says by the environment
// where the node is.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  CreateAliasCommand, CreateFunctionCommand, DeleteAliasCommand, DeleteFunctionCommand, DeleteFunctionConcurrencyCommand,
  DeleteProvisionedConcurrencyConfigCommand, GetAliasCommand, GetFunctionCommand, GetFunctionConcurrencyCommand, GetFunctionScalingConfigCommand,
  GetProvisionedConcurrencyConfigCommand, InvokeCommand, LambdaClient, ListProvisionedConcurrencyConfigsCommand,
  PublishVersionCommand, PutFunctionConcurrencyCommand, PutFunctionScalingConfigCommand, PutProvisionedConcurrencyConfigCommand,
  UpdateAliasCommand, UpdateFunctionCodeCommand, paginateListAliases, paginateListVersionsByFunction,
  waitUntilFunctionActiveV2, waitUntilFunctionUpdatedV2, waitUntilPublishedVersionActive,
} from '@aws-sdk/client-lambda';

const env = process.env;
const FunctionName = 'js';
const arn = `arn:aws:lambda:${env.AWS_REGION}:000000000000:function:js`;
const client = new LambdaClient({ maxAttempts: 1 });
const waiting = { client, maxWaitTime: 60, minDelay: 1, maxDelay: 1 };
const send = (Command, more = {}) => client.send(new Command({ FunctionName, ...more }));
const collect = async (pages, key) => {
  const all = [];
  for await (const page of pages) all.push(...page[key]);
  return all;
};

const refused = (promise, name, status, words, check = () => {}) => assert.rejects(promise, (e) => {
  assert.equal(e.name, name, e.message);
  assert.equal(e.$metadata.httpStatusCode, status);
  assert.ok(e.message.includes(words), e.message);
  check(e);
  return true;
});

const invoke = async (more) => {
  const out = await send(InvokeCommand, more);
  return [out.ExecutedVersion, JSON.parse(out.Payload.transformToString())];
};

before(async () => {
  await send(CreateFunctionCommand, { Runtime: env.MAYFLY_RUNTIME, Role: env.MAYFLY_ROLE, Handler: 'app.handler', Code: { ZipFile: await readFile(env.MAYFLY_ZIP) } });
  await waitUntilFunctionActiveV2(waiting, { FunctionName });
  const one = await send(PublishVersionCommand, { Description: 'first' });
  assert.deepEqual([one.Version, one.FunctionArn, one.Description, one.$metadata.httpStatusCode], ['1', arn + ':1', 'first', 201]);
  const two = await send(UpdateFunctionCodeCommand, { ZipFile: await readFile(env.MAYFLY_ZIP2), Publish: true });
  assert.equal(two.Version, '2');
  await waitUntilFunctionUpdatedV2(waiting, { FunctionName });
  await waitUntilPublishedVersionActive(waiting, { FunctionName, Qualifier: '2' });
});

test('versions and aliases', async () => {
  const made = await send(CreateAliasCommand, { Name: 'live', FunctionVersion: '1', RoutingConfig: { AdditionalVersionWeights: { 2: 1 } } });
  assert.deepEqual([made.AliasArn, made.RoutingConfig.AdditionalVersionWeights], [arn + ':live', { 2: 1 }]);
  const [version, answer] = await invoke({ Qualifier: 'live' });
  assert.deepEqual([version, answer.code, answer.version, answer.arn], ['2', 2, '2', arn + ':live']);
  await send(UpdateAliasCommand, { Name: 'live', RoutingConfig: { AdditionalVersionWeights: {} } });
  assert.equal((await invoke({ FunctionName: arn + ':live' }))[0], '1');
  await refused(send(UpdateAliasCommand, { Name: 'live', RevisionId: made.RevisionId }), 'PreconditionFailedException', 412, 'The Revision Id provided');
  const versions = await collect(paginateListVersionsByFunction({ client, pageSize: 1 }, { FunctionName }), 'Versions');
  assert.deepEqual(versions.map((v) => v.Version), ['$LATEST', '1', '2']);
  const aliases = await collect(paginateListAliases({ client }, { FunctionName, FunctionVersion: '1' }), 'Aliases');
  assert.deepEqual(aliases.map((a) => a.Name), ['live']);
  await refused(send(DeleteFunctionCommand, { Qualifier: '1' }), 'ResourceConflictException', 409, '[live]');
  assert.equal((await send(DeleteAliasCommand, { Name: 'live' })).$metadata.httpStatusCode, 204);
  await refused(send(GetAliasCommand, { Name: 'live' }), 'ResourceNotFoundException', 404, `Alias not found: ${arn}:live`);
  await send(DeleteFunctionCommand, { Qualifier: '1' });
  await refused(send(GetFunctionCommand, { Qualifier: '1' }), 'ResourceNotFoundException', 404, `Function not found: ${arn}:1`);
});

test('concurrency', async () => {
  await send(PutFunctionConcurrencyCommand, { ReservedConcurrentExecutions: 0 });
  assert.equal((await send(GetFunctionConcurrencyCommand)).ReservedConcurrentExecutions, 0);
  await refused(send(InvokeCommand), 'TooManyRequestsException', 429, 'Rate Exceeded.',
    (e) => assert.equal(e.Reason, 'ReservedFunctionConcurrentInvocationLimitExceeded'));
  assert.equal((await send(DeleteFunctionConcurrencyCommand)).$metadata.httpStatusCode, 204);

  await send(PutProvisionedConcurrencyConfigCommand, { Qualifier: '2', ProvisionedConcurrentExecutions: 1 });
  const deadline = Date.now() + 60_000;
  let got;
  do {
    await sleep(50);
    got = await send(GetProvisionedConcurrencyConfigCommand, { Qualifier: '2' });
  } while (got.Status === 'IN_PROGRESS' && Date.now() < deadline);
  assert.deepEqual([got.Status, got.AllocatedProvisionedConcurrentExecutions], ['READY', 1]);
  const list = await send(ListProvisionedConcurrencyConfigsCommand);
  assert.deepEqual(list.ProvisionedConcurrencyConfigs.map((p) => p.FunctionArn), [arn + ':2']);
  await send(DeleteProvisionedConcurrencyConfigCommand, { Qualifier: '2' });
  await refused(send(GetProvisionedConcurrencyConfigCommand, { Qualifier: '2' }), 'ProvisionedConcurrencyConfigNotFoundException', 404, 'No Provisioned Concurrency Config');

  const FunctionScalingConfig = { MinExecutionEnvironments: 0, MaxExecutionEnvironments: 2 };
  assert.equal((await send(PutFunctionScalingConfigCommand, { Qualifier: '2', FunctionScalingConfig })).FunctionState, 'Active');
  assert.deepEqual((await send(GetFunctionScalingConfigCommand, { Qualifier: '2' })).AppliedFunctionScalingConfig, FunctionScalingConfig);
});
