package guest

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/runtimes"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

var detected = sync.OnceValues(func() (*runtimes.Catalog, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/nonexistent"
	}
	return runtimes.Detect(context.Background(), runtimes.Config{
		Dirs:        []string{"/usr/local/bin", "/usr/bin", "/bin"},
		VersionDirs: []string{home + "/.pyenv/versions", home + "/.nvm/versions/node"},
	})
})

// interpreters returns those of a family that this machine has, the oldest first.
func interpreters(t *testing.T, family runtimes.Family) []interpreter {
	t.Helper()
	catalog, err := detected()
	if err != nil {
		t.Fatal(err)
	}
	var list []interpreter
	for _, r := range catalog.Found() {
		if r.Family == family {
			list = append(list, interpreter{r, r.Interpreter})
		}
	}
	if len(list) == 0 {
		t.Skipf("this machine has no %s", family)
	}
	return list
}

func newest(t *testing.T, family runtimes.Family) interpreter {
	t.Helper()
	list := interpreters(t, family)
	return list[len(list)-1]
}

func launchPython(t *testing.T, handler, code string) *instance {
	t.Helper()
	return launch(t, newest(t, runtimes.Python), withHandler(handler), map[string]string{"app.py": code})
}

func withHandler(handler string) function.Version {
	return function.Version{Config: function.Config{Handler: handler}}
}

func TestEachPythonAnswersCallsAndErrors(t *testing.T) {
	const code = `
import sys
def handler(event, context):
    if event is None:
        raise ValueError("no event")
    print("hello from", sys.version_info[1])
    return {"event": event, "left": 0 < context.get_remaining_time_in_millis() <= 3000}
`
	for _, in := range interpreters(t, runtimes.Python) {
		t.Run(in.runtime.Name, func(t *testing.T) {
			i := launch(t, in, withHandler("app.handler"), map[string]string{"app.py": code}).ready()
			letter := "é"
			if escapes := []string{"python3.8", "python3.9", "python3.10", "python3.11"}; slices.Contains(escapes, in.runtime.Name) {
				letter = `\u00e9`
			}
			i.want(i.call(`{"a": [1, 2.5, "é"]}`), `{"event": {"a": [1, 2.5, "`+letter+`"]}, "left": true}`)
			i.wantError(i.call(`null`), sandbox.FrameFailure, "ValueError", map[string]any{
				"errorMessage": "no event",
				"requestId":    "11111111-2222-3333-4444-555555555555",
				"stackTrace":   []string{`  File "` + i.cmd.Dir + `/app.py", line 5, in handler` + "\n    raise ValueError(\"no event\")\n"},
			})
			i.want(i.call(`1`), `{"event": 1, "left": true}`)
			if !strings.Contains(i.fullLog(), "hello from ") {
				t.Error("what was printed is not in the log")
			}
		})
	}
}

func TestPythonResolvesHandlers(t *testing.T) {
	code := map[string]string{
		"app.py":             "def handler(e, c): return 'app'",
		"pkg/__init__.py":    "",
		"pkg/mod.py":         "def fn(e, c): return 'pkg.mod'",
		"dir/file.py":        "def fn(e, c): return 'dir/file'",
		"obj.py":             "class C:\n    def __call__(self, e, c): return 'obj'\nhandler = C()",
		"json_shadow.py":     "import helper\ndef fn(e, c): return helper.x",
		"helper.py":          "x = 'sibling'",
		"deep/er/still.py":   "def fn(e, c): return 'deep'",
		"bootstrap.py":       "def handler(e, c): return 'own bootstrap'",
		"site/extra/more.py": "x = 'from a path file'",
		"extra.pth":          "site/extra\n",
		"viapth.py":          "import more\ndef fn(e, c): return more.x",
	}
	for handler, want := range map[string]string{
		"app.handler": "app", "pkg.mod.fn": "pkg.mod", "dir/file.fn": "dir/file", "obj.handler": "obj",
		"json_shadow.fn": "sibling", "deep/er/still.fn": "deep", "bootstrap.handler": "own bootstrap",
		"viapth.fn": "from a path file",
	} {
		t.Run(strings.ReplaceAll(handler, "/", "_"), func(t *testing.T) {
			i := launch(t, newest(t, runtimes.Python), withHandler(handler), code).ready()
			i.want(i.call(`{}`), `"`+want+`"`)
		})
	}
}

func TestPythonInitErrorsHaveLambdasWords(t *testing.T) {
	for name, c := range map[string]struct{ handler, code, errorType, message string }{
		"no module":      {"missing.handler", "", "Runtime.ImportModuleError", "Unable to import module 'missing': No module named 'missing'"},
		"import fails":   {"app.handler", "import nosuchthing", "Runtime.ImportModuleError", "Unable to import module 'app': No module named 'nosuchthing'"},
		"no handler":     {"app.missing", "", "Runtime.HandlerNotFound", "Handler 'missing' missing on module 'app'"},
		"malformed name": {"app", "", "Runtime.MalformedHandlerName", "Bad handler 'app': not enough values to unpack (expected 2, got 1)"},
		"syntax":         {"app.handler", "def handler(:\n", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app': invalid syntax (app.py, line 1)"},
		"built-in":       {"sys.exit", "", "Runtime.BuiltInModuleConflict", "Cannot use built-in module sys as a handler module"},
		"exception":      {"app.handler", "raise KeyError('boom')", "KeyError", "'boom'"},
	} {
		t.Run(name, func(t *testing.T) {
			i := launchPython(t, c.handler, c.code)
			i.wantError(i.frame(), sandbox.FrameInitError, c.errorType, map[string]any{"errorMessage": c.message})
			if e := i.exit(); e.Code != 1 {
				t.Errorf("exit %+v, want status 1", e)
			}
			if want := "[ERROR] " + c.errorType + ": " + c.message + "\nTraceback (most recent call last):\n"; !strings.Contains(i.log.String(), want) {
				t.Errorf("log lacks %q", want)
			}
		})
	}
}

func TestPythonStackTracesHoldTheFunctionsFramesOnly(t *testing.T) {
	i := launchPython(t, "app.handler", "import json\ndef inner():\n    json.loads('{')\ndef handler(e, c):\n    inner()\n").ready()
	f := i.call(`{}`)
	for _, not := range []string{"bootstrap.py", "importlib"} {
		if strings.Contains(string(f.Body), not) {
			t.Errorf("%s in %s", not, f.Body)
		}
	}
	if !strings.Contains(string(f.Body), `line 3, in inner`) || !strings.Contains(string(f.Body), `line 5, in handler`) {
		t.Errorf("frames missing in %s", f.Body)
	}
	i = launchPython(t, "app.handler", "def f():\n    raise OSError('init')\nf()\n")
	f = i.frame()
	if strings.Contains(string(f.Body), "importlib") || !strings.Contains(string(f.Body), `line 2, in f`) {
		t.Errorf("want the function's frames only in %s", f.Body)
	}
}

func TestPythonMarshalsAsLambdaDoes(t *testing.T) {
	const code = `
import decimal, collections, enum, datetime
P = collections.namedtuple("P", "x y")
class E(enum.IntEnum):
    A = 3
circle = []
circle.append(circle)
values = {
    "none": None, "tuple": (1, 2), "bytes": b"\x00raw", "inner bytes": {"b": b"text"},
    "decimal": {"d": [decimal.Decimal("1.10"), decimal.Decimal("12345678901234567890.123456789")]},
    "decimal nan": decimal.Decimal("nan"), "named tuple": [P(1, P(2, None))], "enum": E.A, "ordered": collections.OrderedDict(a=1),
    "set": {1}, "circle": circle, "time": datetime.datetime(2024, 1, 1), "surrogate": "\ud800", "nan": float("nan"), "key": {1: 2},
    "large": "x" * (1 << 20), "bad key": {(1, 2): 3},
}
def handler(event, context):
    return values[event]
`
	i := launch(t, newest(t, runtimes.Python), function.Version{Config: function.Config{Handler: "app.handler", Runtime: "python3.13"}}, map[string]string{"app.py": code}).ready()
	for event, want := range map[string]string{
		"none": `null`, "tuple": `[1, 2]`, "bytes": "\x00raw", "inner bytes": `{"b": "text"}`,
		"decimal": `{"d": [1.10, 12345678901234567890.123456789]}`, "decimal nan": `NaN`,
		"named tuple": `[{"x": 1, "y": {"x": 2, "y": null}}]`, "enum": `3`, "ordered": `{"a": 1}`, "nan": `NaN`, "key": `{"1": 2}`,
	} {
		i.want(i.call(`"`+event+`"`), want)
	}
	for event, want := range map[string]string{
		"set":       "Unable to marshal response: Object of type set is not JSON serializable",
		"circle":    "Unable to marshal response: Circular reference detected",
		"time":      "Unable to marshal response: Object of type datetime is not JSON serializable",
		"bad key":   "Unable to marshal response: keys must be str, int, float, bool or None, not tuple",
		"surrogate": `Unable to marshal response: 'utf-8' codec can't encode character '\ud800' in position 1: surrogates not allowed`,
	} {
		i.wantError(i.call(`"`+event+`"`), sandbox.FrameFailure, "Runtime.MarshalError", map[string]any{"errorMessage": want, "stackTrace": []string{}})
	}
	i.wantError(i.call(`"large"`), sandbox.FrameFailure, "Function.ResponseSizeTooLarge", map[string]any{
		"errorMessage": "Response payload size exceeded maximum allowed payload size (1048576 bytes)."})
	i.wantError(i.call(`{"cut`), sandbox.FrameFailure, "Runtime.UnmarshalError", map[string]any{
		"errorMessage": "Unable to unmarshal input: Unterminated string starting at: line 1 column 2 (char 1)"})
	i.want(i.call(`"none"`), `null`)
}

func TestPythonContextHasAllOfLambdas(t *testing.T) {
	const code = `
import os
def handler(event, context):
    c = context.client_context
    return {
        "id": context.aws_request_id, "arn": context.invoked_function_arn, "name": context.function_name,
        "version": context.function_version, "memory": context.memory_limit_in_mb, "group": context.log_group_name,
        "stream": context.log_stream_name, "identity": [context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id],
        "client": c and [c.custom, c.env, c.client and c.client.app_title], "tenant": context.tenant_id,
        "trace": os.environ.get("_X_AMZN_TRACE_ID"), "left": context.get_remaining_time_in_millis() > 0,
    }
`
	i := launchPython(t, "app.handler", code).ready()
	checkContext(t, i, func(doc map[string]any) {
		if want := []any{"pool-a", "pool-b"}; !equalJSON(doc["identity"], want) {
			t.Errorf("identity %v, want %v", doc["identity"], want)
		}
		if want := []any{map[string]any{"k": "v"}, map[string]any{"locale": "en"}, "title"}; !equalJSON(doc["client"], want) {
			t.Errorf("client context %v, want %v", doc["client"], want)
		}
	})
	f := i.call(`{}`)
	for _, want := range []string{`"client": null`, `"identity": [null, null]`, `"trace": null`} {
		if !strings.Contains(string(f.Body), want) {
			t.Errorf("%s missing in %s", want, f.Body)
		}
	}
	i.send(sandbox.Call{ClientContext: "{"})
	i.wantError(i.frame(), sandbox.FrameFailure, "Runtime.LambdaContextUnmarshalError", nil)
}

func TestPythonLogsInLambdasForm(t *testing.T) {
	const code = `
import logging, sys
log = logging.getLogger("x")
log.setLevel(logging.INFO)
log.info("at init")
def handler(event, context):
    print("plain")
    log.info("told %d", 5)
    log.debug("not told")
    context.log("from the context\n")
    sys.stderr.write("to stderr\n")
    print("no newline", end="")
    sys.stdout.write("")
`
	i := launchPython(t, "app.handler", code).ready()
	i.want(i.call(`{}`), `null`)
	log := i.fullLog()
	for _, re := range []string{
		`(?m)^\[INFO\]\t\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\t\tat init$`,
		`(?m)^plain$`,
		`(?m)^\[INFO\]\t\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\t11111111-2222-3333-4444-555555555555\ttold 5$`,
		`(?m)^from the context$`, `(?m)^to stderr$`, `no newline$`,
	} {
		if !regexp.MustCompile(re).MatchString(log) {
			t.Errorf("log does not match %s:\n%s", re, log)
		}
	}
	if strings.Contains(log, "not told") {
		t.Error("a record under the level is in the log")
	}
}

func TestPythonLogsJSONWhenAsked(t *testing.T) {
	v := withHandler("app.handler")
	v.Env = map[string]string{"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "info"}
	i := launch(t, newest(t, runtimes.Python), v, map[string]string{"app.py": `
import logging
def handler(event, context):
    logging.info("told", extra={"order": 7})
    raise ValueError("x")
`}).ready()
	i.wantError(i.call(`{}`), sandbox.FrameFailure, "ValueError", nil)
	re := `(?m)^{"timestamp": "[^"]+Z", "level": "INFO", "message": "told", "logger": "root", "requestId": "11111111-[^"]+", "order": 7}$`
	if !regexp.MustCompile(re).MatchString(i.fullLog()) {
		t.Errorf("log does not match %s:\n%s", re, i.log)
	}
	if want := `"log_level": "ERROR", "errorMessage": "x", "errorType": "ValueError"`; !strings.Contains(i.fullLog(), want) {
		t.Errorf("log lacks %s:\n%s", want, i.log)
	}
}

func TestPythonThatExitsSaysNothingOnTheLink(t *testing.T) {
	for name, c := range map[string]struct {
		code string
		want sandbox.Exit
	}{
		"sys.exit":   {"import sys\ndef handler(e, c): sys.exit(3)", sandbox.Exit{Code: 3}},
		"clean exit": {"import sys\ndef handler(e, c): sys.exit()", sandbox.Exit{}},
		"os._exit":   {"import os\ndef handler(e, c): os._exit(7)", sandbox.Exit{Code: 7}},
		"signal":     {"import os\ndef handler(e, c): os.kill(os.getpid(), 9)", sandbox.Exit{Signal: 9}},
	} {
		t.Run(name, func(t *testing.T) {
			i := launchPython(t, "app.handler", c.code).ready()
			i.send(sandbox.Call{Payload: []byte(`{}`)})
			i.ended()
			if got := i.exit(); got != c.want {
				t.Errorf("exit %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestPythonKeepsTheLinkToItself(t *testing.T) {
	i := launchPython(t, "app.handler", `
import os, subprocess, sys, multiprocessing
def handler(event, context):
    os.write(1, b"written to 1\n")
    subprocess.run(["/bin/sh", "-c", "echo from a child; cat; ls /proc/self/fd | tr '\\n' ' '"], check=True)
    pid = os.fork()
    if pid == 0:
        opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(2)]  # where the link was
        pid = os.fork()
        if pid == 0:
            for fd in opened:
                os.fstat(fd)
            os._exit(0)
        os._exit(os.waitpid(pid, 0)[1] >> 8)
    return [sys.stdin.read(), os.read(0, 1).decode(), sys.argv[1:], os.waitpid(pid, 0)[1]]
`).ready()
	i.want(i.call(`{}`), `["", "", [], 0]`)
	i.want(i.call(`{}`), `["", "", [], 0]`)
	log := i.fullLog()
	if !strings.Contains(log, "written to 1\n") || !strings.Contains(log, "from a child\n") || !strings.Contains(log, "0 1 2 ") || strings.Contains(log, " 4 ") {
		t.Errorf("want what was written, and children without the link's descriptors (3 is the listing's own):\n%s", log)
	}
}

func TestPythonEndsInAnOrderlyWay(t *testing.T) {
	const code = "import atexit\natexit.register(print, 'at exit')\ndef handler(e, c): pass"
	t.Run("shutdown", func(t *testing.T) {
		i := launchPython(t, "app.handler", code).ready()
		i.write(sandbox.Frame{Kind: sandbox.FrameShutdown})
		if e := i.exit(); e != (sandbox.Exit{}) || !strings.Contains(i.log.String(), "at exit") {
			t.Errorf("exit %+v, log %s", e, i.log)
		}
	})
	t.Run("host gone", func(t *testing.T) {
		i := launchPython(t, "app.handler", code).ready()
		i.in.Close()
		if e := i.exit(); e != (sandbox.Exit{}) {
			t.Errorf("exit %+v", e)
		}
	})
	t.Run("unknown frame", func(t *testing.T) {
		i := launchPython(t, "app.handler", code).ready()
		i.write(sandbox.Frame{Kind: 99})
		if e := i.exit(); e.Code != 1 || !strings.Contains(i.log.String(), "unknown kind 99") {
			t.Errorf("exit %+v, log %s", e, i.log)
		}
	})
}

func TestPythonTakesPayloadsOfAnySize(t *testing.T) {
	i := launchPython(t, "app.handler", "def handler(e, c): return [len(e), e[:1000000]]").ready()
	for _, n := range []int{1, 60_000, 65_520, 65_536, 70_000, 6 << 20} {
		text := strings.Repeat("y", n)
		f := i.call(`"` + text + `"`)
		want := text[:min(n, 1_000_000)]
		if !strings.HasSuffix(string(f.Body), `, "`+want+`"]`) {
			t.Errorf("payload of %d bytes came back as %.60q…", n, f.Body)
		}
	}
}

// TestPythonTakesAFrameThatComesInPieces cuts a frame everywhere that matters.
func TestPythonTakesAFrameThatComesInPieces(t *testing.T) {
	i := launchPython(t, "app.handler", "def handler(e, c): return e").ready()
	c := sandbox.Call{RequestID: "r", Deadline: time.Now().Add(time.Second)}
	whole := sandbox.AppendFrame(nil, sandbox.Frame{Kind: sandbox.FrameInvoke, Header: i.g.Header(nil, i.v, &c), Body: []byte(`"in pieces"`)})
	for _, b := range whole {
		if _, err := i.in.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	i.want(i.frame(), `"in pieces"`)
	if _, err := i.in.Write(append(append([]byte(nil), whole...), whole...)); err != nil {
		t.Fatal(err)
	}
	i.want(i.frame(), `"in pieces"`)
	i.want(i.frame(), `"in pieces"`)
}

// checkContext calls a handler that returns its context under agreed names.
func checkContext(t *testing.T, i *instance, more func(map[string]any)) {
	t.Helper()
	checkContextOf(t, i, `{}`, more)
}

func checkContextOf(t *testing.T, i *instance, payload string, more func(map[string]any)) {
	t.Helper()
	i.send(sandbox.Call{
		Payload: []byte(payload), InvokedName: "hello:prod", TraceID: "Root=1-2-3;Sampled=0",
		ClientContext: "{\"custom\": {\"k\": \"v\"},\n\"env\": {\"locale\": \"en\"}, \"client\": {\"app_title\": \"title\"}}",
		Identity:      `{"cognitoIdentityId": "pool-a", "cognitoIdentityPoolId": "pool-b"}`,
	})
	f := i.frame()
	doc := document(t, f.Body)
	for k, want := range map[string]any{
		"id": "11111111-2222-3333-4444-555555555555", "arn": "arn:aws:lambda:us-east-1:000000000000:function:hello:prod",
		"name": "hello", "version": "$LATEST", "memory": "128", "group": "/aws/lambda/hello",
		"trace": "Root=1-2-3;Sampled=0", "left": true,
	} {
		if doc[k] != want {
			t.Errorf("%s is %v, want %v", k, doc[k], want)
		}
	}
	stream, _ := doc["stream"].(string)
	if ok, err := filepath.Match("[0-9]*/[0-9]*/[0-9]*/[[]$LATEST]0123456789abcdef0123456789abcdef", stream); !ok || err != nil {
		t.Errorf("log stream %q (%v)", stream, err)
	}
	more(doc)
}
