package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"github.com/mayfly-dev/mayfly/internal/access"
	api "github.com/mayfly-dev/mayfly/internal/client"
	"github.com/mayfly-dev/mayfly/internal/node"
)

// defaultDataDir is where a node keeps its data unless it is told otherwise.
func defaultDataDir() string {
	if os.Geteuid() == 0 {
		return "/var/lib/mayfly"
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "mayfly")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = "."
	}
	return filepath.Join(home, ".local", "state", "mayfly")
}

// directory returns the data directory that the command line or the
// environment chooses, else the usual one.
func (c *cli) directory() string {
	if c.dataDir != "" {
		return c.dataDir
	}
	if dir := os.Getenv("MAYFLY_DATA_DIR"); dir != "" {
		return dir
	}
	return defaultDataDir()
}

// target is a node and the key to it.
type target struct {
	endpoint string
	region   string
	keyID    string
	secret   string
}

// locate finds the node. What the command line says comes first, then
// MAYFLY_DATA_DIR, then the environment that `mayfly env` sets, then the node of
// the usual data directory.
func (c *cli) locate() (target, error) {
	fromEnv := target{
		endpoint: os.Getenv("AWS_ENDPOINT_URL"),
		region:   os.Getenv("AWS_REGION"),
		keyID:    os.Getenv("AWS_ACCESS_KEY_ID"),
		secret:   os.Getenv("AWS_SECRET_ACCESS_KEY"),
	}
	unsaid := c.dataDir == "" && c.endpoint == "" && os.Getenv("MAYFLY_DATA_DIR") == ""
	if unsaid && fromEnv.endpoint != "" && fromEnv.keyID != "" {
		return fromEnv.checked()
	}
	t, err := readTarget(c.directory())
	if c.endpoint == "" {
		return t, err
	}
	if err != nil && !errors.As(err, new(notStarted)) {
		return t, err
	}
	t.endpoint = c.endpoint
	if err != nil { // another machine's node: its key can only be in the environment
		if fromEnv.keyID == "" {
			return t, fmt.Errorf("no access key for %s: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name the node's --data-dir", c.endpoint)
		}
		t.keyID, t.secret, t.region = fromEnv.keyID, fromEnv.secret, fromEnv.region
	}
	return t.checked()
}

func (t target) checked() (target, error) {
	u, err := url.Parse(t.endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return t, fmt.Errorf("%q is not the URL of a node, such as http://127.0.0.1:9555", t.endpoint)
	}
	if t.region == "" {
		t.region = node.Default().Region
	}
	return t, nil
}

// notStarted says that a data directory holds no running node.
type notStarted struct {
	dir  string
	ever bool
}

func (e notStarted) Error() string {
	start := "mayfly up"
	if e.dir != defaultDataDir() {
		start += " --data-dir " + shellQuote(e.dir)
	}
	if e.ever {
		return fmt.Sprintf("the node of %s is not running; start it with: %s", e.dir, start)
	}
	return fmt.Sprintf("no node was ever started in %s; start one with: %s\nA node elsewhere is reached with --data-dir or --endpoint.", e.dir, start)
}

// readTarget reads what a running node wrote into its data directory.
func readTarget(dir string) (t target, err error) {
	keys, err := access.Read(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return t, notStarted{dir: dir}
	}
	if err != nil {
		return t, err
	}
	b, err := os.ReadFile(filepath.Join(dir, node.AddressFile))
	if errors.Is(err, fs.ErrNotExist) {
		return t, notStarted{dir: dir, ever: true}
	}
	if err != nil {
		return t, fmt.Errorf("find the node: %w", err)
	}
	var a node.Address
	if err := json.Unmarshal(b, &a); err != nil {
		return t, fmt.Errorf("find the node: %s: %w", filepath.Join(dir, node.AddressFile), err)
	}
	k := keys.Primary()
	return target{endpoint: a.Endpoint, region: a.Region, keyID: k.ID, secret: k.Secret}, nil
}

// client calls a node's public API.
type client struct {
	target
	*lambda.Client
	api *api.Client // for what the SDK's client has no words for, and for the other services
}

func (c *cli) client() (*client, error) {
	t, err := c.locate()
	if err != nil {
		return nil, err
	}
	return newClient(t), nil
}

func newClient(t target) *client {
	h := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	return &client{
		target: t,
		api:    &api.Client{Endpoint: t.endpoint, Region: t.region, KeyID: t.keyID, Secret: t.secret, HTTP: h},
		Client: lambda.New(lambda.Options{
			BaseEndpoint: &t.endpoint,
			Region:       t.region,
			Credentials:  credentials.NewStaticCredentialsProvider(t.keyID, t.secret, ""),
			HTTPClient:   h,
			Retryer:      aws.NopRetryer{}, // a person sees each failure
		}),
	}
}

// get calls the admin door, which is for what AWS's API has no words for. The
// caller closes the body.
func (cl *client) get(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	return cl.api.Stream(ctx, path, query)
}

// getJSON calls the admin door and decodes its answer into v.
func (cl *client) getJSON(ctx context.Context, path string, query url.Values, v any) error {
	return cl.api.Admin(ctx, http.MethodGet, path, query, nil, v)
}

// nodeStatus is what the CLI reads of the admin door's answer to "node".
type nodeStatus struct {
	Version   string        `json:"version"`
	Driver    string        `json:"driver"`
	Account   string        `json:"account"`
	Warnings  []string      `json:"warnings"`
	Runtimes  []runtimeInfo `json:"runtimes"`
	Instances []instance    `json:"instances"`
}

type runtimeInfo struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

type instance struct {
	ID          string    `json:"id"`
	Function    string    `json:"function"`
	Version     string    `json:"version"`
	State       string    `json:"state"`
	Since       time.Time `json:"since"`
	MemoryBytes int64     `json:"memoryBytes"`
	Provisioned bool      `json:"provisioned,omitempty"`
}

func (cl *client) node(ctx context.Context) (s nodeStatus, err error) {
	return s, cl.getJSON(ctx, "node", nil, &s)
}

// describeError words an error for a person.
func describeError(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		return describeTransport(u)
	}
	var p *api.Problem
	if errors.As(err, &p) {
		return hint(p.Code, p.Message)
	}
	var busy *types.TooManyRequestsException
	if errors.As(err, &busy) {
		return describeThrottle(busy)
	}
	var sdk smithy.APIError
	if errors.As(err, &sdk) {
		return hint(sdk.ErrorCode(), sdk.ErrorMessage())
	}
	return err.Error()
}

// hint adds to a refusal what to do about it.
func hint(code, msg string) string {
	if msg == "" {
		msg = "the node refused the call"
	}
	switch code {
	case "":
		return msg
	case "NotFound", "ResourceNotFoundException":
		return msg + listing(msg)
	case "UnrecognizedClientException", "InvalidSignatureException", "InvalidClientTokenId", "SignatureDoesNotMatch":
		return msg + "\nThe access key is not this node's: eval \"$(mayfly env)\" sets the right one, or unset AWS_ENDPOINT_URL to use the data directory's."
	}
	return msg + " (" + code + ")"
}

// describeThrottle says of a call that was refused which limit it met and what
// raises that.
func describeThrottle(err *types.TooManyRequestsException) string {
	switch err.Reason {
	case types.ThrottleReasonReservedFunctionConcurrentInvocationLimitExceeded:
		return "the function already runs as many calls as are reserved for it, or is stopped with a reservation of 0\n`mayfly concurrency NAME` shows that, `--reserved` changes it."
	case types.ThrottleReasonConcurrentInvocationLimitExceeded:
		return "the node already runs as many calls as it may: try again in a moment, or start it with a larger --concurrency"
	}
	if err.ErrorMessage() == "Rate Exceeded." { // a budget that is used up says so itself
		return "there was no memory for another instance, or the version has as many as its scaling allows: try again in a moment, or start the node with a larger --memory"
	}
	return hint(err.ErrorCode(), err.ErrorMessage())
}

// listing says how to list what was not found, "" if the message does not tell what
// that is.
func listing(msg string) string {
	if strings.HasPrefix(msg, "function ") {
		return "\n`mayfly ls` lists the functions there are."
	}
	arn, ok := strings.CutPrefix(msg, "Function not found: ")
	if !ok {
		if arn, ok = strings.CutPrefix(msg, "Alias not found: "); !ok {
			return ""
		}
	}
	_, resource := api.SplitARN(arn)
	name, qualifier, _ := strings.Cut(strings.TrimPrefix(resource, "function:"), ":")
	if qualifier == "" {
		return "\n`mayfly ls` lists the functions there are."
	}
	return fmt.Sprintf("\n`mayfly describe %s` lists its versions and aliases, if there is the function.", name)
}

// describeTransport words a call that got no answer.
func describeTransport(err *url.Error) string {
	where := "the endpoint"
	if u, perr := url.Parse(err.URL); perr == nil {
		where = u.Scheme + "://" + u.Host
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "no node answers at " + where + "; start one with: mayfly up"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return "the node at " + where + " ended before it answered"
	default:
		return fmt.Sprintf("no answer from %s: %v", where, err.Err)
	}
}
