package sqs

import (
	"errors"
	"log/slog"
	"maps"
	"slices"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/queue"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

func newDoor(t *testing.T) *Door {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s, err := spine.Open(t.Context(), spine.Config{Dir: t.TempDir(), Log: log})
	fatal(t, err)
	t.Cleanup(s.Close)
	bucket, err := s.Bucket(t.Context(), spine.QueuesBucket)
	fatal(t, err)
	moves, err := s.Bucket(t.Context(), spine.MovesBucket)
	fatal(t, err)
	journal, err := s.QueueChanges(t.Context())
	fatal(t, err)
	q, err := queue.Open(t.Context(), queue.Options{Spine: s, Bucket: bucket, Moves: moves, Journal: journal, Log: log})
	fatal(t, err)
	return New(Options{Region: "eu-west-1", Account: "123456789012", Queues: q, Lineage: func(string) event.Lineage { return event.Lineage{} }})
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// code returns the code of an error, or "".
func code(err error) string {
	var e *wire.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func TestAttributesAreCheckedAndShownAgain(t *testing.T) {
	d := newDoor(t)
	make := func(name string, a map[string]string) error {
		_, err := d.CreateQueue(t.Context(), &CreateQueueInput{QueueName: &name, Attributes: a})
		return err
	}
	fatal(t, make("dead", map[string]string{"RedriveAllowPolicy": `{"redrivePermission":"byQueue","sourceQueueArns":["arn:aws:sqs:eu-west-1:123456789012:q"]}`}))
	given := map[string]string{
		"VisibilityTimeout": "0", "DelaySeconds": "900", "MessageRetentionPeriod": "60", "MaximumMessageSize": "1024", "ReceiveMessageWaitTimeSeconds": "20",
		"RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:123456789012:dead","maxReceiveCount":7}`, "Policy": "{}", "SqsManagedSseEnabled": "false",
	}
	fatal(t, make("q", given))
	out, err := d.GetQueueAttributes(t.Context(), &GetQueueAttributesInput{QueueUrl: new("http://x/123456789012/q"), AttributeNames: slices.Collect(maps.Keys(given))})
	fatal(t, err)
	if !maps.Equal(out.Attributes, given) {
		t.Errorf("attributes %v, want %v", out.Attributes, given)
	}
	for _, tc := range []struct{ queue, name, value, code string }{
		{"a", "VisibilityTimeout", "43201", CodeInvalidAttributeValue},
		{"a", "VisibilityTimeout", "-1", CodeInvalidAttributeValue},
		{"a", "DelaySeconds", "ten", CodeInvalidAttributeValue},
		{"a", "MaximumMessageSize", "1048577", CodeInvalidAttributeValue},
		{"a", "FifoQueue", "false", CodeInvalidAttributeValue},
		{"a", "FifoQueue", "true", codeInvalidParameter},
		{"a.fifo", "VisibilityTimeout", "1", codeInvalidParameter},
		{"a", "ContentBasedDeduplication", "true", CodeInvalidAttributeName},
		{"a", "Colour", "red", CodeInvalidAttributeName},
		{"a", "KmsMasterKeyId", "alias/aws/sqs", CodeUnsupportedOperation},
		{"a", "Policy", "{", CodeInvalidAttributeValue},
		{"a", "RedrivePolicy", "{", codeInvalidParameter},
		{"a", "RedrivePolicy", `{"maxReceiveCount":1}`, codeInvalidParameter},
		{"a", "RedrivePolicy", `{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:123456789012:dead","maxReceiveCount":1001}`, codeInvalidParameter},
		{"a", "RedrivePolicy", `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:123456789012:dead","maxReceiveCount":1}`, codeInvalidParameter},
		{"a", "RedrivePolicy", `{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:123456789012:dead","maxReceiveCount":1}`, CodeInvalidAttributeValue}, // takes q's only
		{"a", "RedriveAllowPolicy", `{"redrivePermission":"byQueue"}`, CodeInvalidAttributeValue},
	} {
		if err := make(tc.queue, map[string]string{tc.name: tc.value}); code(err) != tc.code {
			t.Errorf("%s with %s=%s: %v, want %s", tc.queue, tc.name, tc.value, err, tc.code)
		}
	}
}

func TestMessagesAreCheckedBeforeTheyAreStored(t *testing.T) {
	d := newDoor(t)
	_, err := d.CreateQueue(t.Context(), &CreateQueueInput{QueueName: new("q")})
	fatal(t, err)
	text := func(s string) MessageAttributeValue {
		return MessageAttributeValue{DataType: new("String"), StringValue: &s}
	}
	for what, tc := range map[string]struct {
		in   SendMessageInput
		code string
	}{
		"no body":           {SendMessageInput{}, codeMissingParameter},
		"control character": {SendMessageInput{MessageBody: new("a\x00")}, CodeInvalidMessageContents},
		"broken UTF-8":      {SendMessageInput{MessageBody: new("a\xff")}, CodeInvalidMessageContents},
		"long delay":        {SendMessageInput{MessageBody: new("a"), DelaySeconds: new(int32(901))}, codeInvalidParameter},
		"bad group":         {SendMessageInput{MessageBody: new("a"), MessageGroupId: new("a b")}, codeInvalidParameter},
		"reserved name":     {SendMessageInput{MessageBody: new("a"), MessageAttributes: map[string]MessageAttributeValue{"AWS.x": text("v")}}, codeInvalidParameter},
		"empty value":       {SendMessageInput{MessageBody: new("a"), MessageAttributes: map[string]MessageAttributeValue{"x": text("")}}, codeInvalidParameter},
		"no number":         {SendMessageInput{MessageBody: new("a"), MessageAttributes: map[string]MessageAttributeValue{"x": {DataType: new("Number"), StringValue: new("five")}}}, codeInvalidParameter},
		"no type":           {SendMessageInput{MessageBody: new("a"), MessageAttributes: map[string]MessageAttributeValue{"x": {StringValue: new("v")}}}, codeInvalidParameter},
		"system attribute":  {SendMessageInput{MessageBody: new("a"), MessageSystemAttributes: map[string]MessageSystemAttributeValue{"Other": {DataType: new("String")}}}, codeInvalidParameter},
		"another account":   {SendMessageInput{MessageBody: new("a"), QueueUrl: new("http://x/000000000001/q")}, CodeQueueDoesNotExist},
	} {
		if tc.in.QueueUrl == nil {
			tc.in.QueueUrl = new("http://x/123456789012/q")
		}
		if _, err := d.SendMessage(t.Context(), &tc.in); code(err) != tc.code {
			t.Errorf("%s: %v, want %s", what, err, tc.code)
		}
	}
}

func TestPagesGoOnWhereTheLastEnded(t *testing.T) {
	names := []string{"a", "b", "c"}
	first, next, err := page(names, new(int32(2)), nil)
	fatal(t, err)
	second, end, err := page(names, new(int32(2)), next)
	fatal(t, err)
	if !slices.Equal(first, names[:2]) || !slices.Equal(second, names[2:]) || end != nil {
		t.Errorf("pages %v and %v", first, second)
	}
	for _, most := range []int32{0, maxPage + 1} {
		if _, _, err := page(names, &most, nil); code(err) != codeInvalidParameter {
			t.Errorf("a page of %d: %v", most, err)
		}
	}
	if _, _, err := page(names, nil, new("?")); code(err) != codeInvalidParameter {
		t.Errorf("a bad token: %v", err)
	}
}

func TestAttributesAreAskedForByNameOrBeginning(t *testing.T) {
	for name, want := range map[string]bool{"foo": true, "bar.x": true, "baz": false, "ba": false} {
		if got := asked([]string{"foo", "bar.*"}, name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	for _, all := range []string{"All", ".*"} {
		if !asked([]string{all}, "any") {
			t.Errorf("%s does not give all", all)
		}
	}
}

// FuzzSettings reads policies and messages as strangers may send them.
func FuzzSettings(f *testing.F) {
	f.Add("RedrivePolicy", `{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:123456789012:dead","maxReceiveCount":"7"}`)
	f.Add("RedriveAllowPolicy", `{"redrivePermission":"denyAll"}`)
	f.Add("VisibilityTimeout", "30")
	d := New(Options{Region: "eu-west-1", Account: "123456789012"})
	f.Fuzz(func(t *testing.T, name, value string) {
		c := queue.DefaultConfig()
		if err := d.apply(&c, map[string]string{name: value}); err != nil && code(err) == "" {
			t.Errorf("%s=%q: %v has no code", name, value, err)
		}
		d.attributes(queue.Info{Name: "q", Config: c})
		if n, err := d.name(&value); err == nil && !queue.ValidName(n) {
			t.Errorf("%q names queue %q", value, n)
		}
	})
}
