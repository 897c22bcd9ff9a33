package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	api "github.com/mayfly-dev/mayfly/internal/client"
)

func (c *cli) queueRedrive() *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "redrive DEAD-LETTER-QUEUE",
		Short: "Move dead letters back to the queues, functions and buses they were for",
		Example: `  mayfly queue redrive orders-dead
  mayfly queue redrive orders-dead --to orders-by-hand`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			for _, name := range []string{args[0], to} { // for their error says what to do
				if name == "" {
					continue
				}
				if _, err := cl.queueURL(cmd.Context(), name); err != nil {
					return err
				}
			}
			moved, err := cl.api.Redrive(cmd.Context(), args[0], to)
			if errors.Is(err, api.ErrNoAddressee) {
				err = fmt.Errorf(`%w
Look at it: mayfly events peek %s
Then name a queue for it with --to, or call the function with it: mayfly invoke FUNCTION --async --payload EVENT`, err, args[0])
			}
			if err != nil && moved > 0 {
				return fmt.Errorf("moved %s, but %w", numbered(moved, "message"), err)
			}
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(map[string]int{"moved": moved})
			}
			fmt.Fprintf(c.err, "moved %s out of %s\n", numbered(moved, "message"), args[0])
			return nil
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "queue to move them to (default: where each was to go)")
	return cmd
}
