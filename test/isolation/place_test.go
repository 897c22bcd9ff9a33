// Package isolation runs hostile functions on a real node and checks that each
// of them fails or is contained, and that the node and a neighbour go on.
package isolation

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/mayfly-dev/mayfly/mayflytest"
	"github.com/mayfly-dev/mayfly/test/hostnet"
)

func TestMain(m *testing.M) {
	hostnet.Run(func() { mayflytest.Main(m) })
}

// place is a node with a neighbour on it.
type place struct {
	node   *mayflytest.Node
	lambda *lambda.Client
	python types.Runtime
}

func newPlace(t *testing.T) *place {
	t.Helper()
	n := mayflytest.Start(t)
	p := &place{node: n, python: types.RuntimePython311, lambda: lambda.New(lambda.Options{
		Region: n.Region, BaseEndpoint: &n.Endpoint, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(n.AccessKey, n.SecretKey, ""),
	})}
	p.deploy(t, function{name: "neighbour", dir: "testdata/neighbour"})
	p.call(t, "neighbour", map[string]any{"keep": true}).must(t)
	return p
}

// function is what a test deploys.
type function struct {
	name     string
	dir      string // of the code; "" is testdata/python
	bin      string // instead of dir: a custom runtime's program
	memoryMB int32  // 0 is 256
	timeout  int32  // seconds; 0 is 30
}

// deploy creates f and waits until it can be called.
func (p *place) deploy(t *testing.T, f function) string {
	t.Helper()
	in := &lambda.CreateFunctionInput{
		FunctionName: &f.name, Role: aws.String("arn:aws:iam::000000000000:role/any"),
		Runtime: p.python, Handler: aws.String("main.handler"),
		MemorySize: aws.Int32(or(f.memoryMB, 256)), Timeout: aws.Int32(or(f.timeout, 30)),
	}
	if f.bin != "" {
		in.Runtime, in.Handler = types.RuntimeProvidedal2023, aws.String("bootstrap")
		in.Code = &types.FunctionCode{ZipFile: zipFile(t, "bootstrap", f.bin)}
	} else {
		in.Code = &types.FunctionCode{ZipFile: zipFile(t, "main.py", filepath.Join(or(f.dir, "testdata/python"), "main.py"))}
	}
	_, err := p.lambda.CreateFunction(t.Context(), in)
	ok(t, err)
	ready := lambda.NewFunctionActiveV2Waiter(p.lambda, func(o *lambda.FunctionActiveV2WaiterOptions) {
		o.MinDelay, o.MaxDelay = 20*time.Millisecond, 200*time.Millisecond
	})
	ok(t, ready.Wait(t.Context(), &lambda.GetFunctionInput{FunctionName: &f.name}, time.Minute))
	return f.name
}

// result is how a call ended.
type result struct {
	payload string
	failure string // FunctionError
	tail    []byte // of the log, base64
}

// call invokes a function. It fails the test if the node does not answer 200.
func (p *place) call(t *testing.T, name string, event any) result {
	t.Helper()
	r, err := p.invoke(t.Context(), name, event)
	if err != nil {
		t.Fatalf("the node's answer to a call of %s: %v", name, err)
	}
	return r
}

func (p *place) invoke(ctx context.Context, name string, event any) (result, error) {
	payload, err := json.Marshal(event)
	if err != nil {
		return result{}, err
	}
	out, err := p.lambda.Invoke(ctx, &lambda.InvokeInput{FunctionName: &name, Payload: payload, LogType: types.LogTypeTail})
	if err != nil {
		return result{}, err
	}
	return result{string(out.Payload), aws.ToString(out.FunctionError), []byte(aws.ToString(out.LogResult))}, nil
}

// must fails the test if the function failed.
func (r result) must(t *testing.T) result {
	t.Helper()
	if r.failure != "" {
		t.Fatalf("the function failed: %s", r.payload)
	}
	return r
}

// into decodes the answer of a call that must not have failed.
func (r result) into(t *testing.T, v any) {
	t.Helper()
	r.must(t)
	if err := json.Unmarshal([]byte(r.payload), v); err != nil {
		t.Fatalf("the answer is %.200s: %v", r.payload, err)
	}
}

// failsWith fails the test unless the function failed with a type or message
// that holds one of words.
func (r result) failsWith(t *testing.T, words ...string) {
	t.Helper()
	if r.failure == "" {
		t.Errorf("the call succeeded with %.200s, want an error with one of %q", r.payload, words)
		return
	}
	for _, w := range words {
		if strings.Contains(r.payload, w) {
			return
		}
	}
	t.Errorf("the error is %.300s, want one with one of %q", r.payload, words)
}

// attack runs one attack, and checks after it that the neighbour is well.
func (p *place) attack(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		f(t)
		var got struct{ Echo string }
		p.call(t, "neighbour", map[string]string{"echo": name}).into(t, &got)
		if got.Echo != name {
			t.Errorf("the neighbour's answer is %q, want %q", got.Echo, name)
		}
	})
}

// zipFile packs one file under a name.
func zipFile(t *testing.T, name, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	ok(t, err)
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: name, Method: zip.Deflate}
	h.SetMode(0o755)
	w, err := z.CreateHeader(h)
	ok(t, err)
	_, err = w.Write(data)
	ok(t, errors.Join(err, z.Close()))
	return b.Bytes()
}

// sentries returns the processes of sandboxes that this test's node runs.
func sentries(t *testing.T) (pids []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	ok(t, err)
	for _, path := range all {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // ended meanwhile
		}
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(fields) > 1 && fields[1] == fmt.Sprint(os.Getpid()) {
			cmdline, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
			if bytes.HasPrefix(cmdline, []byte("runsc")) {
				pids = append(pids, filepath.Base(filepath.Dir(path)))
			}
		}
	}
	return pids
}

// hostProcesses is how many this machine has: each of one in a sandbox is one of it.
func hostProcesses(t *testing.T) int {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	ok(t, err)
	return len(all)
}

// greet says word to everybody who connects.
func greet(l net.Listener, word string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		fmt.Fprint(c, word)
		c.Close()
	}
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
