// Package events drives what wakes functions, end to end on one node, with AWS's
// SDK for Go: asynchronous calls, their retries and their destinations.
package events

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/mayfly-dev/mayfly/mayflytest"
	"github.com/mayfly-dev/mayfly/test/lambdatest"
)

func TestMain(m *testing.M) { mayflytest.Main(m) }

const worker = `
def handler(event, context):
    if isinstance(event, dict) and event.get("fail"):
        raise ValueError(event["fail"])
    return {"passes": 1}
`

// place is a node with clients.
type place struct {
	*mayflytest.Node
	*lambdatest.Client
	sqs *sqs.Client
}

func newPlace(t *testing.T) place {
	n := mayflytest.StartWith(t, mayflytest.Options{RetryWaits: []time.Duration{50 * time.Millisecond, 100 * time.Millisecond}})
	return place{n, lambdatest.New(n), sqs.New(sqs.Options{
		Region: n.Region, BaseEndpoint: &n.Endpoint, Credentials: credentials.NewStaticCredentialsProvider(n.AccessKey, n.SecretKey, ""),
	})}
}

func (p place) functionARN(name string) string {
	return "arn:aws:lambda:" + p.Region + ":" + p.Account + ":function:" + name
}

// queue makes a queue and returns its URL and ARN.
func (p place) queue(t *testing.T, name string) (url, arn string) {
	t.Helper()
	q, err := p.sqs.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name})
	if err != nil {
		t.Fatal(err)
	}
	return *q.QueueUrl, "arn:aws:sqs:" + p.Region + ":" + p.Account + ":" + name
}

// receive waits for one message of the queue and deletes it.
func (p place) receive(t *testing.T, url string) sqstypes.Message {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		out, err := p.sqs.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url, WaitTimeSeconds: 10, MessageAttributeNames: []string{"All"}})
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Messages) > 0 {
			m := out.Messages[0]
			if _, err := p.sqs.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle}); err != nil {
				t.Fatal(err)
			}
			return m
		}
	}
	t.Fatalf("nothing came into %s", url)
	panic("unreachable")
}

// tell sets the function's destinations; "" is none.
func (p place) tell(t *testing.T, function, onSuccess, onFailure string) {
	t.Helper()
	to := &lambdatypes.DestinationConfig{}
	if onSuccess != "" {
		to.OnSuccess = &lambdatypes.OnSuccess{Destination: &onSuccess}
	}
	if onFailure != "" {
		to.OnFailure = &lambdatypes.OnFailure{Destination: &onFailure}
	}
	if _, err := p.PutFunctionEventInvokeConfig(t.Context(), &lambda.PutFunctionEventInvokeConfigInput{FunctionName: &function, DestinationConfig: to}); err != nil {
		t.Fatal(err)
	}
}

// later calls the function asynchronously.
func (p place) later(t *testing.T, function, payload string) {
	t.Helper()
	if _, err := p.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &function, InvocationType: lambdatypes.InvocationTypeEvent, Payload: []byte(payload)}); err != nil {
		t.Fatal(err)
	}
}

// record is what a destination gets.
type record struct {
	RequestContext struct {
		FunctionARN string `json:"functionArn"`
		Condition   string `json:"condition"`
		Runs        int    `json:"approximateInvokeCount"`
	} `json:"requestContext"`
	RequestPayload  json.RawMessage `json:"requestPayload"`
	ResponseContext struct {
		FunctionError string `json:"functionError"`
	} `json:"responseContext"`
	ResponsePayload struct {
		ErrorMessage string `json:"errorMessage"`
	} `json:"responsePayload"`
}

func readRecord(t *testing.T, m sqstypes.Message) (r record) {
	t.Helper()
	if err := json.Unmarshal([]byte(*m.Body), &r); err != nil {
		t.Fatalf("%s: %v", *m.Body, err)
	}
	return r
}

func TestAsynchronousCalls(t *testing.T) {
	p := newPlace(t)
	p.Deploy(t, lambdatest.Python{Name: "ping", Source: worker})
	p.Deploy(t, lambdatest.Python{Name: "pong", Source: worker})
	failed, failedARN := p.queue(t, "failed")
	dead, deadARN := p.queue(t, "dead")

	t.Run("a call that fails three times ends in the queues", func(t *testing.T) {
		p.tell(t, "ping", "", failedARN)
		if _, err := p.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{
			FunctionName: new("ping"), DeadLetterConfig: &lambdatypes.DeadLetterConfig{TargetArn: &deadARN},
		}); err != nil {
			t.Fatal(err)
		}
		p.Updated(t, "ping")
		p.later(t, "ping", `{"fail": "boom"}`)
		r := readRecord(t, p.receive(t, failed))
		if r.RequestContext.Condition != "RetriesExhausted" || r.RequestContext.Runs != 3 || r.RequestContext.FunctionARN != p.functionARN("ping:$LATEST") ||
			string(r.RequestPayload) != `{"fail":"boom"}` || r.ResponseContext.FunctionError != "Unhandled" || r.ResponsePayload.ErrorMessage != "boom" {
			t.Errorf("record: %+v", r)
		}
		m := p.receive(t, dead)
		if *m.Body != `{"fail": "boom"}` || *m.MessageAttributes["ErrorMessage"].StringValue != "boom" || m.MessageAttributes["RequestID"].StringValue == nil {
			t.Errorf("dead letter: %s, %v", *m.Body, m.MessageAttributes)
		}
	})

	t.Run("a loop of two functions ends after 16 passes", func(t *testing.T) {
		p.tell(t, "ping", p.functionARN("pong"), failedARN)
		p.tell(t, "pong", p.functionARN("ping"), "")
		p.later(t, "ping", `{}`)
		r := readRecord(t, p.receive(t, failed))
		if r.RequestContext.Condition != "RecursiveInvocation" || r.RequestContext.Runs != 0 || r.RequestContext.FunctionARN != p.functionARN("ping:$LATEST") {
			t.Errorf("record: %+v", r)
		}
		// The payload is the record of the record of the record …
		depth := 0
		for payload := r.RequestPayload; len(payload) > 2; depth++ {
			var inner record
			if err := json.Unmarshal(payload, &inner); err != nil {
				t.Fatal(err)
			}
			payload = inner.RequestPayload
		}
		if depth != 32 {
			t.Errorf("the loop ended after %d calls, want 16 of each function", depth)
		}
	})
}
