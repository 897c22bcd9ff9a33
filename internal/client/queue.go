package client

import (
	"context"
	"strings"
)

// SplitARN returns the service of an ARN and the resource there; "" of a text that
// is none.
func SplitARN(arn string) (service, resource string) {
	part := strings.SplitN(arn, ":", 6)
	if len(part) < 6 {
		return "", ""
	}
	return part[2], part[5]
}

// ARNText names what an ARN is of in words: "function resize:live", "queue orders".
func ARNText(arn string) string {
	switch service, resource := SplitARN(arn); service {
	case "lambda":
		return "function " + strings.TrimPrefix(resource, "function:")
	case "sqs":
		return "queue " + resource
	case "events":
		return "bus " + strings.TrimPrefix(resource, "event-bus/")
	}
	return arn
}

// QueueURL returns a queue's URL.
func (c *Client) QueueURL(ctx context.Context, name string) (string, error) {
	var out struct{ QueueUrl string }
	err := c.Operation(ctx, Queues, "GetQueueUrl", map[string]string{"QueueName": name}, &out)
	return out.QueueUrl, err
}

// Message is one that was received.
type Message struct {
	ID         string            `json:"id"`
	Body       string            `json:"body"`
	Receives   string            `json:"receives"`
	Attributes map[string]string `json:"attributes,omitempty"` // that its sender gave
	Handle     string            `json:"receiptHandle"`
	Sent       string            `json:"-"` // milliseconds since 1970
}

// Receive takes messages of a queue with all their attributes; in says the rest of
// ReceiveMessage's input.
func (c *Client) Receive(ctx context.Context, url string, in map[string]any) ([]Message, error) {
	in["QueueUrl"], in["MessageAttributeNames"], in["AttributeNames"] = url, []string{"All"}, []string{"All"}
	var out struct {
		Messages []struct {
			MessageId, Body, ReceiptHandle string
			Attributes                     map[string]string
			MessageAttributes              map[string]struct{ StringValue, BinaryValue string }
		}
	}
	if err := c.Operation(ctx, Queues, "ReceiveMessage", in, &out); err != nil {
		return nil, err
	}
	list := []Message{}
	for _, m := range out.Messages {
		l := Message{
			ID: m.MessageId, Body: m.Body, Handle: m.ReceiptHandle,
			Receives: m.Attributes["ApproximateReceiveCount"], Sent: m.Attributes["SentTimestamp"],
		}
		for k, v := range m.MessageAttributes {
			if l.Attributes == nil {
				l.Attributes = map[string]string{}
			}
			l.Attributes[k] = v.StringValue + v.BinaryValue
		}
		list = append(list, l)
	}
	return list, nil
}

// PutEvent puts one event on a bus and returns its id; entry is one of PutEvents'.
func (c *Client) PutEvent(ctx context.Context, entry map[string]any) (id string, err error) {
	var out struct {
		Entries []struct{ EventId, ErrorMessage string }
	}
	if err := c.Operation(ctx, Events, "PutEvents", map[string]any{"Entries": []map[string]any{entry}}, &out); err != nil {
		return "", err
	}
	if len(out.Entries) != 1 {
		return "", &Problem{Message: "the node's answer does not tell of the event"}
	}
	if m := out.Entries[0].ErrorMessage; m != "" {
		return "", &Problem{Status: 400, Message: m}
	}
	return out.Entries[0].EventId, nil
}
