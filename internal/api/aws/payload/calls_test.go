package payload

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/arn"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/invoke"
)

var calls = Calls{Place: arn.Place{Region: "us-east-2", Account: "123456789012"}}

// compact makes JSON comparable.
func compact(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(s)); err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return b.String()
}

var ended = invoke.Ended{
	Request:   invoke.Request{RequestID: "e4b46cbf-b738-0000-8880-a18cdf61200e", Function: "my-function", Payload: []byte(`{"ORDER_IDS":[1,2]}`)},
	Condition: invoke.RetriesExhausted, At: time.Date(2019, 11, 14, 18, 16, 5, 568e6, time.UTC), Runs: 3,
	Result: &invoke.Result{Version: "$LATEST", FunctionError: "Unhandled", Payload: []byte(`{"errorMessage":"Process exited before completing request"}`)},
}

func TestRecordHasLambdasShape(t *testing.T) {
	queue := event.Target{Kind: event.Queue, Name: "failed"}
	tests := []struct {
		name string
		edit func(e *invoke.Ended)
		want string
	}{
		{"retries exhausted", func(*invoke.Ended) {}, `{
			"version": "1.0", "timestamp": "2019-11-14T18:16:05.568Z",
			"requestContext": {
				"requestId": "e4b46cbf-b738-0000-8880-a18cdf61200e",
				"functionArn": "arn:aws:lambda:us-east-2:123456789012:function:my-function:$LATEST",
				"condition": "RetriesExhausted", "approximateInvokeCount": 3
			},
			"requestPayload": {"ORDER_IDS": [1, 2]},
			"responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
			"responsePayload": {"errorMessage": "Process exited before completing request"}
		}`},
		{"success of an alias", func(e *invoke.Ended) {
			e.Condition, e.Runs, e.Qualifier = invoke.Success, 1, "live"
			e.Result = &invoke.Result{Version: "7", Payload: []byte(`null`)}
		}, `{
			"version": "1.0", "timestamp": "2019-11-14T18:16:05.568Z",
			"requestContext": {
				"requestId": "e4b46cbf-b738-0000-8880-a18cdf61200e",
				"functionArn": "arn:aws:lambda:us-east-2:123456789012:function:my-function:live",
				"condition": "Success", "approximateInvokeCount": 1
			},
			"requestPayload": {"ORDER_IDS": [1, 2]},
			"responseContext": {"statusCode": 200, "executedVersion": "7"},
			"responsePayload": null
		}`},
		{"never ran", func(e *invoke.Ended) { e.Condition, e.Runs, e.Result = invoke.TooOld, 0, nil }, `{
			"version": "1.0", "timestamp": "2019-11-14T18:16:05.568Z",
			"requestContext": {
				"requestId": "e4b46cbf-b738-0000-8880-a18cdf61200e",
				"functionArn": "arn:aws:lambda:us-east-2:123456789012:function:my-function:$LATEST",
				"condition": "EventAgeExceeded", "approximateInvokeCount": 0
			},
			"requestPayload": {"ORDER_IDS": [1, 2]}
		}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := ended
			tt.edit(&e)
			if got, want := string(calls.Record(queue, e).Body), compact(t, tt.want); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestRecordForABusAndABucketSayWhereTheyGo(t *testing.T) {
	m := calls.Record(event.Target{Kind: event.Bus, Name: "default"}, ended)
	if m.Source != "lambda" || m.DetailType != "Lambda Function Invocation Result - Failure" ||
		m.Attributes[ResourcesAttribute] != `["arn:aws:events:us-east-2:123456789012:event-bus/default","arn:aws:lambda:us-east-2:123456789012:function:my-function:$LATEST"]` {
		t.Errorf("for a bus: %+v", m)
	}
	m = calls.Record(event.Target{Kind: event.Bucket, Name: "b"}, ended)
	if !strings.HasPrefix(m.Attributes[KeyAttribute], "aws/lambda/async/my-function/2019/11/14/2019-11-14T18.16.05-") {
		t.Errorf("for a bucket: %+v", m)
	}
}

func TestDeadLetterIsTheEventWithTheErrorBesideIt(t *testing.T) {
	m := calls.DeadLetter(ended)
	if string(m.Body) != `{"ORDER_IDS":[1,2]}` || m.Attributes["RequestID"] != ended.RequestID || m.Attributes["ErrorCode"] != "200" ||
		m.Attributes["ErrorMessage"] != "Process exited before completing request" {
		t.Errorf("dead letter: %s, %v", m.Body, m.Attributes)
	}
}

func TestLineageSurvivesTheTraceHeader(t *testing.T) {
	l := event.Lineage{Counts: map[string]int{"resize": 3, "thumb_2": 12}}
	const header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
	got := calls.Trace(header+";Lineage=old:1", l)
	if want := header + ";Lineage=thumb_2:12+resize:3"; got != want {
		t.Errorf("header %s, want %s", got, want)
	}
	if back := Lineage(got); len(back.Counts) != 2 || back.Counts["resize"] != 3 || back.Counts["thumb_2"] != 12 {
		t.Errorf("read back: %v", back)
	}
	if got := calls.Trace("", event.Lineage{}); !strings.HasPrefix(got, "Root=1-") || strings.Contains(got, "Lineage") {
		t.Errorf("new trace: %s", got)
	}
	// AWS's own form names no function of this node.
	for _, odd := range []string{"", ";;", "Lineage=", "Lineage=a", "Lineage=a:b+:3+c:-1", "Root=1;Sampled=0"} {
		if l := Lineage(odd); len(l.Counts) != 0 {
			t.Errorf("%q reads as %v", odd, l)
		}
	}
}

func FuzzLineage(f *testing.F) {
	f.Add("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=a:1+b:2")
	f.Fuzz(func(t *testing.T, header string) {
		l := Lineage(header)
		if again := Lineage(calls.Trace("", l)); len(again.Counts) != len(l.Counts) {
			t.Errorf("%v became %v", l, again)
		}
	})
}
