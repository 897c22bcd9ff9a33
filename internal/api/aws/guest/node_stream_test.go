package guest

import (
	"strings"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

// streamed is a streamed answer as the host got it.
type streamed struct {
	head string
	body string
	end  sandbox.Frame
}

// stream reads a streamed answer.
func (i *instance) stream() streamed {
	i.t.Helper()
	f := i.frame()
	if f.Kind != sandbox.FrameHead {
		i.t.Fatalf("frame of kind %d instead of a head: %s", f.Kind, f.Body)
	}
	s := streamed{head: string(f.Header)}
	for {
		switch f = i.frame(); f.Kind {
		case sandbox.FrameChunk:
			s.body += string(f.Body)
		case sandbox.FrameEnd:
			s.end = f
			return s
		default:
			i.t.Fatalf("frame of kind %d within an answer: %s", f.Kind, f.Body)
		}
	}
}

// callStream sends payload and returns the streamed answer.
func (i *instance) callStream(payload string) streamed {
	i.t.Helper()
	i.send(sandbox.Call{Payload: []byte(payload)})
	return i.stream()
}

const plainHead = "Content-Type: application/octet-stream\r\n"

func TestNodeStreamsItsAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		code string // of the handler's body
		head string
		body string
	}{
		"parts":                      {`out.setContentType('text/plain'); out.write('one'); out.write(Buffer.from('two')); out.write(new Uint8Array([33])); out.end('end')`, "Content-Type: text/plain\r\n", "onetwo!end"},
		"other values are JSON":      {`out.write({a: event}); out.end([1])`, plainHead, `{"a":1}[1]`},
		"nothing":                    {`out.end()`, plainHead, ""},
		"nobody ends it":             {`out.write('x')`, plainHead, "x"},
		"ends after the handler":     {`setTimeout(() => out.end('late'), 20)`, plainHead, "late"},
		"handler that never is done": {`out.write('x'); return new Promise(() => {})`, plainHead, "x"},
		"pipeline":                   {`await require('stream/promises').pipeline(require('stream').Readable.from(['a', 'b', 'c']), out)`, plainHead, "abc"},
		"much": {`
			const part = 'x'.repeat(100000);
			let waits = 0;
			for (let i = 0; i < 50; i++) if (!out.write(part)) { waits++; await new Promise((r) => out.once('drain', r)); }
			out.end(String(waits > 0))`, plainHead, strings.Repeat("x", 5_000_000) + "true"},
		"HTTP": {`
			out = awslambda.HttpResponseStream.from(out, {statusCode: 201, headers: {a: 'b'}});
			out.write('body'); out.end()`, "Content-Type: application/vnd.awslambda.http-integration-response\r\n", `{"statusCode":201,"headers":{"a":"b"}}` + "\x00\x00\x00\x00\x00\x00\x00\x00body"},
		"HTTP without a body": {`awslambda.HttpResponseStream.from(out, {statusCode: 204}).end()`,
			"Content-Type: application/vnd.awslambda.http-integration-response\r\n", `{"statusCode":204}` + "\x00\x00\x00\x00\x00\x00\x00\x00"},
		"header that is none": {`out.setContentType('a\r\nError-Type: b'); out.end()`, "Content-Type: aError-Type: b\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			i := launchNodeAs(t, "nodejs22.x", "index.handler", map[string]string{"index.js": `
exports.handler = awslambda.streamifyResponse(async (event, out, context) => {` + c.code + `});`}).ready()
			for range 2 { // the second call shows that the first left nothing behind
				s := i.callStream(`1`)
				if s.head != c.head || s.body != c.body || len(s.end.Header) != 0 {
					t.Errorf("head %q, %d bytes %.60q, end %q", s.head, len(s.body), s.body, s.end.Header)
				}
			}
		})
	}
}

func TestNodePartsLeaveWhileTheHandlerRuns(t *testing.T) {
	i := launchNodeAs(t, "nodejs22.x", "index.handler", map[string]string{"index.js": `
const fs = require('fs');
exports.handler = awslambda.streamifyResponse(async (event, out) => {
  out.write('first');
  while (!fs.existsSync('go')) await new Promise((r) => setTimeout(r, 2));
  out.end('second');
});`}).ready()
	i.send(sandbox.Call{Payload: []byte(`{}`)})
	if f := i.frame(); f.Kind != sandbox.FrameHead {
		t.Fatalf("frame of kind %d instead of a head", f.Kind)
	}
	if f := i.frame(); string(f.Body) != "first" {
		t.Fatalf("first part %q", f.Body)
	}
	writeFile(t, i.cmd.Dir+"/go")
	if f := i.frame(); string(f.Body) != "second" {
		t.Fatalf("second part %q", f.Body)
	}
	if f := i.frame(); f.Kind != sandbox.FrameEnd {
		t.Fatalf("frame of kind %d instead of the end", f.Kind)
	}
}

func TestNodeStreamsThatFail(t *testing.T) {
	for name, c := range map[string]struct {
		code string
		body string // "" for a failure before the first part
		typ  string
		dies bool
	}{
		"before the first part":     {code: `throw new TypeError('early')`, typ: "TypeError"},
		"midway":                    {code: `out.write('part'); throw new TypeError('late')`, body: "part", typ: "TypeError"},
		"destroyed midway":          {code: `out.write('part'); await new Promise((r) => setTimeout(r, 50)); out.destroy(new RangeError('gone'))`, body: "part", typ: "RangeError"},
		"a pipeline's source":       {code: `await require('stream/promises').pipeline(async function* () { yield 'part'; await new Promise((r) => setTimeout(r, 50)); throw new RangeError('source') }, out)`, body: "part", typ: "RangeError"},
		"uncaught, midway":          {code: `out.write('part'); await new Promise((r) => setTimeout(r, 50)); setImmediate(() => { throw new TypeError('nobody') }); await new Promise(() => {})`, body: "part", typ: "TypeError", dies: true},
		"uncaught, before the head": {code: `setImmediate(() => { throw new TypeError('nobody') }); await new Promise((r) => setTimeout(r, 10000))`, typ: "TypeError", dies: true},
	} {
		t.Run(name, func(t *testing.T) {
			i := launchNodeAs(t, "nodejs22.x", "index.handler", map[string]string{"index.js": `
exports.handler = awslambda.streamifyResponse(async (event, out) => {` + c.code + `});`}).ready()
			calls := 2
			if c.dies {
				calls = 1
			}
			for range calls {
				i.send(sandbox.Call{Payload: []byte(`{}`)})
				if c.body == "" {
					i.wantError(i.frame(), sandbox.FrameFailure, c.typ, nil)
					continue
				}
				s := i.stream()
				if s.body != c.body {
					t.Errorf("body %q, want %q", s.body, c.body)
				}
				i.wantError(s.end, sandbox.FrameEnd, c.typ, map[string]any{"errorType": c.typ})
			}
			if c.dies {
				i.exit()
			}
		})
	}
}
