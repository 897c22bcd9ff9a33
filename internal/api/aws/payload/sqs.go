// Package payload gives neutral events the JSON that AWS's services send to
// functions, and reads what functions answer to it.
package payload

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/api/aws/arn"
	"github.com/mayfly-dev/mayfly/internal/api/aws/sqs"
	"github.com/mayfly-dev/mayfly/internal/queue"
)

// SQS is the form in which functions get messages of queues.
type SQS struct {
	Region  string
	Account string // 12 digits
}

type sqsEvent struct {
	Records []sqsRecord `json:"Records"`
}

type sqsRecord struct {
	MessageID         string                  `json:"messageId"`
	ReceiptHandle     string                  `json:"receiptHandle"`
	Body              string                  `json:"body"`
	Attributes        map[string]string       `json:"attributes"`
	MessageAttributes map[string]sqsAttribute `json:"messageAttributes"`
	MD5OfAttributes   string                  `json:"md5OfMessageAttributes,omitempty"`
	MD5OfBody         string                  `json:"md5OfBody"`
	EventSource       string                  `json:"eventSource"`
	EventSourceARN    string                  `json:"eventSourceARN"`
	Region            string                  `json:"awsRegion"`
}

type sqsAttribute struct {
	StringValue      *string  `json:"stringValue,omitempty"`
	BinaryValue      *string  `json:"binaryValue,omitempty"` // base64
	StringListValues []string `json:"stringListValues"`
	BinaryListValues []string `json:"binaryListValues"`
	DataType         string   `json:"dataType"`
}

// Event returns the payload of a call with messages of a queue.
func (f SQS) Event(name string, ds []queue.Delivery) ([]byte, error) {
	e := sqsEvent{Records: make([]sqsRecord, len(ds))}
	for i := range ds {
		e.Records[i] = f.record(name, &ds[i])
	}
	return marshal(e)
}

// marshal is json.Marshal that leaves <, > and & as they are.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode an event: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func (f SQS) record(name string, d *queue.Delivery) sqsRecord {
	r := sqsRecord{
		MessageID: d.ID, ReceiptHandle: d.Handle, Body: d.Body,
		Attributes:        sqs.SystemAttributes(f.Region, f.Account, name, d),
		MessageAttributes: make(map[string]sqsAttribute, len(d.Attributes)),
		MD5OfAttributes:   sqs.DigestOfAttributes(d.Attributes), MD5OfBody: sqs.DigestOfBody(d.Body),
		EventSource: "aws:sqs", EventSourceARN: arn.Queue{Region: f.Region, Account: f.Account, Name: name}.String(), Region: f.Region,
	}
	for key, a := range d.Attributes {
		v := sqsAttribute{DataType: a.Type, StringListValues: []string{}, BinaryListValues: []string{}}
		if strings.HasPrefix(a.Type, "Binary") {
			v.BinaryValue = new(base64.StdEncoding.EncodeToString(a.Data))
		} else {
			v.StringValue = new(string(a.Data))
		}
		r.MessageAttributes[key] = v
	}
	return r
}

// Filterable returns the document that filters look at: the record, with the body
// as JSON if it is an object.
func (f SQS) Filterable(name string, d *queue.Delivery) ([]byte, error) {
	var body any = d.Body
	if t := strings.TrimLeft(d.Body, " \t\r\n"); strings.HasPrefix(t, "{") && json.Valid([]byte(d.Body)) {
		body = json.RawMessage(d.Body)
	}
	r := f.record(name, d)
	return marshal(struct {
		sqsRecord
		Body any `json:"body"`
	}{r, body})
}

// Failed reads an answer that may name messages that failed. An answer that names
// none, or is empty or null, says that all went well; ok is false for one that is
// no such answer, or holds something else than ids: then all have failed.
func (f SQS) Failed(answer []byte) (ids []string, ok bool) {
	answer = bytes.TrimSpace(answer)
	if len(answer) == 0 || bytes.Equal(answer, []byte("null")) {
		return nil, true
	}
	var a struct {
		Failures []struct {
			ID *string `json:"itemIdentifier"`
		} `json:"batchItemFailures"`
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return nil, false
	}
	for _, f := range a.Failures {
		if f.ID == nil || *f.ID == "" {
			return nil, false
		}
		ids = append(ids, *f.ID)
	}
	return ids, true
}
