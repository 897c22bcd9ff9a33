package conformance

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/mayfly-dev/mayfly/mayflytest"
)

// cli is the AWS CLI's lambda command.
type cli struct{ *tool }

func newCLI(t *testing.T, n *mayflytest.Node) cli {
	c := newTool(t, n, "apt-get install awscli", "/usr/bin/aws", "aws")
	// The CLI of Debian 12 does not read AWS_ENDPOINT_URL.
	c.argv = append(c.argv, "--endpoint-url", n.Endpoint, "--cli-binary-format", "raw-in-base64-out", "--output", "json", "lambda")
	return cli{c}
}

// do runs a command that must succeed, and returns its JSON.
func (c cli) do(args ...string) map[string]any {
	c.t.Helper()
	out, errs, ok := c.run(c.t.Context(), args...)
	if !ok {
		c.t.Fatalf("aws lambda %s: %s", strings.Join(args, " "), errs)
	}
	doc := map[string]any{}
	if strings.TrimSpace(out) != "" {
		if err := json.Unmarshal([]byte(out), &doc); err != nil {
			c.t.Fatalf("aws lambda %s printed %q: %v", args[0], out, err)
		}
	}
	return doc
}

// refused runs a command that must fail with these words.
func (c cli) refused(words string, args ...string) {
	c.t.Helper()
	out, errs, ok := c.run(c.t.Context(), args...)
	if ok || !strings.Contains(errs, words) {
		c.t.Errorf("aws lambda %s: ok %v, %s%s\nwant %s", strings.Join(args, " "), ok, out, errs, words)
	}
}

// emptyZip is a zip archive without files: the CLI itself refuses what is no
// archive at all.
const emptyZip = "PK\x05\x06" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func TestAWSCLI(t *testing.T) {
	n := mayflytest.Start(t)
	c := newCLI(t, n)
	zip, zip2 := c.file("f.zip", handlerZip(t)), c.file("f2.zip", zipOf(t, "app.py", newer(handlerSource)))
	arn := "arn:aws:lambda:" + n.Region + ":" + n.Account + ":function:f"
	createArgs := func(name, zip string) []string {
		return []string{"create-function", "--function-name", name, "--runtime", pythonRuntime, "--role", role, "--handler", "app.handler", "--zip-file", "fileb://" + zip}
	}

	made := c.do(append(createArgs("f", zip), "--environment", "Variables={GREETING=hi}", "--tags", "team=a")...)
	if made["FunctionArn"] != arn || made["State"] != "Pending" || made["Version"] != "$LATEST" {
		t.Errorf("created: %v", made)
	}
	c.do("wait", "function-active-v2", "--function-name", "f")
	if f := c.do("get-function-configuration", "--function-name", arn); f["State"] != "Active" || f["LastUpdateStatus"] != "Successful" {
		t.Errorf("shown: %v", f)
	}
	if f := c.do("get-function", "--function-name", "f"); f["Tags"].(map[string]any)["team"] != "a" || f["Code"].(map[string]any)["RepositoryType"] != "S3" {
		t.Errorf("shown: %v", f)
	}

	out := c.dir + "/out.json"
	res := c.do("invoke", "--function-name", "f", "--payload", `{"k": 1}`, "--log-type", "Tail", out)
	if res["StatusCode"] != 200.0 || res["ExecutedVersion"] != "$LATEST" || res["LogResult"] == nil {
		t.Errorf("invoke: %v", res)
	}
	b, err := os.ReadFile(out)
	if err != nil || !strings.Contains(string(b), `"greeting": "hi"`) {
		t.Errorf("answer %s, %v", b, err)
	}
	if res := c.do("invoke", "--function-name", "f", "--payload", `{"fail": "x"}`, out); res["FunctionError"] != "Unhandled" {
		t.Errorf("a function's error: %v", res)
	}
	if res := c.do("invoke", "--function-name", "f", "--invocation-type", "Event", out); res["StatusCode"] != 202.0 {
		t.Errorf("Event: %v", res)
	}
	if res := c.do("invoke", "--function-name", "f", "--invocation-type", "DryRun", out); res["StatusCode"] != 204.0 {
		t.Errorf("DryRun: %v", res)
	}

	c.do("update-function-code", "--function-name", "f", "--zip-file", "fileb://"+zip2)
	c.do("wait", "function-updated-v2", "--function-name", "f")
	c.do("update-function-configuration", "--function-name", "f", "--timeout", "10", "--environment", "Variables={GREETING=bye}")
	c.do("wait", "function-updated-v2", "--function-name", "f")
	c.do("invoke", "--function-name", "f", out)
	if b, _ := os.ReadFile(out); !strings.Contains(string(b), `"greeting": "bye"`) || !strings.Contains(string(b), `"version": 2`) {
		t.Errorf("after the updates: %s", b)
	}

	for _, name := range []string{"g", "h"} {
		c.do(createArgs(name, zip)...)
	}
	if l := c.do("list-functions", "--page-size", "2"); len(l["Functions"].([]any)) != 3 {
		t.Errorf("list: %v", l)
	}
	if l := c.do("list-functions", "--max-items", "1"); l["NextToken"] == nil {
		t.Errorf("a list of one of three has no token: %v", l)
	}
	c.do("tag-resource", "--resource", arn, "--tags", "stage=test")
	c.do("untag-resource", "--resource", arn, "--tag-keys", "team")
	if tags := c.do("list-tags", "--resource", arn)["Tags"].(map[string]any); len(tags) != 1 || tags["stage"] != "test" {
		t.Errorf("tags %v", tags)
	}
	if a := c.do("get-account-settings"); a["AccountUsage"].(map[string]any)["FunctionCount"] != 3.0 {
		t.Errorf("account %v", a)
	}

	c.refused("An error occurred (ResourceConflictException) when calling the CreateFunction operation: Function already exist: f", createArgs("f", zip)...)
	c.refused("An error occurred (ResourceNotFoundException) when calling the Invoke operation: Function not found: "+strings.TrimSuffix(arn, "f")+"nowhere", "invoke", "--function-name", "nowhere", out)
	c.refused("An error occurred (InvalidParameterValueException) when calling the CreateFunction operation: Uploaded file must be a non-empty zip", createArgs("bad", c.file("bad.zip", []byte(emptyZip)))...)
	c.refused("An error occurred (PreconditionFailedException) when calling the UpdateFunctionConfiguration operation: The Revision Id provided does not match",
		"update-function-configuration", "--function-name", "f", "--revision-id", made["RevisionId"].(string))
	c.refused("Value cobol85 at 'runtime' failed to satisfy constraint", "update-function-configuration", "--function-name", "f", "--runtime", "cobol85")
	c.refused("RequestTooLargeException", "invoke", "--function-name", "f", "--payload", "file://"+c.file("big.json", []byte(`"`+strings.Repeat("x", 6<<20)+`"`)), out)
	wrong := cli{&tool{t: t, dir: c.dir, argv: c.argv, env: append(c.env[:len(c.env):len(c.env)], "AWS_SECRET_ACCESS_KEY="+strings.Repeat("x", 40))}}
	wrong.refused("An error occurred (InvalidSignatureException) when calling the ListFunctions operation: The request signature we calculated does not match", "list-functions")

	c.do("delete-function", "--function-name", "f")
	c.refused("ResourceNotFoundException", "get-function", "--function-name", "f")
}
