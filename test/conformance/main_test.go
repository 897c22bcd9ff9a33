package conformance

import (
	"archive/zip"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/mayfly-dev/mayfly/mayflytest"
)

func TestMain(m *testing.M) { mayflytest.Main(m) }

const (
	pythonRuntime = "python3.11"
	role          = "arn:aws:iam::000000000000:role/lambda"
)

// handlerSource is a function that does as its event says.
const handlerSource = `
import os

def handler(event, context):
    print("event", event)
    if isinstance(event, dict) and event.get("fail"):
        raise ValueError(event["fail"])
    custom = context.client_context.custom if context.client_context else None
    return {"event": event, "greeting": os.environ.get("GREETING", "hello"), "version": 1,
            "arn": context.invoked_function_arn, "id": context.aws_request_id, "custom": custom,
            "trace": os.environ.get("_X_AMZN_TRACE_ID", "")}
`

// zipOf returns a code package with one file.
func zipOf(t testing.TB, name, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func handlerZip(t testing.TB) []byte { return zipOf(t, "app.py", handlerSource) }

// newer is the handler as it is after an update.
func newer(source string) string { return strings.Replace(source, `"version": 1`, `"version": 2`, 1) }

// sdk returns a client of the Go SDK for the node.
func sdk(n *mayflytest.Node, change ...func(*lambda.Options)) *lambda.Client {
	o := lambda.Options{
		Region:       n.Region,
		BaseEndpoint: aws.String(n.Endpoint),
		Credentials:  credentials.NewStaticCredentialsProvider(n.AccessKey, n.SecretKey, ""),
	}
	return lambda.New(o, change...)
}

// tool runs a client program against the node and returns what it printed.
type tool struct {
	t    *testing.T
	dir  string
	env  []string
	argv []string
}

// newTool finds a program; install says how a person gets it.
func newTool(t *testing.T, n *mayflytest.Node, install string, candidates ...string) *tool {
	t.Helper()
	home := t.TempDir()
	for _, c := range candidates {
		path, err := exec.LookPath(c)
		if err != nil {
			continue
		}
		return &tool{t: t, dir: home, argv: []string{path}, env: []string{
			"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + home, "LC_ALL=C.UTF-8",
			"AWS_ACCESS_KEY_ID=" + n.AccessKey, "AWS_SECRET_ACCESS_KEY=" + n.SecretKey,
			"AWS_REGION=" + n.Region, "AWS_DEFAULT_REGION=" + n.Region,
			"AWS_ENDPOINT_URL=" + n.Endpoint, "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=",
			"MAYFLY_RUNTIME=" + pythonRuntime, "MAYFLY_ROLE=" + role,
		}}
	}
	t.Skipf("%s is not installed: %s, or run make test, which does", candidates[0], install)
	return nil
}

// file writes a file into the tool's directory and returns its path.
func (c *tool) file(name string, content []byte) string {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// givePackages tells the program of the handler's code package and of a newer one.
func (c *tool) givePackages() {
	c.t.Helper()
	c.env = append(c.env,
		"MAYFLY_ZIP="+c.file("f.zip", handlerZip(c.t)),
		"MAYFLY_ZIP2="+c.file("f2.zip", zipOf(c.t, "app.py", newer(handlerSource))))
}

// run runs the program. It returns its standard output and error, and whether
// it succeeded.
func (c *tool) run(ctx context.Context, args ...string) (stdout, stderr string, ok bool) {
	c.t.Helper()
	cmd := exec.CommandContext(ctx, c.argv[0], append(c.argv[1:], args...)...)
	cmd.Dir, cmd.Env = c.dir, c.env
	var out, errb bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errb
	err := cmd.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		c.t.Fatalf("%s: %v", c.argv[0], err)
	}
	return out.String(), errb.String(), err == nil
}
