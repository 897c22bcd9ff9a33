package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/mayfly-dev/mayfly/test/hostnet"
)

// mail is what clients of queues know: what the node has accepted, and what it
// has deleted for them.
type mail struct {
	mu       sync.Mutex
	next     map[string]int  // by group
	accepted map[string]bool // by body, "queue group number"
	received map[string]bool
	deleted  map[string]bool // the node said so
	last     map[string]int  // by queue and group: the highest number received
	faults   []string
}

func newMail() *mail {
	return &mail{next: map[string]int{}, accepted: map[string]bool{}, received: map[string]bool{}, deleted: map[string]bool{}, last: map[string]int{}}
}

func (p *process) sqs() *sqs.Client {
	return sqs.New(sqs.Options{Region: "us-east-1", BaseEndpoint: &p.endpoint, Credentials: p.keys, RetryMaxAttempts: 1})
}

func (p *process) url(queue string) *string { return aws.String(p.endpoint + "/000000000000/" + queue) }

// send sends batches of numbered messages of a group until ctx ends.
func (m *mail) send(ctx context.Context, p *process, queue, group string) {
	c := p.sqs()
	for ctx.Err() == nil {
		var entries []types.SendMessageBatchRequestEntry
		bodies := map[string]string{}
		m.mu.Lock()
		for i := range 3 {
			key := queue + " " + group
			m.next[key]++
			id, body := strconv.Itoa(i), fmt.Sprintf("%s %d", key, m.next[key])
			bodies[id] = body
			e := types.SendMessageBatchRequestEntry{Id: &id, MessageBody: &body}
			if strings.HasSuffix(queue, ".fifo") {
				e.MessageGroupId = &group
			}
			entries = append(entries, e)
		}
		m.mu.Unlock()
		out, err := c.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: p.url(queue), Entries: entries})
		if err != nil {
			continue // nobody promised anything
		}
		m.mu.Lock()
		for _, s := range out.Successful {
			m.accepted[bodies[*s.Id]] = true
		}
		m.mu.Unlock()
	}
}

// receive receives and deletes until ctx ends, or until the queue has given
// nothing for as long as it may hide messages.
func (m *mail) receive(ctx context.Context, p *process, queue string, wait int32) {
	c := p.sqs()
	for ctx.Err() == nil {
		got, err := c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: p.url(queue), MaxNumberOfMessages: 5, WaitTimeSeconds: wait})
		if err != nil {
			continue
		}
		if len(got.Messages) == 0 && wait > 1 {
			return
		}
		m.note(queue, got.Messages)
		for _, msg := range got.Messages {
			if _, err := c.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: p.url(queue), ReceiptHandle: msg.ReceiptHandle}); err == nil {
				m.mu.Lock()
				m.deleted[*msg.Body] = true
				m.mu.Unlock()
			}
		}
	}
}

// note checks what was received against what is known.
func (m *mail) note(queue string, got []types.Message) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, msg := range got {
		body := *msg.Body
		if m.deleted[body] {
			m.faults = append(m.faults, body+" came back after it was deleted")
		}
		i := strings.LastIndexByte(body, ' ')
		key := body[:i]
		n, _ := strconv.Atoi(body[i+1:])
		if strings.HasSuffix(queue, ".fifo") && !m.received[body] {
			if n < m.last[key] {
				m.faults = append(m.faults, fmt.Sprintf("%s came after number %d", body, m.last[key]))
			}
			m.last[key] = n
		}
		m.received[body] = true
	}
}

func (m *mail) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.accepted)
}

func TestKilledNodeLosesNoMessageAndBringsNoneBack(t *testing.T) {
	const hidden = 8 // seconds; longer than a client needs to delete what it got
	hostnet.New(t)
	dir := filepath.Join(t.TempDir(), "node")
	p := launch(t, dir, "--driver", "process")
	for _, q := range []string{"plain", "ordered.fifo"} {
		a := map[string]string{"VisibilityTimeout": strconv.Itoa(hidden)}
		if strings.HasSuffix(q, ".fifo") {
			a["FifoQueue"], a["ContentBasedDeduplication"] = "true", "true"
		}
		_, err := p.sqs().CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &q, Attributes: a})
		ok(t, err)
	}
	m := newMail()
	for range 6 {
		ctx, stop := context.WithCancel(t.Context())
		var work sync.WaitGroup
		already := m.count()
		for _, q := range []string{"plain", "ordered.fifo"} {
			for _, group := range []string{"a", "b"} {
				work.Go(func() { m.send(ctx, p, q, group) })
				work.Go(func() { m.receive(ctx, p, q, 1) })
			}
		}
		eventually(t, "messages are accepted", func() bool { return m.count() > already+50 })
		time.Sleep(rand.N(500 * time.Millisecond)) // anywhere in the work
		p.kill()
		stop()
		work.Wait()
		p = launch(t, dir, "--driver", "process")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var work sync.WaitGroup
	for _, q := range []string{"plain", "ordered.fifo"} {
		work.Go(func() { m.receive(ctx, p, q, hidden+2) })
	}
	work.Wait()
	t.Logf("%d messages were accepted, %d deleted", len(m.accepted), len(m.deleted))
	for body := range m.accepted {
		if !m.received[body] {
			t.Errorf("%s was accepted and is lost", body)
		}
	}
	for _, f := range m.faults {
		t.Error(f)
	}
	p.stop(t)
}

// shipper is a function that reports the messages of its batch one by one.
const shipper = `
import socket

def handler(event, context):
    for m in event["Records"]:
        with socket.create_connection(("198.51.100.2", 7000), timeout=10) as s:
            s.sendall(m["body"].encode())
            s.shutdown(socket.SHUT_WR)
            assert s.recv(16) == b"noted"
`

func TestKilledNodeHandlesEveryMessageOfAGroupInOrder(t *testing.T) {
	o := newOutside(t)
	dir := filepath.Join(t.TempDir(), "node")
	p := launch(t, dir)
	p.deployPython(t, "shipper", shipper)
	const q = "orders.fifo"
	_, err := p.sqs().CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String(q), Attributes: map[string]string{
		"VisibilityTimeout": "60", "FifoQueue": "true", "ContentBasedDeduplication": "true",
	}})
	ok(t, err)
	_, err = p.lambda.CreateEventSourceMapping(t.Context(), &lambda.CreateEventSourceMappingInput{
		FunctionName: aws.String("shipper"), EventSourceArn: aws.String("arn:aws:sqs:us-east-1:000000000000:" + q), BatchSize: aws.Int32(5),
	})
	ok(t, err)
	m := newMail()
	for range 3 {
		ctx, stop := context.WithCancel(t.Context())
		var work sync.WaitGroup
		already := m.count()
		for _, group := range []string{"a", "b", "c"} {
			work.Go(func() { m.send(ctx, p, q, group) })
		}
		eventually(t, "messages are accepted", func() bool { return m.count() > already+15 })
		time.Sleep(rand.N(500 * time.Millisecond))
		p.kill()
		stop()
		work.Wait()
		eventually(t, "the dead node's sandboxes are gone", func() bool { return len(sentries(t, "")) == 0 })
		p = launch(t, dir)
	}
	t.Logf("%d messages were accepted", m.count())
	o.await(t, "every accepted message was handled", 3*time.Minute, func(seen map[string]int) bool {
		for body := range m.accepted {
			if seen[body] == 0 {
				return false
			}
		}
		return true
	})
	o.mu.Lock()
	last := map[string]int{}
	for _, body := range o.first {
		i := strings.LastIndexByte(body, ' ')
		n, err := strconv.Atoi(body[i+1:])
		ok(t, err)
		if n < last[body[:i]] {
			t.Errorf("%s was handled after number %d", body, last[body[:i]])
		}
		last[body[:i]] = n
	}
	o.mu.Unlock()
	eventually(t, "the queue is empty", func() bool {
		a, err := p.sqs().GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: p.url(q), AttributeNames: []types.QueueAttributeName{"All"}})
		ok(t, err)
		return a.Attributes["ApproximateNumberOfMessages"]+a.Attributes["ApproximateNumberOfMessagesNotVisible"] == "00"
	})
	p.stop(t)
}
