package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/spf13/cobra"

	"github.com/mayfly-dev/mayfly/internal/node"
)

const (
	// role is what CreateFunction wants named. Nothing here looks at it.
	role = "arn:aws:iam::000000000000:role/mayfly"

	settleLimit = 3 * time.Minute         // for a function to become active
	settlePoll  = 50 * time.Millisecond   // between looks
	bigModules  = int64(50 * 1000 * 1000) // bytes of node_modules that are worth a word
)

type deployOptions struct {
	project // what flags say; it goes before the project file
	env     []string
	watch   bool
	release releaseOptions
}

func (c *cli) deployCommand() *cobra.Command {
	var o deployOptions
	cmd := &cobra.Command{
		Use:   "deploy DIR",
		Short: "Make a function of a directory, or update it",
		Long: `Make a function of a directory, or update the one of that name.

Runtime and handler are inferred from the files: app.py or lambda_function.py,
index.mjs or index.js, an executable bootstrap, or a Go program (go.mod or
main.go), which is compiled. A mayfly.toml in the directory may say name,
runtime, handler, memory, timeout, storage, snapshot, description, url, [env] and
[web]; flags go before it. What neither says stays as it is. A .mayflyignore lists what to leave
out of the package.

--web makes a function of a program that serves HTTP by itself: it finds the port to
listen on in PORT, and gets many requests at one time.

--publish makes a version that never changes of the code. --alias gives it all
calls of an alias, --canary only a part, until "mayfly promote" gives it the rest
or "mayfly rollback" takes it back.`,
		Example: `  mayfly deploy ./hello
  mayfly deploy ./hello --name hi --memory 256 --timeout 10 --env STAGE=dev
  mayfly deploy ./hello --watch
  mayfly deploy ./hello --canary 10%`,
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range []string{"memory", "timeout", "storage"} {
				// Zero would mean: leave it as it is.
				if f := cmd.Flags().Lookup(name); f.Changed && strings.TrimLeft(f.Value.String(), "-0") == "" {
					return usageError{fmt.Errorf("--%s must be more than 0", name)}
				}
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			if o.watch && o.release.wanted() {
				return usageError{errors.New("--watch changes what is not published: leave out --publish, --alias and --canary")}
			}
			if o.watch {
				return c.watch(cmd.Context(), cl, args[0], o)
			}
			d, err := c.deploy(cmd.Context(), cl, args[0], o)
			if err != nil {
				return err
			}
			return c.printDeployment(d)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Name, "name", "", "function name (default: the directory's)")
	f.StringVar(&o.Runtime, "runtime", "", "such as python3.11, nodejs20.x, provided.al2023")
	f.StringVar(&o.Handler, "handler", "", "such as app.handler")
	f.StringVar(&o.Description, "description", "", "for people")
	f.Int32Var(&o.MemoryMB, "memory", 0, "MB of memory")
	f.Int32Var(&o.TimeoutS, "timeout", 0, "seconds a call may take")
	f.Int32Var(&o.StorageMB, "storage", 0, "MB of /tmp")
	f.StringVar(&o.Snapshot, "snapshot", "", "whether cold starts may come of a snapshot of the initialised function: on or off")
	f.StringArrayVarP(&o.env, "env", "e", nil, "environment variable KEY=VALUE; repeat for more")
	f.StringVar(&o.Web.Command, "web", "", "run this program with its arguments as a web server, such as \"node server.js\"")
	f.StringVar(&o.Web.Ready, "web-ready", "", "path that the web server answers once it can work (default: its first accepted connection)")
	f.IntVar(&o.Web.Concurrency, "web-concurrency", 0, "requests at one time in an instance of the web server (default: 80)")
	f.BoolVar(&o.release.publish, "publish", false, "publish a version of it")
	f.StringVar(&o.release.alias, "alias", "", "publish, and give the version all calls of an alias (with --canary: "+defaultAlias+")")
	f.Var(&o.release.canary, "canary", "publish, and give the version a part of the alias's calls, such as 10%")
	f.BoolVar(&o.URL, "url", false, "give it a public HTTP endpoint, as mayfly url --public does")
	f.BoolVarP(&o.watch, "watch", "w", false, "deploy again whenever a file changes")
	return cmd
}

// merge lays what flags say over the project file.
func (p *project) merge(o *deployOptions) error {
	for _, s := range []struct {
		dst *string
		src string
	}{{&p.Name, o.Name}, {&p.Runtime, o.Runtime}, {&p.Handler, o.Handler}, {&p.Description, o.Description}, {&p.Snapshot, o.Snapshot}} {
		if s.src != "" {
			*s.dst = s.src
		}
	}
	for _, n := range []struct {
		dst *int32
		src int32
	}{{&p.MemoryMB, o.MemoryMB}, {&p.TimeoutS, o.TimeoutS}, {&p.StorageMB, o.StorageMB}} {
		if n.src != 0 {
			*n.dst = n.src
		}
	}
	if p.Snapshot != "" && p.Snapshot != "on" && p.Snapshot != "off" {
		return usageError{fmt.Errorf("snapshot is on or off, not %q", p.Snapshot)}
	}
	p.URL = p.URL || o.URL
	for _, kv := range o.env {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return usageError{fmt.Errorf("--env takes KEY=VALUE, not %q", kv)}
		}
		if p.Env == nil {
			p.Env = map[string]string{}
		}
		p.Env[k] = v
	}
	if o.Web.Command != "" {
		p.Web.Command = o.Web.Command
	}
	if o.Web.Ready != "" {
		p.Web.Ready = o.Web.Ready
	}
	if o.Web.Concurrency != 0 {
		p.Web.Concurrency = o.Web.Concurrency
	}
	p.Env = p.Web.environment(p.Env)
	return nil
}

// deployment is what deploy did.
type deployment struct {
	Name       string   `json:"name"`
	Action     string   `json:"action"` // created, updated, unchanged
	Runtime    string   `json:"runtime"`
	Handler    string   `json:"handler"`
	CodeBytes  int      `json:"codeBytes"`
	CodeSHA256 string   `json:"codeSha256"`
	Changes    []change `json:"changes"`
	Release    *release `json:"release,omitempty"`
	Warnings   []string `json:"warnings"`
	URL        string   `json:"url,omitempty"` // its endpoint, if it was to have one
}

// change is one setting that an update changed.
type change struct {
	What string `json:"what"`
	From string `json:"from"`
	To   string `json:"to"`
}

// deploy makes or updates a function and waits until it can be called.
func (c *cli) deploy(ctx context.Context, cl *client, dir string, o deployOptions) (*deployment, error) {
	status, err := cl.node(ctx)
	if err != nil {
		return nil, err
	}
	p, err := readProject(dir)
	if err != nil {
		return nil, err
	}
	if err := p.merge(&o); err != nil {
		return nil, err
	}
	if err := p.infer(status.Runtimes); err != nil {
		return nil, err
	}
	code, err := p.pack(ctx, c.err)
	if err != nil {
		return nil, err
	}
	d := &deployment{
		Name: p.Name, Runtime: p.Runtime, Handler: p.Handler, CodeBytes: len(code.data), CodeSHA256: code.sha256(),
		Changes: []change{}, Warnings: []string{},
	}
	if code.modules > bigModules {
		d.Warnings = append(d.Warnings, fmt.Sprintf("node_modules holds %s: leave out what only the build needs (npm install --omit=dev, or %s)", bytesText(code.modules), ignoreFile))
	}
	if status.Driver == node.DriverProcess { // other warnings are told once, when the node starts
		d.Warnings = append(d.Warnings, status.Warnings...)
	}
	old, err := cl.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &p.Name})
	var missing *types.ResourceNotFoundException
	switch {
	case errors.As(err, &missing):
		d.Action = "created"
		err = cl.create(ctx, p, code)
	case err == nil:
		err = cl.update(ctx, p, code, old, d)
	}
	if err != nil {
		return nil, err
	}
	var served struct{ RuntimeWarning string }
	if err := cl.getJSON(ctx, "functions/"+p.Name+"/status", nil, &served); err != nil {
		return nil, err
	}
	if served.RuntimeWarning != "" {
		d.Warnings = append(d.Warnings, served.RuntimeWarning)
	}
	if p.URL {
		if d.URL, err = cl.ensureURL(ctx, p.Name); err != nil {
			return nil, err
		}
	}
	if o.release.wanted() {
		if d.Release, err = cl.release(ctx, p.Name, o.release); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (cl *client) create(ctx context.Context, p *project, code *bundle) error {
	in := &lambda.CreateFunctionInput{
		FunctionName: &p.Name,
		Runtime:      types.Runtime(p.Runtime),
		Handler:      &p.Handler,
		Role:         aws.String(role),
		Code:         &types.FunctionCode{ZipFile: code.data},
	}
	if p.Description != "" {
		in.Description = &p.Description
	}
	if p.MemoryMB != 0 {
		in.MemorySize = &p.MemoryMB
	}
	if p.TimeoutS != 0 {
		in.Timeout = &p.TimeoutS
	}
	if p.StorageMB != 0 {
		in.EphemeralStorage = &types.EphemeralStorage{Size: &p.StorageMB}
	}
	if p.Env != nil {
		in.Environment = &types.Environment{Variables: p.Env}
	}
	in.SnapStart = p.snapStart()
	if _, err := cl.CreateFunction(ctx, in); err != nil {
		return err
	}
	return cl.settle(ctx, p.Name)
}

// update changes what differs: the configuration first, then the code.
func (cl *client) update(ctx context.Context, p *project, code *bundle, old *lambda.GetFunctionConfigurationOutput, d *deployment) error {
	in := p.difference(old, d)
	var status struct{ Snapshots string } // Lambda's own answer can't tell what nobody chose
	if err := cl.getJSON(ctx, "functions/"+p.Name+"/status", nil, &status); err != nil {
		return err
	}
	if p.Snapshot != "" && p.Snapshot != status.Snapshots {
		d.Changes = append(d.Changes, change{"snapshot", status.Snapshots, p.Snapshot})
		in.SnapStart = p.snapStart()
	}
	if len(d.Changes) > 0 {
		if _, err := cl.UpdateFunctionConfiguration(ctx, in); err != nil {
			return err
		}
		if err := cl.settle(ctx, p.Name); err != nil {
			return err
		}
	}
	if was := aws.ToString(old.CodeSha256); was != d.CodeSHA256 {
		d.Changes = append(d.Changes, change{
			"code", bytesText(old.CodeSize) + " " + shortHash(was), bytesText(int64(d.CodeBytes)) + " " + shortHash(d.CodeSHA256),
		})
		if _, err := cl.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: &p.Name, ZipFile: code.data}); err != nil {
			return err
		}
		if err := cl.settle(ctx, p.Name); err != nil {
			return err
		}
	}
	d.Action = "updated"
	if len(d.Changes) == 0 {
		d.Action = "unchanged"
	}
	return nil
}

// snapStart is what Lambda's API calls the wish; nil leaves it as it is.
func (p *project) snapStart() *types.SnapStart {
	switch p.Snapshot {
	case "on":
		return &types.SnapStart{ApplyOn: types.SnapStartApplyOnPublishedVersions}
	case "off":
		return &types.SnapStart{ApplyOn: types.SnapStartApplyOnNone}
	}
	return nil
}

func shortHash(s string) string { return "(" + s[:min(8, len(s))] + ")" }

// difference returns the update that brings old to what p says, and notes each
// change in d.
func (p *project) difference(old *lambda.GetFunctionConfigurationOutput, d *deployment) *lambda.UpdateFunctionConfigurationInput {
	in := &lambda.UpdateFunctionConfigurationInput{FunctionName: &p.Name}
	differs := func(what, from, to string) bool {
		if to == "" || from == to {
			return false
		}
		d.Changes = append(d.Changes, change{what, from, to})
		return true
	}
	number := func(n int32, unit string) string {
		if n == 0 {
			return ""
		}
		return fmt.Sprintf("%d %s", n, unit)
	}
	if differs("runtime", string(old.Runtime), p.Runtime) {
		in.Runtime = types.Runtime(p.Runtime)
	}
	if differs("handler", aws.ToString(old.Handler), p.Handler) {
		in.Handler = &p.Handler
	}
	if differs("description", aws.ToString(old.Description), p.Description) {
		in.Description = &p.Description
	}
	if differs("memory", number(aws.ToInt32(old.MemorySize), "MB"), number(p.MemoryMB, "MB")) {
		in.MemorySize = &p.MemoryMB
	}
	if differs("timeout", number(aws.ToInt32(old.Timeout), "s"), number(p.TimeoutS, "s")) {
		in.Timeout = &p.TimeoutS
	}
	var storage int32
	if old.EphemeralStorage != nil {
		storage = aws.ToInt32(old.EphemeralStorage.Size)
	}
	if differs("storage", number(storage, "MB"), number(p.StorageMB, "MB")) {
		in.EphemeralStorage = &types.EphemeralStorage{Size: &p.StorageMB}
	}
	var env map[string]string
	if old.Environment != nil {
		env = old.Environment.Variables
	}
	if p.Env != nil && !maps.Equal(env, p.Env) {
		d.Changes = append(d.Changes, change{"environment", names(env), names(p.Env)})
		in.Environment = &types.Environment{Variables: p.Env}
	}
	return in
}

// names lists variables without their values, which may be secret.
func names(env map[string]string) string {
	if len(env) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(maps.Keys(env)), ", ")
}

// settle waits until a function is active and its last update has ended.
func (cl *client) settle(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, settleLimit, fmt.Errorf("%s is still not active after %s; see: mayfly describe %s", name, settleLimit, name))
	defer cancel()
	for {
		f, err := cl.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &name})
		switch {
		case err != nil:
			return errors.Join(context.Cause(ctx), err)
		case f.State == types.StateFailed:
			return fmt.Errorf("%s can't be called: %s", name, aws.ToString(f.StateReason))
		case f.LastUpdateStatus == types.LastUpdateStatusFailed:
			return fmt.Errorf("the update of %s failed: %s", name, aws.ToString(f.LastUpdateStatusReason))
		case f.State == types.StateActive && f.LastUpdateStatus == types.LastUpdateStatusSuccessful:
			return nil
		}
		select {
		case <-time.After(settlePoll):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (c *cli) printDeployment(d *deployment) error {
	if c.json {
		return c.printJSON(d)
	}
	for _, w := range d.Warnings {
		c.warnf("%s", w)
	}
	lipgloss.Fprintln(c.out, good.Render("✓"), strong.Render(d.Name), d.Action, faint.Render(fmt.Sprintf("(%s, %s, %s)", d.Runtime, d.Handler, bytesText(int64(d.CodeBytes)))))
	for _, ch := range d.Changes {
		lipgloss.Fprintln(c.out, " ", fmt.Sprintf("%-12s", ch.What), faint.Render(ch.From), "→", ch.To)
	}
	if d.Release != nil {
		c.printRelease(d.Name, d.Release)
	}
	if d.URL != "" {
		lipgloss.Fprintln(c.out, " ", fmt.Sprintf("%-12s", "endpoint"), accent.Render(d.URL))
	}
	if d.Action == "created" {
		lipgloss.Fprintln(c.out, faint.Render("  Call it: ")+c.self()+" invoke "+d.Name)
	}
	return nil
}

// self is how this program was called, with what a further command needs to
// reach the same node.
func (c *cli) self() string {
	s := "mayfly"
	if strings.Contains(os.Args[0], string(filepath.Separator)) {
		s = shellQuote(os.Args[0])
	}
	if c.dataDir != "" {
		s += " --data-dir " + shellQuote(c.dataDir)
	}
	if c.endpoint != "" {
		s += " --endpoint " + shellQuote(c.endpoint)
	}
	return s
}
