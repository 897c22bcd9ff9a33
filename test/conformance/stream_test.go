package conformance

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/mayfly-dev/mayfly/mayflytest"
)

const nodeRuntime = "nodejs20.x"

// streamSource is a function that streams the parts in its event, and ends as the
// event says.
const streamSource = `
let calls = 0;
exports.handler = awslambda.streamifyResponse(async (event, out) => {
  calls++;
  out.setContentType('text/plain');
  for (const part of event.parts) {
    if (!out.write(part)) await new Promise((r) => out.once('drain', r));
  }
  if (event.hang) await new Promise((r) => setTimeout(r, 100000));
  if (event.fail) throw new TypeError(event.fail);
  console.log('done');
  out.end(event.count ? String(calls) : undefined);
});`

// streamedAnswer is an answer as the SDK's reader gives it.
type streamedAnswer struct {
	parts []string
	end   types.InvokeWithResponseStreamCompleteEvent
}

func (a streamedAnswer) body() string { return strings.Join(a.parts, "") }

func openStream(ctx context.Context, t *testing.T, c *lambda.Client, name, event string, change ...func(*lambda.InvokeWithResponseStreamInput)) *lambda.InvokeWithResponseStreamOutput {
	t.Helper()
	in := &lambda.InvokeWithResponseStreamInput{FunctionName: &name, Payload: []byte(event)}
	for _, f := range change {
		f(in)
	}
	out, err := c.InvokeWithResponseStream(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// readStream reads an answer to its end.
func readStream(t *testing.T, out *lambda.InvokeWithResponseStreamOutput) (a streamedAnswer) {
	t.Helper()
	s := out.GetStream()
	defer s.Close()
	complete := false
	for e := range s.Events() {
		switch e := e.(type) {
		case *types.InvokeWithResponseStreamResponseEventMemberPayloadChunk:
			a.parts = append(a.parts, string(e.Value.Payload))
		case *types.InvokeWithResponseStreamResponseEventMemberInvokeComplete:
			a.end, complete = e.Value, true
		}
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	if !complete {
		t.Error("the stream ended without InvokeComplete")
	}
	return a
}

func createStream(t *testing.T, c *lambda.Client, name string, timeout int32) {
	t.Helper()
	create(t, c, name, func(in *lambda.CreateFunctionInput) {
		in.Runtime, in.Handler = nodeRuntime, aws.String("index.handler")
		in.Timeout = &timeout
		in.Code.ZipFile = zipOf(t, "index.js", streamSource)
	})
	waitActive(t, c, name)
}

func TestStreamedAnswers(t *testing.T) {
	n := mayflytest.Start(t)
	c := sdk(n)
	createStream(t, c, "stream", 30)

	t.Run("parts and the end", func(t *testing.T) {
		out := openStream(t.Context(), t, c, "stream", `{"parts": ["one", "two"]}`, func(in *lambda.InvokeWithResponseStreamInput) {
			in.LogType = types.LogTypeTail
		})
		a := readStream(t, out)
		if a.body() != "onetwo" || a.end.ErrorCode != nil || aws.ToString(out.ExecutedVersion) != "$LATEST" {
			t.Errorf("answer %q, error %v, version %v", a.parts, a.end.ErrorCode, aws.ToString(out.ExecutedVersion))
		}
		if tail, err := base64.StdEncoding.DecodeString(aws.ToString(a.end.LogResult)); err != nil || !strings.Contains(string(tail), "done") {
			t.Errorf("log %q, %v", tail, err)
		}
	})
	t.Run("more than fits an answer in one piece", func(t *testing.T) {
		part := strings.Repeat("x", 1<<20)
		a := readStream(t, openStream(t.Context(), t, c, "stream", `{"parts": ["`+strings.Join([]string{part, part, part, part, part}, `","`)+`"], "count": true}`))
		if len(a.body()) != 5<<20+1 || a.end.ErrorCode != nil {
			t.Errorf("%d bytes, error %v", len(a.body()), a.end.ErrorCode)
		}
	})
	t.Run("error before the first part", func(t *testing.T) {
		a := readStream(t, openStream(t.Context(), t, c, "stream", `{"parts": [], "fail": "early"}`))
		if a.body() != "" || aws.ToString(a.end.ErrorCode) != "Unhandled" || !strings.Contains(aws.ToString(a.end.ErrorDetails), `"errorMessage":"early"`) {
			t.Errorf("answer %q, end %+v", a.parts, a.end)
		}
	})
	t.Run("error midway", func(t *testing.T) {
		a := readStream(t, openStream(t.Context(), t, c, "stream", `{"parts": ["part"], "fail": "late"}`))
		if a.body() != "part" || aws.ToString(a.end.ErrorCode) != "Unhandled" || !strings.Contains(aws.ToString(a.end.ErrorDetails), `"errorType":"TypeError"`) {
			t.Errorf("answer %q, end %+v", a.parts, a.end)
		}
	})
	t.Run("caller who wants the whole", func(t *testing.T) {
		out, err := c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("stream"), Payload: []byte(`{"parts": ["one", "two"]}`)})
		if err != nil || string(out.Payload) != "onetwo" || out.FunctionError != nil {
			t.Errorf("answer %q, %v, %v", out.Payload, aws.ToString(out.FunctionError), err)
		}
	})
	t.Run("caller who leaves ends the call", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := openStream(ctx, t, c, "stream", `{"parts": ["first"], "hang": true}`).GetStream()
		e, ok := (<-s.Events()).(*types.InvokeWithResponseStreamResponseEventMemberPayloadChunk)
		if !ok || string(e.Value.Payload) != "first" { // it is here although its function still runs
			t.Fatalf("first event %+v", e)
		}
		cancel()
		s.Close()
		a := readStream(t, openStream(t.Context(), t, c, "stream", `{"parts": [], "count": true}`))
		if a.body() != "1" {
			t.Errorf("call number %s of its instance: the call that nobody read should have ended with its instance", a.body())
		}
	})
	t.Run("refusals", func(t *testing.T) {
		_, err := c.InvokeWithResponseStream(t.Context(), &lambda.InvokeWithResponseStreamInput{FunctionName: aws.String("nothing")})
		wantCode(t, err, 404, "ResourceNotFoundException", "Function not found")
		_, err = c.InvokeWithResponseStream(t.Context(), &lambda.InvokeWithResponseStreamInput{FunctionName: aws.String("stream"), Payload: []byte("{")})
		wantCode(t, err, 400, "InvalidRequestContentException", "Could not parse request body into json")
	})
}

func TestStreamIsCutAtTheTimeLimit(t *testing.T) {
	c := sdk(mayflytest.Start(t))
	createStream(t, c, "stream-late", 1)
	a := readStream(t, openStream(t.Context(), t, c, "stream-late", `{"parts": ["first"], "hang": true}`))
	if a.body() != "first" || !strings.Contains(aws.ToString(a.end.ErrorDetails), "Task timed out after 1.00 seconds") {
		t.Errorf("answer %q, end %+v, details %s", a.parts, a.end, aws.ToString(a.end.ErrorDetails))
	}
}

func TestAnswerInOnePieceIsOneChunk(t *testing.T) {
	c := sdk(mayflytest.Start(t))
	create(t, c, "one-piece")
	waitActive(t, c, "one-piece")
	a := readStream(t, openStream(t.Context(), t, c, "one-piece", `{"a": 1}`))
	if len(a.parts) != 1 || !strings.Contains(a.parts[0], `"event": {"a": 1}`) {
		t.Errorf("parts %q", a.parts)
	}
}
