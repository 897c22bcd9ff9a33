// Package payload holds the JSON that AWS hands to functions and destinations:
// the shapes that events have, whatever they are inside.
package payload

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/mayfly-dev/mayfly/internal/api/aws/arn"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/invoke"
)

// timeLayout is how Lambda writes times in records.
const timeLayout = "2006-01-02T15:04:05.000Z"

// ResourcesAttribute is the attribute of a message for a bus that holds the
// event's resources, as a JSON list. KeyAttribute is that of a message for a
// bucket that holds the object's key.
const (
	ResourcesAttribute = "resources"
	KeyAttribute       = "key"
)

// Calls puts what is said of asynchronous calls into Lambda's words. It is an
// invoke.Words.
type Calls struct{ Place arn.Place }

var _ invoke.Words = Calls{}

// callRecord is what a destination gets.
type callRecord struct {
	Version         string           `json:"version"`
	Timestamp       string           `json:"timestamp"`
	RequestContext  requestContext   `json:"requestContext"`
	RequestPayload  json.RawMessage  `json:"requestPayload"`
	ResponseContext *responseContext `json:"responseContext,omitempty"`
	ResponsePayload json.RawMessage  `json:"responsePayload,omitempty"`
}

type requestContext struct {
	RequestID   string `json:"requestId"`
	FunctionARN string `json:"functionArn"`
	Condition   string `json:"condition"`
	Runs        int    `json:"approximateInvokeCount"`
}

type responseContext struct {
	StatusCode      int    `json:"statusCode"`
	ExecutedVersion string `json:"executedVersion"`
	FunctionError   string `json:"functionError,omitempty"`
}

// conditions are Lambda's words for how calls end.
var conditions = map[invoke.Condition]string{
	invoke.Success:          "Success",
	invoke.RetriesExhausted: "RetriesExhausted",
	invoke.TooOld:           "EventAgeExceeded",
	invoke.Stopped:          "ZeroReservedConcurrency",
	invoke.Looping:          "RecursiveInvocation",
}

// Record implements invoke.Words.
func (c Calls) Record(to event.Target, e invoke.Ended) event.Message {
	r := callRecord{
		Version: "1.0", Timestamp: e.At.UTC().Format(timeLayout),
		RequestContext: requestContext{
			RequestID: e.RequestID, FunctionARN: c.function(e), Condition: conditions[e.Condition], Runs: e.Runs,
		},
		RequestPayload: raw(e.Payload),
	}
	if e.Result != nil {
		r.ResponseContext = &responseContext{StatusCode: 200, ExecutedVersion: e.Result.Version, FunctionError: e.Result.FunctionError}
		r.ResponsePayload = raw(e.Result.Payload)
	}
	m := event.Message{Body: encode(r)}
	outcome := "Success"
	if e.Condition != invoke.Success {
		outcome = "Failure"
	}
	switch to.Kind {
	case event.Bus:
		m.Source, m.DetailType = "lambda", "Lambda Function Invocation Result - "+outcome
		m.Attributes = map[string]string{ResourcesAttribute: string(encode([]string{c.Place.Target(to), c.function(e)}))}
	case event.Bucket:
		at := e.At.UTC()
		m.Attributes = map[string]string{KeyAttribute: "aws/lambda/async/" + e.Function + "/" + at.Format("2006/01/02/2006-01-02T15.04.05") + "-" + uuid.NewSHA1(uuid.NameSpaceOID, []byte(e.RequestID)).String()}
	}
	return m
}

// maxErrorMessage is how much of an error a dead letter carries, in bytes.
const maxErrorMessage = 1024

// DeadLetter implements invoke.Words: the event as it was, with the error in
// attributes.
func (c Calls) DeadLetter(e invoke.Ended) event.Message {
	a := map[string]string{"RequestID": e.RequestID, "ErrorCode": "200", "ErrorMessage": string(e.Condition)}
	if e.Result == nil {
		a["ErrorCode"] = "429"
	} else if said := errorMessage(e.Result.Payload); said != "" {
		a["ErrorMessage"] = said[:min(len(said), maxErrorMessage)]
	}
	return event.Message{Body: e.Payload, Attributes: a}
}

// errorMessage is what a function's error document says.
func errorMessage(document []byte) string {
	var d struct {
		Message string `json:"errorMessage"`
	}
	if json.Unmarshal(document, &d) != nil || d.Message == "" {
		return string(document)
	}
	return d.Message
}

// function is the ARN of what ran, or was to run.
func (c Calls) function(e invoke.Ended) string {
	q := e.Qualifier
	if q == "" {
		q = function.Latest
	}
	return c.Place.Target(event.Target{Kind: event.Function, Name: e.Function, Qualifier: q})
}

// raw is a document as it is within another; what is no JSON becomes a string.
func raw(b []byte) json.RawMessage {
	if len(b) == 0 {
		return nil
	}
	if !json.Valid(b) {
		return encode(string(b))
	}
	return b
}

// encode writes what always can be written.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("payload: " + err.Error())
	}
	return b
}

// Timestamp writes a time as EventBridge does: whole seconds.
func Timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
