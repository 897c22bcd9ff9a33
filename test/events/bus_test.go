package events

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/mayfly-dev/mayfly/test/lambdatest"
)

// watch leads events of the default bus that match to a new queue.
func (p place) watch(t *testing.T, name, pattern string) (url string) {
	t.Helper()
	c := eventbridge.New(eventbridge.Options{
		Region: p.Region, BaseEndpoint: &p.Endpoint, Credentials: credentials.NewStaticCredentialsProvider(p.AccessKey, p.SecretKey, ""),
	})
	url, arn := p.queue(t, name)
	if _, err := c.PutRule(t.Context(), &eventbridge.PutRuleInput{Name: &name, EventPattern: &pattern}); err != nil {
		t.Fatal(err)
	}
	out, err := c.PutTargets(t.Context(), &eventbridge.PutTargetsInput{Rule: &name, Targets: []eventtypes.Target{{Id: &name, Arn: &arn}}})
	if err != nil || out.FailedEntryCount != 0 {
		t.Fatalf("%+v, %v", out, err)
	}
	return url
}

// busEvent is an event as queues get it.
type busEvent struct {
	Source     string          `json:"source"`
	DetailType string          `json:"detail-type"`
	Detail     json.RawMessage `json:"detail"`
}

func (p place) receiveEvent(t *testing.T, url string) (e busEvent) {
	t.Helper()
	m := p.receive(t, url)
	if err := json.Unmarshal([]byte(*m.Body), &e); err != nil {
		t.Fatalf("%s: %v", *m.Body, err)
	}
	return e
}

func TestWhatHappensOnTheNodeIsToldOnTheBus(t *testing.T) {
	p := newPlace(t)

	t.Run("a function that answered", func(t *testing.T) {
		p.Deploy(t, lambdatest.Python{Name: "teller", Source: worker})
		p.tell(t, "teller", "arn:aws:events:"+p.Region+":"+p.Account+":event-bus/default", "")
		url := p.watch(t, "answers", `{"source":["lambda"],"detail":{"responsePayload":{"passes":[1]}}}`)
		p.later(t, "teller", `{"n": 7}`)
		e := p.receiveEvent(t, url)
		var r record
		if err := json.Unmarshal(e.Detail, &r); err != nil {
			t.Fatal(err)
		}
		if e.DetailType != "Lambda Function Invocation Result - Success" || r.RequestContext.Condition != "Success" || string(r.RequestPayload) != `{"n":7}` {
			t.Errorf("the event is %+v, detail %s", e, e.Detail)
		}
	})

	t.Run("an object that was put", func(t *testing.T) {
		c := s3.New(s3.Options{
			Region: p.Region, BaseEndpoint: &p.Endpoint, UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider(p.AccessKey, p.SecretKey, ""),
		})
		photos := aws.String("photos")
		if _, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: photos}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.PutBucketNotificationConfiguration(t.Context(), &s3.PutBucketNotificationConfigurationInput{
			Bucket: photos, NotificationConfiguration: &s3types.NotificationConfiguration{EventBridgeConfiguration: &s3types.EventBridgeConfiguration{}},
		}); err != nil {
			t.Fatal(err)
		}
		url := p.watch(t, "objects", `{"source":["aws.s3"],"detail":{"bucket":{"name":["photos"]},"object":{"key":[{"suffix":".jpg"}]}}}`)
		for _, key := range []string{"a.txt", "b c.jpg"} {
			if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: photos, Key: &key, Body: strings.NewReader("hello")}); err != nil {
				t.Fatal(err)
			}
		}
		e := p.receiveEvent(t, url)
		if e.DetailType != "Object Created" || !strings.Contains(string(e.Detail), `"key":"b c.jpg"`) {
			t.Errorf("the event is %+v, detail %s", e, e.Detail)
		}
	})
}
