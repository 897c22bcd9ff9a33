// Runs one event through a handler: run.mjs EVENT-FILE FILE.FUNCTION
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [eventFile, name] = process.argv.slice(2);
const dot = name.lastIndexOf(".");
const [base, exported] = [name.slice(0, dot), name.slice(dot + 1)];
const end = Date.now() + 24 * 3600 * 1000; // a person steps through the code
const env = process.env;
const context = {
  functionName: env.AWS_LAMBDA_FUNCTION_NAME,
  functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
  memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
  awsRequestId: env.MAYFLY_REQUEST_ID,
  invokedFunctionArn: "arn:aws:lambda:us-east-1:000000000000:function:" + env.AWS_LAMBDA_FUNCTION_NAME,
  logGroupName: "/aws/lambda/" + env.AWS_LAMBDA_FUNCTION_NAME,
  logStreamName: "local",
  callbackWaitsForEmptyEventLoop: true,
  getRemainingTimeInMillis: () => Math.max(0, end - Date.now()),
};

function keep(failed, answer) {
  writeFileSync(env.MAYFLY_ANSWER, JSON.stringify({ failed, answer: answer ?? null }));
}

try {
  const file = [".mjs", ".js", ".cjs"].map((ext) => resolve(base + ext)).find(existsSync);
  if (!file) throw new Error(`no file of the handler ${name} in ${process.cwd()}`);
  const module = await import(pathToFileURL(file));
  const handler = module[exported] ?? module.default?.[exported];
  const event = JSON.parse(readFileSync(eventFile, "utf8"));
  const answer = await new Promise((done, fail) => {
    const promise = handler(event, context, (err, value) => (err ? fail(err) : done(value)));
    if (promise?.then) promise.then(done, fail);
  });
  keep(false, answer);
} catch (e) {
  console.error(e);
  keep(true, { errorType: e?.name ?? "Error", errorMessage: String(e?.message ?? e) });
}
