package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	cwl "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/mayfly-dev/mayfly/mayflytest"
	"github.com/mayfly-dev/mayfly/test/lambdatest"
)

const loggingSource = `
import logging
log = logging.getLogger()

def handler(event, context):
    log.warning("word %s", event["word"])
    log.debug("too quiet")
    return context.log_group_name + " " + context.log_stream_name
`

// TestLogs is one node with clients of CloudWatch Logs.
func TestLogs(t *testing.T) {
	n := mayflytest.Start(t)
	c := lambdatest.New(n)
	c.Deploy(t, lambdatest.Python{Name: "talk", Source: loggingSource})
	call := func(t *testing.T, word string) (stream string) {
		t.Helper()
		var where string
		c.MustCall(t, "talk", map[string]string{"word": word}, &where)
		_, stream, _ = strings.Cut(where, " ")
		return stream
	}
	stream := call(t, "first")
	t.Run("AWS CLI", func(t *testing.T) { logsWithCLI(t, n, stream, func(w string) { call(t, w) }) })
	t.Run("boto3", func(t *testing.T) { logsWithBoto3(t, n, stream) })
	t.Run("Go SDK", func(t *testing.T) { logsWithSDK(t, n, stream, func(w string) { call(t, w) }) })
	t.Run("JSON", func(t *testing.T) { logsInJSON(t, n, c) })
}

func logsWithCLI(t *testing.T, n *mayflytest.Node, stream string, call func(string)) {
	tool := newTool(t, n, "apt-get install awscli", "/usr/bin/aws", "aws")
	tool.argv = append(tool.argv, "--endpoint-url", n.Endpoint, "--output", "json", "logs")
	do := func(args ...string) string {
		t.Helper()
		out, errs, ok := tool.run(t.Context(), args...)
		if !ok {
			t.Fatalf("aws logs %s: %s", args[0], errs)
		}
		return out
	}
	var found struct {
		Events []struct{ Message, LogStreamName string }
	}
	out := do("filter-log-events", "--log-group-name", "/aws/lambda/talk", "--filter-pattern", `"word first"`)
	if err := json.Unmarshal([]byte(out), &found); err != nil || len(found.Events) != 1 || found.Events[0].LogStreamName != stream {
		t.Errorf("filter-log-events: %v, %s", err, out)
	}
	if out := do("describe-log-groups"); !strings.Contains(out, `"logGroupName": "/aws/lambda/talk"`) {
		t.Errorf("describe-log-groups: %s", out)
	}
	if out := do("describe-log-streams", "--log-group-name", "/aws/lambda/talk", "--order-by", "LastEventTime"); !strings.Contains(out, stream) {
		t.Errorf("describe-log-streams: %s", out)
	}
	do("put-retention-policy", "--log-group-name", "/aws/lambda/talk", "--retention-in-days", "7")
	if out := do("describe-log-groups", "--log-group-name-prefix", "/aws/lambda/ta"); !strings.Contains(out, `"retentionInDays": 7`) {
		t.Errorf("after put-retention-policy: %s", out)
	}

	args := append(tool.argv[1:len(tool.argv):len(tool.argv)], "tail", "/aws/lambda/talk", "--follow", "--since", "1h", "--format", "short")
	tail := exec.CommandContext(t.Context(), tool.argv[0], args...)
	tail.Env, tail.Dir = append(tool.env, "PYTHONUNBUFFERED=1"), tool.dir
	pipe, err := tail.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := tail.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		tail.Process.Kill()
		tail.Wait()
	}()
	lines := bufio.NewScanner(pipe)
	await := func(word string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), word) {
				return
			}
		}
		t.Errorf("the tail ended without %q: %v", word, lines.Err())
	}
	await("word first")
	call("second")
	await("word second")
}

const boto3Logs = `
import boto3, sys, time
logs = boto3.client("logs", endpoint_url=sys.argv[1])
group, stream = "/aws/lambda/talk", sys.argv[2]
events = logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)["events"]
assert any("word first" in e["message"] for e in events), events
pages = list(logs.get_paginator("filter_log_events").paginate(logGroupName=group, PaginationConfig={"PageSize": 2}))
assert len(pages) > 1 and sum(len(p["events"]) for p in pages) >= 4, pages
logs.create_log_group(logGroupName="mine", tags={"a": "b"})
logs.create_log_stream(logGroupName="mine", logStreamName="s")
logs.put_log_events(logGroupName="mine", logStreamName="s", logEvents=[{"timestamp": int(time.time() * 1000), "message": '{"level": "ERROR", "n": 1}'}])
got = logs.filter_log_events(logGroupName="mine", filterPattern='{ $.level = "ERROR" && $.n < 2 }')["events"]
assert [e["message"] for e in got] == ['{"level": "ERROR", "n": 1}'], got
assert logs.list_tags_log_group(logGroupName="mine")["tags"] == {"a": "b"}
try:
    logs.get_log_events(logGroupName="nowhere", logStreamName="s")
    assert False
except logs.exceptions.ResourceNotFoundException as e:
    assert "log group does not exist" in str(e)
logs.delete_log_group(logGroupName="mine")
`

func logsWithBoto3(t *testing.T, n *mayflytest.Node, stream string) {
	tool := newTool(t, n, "apt-get install python3-boto3", "/usr/bin/python3", "python3")
	if _, _, ok := tool.run(t.Context(), "-c", "import boto3"); !ok {
		t.Skip("boto3 is not installed: apt-get install python3-boto3, or run make test, which does")
	}
	if out, errs, ok := tool.run(t.Context(), "-W", "ignore", "-c", boto3Logs, n.Endpoint, stream); !ok {
		t.Errorf("%s%s", out, errs)
	}
}

func logsClient(n *mayflytest.Node) *cloudwatchlogs.Client {
	return cloudwatchlogs.New(cloudwatchlogs.Options{
		Region: n.Region, BaseEndpoint: &n.Endpoint, Credentials: credentials.NewStaticCredentialsProvider(n.AccessKey, n.SecretKey, ""),
		RetryMaxAttempts: 1,
	})
}

func logsWithSDK(t *testing.T, n *mayflytest.Node, stream string, call func(string)) {
	c := logsClient(n)
	got, err := c.GetLogEvents(t.Context(), &cloudwatchlogs.GetLogEventsInput{LogGroupName: aws.String("/aws/lambda/talk"), LogStreamName: &stream, Limit: aws.Int32(1)})
	if err != nil || len(got.Events) != 1 {
		t.Fatalf("GetLogEvents: %+v, %v", got, err)
	}
	arn := "arn:aws:logs:" + n.Region + ":" + n.Account + ":log-group:/aws/lambda/talk"
	tail, err := c.StartLiveTail(t.Context(), &cloudwatchlogs.StartLiveTailInput{LogGroupIdentifiers: []string{arn}, LogEventFilterPattern: aws.String("word")},
		func(o *cloudwatchlogs.Options) { o.APIOptions = append(o.APIOptions, withoutHostPrefix) })
	if err != nil {
		t.Fatal(err)
	}
	defer tail.GetStream().Close()
	for event := range tail.GetStream().Events() {
		switch e := event.(type) {
		case *cwl.StartLiveTailResponseStreamMemberSessionStart:
			call("live")
		case *cwl.StartLiveTailResponseStreamMemberSessionUpdate:
			for _, r := range e.Value.SessionResults {
				if strings.Contains(*r.Message, "word live") && *r.LogStreamName == stream {
					return
				}
			}
		}
	}
	t.Errorf("the live tail ended: %v", tail.GetStream().Err())
}

func logsInJSON(t *testing.T, n *mayflytest.Node, c *lambdatest.Client) {
	nodeSource := `exports.handler = async () => { console.warn("word", 7); console.info("too quiet"); return 1; };`
	for name, in := range map[string]*lambda.CreateFunctionInput{
		"js-python": {Runtime: types.RuntimePython311, Handler: aws.String("app.handler"), Code: &types.FunctionCode{ZipFile: zipOf(t, "app.py", loggingSource)}},
		"js-node":   {Runtime: types.RuntimeNodejs20x, Handler: aws.String("app.handler"), Code: &types.FunctionCode{ZipFile: zipOf(t, "app.js", nodeSource)}},
	} {
		t.Run(name, func(t *testing.T) {
			in.FunctionName, in.Role = &name, aws.String(role)
			in.LoggingConfig = &types.LoggingConfig{
				LogFormat: types.LogFormatJson, ApplicationLogLevel: types.ApplicationLogLevelWarn, SystemLogLevel: types.SystemLogLevelDebug, LogGroup: aws.String("/my/json"),
			}
			out, err := c.CreateFunction(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if l := out.LoggingConfig; l.LogFormat != types.LogFormatJson || *l.LogGroup != "/my/json" {
				t.Errorf("LoggingConfig %+v", l)
			}
			c.Active(t, name)
			c.MustCall(t, name, map[string]string{"word": "7"}, nil)
			var found []map[string]any
			events, err := logsClient(n).FilterLogEvents(t.Context(), &cloudwatchlogs.FilterLogEventsInput{LogGroupName: aws.String("/my/json")})
			if err != nil {
				t.Fatal(err)
			}
			types := map[any]map[string]any{}
			for _, e := range events.Events {
				var line map[string]any
				if err := json.Unmarshal([]byte(*e.Message), &line); err != nil {
					t.Errorf("a line that is not JSON: %s", *e.Message)
					continue
				}
				if kind := line["type"]; kind != nil {
					types[kind] = line["record"].(map[string]any)
				} else {
					found = append(found, line)
				}
			}
			last := found[len(found)-1]
			if last["message"] != "word 7" || !strings.HasPrefix(last["level"].(string), "WARN") || last["requestId"] == "" {
				t.Errorf("the code's line: %v", last)
			}
			report := types["platform.report"]
			if report["status"] != "success" || report["metrics"].(map[string]any)["billedDurationMs"].(float64) < 1 || types["platform.start"] == nil || types["platform.runtimeDone"] == nil {
				t.Errorf("platform events: %v", types)
			}
		})
	}
}

// withoutHostPrefix keeps the SDK from calling stream-HOST, a name that is not
// there.
func withoutHostPrefix(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("WithoutHostPrefix",
		func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			return next.HandleInitialize(smithyhttp.DisableEndpointHostPrefix(ctx, true), in)
		}), middleware.Before)
}
