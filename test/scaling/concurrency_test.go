package scaling

import (
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/mayfly-dev/mayfly/mayflytest"
	"github.com/mayfly-dev/mayfly/test/lambdatest"
)

// provisionedSource says why its instance was started, and ends it when told.
const provisionedSource = `
import os, time

def handler(event, context):
    if event.get("exit"):
        os._exit(1)
    time.sleep(event.get("sleep", 0))
    return os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
`

// readyInstances waits until so many provisioned instances of version 1 of f are idle.
func readyInstances(t *testing.T, c *lambdatest.Client, n int32) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		got, err := c.GetProvisionedConcurrencyConfig(t.Context(), &lambda.GetProvisionedConcurrencyConfigInput{FunctionName: aws.String("f"), Qualifier: aws.String("1")})
		if err != nil {
			t.Fatal(err)
		}
		if got.Status == types.ProvisionedConcurrencyStatusEnumReady && *got.AvailableProvisionedConcurrentExecutions == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d instances are ready: %s %s", *got.AvailableProvisionedConcurrentExecutions, n, got.Status, aws.ToString(got.StatusReason))
		}
	}
}

// started calls version 1 of f and returns why its instance was started.
func started(t *testing.T, c *lambdatest.Client, event string) string {
	t.Helper()
	out, err := c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("f:1"), Payload: []byte(event)})
	if err != nil {
		t.Error(err)
		return ""
	}
	var why string
	if err := json.Unmarshal(out.Payload, &why); err != nil {
		t.Errorf("answer %s", out.Payload)
	}
	return why
}

func TestProvisionedInstancesSurviveFailuresAndRestarts(t *testing.T) {
	dir := t.TempDir()
	n := mayflytest.StartWith(t, mayflytest.Options{DataDir: dir})
	c := lambdatest.New(n)
	c.Deploy(t, lambdatest.Python{Name: "f", Source: provisionedSource})
	if _, err := c.PublishVersion(t.Context(), &lambda.PublishVersionInput{FunctionName: aws.String("f")}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutProvisionedConcurrencyConfig(t.Context(), &lambda.PutProvisionedConcurrencyConfigInput{
		FunctionName: aws.String("f"), Qualifier: aws.String("1"), ProvisionedConcurrentExecutions: aws.Int32(1),
	}); err != nil {
		t.Fatal(err)
	}
	readyInstances(t, c, 1)
	if why := started(t, c, `{}`); why != "provisioned-concurrency" {
		t.Errorf("the first call ran on an instance that was started for %s", why)
	}
	if out, err := c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("f:1"), Payload: []byte(`{"exit": true}`)}); err != nil || out.FunctionError == nil {
		t.Fatalf("the call that ends its instance: %+v, %v", out, err)
	}
	readyInstances(t, c, 1)

	// More calls at once than are provisioned run on demand. On a busy machine two
	// calls may come one after the other.
	for deadline := time.Now().Add(time.Minute); ; {
		whys := make(chan string, 2)
		for range 2 {
			go func() { whys <- started(t, c, `{"sleep": 2}`) }()
		}
		a, b := <-whys, <-whys
		if a != b {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("of two calls at once both ran on instances started for %s", a)
		}
	}

	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	c = lambdatest.New(mayflytest.StartWith(t, mayflytest.Options{DataDir: dir}))
	readyInstances(t, c, 1) // before any call
	if why := started(t, c, `{}`); why != "provisioned-concurrency" {
		t.Errorf("after the restart a call ran on an instance that was started for %s", why)
	}
}

func TestReservedCallsKeepTheirPlaces(t *testing.T) {
	c := lambdatest.New(mayflytest.StartWith(t, mayflytest.Options{Concurrency: 2}))
	for _, name := range []string{"f", "g"} {
		c.Deploy(t, lambdatest.Python{Name: name, Source: source})
		c.MustCall(t, name, map[string]any{}, nil)
	}
	if _, err := c.PutFunctionConcurrency(t.Context(), &lambda.PutFunctionConcurrencyInput{FunctionName: aws.String("f"), ReservedConcurrentExecutions: aws.Int32(1)}); err != nil {
		t.Fatal(err)
	}
	// g takes all that is not reserved.
	callG := func(event map[string]any) (refused types.ThrottleReason) {
		_, err := c.Call(t.Context(), "g", event)
		var throttled *types.TooManyRequestsException
		if errors.As(err, &throttled) {
			return throttled.Reason
		}
		if err != nil {
			t.Error(err)
		}
		return ""
	}
	var running sync.WaitGroup
	defer running.Wait()
	over := make(chan bool, 1)
	occupy := func() { running.Go(func() { callG(map[string]any{"sleep": 5}); over <- true }) }
	occupy()
	for deadline := time.Now().Add(time.Minute); callG(map[string]any{}) != types.ThrottleReasonConcurrentInvocationLimitExceeded; {
		if time.Now().After(deadline) {
			t.Fatal("calls of g always ran at once, although one of the node's two places is reserved")
		}
		select {
		case <-over: // it lost its place to the short call
			occupy()
		default:
		}
	}
	c.MustCall(t, "f", map[string]any{}, nil) // has its place
}
