package guest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/runtimes"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

// launchNode runs code for a function whose configured runtime is nodejs20.x:
// callbacks are there then, whatever interpreter serves it.
func launchNode(t *testing.T, handler, code string) *instance {
	t.Helper()
	return launchNodeAs(t, "nodejs20.x", handler, map[string]string{"index.js": code})
}

func launchNodeAs(t *testing.T, runtime, handler string, code map[string]string) *instance {
	t.Helper()
	v := function.Version{Config: function.Config{Runtime: runtime, Handler: handler}}
	return launch(t, newest(t, runtimes.Node), v, code)
}

func TestEachNodeAnswersCallsAndErrors(t *testing.T) {
	const code = `
exports.handler = async (event, context) => {
  if (event === null) throw new TypeError('no event');
  console.log('hello from', process.version);
  const left = context.getRemainingTimeInMillis();
  return { event, left: left > 0 && left <= 3000 };
};`
	for _, in := range interpreters(t, runtimes.Node) {
		t.Run(in.runtime.Name, func(t *testing.T) {
			i := launch(t, in, withHandler("index.handler"), map[string]string{"index.js": code}).ready()
			i.want(i.call(`{"a": [1, 2.5, "é"]}`), `{"event":{"a":[1,2.5,"é"]},"left":true}`)
			f := i.call(`null`)
			i.wantError(f, sandbox.FrameFailure, "TypeError", map[string]any{
				"errorType": "TypeError", "errorMessage": "no event",
				"trace": []string{"TypeError: no event", "    at exports.handler (" + i.cmd.Dir + "/index.js:3:29)"},
			})
			i.want(i.call(`1`), `{"event":1,"left":true}`)
			if !strings.Contains(i.fullLog(), "hello from v") {
				t.Error("what was logged is not in the log")
			}
		})
	}
}

func TestNodeLoadsModulesInLambdasOrder(t *testing.T) {
	for name, c := range map[string]struct {
		handler string
		code    map[string]string
	}{
		"CommonJS":                {"index.handler", map[string]string{"index.js": "exports.handler = async () => 'ok'"}},
		"cjs":                     {"index.handler", map[string]string{"index.cjs": "exports.handler = async () => 'ok'"}},
		"mjs":                     {"index.handler", map[string]string{"index.mjs": "export const handler = async () => 'ok'"}},
		"mjs, top-level await":    {"index.handler", map[string]string{"index.mjs": "const x = await Promise.resolve('ok'); export const handler = async () => x"}},
		"type module":             {"index.handler", map[string]string{"index.js": "export const handler = async () => 'ok'", "package.json": `{"type": "module"}`}},
		"type module above":       {"src/index.handler", map[string]string{"src/index.js": "export const handler = async () => 'ok'", "package.json": `{"type": "module"}`}},
		"type commonjs":           {"index.handler", map[string]string{"index.js": "exports.handler = async () => 'ok'", "package.json": `{"type": "commonjs"}`}},
		"js before mjs":           {"index.handler", map[string]string{"index.js": "exports.handler = async () => 'ok'", "index.mjs": "throw 1"}},
		"no extension":            {"index.handler", map[string]string{"index": "exports.handler = async () => 'ok'"}},
		"folder":                  {"a/b/index.handler", map[string]string{"a/b/index.js": "exports.handler = async () => 'ok'"}},
		"nested export":           {"index.a.b.handler", map[string]string{"index.js": "exports.a = {b: {handler: async () => 'ok'}}"}},
		"node_modules":            {"mod.handler", map[string]string{"node_modules/mod/index.js": "exports.handler = async () => 'ok'"}},
		"dependency":              {"index.handler", map[string]string{"index.js": "const d = require('d'); exports.handler = async () => d", "node_modules/d/index.js": "module.exports = 'ok'"}},
		"ES module, dependency":   {"index.handler", map[string]string{"index.mjs": "import d from 'd'; export const handler = async () => d", "node_modules/d/index.js": "module.exports = 'ok'"}},
		"package.json not parsed": {"index.handler", map[string]string{"index.js": "exports.handler = async () => 'ok'", "package.json": `{`}},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "package.json not parsed" && newest(t, runtimes.Node).runtime.Version >= "2" {
				t.Skip("newer Node.js refuses such a package itself")
			}
			i := launchNodeAs(t, "nodejs20.x", c.handler, c.code).ready()
			i.want(i.call(`{}`), `"ok"`)
		})
	}
}

func TestNodeInitErrorsHaveLambdasWords(t *testing.T) {
	for name, c := range map[string]struct {
		handler, code, errorType, message string
		status                            int
	}{
		"no module":      {"missing.handler", "", "Runtime.ImportModuleError", "Error: Cannot find module 'missing'\nRequire stack:\n", 129},
		"import fails":   {"index.handler", "require('nosuchthing')", "Runtime.ImportModuleError", "Error: Cannot find module 'nosuchthing'\nRequire stack:\n", 129},
		"no handler":     {"index.missing", "", "Runtime.HandlerNotFound", "index.missing is undefined or not exported", 129},
		"no function":    {"index.handler", "exports.handler = 5", "Runtime.HandlerNotFound", "index.handler is not a function", 129},
		"malformed name": {"index", "", "Runtime.MalformedHandlerName", "Bad handler", 129},
		"leads outside":  {"../x.handler", "", "Runtime.MalformedHandlerName", "'../x.handler' is not a valid handler name. Use absolute paths when specifying root directories in handler names.", 129},
		"syntax":         {"index.handler", "exports.handler = (", "Runtime.UserCodeSyntaxError", "SyntaxError: Unexpected end of input", 129},
		"exception":      {"index.handler", "throw new RangeError('boom')", "RangeError", "boom", 129},
		"rejection":      {"index.handler", "exports.handler = async () => 1; Promise.reject(new Error('lost'))", "Runtime.UnhandledPromiseRejection", "Error: lost", 128},
	} {
		t.Run(name, func(t *testing.T) {
			i := launchNode(t, c.handler, c.code)
			f := i.frame()
			if f.Kind == sandbox.FrameReady && name == "rejection" {
				t.Fatal("ready before the rejection was noticed")
			}
			i.wantError(f, sandbox.FrameInitError, c.errorType, nil)
			if got, _ := document(t, f.Body)["errorMessage"].(string); !strings.HasPrefix(got, c.message) {
				t.Errorf("message %q, want %q", got, c.message)
			}
			if e := i.exit(); e.Code != c.status {
				t.Errorf("exit %+v, want status %d", e, c.status)
			}
		})
	}
}

func TestNodeAnswersInEachWay(t *testing.T) {
	for name, c := range map[string]struct{ code, want string }{
		"async":                  {"async () => 1", `1`},
		"promise":                {"() => new Promise((r) => setTimeout(r, 5, 'later'))", `"later"`},
		"thenable":               {"() => ({then(f) { f('then') }})", `"then"`},
		"undefined":              {"async () => {}", `null`},
		"a function":             {"async () => () => 1", `null`},
		"callback":               {"(e, c, cb) => cb(null, 2)", `2`},
		"callback, nothing":      {"(e, c, cb) => cb()", `null`},
		"callback, later":        {"(e, c, cb) => { setTimeout(cb, 5, null, 3) }", `3`},
		"callback, twice":        {"(e, c, cb) => { cb(null, 1); cb(null, 2) }", `1`},
		"callback in promise":    {"async (e, c, cb) => { cb(null, 'cb'); return 'returned' }", `"cb"`},
		"done":                   {"(e, c) => c.done(null, 4)", `4`},
		"succeed":                {"(e, c) => c.succeed(5)", `5`},
		"returns without answer": {"(e, c) => 6", `null`},
		"never resolves":         {"() => new Promise(() => {})", `null`},
	} {
		t.Run(name, func(t *testing.T) {
			i := launchNode(t, "index.handler", "exports.handler = "+c.code).ready()
			i.want(i.call(`{}`), c.want)
			i.want(i.call(`{}`), c.want)
		})
	}
}

func TestNodeErrorsInEachWay(t *testing.T) {
	for name, c := range map[string]struct{ code, errorType, message string }{
		"throw":             {"() => { throw new Error('a') }", "Error", "a"},
		"async throw":       {"async () => { throw new Error('b') }", "Error", "b"},
		"string":            {"async () => { throw 'text' }", "string", "text"},
		"callback":          {"(e, c, cb) => cb(new TypeError('c'))", "TypeError", "c"},
		"callback, string":  {"(e, c, cb) => cb('d')", "string", "d"},
		"fail":              {"(e, c) => c.fail('e')", "string", "e"},
		"fail, nothing":     {"(e, c) => c.fail()", "string", "handled"},
		"done":              {"(e, c) => c.done('f')", "string", "f"},
		"own error":         {"async () => { class Mine extends Error { constructor(m) { super(m); this.name = 'Mine' } }; throw new Mine('g') }", "Mine", "g"},
		"circle":            {"async () => { const a = {}; a.a = a; return a }", "Error", "Unable to stringify response body"},
		"big integer":       {"async () => 1n", "Error", "Unable to stringify response body"},
		"symbol":            {"async () => { throw Symbol('s') }", "symbol", "Symbol(s)"},
		"no prototype":      {"async () => { throw Object.create(null) }", "handled", "callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack"},
		"too large":         {"async () => 'x'.repeat(1 << 20)", "Function.ResponseSizeTooLarge", "Response payload size exceeded maximum allowed payload size (1048576 bytes)."},
		"too large, in utf": {"async () => 'é'.repeat(1 << 19)", "Function.ResponseSizeTooLarge", "Response payload size exceeded maximum allowed payload size (1048576 bytes)."},
	} {
		t.Run(name, func(t *testing.T) {
			i := launchNode(t, "index.handler", "exports.handler = "+c.code).ready()
			for range 2 {
				i.wantError(i.call(`{}`), sandbox.FrameFailure, c.errorType, map[string]any{
					"errorType": c.errorType, "errorMessage": c.message,
				})
			}
			if !strings.Contains(i.fullLog(), "\t11111111-2222-3333-4444-555555555555\tERROR\tInvoke Error \t{") {
				t.Error("the error is not in the log")
			}
		})
	}
}

func TestNodeWaitsForAnEmptyEventLoopUnlessToldNotTo(t *testing.T) {
	const code = `
let done = '';
exports.handler = (event, context, callback) => {
  context.callbackWaitsForEmptyEventLoop = event.wait;
  const before = done;
  done = 'no';
  setTimeout(() => { done = 'yes'; console.log('timer ran'); }, 60);
  callback(null, before);
};`
	i := launchNode(t, "index.handler", code).ready()
	i.want(i.call(`{"wait": true}`), `""`)
	i.want(i.call(`{"wait": true}`), `"yes"`)

	i = launchNode(t, "index.handler", code).ready()
	i.want(i.call(`{"wait": false}`), `""`)
	if strings.Contains(i.fullLog(), "timer ran") {
		t.Error("waited for the event loop")
	}
}

// TestNodeBackgroundWorkGoesOnInTheNextCall is Lambda's behaviour: an idle
// instance is frozen, and what it had started goes on when it thaws.
func TestNodeBackgroundWorkGoesOnInTheNextCall(t *testing.T) {
	i := launchNode(t, "index.handler", `
let ran = false;
exports.handler = async (event) => {
  if (event === 1) { setTimeout(() => { ran = true; }, 1); return ran; }
  for (let n = 0; n < 1000 && !ran; n++) await new Promise((r) => setTimeout(r, 1));
  return ran;
};`).ready()
	i.want(i.call(`1`), `false`)
	i.want(i.call(`2`), `true`)
}

// TestNodeKeepsCallsApart has a callback of one call come late, in the next.
func TestNodeKeepsCallsApart(t *testing.T) {
	i := launchNode(t, "index.handler", `
let late;
exports.handler = (event, context, callback) => {
  if (event === 1) {
    late = () => { callback(null, 'late'); context.done(null, 'late'); context.fail('late'); };
    return Promise.resolve('first');
  }
  late();
  return new Promise(() => {}); // answered null for want of anything else to do
};`).ready()
	i.want(i.call(`1`), `"first"`)
	i.want(i.call(`2`), `null`)
	i.want(i.call(`1`), `"first"`)
}

// TestNodeSeesSocketsThatClosedWhileIdle has the handler keep a connection in
// an agent's pool, and closes it from the other side between two calls. The next comes
// when the event loop had no turn for longer than calls in a row are served without one.
func TestNodeSeesSocketsThatClosedWhileIdle(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.RemoteAddr)
	}))
	defer server.Close()
	i := launchNode(t, "index.handler", `
const http = require('http');
const agent = new http.Agent({ keepAlive: true });
exports.handler = (url) => new Promise((resolve, reject) => {
  http.get(url, { agent }, (res) => {
    let text = '';
    res.on('data', (d) => { text += d; }).on('end', () => resolve(text));
  }).on('error', reject);
});`).ready()
	url := `"` + server.URL + `"`
	first, kept := i.call(url), i.call(url)
	if string(first.Body) != string(kept.Body) {
		t.Fatalf("connections %s and %s: the agent does not keep them, so this test shows nothing", first.Body, kept.Body)
	}
	for range 5 {
		server.CloseClientConnections()
		time.Sleep(20 * time.Millisecond)
		if f := i.call(url); f.Kind != sandbox.FrameResponse {
			t.Fatalf("frame of kind %d: %s", f.Kind, f.Body)
		}
	}
}

// TestNodeServesCallsInARowAndItsEventLoop has one call ask for a timer, and others
// follow it that leave the event loop nothing to wait for.
func TestNodeServesCallsInARowAndItsEventLoop(t *testing.T) {
	i := launchNode(t, "index.handler", `
let fired = false;
exports.handler = async (event) => {
  if (event === 'set') setTimeout(() => { fired = true; }, 1);
  return fired;
};`).ready()
	i.want(i.call(`"set"`), `false`)
	for end := time.Now().Add(hang); string(i.call(`"ask"`).Body) != "true"; {
		if time.Now().After(end) {
			t.Fatal("the timer never fired")
		}
	}
}

// TestNodeKeepsWhatACallEntersInIt has a call enter a store of an AsyncLocalStorage and
// never leave it, as libraries for tracing do.
func TestNodeKeepsWhatACallEntersInIt(t *testing.T) {
	i := launchNode(t, "index.handler", `
const { AsyncLocalStorage } = require('async_hooks');
const als = new AsyncLocalStorage();
exports.handler = async (event) => {
  const before = als.getStore() || null;
  als.enterWith(event);
  await null;
  return [before, als.getStore()];
};`).ready()
	for n := range 20 {
		i.want(i.call(fmt.Sprint(n)), fmt.Sprintf(`[null,%d]`, n))
	}
}

func TestNodeReportsWhatNobodyCaught(t *testing.T) {
	for name, c := range map[string]struct {
		code, errorType, message string
		status                   int
	}{
		"rejection":           {"async () => { Promise.reject(new Error('lost')); await new Promise((r) => setTimeout(r, 1000)) }", "Runtime.UnhandledPromiseRejection", "Error: lost", 128},
		"rejection at return": {"async () => { Promise.reject(new Error('lost')); return 1 }", "Runtime.UnhandledPromiseRejection", "Error: lost", 128},
		"exception":           {"() => new Promise(() => setTimeout(() => { throw new Error('thrown') }, 1))", "Error", "thrown", 129},
	} {
		t.Run(name, func(t *testing.T) {
			i := launchNode(t, "index.handler", "exports.handler = "+c.code).ready()
			i.wantError(i.call(`{}`), sandbox.FrameFailure, c.errorType, map[string]any{"errorMessage": c.message})
			i.ended()
			if e := i.exit(); e.Code != c.status {
				t.Errorf("exit %+v, want status %d", e, c.status)
			}
		})
	}
}

func TestNodeThatExitsSaysNothingOnTheLink(t *testing.T) {
	for name, c := range map[string]struct {
		code string
		want sandbox.Exit
	}{
		"exit":       {"async () => process.exit(3)", sandbox.Exit{Code: 3}},
		"clean exit": {"async () => process.exit(0)", sandbox.Exit{}},
		"signal":     {"async () => process.kill(process.pid, 'SIGKILL')", sandbox.Exit{Signal: 9}},
		"abort":      {"async () => process.abort()", sandbox.Exit{Signal: 6}},
	} {
		t.Run(name, func(t *testing.T) {
			i := launchNode(t, "index.handler", "exports.handler = "+c.code).ready()
			i.send(sandbox.Call{Payload: []byte(`{}`)})
			i.ended()
			if got := i.exit(); got != c.want {
				t.Errorf("exit %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestNode24KnowsNoCallbacks(t *testing.T) {
	as := func(t *testing.T, code string) *instance {
		return launchNodeAs(t, "nodejs24.x", "index.handler", map[string]string{"index.js": "exports.handler = " + code})
	}
	t.Run("arity", func(t *testing.T) {
		i := as(t, "(event, context, callback) => callback(null, 1)")
		f := i.frame()
		i.wantError(f, sandbox.FrameInitError, "Runtime.CallbackHandlerDeprecated", nil)
		if m := string(f.Body); !strings.Contains(m, "AWS Lambda has removed support for callback-based function handlers starting with Node.js 24.") {
			t.Error(m)
		}
	})
	t.Run("plain return", func(t *testing.T) {
		i := as(t, "(event) => event + 1").ready()
		i.want(i.call(`1`), `2`)
	})
	t.Run("plain throw", func(t *testing.T) {
		i := as(t, "(event) => { throw new Error('x') }").ready()
		i.wantError(i.call(`1`), sandbox.FrameFailure, "Error", nil)
		i.wantError(i.call(`1`), sandbox.FrameFailure, "Error", nil)
	})
	t.Run("context", func(t *testing.T) {
		i := as(t, "async (event, context) => ['done', 'succeed', 'fail', 'callbackWaitsForEmptyEventLoop'].filter((k) => k in context)").ready()
		i.want(i.call(`1`), `[]`)
	})
	t.Run("never resolves", func(t *testing.T) {
		i := as(t, "() => new Promise(() => {})").ready()
		i.send(sandbox.Call{Payload: []byte(`{}`)})
		i.ended()
		if e := i.exit(); e != (sandbox.Exit{}) {
			t.Errorf("exit %+v", e)
		}
	})
	t.Run("default export", func(t *testing.T) {
		i := launchNodeAs(t, "nodejs24.x", "index.handler", map[string]string{"index.mjs": "export default { handler: async () => 'default' }"}).ready()
		i.want(i.call(`{}`), `"default"`)
	})
}

func TestNodeContextHasAllOfLambdas(t *testing.T) {
	i := launchNode(t, "index.handler", `
exports.handler = async (event, c) => ({
  id: c.awsRequestId, arn: c.invokedFunctionArn, name: c.functionName, version: c.functionVersion,
  memory: c.memoryLimitInMB, group: c.logGroupName, stream: c.logStreamName, identity: c.identity, client: c.clientContext,
  trace: process.env._X_AMZN_TRACE_ID, left: c.getRemainingTimeInMillis() > 0, waits: c.callbackWaitsForEmptyEventLoop,
  legacy: [typeof c.done, typeof c.succeed, typeof c.fail],
});`).ready()
	checkContext(t, i, func(doc map[string]any) {
		if want := map[string]any{"cognitoIdentityId": "pool-a", "cognitoIdentityPoolId": "pool-b"}; !equalJSON(doc["identity"], want) {
			t.Errorf("identity %v, want %v", doc["identity"], want)
		}
		if want := map[string]any{"custom": map[string]any{"k": "v"}, "env": map[string]any{"locale": "en"}, "client": map[string]any{"app_title": "title"}}; !equalJSON(doc["client"], want) {
			t.Errorf("client context %v, want %v", doc["client"], want)
		}
		if want := []string{"function", "function", "function"}; !equalJSON(doc["legacy"], want) || doc["waits"] != true {
			t.Errorf("legacy members %v, waits %v", doc["legacy"], doc["waits"])
		}
	})
	i.want(i.call(`{}`), string(i.call(`{}`).Body)) // the trace id is gone, not kept
	i.send(sandbox.Call{ClientContext: "{", Payload: []byte(`{}`)})
	i.wantError(i.frame(), sandbox.FrameFailure, "Error", nil)
	i.wantError(i.call(`{"cut`), sandbox.FrameFailure, "SyntaxError", nil)
}

func TestNodeLogsInLambdasForm(t *testing.T) {
	i := launchNode(t, "index.handler", `
console.log('at init');
exports.handler = async () => {
  console.log('told %d', 5, { a: 1 });
  console.debug('d'); console.info('i'); console.warn('w'); console.error('e'); console.trace('t');
  console.log('two\nlines');
  process.stdout.write('to stdout\n');
  process.stderr.write('to stderr\n');
};`).ready()
	i.want(i.call(`{}`), `null`)
	const time, id = `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`, `11111111-2222-3333-4444-555555555555`
	for _, re := range []string{
		`^` + time + `\tundefined\tINFO\tat init$`, `^` + time + `\t` + id + `\tINFO\ttold 5 { a: 1 }$`,
		`\t` + id + `\tDEBUG\td$`, `\tINFO\ti$`, `\tWARN\tw$`, `\tERROR\te$`, `\tTRACE\tt$`,
		`\tINFO\ttwo\nlines$`, `^to stdout$`, `^to stderr$`,
	} {
		if !regexp.MustCompile(`(?m)` + re).MatchString(i.fullLog()) {
			t.Errorf("log does not match %s:\n%s", re, i.log)
		}
	}
}

func TestNodeLogsJSONWhenAsked(t *testing.T) {
	v := function.Version{Config: function.Config{Runtime: "nodejs20.x", Handler: "index.handler"}}
	v.Env = map[string]string{"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "warn"}
	i := launch(t, newest(t, runtimes.Node), v, map[string]string{"index.js": `
exports.handler = async () => {
  console.info('not told'); console.warn({ order: 7 }); console.warn('%d', 5, new Error('inner'));
  throw new RangeError('x');
};`}).ready()
	i.wantError(i.call(`{}`), sandbox.FrameFailure, "RangeError", nil)
	for _, re := range []string{
		`(?m)^{"timestamp":"[^"]+Z","level":"WARN","requestId":"11111111-[^"]+","message":{"order":7}}$`,
		`"message":"5 Error: inner[^"]*","errorType":"Error","errorMessage":"inner","stackTrace":\[`,
		`"level":"ERROR","requestId":"[^"]+","message":{"errorType":"RangeError","errorMessage":"x"`,
	} {
		if !regexp.MustCompile(re).MatchString(i.fullLog()) {
			t.Errorf("log does not match %s:\n%s", re, i.log)
		}
	}
	if strings.Contains(i.fullLog(), "not told") {
		t.Error("a record under the level is in the log")
	}
}

func TestNodeKeepsTheLinkToItself(t *testing.T) {
	i := launchNode(t, "index.handler", `
const fs = require('fs'), { execFileSync } = require('child_process');
exports.handler = async () => {
  fs.writeSync(1, 'written to 1\n');
  execFileSync('/bin/sh', ['-c', "echo from a child; cat; ls /proc/self/fd | tr '\\n' ' '"], { stdio: 'inherit' });
  return [fs.readFileSync(0, 'utf8'), process.argv.length];
};`).ready()
	i.want(i.call(`{}`), `["",2]`)
	i.want(i.call(`{}`), `["",2]`)
	log := i.fullLog()
	if !strings.Contains(log, "written to 1\n") || !strings.Contains(log, "from a child\n") || !strings.Contains(log, "0 1 2 ") || strings.Contains(log, " 4 ") {
		t.Errorf("want what was written, and children without the link's descriptors (3 is the listing's own):\n%s", log)
	}
}

func TestNodeTakesPayloadsOfAnySize(t *testing.T) {
	i := launchNode(t, "index.handler", "exports.handler = async (e) => [e.length, e.slice(0, 1000000)]").ready()
	for _, n := range []int{1, 60_000, 65_520, 65_536, 70_000, 6 << 20, 10} {
		text := strings.Repeat("y", n)
		f := i.call(`"` + text + `"`)
		if want := text[:min(n, 1_000_000)]; !strings.HasSuffix(string(f.Body), `,"`+want+`"]`) {
			t.Errorf("payload of %d bytes came back as %.60q…", n, f.Body)
		}
	}
}

func TestNodeEndsInAnOrderlyWay(t *testing.T) {
	const code = "process.on('exit', () => console.log('at exit')); exports.handler = async () => 1"
	for name, c := range map[string]struct {
		end  func(*instance)
		want sandbox.Exit
		log  string
	}{
		"shutdown":  {func(i *instance) { i.write(sandbox.Frame{Kind: sandbox.FrameShutdown}) }, sandbox.Exit{}, "at exit"},
		"host gone": {func(i *instance) { i.in.Close() }, sandbox.Exit{}, "at exit"},
		"unknown":   {func(i *instance) { i.write(sandbox.Frame{Kind: 99}) }, sandbox.Exit{Code: 1}, "unknown kind 99"},
	} {
		t.Run(name, func(t *testing.T) {
			i := launchNode(t, "index.handler", code).ready()
			c.end(i)
			if e := i.exit(); e != c.want || !strings.Contains(i.log.String(), c.log) {
				t.Errorf("exit %+v, want %+v; log %s", e, c.want, i.log)
			}
		})
	}
}
