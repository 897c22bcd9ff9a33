'use strict';
// Mayfly's runtime for Node.js functions, in the manner of AWS Lambda's.
//
// The link to the host is on descriptors 3 (in) and 4 (out), 1 and 2 are the
// log. Node.js keeps 3 and 4 from its children by itself. Frames on the link
// (little endian):
//
//   u32 length of body | u8 kind | u8 zero | u16 length of header | header | body
//
// Between calls the process blocks in a synchronous read of the link: nothing
// of the function runs then, as on Lambda, which freezes an idle instance. When
// the last turn of the event loop is a while ago, a full one lies between that read
// and the handler, so that sockets which closed in the meantime are seen as closed.

const { AsyncResource } = require('async_hooks');
const fs = require('fs');
const path = require('path');
const util = require('util');
const { Writable } = require('stream');
const { pathToFileURL } = require('url');

const LINK_IN = 3;
const LINK_OUT = 4;
const LOG = 2;
const INVOKE = 1;
const SHUTDOWN = 2;
const SNAPSHOT = 3;
const RESTORE = 4;
const READY = 16;
const INIT_ERROR = 17;
const RESPONSE = 18;
const FAILURE = 19;
const HEAD = 20;
const CHUNK = 21;
const END = 22;

const env = process.env;
const answerLimit = parseInt(process.argv[2], 10); // bytes
process.argv.splice(2, 1);

// From Node.js 24 on, Lambda's runtime knows no callbacks and waits for no
// event loop. The configured runtime decides, not the interpreter that serves it.
const configured = /nodejs(\d+)/.exec(env.AWS_EXECUTION_ENV || '');
const withCallbacks = !configured || Number(configured[1]) < 24;

// --- the link ----------------------------------------------------------------

const nap = new Int32Array(new SharedArrayBuffer(4));

function writeAll(fd, data) {
  let done = 0;
  while (done < data.length) {
    try {
      done += fs.writeSync(fd, data, done);
    } catch (err) {
      if (err.code !== 'EAGAIN') throw err;
      Atomics.wait(nap, 0, 0, 1); // a full log pipe that a stream made non-blocking
    }
  }
}

function frameOf(kind, header, body) {
  const head = Buffer.byteLength(header);
  const size = Buffer.byteLength(body);
  const frame = Buffer.allocUnsafe(8 + head + size);
  frame.writeUInt32LE(size, 0);
  frame[4] = kind;
  frame[5] = 0;
  frame.writeUInt16LE(head, 6);
  frame.write(header, 8);
  if (typeof body === 'string') frame.write(body, 8 + head);
  else frame.set(body, 8 + head);
  return frame;
}

function send(kind, header, body) {
  writeAll(LINK_OUT, frameOf(kind, header, body));
}

// writeLater writes data without holding up the event loop.
function writeLater(fd, data, done) {
  fs.write(fd, data, 0, data.length, null, (err, n) => {
    if (err || n === data.length) done(err);
    else writeLater(fd, data.subarray(n), done);
  });
}

let input = Buffer.allocUnsafeSlow(65536);
let filled = 0;

function fill(want) {
  if (want > input.length) {
    const larger = Buffer.allocUnsafeSlow(want);
    input.copy(larger, 0, 0, filled);
    input = larger;
  }
  while (filled < want) {
    const n = fs.readSync(LINK_IN, input, filled, input.length - filled, null);
    if (n === 0) process.exit(0); // the host is gone
    filled += n;
  }
}

// receive blocks until the host sends a frame.
function receive() {
  fill(8);
  const head = input.readUInt16LE(6);
  const end = 8 + head + input.readUInt32LE(0);
  fill(end);
  const frame = {
    kind: input[4],
    header: input.toString('utf8', 8, 8 + head),
    body: input.toString('utf8', 8 + head, end),
  };
  if (filled > end) input.copyWithin(0, end, filled);
  filled -= end;
  if (input.length > 65536 && filled === 0) input = Buffer.allocUnsafeSlow(65536);
  return frame;
}

function parseHeader(text) {
  const header = Object.create(null);
  for (const line of text.split('\r\n')) {
    const colon = line.indexOf(': ');
    if (colon > 0) header[line.slice(0, colon)] = line.slice(colon + 2);
  }
  return header;
}

// --- errors ------------------------------------------------------------------

function runtimeError(name) {
  const C = class extends Error {};
  C.prototype.name = `Runtime.${name}`;
  return C;
}
const ImportModuleError = runtimeError('ImportModuleError');
const HandlerNotFound = runtimeError('HandlerNotFound');
const MalformedHandlerName = runtimeError('MalformedHandlerName');
const UserCodeSyntaxError = runtimeError('UserCodeSyntaxError');
const CallbackHandlerDeprecated = runtimeError('CallbackHandlerDeprecated');
const UnhandledPromiseRejection = class extends runtimeError('UnhandledPromiseRejection') {
  constructor(reason, promise) {
    super(reason);
    this.reason = reason;
    this.promise = promise;
  }
};

function looksLikeError(value) {
  return util.types.isNativeError(value) ||
    (value && typeof value.name === 'string' && typeof value.message === 'string' && typeof value.stack === 'string');
}

// userTrace leaves out this file's frames, and those of Node.js that called it.
function userTrace(stack) {
  const lines = stack.split('\n');
  const ours = lines.findIndex((line) => line.startsWith('    at ') && line.includes(__filename));
  return ours < 0 ? lines : lines.slice(0, ours);
}

function errorDocument(error) {
  try {
    if (looksLikeError(error)) {
      return { errorType: error.name, errorMessage: error.message, trace: userTrace(String(error.stack)) };
    }
    return { errorType: typeof error, errorMessage: error.toString(), trace: [] };
  } catch (_) {
    return {
      errorType: 'handled',
      errorMessage:
        'callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack',
    };
  }
}

function asError(value) {
  if (value instanceof Error) return value;
  try {
    return new Error(value);
  } catch (_) {
    return new Error(util.inspect(value)); // a symbol, or an object that can't be a string
  }
}

// logError writes error to the log in the form that Lambda's runtime gives it.
function logError(what, error) {
  const err = asError(error);
  if (jsonLog) {
    console.error(err);
    return;
  }
  let text;
  try {
    text = JSON.stringify(err, (_, v) => {
      if (!(v instanceof Error)) return v;
      const shown = { errorType: v.name, errorMessage: v.message, code: v.code, ...v };
      if (typeof v.stack === 'string') shown.stack = userTrace(v.stack);
      return shown;
    });
  } catch (_) {
    text = JSON.stringify(errorDocument(err));
  }
  console.error(what, `\t${text}`);
}

const printable = (text) => String(text).replace(/[^\x20-\x7e]/g, '').slice(0, 256);

function sendError(kind, error) {
  const doc = errorDocument(error);
  send(kind, `Error-Type: ${printable(doc.errorType) || 'Error'}\r\n`, JSON.stringify(doc));
}

// --- logs --------------------------------------------------------------------

const jsonLog = (env.AWS_LAMBDA_LOG_FORMAT || '').toUpperCase() === 'JSON';
let requestId; // undefined until the first call, and shown as that, as on Lambda
let tenantId;

function textLine(level, args) {
  return `${new Date().toISOString()}\t${requestId}\t${level}\t${util.format(...args)}\n`;
}

function jsonLine(level, args) {
  const line = { timestamp: new Date().toISOString(), level, requestId };
  if (tenantId !== undefined) line.tenantId = tenantId;
  const shown = (e) => ({
    errorType: (e.constructor && e.constructor.name) || 'UnknownError',
    errorMessage: e.message,
    stackTrace: typeof e.stack === 'string' ? userTrace(e.stack) : [],
  });
  if (args.length === 1) {
    line.message = args[0];
    try {
      return JSON.stringify(line, (_, v) => (v instanceof Error ? { ...shown(v), ...v } : v)) + '\n';
    } catch (_) {
      line.message = util.format(args[0]);
      return JSON.stringify(line) + '\n';
    }
  }
  line.message = util.format(...args);
  const err = args.find((a) => a instanceof Error);
  if (err) Object.assign(line, shown(err));
  return JSON.stringify(line) + '\n';
}

function patchConsole() {
  const levels = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'];
  const least = levels.indexOf((env.AWS_LAMBDA_LOG_LEVEL || '').toUpperCase());
  const line = jsonLog ? jsonLine : textLine;
  for (const [i, level] of levels.entries()) {
    console[level.toLowerCase()] = i < least && level !== 'FATAL'
      ? () => {}
      : (...args) => writeAll(LOG, Buffer.from(line(level, args)));
  }
  console.log = console.info;
}

// --- streamed answers --------------------------------------------------------

const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');
const CHUNK_LIMIT = 65536; // bytes in a frame

// ResponseStream is what a streaming handler writes its answer to. Its parts
// leave when they are written; where the caller reads slowly they wait here, and
// write returns false. setContentType and _onBeforeFirstWrite are the interface
// that Lambda's runtime gives it.
class ResponseStream extends Writable {
  constructor(highWaterMark) {
    super({ highWaterMark });
    this.begun = false; // something has left
    this.flying = false; // a write of the link is under way
    this.landed = null; // what to do when it is not
    this.contentType = 'application/octet-stream';
  }

  setContentType(type) { this.contentType = type; }

  write(chunk, encoding, done) { return super.write(asBytes(chunk), encoding, done); }

  end(chunk, encoding, done) {
    const none = chunk === undefined || chunk === null || typeof chunk === 'function';
    return super.end(none ? chunk : asBytes(chunk), encoding, done);
  }

  _write(chunk, _, done) { this.pass([chunk], done); }

  _writev(chunks, done) { this.pass(chunks.map((c) => c.chunk), done); }

  _final(done) {
    if (this.begun) done();
    else this.pass([], done);
  }

  pass(chunks, done) {
    const frames = [];
    if (!this.begun) {
      this.begun = true;
      frames.push(frameOf(HEAD, `Content-Type: ${printable(this.contentType)}\r\n`, ''));
      if (typeof this._onBeforeFirstWrite === 'function') {
        const first = [];
        this._onBeforeFirstWrite((part) => first.push(Buffer.from(part)));
        chunks = [Buffer.concat(first), ...chunks];
      }
    }
    for (const chunk of chunks) {
      for (let at = 0; at < chunk.length; at += CHUNK_LIMIT) {
        frames.push(frameOf(CHUNK, '', chunk.subarray(at, at + CHUNK_LIMIT)));
      }
    }
    this.flying = true;
    writeLater(LINK_OUT, frames.length === 1 ? frames[0] : Buffer.concat(frames), (err) => {
      this.flying = false;
      done(err);
      if (this.landed) this.landed();
    });
  }

  // conclude calls done when nothing of the stream will be written any more.
  conclude(done) {
    const settle = () => {
      if (this.flying || !(this.destroyed || this.writableFinished)) return;
      this.landed = null;
      this.off('finish', settle);
      this.off('close', settle);
      done();
    };
    this.landed = settle;
    this.on('finish', settle);
    this.on('close', settle);
    settle();
  }
}

function asBytes(chunk) {
  if (typeof chunk === 'string' || Buffer.isBuffer(chunk) || chunk instanceof Uint8Array) return chunk;
  return JSON.stringify(chunk);
}

// The global that functions find on Lambda.
globalThis.awslambda = {
  streamifyResponse(handler, options) {
    handler[STREAMING] = 'response';
    if (options && options.highWaterMark !== undefined) handler[HIGH_WATER_MARK] = parseInt(options.highWaterMark, 10);
    return handler;
  },
  HttpResponseStream: class HttpResponseStream {
    // from makes stream the answer to an HTTP request: status, headers and
    // cookies go first, as JSON that eight zero bytes end.
    static from(stream, prelude) {
      const json = JSON.stringify(prelude);
      stream.setContentType('application/vnd.awslambda.http-integration-response');
      stream._onBeforeFirstWrite = (write) => {
        write(json);
        write(new Uint8Array(8));
      };
      return stream;
    }
  },
};

// --- the handler -------------------------------------------------------------

function isModuleFolder(folder) {
  for (;;) {
    if (folder.endsWith('/node_modules')) return false;
    const file = path.join(folder, 'package.json');
    if (fs.existsSync(file)) {
      try {
        return JSON.parse(fs.readFileSync(file, 'utf8')).type === 'module';
      } catch (err) {
        console.warn(`${file} cannot be read, it will be ignored for ES module detection purposes.`, err);
        return false;
      }
    }
    if (folder === '/') return false;
    folder = path.dirname(folder);
  }
}

async function loadCommon(file) {
  try {
    return require(file);
  } catch (err) {
    if (err.code !== 'ERR_REQUIRE_ESM' && err.code !== 'ERR_REQUIRE_ASYNC_MODULE') throw err;
    return import(pathToFileURL(file));
  }
}

// loadModule looks for a module in the order of Lambda's runtime.
async function loadModule(root, folder, name) {
  const base = path.resolve(root, folder, name);
  if (fs.existsSync(base) && fs.statSync(base).isFile()) return loadCommon(base);
  if (fs.existsSync(`${base}.js`)) {
    if (isModuleFolder(path.dirname(base))) return import(pathToFileURL(`${base}.js`));
    return loadCommon(`${base}.js`);
  }
  if (fs.existsSync(`${base}.mjs`)) return import(pathToFileURL(`${base}.mjs`));
  if (fs.existsSync(`${base}.cjs`)) return require(`${base}.cjs`);
  return require(require.resolve(name, { paths: [root, path.join(root, folder)] }));
}

const streams = (handler) => handler[STREAMING] === 'response';

const follow = (object, names) =>
  names.reduce((o, name) => (o === undefined || o === null ? undefined : o[name]), object);

// loadHandler returns the function that a name such as "dir/file.a.b" stands for.
async function loadHandler(root, full) {
  if (full.includes('..')) {
    throw new MalformedHandlerName(
      `'${full}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`);
  }
  const last = path.basename(full);
  const match = /^([^.]*)\.(.*)$/.exec(last);
  if (!match) throw new MalformedHandlerName('Bad handler');
  let app;
  try {
    app = await loadModule(root, full.slice(0, full.length - last.length), match[1]);
  } catch (err) {
    if (err instanceof SyntaxError) throw new UserCodeSyntaxError(err);
    if (err && err.code === 'MODULE_NOT_FOUND') throw new ImportModuleError(err);
    throw err;
  }
  const names = match[2].split('.');
  let handler = follow(app, names);
  if (!handler && !withCallbacks && app && app.default) handler = follow(app.default, names);
  if (!handler) throw new HandlerNotFound(`${full} is undefined or not exported`);
  if (typeof handler !== 'function') throw new HandlerNotFound(`${full} is not a function`);
  if (handler.length >= 3 && !withCallbacks && !streams(handler)) {
    throw new CallbackHandlerDeprecated(
      'ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. ' +
      'You need to modify this function to use a supported handler signature to use Node.js 24 or later. ' +
      'For more information see https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.');
  }
  return handler;
}

// --- calls -------------------------------------------------------------------

let handler;
let current = null; // the call being served, until its answer is sent
let whenEmpty = null; // what to do when the event loop has nothing left
let inTurn = false; // serve waits for what the handler does at once
let ending = null; // ends the call, when serve's turn is over
let turned = 0; // when the event loop last had a turn, on performance.now's clock

const TURN_AFTER = 5; // ms that may go by without a turn of the event loop

// drain runs what is due without a turn of the event loop: ticks, promises' reactions,
// and the report of rejections that nobody handled, which so is one of the call that
// caused it. Each turn is a system call, and these are most of what a brief call costs.
const drain = process._tickCallback;

function parseJSON(text, name) {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (err) {
    throw new Error(`Cannot parse ${name} as json: ${err}`);
  }
}

function contextOf(header) {
  const deadline = Number(header['Lambda-Runtime-Deadline-Ms']);
  const context = {
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: parseJSON(header['Lambda-Runtime-Client-Context'], 'ClientContext'),
    identity: parseJSON(header['Lambda-Runtime-Cognito-Identity'], 'CognitoIdentity'),
    invokedFunctionArn: header['Lambda-Runtime-Invoked-Function-Arn'],
    awsRequestId: header['Lambda-Runtime-Aws-Request-Id'],
    tenantId: header['Lambda-Runtime-Aws-Tenant-Id'],
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
  if (!withCallbacks) context.xRayTraceId = header['Lambda-Runtime-Trace-Id'];
  return context;
}

// conclude has end(call, value) end a call that the handler is done with.
function conclude(end, call, value) {
  if (current !== call) return;
  if (inTurn) {
    ending = () => end(call, value);
    return;
  }
  setImmediate(() => {
    if (current !== call) return;
    end(call, value);
    serve();
  });
}

// answer sends a result.
function answer(call, result) {
  let body;
  try {
    body = JSON.stringify(result);
    if (body === undefined) body = 'null';
  } catch (_) {
    const err = new Error('Unable to stringify response body');
    if (!withCallbacks) err.name = 'Runtime.JSONStringifyError';
    return fail(call, err);
  }
  if (body.length > answerLimit || (body.length * 3 > answerLimit && Buffer.byteLength(body) > answerLimit)) {
    const err = new Error(
      `Response payload size exceeded maximum allowed payload size (${answerLimit} bytes).`);
    err.name = 'Function.ResponseSizeTooLarge';
    return fail(call, err);
  }
  current = null;
  send(RESPONSE, '', body);
}

function fail(call, error) {
  logError('Invoke Error', error);
  current = null;
  sendError(FAILURE, error);
}

// addCallbacks gives context the older ways to answer, and returns the callback.
function addCallbacks(call, context) {
  let wait = true;
  let finished = false;
  const finish = (send) => {
    if (finished || current !== call) return;
    finished = true;
    whenEmpty = null;
    send();
  };
  const done = (err, result) => finish(() => {
    if (err !== undefined && err !== null) conclude(fail, call, err);
    else conclude(answer, call, result);
  });
  Object.defineProperty(context, 'callbackWaitsForEmptyEventLoop', {
    enumerable: true,
    get: () => wait,
    set: (value) => { wait = value; },
  });
  context.done = done;
  context.succeed = (result) => done(null, result);
  context.fail = (err) => done(err === undefined || err === null ? 'handled' : err);
  // A handler that neither calls back nor returns a promise answers null when
  // nothing is left that could still call back.
  whenEmpty = () => finish(() => conclude(answer, call, null));
  return (err, result) => {
    if (wait && (err === undefined || err === null)) {
      finish(() => { whenEmpty = () => conclude(answer, call, result); });
    } else {
      done(err, result);
    }
  };
}

// runStream runs a handler that streams its answer. The call ends when the handler
// is done and its stream has ended; one that does nothing any more, without
// having ended its stream, has.
function runStream(call, header, body) {
  const out = new ResponseStream(handler[HIGH_WATER_MARK]);
  call.stream = out;
  out.on('error', () => {}); // the handler hears of it; here it is told by the end
  whenEmpty = () => { out.end(); out.conclude(() => finishStream(call)); };
  let result;
  try {
    result = handler(JSON.parse(body), out, contextOf(header));
  } catch (err) {
    setImmediate(failStream, call, err);
    return;
  }
  Promise.resolve(result).then(
    () => out.conclude(() => finishStream(call)),
    (err) => setImmediate(failStream, call, err));
}

function finishStream(call) {
  setImmediate(() => {
    const out = call.stream;
    if (current !== call) return;
    if (!out.writableFinished) {
      failStream(call, out.errored || new Error('The response stream was destroyed before its end'));
      return;
    }
    current = null;
    send(END, '', '');
    serve();
  });
}

// failStream reports an error, behind what was written before it.
function failStream(call, error) {
  const out = call.stream;
  if (current !== call) return;
  if (!out.begun && out.writableLength === 0) {
    out.destroy();
    conclude(fail, call, error);
    return;
  }
  if (!out.destroyed && !out.writableEnded) out.end();
  out.conclude(() => {
    if (current !== call) return;
    logError('Invoke Error', error);
    current = null;
    sendError(END, error);
    setImmediate(serve);
  });
}

function run(call, header, body) {
  if (streams(handler)) {
    runStream(call, header, body);
    return;
  }
  let callback;
  try {
    const context = contextOf(header);
    if (withCallbacks) callback = addCallbacks(call, context);
    const result = handler(JSON.parse(body), context, callback);
    if (!withCallbacks) {
      Promise.resolve(result).then((r) => conclude(answer, call, r), (e) => conclude(fail, call, e));
    } else if (result && typeof result.then === 'function') {
      result.then(context.succeed, context.fail);
    }
  } catch (err) {
    if (callback) callback(err);
    else conclude(fail, call, err);
  }
}

// serve serves calls until one waits for the event loop, and goes on when that one has
// ended. It is to be called by the event loop itself: drain does nothing for what it calls.
function serve() {
  turned = performance.now();
  for (;;) {
    const { call, header, body } = next();
    if (performance.now() - turned > TURN_AFTER || !drain) {
      setImmediate(() => {
        turned = performance.now();
        if (attempt(call, header, body)) serve();
      });
      return;
    }
    if (!attempt(call, header, body)) return;
  }
}

// attempt runs a call and reports whether it has ended. What the handler enters into an
// AsyncLocalStorage stays in its call.
function attempt(call, header, body) {
  inTurn = Boolean(drain);
  new AsyncResource('Invocation').runInAsyncScope(run, null, call, header, body);
  if (!inTurn) return false;
  drain();
  inTurn = false;
  const end = ending;
  ending = null;
  if (end) end();
  return Boolean(end);
}

// next waits for the host and returns the call that it sends.
function next() {
  whenEmpty = null;
  let frame = receive();
  while (frame.kind === SNAPSHOT || frame.kind === RESTORE) {
    aroundSnapshot(frame);
    frame = receive();
  }
  const { kind, header: text, body } = frame;
  if (kind === SHUTDOWN) process.exit(0);
  if (kind !== INVOKE) {
    writeAll(LOG, Buffer.from(`mayfly: the host sent a frame of unknown kind ${kind}\n`));
    process.exit(1);
  }
  const header = parseHeader(text);
  const call = {};
  current = call;
  requestId = header['Lambda-Runtime-Aws-Request-Id'];
  tenantId = header['Lambda-Runtime-Aws-Tenant-Id'];
  const trace = header['Lambda-Runtime-Trace-Id'];
  if (trace !== undefined) env._X_AMZN_TRACE_ID = trace;
  else delete env._X_AMZN_TRACE_ID;
  return { call, header, body };
}

// --- snapshots ---------------------------------------------------------------

// V8's own Math.random can't be seeded anew, and code may hold on to it from its
// init on. This one (sfc32) takes its place, and is.
const seedRandom = (() => {
  let a, b, c, d;
  const seed = (words) => { [a, b, c, d] = words; };
  const word = () => {
    const t = (a + b | 0) + d | 0;
    d = d + 1 | 0;
    a = b ^ b >>> 9;
    b = c + (c << 3) | 0;
    c = (c << 21 | c >>> 11) + t | 0;
    return t >>> 0;
  };
  const native = Math.random;
  seed([0, 0, 0, 0].map(() => native() * 0x100000000 | 0));
  Math.random = function random() { // eslint-disable-line func-names
    return (word() * 0x200000 + (word() >>> 11)) / 0x20000000000000;
  };
  return seed;
})();

// reseedOpenSSL loads a module that does it and is nothing else: Node.js unloads
// it again, with an error that says so.
function reseedOpenSSL() {
  try {
    process.dlopen({ exports: {} }, path.join(__dirname, 'reseed.node'));
  } catch (err) {
    if (!/self-register/.test(err.message)) throw err;
  }
}

// aroundSnapshot gets ready to be saved, or makes this copy another one than its
// siblings.
function aroundSnapshot({ kind, header }) {
  try {
    reseedOpenSSL(); // before the snapshot too: where it fails, there is none
    if (kind === SNAPSHOT) {
      global.gc();
    } else {
      Object.assign(env, parseHeader(header));
      const words = new Int32Array(4);
      const urandom = fs.openSync('/dev/urandom');
      fs.readSync(urandom, words);
      fs.closeSync(urandom);
      seedRandom(words);
      if (process.moduleLoadList.includes('NativeModule crypto')) {
        const crypto = require('crypto'); // has values in store, from before
        for (let i = 0; i < 128; i++) crypto.randomUUID();
        for (let i = 0; i < 1024; i++) crypto.randomInt(2);
      }
    }
  } catch (err) {
    return die('Snapshot Error', err, 1, true);
  }
  send(READY, '', '');
}

// --- start -------------------------------------------------------------------

let initialised = false;

function die(what, error, status, asInit = !initialised) {
  logError(what, error);
  const out = current && current.stream;
  if (out && out.begun) {
    current = null;
    out.destroy();
    out.conclude(() => {
      sendError(END, error);
      process.exit(status);
    });
    return;
  }
  if (asInit) sendError(INIT_ERROR, error);
  else if (current) sendError(FAILURE, error);
  process.exit(status);
}

async function main() {
  patchConsole();
  process.on('uncaughtException', (err) => die('Uncaught Exception', err, 129));
  process.on('unhandledRejection', (reason, promise) =>
    die('Unhandled Promise Rejection', new UnhandledPromiseRejection(reason, promise), 128));
  process.on('beforeExit', () => {
    const then = whenEmpty;
    whenEmpty = null;
    if (then) then();
  });
  try {
    handler = await loadHandler(env.LAMBDA_TASK_ROOT, env._HANDLER);
  } catch (err) {
    return die('Uncaught Exception', err, 129);
  }
  // A turn later, so that a rejection which init left unhandled is its error.
  setImmediate(() => {
    initialised = true;
    send(READY, '', '');
    serve();
  });
}

main();
