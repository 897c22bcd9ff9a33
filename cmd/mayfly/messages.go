package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"

	api "github.com/mayfly-dev/mayfly/internal/client"
)

func (c *cli) queueSend() *cobra.Command {
	var group, dedup string
	var delay time.Duration
	var attributes []string
	cmd := &cobra.Command{
		Use:   "send NAME [TEXT]",
		Short: "Send a message",
		Example: `  mayfly queue send orders '{"id": 7}'
  mayfly queue send orders @order.json --delay 10s
  echo hello | mayfly queue send orders`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := c.body(args[1:])
			if err != nil {
				return err
			}
			in := map[string]any{"MessageBody": body}
			if group != "" {
				in["MessageGroupId"] = group
			}
			if dedup != "" {
				in["MessageDeduplicationId"] = dedup
			}
			if cmd.Flags().Changed("delay") {
				in["DelaySeconds"] = int(delay / time.Second)
			}
			named := map[string]map[string]string{}
			for _, a := range attributes {
				k, v, ok := strings.Cut(a, "=")
				if !ok {
					return usageError{fmt.Errorf("%q is not NAME=VALUE", a)}
				}
				named[k] = map[string]string{"DataType": "String", "StringValue": v}
			}
			if len(named) > 0 {
				in["MessageAttributes"] = named
			}
			return c.send(cmd.Context(), args[0], in)
		},
	}
	f := cmd.Flags()
	f.StringVar(&group, "group", "", "FIFO: the group whose order is kept")
	f.StringVar(&dedup, "dedup", "", "FIFO: messages of the same id are dropped for five minutes")
	f.DurationVar(&delay, "delay", 0, "how long before it can be received (default: the queue's)")
	f.StringArrayVarP(&attributes, "attribute", "a", nil, "NAME=VALUE beside the text; may be repeated")
	return cmd
}

func (c *cli) send(ctx context.Context, queue string, in map[string]any) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	if in["QueueUrl"], err = cl.queueURL(ctx, queue); err != nil {
		return err
	}
	var out struct{ MessageId, SequenceNumber string }
	if err := cl.queues(ctx, "SendMessage", in, &out); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(map[string]string{"id": out.MessageId, "sequence": out.SequenceNumber})
	}
	_, err = fmt.Fprintln(c.out, out.MessageId)
	return err
}

func (c *cli) queueReceive() *cobra.Command {
	var most int
	var wait, hide time.Duration
	var remove bool
	cmd := &cobra.Command{
		Use:   "receive NAME",
		Short: "Receive messages; they come back unless --delete is given",
		Example: `  mayfly queue receive orders --max 10 --wait 5s
  mayfly queue receive orders --delete`,
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
			in := map[string]any{"MaxNumberOfMessages": most, "WaitTimeSeconds": int(wait / time.Second)}
			if cmd.Flags().Changed("hide") {
				in["VisibilityTimeout"] = int(hide / time.Second)
			}
			lines, err := cl.api.Receive(cmd.Context(), url, in)
			if err != nil {
				return err
			}
			if err := c.printMessages(lines); err != nil || !remove {
				return err
			}
			for _, l := range lines {
				if err := cl.queues(cmd.Context(), "DeleteMessage", map[string]string{"QueueUrl": url, "ReceiptHandle": l.Handle}, nil); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.IntVarP(&most, "max", "n", 1, "messages at most, up to 10")
	f.DurationVar(&wait, "wait", 0, "how long to wait for the first, up to 20s")
	f.DurationVar(&hide, "hide", 0, "how long to hide them from others (default: the queue's)")
	f.BoolVar(&remove, "delete", false, "delete them after they are printed")
	return cmd
}

// printMessages prints the texts, and beside them what else there is of them.
func (c *cli) printMessages(lines []api.Message) error {
	if c.json {
		return c.printJSON(lines)
	}
	if len(lines) == 0 {
		fmt.Fprintln(c.err, "no message")
	}
	for _, l := range lines {
		note := fmt.Sprintf("%s, receive %s", l.ID, l.Receives)
		for _, k := range slices.Sorted(maps.Keys(l.Attributes)) {
			note += fmt.Sprintf(", %s=%s", k, l.Attributes[k])
		}
		lipgloss.Fprintln(c.err, faint.Render(note))
		if _, err := fmt.Fprintln(c.out, l.Body); err != nil {
			return err
		}
	}
	return nil
}
