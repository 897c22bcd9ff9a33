// Command mayfly runs functions on your own machine behind AWS Lambda's API:
// `mayfly up` is the node, the other commands are clients of its public API.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"

	"github.com/mayfly-dev/mayfly/internal/node"
)

func main() {
	node.Reexec() // parts of sandboxes are this same binary
	os.Exit(run())
}

// Exit statuses.
const (
	exitFailed = 1 // what was asked for did not work, or the function failed
	exitUsage  = 2 // the command line was wrong

	exitInterrupted = 128 + int(syscall.SIGINT)
)

func run() int {
	c := &cli{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	ctx, stop := interruptible()
	defer stop()
	cmd, err := c.root().ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return exitInterrupted
	}
	var silent silentError
	if errors.As(err, &silent) {
		return int(silent)
	}
	name := "mayfly"
	if cmd != nil {
		name = cmd.CommandPath()
	}
	lipgloss.Fprintln(c.err, bad.Render("error:"), describeError(err))
	var usage usageError
	if errors.As(err, &usage) || strings.HasPrefix(err.Error(), "unknown command") {
		fmt.Fprintf(c.err, "See: %s --help\n", name)
		return exitUsage
	}
	return exitFailed
}

// interruptible returns a context that the first SIGINT or SIGTERM ends; the
// second ends the process.
func interruptible() (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		s := <-signals
		fmt.Fprintln(os.Stderr, "mayfly: stopped at once; the next start cleans up")
		code := 1
		if n, ok := s.(syscall.Signal); ok {
			code = 128 + int(n)
		}
		os.Exit(code)
	}()
	return ctx, cancel
}

// cli is one run of the command line.
type cli struct {
	in  io.Reader
	out io.Writer // answers
	err io.Writer // everything else

	json     bool
	dataDir  string
	endpoint string
}

// usageError is a wrong command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// silentError ends with a status and says nothing: all has been said.
type silentError int

func (silentError) Error() string { return "failed" }

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "mayfly",
		Short: "Run functions on your own machine, behind AWS Lambda's API",
		Long: `Mayfly runs functions on your own machine, behind AWS Lambda's API.

  mayfly up               start a node
  mayfly deploy DIR       make a function of a directory
  mayfly invoke NAME      call it

The AWS CLI and SDKs work too: eval "$(mayfly env)"`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	f := root.PersistentFlags()
	f.StringVar(&c.dataDir, "data-dir", "", "the node's directory (MAYFLY_DATA_DIR; default "+defaultDataDir()+")")
	f.StringVar(&c.endpoint, "endpoint", "", "URL of the node (default: that of the data directory's node, or AWS_ENDPOINT_URL)")
	f.BoolVar(&c.json, "json", false, "print JSON")
	setApart(f, "endpoint", "json")
	root.AddGroup(&cobra.Group{ID: "node", Title: "Node:"}, &cobra.Group{ID: "functions", Title: "Functions:"}, &cobra.Group{ID: "events", Title: "Events:"})
	for _, cmd := range []*cobra.Command{c.upCommand(), c.demoCommand(), c.doctorCommand(), c.envCommand(), c.billCommand(), c.budgetCommand(), c.consoleCommand()} {
		cmd.GroupID = "node"
		root.AddCommand(cmd)
	}
	for _, cmd := range []*cobra.Command{
		c.deployCommand(), c.invokeCommand(), c.lsCommand(), c.describeCommand(), c.logsCommand(), c.traceCommand(), c.urlCommand(), c.apiCommand(), c.promoteCommand(), c.rollbackCommand(), c.concurrencyCommand(), c.rmCommand(),
		c.devCommand(), c.recordCommand(), c.replayCommand(),
	} {
		cmd.GroupID = "functions"
		root.AddCommand(cmd)
	}
	for _, cmd := range []*cobra.Command{
		c.queueCommand(), c.bucketCommand(), c.scheduleCommand(), c.eventsCommand(), c.triggerCommand(),
	} {
		cmd.GroupID = "events"
		root.AddCommand(cmd)
	}
	root.AddCommand(c.versionCommand())
	wrapArgs(root)
	return root
}

// wrapArgs makes complaints about arguments usage errors.
func wrapArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			err := check(cmd, args)
			switch {
			case err == nil:
				return nil
			case !cmd.HasParent():
				return usageError{err}
			case len(args) == 0:
				return usageError{fmt.Errorf("something is missing; it is called as: %s", cmd.UseLine())}
			default:
				return usageError{fmt.Errorf("%q is too much; it is called as: %s", args[len(args)-1], cmd.UseLine())}
			}
		}
	}
	for _, sub := range cmd.Commands() {
		wrapArgs(sub)
	}
}
