package sqs

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/arn"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/queue"
)

// maxReceive is the most messages that one receive gives.
const maxReceive = 10

// ReceiveMessage hands out messages, waiting for the first if it is asked to.
func (d *Door) ReceiveMessage(ctx context.Context, in *ReceiveMessageInput) (*ReceiveMessageOutput, error) {
	name, err := d.name(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	r := queue.Receive{Max: 1}
	if n := in.MaxNumberOfMessages; n != nil {
		if r.Max = int(*n); r.Max < 1 || r.Max > maxReceive {
			return nil, outOf(*n, "MaxNumberOfMessages", 1, maxReceive)
		}
	}
	if r.Wait, err = period(in.WaitTimeSeconds, "WaitTimeSeconds", queue.MaxWait); err != nil {
		return nil, err
	}
	if r.Visibility, err = period(in.VisibilityTimeout, "VisibilityTimeout", queue.MaxVisibility); err != nil {
		return nil, err
	}
	system := append(slices.Clone(in.AttributeNames), in.MessageSystemAttributeNames...)
	for _, n := range system {
		if !slices.Contains(systemAttributes, n) {
			return nil, wire.Errorf(CodeInvalidAttributeName, "Unknown Attribute %.100s.", n)
		}
	}
	ds, err := d.o.Queues.Receive(ctx, name, r)
	if err != nil {
		return nil, fail(err)
	}
	out := &ReceiveMessageOutput{}
	for i := range ds {
		out.Messages = append(out.Messages, d.received(name, &ds[i], system, in.MessageAttributeNames))
	}
	return out, nil
}

// period reads a parameter in seconds; nil if it is not given.
func period(v *int32, parameter string, most time.Duration) (*time.Duration, error) {
	if v == nil {
		return nil, nil
	}
	t := time.Duration(*v) * time.Second
	if t < 0 || t > most {
		return nil, outOf(*v, parameter, 0, int64(most/time.Second))
	}
	return &t, nil
}

func (d *Door) received(name string, v *queue.Delivery, system, wanted []string) Message {
	m := Message{MessageId: &v.ID, ReceiptHandle: &v.Handle, Body: &v.Body, MD5OfBody: new(DigestOfBody(v.Body))}
	for key, text := range SystemAttributes(d.o.Region, d.o.Account, name, v) {
		if slices.Contains(system, key) || slices.Contains(system, MessageSystemAttributeNameAll) {
			if m.Attributes == nil {
				m.Attributes = map[string]string{}
			}
			m.Attributes[key] = text
		}
	}
	shown := map[string]queue.Attribute{}
	for key, a := range v.Attributes {
		if !asked(wanted, key) {
			continue
		}
		shown[key] = a
		av := MessageAttributeValue{DataType: new(a.Type)}
		if isBinary(a.Type) {
			av.BinaryValue = a.Data
		} else {
			av.StringValue = new(string(a.Data))
		}
		if m.MessageAttributes == nil {
			m.MessageAttributes = map[string]MessageAttributeValue{}
		}
		m.MessageAttributes[key] = av
	}
	m.MD5OfMessageAttributes = wire.Some(DigestOfAttributes(shown))
	return m
}

var systemAttributes = []string{
	MessageSystemAttributeNameAll, MessageSystemAttributeNameSenderId, MessageSystemAttributeNameSentTimestamp,
	MessageSystemAttributeNameApproximateReceiveCount, MessageSystemAttributeNameApproximateFirstReceiveTimestamp,
	MessageSystemAttributeNameSequenceNumber, MessageSystemAttributeNameMessageDeduplicationId,
	MessageSystemAttributeNameMessageGroupId, MessageSystemAttributeNameAWSTraceHeader,
	MessageSystemAttributeNameDeadLetterQueueSourceArn,
}

// SystemAttributes are what SQS itself tells of a message received from the queue
// named, in a region and account.
func SystemAttributes(region, account, name string, v *queue.Delivery) map[string]string {
	a := map[string]string{
		MessageSystemAttributeNameSenderId:                         v.Sender,
		MessageSystemAttributeNameSentTimestamp:                    strconv.FormatInt(v.Sent.UnixMilli(), 10),
		MessageSystemAttributeNameApproximateReceiveCount:          strconv.Itoa(v.Receives),
		MessageSystemAttributeNameApproximateFirstReceiveTimestamp: strconv.FormatInt(v.FirstReceived.UnixMilli(), 10),
	}
	if v.Sender == "" {
		a[MessageSystemAttributeNameSenderId] = account
	}
	if strings.HasSuffix(name, queue.FIFOSuffix) {
		a[MessageSystemAttributeNameSequenceNumber] = FormatSequence(v.Sequence)
		a[MessageSystemAttributeNameMessageDeduplicationId] = v.Dedup
	}
	for key, text := range map[string]string{
		MessageSystemAttributeNameMessageGroupId: v.Group, MessageSystemAttributeNameAWSTraceHeader: v.TraceID,
	} {
		if text != "" {
			a[key] = text
		}
	}
	if v.From != "" {
		a[MessageSystemAttributeNameDeadLetterQueueSourceArn] = arn.Queue{Region: region, Account: account, Name: v.From}.String()
	}
	return a
}

// asked reports whether an attribute is among those wanted: by its name, by "All"
// or ".*", or by a beginning and ".*".
func asked(wanted []string, name string) bool {
	for _, w := range wanted {
		prefix, open := strings.CutSuffix(w, ".*")
		if w == name || w == "All" || open && (prefix == "" || strings.HasPrefix(name, prefix)) {
			return true
		}
	}
	return false
}

// DeleteMessage deletes a message that was received.
func (d *Door) DeleteMessage(ctx context.Context, in *DeleteMessageInput) (*DeleteMessageOutput, error) {
	name, err := d.name(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	if wire.Value(in.ReceiptHandle) == "" {
		return nil, missing("ReceiptHandle")
	}
	failed, err := d.o.Queues.Delete(ctx, name, *in.ReceiptHandle)
	if err != nil {
		return nil, fail(err)
	}
	return nil, failHandle(*in.ReceiptHandle, failed[0])
}

// failHandle words an error that concerns a receipt handle.
func failHandle(handle string, err error) error {
	switch e := errs.Of(err); {
	case e == nil:
		return nil
	case e.Reason == queue.ReasonHandle:
		return wire.Errorf(CodeReceiptHandleIsInvalid, "The input receipt handle \"%.1024s\" is not a valid receipt handle.", handle)
	case e.Reason == queue.ReasonStale:
		return invalid("Value %s for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.", handle)
	case e.Reason == queue.ReasonNotOut:
		return invalid("Value %s for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change.", handle)
	}
	return fail(err)
}

// DeleteMessageBatch deletes up to ten messages; each has its own outcome.
func (d *Door) DeleteMessageBatch(ctx context.Context, in *DeleteMessageBatchInput) (*DeleteMessageBatchOutput, error) {
	name, err := d.name(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	ids, handles := make([]*string, len(in.Entries)), make([]string, len(in.Entries))
	for i, e := range in.Entries {
		ids[i], handles[i] = e.Id, wire.Value(e.ReceiptHandle)
	}
	if err := checkBatch("DeleteMessageBatchRequestEntry", ids); err != nil {
		return nil, err
	}
	failed, err := d.o.Queues.Delete(ctx, name, handles...)
	if err != nil {
		return nil, fail(err)
	}
	out := &DeleteMessageBatchOutput{Failed: []BatchResultErrorEntry{}, Successful: []DeleteMessageBatchResultEntry{}}
	for i, err := range failed {
		if err != nil {
			out.Failed = append(out.Failed, d.entry(ids[i], failHandle(handles[i], err)))
			continue
		}
		out.Successful = append(out.Successful, DeleteMessageBatchResultEntry{Id: ids[i]})
	}
	return out, nil
}

// ChangeMessageVisibility changes how long a received message stays hidden.
func (d *Door) ChangeMessageVisibility(ctx context.Context, in *ChangeMessageVisibilityInput) (*ChangeMessageVisibilityOutput, error) {
	name, err := d.name(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	switch {
	case wire.Value(in.ReceiptHandle) == "":
		return nil, missing("ReceiptHandle")
	case in.VisibilityTimeout == nil:
		return nil, missing("VisibilityTimeout")
	}
	t, err := period(in.VisibilityTimeout, "VisibilityTimeout", queue.MaxVisibility)
	if err != nil {
		return nil, err
	}
	failed, err := d.o.Queues.Hide(ctx, name, queue.Hide{Handle: *in.ReceiptHandle, For: *t})
	if err != nil {
		return nil, fail(err)
	}
	return nil, failHandle(*in.ReceiptHandle, failed[0])
}

// ChangeMessageVisibilityBatch changes how long up to ten messages stay hidden;
// each has its own outcome.
func (d *Door) ChangeMessageVisibilityBatch(ctx context.Context, in *ChangeMessageVisibilityBatchInput) (*ChangeMessageVisibilityBatchOutput, error) {
	name, err := d.name(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	ids, hides := make([]*string, len(in.Entries)), make([]queue.Hide, len(in.Entries))
	for i, e := range in.Entries {
		ids[i], hides[i] = e.Id, queue.Hide{Handle: wire.Value(e.ReceiptHandle), For: time.Duration(wire.Value(e.VisibilityTimeout)) * time.Second}
	}
	if err := checkBatch("ChangeMessageVisibilityBatchRequestEntry", ids); err != nil {
		return nil, err
	}
	failed, err := d.o.Queues.Hide(ctx, name, hides...)
	if err != nil {
		return nil, fail(err)
	}
	out := &ChangeMessageVisibilityBatchOutput{Failed: []BatchResultErrorEntry{}, Successful: []ChangeMessageVisibilityBatchResultEntry{}}
	for i, err := range failed {
		if err != nil {
			out.Failed = append(out.Failed, d.entry(ids[i], failHandle(hides[i].Handle, err)))
			continue
		}
		out.Successful = append(out.Successful, ChangeMessageVisibilityBatchResultEntry{Id: ids[i]})
	}
	return out, nil
}
