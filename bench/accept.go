package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"
)

// sleeper is a function whose calls wait in the queue.
const sleeper = "import time\n\ndef handler(event, context):\n    time.sleep(25)\n"

// acceptTable measures how many asynchronous calls are accepted, through the
// HTTP API, beside raw writes.
func acceptTable(ctx context.Context, out io.Writer, o options, n *node, work string) error {
	fmt.Fprintf(out, "\n## Asynchronous calls accepted, payloads of %d bytes, per second\n\n", messageBytes)
	fmt.Fprintln(out, "Floor: raw fsynced JetStream publishes of as many bytes from as many writers, over an in-process connection to a server in the bench's own process, on the same disk, without HTTP and signatures. A node keeps accepted calls in files of its own, with the request around the payload, and syncs these. A call is counted when it was answered 202, that is, when it is on disk. In one column accepted calls wait; in the other, a Python function runs them meanwhile on the same CPUs.")
	fmt.Fprint(out, "\n| clients | floor/s | accepted/s | ratio | accepted/s while they run | ratio |\n|---|---|---|---|---|---|\n")
	waits := subject{name: "sleeper", runtime: "python3.11", handler: "app.handler", zip: zipText("app.py", sleeper)}
	runs := subject{name: "taker", runtime: "python3.11", handler: "app.handler", zip: zipText("app.py", "def handler(event, context):\n    pass\n")}
	both := []subject{waits, runs}
	var calls [2]call
	for i, f := range both {
		if err := n.create(ctx, f); err != nil {
			return err
		}
		var err error
		if calls[i], err = n.asyncCaller(ctx, f); err != nil {
			return err
		}
	}
	if _, err := n.api.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{FunctionName: &waits.name, ReservedConcurrentExecutions: aws.Int32(1)}); err != nil {
		return err
	}
	for _, one := range calls {
		if err := one(ctx); err != nil {
			return err
		}
	}
	time.Sleep(settling) // of what is done once: images, first instances, snapshots
	for _, c := range o.callers {
		note(fmt.Sprintf("asynchronous calls: %d clients", c))
		if err := n.idle(ctx, runs.name); err != nil {
			return err
		}
		base, err := floor(ctx, o, filepath.Join(work, fmt.Sprintf("accept-floor-%d", c)), c)
		if err != nil {
			return err
		}
		var rates [2]float64
		for i, one := range calls {
			if rates[i], err = crowd(ctx, one, c, o.span); err != nil {
				return err
			}
		}
		fmt.Fprintf(out, "| %d | %.0f | %.0f | %.2f | %.0f | %.2f |\n", c, base, rates[0], rates[0]/base, rates[1], rates[1]/base)
	}
	for _, f := range both { // what waits must not take CPU from later runs
		if _, err := n.api.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: &f.name}); err != nil {
			return err
		}
	}
	return errors.Join(n.idle(ctx, waits.name), n.idle(ctx, runs.name))
}

// settling is how long a node is left alone after functions were made and called.
const settling = 5 * time.Second

// idle waits until no call of the function is queued or under way.
func (n *node) idle(ctx context.Context, function string) error {
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		b, err := n.metrics(ctx)
		if err != nil {
			return err
		}
		if !bytes.Contains(b, fmt.Appendf(nil, "mayfly_async_waiting{function=%q}", function)) {
			return nil
		}
	}
	return fmt.Errorf("calls of %s are still queued after three minutes", function)
}

// asyncCaller makes asynchronous calls with a request signed ahead.
func (n *node) asyncCaller(ctx context.Context, f subject) (call, error) {
	body := []byte(`"` + strings.Repeat("x", messageBytes-2) + `"`)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.endpoint+invocations(f.name), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Amz-Invocation-Type", "Event")
	if err := n.sign(ctx, req, "lambda", body); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		r := req.Clone(ctx)
		r.Body = io.NopCloser(bytes.NewReader(body))
		resp, err := n.http.Do(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusAccepted {
			err = fmt.Errorf("asynchronous call: %s: %s", resp.Status, b)
		}
		return err
	}, nil
}

// timers makes one-time schedules that are all due in the same second, and
// measures from that second until a queue has what they send.
func timers(ctx context.Context, out io.Writer, o options, n *node) error {
	note(fmt.Sprintf("%d timers", o.timers))
	const queue = "due"
	if err := n.queue(ctx, "CreateQueue", map[string]any{"QueueName": queue}, nil); err != nil {
		return err
	}
	due := time.Now().UTC().Add(10*time.Second + time.Duration(o.timers)*2*time.Millisecond).Truncate(time.Second)
	c := scheduler.New(scheduler.Options{Region: region, BaseEndpoint: &n.endpoint, Credentials: credentials.StaticCredentialsProvider{Value: n.keys}})
	var made atomic.Int64
	enough := errors.New("enough")
	began := time.Now()
	_, err := crowd(ctx, func(ctx context.Context) error {
		i := made.Add(1)
		if i > int64(o.timers) {
			return enough
		}
		_, err := c.CreateSchedule(ctx, &scheduler.CreateScheduleInput{
			Name: aws.String(fmt.Sprintf("due-%d", i)), ScheduleExpression: aws.String(due.Format("at(2006-01-02T15:04:05)")),
			FlexibleTimeWindow: &types.FlexibleTimeWindow{Mode: types.FlexibleTimeWindowModeOff},
			Target: &types.Target{
				Arn: aws.String("arn:aws:sqs:" + region + ":" + account + ":" + queue), RoleArn: aws.String("arn:aws:iam::" + account + ":role/bench"), Input: aws.String("{}"),
			},
		})
		return err
	}, 32, time.Hour)
	if !errors.Is(err, enough) {
		return err
	}
	took := time.Since(began)
	if time.Now().After(due) {
		return fmt.Errorf("it took %s to make %d schedules: they were due before", took, o.timers)
	}
	time.Sleep(time.Until(due))
	var half, all time.Duration
	for all == 0 {
		var got struct{ Attributes map[string]string }
		if err := n.queue(ctx, "GetQueueAttributes", map[string]any{
			"QueueUrl": n.endpoint + "/" + account + "/" + queue, "AttributeNames": []string{"ApproximateNumberOfMessages"},
		}, &got); err != nil {
			return err
		}
		count, err := strconv.Atoi(got.Attributes["ApproximateNumberOfMessages"])
		if err != nil {
			return err
		}
		late := time.Since(due)
		if half == 0 && count >= o.timers/2 {
			half = late
		}
		if count >= o.timers {
			all = late
		}
		if late > time.Minute {
			return fmt.Errorf("a minute after it was due, %d of %d timers had fired", count, o.timers)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	fmt.Fprintf(out, "\n## %d timers due in one second\n\n", o.timers)
	fmt.Fprintf(out, "One-time schedules (made at %.0f/s) that send to a queue. After the second began, half of the messages were in the queue within %.0f ms and all within %.0f ms.\n",
		float64(o.timers)/took.Seconds(), half.Seconds()*1e3, all.Seconds()*1e3)
	return nil
}
