package conformance

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"github.com/mayfly-dev/mayfly/mayflytest"
)

func sqsClient(n *mayflytest.Node) *sqs.Client {
	return sqs.New(sqs.Options{
		Region: n.Region, BaseEndpoint: aws.String(n.Endpoint), Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(n.AccessKey, n.SecretKey, ""),
	})
}

// makeQueue makes a queue and returns its URL.
func makeQueue(t *testing.T, c *sqs.Client, name string, attributes map[string]string) *string {
	t.Helper()
	out, err := c.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		t.Fatal(err)
	}
	return out.QueueUrl
}

// refusedBy checks the code of an error.
func refusedBy(t *testing.T, what string, err error, code string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) || e.ErrorCode() != code {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestGoSDKQueues(t *testing.T) {
	n := mayflytest.Start(t)
	c := sqsClient(n)
	ctx := t.Context()
	arn := func(name string) string { return "arn:aws:sqs:" + n.Region + ":" + n.Account + ":" + name }
	dead := makeQueue(t, c, "go-dead", nil)
	q := makeQueue(t, c, "go-q", map[string]string{"VisibilityTimeout": "40", "RedrivePolicy": `{"deadLetterTargetArn":"` + arn("go-dead") + `","maxReceiveCount":"1"}`})
	makeQueue(t, c, "go-q", map[string]string{"VisibilityTimeout": "40"}) // is there, and is the same
	_, err := c.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("go-q"), Attributes: map[string]string{"VisibilityTimeout": "41"}})
	refusedBy(t, "another visibility", err, "QueueAlreadyExists")
	_, err = c.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("nowhere")})
	var none *types.QueueDoesNotExist
	if !errors.As(err, &none) {
		t.Errorf("URL of no queue: %v", err)
	}

	// The SDK itself checks the digests of bodies and attributes.
	sent, err := c.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: q, MessageBody: aws.String("a <b> & \"c\"\n"), MessageAttributes: map[string]types.MessageAttributeValue{
		"n": {DataType: aws.String("Number.int"), StringValue: aws.String("5")}, "b": {DataType: aws.String("Binary"), BinaryValue: []byte{0, 200}},
	}, MessageSystemAttributes: map[string]types.MessageSystemAttributeValue{
		"AWSTraceHeader": {DataType: aws.String("String"), StringValue: aws.String("Root=1-5759e988-bd862e3fe1be46a994272793")},
	}})
	fatal(t, err)
	got, err := c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: q, WaitTimeSeconds: 5, MessageAttributeNames: []string{"All"}, MessageSystemAttributeNames: []types.MessageSystemAttributeName{"All"}})
	fatal(t, err)
	m := got.Messages[0]
	if *m.MessageId != *sent.MessageId || *m.Body != "a <b> & \"c\"\n" || string(m.MessageAttributes["b"].BinaryValue) != "\x00\xc8" || m.Attributes["ApproximateReceiveCount"] != "1" || !strings.HasPrefix(m.Attributes["AWSTraceHeader"], "Root=1-") {
		t.Errorf("received %+v", m)
	}
	_, err = c.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: q, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: 0})
	fatal(t, err)
	got, err = c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: q}) // once is enough here
	fatal(t, err)
	if len(got.Messages) != 0 {
		t.Errorf("a message that was received too often came again")
	}
	batch, err := c.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: q, Entries: []types.SendMessageBatchRequestEntry{
		{Id: aws.String("1"), MessageBody: aws.String("one")}, {Id: aws.String("2"), MessageBody: aws.String("two"), DelaySeconds: 901},
	}})
	fatal(t, err)
	if len(batch.Successful) != 1 || len(batch.Failed) != 1 || *batch.Failed[0].Id != "2" || !batch.Failed[0].SenderFault {
		t.Errorf("batch %+v", batch)
	}
	attributes, err := c.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: dead, AttributeNames: []types.QueueAttributeName{"All"}})
	fatal(t, err)
	if attributes.Attributes["ApproximateNumberOfMessages"] != "1" || attributes.Attributes["QueueArn"] != arn("go-dead") {
		t.Errorf("attributes %v", attributes.Attributes)
	}
	sources, err := c.ListDeadLetterSourceQueues(ctx, &sqs.ListDeadLetterSourceQueuesInput{QueueUrl: dead})
	fatal(t, err)
	if !slices.Equal(sources.QueueUrls, []string{*q}) {
		t.Errorf("sources %v", sources.QueueUrls)
	}
	_, err = c.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: q, Attributes: map[string]string{"VisibilityTimeout": "10"}})
	fatal(t, err)

	task, err := c.StartMessageMoveTask(ctx, &sqs.StartMessageMoveTaskInput{SourceArn: aws.String(arn("go-dead"))})
	fatal(t, err)
	for end := time.Now().Add(patience); ; {
		tasks, err := c.ListMessageMoveTasks(ctx, &sqs.ListMessageMoveTasksInput{SourceArn: aws.String(arn("go-dead"))})
		fatal(t, err)
		if r := tasks.Results[0]; aws.ToString(r.Status) == "COMPLETED" && r.ApproximateNumberOfMessagesMoved == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the move does not end")
		}
	}
	_, err = c.CancelMessageMoveTask(ctx, &sqs.CancelMessageMoveTaskInput{TaskHandle: task.TaskHandle})
	refusedBy(t, "cancel of a move that is over", err, "ResourceNotFoundException")
	got, err = c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: q, MaxNumberOfMessages: 10})
	fatal(t, err)
	var dels []types.DeleteMessageBatchRequestEntry
	var hides []types.ChangeMessageVisibilityBatchRequestEntry
	for i, m := range got.Messages {
		dels = append(dels, types.DeleteMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), ReceiptHandle: m.ReceiptHandle})
		hides = append(hides, types.ChangeMessageVisibilityBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: 5})
	}
	hidden, err := c.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: q, Entries: hides})
	fatal(t, err)
	deleted, err := c.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: q, Entries: append(dels, types.DeleteMessageBatchRequestEntry{Id: aws.String("x"), ReceiptHandle: aws.String("nothing")})})
	fatal(t, err)
	if len(hidden.Successful) != 2 || len(deleted.Successful) != 2 || len(deleted.Failed) != 1 || *deleted.Failed[0].Code != "ReceiptHandleIsInvalid" {
		t.Errorf("hidden %+v, deleted %+v", hidden, deleted)
	}
	_, err = c.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: q, Entries: []types.DeleteMessageBatchRequestEntry{}})
	refusedBy(t, "empty batch", err, "AWS.SimpleQueueService.EmptyBatchRequest")

	_, err = c.TagQueue(ctx, &sqs.TagQueueInput{QueueUrl: q, Tags: map[string]string{"a": "1", "b": "2"}})
	fatal(t, err)
	_, err = c.UntagQueue(ctx, &sqs.UntagQueueInput{QueueUrl: q, TagKeys: []string{"a"}})
	fatal(t, err)
	tags, err := c.ListQueueTags(ctx, &sqs.ListQueueTagsInput{QueueUrl: q})
	fatal(t, err)
	if !maps.Equal(tags.Tags, map[string]string{"b": "2"}) {
		t.Errorf("tags %v", tags.Tags)
	}
	var urls []string
	for pages := sqs.NewListQueuesPaginator(c, &sqs.ListQueuesInput{QueueNamePrefix: aws.String("go-"), MaxResults: aws.Int32(1)}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		fatal(t, err)
		urls = append(urls, page.QueueUrls...)
	}
	if !slices.Equal(urls, []string{*dead, *q}) {
		t.Errorf("queues %v", urls)
	}
	_, err = c.PurgeQueue(ctx, &sqs.PurgeQueueInput{QueueUrl: q})
	fatal(t, err)
	_, err = c.PurgeQueue(ctx, &sqs.PurgeQueueInput{QueueUrl: q})
	refusedBy(t, "second purge", err, "AWS.SimpleQueueService.PurgeQueueInProgress")
	_, err = c.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: q})
	fatal(t, err)
	_, err = c.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: q, MessageBody: aws.String("x")})
	refusedBy(t, "send to a deleted queue", err, "AWS.SimpleQueueService.NonExistentQueue")
}

func TestGoSDKEventSourceMapping(t *testing.T) {
	n := mayflytest.Start(t)
	queues, c := sqsClient(n), sdk(n)
	ctx := t.Context()
	create(t, c, "mapped", func(in *lambda.CreateFunctionInput) { in.Timeout = aws.Int32(5) })
	waitActive(t, c, "mapped")
	q := makeQueue(t, queues, "mapped", nil)
	arn := aws.String("arn:aws:sqs:" + n.Region + ":" + n.Account + ":mapped")
	in := &lambda.CreateEventSourceMappingInput{
		FunctionName: aws.String("mapped"), EventSourceArn: arn, BatchSize: aws.Int32(5),
		FilterCriteria:        &lambdatypes.FilterCriteria{Filters: []lambdatypes.Filter{{Pattern: aws.String(`{"body":{"go":[true]}}`)}}},
		FunctionResponseTypes: []lambdatypes.FunctionResponseType{lambdatypes.FunctionResponseTypeReportBatchItemFailures},
		ScalingConfig:         &lambdatypes.ScalingConfig{MaximumConcurrency: aws.Int32(3)},
	}
	made, err := c.CreateEventSourceMapping(ctx, in)
	fatal(t, err)
	if aws.ToString(made.State) != "Creating" || !strings.HasSuffix(*made.EventSourceMappingArn, *made.UUID) || made.LastModified == nil {
		t.Errorf("made %+v", made)
	}
	_, err = c.CreateEventSourceMapping(ctx, in)
	refusedBy(t, "the same again", err, "ResourceConflictException")
	_, err = c.CreateEventSourceMapping(ctx, &lambda.CreateEventSourceMappingInput{FunctionName: aws.String("mapped"), EventSourceArn: aws.String(*arn + "-not")})
	refusedBy(t, "no queue", err, "InvalidParameterValueException")
	state := func(want string) {
		t.Helper()
		for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
			m, err := c.GetEventSourceMapping(ctx, &lambda.GetEventSourceMappingInput{UUID: made.UUID})
			var gone *lambdatypes.ResourceNotFoundException
			if errors.As(err, &gone) && want == "" || err == nil && *m.State == want {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("mapping %+v, %v; want %q", m, err, want)
			}
		}
	}
	state("Enabled")
	empty := func() {
		t.Helper()
		for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
			a, err := queues.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: q, AttributeNames: []types.QueueAttributeName{"All"}})
			fatal(t, err)
			if a.Attributes["ApproximateNumberOfMessages"]+a.Attributes["ApproximateNumberOfMessagesNotVisible"] == "00" {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("the queue does not get empty: %v", a.Attributes)
			}
		}
	}
	for _, body := range []string{`{"go":true}`, `{"go":false}`, "text"} {
		_, err := queues.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: q, MessageBody: &body})
		fatal(t, err)
	}
	empty()
	up, err := c.UpdateEventSourceMapping(ctx, &lambda.UpdateEventSourceMappingInput{UUID: made.UUID, BatchSize: aws.Int32(100), MaximumBatchingWindowInSeconds: aws.Int32(1), Enabled: aws.Bool(false)})
	fatal(t, err)
	if *up.State != "Disabling" || *up.BatchSize != 100 || len(up.FunctionResponseTypes) != 1 {
		t.Errorf("updated %+v", up)
	}
	state("Disabled")
	list, err := c.ListEventSourceMappings(ctx, &lambda.ListEventSourceMappingsInput{FunctionName: aws.String("mapped"), EventSourceArn: arn})
	fatal(t, err)
	if len(list.EventSourceMappings) != 1 || *list.EventSourceMappings[0].UUID != *made.UUID {
		t.Errorf("listed %+v", list.EventSourceMappings)
	}
	gone, err := c.DeleteEventSourceMapping(ctx, &lambda.DeleteEventSourceMappingInput{UUID: made.UUID})
	fatal(t, err)
	if *gone.State != "Deleting" {
		t.Errorf("deleted %+v", gone)
	}
	state("")
}

// session is the AWS CLI as one process that runs one command after the other.
type session struct {
	t       *testing.T
	command []string // what each command begins with
	in      *json.Encoder
	out     *json.Decoder
}

func newSession(t *testing.T, n *mayflytest.Node, service string) *session {
	t.Helper()
	tool := newTool(t, n, "apt-get install awscli", "/usr/bin/python3", "python3")
	if _, _, ok := tool.run(t.Context(), "-c", "import awscli.clidriver"); !ok {
		t.Skip("the AWS CLI is not installed as a Python package: apt-get install awscli, or run make test, which does")
	}
	script, err := filepath.Abs("python/awscli_session.py")
	fatal(t, err)
	cmd := exec.CommandContext(t.Context(), tool.argv[0], "-X", "utf8", script)
	cmd.Dir, cmd.Env, cmd.Stderr = tool.dir, tool.env, os.Stderr
	in, err := cmd.StdinPipe()
	fatal(t, err)
	out, err := cmd.StdoutPipe()
	fatal(t, err)
	fatal(t, cmd.Start())
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	return &session{t, []string{"--endpoint-url", n.Endpoint, "--cli-binary-format", "raw-in-base64-out", "--output", "json", service}, json.NewEncoder(in), json.NewDecoder(out)}
}

func (s *session) run(args []string) (out, errs string, ok bool) {
	s.t.Helper()
	fatal(s.t, s.in.Encode(append(slices.Clone(s.command), args...)))
	var answer struct {
		Status   int
		Out, Err string
	}
	fatal(s.t, s.out.Decode(&answer))
	return answer.Out, answer.Err, answer.Status == 0
}

// do runs a command that must succeed, and returns its JSON.
func (s *session) do(args ...string) map[string]any {
	s.t.Helper()
	out, errs, ok := s.run(args)
	doc := map[string]any{}
	if !ok {
		s.t.Fatalf("aws %v: %s", args, errs)
	}
	if strings.TrimSpace(out) != "" {
		fatal(s.t, json.Unmarshal([]byte(out), &doc))
	}
	return doc
}

// refused runs a command that must fail with these words.
func (s *session) refused(words string, args ...string) {
	s.t.Helper()
	if out, errs, ok := s.run(args); ok || !strings.Contains(errs, words) {
		s.t.Errorf("aws %v: %s%s; want %s", args, out, errs, words)
	}
}

// TestAWSCLIQueues speaks the query protocol, as the CLI of Debian 12 does.
func TestAWSCLIQueues(t *testing.T) {
	n := mayflytest.Start(t)
	c := newSession(t, n, "sqs")
	text := func(doc map[string]any, path ...string) string {
		var v any = doc
		for _, p := range path {
			switch at := v.(type) {
			case map[string]any:
				v = at[p]
			case []any:
				v = at[0].(map[string]any)[p]
			}
		}
		return fmt.Sprint(v)
	}
	arn := "arn:aws:sqs:" + n.Region + ":" + n.Account + ":"
	dead := text(c.do("create-queue", "--queue-name", "cli-dead", "--tags", "a=1,b=2"), "QueueUrl")
	policy, err := json.Marshal(map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"` + arn + `cli-dead","maxReceiveCount":"1"}`, "VisibilityTimeout": "20"})
	fatal(t, err)
	q := text(c.do("create-queue", "--queue-name", "cli-q", "--attributes", string(policy)), "QueueUrl")
	if got := text(c.do("get-queue-url", "--queue-name", "cli-q"), "QueueUrl"); got != q {
		t.Errorf("URL %s, want %s", got, q)
	}
	c.refused("AWS.SimpleQueueService.NonExistentQueue) when calling the GetQueueUrl operation: The specified queue does not exist.", "get-queue-url", "--queue-name", "nowhere")
	c.refused("QueueAlreadyExists", "create-queue", "--queue-name", "cli-q", "--attributes", "VisibilityTimeout=21")
	c.refused("InvalidAttributeName", "create-queue", "--queue-name", "cli-r", "--attributes", "Colour=red")

	sent := c.do("send-message", "--queue-url", q, "--message-body", "a <b> & c", "--message-attributes", `{"s":{"DataType":"String","StringValue":"v"},"b":{"DataType":"Binary","BinaryValue":"x"}}`)
	got := c.do("receive-message", "--queue-url", q, "--attribute-names", "All", "--message-attribute-names", "All", "--wait-time-seconds", "5")
	if text(got, "Messages", "MessageId") != text(sent, "MessageId") || text(got, "Messages", "Body") != "a <b> & c" || text(got, "Messages", "MessageAttributes", "s", "StringValue") != "v" || text(got, "Messages", "Attributes", "ApproximateReceiveCount") != "1" {
		t.Errorf("received %v of %v", got, sent)
	}
	handle := text(got, "Messages", "ReceiptHandle")
	c.do("change-message-visibility", "--queue-url", q, "--receipt-handle", handle, "--visibility-timeout", "0")
	if doc := c.do("receive-message", "--queue-url", q); len(doc) != 0 {
		t.Errorf("received too often: %v", doc)
	}
	if got := text(c.do("list-dead-letter-source-queues", "--queue-url", dead), "queueUrls"); got != "["+q+"]" {
		t.Errorf("sources %s", got)
	}
	if got := text(c.do("get-queue-attributes", "--queue-url", dead, "--attribute-names", "ApproximateNumberOfMessages"), "Attributes"); got != "map[ApproximateNumberOfMessages:1]" {
		t.Errorf("attributes %s", got)
	}
	batch := c.do("send-message-batch", "--queue-url", q, "--entries", `[{"Id":"1","MessageBody":"x"},{"Id":"2","MessageBody":"y","DelaySeconds":901}]`)
	if text(batch, "Successful", "Id") != "1" || text(batch, "Failed", "Code") != "InvalidParameterValue" {
		t.Errorf("batch %v", batch)
	}
	got = c.do("receive-message", "--queue-url", q)
	entry := `[{"Id":"1","ReceiptHandle":"` + text(got, "Messages", "ReceiptHandle") + `"}]`
	if doc := c.do("change-message-visibility-batch", "--queue-url", q, "--entries", strings.Replace(entry, "}", `,"VisibilityTimeout":30}`, 1)); text(doc, "Successful", "Id") != "1" {
		t.Errorf("hidden %v", doc)
	}
	if doc := c.do("delete-message-batch", "--queue-url", q, "--entries", entry); text(doc, "Successful", "Id") != "1" {
		t.Errorf("deleted %v", doc)
	}
	c.do("delete-message", "--queue-url", q, "--receipt-handle", handle)
	c.refused("ReceiptHandleIsInvalid", "delete-message", "--queue-url", q, "--receipt-handle", "nothing")
	c.do("tag-queue", "--queue-url", q, "--tags", "c=3")
	c.do("untag-queue", "--queue-url", dead, "--tag-keys", "a")
	if got := text(c.do("list-queue-tags", "--queue-url", dead), "Tags"); got != "map[b:2]" {
		t.Errorf("tags %s", got)
	}
	c.do("set-queue-attributes", "--queue-url", q, "--attributes", "DelaySeconds=1")
	if got := text(c.do("list-queues", "--queue-name-prefix", "cli-", "--max-items", "1"), "QueueUrls"); got != "["+dead+"]" {
		t.Errorf("queues %s", got)
	}
	c.do("purge-queue", "--queue-url", dead)
	c.do("delete-queue", "--queue-url", q)
	c.do("delete-queue", "--queue-url", dead)
}

func TestBoto3Queues(t *testing.T) {
	n := mayflytest.Start(t)
	c := newTool(t, n, "apt-get install python3-boto3", "/usr/bin/python3", "python3")
	if _, _, ok := c.run(t.Context(), "-c", "import boto3"); !ok {
		t.Skip("boto3 is not installed: apt-get install python3-boto3, or run make test, which does")
	}
	script, err := filepath.Abs("python/sqs_test.py")
	fatal(t, err)
	out, errs, ok := c.run(t.Context(), "-X", "utf8", "-W", "ignore::ResourceWarning", script, "-v")
	t.Logf("%s%s", out, errs)
	if !ok {
		t.Error("the boto3 tests failed")
	}
}

func TestJavaScriptSDKQueues(t *testing.T) {
	n := mayflytest.Start(t)
	c := newTool(t, n, "apt-get install nodejs npm", "node")
	dir, err := filepath.Abs("node")
	fatal(t, err)
	if _, err := os.Stat(filepath.Join(dir, "node_modules/@aws-sdk/client-sqs")); err != nil {
		t.Skip("@aws-sdk/client-sqs is not installed: npm ci --prefix test/conformance/node, or run make test, which does")
	}
	c.dir = dir
	out, errs, ok := c.run(t.Context(), "--test", "sqs.test.mjs")
	t.Logf("%s%s", out, errs)
	if !ok {
		t.Error("the JavaScript SDK's tests failed")
	}
}

// TestQueueAnswersToTheByte pins what both protocols look like on the wire.
func TestQueueAnswersToTheByte(t *testing.T) {
	n := mayflytest.Start(t)
	makeQueue(t, sqsClient(n), "wire", nil)
	u := n.Endpoint + "/" + n.Account + "/wire"
	ask := func(protocol, operation string, in map[string]string) (status int, header, body string) {
		t.Helper()
		var req []byte
		if protocol == "json" {
			req, _ = json.Marshal(in)
		} else {
			form := url.Values{"Action": {operation}, "Version": {"2012-11-05"}}
			for k, v := range in {
				form.Set(k, v)
			}
			req = []byte(form.Encode())
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.Endpoint+"/", bytes.NewReader(req))
		fatal(t, err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if protocol == "json" {
			r.Header.Set("Content-Type", "application/x-amz-json-1.0")
			r.Header.Set("X-Amz-Target", "AmazonSQS."+operation)
		}
		sum := sha256.Sum256(req)
		fatal(t, v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: n.AccessKey, SecretAccessKey: n.SecretKey}, r, hex.EncodeToString(sum[:]), "sqs", n.Region, time.Now()))
		res, err := http.DefaultClient.Do(r)
		fatal(t, err)
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		fatal(t, err)
		id := res.Header.Get("X-Amzn-Requestid")
		return res.StatusCode, res.Header.Get("X-Amzn-Query-Error"), string(bytes.ReplaceAll(b, []byte(id), []byte("ID")))
	}
	const ns = ` xmlns="http://queue.amazonaws.com/doc/2012-11-05/"`
	for _, tc := range []struct {
		protocol, operation string
		in                  map[string]string
		status              int
		header, body        string
	}{
		{"json", "GetQueueUrl", map[string]string{"QueueName": "wire"}, 200, "", `{"QueueUrl":"` + u + `"}`},
		{"query", "GetQueueUrl", map[string]string{"QueueName": "wire"}, 200, "", `<GetQueueUrlResponse` + ns + `><GetQueueUrlResult><QueueUrl>` + u + `</QueueUrl></GetQueueUrlResult><ResponseMetadata><RequestId>ID</RequestId></ResponseMetadata></GetQueueUrlResponse>`},
		{"json", "GetQueueUrl", map[string]string{"QueueName": "none"}, 400, "AWS.SimpleQueueService.NonExistentQueue;Sender", `{"__type":"QueueDoesNotExist","message":"The specified queue does not exist."}`},
		{"query", "GetQueueUrl", map[string]string{"QueueName": "none"}, 400, "", `<ErrorResponse` + ns + `><Error><Type>Sender</Type><Code>AWS.SimpleQueueService.NonExistentQueue</Code><Message>The specified queue does not exist.</Message></Error><RequestId>ID</RequestId></ErrorResponse>`},
		{"json", "SendMessage", map[string]string{"QueueUrl": u}, 400, "MissingParameter;Sender", `{"__type":"MissingRequiredParameterException","message":"The request must contain the parameter MessageBody."}`},
		{"query", "SendMessage", map[string]string{"QueueUrl": u}, 400, "", `<ErrorResponse` + ns + `><Error><Type>Sender</Type><Code>MissingParameter</Code><Message>The request must contain the parameter MessageBody.</Message></Error><RequestId>ID</RequestId></ErrorResponse>`},
		{"json", "GetQueueAttributes", map[string]string{"QueueUrl": u}, 200, "", `{}`},
		{"query", "GetQueueAttributes", map[string]string{"QueueUrl": u, "AttributeName.1": "VisibilityTimeout", "AttributeName.2": "DelaySeconds"}, 200, "", `<GetQueueAttributesResponse` + ns + `><GetQueueAttributesResult><Attribute><Name>DelaySeconds</Name><Value>0</Value></Attribute><Attribute><Name>VisibilityTimeout</Name><Value>30</Value></Attribute></GetQueueAttributesResult><ResponseMetadata><RequestId>ID</RequestId></ResponseMetadata></GetQueueAttributesResponse>`},
		{"json", "PurgeQueue", map[string]string{"QueueUrl": u}, 200, "", `{}`},
		{"query", "PurgeQueue", map[string]string{"QueueUrl": u}, 403, "", `<ErrorResponse` + ns + `><Error><Type>Sender</Type><Code>AWS.SimpleQueueService.PurgeQueueInProgress</Code><Message>Only one PurgeQueue operation on wire is allowed every 60 seconds.</Message></Error><RequestId>ID</RequestId></ErrorResponse>`},
		{"json", "ReceiveMessage", map[string]string{"QueueUrl": u}, 200, "", `{}`},
		{"query", "ReceiveMessage", map[string]string{"QueueUrl": u}, 200, "", `<ReceiveMessageResponse` + ns + `><ReceiveMessageResult></ReceiveMessageResult><ResponseMetadata><RequestId>ID</RequestId></ResponseMetadata></ReceiveMessageResponse>`},
	} {
		status, header, body := ask(tc.protocol, tc.operation, tc.in)
		if status != tc.status || header != tc.header || body != tc.body {
			t.Errorf("%s %s %v:\ngot  %d %q %s\nwant %d %q %s", tc.protocol, tc.operation, tc.in, status, header, body, tc.status, tc.header, tc.body)
		}
	}
}
