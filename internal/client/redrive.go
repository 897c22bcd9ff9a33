package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrNoAddressee is of a dead letter that can't be sent on because nothing says
// where it was to go, or what it was for gets no messages like it. A person has
// to name a queue, or call the function.
var ErrNoAddressee = errors.New("it can't go back by itself")

// redrivePoll is how often a move of messages is looked at.
const redrivePoll = 100 * time.Millisecond

// Redrive empties a dead-letter queue and returns how many messages it moved: to
// the queue to, or, if that is "", each to where it was to go. The node moves those
// of queues, and goes on when ctx ends; those that functions, rules and schedules
// left are sent from here, for the API has no operation that would. What can't be
// sent stays, and the first reason is the error.
func (c *Client) Redrive(ctx context.Context, from, to string) (moved int, err error) {
	l := letters{c: c, queue: from}
	a, err := l.attributes(ctx, from)
	if err != nil {
		return 0, err
	}
	l.url, l.arn = a["QueueUrl"], a["QueueArn"]
	var sources struct {
		URLs []string `json:"queueUrls"`
	}
	if err := c.Operation(ctx, Queues, "ListDeadLetterSourceQueues", map[string]any{"QueueUrl": l.url, "MaxResults": 1}, &sources); err != nil {
		return 0, err
	}
	if to != "" {
		dest, err := l.attributes(ctx, to)
		if err != nil {
			return 0, err
		}
		l.to = dest["QueueArn"]
	}
	if len(sources.URLs) > 0 {
		return l.move(ctx)
	}
	waiting, err := strconv.Atoi(a["ApproximateNumberOfMessages"])
	if err != nil {
		return 0, fmt.Errorf("read how many messages wait in %s: %w", from, err)
	}
	return l.resend(ctx, waiting)
}

// attributes returns a queue's attributes, and its QueueUrl.
func (l letters) attributes(ctx context.Context, queue string) (map[string]string, error) {
	u, err := l.c.QueueURL(ctx, queue)
	if err != nil {
		return nil, err
	}
	out := struct{ Attributes map[string]string }{map[string]string{}}
	in := map[string]any{"QueueUrl": u, "AttributeNames": []string{"QueueArn", "ApproximateNumberOfMessages"}}
	err = l.c.Operation(ctx, Queues, "GetQueueAttributes", in, &out)
	out.Attributes["QueueUrl"] = u
	return out.Attributes, err
}

// letters are the messages of a dead-letter queue.
type letters struct {
	c               *Client
	queue, url, arn string
	to              string // the ARN of the queue that gets them all; "" means where each was to go
}

// move has the node move messages to the queues they came from.
func (l letters) move(ctx context.Context) (moved int, err error) {
	in := map[string]string{"SourceArn": l.arn}
	if l.to != "" {
		in["DestinationArn"] = l.to
	}
	if err := l.c.Operation(ctx, Queues, "StartMessageMoveTask", in, nil); err != nil {
		return 0, err
	}
	for {
		var out struct {
			Results []struct {
				Status, FailureReason            string
				ApproximateNumberOfMessagesMoved int
			}
		}
		if err := l.c.Operation(ctx, Queues, "ListMessageMoveTasks", map[string]string{"SourceArn": l.arn}, &out); err != nil {
			return moved, err
		}
		if len(out.Results) == 0 {
			return moved, fmt.Errorf("the move out of %s is not on record", l.queue)
		}
		r := out.Results[0]
		moved = r.ApproximateNumberOfMessagesMoved
		switch {
		case r.Status == "FAILED":
			return moved, &Problem{Status: http.StatusConflict, Message: r.FailureReason}
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

// resend sends so many messages each to what it was for and then deletes it. Those
// that can't be sent stay, and the first of their errors is returned. What comes
// while it works waits for another time: it may be what was just sent, failed again.
func (l letters) resend(ctx context.Context, waiting int) (moved int, err error) {
	var stay []string // handles
	defer func() {
		for _, h := range stay {
			err = errors.Join(err, l.c.Operation(context.WithoutCancel(ctx), Queues, "ChangeMessageVisibility",
				map[string]any{"QueueUrl": l.url, "ReceiptHandle": h, "VisibilityTimeout": 0}, nil))
		}
	}()
	for waiting > 0 {
		list, got := l.c.Receive(ctx, l.url, map[string]any{"MaxNumberOfMessages": min(waiting, 10), "VisibilityTimeout": resendHide})
		if got != nil || len(list) == 0 {
			return moved, errors.Join(err, got)
		}
		waiting -= len(list)
		for _, m := range list {
			sent := l.send(ctx, m)
			if sent == nil {
				sent = l.c.Operation(ctx, Queues, "DeleteMessage", map[string]string{"QueueUrl": l.url, "ReceiptHandle": m.Handle}, nil)
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
	return moved, err
}

// For returns the ARN of what a dead letter was for, as the message itself says;
// "" of one that doesn't. queued is of the event of a function's asynchronous call:
// which function's, the queue's owner knows.
func (m Message) For() (arn string, queued bool) {
	if arn = m.Attributes["TARGET_ARN"]; arn != "" { // of a rule or a schedule
		return arn, false
	}
	if f, _, ok := failedCall(m.Body); ok {
		return f, false
	}
	return "", m.Attributes["RequestID"] != ""
}

// send sends a message to what it was for.
func (l letters) send(ctx context.Context, m Message) (err error) {
	arn, body := l.to, m.Body
	if arn == "" {
		var queued bool
		if arn, queued = m.For(); queued {
			arn, err = l.function(ctx)
		}
		if err != nil {
			return err
		}
		if _, request, ok := failedCall(m.Body); ok && m.Attributes["TARGET_ARN"] == "" { // a destination's record
			body = request
		}
	}
	switch service, resource := SplitARN(arn); service {
	case "":
		return fmt.Errorf("it doesn't say what it was for: %w", ErrNoAddressee)
	case "lambda":
		return l.c.Call(ctx, Request{
			Service: Functions, Method: http.MethodPost, Path: "/2015-03-31/functions/" + url.PathEscape(arn) + "/invocations",
			Header: http.Header{"X-Amz-Invocation-Type": {"Event"}}, Body: []byte(body),
		}, nil)
	case "sqs":
		u, err := l.c.QueueURL(ctx, resource)
		if err != nil {
			return err
		}
		return l.c.Operation(ctx, Queues, "SendMessage", map[string]string{"QueueUrl": u, "MessageBody": body}, nil)
	case "events":
		return l.c.putAgain(ctx, arn, body)
	}
	return fmt.Errorf("%s gets no messages from here: %w", ARNText(arn), ErrNoAddressee)
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
	found, err := l.c.DeadLetterFunctions(ctx, l.arn)
	if err != nil {
		return "", err
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", fmt.Errorf("no function has %s as its dead letter queue any more: %w", l.queue, ErrNoAddressee)
	}
	for i, f := range found {
		found[i] = strings.TrimPrefix(ARNText(f), "function ")
	}
	slices.Sort(found)
	return "", fmt.Errorf("it may be of any of %s, which share %s: %w", strings.Join(found, ", "), l.queue, ErrNoAddressee)
}

// DeadLetterFunctions returns the ARNs of the functions whose events go to the
// queue when their asynchronous calls have failed.
func (c *Client) DeadLetterFunctions(ctx context.Context, queueARN string) (arns []string, err error) {
	query := url.Values{}
	for {
		var page struct {
			Functions []struct {
				FunctionArn      string
				DeadLetterConfig struct{ TargetArn string }
			}
			NextMarker string
		}
		if err := c.REST(ctx, Functions, http.MethodGet, "/2015-03-31/functions", query, nil, &page); err != nil {
			return nil, err
		}
		for _, f := range page.Functions {
			if f.DeadLetterConfig.TargetArn == queueARN {
				arns = append(arns, f.FunctionArn)
			}
		}
		if page.NextMarker == "" {
			return arns, nil
		}
		query.Set("Marker", page.NextMarker)
	}
}

// putAgain puts an event on a bus as it came to a target.
func (c *Client) putAgain(ctx context.Context, bus, body string) error {
	var e struct {
		Source    string          `json:"source"`
		Type      string          `json:"detail-type"`
		Detail    json.RawMessage `json:"detail"`
		Resources []string        `json:"resources"`
	}
	if json.Unmarshal([]byte(body), &e) != nil || e.Source == "" || e.Type == "" {
		return fmt.Errorf("%s takes events only, and this is none: %w", ARNText(bus), ErrNoAddressee)
	}
	_, err := c.PutEvent(ctx, map[string]any{
		"EventBusName": bus, "Source": e.Source, "DetailType": e.Type, "Detail": string(e.Detail), "Resources": e.Resources,
	})
	return err
}
