package client

import (
	"crypto/md5" // as the events carry
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// TestEvent is what an event that was made up is made of.
type TestEvent struct {
	Region  string
	Account string
	Now     time.Time
	Text    string // what the caller wants in it: a message, an object's key, a request's body
}

// object is a JSON object in the making.
type object map[string]any

// testEvents make an event of each kind, in the shape in which its source sends it.
var testEvents = map[string]func(TestEvent) object{
	"sqs": sqsTestEvent, "s3": s3TestEvent, "schedule": scheduleTestEvent, "http": httpTestEvent,
}

// TestEvents returns the kinds of event that Make knows.
func TestEvents() []string { return slices.Sorted(maps.Keys(testEvents)) }

// Make returns an event of a kind as its source would send it. It fails for a kind
// that is not one of TestEvents.
func (e TestEvent) Make(kind string) ([]byte, error) {
	if testEvents[kind] == nil {
		return nil, fmt.Errorf("there is no event %q; use one of: %s", kind, strings.Join(TestEvents(), ", "))
	}
	return json.Marshal(testEvents[kind](e))
}

func (e TestEvent) orElse(text string) string {
	if e.Text != "" {
		return e.Text
	}
	return text
}

func sum(s string) string {
	b := md5.Sum([]byte(s))
	return hex.EncodeToString(b[:])
}

// sqsTestEvent is a batch of one message; the text is its body.
func sqsTestEvent(e TestEvent) object {
	body := e.orElse("a test message")
	ms := strconv.FormatInt(e.Now.UnixMilli(), 10)
	return object{"Records": []object{{
		"messageId":     uuid.NewString(),
		"receiptHandle": "a-test-receipt-handle",
		"body":          body,
		"attributes": object{
			"ApproximateReceiveCount": "1", "SentTimestamp": ms, "SenderId": e.Account, "ApproximateFirstReceiveTimestamp": ms,
		},
		"messageAttributes": object{},
		"md5OfBody":         sum(body),
		"eventSource":       "aws:sqs",
		"eventSourceARN":    "arn:aws:sqs:" + e.Region + ":" + e.Account + ":test-queue",
		"awsRegion":         e.Region,
	}}}
}

// s3TestEvent tells of an object that was put; the text is its key.
func s3TestEvent(e TestEvent) object {
	// Keys are escaped as in a query; slashes stay.
	key := strings.ReplaceAll(url.QueryEscape(e.orElse("test/key.txt")), "%2F", "/")
	return object{"Records": []object{{
		"eventVersion":      "2.1",
		"eventSource":       "aws:s3",
		"awsRegion":         e.Region,
		"eventTime":         e.Now.UTC().Format("2006-01-02T15:04:05.000Z"),
		"eventName":         "ObjectCreated:Put",
		"userIdentity":      object{"principalId": "AWS:" + e.Account},
		"requestParameters": object{"sourceIPAddress": "127.0.0.1"},
		"responseElements":  object{"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "a-test-id"},
		"s3": object{
			"s3SchemaVersion": "1.0",
			"configurationId": "test",
			"bucket":          object{"name": "test-bucket", "ownerIdentity": object{"principalId": e.Account}, "arn": "arn:aws:s3:::test-bucket"},
			"object":          object{"key": key, "size": 1024, "eTag": sum(key), "sequencer": fmt.Sprintf("%016X", e.Now.UnixNano())},
		},
	}}}
}

// scheduleTestEvent is what a rule with a schedule sends; the text is the rule's
// name.
func scheduleTestEvent(e TestEvent) object {
	return object{
		"version":     "0",
		"id":          uuid.NewString(),
		"detail-type": "Scheduled Event",
		"source":      "aws.events",
		"account":     e.Account,
		"time":        e.Now.UTC().Format(time.RFC3339),
		"region":      e.Region,
		"resources":   []string{"arn:aws:events:" + e.Region + ":" + e.Account + ":rule/" + e.orElse("test-rule")},
		"detail":      object{},
	}
}

// httpTestEvent is a request to a function's URL, in payload format 2.0. With a
// text it is a POST with that body, else a GET.
func httpTestEvent(e TestEvent) object {
	const domain = "testurl.lambda-url.localhost"
	method := "GET"
	headers := object{"host": domain, "accept": "*/*", "user-agent": "mayfly", "x-forwarded-proto": "http", "x-forwarded-for": "127.0.0.1"}
	event := object{
		"version": "2.0", "routeKey": "$default", "rawPath": "/test", "rawQueryString": "name=value",
		"headers": headers, "queryStringParameters": object{"name": "value"}, "isBase64Encoded": false,
	}
	if e.Text != "" {
		method = "POST"
		event["body"] = e.Text
		headers["content-type"] = "text/plain"
		if json.Valid([]byte(e.Text)) {
			headers["content-type"] = "application/json"
		}
		headers["content-length"] = strconv.Itoa(len(e.Text))
	}
	event["requestContext"] = object{
		"accountId": "anonymous", "apiId": "testurl", "domainName": domain, "domainPrefix": "testurl",
		"http":      object{"method": method, "path": "/test", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "mayfly"},
		"requestId": uuid.NewString(), "routeKey": "$default", "stage": "$default",
		"time": e.Now.UTC().Format("02/Jan/2006:15:04:05 -0700"), "timeEpoch": e.Now.UnixMilli(),
	}
	return event
}
