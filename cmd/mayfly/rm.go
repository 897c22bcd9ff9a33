package main

import (
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/spf13/cobra"
)

func (c *cli) rmCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "rm NAME...",
		Aliases:           []string{"delete"},
		Short:             "Delete functions; their logs and metering stay",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: c.completeFunctions(100),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			var all error
			removed := []string{}
			for _, name := range args {
				if _, err := cl.DeleteFunction(cmd.Context(), &lambda.DeleteFunctionInput{FunctionName: &name}); err != nil {
					all = errors.Join(all, err)
					continue
				}
				removed = append(removed, name)
				if !c.json {
					fmt.Fprintln(c.err, "removed", name)
				}
			}
			if c.json {
				all = errors.Join(all, c.printJSON(map[string][]string{"removed": removed}))
			}
			return all
		},
	}
}
