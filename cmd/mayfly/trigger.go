package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// triggerKind is one kind of thing that can wake functions. Each kind has a flag
// of `trigger add` by which it is chosen.
type triggerKind interface {
	// register adds the kind's flags; the first one chooses it.
	register(f *pflag.FlagSet) (chooses string)
	// add makes a trigger as the flags say.
	add(ctx context.Context, cl *client, function, qualifier string) (triggerLine, error)
	// list returns the triggers of this kind, of the function or of all if it is "".
	list(ctx context.Context, cl *client, function string) ([]triggerLine, error)
	// remove removes a trigger. found is false if the id is none of this kind.
	remove(ctx context.Context, cl *client, id string) (found bool, err error)
}

// triggerKinds returns all kinds, in the order of the help.
func triggerKinds() []triggerKind {
	return []triggerKind{&queueTrigger{}, &bucketTrigger{}, &timeTrigger{flag: "every"}, &timeTrigger{flag: "cron"}, &ruleTrigger{}}
}

// triggerLine is a trigger as ls shows it.
type triggerLine struct {
	ID       string `json:"id"`
	Function string `json:"function"`
	Source   string `json:"source"` // in words, such as "queue orders"
	Detail   string `json:"detail,omitempty"`
	State    string `json:"state"`
	Result   string `json:"lastResult,omitempty"`
}

func (c *cli) triggerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trigger",
		Short: "Say what wakes a function",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.triggerAdd(), c.triggerLs(), c.triggerRm())
	return cmd
}

func (c *cli) triggerAdd() *cobra.Command {
	kinds := triggerKinds()
	var chooses []string
	var qualifier string
	cmd := &cobra.Command{
		Use:   "add FUNCTION",
		Short: "Let something wake a function",
		Example: `  mayfly trigger add ship --queue orders
  mayfly trigger add ship --queue orders --batch 100 --window 5s --partial
  mayfly trigger add resize --bucket photos --prefix in/ --suffix .jpg
  mayfly trigger add report --cron '30 2 * * *' --zone Europe/Berlin
  mayfly trigger add poll --every 5m
  mayfly trigger add welcome --pattern '{"source": ["shop"], "detail-type": ["CustomerJoined"]}'
  mayfly trigger add ship --queue orders --filter '{"body": {"total": [{"numeric": [">", 100]}]}}'`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeFunctions(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			chosen := slices.IndexFunc(chooses, cmd.Flags().Changed)
			if chosen < 0 {
				return usageError{errors.New("say what wakes the function: --" + strings.Join(chooses, ", --"))}
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			line, err := kinds[chosen].add(cmd.Context(), cl, args[0], qualifier)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(line)
			}
			fmt.Fprintf(c.err, "%s wakes %s now\n", line.Source, line.Function)
			_, err = fmt.Fprintln(c.out, line.ID)
			return err
		},
	}
	f := cmd.Flags()
	for _, k := range kinds {
		chooses = append(chooses, k.register(f))
	}
	cmd.MarkFlagsMutuallyExclusive(chooses...)
	f.StringVarP(&qualifier, "qualifier", "q", "", "version or alias of the function")
	return cmd
}

func (c *cli) triggerLs() *cobra.Command {
	return &cobra.Command{
		Use: "ls [FUNCTION]", Aliases: []string{"list"}, Short: "List what wakes functions", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: c.completeFunctions(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			lines := []triggerLine{}
			for _, k := range triggerKinds() {
				some, err := k.list(cmd.Context(), cl, strings.Join(args, ""))
				if err != nil {
					return err
				}
				lines = append(lines, some...)
			}
			if c.json {
				return c.printJSON(lines)
			}
			if len(lines) == 0 {
				fmt.Fprintln(c.err, "No triggers. Add one: mayfly trigger add FUNCTION --queue NAME, --bucket NAME, --every 5m, --cron '0 8 * * *' or --pattern JSON")
				return nil
			}
			var rows [][]string
			for _, l := range lines {
				rows = append(rows, []string{strong.Render(l.Function), l.Source, l.Detail, l.State, l.Result, l.ID})
			}
			lipgloss.Fprintln(c.out, grid([]column{
				left("FUNCTION"), left("WOKEN BY"), left("HOW"), left("STATE"), left("LAST RESULT"), left("ID"),
			}, rows, false))
			return nil
		},
	}
}

func (c *cli) triggerRm() *cobra.Command {
	return &cobra.Command{
		Use: "rm ID...", Aliases: []string{"delete"}, Short: "Remove triggers; what is under way ends first", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			var all error
			removed := []string{}
			for _, id := range args {
				if err := removeTrigger(cmd.Context(), cl, id); err != nil {
					all = errors.Join(all, err)
					continue
				}
				removed = append(removed, id)
				if !c.json {
					fmt.Fprintln(c.err, "removed", id)
				}
			}
			if c.json {
				all = errors.Join(all, c.printJSON(map[string][]string{"removed": removed}))
			}
			return all
		},
	}
}

func removeTrigger(ctx context.Context, cl *client, id string) error {
	for _, k := range triggerKinds() {
		if found, err := k.remove(ctx, cl, id); found || err != nil {
			return err
		}
	}
	return fmt.Errorf("there is no trigger %s\n`mayfly trigger ls` lists the triggers there are", id)
}
