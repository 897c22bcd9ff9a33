package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/node"
)

func (c *cli) upCommand() *cobra.Command {
	cfg := defaultConfig()
	var file, level string
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start a node",
		Long: `Start a node and serve until SIGINT or SIGTERM, which lets calls under way
finish. A second signal ends the node at once; the next start cleans up.

Each setting can also be given in the environment (MAYFLY_ and the flag's name,
as in MAYFLY_KEEP_ALIVE=10m) or in a configuration file (TOML, keys named like
the flags). A flag goes before the environment, and that before the file:
` + defaultConfigFile(),
		Example: `  mayfly up
  mayfly up --data-dir ./data --listen 127.0.0.1:0
  mayfly up --config node.toml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fillConfig(cmd.Flags(), file, os.LookupEnv); err != nil {
				return usageError{err}
			}
			cfg.DataDir = c.directory()
			log, err := c.logger(level)
			if err != nil {
				return err
			}
			return c.up(cmd.Context(), cfg, log)
		},
	}
	f := cmd.Flags()
	bindConfig(f, &cfg)
	f.StringVar(&file, "config", os.Getenv("MAYFLY_CONFIG"), "configuration file (MAYFLY_CONFIG)")
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	setApart(f, "config")
	return cmd
}

func setApart(f *pflag.FlagSet, names ...string) {
	for _, name := range names {
		if err := f.SetAnnotation(name, notASetting, []string{"true"}); err != nil {
			panic(err) // there is no such flag
		}
	}
}

func (c *cli) logger(level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usageError{fmt.Errorf("--log-level is debug, info, warn or error, not %q", level)}
	}
	o := &slog.HandlerOptions{Level: l}
	if c.json {
		return slog.New(slog.NewJSONHandler(c.err, o)), nil
	}
	return slog.New(slog.NewTextHandler(c.err, o)), nil
}

func (c *cli) up(ctx context.Context, cfg node.Config, log *slog.Logger) error {
	began := time.Now()
	n, err := node.New(ctx, cfg, readBuild().Version, log)
	if errs.Is(err, errs.Invalid) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	if err := c.greet(n, time.Since(began)); err != nil {
		return err
	}
	if err := n.Run(ctx); err != nil {
		return err
	}
	fmt.Fprintln(c.err, "Stopped: nothing is left running.")
	return nil
}

// greet tells who starts a node what it is and how to use it.
func (c *cli) greet(n *node.Node, took time.Duration) error {
	cfg := n.Config()
	key, first := n.Key()
	if c.json {
		return c.printJSON(map[string]any{
			"endpoint": n.Endpoint(), "dataDir": cfg.DataDir, "driver": cfg.Driver, "region": cfg.Region,
			"runtimes": c.runtimeNames(n), "warnings": append([]string{}, n.Warnings()...),
		})
	}
	title := strong.Foreground(lipgloss.Magenta).Render("mayfly")
	var b strings.Builder
	fmt.Fprintf(&b, "\n  %s %s %s\n\n", title, readBuild().Version, faint.Render(fmt.Sprintf("up after %s ms", msText(took))))
	line := func(name, value string) { fmt.Fprintf(&b, "  %s %s\n", faint.Render(fmt.Sprintf("%-9s", name)), value) }
	line("endpoint", accent.Render(n.Endpoint()))
	line("data", cfg.DataDir)
	line("driver", cfg.Driver)
	line("runtimes", strings.Join(c.runtimeNames(n), ", "))
	line("memory", fmt.Sprintf("%d MB for instances", cfg.MemoryMB))
	if first {
		line("key id", key.ID)
		line("secret", key.Secret+faint.Render("  shown once; keys.json keeps it"))
	}
	for _, w := range n.Warnings() {
		fmt.Fprintf(&b, "\n  %s %s\n", warned.Render("!"), w)
	}
	mayfly := c.self()
	fmt.Fprintf(&b, "\n  In another terminal:\n    %s deploy DIR\n    eval \"$(%s env)\"  %s\n",
		mayfly, mayfly, faint.Render("# points the AWS CLI and SDKs here"))
	_, err := lipgloss.Fprintln(c.out, b.String())
	return err
}

// runtimeNames lists what functions can be written for.
func (c *cli) runtimeNames(n *node.Node) []string {
	var names []string
	for _, r := range n.Runtimes() {
		names = append(names, r.Name)
	}
	return append(names, customOS)
}
