// Package lambdatest is how tests use a node as a customer would: through AWS's
// SDK for Go.
package lambdatest

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/mayfly-dev/mayfly/mayflytest"
)

// Role satisfies Lambda's form; nothing is done with it.
const Role = "arn:aws:iam::000000000000:role/test"

// Client is an SDK client of a node, with what tests need around it. It does
// not retry.
type Client struct{ *lambda.Client }

// New returns a client of n.
func New(n *mayflytest.Node) *Client {
	return &Client{lambda.New(lambda.Options{
		Region: n.Region, BaseEndpoint: &n.Endpoint, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(n.AccessKey, n.SecretKey, ""),
	})}
}

// Python is a function in one file of Python, whose handler is "handler".
type Python struct {
	Name     string
	Source   string
	MemoryMB int32 // 0 is 128
	Timeout  int32 // seconds; 0 is 30
	Env      map[string]string
}

// Deploy creates f and waits until it can be called.
func (c *Client) Deploy(t testing.TB, f Python) {
	t.Helper()
	if f.MemoryMB == 0 {
		f.MemoryMB = 128
	}
	if f.Timeout == 0 {
		f.Timeout = 30
	}
	in := &lambda.CreateFunctionInput{
		FunctionName: &f.Name, Role: aws.String(Role), Runtime: types.RuntimePython311, Handler: aws.String("app.handler"),
		MemorySize: &f.MemoryMB, Timeout: &f.Timeout, Code: &types.FunctionCode{ZipFile: Zip(t, "app.py", f.Source)},
	}
	if f.Env != nil {
		in.Environment = &types.Environment{Variables: f.Env}
	}
	if _, err := c.CreateFunction(t.Context(), in); err != nil {
		t.Fatalf("create %s: %v", f.Name, err)
	}
	c.Active(t, f.Name)
}

// Active waits until a new function can be called.
func (c *Client) Active(t testing.TB, name string) {
	t.Helper()
	w := lambda.NewFunctionActiveV2Waiter(c, func(o *lambda.FunctionActiveV2WaiterOptions) {
		o.MinDelay, o.MaxDelay = 20*time.Millisecond, 100*time.Millisecond
	})
	if err := w.Wait(t.Context(), &lambda.GetFunctionInput{FunctionName: &name}, time.Minute); err != nil {
		t.Fatalf("wait for %s: %v", name, err)
	}
}

// Updated waits until a change of a function is in force.
func (c *Client) Updated(t testing.TB, name string) {
	t.Helper()
	w := lambda.NewFunctionUpdatedV2Waiter(c, func(o *lambda.FunctionUpdatedV2WaiterOptions) {
		o.MinDelay, o.MaxDelay = 20*time.Millisecond, 100*time.Millisecond
	})
	if err := w.Wait(t.Context(), &lambda.GetFunctionInput{FunctionName: &name}, time.Minute); err != nil {
		t.Fatalf("wait for %s: %v", name, err)
	}
}

// SetEnv changes a function's environment and waits until that is in force.
func (c *Client) SetEnv(t testing.TB, name string, env map[string]string) {
	t.Helper()
	_, err := c.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{
		FunctionName: &name, Environment: &types.Environment{Variables: env},
	})
	if err != nil {
		t.Fatalf("change %s: %v", name, err)
	}
	c.Updated(t, name)
}

// Result is how a call ended.
type Result struct {
	Payload string
	Failure string // FunctionError
	Tail    string // end of the log
}

// Call invokes a function with an event and the end of its log.
func (c *Client) Call(ctx context.Context, name string, event any) (Result, error) {
	payload, err := json.Marshal(event)
	if err != nil {
		return Result{}, err
	}
	out, err := c.Invoke(ctx, &lambda.InvokeInput{FunctionName: &name, Payload: payload, LogType: types.LogTypeTail})
	if err != nil {
		return Result{}, err
	}
	tail, err := base64.StdEncoding.DecodeString(aws.ToString(out.LogResult))
	if err != nil {
		return Result{}, fmt.Errorf("log of %s: %w", name, err)
	}
	return Result{Payload: string(out.Payload), Failure: aws.ToString(out.FunctionError), Tail: string(tail)}, nil
}

// MustCall is Call, and fails the test unless the function succeeds; its answer
// is decoded into v unless that is nil.
func (c *Client) MustCall(t testing.TB, name string, event, v any) Result {
	t.Helper()
	r, err := c.Call(t.Context(), name, event)
	if err != nil {
		t.Fatalf("call %s: %v", name, err)
	}
	if r.Failure != "" {
		t.Fatalf("%s failed: %s", name, r.Payload)
	}
	if v != nil {
		if err := json.Unmarshal([]byte(r.Payload), v); err != nil {
			t.Fatalf("answer of %s: %.200s: %v", name, r.Payload, err)
		}
	}
	return r
}

// Zip packs one executable file.
func Zip(t testing.TB, name, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: name, Method: zip.Deflate}
	h.SetMode(0o755)
	w, err := z.CreateHeader(h)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// OwnAddress returns an IPv4 address of this machine that is not loopback's, and
// skips the test where there is none.
func OwnAddress(t testing.TB) netip.Addr {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() {
			return p.Addr()
		}
	}
	t.Skip("this machine has no address but loopback's")
	return netip.Addr{}
}
