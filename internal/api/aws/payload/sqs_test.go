package payload

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/mayfly-dev/mayfly/internal/queue"
)

var form = SQS{Region: "eu-west-1", Account: "123456789012"}

func fullDelivery() queue.Delivery {
	d := queue.Delivery{
		ID: "id-1", Handle: "handle", Sequence: 7, Receives: 2, From: "orders.fifo",
		Sent: time.UnixMilli(1545082649183), FirstReceived: time.UnixMilli(1545082649185),
	}
	d.Body, d.Group, d.Dedup, d.TraceID = `{"a":"<&>"}`, "g", "d", "Root=1-2-3"
	d.Attributes = map[string]queue.Attribute{"s": {Type: "String", Data: []byte("v")}, "b": {Type: "Binary.png", Data: []byte{0, 1}}}
	return d
}

func TestEventHasTheShapeOfSQS(t *testing.T) {
	b, err := form.Event("dead.fifo", []queue.Delivery{fullDelivery()})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"Records":[{"messageId":"id-1","receiptHandle":"handle","body":"{\"a\":\"<&>\"}",` +
		`"attributes":{"AWSTraceHeader":"Root=1-2-3","ApproximateFirstReceiveTimestamp":"1545082649185","ApproximateReceiveCount":"2",` +
		`"DeadLetterQueueSourceArn":"arn:aws:sqs:eu-west-1:123456789012:orders.fifo","MessageDeduplicationId":"d","MessageGroupId":"g",` +
		`"SenderId":"123456789012","SentTimestamp":"1545082649183","SequenceNumber":"00000000000000000007"},` +
		`"messageAttributes":{"b":{"binaryValue":"AAE=","stringListValues":[],"binaryListValues":[],"dataType":"Binary.png"},` +
		`"s":{"stringValue":"v","stringListValues":[],"binaryListValues":[],"dataType":"String"}},` +
		`"md5OfMessageAttributes":"f43300068e74c8dc2e9351b0840cdaf6","md5OfBody":"ff4346e5e8ab7dfd89199ac0941663a6",` +
		`"eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:eu-west-1:123456789012:dead.fifo","awsRegion":"eu-west-1"}]}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	var e events.SQSEvent // what Go functions read
	if err := json.Unmarshal(b, &e); err != nil {
		t.Fatal(err)
	}
	if m := e.Records[0]; m.MessageId != "id-1" || *m.MessageAttributes["s"].StringValue != "v" || string(m.MessageAttributes["b"].BinaryValue) != "\x00\x01" {
		t.Errorf("a Go function reads %+v", m)
	}
}

func TestFiltersSeeABodyThatIsAnObject(t *testing.T) {
	for body, want := range map[string]string{
		`{"a":1}`: `"body":{"a":1}`, `plain`: `"body":"plain"`, `[1]`: `"body":"[1]"`, `{"a":`: `"body":"{\"a\":"`,
	} {
		d := fullDelivery()
		d.Body = body
		b, err := form.Filterable("q", &d)
		if err != nil || !strings.Contains(string(b), want) || strings.Count(string(b), `"body"`) != 1 {
			t.Errorf("%s: %s, %v; want %s in it", body, b, err, want)
		}
	}
}

func TestAnswersNameFailedMessages(t *testing.T) {
	for answer, want := range map[string][]string{
		``: {}, `null`: {}, `{}`: {}, `{"batchItemFailures":null}`: {}, `{"batchItemFailures":[]}`: {}, `{"other":1}`: {},
		`{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"b"}]}`: {"a", "b"},
		`"text"`: nil, `[]`: nil, `{"batchItemFailures":"a"}`: nil, `{"batchItemFailures":["a"]}`: nil, `{`: nil,
		`{"batchItemFailures":[{"itemIdentifier":""}]}`: nil, `{"batchItemFailures":[{"itemIdentifier":null}]}`: nil,
		`{"batchItemFailures":[{"id":"a"}]}`: nil, `{"batchItemFailures":[{"itemIdentifier":5}]}`: nil,
	} {
		ids, ok := form.Failed([]byte(answer))
		if ok != (want != nil) || !slices.Equal(ids, want) {
			t.Errorf("%s: %v, %v; want %v", answer, ids, ok, want)
		}
	}
}

func FuzzFailed(f *testing.F) {
	f.Add([]byte(`{"batchItemFailures":[{"itemIdentifier":"a"}]}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		if ids, ok := form.Failed(answer); slices.Contains(ids, "") || !ok && ids != nil {
			t.Errorf("%v, %v", ids, ok)
		}
	})
}
