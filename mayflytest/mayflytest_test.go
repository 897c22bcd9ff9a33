package mayflytest_test

import (
	"os"
	"testing"

	"github.com/mayfly-dev/mayfly/mayflytest"
	"github.com/mayfly-dev/mayfly/test/lambdatest"
)

func TestMain(m *testing.M) { mayflytest.Main(m) }

func TestNodeRunsAFunctionAndKeepsItOverARestart(t *testing.T) {
	dir := t.TempDir()
	first := mayflytest.StartWith(t, mayflytest.Options{DataDir: dir})
	api := lambdatest.New(first)
	api.Deploy(t, lambdatest.Python{Name: "double", Source: "def handler(event, context):\n    return event * 2\n"})
	var got float64
	if api.MustCall(t, "double", 21, &got); got != 42 {
		t.Errorf("double(21) = %v, want 42", got)
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}

	second := mayflytest.StartWith(t, mayflytest.Options{DataDir: dir})
	if second.AccessKey != first.AccessKey {
		t.Error("the access key changed over a restart")
	}
	if lambdatest.New(second).MustCall(t, "double", 4, &got); got != 8 {
		t.Errorf("after a restart double(4) = %v, want 8", got)
	}
}

func TestStoppedNodeTakesItsAddressBack(t *testing.T) {
	dir := t.TempDir()
	n := mayflytest.StartWith(t, mayflytest.Options{DataDir: dir})
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir + "/node.json"); !os.IsNotExist(err) {
		t.Errorf("the address of a stopped node is still there: %v", err)
	}
}

func TestProcessDriverRunsAFunctionToo(t *testing.T) {
	api := lambdatest.New(mayflytest.StartWith(t, mayflytest.Options{Driver: "process"}))
	api.Deploy(t, lambdatest.Python{Name: "f", Source: "def handler(event, context):\n    return event\n"})
	var got string
	for range 2 {
		if api.MustCall(t, "f", "hello", &got); got != "hello" {
			t.Errorf("f = %q, want hello", got)
		}
	}
}
