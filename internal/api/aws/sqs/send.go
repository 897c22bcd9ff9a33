package sqs

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/queue"
)

// traceHeader carries the trace that a request is part of.
const traceHeader = "X-Amzn-Trace-Id"

const (
	maxAttributes = 10 // of a message
	maxBatch      = 10 // entries of a batch
	typeString    = "String"
	typeNumber    = "Number"
	typeBinary    = "Binary"
)

// outgoing is what SendMessage and an entry of SendMessageBatch have in common.
type outgoing struct {
	id         *string // of an entry
	body       *string
	attributes map[string]MessageAttributeValue
	system     map[string]MessageSystemAttributeValue
	delay      *int32
	group      *string
	dedup      *string
}

// SendMessage stores a message.
func (d *Door) SendMessage(ctx context.Context, in *SendMessageInput) (*SendMessageOutput, error) {
	name, err := d.name(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	m, err := d.message(ctx, outgoing{
		body: in.MessageBody, attributes: in.MessageAttributes, system: in.MessageSystemAttributes,
		delay: in.DelaySeconds, group: in.MessageGroupId, dedup: in.MessageDeduplicationId,
	})
	if err != nil {
		return nil, err
	}
	sent, err := d.o.Queues.Send(ctx, name, m)
	if err == nil {
		err = sent[0].Err
	}
	if err != nil {
		return nil, failSend(err)
	}
	return &SendMessageOutput{
		MessageId: &sent[0].ID, MD5OfMessageBody: new(DigestOfBody(m.Body)),
		MD5OfMessageAttributes: wire.Some(DigestOfAttributes(m.Attributes)), MD5OfMessageSystemAttributes: systemDigest(m),
		SequenceNumber: sequence(name, sent[0]),
	}, nil
}

// failSend words an error of sending one message.
func failSend(err error) error {
	if errs.Is(err, errs.TooLarge) {
		return invalid("One or more parameters are invalid. Reason: Message must be shorter than %d bytes.", queue.MaxSize)
	}
	return fail(err)
}

// SendMessageBatch stores up to ten messages; each has its own outcome.
func (d *Door) SendMessageBatch(ctx context.Context, in *SendMessageBatchInput) (*SendMessageBatchOutput, error) {
	name, err := d.name(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	ids, size := make([]*string, len(in.Entries)), 0
	for i, e := range in.Entries {
		ids[i] = e.Id
		size += len(wire.Value(e.MessageBody))
		for k, a := range e.MessageAttributes {
			size += len(k) + len(wire.Value(a.DataType)) + len(wire.Value(a.StringValue)) + len(a.BinaryValue)
		}
	}
	if err := checkBatch("SendMessageBatchRequestEntry", ids); err != nil {
		return nil, err
	}
	if size > queue.MaxSize {
		return nil, wire.Errorf(CodeBatchRequestTooLong, "Batch requests cannot be longer than %d bytes. You have sent %d bytes.", queue.MaxSize, size)
	}
	out := &SendMessageBatchOutput{Failed: []BatchResultErrorEntry{}, Successful: []SendMessageBatchResultEntry{}}
	var ms []queue.Message
	var of []*string
	for _, e := range in.Entries {
		m, err := d.message(ctx, outgoing{e.Id, e.MessageBody, e.MessageAttributes, e.MessageSystemAttributes, e.DelaySeconds, e.MessageGroupId, e.MessageDeduplicationId})
		if err != nil {
			out.Failed = append(out.Failed, d.entry(e.Id, err))
			continue
		}
		ms, of = append(ms, m), append(of, e.Id)
	}
	sent, err := d.o.Queues.Send(ctx, name, ms...)
	if err != nil {
		return nil, fail(err)
	}
	for i, s := range sent {
		if s.Err != nil {
			out.Failed = append(out.Failed, d.entry(of[i], failSend(s.Err)))
			continue
		}
		out.Successful = append(out.Successful, SendMessageBatchResultEntry{
			Id: of[i], MessageId: &sent[i].ID, MD5OfMessageBody: new(DigestOfBody(ms[i].Body)),
			MD5OfMessageAttributes: wire.Some(DigestOfAttributes(ms[i].Attributes)), MD5OfMessageSystemAttributes: systemDigest(ms[i]),
			SequenceNumber: sequence(name, s),
		})
	}
	return out, nil
}

var entryID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

// checkBatch checks the ids of a batch's entries.
func checkBatch(what string, ids []*string) error {
	switch {
	case len(ids) == 0:
		return wire.Errorf(CodeEmptyBatchRequest, "There should be at least one %s in the request.", what)
	case len(ids) > maxBatch:
		return wire.Errorf(CodeTooManyEntriesInBatchRequest, "Maximum number of entries per request are %d. You have sent %d.", maxBatch, len(ids))
	}
	var seen []string
	for i, id := range ids {
		switch v := wire.Value(id); {
		case v == "":
			return missing(what + "." + strconv.Itoa(i+1) + ".Id")
		case !entryID.MatchString(v):
			return wire.Errorf(CodeInvalidBatchEntryId, "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.")
		case slices.Contains(seen, v):
			return wire.Errorf(CodeBatchEntryIdsNotDistinct, "Id %s repeated.", v)
		default:
			seen = append(seen, v)
		}
	}
	return nil
}

// message checks what a client sends and makes a message of it.
func (d *Door) message(ctx context.Context, o outgoing) (queue.Message, error) {
	m := queue.Message{Body: wire.Value(o.body), Group: wire.Value(o.group), Dedup: wire.Value(o.dedup), Sender: d.o.Account}
	if m.Body == "" {
		return m, missing("MessageBody")
	}
	if !sendable(m.Body) {
		return m, wire.Errorf(CodeInvalidMessageContents, "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF")
	}
	if o.delay != nil {
		if *o.delay < 0 || *o.delay > int32(queue.MaxDelay/time.Second) {
			return m, invalid("Value %d for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900.", *o.delay)
		}
		m.Delay = new(time.Duration(*o.delay) * time.Second)
	}
	for _, p := range []struct {
		name string
		v    *string
	}{{"MessageGroupId", o.group}, {"MessageDeduplicationId", o.dedup}} {
		if p.v != nil && !token.MatchString(*p.v) {
			return m, invalid("Value %.200s for parameter %s is invalid. Reason: %s can only include alphanumeric and punctuation characters. 1 to 128 in length.", *p.v, p.name, p.name)
		}
	}
	var err error
	if m.Attributes, err = readAttributes(o.attributes); err != nil {
		return m, err
	}
	for name, a := range o.system {
		if name != MessageSystemAttributeNameForSendsAWSTraceHeader || wire.Value(a.DataType) != typeString {
			return m, invalid("Message system attribute name '%.100s' is invalid.", name)
		}
		m.TraceID = wire.Value(a.StringValue)
	}
	// Functions send the header on that they were called with.
	if r := wire.HTTPRequest(ctx); r != nil {
		m.Lineage = d.o.Lineage(r.Header.Get(traceHeader))
	}
	return m, nil
}

// token is the form of group and deduplication ids.
var token = regexp.MustCompile("^[A-Za-z0-9!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~]{1,128}$")

// sendable reports whether a text has only characters that XML can hold.
func sendable(s string) bool {
	for i, r := range s {
		switch {
		case r == utf8.RuneError:
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				return false
			}
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0xFFFE, r == 0xFFFF:
			return false
		}
	}
	return true
}

var (
	attributeName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,256}$`)
	number        = regexp.MustCompile(`^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$`)
)

// readAttributes checks a message's attributes.
func readAttributes(as map[string]MessageAttributeValue) (map[string]queue.Attribute, error) {
	if len(as) == 0 {
		return nil, nil
	}
	if len(as) > maxAttributes {
		return nil, invalid("Number of message attributes [%d] exceeds the allowed maximum [%d].", len(as), maxAttributes)
	}
	out := make(map[string]queue.Attribute, len(as))
	for name, a := range as {
		lower := strings.ToLower(name)
		if !attributeName.MatchString(name) || strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") || strings.Contains(name, "..") || strings.HasPrefix(lower, "aws.") || strings.HasPrefix(lower, "amazon.") {
			return nil, invalid("Message (user) attribute name '%.256s' is invalid.", name)
		}
		kind, _, _ := strings.Cut(wire.Value(a.DataType), ".")
		var data []byte
		switch kind {
		case typeString, typeNumber:
			if a.StringValue != nil {
				data = []byte(*a.StringValue)
			}
			if kind == typeNumber && !number.Match(data) {
				return nil, invalid("Can't cast the value of message (user) attribute '%s' to a number.", name)
			}
			if !sendable(string(data)) {
				return nil, wire.Errorf(CodeInvalidMessageContents, "The value of message (user) attribute '%s' has characters that are not allowed.", name)
			}
		case typeBinary:
			data = a.BinaryValue
		default:
			return nil, invalid("The type of message (user) attribute '%s' is invalid. You must use only the following supported type prefixes: Binary, Number, String.", name)
		}
		if len(data) == 0 {
			return nil, invalid("Message (user) attribute '%s' must contain a non-empty value of type '%s'.", name, wire.Value(a.DataType))
		}
		out[name] = queue.Attribute{Type: *a.DataType, Data: data}
	}
	return out, nil
}

// systemDigest is the digest of the attributes that SQS itself gives a meaning.
func systemDigest(m queue.Message) *string {
	if m.TraceID == "" {
		return nil
	}
	return new(DigestOfAttributes(map[string]queue.Attribute{
		MessageSystemAttributeNameForSendsAWSTraceHeader: {Type: typeString, Data: []byte(m.TraceID)},
	}))
}

// sequence shows the sequence number of a FIFO queue's message.
func sequence(name string, s queue.Sent) *string {
	if !strings.HasSuffix(name, queue.FIFOSuffix) {
		return nil
	}
	return new(FormatSequence(s.Sequence))
}

// FormatSequence writes a sequence number as SQS does, with twenty digits.
func FormatSequence(n uint64) string {
	s := strconv.FormatUint(n, 10)
	return strings.Repeat("0", max(0, 20-len(s))) + s
}

// some returns a pointer to s, or nil if it is empty.
func some(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
