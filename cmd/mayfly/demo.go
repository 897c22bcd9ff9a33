package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/spf13/cobra"

	"github.com/mayfly-dev/mayfly/examples"
	"github.com/mayfly-dev/mayfly/internal/meter"
	"github.com/mayfly-dev/mayfly/internal/node"
)

// warmCalls are made of each function after its first; their median is shown.
const warmCalls = 21

func (c *cli) demoCommand() *cobra.Command {
	cfg := defaultConfig()
	cfg.Listen = "127.0.0.1:0"
	var once bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Start a node with example functions and call each, cold and warm",
		Long: `Start a node on a data directory of its own, deploy example functions for the
language runtimes of this machine, call each one cold and warm, and go on
serving. The settings are those of up. The directory is removed in the end,
unless it was named with --data-dir.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fillConfig(cmd.Flags(), "", os.LookupEnv); err != nil {
				return usageError{err}
			}
			return c.demo(cmd.Context(), cfg, once)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&once, "once", false, "exit after the table")
	bindConfig(f, &cfg)
	setApart(f, "once")
	return cmd
}

// trial is an example and what became of it.
type trial struct {
	Function  string  `json:"function"`
	Runtime   string  `json:"runtime"`
	ColdMS    float64 `json:"coldMs"` // as the caller saw it
	WarmMS    float64 `json:"warmMs"` // median
	ColdBill  int64   `json:"coldBilledMs"`
	WarmBill  int64   `json:"warmBilledMs"`
	PeakBytes int64   `json:"memoryUsedBytes"`
	Answer    string  `json:"answer"`
	Skipped   string  `json:"skipped,omitempty"` // why it could not be run

	event []byte
}

func (c *cli) demo(ctx context.Context, cfg node.Config, once bool) (err error) {
	cfg.DataDir = c.dataDir
	ending := "Ctrl-C stops the node."
	if cfg.DataDir == "" {
		if cfg.DataDir, err = os.MkdirTemp("", "mayfly-demo-"); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(cfg.DataDir)) }()
		c.dataDir = cfg.DataDir
		ending = "Ctrl-C stops the node and removes " + cfg.DataDir + "."
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	logFile, err := os.OpenFile(filepath.Join(cfg.DataDir, "node.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer logFile.Close()

	lipgloss.Fprintln(c.err, "\n ", strong.Foreground(lipgloss.Magenta).Render("mayfly"), "demo")
	lipgloss.Fprintln(c.err)
	var n *node.Node
	err = step(c.err, "starting a node", func() (err error) {
		n, err = node.New(ctx, cfg, readBuild().Version, slog.New(slog.NewTextHandler(logFile, nil)))
		return err
	})
	if err != nil {
		return err
	}
	runCtx, stop := context.WithCancel(ctx)
	stopped := make(chan error, 1)
	go func() { stopped <- n.Run(runCtx) }()
	err = c.show(ctx, n)
	if err == nil && !once {
		c.suggest(n)
		lipgloss.Fprintln(c.out, faint.Render(ending))
		select {
		case <-ctx.Done():
		case err = <-stopped:
			stop()
			return err
		}
	}
	stop()
	if ctx.Err() != nil && !once {
		err = nil // stopped by who watches it, at whatever point
	}
	return errors.Join(err, <-stopped)
}

// show deploys and calls the examples, and prints the table.
func (c *cli) show(ctx context.Context, n *node.Node) error {
	key, _ := n.Key()
	cl := newClient(target{endpoint: n.Endpoint(), region: n.Config().Region, keyID: key.ID, secret: key.Secret})
	src, err := os.MkdirTemp("", "mayfly-examples-")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer os.RemoveAll(src)
	trials, err := unpackExamples(src)
	if err != nil {
		return fmt.Errorf("demo: unpack the examples: %w", err)
	}
	for _, t := range trials {
		if err := c.tryOut(ctx, cl, filepath.Join(src, t.Function), t); err != nil {
			return fmt.Errorf("%s: %w", t.Function, err)
		}
	}
	if c.json {
		return c.printJSON(trials)
	}
	c.printTrials(trials)
	for _, w := range n.Warnings() {
		c.warnf("%s", w)
	}
	return nil
}

// unpackExamples writes the examples to dir, as they are in the source.
func unpackExamples(dir string) ([]*trial, error) {
	var trials []*trial
	err := fs.WalkDir(examples.Files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(path))
		if d.IsDir() {
			trials = append(trials, &trial{Function: path})
			return os.Mkdir(to, 0o700)
		}
		b, err := examples.Files.ReadFile(path)
		if err != nil {
			return err
		}
		// Go modules can't be embedded under their own names.
		if base := filepath.Base(to); base == "go.mod.txt" || base == "go.sum.txt" {
			to = strings.TrimSuffix(to, ".txt")
		}
		if filepath.Base(to) == "event.json" {
			trials[len(trials)-1].event = b
			return nil
		}
		return os.WriteFile(to, b, 0o600)
	})
	// What has no event to try it with needs more than a node.
	trials = slices.DeleteFunc(trials, func(t *trial) bool { return t.event == nil })
	first := []string{"hello-python", "hello-node", "hello-go"}
	rank := func(t *trial) int {
		if i := slices.Index(first, t.Function); i >= 0 {
			return i
		}
		return len(first)
	}
	slices.SortStableFunc(trials, func(a, b *trial) int { return rank(a) - rank(b) })
	return trials, err
}

// tryOut deploys an example and calls it cold and warm. What this machine lacks
// is no error.
func (c *cli) tryOut(ctx context.Context, cl *client, dir string, t *trial) error {
	if p, err := readProject(dir); err == nil && p.Web.Command != "" && os.Geteuid() != 0 {
		t.Skipped = "it is a web server, which needs a network for functions: run the demo as root"
		return nil
	}
	var built bytes.Buffer
	err := step(c.err, "deploying "+t.Function, func() error {
		quiet := &cli{err: &built}
		d, err := quiet.deploy(ctx, cl, dir, deployOptions{})
		if err != nil {
			return err
		}
		t.Runtime = d.Runtime
		return nil
	})
	var lacking missingTool
	if errors.As(err, &lacking) {
		t.Skipped = lacking.Error()
		return nil
	}
	if err != nil {
		return errors.Join(err, errors.New(strings.TrimSpace(built.String())))
	}
	return step(c.err, fmt.Sprintf("calling   %s", t.Function), func() error { return cl.measure(ctx, t) })
}

// measure calls an example and notes times, bill and memory.
func (cl *client) measure(ctx context.Context, t *trial) error {
	began := time.Now()
	var warm []time.Duration
	for n := range 1 + warmCalls {
		got, err := cl.call(ctx, &lambda.InvokeInput{FunctionName: &t.Function, Payload: t.event})
		if err != nil {
			return err
		}
		if got.Error != "" {
			return fmt.Errorf("it failed: %s", got.Payload)
		}
		if n == 0 {
			t.ColdMS = millis(got.Took)
			t.Answer = string(got.Payload)
			continue
		}
		warm = append(warm, got.Took)
	}
	slices.Sort(warm)
	t.WarmMS = millis(warm[len(warm)/2])

	var list struct{ Records []meter.Record }
	q := url.Values{"function": {t.Function}, "since": {began.Add(-time.Second).UTC().Format(time.RFC3339Nano)}}
	if err := cl.getJSON(ctx, "records", q, &list); err != nil {
		return err
	}
	if len(list.Records) == 0 {
		return errors.New("its calls left no record")
	}
	first, last := list.Records[0], list.Records[len(list.Records)-1]
	t.ColdBill, t.WarmBill, t.PeakBytes = first.Billed.Milliseconds(), last.Billed.Milliseconds(), last.PeakBytes
	return nil
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (c *cli) printTrials(trials []*trial) {
	var rows [][]string
	for _, t := range trials {
		if t.Skipped != "" {
			continue
		}
		rows = append(rows, []string{
			strong.Render(t.Function), t.Runtime,
			fmt.Sprintf("%.0f", t.ColdMS), good.Render(fmt.Sprintf("%.2f", t.WarmMS)),
			fmt.Sprintf("%d / %d", t.ColdBill, t.WarmBill), fmt.Sprintf("%.0f MB", float64(t.PeakBytes)/(1<<20)),
		})
	}
	lipgloss.Fprintln(c.out)
	lipgloss.Fprintln(c.out, grid([]column{
		left("function"), left("runtime"), right("cold ms"), right("warm ms"), right("billed ms cold / warm"), right("memory used"),
	}, rows, true))
	lipgloss.Fprintln(c.out, faint.Render(fmt.Sprintf("Cold: the first call, from zero instances. Warm: median of %d more. Both as the caller sees them.", warmCalls)))
	for _, t := range trials {
		if t.Skipped != "" {
			c.warnf("%s was skipped: %s", t.Function, t.Skipped)
		}
	}
}

// suggest prints what to try next.
func (c *cli) suggest(n *node.Node) {
	mayfly := c.self()
	lipgloss.Fprintln(c.out, "\nThe node goes on serving at", accent.Render(n.Endpoint())+". In another terminal:")
	for _, line := range []string{
		mayfly + ` invoke hello-python --payload '{"name": "you"}' --tail`,
		mayfly + " logs flaky-orders -f",
		mayfly + ` invoke flaky-orders --async --payload '{"order": "A-2", "item": "lamp", "quantity": 11}'`,
		mayfly + " bill",
		`eval "$(` + mayfly + ` env)" && aws --endpoint-url "$AWS_ENDPOINT_URL" lambda list-functions`,
	} {
		fmt.Fprintln(c.out, "  "+line)
	}
}
