package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// completionLimit bounds what a press of the tab key may take.
const completionLimit = 2 * time.Second

// completeFunctions offers the names of functions where a command takes them.
// Without a node there is nothing to offer.
func (c *cli) completeFunctions(most int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		cl, err := c.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionLimit)
		defer cancel()
		lines, err := cl.list(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []cobra.Completion
		for _, l := range lines {
			if strings.HasPrefix(l.Name, prefix) {
				names = append(names, cobra.CompletionWithDesc(l.Name, l.Runtime))
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
