package conformance

import (
	"path/filepath"
	"testing"

	"github.com/mayfly-dev/mayfly/mayflytest"
)

func TestBoto3(t *testing.T) {
	n := mayflytest.Start(t)
	// Debian's interpreter comes first: its boto3 is the one that make test installs.
	c := newTool(t, n, "apt-get install python3-boto3", "/usr/bin/python3", "python3")
	ctx := t.Context()
	if _, _, ok := c.run(ctx, "-c", "import boto3"); !ok {
		t.Skip("boto3 is not installed: apt-get install python3-boto3, or run make test, which does")
	}
	c.givePackages()
	script, err := filepath.Abs("python/lambda_test.py")
	if err != nil {
		t.Fatal(err)
	}
	out, errs, ok := c.run(ctx, "-X", "utf8", "-W", "ignore::ResourceWarning", script, "-v")
	t.Logf("%s%s", out, errs)
	if !ok {
		t.Error("the boto3 tests failed")
	}
}
