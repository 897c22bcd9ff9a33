package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

const region = "us-east-1"

// node is a Mayfly node in a process of its own.
type node struct {
	cmd      *exec.Cmd
	dir      string
	endpoint string
	keys     aws.Credentials
	api      *lambda.Client
	http     *http.Client
	log      *os.File
}

// startNode runs the program on a data directory within work, with more flags if
// there are any, and waits until it serves.
func startNode(ctx context.Context, o options, work string, flags ...string) (*node, error) {
	n := &node{dir: filepath.Join(work, "data"), http: client()}
	log, err := os.Create(filepath.Join(work, "node.log"))
	if err != nil {
		return nil, err
	}
	n.log = log
	args := []string{"up", "--data-dir", n.dir, "--listen", "127.0.0.1:0", "--region", region, "--driver", o.driver}
	n.cmd = exec.Command(o.binary, append(args, flags...)...)
	n.cmd.Stdout, n.cmd.Stderr = log, log
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	for range 300 {
		if n.connect(ctx, o) == nil {
			return n, nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), n.stop())
		}
	}
	b, _ := os.ReadFile(log.Name())
	return nil, errors.Join(fmt.Errorf("the node did not start: %s", b), n.stop())
}

// connect asks the CLI how to reach the node, as a user would.
func (n *node) connect(ctx context.Context, o options) error {
	b, err := exec.CommandContext(ctx, o.binary, "env", "--data-dir", n.dir, "--json").Output()
	if err != nil {
		return err
	}
	var env map[string]string
	if err := json.Unmarshal(b, &env); err != nil {
		return err
	}
	n.endpoint = env["AWS_ENDPOINT_URL"]
	n.keys = aws.Credentials{AccessKeyID: env["AWS_ACCESS_KEY_ID"], SecretAccessKey: env["AWS_SECRET_ACCESS_KEY"]}
	n.api = lambda.New(lambda.Options{
		Region: region, BaseEndpoint: &n.endpoint,
		Credentials: credentials.NewStaticCredentialsProvider(n.keys.AccessKeyID, n.keys.SecretAccessKey, ""),
	})
	_, err = n.api.GetAccountSettings(ctx, &lambda.GetAccountSettingsInput{})
	return err
}

// stop ends the node in its orderly way.
func (n *node) stop() error {
	defer n.log.Close()
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return n.cmd.Wait()
}

// rss returns the node process's own resident memory in bytes.
func (n *node) rss() (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		var kb int64
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kb); err == nil {
			return kb << 10, nil
		}
	}
	return 0, errors.New("no VmRSS in the node's status")
}

// callTimeout is the time limit of functions, longTimeout of those with a request
// that is held for as long as the others are measured.
const (
	callTimeout = 30 * time.Second
	longTimeout = 15 * time.Minute
)

func (n *node) create(ctx context.Context, s subject) error {
	if s.memory == 0 {
		s.memory = 128
	}
	start := types.SnapStartApplyOnPublishedVersions
	if s.off {
		start = types.SnapStartApplyOnNone
	}
	_, err := n.api.CreateFunction(ctx, &lambda.CreateFunctionInput{
		SnapStart:    &types.SnapStart{ApplyOn: start},
		FunctionName: &s.name, Runtime: types.Runtime(s.runtime), Handler: &s.handler,
		Role: aws.String("arn:aws:iam::000000000000:role/bench"), Code: &types.FunctionCode{ZipFile: s.zip},
		MemorySize: &s.memory, Timeout: aws.Int32(int32(cmp.Or(s.timeout, callTimeout).Seconds())), Environment: &types.Environment{Variables: s.env},
	})
	if err != nil {
		return err
	}
	return n.wait(ctx, s)
}

func (n *node) wait(ctx context.Context, s subject) error {
	return lambda.NewFunctionActiveV2Waiter(n.api, func(o *lambda.FunctionActiveV2WaiterOptions) {
		o.MinDelay, o.MaxDelay = 50*time.Millisecond, time.Second
	}).Wait(ctx, &lambda.GetFunctionInput{FunctionName: &s.name}, time.Minute)
}

// record is what the bench reads of an invocation's record.
type record struct {
	RequestID string        `json:"id"`
	Duration  time.Duration `json:"dur"`
	Phases    struct {
		Queue   time.Duration `json:"queue"`
		Sandbox time.Duration `json:"sandbox"`
		Restore time.Duration `json:"restore"`
		Init    time.Duration `json:"init"`
	} `json:"phases"`
}

// coldCall makes the first call and returns its time and its record.
func (n *node) coldCall(ctx context.Context, s subject) (time.Duration, record, error) {
	req, err := n.signed(ctx, http.MethodPost, invocations(s.name), "lambda", payload)
	if err != nil {
		return 0, record{}, err
	}
	began := time.Now()
	if err := do(n.http, req); err != nil {
		return 0, record{}, err
	}
	took := time.Since(began)
	var answer struct{ Records []record }
	if err := n.get(ctx, "records?function="+s.name+"&limit=1", &answer); err != nil || len(answer.Records) == 0 {
		return 0, record{}, fmt.Errorf("records of %s: %w", s.name, err)
	}
	return took, answer.Records[0], nil
}

// get asks the node about itself.
func (n *node) get(ctx context.Context, path string, out any) error {
	b, err := n.ask(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, out)
}

// ask makes a request to the node's own API and returns the answer.
func (n *node) ask(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	req, err := n.signed(ctx, method, "/_mayfly/v1/"+path, "mayfly", body)
	if err != nil {
		return nil, err
	}
	return n.answer(req)
}

// metrics returns the node's metrics as text.
func (n *node) metrics(ctx context.Context) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.endpoint+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	return n.answer(req)
}

// answer makes a request and returns the answer's body.
func (n *node) answer(req *http.Request) ([]byte, error) {
	resp, err := n.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK && (req.Method == http.MethodGet || resp.StatusCode >= 300) { // must not pass for an answer that says nothing
		return nil, fmt.Errorf("%s: %s: %s", req.URL.Path, resp.Status, b)
	}
	return b, nil
}

// status is what the bench reads of the node's own account of itself.
type status struct {
	Snapshots struct{ Spares, Kept int }
	Instances []struct{ State string }
}

// settle waits until the node's status is as wanted, and then a moment longer.
func (n *node) settle(ctx context.Context, what string, wanted func(status) bool) error {
	for began := time.Now(); time.Since(began) < time.Minute; {
		var s status
		if err := n.get(ctx, "node", &s); err != nil {
			return err
		}
		done := wanted(s)
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
		if done {
			return nil
		}
	}
	return fmt.Errorf("waited a minute for %s", what)
}

// caller calls the function with requests signed ahead: what the client's own
// signing takes is not the node's.
func (n *node) caller(s subject, payload []byte) call {
	template, err := n.signed(context.Background(), http.MethodPost, invocations(s.name), "lambda", payload)
	signedAt := time.Now()
	return func(ctx context.Context) error {
		if err != nil {
			return err
		}
		req := template
		if time.Since(signedAt) > 2*time.Minute {
			var err error
			if req, err = n.signed(ctx, template.Method, template.URL.Path, "lambda", payload); err != nil {
				return err
			}
		}
		req = req.Clone(ctx)
		req.Body = io.NopCloser(bytes.NewReader(payload))
		return do(n.http, req)
	}
}

func (n *node) signed(ctx context.Context, method, path, service string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, n.endpoint+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return req, n.sign(ctx, req, service, body)
}

// sign signs a request, with the headers that it has by now.
func (n *node) sign(ctx context.Context, req *http.Request, service string, body []byte) error {
	sum := sha256.Sum256(body)
	return v4.NewSigner().SignHTTP(ctx, n.keys, req, hex.EncodeToString(sum[:]), service, region, time.Now())
}

// invocations is the path of a function's calls.
func invocations(function string) string {
	return "/2015-03-31/functions/" + function + "/invocations"
}
