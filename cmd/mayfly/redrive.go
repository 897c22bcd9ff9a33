package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/spf13/cobra"
)

// redrivePoll is how often a move of messages is looked at.
const redrivePoll = 100 * time.Millisecond

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
			moved, err := cl.redrive(cmd.Context(), args[0], to)
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

// redrive empties a dead-letter queue and returns how many messages it moved. The
// node moves those of queues; those that functions, rules and schedules left are
// sent from here, for the API has no operation that would.
func (cl *client) redrive(ctx context.Context, from, to string) (moved int, err error) {
	url, a, err := cl.queueAttributes(ctx, from)
	if err != nil {
		return 0, err
	}
	var sources struct {
		URLs []string `json:"queueUrls"`
	}
	if err := cl.queues(ctx, "ListDeadLetterSourceQueues", map[string]any{"QueueUrl": url, "MaxResults": 1}, &sources); err != nil {
		return 0, err
	}
	l := letters{cl: cl, queue: from, url: url, arn: a["QueueArn"]}
	if to != "" {
		_, dest, err := cl.queueAttributes(ctx, to)
		if err != nil {
			return 0, err
		}
		l.to = dest["QueueArn"]
	}
	if len(sources.URLs) == 0 {
		return l.resend(ctx)
	}
	return l.move(ctx)
}

// letters are the messages of a dead-letter queue.
type letters struct {
	cl              *client
	queue, url, arn string
	to              string // the ARN of the queue that gets them all; "" means where each was to go
}

// move has the node move messages to the queues they came from.
func (l letters) move(ctx context.Context) (moved int, err error) {
	in := map[string]string{"SourceArn": l.arn}
	if l.to != "" {
		in["DestinationArn"] = l.to
	}
	if err := l.cl.queues(ctx, "StartMessageMoveTask", in, nil); err != nil {
		return 0, err
	}
	for {
		var out struct {
			Results []struct {
				Status, FailureReason            string
				ApproximateNumberOfMessagesMoved int
			}
		}
		if err := l.cl.queues(ctx, "ListMessageMoveTasks", map[string]string{"SourceArn": l.arn}, &out); err != nil {
			return moved, err
		}
		if len(out.Results) == 0 {
			return moved, fmt.Errorf("the move out of %s is not on record", l.queue)
		}
		r := out.Results[0]
		moved = r.ApproximateNumberOfMessagesMoved
		switch {
		case r.Status == "FAILED":
			return moved, errors.New(r.FailureReason)
		case r.Status != "RUNNING":
			return moved, nil
		}
		select {
		case <-time.After(redrivePoll):
		case <-ctx.Done():
			return moved, ctx.Err()
		}
	}
}

// resendHide hides the messages that are being sent from others, in seconds.
const resendHide = 300

// resend sends each message to what it was for and then deletes it. Those that
// can't be sent stay, and the first of their errors is returned.
func (l letters) resend(ctx context.Context) (moved int, err error) {
	var stay []string // handles
	seen := map[string]bool{}
	defer func() {
		for _, h := range stay {
			err = errors.Join(err, l.cl.queues(context.WithoutCancel(ctx), "ChangeMessageVisibility",
				map[string]any{"QueueUrl": l.url, "ReceiptHandle": h, "VisibilityTimeout": 0}, nil))
		}
	}()
	for {
		lines, got := l.cl.receive(ctx, l.url, map[string]any{"MaxNumberOfMessages": 10, "VisibilityTimeout": resendHide})
		if got != nil || len(lines) == 0 || seen[lines[0].ID] { // seen: they have been hidden for their time
			return moved, errors.Join(err, got)
		}
		for _, m := range lines {
			seen[m.ID] = true
			sent := l.send(ctx, m)
			if sent == nil {
				sent = l.cl.queues(ctx, "DeleteMessage", map[string]string{"QueueUrl": l.url, "ReceiptHandle": m.Handle}, nil)
				moved++
			}
			if sent != nil {
				stay = append(stay, m.Handle)
			}
			if sent != nil && err == nil {
				err = fmt.Errorf("message %s: %w", m.ID, sent)
			}
		}
	}
}

// send sends a message to what it was for.
func (l letters) send(ctx context.Context, m messageLine) error {
	arn, body := l.to, m.Body
	if arn == "" {
		arn = m.Attributes["TARGET_ARN"] // of a rule or a schedule
	}
	if f, request, ok := failedCall(m.Body); arn == "" && ok { // a destination's record
		arn, body = f, request
	}
	if arn == "" && m.Attributes["RequestID"] != "" { // the event of an asynchronous call
		var err error
		if arn, err = l.function(ctx); err != nil {
			return err
		}
	}
	switch service, resource := splitARN(arn); service {
	case "":
		return fmt.Errorf("it doesn't say what it was for: look at it (mayfly events peek %s) and name a queue with --to", l.queue)
	case "lambda":
		_, err := l.cl.Invoke(ctx, &lambda.InvokeInput{FunctionName: &arn, InvocationType: types.InvocationTypeEvent, Payload: []byte(body)})
		return err
	case "sqs":
		url, err := l.cl.queueURL(ctx, resource)
		if err != nil {
			return err
		}
		return l.cl.queues(ctx, "SendMessage", map[string]string{"QueueUrl": url, "MessageBody": body}, nil)
	case "events":
		return l.cl.putAgain(ctx, arn, body)
	}
	return fmt.Errorf("%s gets no messages from here: name a queue with --to", arnText(arn))
}

// failedCall takes the record of a call that failed apart, as destinations get it.
func failedCall(body string) (function, payload string, ok bool) {
	var r struct {
		Context struct {
			Function string `json:"functionArn"`
		} `json:"requestContext"`
		Payload json.RawMessage `json:"requestPayload"`
	}
	err := json.Unmarshal([]byte(body), &r)
	return r.Context.Function, string(r.Payload), err == nil && r.Context.Function != "" && len(r.Payload) > 0
}

// function returns the function whose calls end in the queue: their events don't
// say whose they were.
func (l letters) function(ctx context.Context) (arn string, err error) {
	var found []string
	pages := lambda.NewListFunctionsPaginator(l.cl, &lambda.ListFunctionsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", err
		}
		for _, f := range page.Functions {
			if f.DeadLetterConfig != nil && aws.ToString(f.DeadLetterConfig.TargetArn) == l.arn {
				arn = aws.ToString(f.FunctionArn)
				found = append(found, aws.ToString(f.FunctionName))
			}
		}
	}
	switch len(found) {
	case 1:
		return arn, nil
	case 0:
		return "", fmt.Errorf("no function has %s as its dead letter queue any more: call yours with its event (mayfly invoke FUNCTION --async --payload EVENT)", l.queue)
	}
	slices.Sort(found)
	return "", fmt.Errorf("it may be of any of %s, which share %s: call the right one with its event (mayfly invoke FUNCTION --async --payload EVENT)",
		strings.Join(found, ", "), l.queue)
}

// putAgain puts an event on a bus as it came to a target.
func (cl *client) putAgain(ctx context.Context, bus, body string) error {
	var e struct {
		Source    string          `json:"source"`
		Type      string          `json:"detail-type"`
		Detail    json.RawMessage `json:"detail"`
		Resources []string        `json:"resources"`
	}
	if json.Unmarshal([]byte(body), &e) != nil || e.Source == "" || e.Type == "" {
		return fmt.Errorf("%s takes events only, and this is none: name a queue with --to", arnText(bus))
	}
	_, err := cl.putEvent(ctx, map[string]any{
		"EventBusName": bus, "Source": e.Source, "DetailType": e.Type, "Detail": string(e.Detail), "Resources": e.Resources,
	})
	return err
}
