package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/mayfly-dev/mayfly/test/hostnet"
)

func (p *process) s3() *s3.Client {
	return s3.New(s3.Options{Region: "us-east-1", BaseEndpoint: &p.endpoint, UsePathStyle: true, Credentials: p.keys, RetryMaxAttempts: 1})
}

// uploads are the objects that a node has taken: it answered 200.
type uploads struct {
	next atomic.Int64
	mu   sync.Mutex
	keys map[string]bool // guarded by mu
}

func (u *uploads) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.keys)
}

// run stores objects until the node is gone. An object holds its key.
func (u *uploads) run(ctx context.Context, c *s3.Client) {
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for ctx.Err() == nil {
				key := fmt.Sprintf("in/%d", u.next.Add(1))
				_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("inbox"), Key: &key, Body: strings.NewReader(key)})
				if err != nil {
					continue // refused, or the node died: nobody promised anything
				}
				u.mu.Lock()
				u.keys[key] = true
				u.mu.Unlock()
			}
		})
	}
	work.Wait()
}

// watch makes a bucket whose new objects a queue is told of, and returns the
// queue's URL.
func (p *process) watch(t *testing.T) *string {
	t.Helper()
	q, err := p.sqs().CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("told")})
	ok(t, err)
	_, err = p.s3().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("inbox")})
	ok(t, err)
	_, err = p.s3().PutBucketNotificationConfiguration(t.Context(), &s3.PutBucketNotificationConfigurationInput{
		Bucket: aws.String("inbox"), NotificationConfiguration: &types.NotificationConfiguration{
			QueueConfigurations: []types.QueueConfiguration{{
				QueueArn: aws.String("arn:aws:sqs:us-east-1:000000000000:told"), Events: []types.Event{types.EventS3ObjectCreated},
			}},
		},
	})
	ok(t, err)
	return q.QueueUrl
}

// told takes events out of the queue until done is true of the keys of their
// objects.
func (p *process) told(t *testing.T, queue *string, done func(keys map[string]bool) bool) {
	t.Helper()
	keys := map[string]bool{}
	for deadline := time.Now().Add(time.Minute); !done(keys); {
		if time.Now().After(deadline) {
			t.Fatalf("the queue was told of %d objects within a minute, and that is not all", len(keys))
		}
		out, err := p.sqs().ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: queue, MaxNumberOfMessages: 10, WaitTimeSeconds: 1, VisibilityTimeout: 60})
		ok(t, err)
		var gone []sqstypes.DeleteMessageBatchRequestEntry
		for _, m := range out.Messages {
			var e events.S3Event
			ok(t, json.Unmarshal([]byte(*m.Body), &e))
			for _, r := range e.Records {
				key, err := url.QueryUnescape(r.S3.Object.Key)
				ok(t, err)
				keys[key] = true
			}
			gone = append(gone, sqstypes.DeleteMessageBatchRequestEntry{Id: m.MessageId, ReceiptHandle: m.ReceiptHandle})
		}
		if len(gone) > 0 {
			_, err := p.sqs().DeleteMessageBatch(t.Context(), &sqs.DeleteMessageBatchInput{QueueUrl: queue, Entries: gone})
			ok(t, err)
		}
	}
}

func TestKilledNodeKeepsObjectsAndTellsOfEach(t *testing.T) {
	hostnet.New(t)
	dir := filepath.Join(t.TempDir(), "node")
	p := launch(t, dir, "--driver", "process")
	queue := p.watch(t)
	u := &uploads{keys: map[string]bool{}}
	for range 4 {
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		already := u.count()
		go func() {
			defer close(ended)
			u.run(ctx, p.s3())
		}()
		// Anywhere in the work, but not before there is some.
		eventually(t, "objects are stored", func() bool { return u.count() > already+20+rand.IntN(20) })
		p.kill()
		stop()
		<-ended
		p = launch(t, dir, "--driver", "process")
		// The queue's address has the port in it, which is another one now.
		q, err := p.sqs().GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String("told")})
		ok(t, err)
		queue = q.QueueUrl
	}
	for key := range u.keys {
		out, err := p.s3().GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("inbox"), Key: &key})
		if err != nil {
			t.Fatalf("%s was stored and is gone: %v", key, err)
		}
		b, err := io.ReadAll(out.Body)
		out.Body.Close()
		if err != nil || string(b) != key {
			t.Errorf("%s holds %q, %v", key, b, err)
		}
	}
	p.told(t, queue, func(keys map[string]bool) bool {
		for key := range u.keys {
			if !keys[key] {
				return false
			}
		}
		return true
	})
	p.stop(t)
}
