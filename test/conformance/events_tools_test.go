package conformance

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/mayfly-dev/mayfly/mayflytest"
)

func TestBoto3Events(t *testing.T) {
	n := mayflytest.Start(t)
	c := newTool(t, n, "apt-get install python3-boto3", "/usr/bin/python3", "python3")
	if _, _, ok := c.run(t.Context(), "-c", "import boto3"); !ok {
		t.Skip("boto3 is not installed: apt-get install python3-boto3, or run make test, which does")
	}
	script, err := filepath.Abs("python/events_test.py")
	fatal(t, err)
	out, errs, ok := c.run(t.Context(), "-X", "utf8", "-W", "ignore::ResourceWarning", script, "-v")
	t.Logf("%s%s", out, errs)
	if !ok {
		t.Error("the boto3 tests failed")
	}
}

func TestJavaScriptSDKEvents(t *testing.T) {
	n := mayflytest.Start(t)
	c := newTool(t, n, "apt-get install nodejs npm", "node")
	dir, err := filepath.Abs("node")
	fatal(t, err)
	if _, err := os.Stat(filepath.Join(dir, "node_modules/@aws-sdk/client-scheduler")); err != nil {
		t.Skip("@aws-sdk/client-scheduler is not installed: npm ci --prefix test/conformance/node, or run make test, which does")
	}
	c.dir = dir
	out, errs, ok := c.run(t.Context(), "--test", "events.test.mjs")
	t.Logf("%s%s", out, errs)
	if !ok {
		t.Error("the JavaScript SDK's tests failed")
	}
}

func TestAWSCLIEvents(t *testing.T) {
	n := mayflytest.Start(t)
	queue := "arn:aws:sqs:" + n.Region + ":" + n.Account + ":cli-events"
	c := newSession(t, n, "events")
	c.do("create-event-bus", "--name", "cli-bus")
	c.do("put-rule", "--name", "nightly", "--schedule-expression", "cron(30 2 * * ? *)")
	c.do("put-rule", "--name", "orders", "--event-bus-name", "cli-bus", "--event-pattern", `{"source":["shop"]}`)
	c.do("put-targets", "--rule", "orders", "--event-bus-name", "cli-bus", "--targets", "Id=1,Arn="+queue)
	c.do("put-targets", "--rule", "orders", "--event-bus-name", "cli-bus", "--targets",
		`[{"Id":"2","Arn":"`+queue+`","InputTransformer":{"InputPathsMap":{"a":"$.detail.a"},"InputTemplate":"\"a is <a>\""}}]`)
	for _, op := range []string{"disable-rule", "enable-rule"} {
		c.do(op, "--name", "nightly")
	}
	if rules := c.do("list-rules", "--name-prefix", "night")["Rules"].([]any); len(rules) != 1 || rules[0].(map[string]any)["State"] != "ENABLED" {
		t.Errorf("rules %v", rules)
	}
	if targets := c.do("list-targets-by-rule", "--rule", "orders", "--event-bus-name", "cli-bus")["Targets"].([]any); len(targets) != 2 {
		t.Errorf("targets %v", targets)
	}
	if names := c.do("list-rule-names-by-target", "--target-arn", queue, "--event-bus-name", "cli-bus")["RuleNames"].([]any); len(names) != 1 {
		t.Errorf("rules of the target: %v", names)
	}
	out := c.do("put-events", "--entries", `[{"Source":"shop","DetailType":"t","Detail":"{}","EventBusName":"cli-bus"}]`)
	if out["FailedEntryCount"] != 0.0 {
		t.Errorf("put %v", out)
	}
	match := c.do("test-event-pattern", "--event-pattern", `{"source":["a"]}`, "--event",
		`{"id":"1","account":"0","source":"a","time":"2026-11-29T20:00:00Z","region":"r","resources":[],"detail-type":"t","detail":{}}`)
	if match["Result"] != true {
		t.Errorf("match %v", match)
	}
	arn := c.do("describe-rule", "--name", "nightly")["Arn"].(string)
	c.do("tag-resource", "--resource-arn", arn, "--tags", "Key=a,Value=1")
	c.do("untag-resource", "--resource-arn", arn, "--tag-keys", "a")
	if tags := c.do("list-tags-for-resource", "--resource-arn", arn)["Tags"].([]any); len(tags) != 0 {
		t.Errorf("tags %v", tags)
	}
	c.refused("ResourceNotFoundException) when calling the DescribeRule operation: Rule nothing does not exist on EventBus default.", "describe-rule", "--name", "nothing")
	c.refused("InvalidEventPatternException", "put-rule", "--name", "x", "--event-pattern", "{}")
	c.refused("ValidationException", "delete-rule", "--name", "orders", "--event-bus-name", "cli-bus")
	c.do("remove-targets", "--rule", "orders", "--event-bus-name", "cli-bus", "--ids", "1", "2")
	c.do("delete-rule", "--name", "orders", "--event-bus-name", "cli-bus")
	c.do("delete-rule", "--name", "nightly")
	c.do("describe-event-bus", "--name", "cli-bus")
	c.do("delete-event-bus", "--name", "cli-bus")
	if buses := c.do("list-event-buses")["EventBuses"].([]any); len(buses) != 1 {
		t.Errorf("buses %v", buses)
	}

	s := newSession(t, n, "scheduler")
	s.do("create-schedule-group", "--name", "cli-group", "--tags", "Key=a,Value=1")
	target := `{"Arn":"` + queue + `","RoleArn":"` + role + `","Input":"{}"}`
	make := []string{"--name", "s", "--group-name", "cli-group", "--flexible-time-window", "Mode=OFF", "--target", target, "--schedule-expression"}
	s.do(append([]string{"create-schedule"}, append(make, "rate(1 hour)")...)...)
	s.do(append([]string{"update-schedule"}, append(make, "cron(0 8 ? * MON-FRI *)", "--schedule-expression-timezone", "Europe/Berlin", "--state", "DISABLED")...)...)
	got := s.do("get-schedule", "--name", "s", "--group-name", "cli-group")
	if got["ScheduleExpression"] != "cron(0 8 ? * MON-FRI *)" || got["State"] != "DISABLED" || got["ScheduleExpressionTimezone"] != "Europe/Berlin" {
		t.Errorf("the schedule is %v", got)
	}
	if list := s.do("list-schedules", "--group-name", "cli-group")["Schedules"].([]any); len(list) != 1 {
		t.Errorf("schedules %v", list)
	}
	s.refused("ValidationException) when calling the CreateSchedule operation: Invalid Schedule Expression rate(5).", append([]string{"create-schedule"}, append(make, "rate(5)")...)...)
	s.refused("ConflictException", append([]string{"create-schedule"}, append(make, "rate(1 hour)")...)...)
	group := s.do("get-schedule-group", "--name", "cli-group")["Arn"].(string)
	s.do("tag-resource", "--resource-arn", group, "--tags", "Key=b,Value=2")
	s.do("untag-resource", "--resource-arn", group, "--tag-keys", "a")
	if tags := s.do("list-tags-for-resource", "--resource-arn", group)["Tags"].([]any); len(tags) != 1 {
		t.Errorf("tags %v", tags)
	}
	s.do("delete-schedule", "--name", "s", "--group-name", "cli-group")
	s.do("delete-schedule-group", "--name", "cli-group")
	if groups := s.do("list-schedule-groups")["ScheduleGroups"].([]any); len(groups) != 1 {
		t.Errorf("groups %v", groups)
	}
}
