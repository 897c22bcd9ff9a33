// Package scaling checks on a real node that instances come and go as calls do:
// from zero, up to the limits, never with old code, and back to zero; and that
// each call is accounted for once.
package scaling

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/mayfly-dev/mayfly/mayflytest"
	"github.com/mayfly-dev/mayfly/test/lambdatest"
)

func TestMain(m *testing.M) { mayflytest.Main(m) }

// source tells which instance ran a call, and waits as told.
const source = `
import os, time
calls = 0

def handler(event, context):
    global calls
    calls += 1
    end = time.time() + event.get("sleep", 0)
    while time.time() < end:
        time.sleep(0.01)
    # What init made, copies of a snapshot have in common.
    return {"instance": context.log_stream_name, "calls": calls, "version": os.environ.get("VERSION")}
`

type answer struct {
	Instance string
	Calls    int
	Version  string
}

func TestSequentialCallsShareAnInstanceAndConcurrentOnesDoNot(t *testing.T) {
	c := lambdatest.New(mayflytest.Start(t))
	c.Deploy(t, lambdatest.Python{Name: "f", Source: source})
	var first, next answer
	c.MustCall(t, "f", map[string]any{}, &first)
	for n := 2; n <= 5; n++ {
		c.MustCall(t, "f", map[string]any{}, &next)
		if next.Instance != first.Instance || next.Calls != n {
			t.Errorf("call %d ran as the instance's call %d, on the same instance: %v", n, next.Calls, next.Instance == first.Instance)
		}
	}
	seen := concurrently(t, c, "f", 6, map[string]any{"sleep": 4})
	if len(seen) != 6 {
		t.Errorf("6 calls at once ran on %d instances", len(seen))
	}
}

// concurrently makes n calls at once and returns the instances that ran them.
func concurrently(t *testing.T, c *lambdatest.Client, name string, n int, event any) map[string]bool {
	t.Helper()
	var mu sync.Mutex
	seen := map[string]bool{}
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			r, err := c.Call(t.Context(), name, event)
			if err != nil || r.Failure != "" {
				t.Errorf("call: %v %s", err, r.Payload)
				return
			}
			var a answer
			if err := json.Unmarshal([]byte(r.Payload), &a); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			seen[a.Instance] = true
		})
	}
	wg.Wait()
	return seen
}

func TestCallsOverTheConcurrencyLimitAreThrottled(t *testing.T) {
	c := lambdatest.New(mayflytest.StartWith(t, mayflytest.Options{Concurrency: 1}))
	c.Deploy(t, lambdatest.Python{Name: "f", Source: source})
	c.MustCall(t, "f", map[string]any{}, nil)
	running := make(chan struct{})
	var throttled *types.TooManyRequestsException
	go func() { // it competes with the calls below, and may be the one that is throttled
		defer close(running)
		var busy *types.TooManyRequestsException
		for errors.As(err1(c.Call(context.Background(), "f", map[string]any{"sleep": 3})), &busy) {
		}
	}()
	for !errors.As(err1(c.Call(t.Context(), "f", map[string]any{})), &throttled) {
		select {
		case <-running:
			t.Fatal("the long call ended before another was throttled")
		default:
		}
	}
	if throttled.Reason != types.ThrottleReasonConcurrentInvocationLimitExceeded || throttled.RetryAfterSeconds == nil {
		t.Errorf("throttled with reason %q, retry after %v", throttled.Reason, throttled.RetryAfterSeconds)
	}
	<-running
	c.MustCall(t, "f", map[string]any{}, nil)
}

func err1[T any](_ T, err error) error { return err }

func TestFullMachineEvictsIdleInstancesThenThrottles(t *testing.T) {
	c := lambdatest.New(mayflytest.StartWith(t, mayflytest.Options{MemoryMB: 256, QueueLimit: 300 * time.Millisecond}))
	for _, name := range []string{"a", "b", "c"} {
		c.Deploy(t, lambdatest.Python{Name: name, Source: source})
	}
	var a, again answer
	c.MustCall(t, "a", map[string]any{}, &a)
	c.MustCall(t, "b", map[string]any{}, nil)
	c.MustCall(t, "c", map[string]any{}, nil) // takes the room of a, which was used longest ago
	c.MustCall(t, "a", map[string]any{}, &again)
	if again.Calls != 1 {
		t.Error("an instance outlived its eviction")
	}
	var wg sync.WaitGroup
	for _, name := range []string{"a", "b"} {
		wg.Go(func() { c.Call(context.Background(), name, map[string]any{"sleep": 8}) })
	}
	var throttled *types.TooManyRequestsException
	for began := time.Now(); !errors.As(err1(c.Call(t.Context(), "c", map[string]any{})), &throttled); {
		if time.Since(began) > 7*time.Second {
			t.Fatal("a full machine took another instance")
		}
	}
	wg.Wait()
	c.MustCall(t, "c", map[string]any{}, nil)

	_, err := c.CreateFunction(t.Context(), &lambda.CreateFunctionInput{
		FunctionName: new("big"), Role: new(lambdatest.Role), Runtime: types.RuntimePython311, Handler: new("app.handler"),
		MemorySize: new(int32(512)), Code: &types.FunctionCode{ZipFile: lambdatest.Zip(t, "app.py", source)},
	})
	if err == nil || !strings.Contains(err.Error(), "256") {
		t.Errorf("a function larger than the machine: %v, want a refusal that names what there is", err)
	}
}

func TestNewConfigurationNeverReachesAnOldInstance(t *testing.T) {
	c := lambdatest.New(mayflytest.Start(t))
	c.Deploy(t, lambdatest.Python{Name: "f", Source: source, Env: map[string]string{"VERSION": "1"}})
	c.MustCall(t, "f", map[string]any{}, nil)
	var old answer
	done := make(chan lambdatest.Result)
	go func() {
		r, err := c.Call(context.Background(), "f", map[string]any{"sleep": 2})
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	time.Sleep(300 * time.Millisecond) // the call is under way: it sleeps for two seconds
	c.SetEnv(t, "f", map[string]string{"VERSION": "2"})
	for range 5 {
		var now answer
		c.MustCall(t, "f", map[string]any{}, &now)
		if now.Version != "2" {
			t.Errorf("a call after the update ran with version %s", now.Version)
		}
	}
	if err := json.Unmarshal([]byte((<-done).Payload), &old); err != nil || old.Version != "1" {
		t.Errorf("the call under way ended as version %q, %v; want it to finish on the old one", old.Version, err)
	}
}

func TestIdleFunctionGoesBackToZero(t *testing.T) {
	n := mayflytest.StartWith(t, mayflytest.Options{KeepAlive: 200 * time.Millisecond})
	c := lambdatest.New(n)
	c.Deploy(t, lambdatest.Python{Name: "f", Source: source})
	var a, b answer
	c.MustCall(t, "f", map[string]any{}, &a)
	time.Sleep(time.Second) // five times the keep-alive
	c.MustCall(t, "f", map[string]any{}, &b)
	if a.Instance == b.Instance {
		t.Error("an instance outlived its keep-alive")
	}
}

var reportLine = regexp.MustCompile(`REPORT RequestId: (\S+)\tDuration: ([\d.]+) ms\tBilled Duration: (\d+) ms\tMemory Size: 128 MB\tMax Memory Used: (\d+) MB\t(?:Init Duration: ([\d.]+) ms\t)?`)

func TestLogTailHasTheCallsOwnLinesAndOneReport(t *testing.T) {
	c := lambdatest.New(mayflytest.Start(t))
	c.Deploy(t, lambdatest.Python{Name: "f", Source: "def handler(e, c):\n    print('line of', e)\n    return c.aws_request_id\n"})
	for n := range 3 {
		var id string
		r := c.MustCall(t, "f", n, &id)
		want := fmt.Sprintf("START RequestId: %s Version: $LATEST\nline of %d\nEND RequestId: %s\n", id, n, id)
		if !strings.HasPrefix(r.Tail, want) {
			t.Errorf("log of call %d:\n%s\nwant it to begin with:\n%s", n, r.Tail, want)
		}
		m := reportLine.FindStringSubmatch(r.Tail)
		if m == nil || m[1] != id || (m[5] != "") != (n == 0) {
			t.Errorf("report of call %d: %q, want one of the call, with an init duration on the first only", n, r.Tail)
		}
	}
}

func TestCallsThatFailAreToldApart(t *testing.T) {
	c := lambdatest.New(mayflytest.Start(t))
	c.Deploy(t, lambdatest.Python{Name: "f", Timeout: 1, Source: `
import os, time
def handler(e, c):
    if e == "raise": raise KeyError("missing")
    if e == "exit": os._exit(3)
    if e == "hang": time.sleep(60)
    if e == "large": return "x" * (7 << 20)
    return "fine"
`})
	for _, tt := range []struct{ event, document, status string }{
		{"raise", `"errorType": "KeyError"`, ""},
		{"exit", `"Runtime.ExitError"`, "Status: error"},
		{"hang", "Task timed out after 1.00 seconds", "Status: timeout"},
		{"large", "Function.ResponseSizeTooLarge", ""},
	} {
		r, err := c.Call(t.Context(), "f", tt.event)
		if err != nil {
			t.Errorf("%s: %v", tt.event, err)
			continue
		}
		plain := strings.ReplaceAll(r.Payload, `":"`, `": "`)
		if r.Failure != "Unhandled" || !strings.Contains(plain, tt.document) || !strings.Contains(r.Tail, tt.status) {
			t.Errorf("%s: %s %s\n%s", tt.event, r.Failure, r.Payload, r.Tail)
		}
		var after string
		if c.MustCall(t, "f", "", &after); after != "fine" {
			t.Errorf("after %s the function answers %q", tt.event, after)
		}
	}
}

func TestBrokenInitFailsEachCallAndAFixHeals(t *testing.T) {
	c := lambdatest.New(mayflytest.Start(t))
	c.Deploy(t, lambdatest.Python{Name: "f", Source: "import os\nif os.environ.get('BROKEN'): raise RuntimeError('no luck')\ndef handler(e, c): return 'well'\n", Env: map[string]string{"BROKEN": "1"}})
	for range 2 {
		r, err := c.Call(t.Context(), "f", 1)
		if err != nil || r.Failure != "Unhandled" || !strings.Contains(r.Payload, "no luck") || !strings.Contains(r.Tail, "INIT_REPORT") {
			t.Errorf("%v %s %s\n%s", err, r.Failure, r.Payload, r.Tail)
		}
	}
	c.SetEnv(t, "f", map[string]string{"OTHER": "1"})
	c.MustCall(t, "f", 1, nil)
}
