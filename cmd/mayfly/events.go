package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	api "github.com/mayfly-dev/mayfly/internal/client"
)

func (c *cli) eventsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Put events on an event bus; look at those that failed and run them again",
		Long: `Put events on an event bus, and take care of those that could not be handled, which
wait in a dead letter queue. Clients of EventBridge's API use the same buses.
To wake a function by events: mayfly trigger add FUNCTION --pattern '{"source": ["shop"]}'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	redrive := c.queueRedrive()
	redrive.Example = `  mayfly events peek orders-dead
  mayfly events redrive orders-dead`
	cmd.AddCommand(c.eventsPut(), c.eventsPeek(), redrive)
	return cmd
}

// events calls operations on event buses.
func (cl *client) events(ctx context.Context, operation string, in, out any) error {
	return cl.api.Operation(ctx, api.Events, operation, in, out)
}

// eventsPeek shows dead letters and leaves them where they are.
func (c *cli) eventsPeek() *cobra.Command {
	var most int
	cmd := &cobra.Command{
		Use:   "peek DEAD-LETTER-QUEUE",
		Short: "Show dead letters and leave them where they are",
		Example: `  mayfly events peek orders-dead
  mayfly events peek orders-dead --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			url, err := cl.queueURL(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			lines, err := cl.api.Receive(cmd.Context(), url, map[string]any{"MaxNumberOfMessages": most, "VisibilityTimeout": 0})
			if err != nil {
				return err
			}
			return c.printMessages(lines)
		},
	}
	cmd.Flags().IntVarP(&most, "max", "n", 10, "dead letters at most, up to 10")
	return cmd
}

func (c *cli) eventsPut() *cobra.Command {
	var bus, source, kind string
	cmd := &cobra.Command{
		Use:   "put [DETAIL]",
		Short: "Put an event on a bus",
		Example: `  mayfly events put --source shop --type OrderPlaced '{"id": 7}'
  mayfly events put --source shop --type OrderPlaced @order.json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if source == "" || kind == "" {
				return usageError{errors.New("say what the event is: --source and --type")}
			}
			detail, err := c.body(args)
			if err != nil {
				return err
			}
			if !json.Valid([]byte(detail)) {
				return usageError{errors.New("the event's detail is not JSON")}
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			id, err := cl.api.PutEvent(cmd.Context(), map[string]any{"EventBusName": bus, "Source": source, "DetailType": kind, "Detail": detail})
			switch {
			case err != nil:
				return err
			case c.json:
				return c.printJSON(map[string]string{"id": id})
			}
			_, err = fmt.Fprintln(c.out, id)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&bus, "bus", "default", "the event bus")
	f.StringVar(&source, "source", "", "who tells of it, such as shop")
	f.StringVar(&kind, "type", "", "what happened, such as OrderPlaced")
	return cmd
}
