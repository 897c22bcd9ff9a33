package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mayfly-dev/mayfly/internal/spine"
)

// account is the one that a node has unless it is told otherwise.
const account = "000000000000"

// messageBytes is the size of a message in the runs that count messages.
const messageBytes = 200

// runEvents measures what wakes functions, beside raw writes to the engine.
func runEvents(ctx context.Context, out io.Writer, o options, work string) (err error) {
	n, err := startNode(ctx, o, work)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	heading(out, o, "Bench of events,")
	for _, part := range []struct {
		name string
		run  func() error
	}{
		{"accept", func() error { return acceptTable(ctx, out, o, n, work) }},
		{"queue", func() error { return queueTable(ctx, out, o, n, work) }},
		{"latency", func() error { return latencyTable(ctx, out, o, n) }},
		{"timers", func() error { return timers(ctx, out, o, n) }},
	} {
		if !strings.Contains(part.name, o.only) {
			continue
		}
		if err := part.run(); err != nil {
			return err
		}
	}
	return nil
}

// floor counts raw writes to JetStream that are synced one by one.
func floor(ctx context.Context, o options, dir string, writers int) (float64, error) {
	s, err := spine.Open(ctx, spine.Config{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return 0, err
	}
	defer s.Close()
	l, err := s.Log(ctx, "floor")
	if err != nil {
		return 0, err
	}
	body := bytes.Repeat([]byte("x"), messageBytes)
	return crowd(ctx, func(ctx context.Context) error { _, err := l.Append(ctx, "[]", body); return err }, writers, o.span)
}

// queueTable measures sends and receives through the HTTP API.
func queueTable(ctx context.Context, out io.Writer, o options, n *node, work string) error {
	fmt.Fprintf(out, "\n## Queue, messages of %d bytes, per second\n\n", messageBytes)
	fmt.Fprintln(out, "Floor: raw fsynced JetStream publishes from as many writers in the bench's own process, without HTTP and signatures. Batches hold ten messages. A receive is counted with the deletion of what it gave.")
	fmt.Fprint(out, "\n| clients | floor/s | sends/s | ratio | sent in batches/s | received in batches and deleted/s |\n|---|---|---|---|---|---|\n")
	for _, c := range o.callers {
		note(fmt.Sprintf("queue: %d clients", c))
		base, err := floor(ctx, o, filepath.Join(work, fmt.Sprintf("floor-%d", c)), c)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("bench-%d", c)
		if err := n.queue(ctx, "CreateQueue", map[string]any{"QueueName": name}, nil); err != nil {
			return err
		}
		url := n.endpoint + "/" + account + "/" + name
		body := strings.Repeat("x", messageBytes)
		sends, err := crowd(ctx, func(ctx context.Context) error {
			return n.queue(ctx, "SendMessage", map[string]any{"QueueUrl": url, "MessageBody": body}, nil)
		}, c, o.span)
		if err != nil {
			return err
		}
		var entries []map[string]string
		for i := range 10 {
			entries = append(entries, map[string]string{"Id": strconv.Itoa(i), "MessageBody": body})
		}
		batches, err := crowd(ctx, func(ctx context.Context) error {
			return n.queue(ctx, "SendMessageBatch", map[string]any{"QueueUrl": url, "Entries": entries}, nil)
		}, c, o.span)
		if err != nil {
			return err
		}
		got, err := n.drainQueue(ctx, url, c, o.span)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "| %d | %.0f | %.0f | %.2f | %.0f | %.0f |\n", c, base, sends, sends/base, 10*batches, got)
	}
	return nil
}

// drainQueue receives and deletes for the span and returns messages per second.
func (n *node) drainQueue(ctx context.Context, url string, clients int, span time.Duration) (float64, error) {
	var count atomic.Int64
	began := time.Now()
	_, err := crowd(ctx, func(ctx context.Context) error {
		var got struct {
			Messages []struct{ ReceiptHandle string }
		}
		if err := n.queue(ctx, "ReceiveMessage", map[string]any{"QueueUrl": url, "MaxNumberOfMessages": 10}, &got); err != nil || len(got.Messages) == 0 {
			return err
		}
		var entries []map[string]string
		for i, m := range got.Messages {
			entries = append(entries, map[string]string{"Id": strconv.Itoa(i), "ReceiptHandle": m.ReceiptHandle})
		}
		count.Add(int64(len(entries)))
		return n.queue(ctx, "DeleteMessageBatch", map[string]any{"QueueUrl": url, "Entries": entries}, nil)
	}, clients, span)
	return float64(count.Load()) / time.Since(began).Seconds(), err
}

// queue calls an operation on queues.
func (n *node) queue(ctx context.Context, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.endpoint+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("X-Amz-Target", "AmazonSQS."+operation)
	if err := n.sign(ctx, req, "sqs", body); err != nil {
		return err
	}
	resp, err := n.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", operation, resp.Status, b)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
}

// clock is a function that logs how long ago its events were made.
const clock = `
import time

def made(event):
    if "detail" in event:
        return [event["detail"]["made"]]
    if "Records" in event:
        return [r["body"] if "body" in r else r["s3"]["object"]["key"] for r in event["Records"]]
    return [event["made"]]

def handler(event, context):
    now = time.time_ns()
    for m in made(event):
        print("latency", now - int(m))
`

// pace is the time between two events, so that each finds the function idle.
const pace = 30 * time.Millisecond

// latencyTable measures from an event's making, before it is sent, to the first
// line of its handler.
func latencyTable(ctx context.Context, out io.Writer, o options, n *node) error {
	fmt.Fprintf(out, "\n## From event to handler, warm Python function, %d events one after another\n\n", o.events)
	fmt.Fprintln(out, "From before the event is signed and sent over HTTP to the handler's first line.")
	fmt.Fprint(out, "\n| source | p50 ms | p90 ms | p99 ms |\n|---|---|---|---|\n")
	for i, s := range n.sources() {
		note("latency: " + s.name)
		f := subject{name: fmt.Sprintf("clock-%d", i), runtime: "python3.11", handler: "app.handler", zip: zipText("app.py", clock)}
		if err := n.create(ctx, f); err != nil {
			return err
		}
		if s.lead != nil {
			if err := s.lead(ctx, f.name); err != nil {
				return err
			}
		}
		const warm = 20 // events that are not counted
		var got series
		for _, count := range []int{warm, warm + o.events} {
			for range count - len(got) {
				if err := s.make(ctx, f.name, time.Now().UnixNano()); err != nil {
					return err
				}
				select {
				case <-time.After(pace):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			var err error
			if got, err = n.latencies(ctx, o, f.name, count); err != nil {
				return err
			}
		}
		got = got[warm:]
		fmt.Fprintf(out, "| %s | %.2f | %.2f | %.2f |\n", s.name, got.q(.5), got.q(.9), got.q(.99))
	}
	return nil
}

// latencies reads the clock's log until all its events are in it.
func (n *node) latencies(ctx context.Context, o options, function string, want int) (series, error) {
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		b, err := exec.CommandContext(ctx, o.binary, "logs", function, "--data-dir", n.dir, "--grep", "latency").Output()
		if err != nil {
			return nil, fmt.Errorf("read the log of %s: %w", function, err)
		}
		var s series
		for line := range strings.Lines(string(b)) {
			_, text, ok := strings.Cut(line, "latency ")
			ns, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
			if ok && err == nil {
				s.add(time.Duration(ns))
			}
		}
		if len(s) >= want {
			return s, nil
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("%d of %d events of %s were handled", len(s), want, function)
		}
	}
}

// zipText returns a code package of one file.
func zipText(name, text string) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create(name)
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err = errors.Join(err, z.Close()); err != nil {
		panic(err) // a buffer takes all
	}
	return b.Bytes()
}
