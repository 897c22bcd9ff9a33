// Package guest is how a function's code asks for work in the manner of AWS
// Lambda: it says what runs first in a sandbox and with which environment, puts
// calls into the terms of Lambda's Runtime API, and words the errors that the
// host finds out as Lambda does. What it says to the code is documented in
// "Using Lambda environment variables" and "Using the Lambda runtime API" of
// the Lambda Developer Guide.
package guest

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/arn"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/runtimes"
	"github.com/mayfly-dev/mayfly/internal/runtimes/node"
	"github.com/mayfly-dev/mayfly/internal/runtimes/python"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

// DefaultMaxResponse is the most bytes that an answer may have on AWS: 6 MiB
// for the answer and a little for its wrapping.
const DefaultMaxResponse = 6<<20 + 100

// Config is what a Guest needs to know of its node.
type Config struct {
	Account string // 12 digits
	Region  string

	// Resolve returns what serves a runtime name: Catalog.Resolve.
	Resolve func(name string) (runtimes.Runtime, error)

	// MaxResponse is the most bytes that an answer may have; 0 means
	// DefaultMaxResponse. Guests keep to it themselves, so that a function
	// that answers too much keeps its instance.
	MaxResponse int64

	// Access returns how the code of a function's instance reaches the node's API;
	// nil, or false, if it can't. All but the endpoint is the instance's own, and as
	// long in all instances of the function.
	Access func(function, instance string) (Access, bool)

	// Services are the names that requests with such a key are signed for.
	Services []string
}

// Access is how an instance's code reaches the node's API with an SDK of AWS.
type Access struct{ Endpoint, KeyID, Secret, Token string }

// Guest is the sandbox.Guest of all language runtimes. It is immutable and safe
// for concurrent use.
type Guest struct {
	cfg    Config
	prefix string // of function ARNs
}

var _ sandbox.Guest = (*Guest)(nil)

// New returns a Guest. A Config without account, region or Resolve is an error
// of kind errs.Invalid.
func New(cfg Config) (*Guest, error) {
	if cfg.Account == "" || cfg.Region == "" || cfg.Resolve == nil {
		return nil, errs.Newf(errs.Invalid, "guest: account, region and a catalog of runtimes are needed")
	}
	if cfg.MaxResponse == 0 {
		cfg.MaxResponse = DefaultMaxResponse
	}
	prefix := arn.Function{Region: cfg.Region, Account: cfg.Account}.String() // ends with the empty name
	return &Guest{cfg: cfg, prefix: prefix}, nil
}

// Files returns what a root image of the family holds in Paths.Runtime: contents
// by name. All are to be executable. The contents must not be changed.
func Files(family runtimes.Family) map[string][]byte {
	switch family {
	case runtimes.Python:
		files := python.Files()
		files[agentName] = Agent()
		return files
	case runtimes.Node:
		files := node.Files()
		files[agentName] = Agent()
		return files
	default:
		return map[string][]byte{agentName: Agent()}
	}
}

// Process returns the first process of an instance of v: the bootstrap of its
// language, or the agent for a custom runtime. Errors are those of
// Config.Resolve.
func (g *Guest) Process(v *function.Version, b sandbox.Birth, p sandbox.Paths) (sandbox.Process, error) {
	r, err := g.cfg.Resolve(v.Runtime)
	if err != nil {
		return sandbox.Process{}, fmt.Errorf("start an instance of %s: %w", v.Function, err)
	}
	limit := strconv.FormatInt(g.cfg.MaxResponse, 10)
	agent := p.Runtime + "/" + agentName
	program := p.Lang + "/bin/" + r.Command
	var args []string
	var serve int64
	switch {
	case v.Web != nil:
		args = webServer(agent, v.Web, p)
	case r.Family == runtimes.Python:
		// -B: the code is read-only, or shared by instances where it is not.
		args = []string{program, "-B", p.Runtime + "/" + python.Name, limit}
	case r.Family == runtimes.Node:
		// The heap's limits are the ones that Lambda gives to V8.
		args = []string{
			agent, "exec", program, "--expose-gc", "--max-http-header-size=81920",
			"--max-semi-space-size=" + strconv.Itoa(max(1, v.MemoryMB*5/100)),
			"--max-old-space-size=" + strconv.Itoa(v.MemoryMB*90/100),
			p.Runtime + "/" + node.Name, limit,
		}
	case p.Serves != "":
		args, serve = []string{agent, "start", p.Serves}, g.cfg.MaxResponse
	default:
		port := "9001"
		if p.Root != "" {
			port = "0" // instances share the host's loopback interface
		}
		args = []string{agent, "serve", port, limit}
	}
	return sandbox.Process{Args: args, Env: g.environment(v, r, b, p), Dir: p.Task, Serve: serve}, nil
}

// Copies implements sandbox.Guest: our bootstraps know of snapshots, and so does
// the agent. A custom runtime with hooks waits in restore/next of the Runtime
// API, others in invocation/next, and go on from there. Web servers are not told.
func (g *Guest) Copies(v *function.Version) bool {
	_, err := g.cfg.Resolve(v.Runtime)
	return err == nil && v.Web == nil
}

// Fresh implements sandbox.Guest. Bootstraps put the variables of a restored copy
// into its environment. That of a custom runtime's process they can't reach: see Own.
func (g *Guest) Fresh(v *function.Version, b sandbox.Birth) []string {
	list := []string{
		"AWS_LAMBDA_INITIALIZATION_TYPE=" + initialization(v, b),
		"AWS_LAMBDA_LOG_STREAM_NAME=" + LogStream(v.Version, b.ID),
	}
	if a, ok := g.access(v, b); ok {
		list = append(list, "AWS_ACCESS_KEY_ID="+a.KeyID, "AWS_SECRET_ACCESS_KEY="+a.Secret, "AWS_SESSION_TOKEN="+a.Token)
	}
	return list
}

// Own implements sandbox.Guest: credentials, which clients that init made hold on
// to, and a custom runtime's log stream. Its initialization type stays that of the
// snapshot, whose process was started with it.
//
// Python and Node keep the hash of a text that was looked up in a table, and would
// not find a changed one there. They are told their log stream instead, which code
// may well have in a table. Credentials hardly are, and who keeps signing keys by
// them derives another one when it finds none.
func (g *Guest) Own(v *function.Version, b sandbox.Birth) []string {
	r, err := g.cfg.Resolve(v.Runtime)
	if err != nil {
		return nil
	}
	var own []string
	if r.Family != runtimes.Python && r.Family != runtimes.Node {
		own = append(own, LogStream(v.Version, b.ID))
	}
	if a, ok := g.access(v, b); ok {
		own = append(own, a.KeyID, a.Secret, a.Token)
		own = append(own, g.signingKeys(a.Secret, sandbox.Born(b.ID))...)
	}
	return own
}

// signingKeys returns the keys that clients have derived from a secret, if its
// instance was born at that time. Some (the SDK for Go) use one for a day as long as
// the access key's id is the same, which it is not told that it isn't. An init may
// begin on one day and end on the next: both have a place that is theirs in all
// instances born on either.
func (g *Guest) signingKeys(secret string, born time.Time) []string {
	const day = 24 * time.Hour
	days := [2]time.Time{}
	for _, d := range []time.Time{born, born.Add(day)} {
		days[d.Unix()/int64(day/time.Second)&1] = d.UTC()
	}
	keys := make([]string, 0, len(days)*len(g.cfg.Services))
	for _, d := range days {
		for _, service := range g.cfg.Services {
			keys = append(keys, string(wire.SigningKey(secret, d.Format("20060102"), g.cfg.Region, service)))
		}
	}
	return keys
}

func (g *Guest) access(v *function.Version, b sandbox.Birth) (Access, bool) {
	if g.cfg.Access == nil {
		return Access{}, false
	}
	return g.cfg.Access(v.Function, b.ID)
}

// webServer returns the command of the agent that runs a web server.
func webServer(agent string, w *function.Web, p sandbox.Paths) []string {
	port, ready := w.Port, w.Ready
	if p.Root != "" {
		port = 0 // instances share the host's network
	}
	if ready == "" {
		ready = "-"
	}
	return append([]string{agent, "web", strconv.Itoa(port), ready}, w.Command...)
}

// Header appends what Lambda's Runtime API answers on "next": one line per
// header. The caller keeps the sum of c's fields well under 64 KiB.
func (g *Guest) Header(dst []byte, v *function.Version, c *sandbox.Call) []byte {
	dst = appendLine(dst, "Lambda-Runtime-Aws-Request-Id: ", c.RequestID)
	dst = append(dst, "Lambda-Runtime-Deadline-Ms: "...)
	dst = strconv.AppendInt(dst, c.Deadline.UnixMilli(), 10)
	dst = append(dst, "\r\nLambda-Runtime-Invoked-Function-Arn: "...)
	dst = g.appendARN(dst, v, c.InvokedName)
	dst = append(dst, "\r\n"...)
	dst = appendLine(dst, "Lambda-Runtime-Trace-Id: ", c.TraceID)
	dst = appendLine(dst, "Lambda-Runtime-Client-Context: ", c.ClientContext)
	return appendLine(dst, "Lambda-Runtime-Cognito-Identity: ", c.Identity)
}

// appendARN appends the ARN of the function as the caller named it: with the
// qualifier that the caller gave, and without one if there was none.
func (g *Guest) appendARN(dst []byte, v *function.Version, invoked string) []byte {
	if strings.HasPrefix(invoked, "arn:") {
		return appendValue(dst, invoked)
	}
	if _, name, ok := strings.Cut(invoked, "function:"); ok {
		invoked = name
	}
	dst = append(dst, g.prefix...)
	if invoked == "" {
		return append(dst, v.Function...)
	}
	return appendValue(dst, invoked)
}

func appendLine(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	dst = append(dst, name...)
	dst = appendValue(dst, value)
	return append(dst, "\r\n"...)
}

// appendValue appends value on one line. In the JSON of a client context line
// ends are white space.
func appendValue(dst []byte, value string) []byte {
	if !strings.ContainsAny(value, "\r\n") {
		return append(dst, value...)
	}
	for _, c := range []byte(value) {
		if c == '\r' || c == '\n' {
			c = ' '
		}
		dst = append(dst, c)
	}
	return dst
}

// Reserved reports whether Lambda sets the environment variable itself, so that
// a function's configuration can't.
func Reserved(name string) bool { return slices.Contains(reserved, name) }

// reserved lists the variables in the order of the Developer Guide.
var reserved = []string{
	"_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV",
	"AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION",
	"AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME",
	"AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
	"AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR",
}

// environment returns the whole environment of an instance: what Lambda sets,
// with the owner's variables over what is not reserved.
func (g *Guest) environment(v *function.Version, r runtimes.Runtime, b sandbox.Birth, p sandbox.Paths) []string {
	env := map[string]string{
		"AWS_DEFAULT_REGION":              g.cfg.Region,
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.Itoa(v.MemoryMB),
		"AWS_LAMBDA_FUNCTION_NAME":        v.Function,
		"AWS_LAMBDA_FUNCTION_VERSION":     v.Version,
		"AWS_LAMBDA_LOG_FORMAT":           "Text",
		"AWS_LAMBDA_LOG_GROUP_NAME":       LogGroup(v),
		"AWS_REGION":                      g.cfg.Region,
		"AWS_XRAY_CONTEXT_MISSING":        "LOG_ERROR",
		"AWS_XRAY_DAEMON_ADDRESS":         "169.254.100.1:2000",
		"LAMBDA_RUNTIME_DIR":              p.Runtime,
		"LAMBDA_TASK_ROOT":                p.Task,
		"LANG":                            "en_US.UTF-8",
		"LD_LIBRARY_PATH": strings.Join([]string{
			p.Lang + "/lib", "/lib64", "/usr/lib64", p.Runtime, p.Runtime + "/lib", p.Task, p.Task + "/lib", "/opt/lib",
		}, ":"),
		"PATH":     p.Lang + "/bin:/usr/local/bin:/usr/bin:/bin:/opt/bin",
		"PWD":      p.Task,
		"TZ":       ":UTC",
		"_HANDLER": v.Handler,
	}
	switch r.Family {
	case runtimes.Python:
		env["AWS_EXECUTION_ENV"] = "AWS_Lambda_" + v.Runtime
		env["PYTHONPATH"] = p.Runtime
	case runtimes.Node:
		env["AWS_EXECUTION_ENV"] = "AWS_Lambda_" + v.Runtime
		major := strings.TrimSuffix(strings.TrimPrefix(v.Runtime, "nodejs"), ".x")
		env["NODE_PATH"] = strings.Join([]string{
			"/opt/nodejs/node" + major + "/node_modules", "/opt/nodejs/node_modules",
			p.Runtime + "/node_modules", p.Runtime, p.Task,
		}, ":")
	}
	if v.Logging.JSON {
		env["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
		env["AWS_LAMBDA_LOG_LEVEL"] = cmp.Or(v.Logging.Code, "INFO")
	}
	if a, ok := g.access(v, b); ok {
		env["AWS_ENDPOINT_URL"] = a.Endpoint
	}
	if p.Root != "" {
		env["TMPDIR"] = p.Tmp // /tmp is the host's
	}
	for _, variable := range g.Fresh(v, b) {
		name, value, _ := strings.Cut(variable, "=")
		env[name] = value
	}
	for name, value := range v.Env {
		if !Reserved(name) {
			env[name] = value
		}
	}
	list := make([]string, 0, len(env))
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}

// initialization is Lambda's word for why an instance was started.
func initialization(v *function.Version, b sandbox.Birth) string {
	switch {
	case b.Saved: // custom runtimes call restore/next only then
		return "snap-start"
	case b.Provisioned:
		return "provisioned-concurrency"
	case v.Snapshot == function.SnapshotPublished && v.Version != function.Latest && !strings.HasPrefix(v.Runtime, "provided"):
		return "snap-start" // its owner asked for that
	}
	return "on-demand"
}

// LogGroup returns the name of a version's log group.
func LogGroup(v *function.Version) string {
	return cmp.Or(v.Logging.Group, OwnLogGroup(v.Function))
}

// OwnLogGroup returns the name of the log group of a function whose owner chose
// none.
func OwnLogGroup(fn string) string { return "/aws/lambda/" + fn }

// LogStream returns the name of the log stream of an instance.
func LogStream(version, instance string) string {
	return sandbox.Born(instance).UTC().Format("2006/01/02") + "/[" + version + "]" + instance
}
