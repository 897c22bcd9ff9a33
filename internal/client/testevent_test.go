package client

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
)

// TestMadeUpEventsHaveTheirSourcesShape reads each event as a Go function would,
// and refuses what that knows nothing of.
func TestMadeUpEventsHaveTheirSourcesShape(t *testing.T) {
	e := TestEvent{Region: "eu-west-1", Account: "123456789012", Now: time.Unix(1700000000, 0), Text: `{"a b": "c"}`}
	var sqs events.SQSEvent
	var s3 events.S3Event
	var schedule events.EventBridgeEvent
	var http events.LambdaFunctionURLRequest
	for kind, into := range map[string]any{"sqs": &sqs, "s3": &s3, "schedule": &schedule, "http": &http} {
		b, err := e.Make(kind)
		if err != nil {
			t.Fatal(err)
		}
		dec := json.NewDecoder(bytes.NewReader(b))
		if kind != "http" { // the package leaves out the route keys
			dec.DisallowUnknownFields()
		}
		if err := dec.Decode(into); err != nil {
			t.Errorf("%s: %v in %s", kind, err, b)
		}
	}
	if r := sqs.Records[0]; r.Body != e.Text || r.EventSource != "aws:sqs" || r.Attributes["ApproximateReceiveCount"] != "1" {
		t.Errorf("sqs: %+v", r)
	}
	if r := s3.Records[0]; r.S3.Object.Key != "%7B%22a+b%22%3A+%22c%22%7D" || r.S3.Object.URLDecodedKey != e.Text || !r.EventTime.Equal(e.Now) {
		t.Errorf("s3: %+v", r)
	}
	if schedule.DetailType != "Scheduled Event" || !schedule.Time.Equal(e.Now) {
		t.Errorf("schedule: %+v", schedule)
	}
	if http.Body != e.Text || http.RequestContext.HTTP.Method != "POST" || http.Headers["content-type"] != "application/json" {
		t.Errorf("http: %+v", http)
	}
}
