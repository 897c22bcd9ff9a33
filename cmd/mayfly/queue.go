package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	api "github.com/mayfly-dev/mayfly/internal/client"
)

func (c *cli) queueCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "queue",
		Short: "Make queues, send and receive messages",
		Long: `Make queues, send and receive messages. Clients of SQS's API use the same queues.
To lead a queue's messages to a function: mayfly trigger add FUNCTION --queue NAME`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.queueCreate(), c.queueSet(), c.queueLs(), c.queueRm(), c.queueSend(), c.queueReceive(), c.queuePurge(), c.queueRedrive())
	return cmd
}

// queues calls operations on queues.
func (cl *client) queues(ctx context.Context, operation string, in, out any) error {
	return cl.api.Operation(ctx, api.Queues, operation, in, out)
}

// queueURL returns a queue's URL.
func (cl *client) queueURL(ctx context.Context, name string) (string, error) {
	url, err := cl.api.QueueURL(ctx, name)
	var p *api.Problem
	if errors.As(err, &p) && p.Code == "QueueDoesNotExist" {
		return "", fmt.Errorf("there is no queue %s\n`mayfly queue ls` lists the queues there are", name)
	}
	return url, err
}

// queueAttributes returns a queue's URL and attributes.
func (cl *client) queueAttributes(ctx context.Context, name string) (url string, a map[string]string, err error) {
	if url, err = cl.queueURL(ctx, name); err != nil {
		return "", nil, err
	}
	var out struct{ Attributes map[string]string }
	err = cl.queues(ctx, "GetQueueAttributes", map[string]any{"QueueUrl": url, "AttributeNames": []string{"All"}}, &out)
	return url, out.Attributes, err
}

// queueOptions are a queue's settings as flags.
type queueOptions struct {
	flags      *pflag.FlagSet
	fifo       bool
	dedup      bool
	visibility time.Duration
	delay      time.Duration
	keep       time.Duration
	wait       time.Duration
	dead       string
	after      int
}

func (o *queueOptions) register(f *pflag.FlagSet) {
	o.flags = f
	f.DurationVar(&o.visibility, "visibility", 30*time.Second, "how long a received message is hidden from others")
	f.DurationVar(&o.delay, "delay", 0, "how long after its sending a message can be received")
	f.DurationVar(&o.keep, "keep", 4*24*time.Hour, "how long messages are kept")
	f.DurationVar(&o.wait, "wait", 0, "how long a receive waits for a first message")
	f.StringVar(&o.dead, "dead-letter", "", "queue for messages that are received too often")
	f.IntVar(&o.after, "after", 3, "how often a message is received before it goes there")
	f.BoolVar(&o.dedup, "content-dedup", false, "FIFO: drop messages of the same content within five minutes")
}

// redrivePolicy says where messages go that are received too often.
type redrivePolicy struct {
	Target   string `json:"deadLetterTargetArn"`
	Receives int    `json:"maxReceiveCount"`
}

// readRedrivePolicy returns the policy of a queue's attributes, which is JSON in a
// text; the zero policy if there is none.
func readRedrivePolicy(attributes map[string]string) (p redrivePolicy) {
	if json.Unmarshal([]byte(attributes["RedrivePolicy"]), &p) != nil {
		return redrivePolicy{}
	}
	return p
}

// attributes returns what the flags say of a queue that has a policy, or none.
func (o *queueOptions) attributes(ctx context.Context, cl *client, policy redrivePolicy) (map[string]string, error) {
	a := map[string]string{}
	for flag, name := range map[string]string{
		"visibility": "VisibilityTimeout", "delay": "DelaySeconds", "keep": "MessageRetentionPeriod", "wait": "ReceiveMessageWaitTimeSeconds",
	} {
		if !o.flags.Changed(flag) {
			continue
		}
		d, err := o.flags.GetDuration(flag)
		if err != nil {
			return nil, err
		}
		if d%time.Second != 0 {
			return nil, usageError{fmt.Errorf("--%s takes whole seconds, not %s", flag, d)}
		}
		a[name] = strconv.FormatInt(int64(d/time.Second), 10)
	}
	if o.flags.Changed("content-dedup") {
		a["ContentBasedDeduplication"] = strconv.FormatBool(o.dedup)
	}
	if o.dead == "" && !o.flags.Changed("after") {
		return a, nil
	}
	if o.dead != "" {
		_, dead, err := cl.queueAttributes(ctx, o.dead)
		if err != nil {
			return nil, err
		}
		policy.Target = dead["QueueArn"]
	}
	if policy.Target == "" {
		return nil, usageError{errors.New("--after says when messages go to the --dead-letter queue: name that too")}
	}
	if policy.Receives == 0 || o.flags.Changed("after") {
		policy.Receives = o.after
	}
	b, err := json.Marshal(policy)
	if err != nil {
		return nil, err
	}
	a["RedrivePolicy"] = string(b)
	return a, nil
}

func (c *cli) queueCreate() *cobra.Command {
	var o queueOptions
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a queue",
		Example: `  mayfly queue create orders-dead
  mayfly queue create orders --visibility 1m --dead-letter orders-dead --after 3
  mayfly queue create steps.fifo --content-dedup`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			a, err := o.attributes(cmd.Context(), cl, redrivePolicy{})
			if err != nil {
				return err
			}
			if o.fifo && !strings.HasSuffix(args[0], ".fifo") {
				return usageError{fmt.Errorf("the name of a FIFO queue ends in .fifo: %s.fifo", args[0])}
			}
			if strings.HasSuffix(args[0], ".fifo") {
				a["FifoQueue"] = "true"
			}
			var out struct{ QueueUrl string }
			if err := cl.queues(cmd.Context(), "CreateQueue", map[string]any{"QueueName": args[0], "Attributes": a}, &out); err != nil {
				return err
			}
			if c.json {
				return c.printJSON(map[string]string{"name": args[0], "url": out.QueueUrl})
			}
			_, err = fmt.Fprintln(c.out, out.QueueUrl)
			return err
		},
	}
	o.register(cmd.Flags())
	cmd.Flags().BoolVar(&o.fifo, "fifo", false, "keep the order of messages; the name ends in .fifo")
	return cmd
}

func (c *cli) queueSet() *cobra.Command {
	var o queueOptions
	cmd := &cobra.Command{
		Use:     "set NAME",
		Short:   "Change a queue",
		Example: `  mayfly queue set orders --visibility 2m --dead-letter orders-dead --after 5`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			url, now, err := cl.queueAttributes(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			a, err := o.attributes(cmd.Context(), cl, readRedrivePolicy(now))
			if err != nil {
				return err
			}
			if len(a) == 0 {
				return usageError{errors.New("nothing to change: say what with a flag")}
			}
			return cl.queues(cmd.Context(), "SetQueueAttributes", map[string]any{"QueueUrl": url, "Attributes": a}, nil)
		},
	}
	o.register(cmd.Flags())
	return cmd
}

// queueLine is a queue as ls shows it.
type queueLine struct {
	Name       string `json:"name"`
	URL        string `json:"url"`
	Visible    int    `json:"visible"`
	InFlight   int    `json:"inFlight"`
	Delayed    int    `json:"delayed"`
	Visibility int    `json:"visibilitySeconds"`
	Dead       string `json:"deadLetterQueue,omitempty"`
	Receives   int    `json:"receivesBefore,omitempty"`
}

func (c *cli) queueLs() *cobra.Command {
	return &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List the queues", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			lines, err := cl.listQueues(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(lines)
			}
			c.printQueues(lines)
			return nil
		},
	}
}

func (cl *client) listQueues(ctx context.Context) ([]queueLine, error) {
	lines := []queueLine{}
	in := map[string]any{"MaxResults": 1000}
	for {
		var page struct {
			QueueUrls []string
			NextToken string
		}
		if err := cl.queues(ctx, "ListQueues", in, &page); err != nil {
			return nil, err
		}
		for _, url := range page.QueueUrls {
			l, err := cl.queueLine(ctx, url)
			if err != nil {
				return nil, err
			}
			lines = append(lines, l)
		}
		if page.NextToken == "" {
			return lines, nil
		}
		in["NextToken"] = page.NextToken
	}
}

func (cl *client) queueLine(ctx context.Context, url string) (queueLine, error) {
	l := queueLine{URL: url, Name: url[strings.LastIndexByte(url, '/')+1:]}
	var out struct{ Attributes map[string]string }
	if err := cl.queues(ctx, "GetQueueAttributes", map[string]any{"QueueUrl": url, "AttributeNames": []string{"All"}}, &out); err != nil {
		return l, err
	}
	for name, to := range map[string]*int{
		"ApproximateNumberOfMessages": &l.Visible, "ApproximateNumberOfMessagesNotVisible": &l.InFlight,
		"ApproximateNumberOfMessagesDelayed": &l.Delayed, "VisibilityTimeout": &l.Visibility,
	} {
		*to, _ = strconv.Atoi(out.Attributes[name]) // numbers, or not there
	}
	policy := readRedrivePolicy(out.Attributes)
	l.Dead, l.Receives = policy.Target[strings.LastIndexByte(policy.Target, ':')+1:], policy.Receives
	return l, nil
}

func (c *cli) printQueues(lines []queueLine) {
	if len(lines) == 0 {
		fmt.Fprintln(c.err, "No queues yet. Make one: mayfly queue create NAME")
		return
	}
	var rows [][]string
	for _, l := range lines {
		dead := "none"
		if l.Dead != "" {
			dead = fmt.Sprintf("%s after %d", l.Dead, l.Receives)
		}
		rows = append(rows, []string{
			strong.Render(l.Name), fmt.Sprint(l.Visible), fmt.Sprint(l.InFlight), fmt.Sprint(l.Delayed), fmt.Sprintf("%d s", l.Visibility), dead,
		})
	}
	lipgloss.Fprintln(c.out, grid([]column{
		left("NAME"), right("VISIBLE"), right("IN FLIGHT"), right("DELAYED"), right("HIDDEN FOR"), left("DEAD LETTERS"),
	}, rows, false))
}

func (c *cli) queueRm() *cobra.Command {
	return &cobra.Command{
		Use: "rm NAME...", Aliases: []string{"delete"}, Short: "Delete queues with their messages", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.eachQueue(cmd.Context(), args, "removed", "DeleteQueue")
		},
	}
}

func (c *cli) queuePurge() *cobra.Command {
	return &cobra.Command{
		Use: "purge NAME...", Short: "Delete all messages of queues", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.eachQueue(cmd.Context(), args, "purged", "PurgeQueue")
		},
	}
}

// eachQueue does one thing to each of the queues.
func (c *cli) eachQueue(ctx context.Context, names []string, did, operation string) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	var all error
	done := []string{}
	for _, name := range names {
		url, err := cl.queueURL(ctx, name)
		if err == nil {
			err = cl.queues(ctx, operation, map[string]string{"QueueUrl": url}, nil)
		}
		if err != nil {
			all = errors.Join(all, err)
			continue
		}
		done = append(done, name)
		if !c.json {
			fmt.Fprintln(c.err, did, name)
		}
	}
	if c.json {
		all = errors.Join(all, c.printJSON(map[string][]string{did: done}))
	}
	return all
}

// body returns a message's text: as given, of a file, or from standard input.
func (c *cli) body(args []string) (string, error) {
	var b []byte
	var err error
	switch {
	case len(args) == 0 || args[0] == "-":
		b, err = io.ReadAll(c.in)
		b = []byte(strings.TrimSuffix(string(b), "\n"))
	case strings.HasPrefix(args[0], "@"):
		b, err = os.ReadFile(args[0][1:])
	default:
		return args[0], nil
	}
	if err != nil {
		return "", fmt.Errorf("read the message: %w", err)
	}
	return string(b), nil
}
