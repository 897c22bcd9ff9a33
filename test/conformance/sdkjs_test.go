package conformance

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/mayfly-dev/mayfly/mayflytest"
)

func TestJavaScriptSDK(t *testing.T) {
	n := mayflytest.Start(t)
	c := newTool(t, n, "apt-get install nodejs npm", "node")
	dir, err := filepath.Abs("node")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules/@aws-sdk/client-lambda")); err != nil {
		t.Skip("@aws-sdk/client-lambda is not installed: npm ci --prefix test/conformance/node, or run make test, which does")
	}
	c.givePackages()
	c.dir = dir
	out, errs, ok := c.run(t.Context(), "--test", "lambda.test.mjs")
	t.Logf("%s%s", out, errs)
	if !ok {
		t.Error("the JavaScript SDK's tests failed")
	}
}

func TestLockfileNamesNoRegistry(t *testing.T) {
	b, err := os.ReadFile("node/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	// Each reader's own registry serves the packages; the hashes tie them down.
	if bytes.Contains(b, []byte("://")) || !bytes.Contains(b, []byte(`"integrity"`)) {
		t.Error("package-lock.json names hosts, or has no hashes: run npm install in test/conformance/node, whose .npmrc leaves hosts out")
	}
}
