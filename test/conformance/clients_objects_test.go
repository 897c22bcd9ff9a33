package conformance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mayfly-dev/mayfly/mayflytest"
	"github.com/mayfly-dev/mayfly/test/lambdatest"
)

// TestObjectClients drives the object store of one node with the clients of other
// languages.
func TestObjectClients(t *testing.T) {
	n := mayflytest.StartWith(t, mayflytest.Options{Driver: "process"})
	lambdatest.New(n).Deploy(t, lambdatest.Python{Name: "told", Source: "def handler(event, context): pass"})
	t.Run("AWS CLI", func(t *testing.T) { t.Parallel(); objectsByCLI(t, n) })
	t.Run("boto3", func(t *testing.T) { t.Parallel(); objectsByBoto3(t, n) })
	t.Run("JavaScript", func(t *testing.T) { t.Parallel(); objectsByJavaScript(t, n) })
}

func objectsByCLI(t *testing.T, n *mayflytest.Node) {
	c := newSession(t, n, "s3")
	c.command = c.command[:len(c.command)-1] // s3 and s3api take turns
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	large := strings.Repeat("0123456789abcdef", 600_000) // sent in parts
	for name, content := range map[string]string{
		"large": large, "note.txt": "hello\n",
		"rules.json": `{"LambdaFunctionConfigurations": [{"Id": "r", "LambdaFunctionArn": "` + *arnOf(n, "told") + `", "Events": ["s3:ObjectRemoved:*"]}]}`,
	} {
		fatal(t, os.WriteFile(at(name), []byte(content), 0o600))
	}
	for _, step := range []struct {
		args  string // DIR is the directory
		words string // in what it prints
		fails bool
	}{
		{"s3 mb s3://cli", "make_bucket: cli", false},
		{"s3 cp DIR/note.txt s3://cli/a/note.txt --no-progress", "upload:", false},
		{"s3 cp DIR/large s3://cli/large --no-progress", "upload:", false},
		{"s3 cp s3://cli/large DIR/back --no-progress", "download:", false},
		{"s3 cp s3://cli/a/note.txt s3://cli/b/note.txt", "copy:", false},
		{"s3 ls s3://cli --recursive", "b/note.txt", false},
		{"s3 sync s3://cli/a DIR/synced --no-progress", "synced/note.txt", false},
		{"s3api head-object --bucket cli --key large", `"ContentLength": 9600000`, false},
		{"s3api get-object --bucket cli --key large --range bytes=16-31 DIR/part", `"ContentLength": 16`, false},
		{"s3api put-object-tagging --bucket cli --key large --tagging TagSet=[{Key=a,Value=b}]", "", false},
		{"s3api get-object-tagging --bucket cli --key large", `"Value": "b"`, false},
		{"s3api put-bucket-versioning --bucket cli --versioning-configuration Status=Enabled", "", false},
		{"s3api get-bucket-versioning --bucket cli", `"Status": "Enabled"`, false},
		{"s3api put-bucket-notification-configuration --bucket cli --notification-configuration file://DIR/rules.json", "", false},
		{"s3api get-bucket-notification-configuration --bucket cli", `"s3:ObjectRemoved:*"`, false},
		{"s3api get-bucket-location --bucket cli", "LocationConstraint", false},
		{"s3api delete-object --bucket cli --key large", `"DeleteMarker": true`, false},
		{"s3api list-object-versions --bucket cli --prefix large", `"DeleteMarkers"`, false},
		{"s3api get-object --bucket cli --key large DIR/gone", "NoSuchKey", true},
		{"s3api delete-bucket --bucket cli", "BucketNotEmpty", true},
		{"s3 rb s3://none", "NoSuchBucket", true},
	} {
		out, errs, ok := c.run(strings.Fields(strings.ReplaceAll(step.args, "DIR", dir)))
		if ok == step.fails || !strings.Contains(out+errs, step.words) {
			t.Errorf("aws %s: ok %v, %s%s\nwant %q", step.args, ok, out, errs, step.words)
		}
	}
	for name, want := range map[string]string{"back": large, "part": "0123456789abcdef", "synced/note.txt": "hello\n"} {
		if got, err := os.ReadFile(at(name)); err != nil || string(got) != want {
			t.Errorf("%s has %d bytes, want %d: %v", name, len(got), len(want), err)
		}
	}
}

func objectsByBoto3(t *testing.T, n *mayflytest.Node) {
	c := newTool(t, n, "apt-get install python3-boto3", "/usr/bin/python3", "python3")
	if _, _, ok := c.run(t.Context(), "-c", "import boto3"); !ok {
		t.Skip("boto3 is not installed: apt-get install python3-boto3, or run make test, which does")
	}
	c.env = append(c.env, "MAYFLY_FUNCTION="+*arnOf(n, "told"))
	script, err := filepath.Abs("python/s3_test.py")
	if err != nil {
		t.Fatal(err)
	}
	out, errs, ok := c.run(t.Context(), "-X", "utf8", "-W", "ignore::ResourceWarning", script, "-v")
	t.Logf("%s%s", out, errs)
	if !ok {
		t.Error("the boto3 tests failed")
	}
}

func objectsByJavaScript(t *testing.T, n *mayflytest.Node) {
	c := newTool(t, n, "apt-get install nodejs npm", "node")
	dir, err := filepath.Abs("node")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules/@aws-sdk/client-s3")); err != nil {
		t.Skip("@aws-sdk/client-s3 is not installed: npm ci --prefix test/conformance/node, or run make test, which does")
	}
	c.env = append(c.env, "MAYFLY_FUNCTION="+*arnOf(n, "told"))
	c.dir = dir
	out, errs, ok := c.run(t.Context(), "--test", "s3.test.mjs")
	t.Logf("%s%s", out, errs)
	if !ok {
		t.Error("the JavaScript SDK's tests failed")
	}
}
