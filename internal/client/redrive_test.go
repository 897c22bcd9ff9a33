package client

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// deadQueue is a queue of dead letters and a function "f", which fails again: each
// call of it leaves one more letter.
type deadQueue struct {
	waiting []map[string]any
	calls   []string // the events that f got
	again   bool     // f fails
	next    int
}

func (q *deadQueue) put(body string, attributes map[string]string) {
	q.next++
	named := map[string]map[string]string{}
	for k, v := range attributes {
		named[k] = map[string]string{"StringValue": v}
	}
	id := strconv.Itoa(q.next)
	q.waiting = append(q.waiting, map[string]any{"MessageId": id, "ReceiptHandle": id, "Body": body, "MessageAttributes": named})
}

func (q *deadQueue) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		MaxNumberOfMessages int
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil && err != io.EOF {
		panic(err)
	}
	var out any = struct{}{}
	switch op := r.Header.Get("X-Amz-Target"); {
	case strings.HasSuffix(r.URL.Path, "/functions"):
		out = map[string]any{"Functions": []any{map[string]any{"FunctionArn": fArn, "DeadLetterConfig": map[string]string{"TargetArn": "arn:q"}}}}
	case strings.HasSuffix(r.URL.Path, "/invocations"):
		q.calls = append(q.calls, r.URL.Path)
		if q.again {
			q.put(`{}`, map[string]string{"RequestID": "x"})
		}
	case strings.HasSuffix(op, "GetQueueUrl"):
		out = map[string]string{"QueueUrl": "u"}
	case strings.HasSuffix(op, "GetQueueAttributes"):
		out = map[string]any{"Attributes": map[string]string{"QueueArn": "arn:q", "ApproximateNumberOfMessages": strconv.Itoa(len(q.waiting))}}
	case strings.HasSuffix(op, "ReceiveMessage"):
		n := min(in.MaxNumberOfMessages, len(q.waiting))
		out = map[string]any{"Messages": q.waiting[:n]}
		q.waiting = q.waiting[n:]
	}
	if err := json.NewEncoder(w).Encode(out); err != nil {
		panic(err)
	}
}

const fArn = "arn:aws:lambda:us-east-1:000000000000:function:f"

func TestRedriveEndsThoughWhatItSendsFailsAgain(t *testing.T) {
	q := &deadQueue{again: true}
	c := serve(t, q.ServeHTTP)
	for range 12 {
		q.put(`{}`, map[string]string{"RequestID": "x"})
	}
	moved, err := c.Redrive(t.Context(), "q", "")
	if err != nil || moved != 12 || len(q.calls) != 12 || len(q.waiting) != 12 {
		t.Errorf("moved %d, %v; %d calls, %d wait", moved, err, len(q.calls), len(q.waiting))
	}
}

func TestLetterOfNobodyStaysAndHoldsUpNoOther(t *testing.T) {
	q := &deadQueue{}
	c := serve(t, q.ServeHTTP)
	q.put("stray", nil)
	q.put(`{}`, map[string]string{"TARGET_ARN": fArn})
	moved, err := c.Redrive(t.Context(), "q", "")
	if moved != 1 || !errors.Is(err, ErrNoAddressee) || len(q.calls) != 1 {
		t.Errorf("moved %d, %v; calls %v", moved, err, q.calls)
	}
}

func TestDeadLettersSayWhatTheyWereFor(t *testing.T) {
	for name, tt := range map[string]struct {
		m      Message
		arn    string
		queued bool
	}{
		"of a rule or schedule": {Message{Attributes: map[string]string{"TARGET_ARN": fArn}}, fArn, false},
		"of a destination":      {Message{Body: `{"requestContext":{"functionArn":"` + fArn + `"},"requestPayload":{"a":1}}`}, fArn, false},
		"of a call":             {Message{Attributes: map[string]string{"RequestID": "x"}}, "", true},
		"none":                  {Message{Body: "{}"}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			if arn, queued := tt.m.For(); arn != tt.arn || queued != tt.queued {
				t.Errorf("for %q, queued %t", arn, queued)
			}
		})
	}
}
