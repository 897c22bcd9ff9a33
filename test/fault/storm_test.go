package fault

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// Both are raised by `make fault`.
var (
	stormEvents = flag.Int("storm.events", 400, "events in the test of all sources")
	stormKills  = flag.Int("storm.kills", 2, "kills of the node in the test of all sources")
)

// Names in the storm. Its function fails at words with "poison" in them.
const (
	stormFunction = "storm"
	stormHidden   = 8 // seconds: the function's time limit and the queues' visibility timeout
	stormBucket   = "uploads"
	stormPlain    = "plain"
	stormOrdered  = "ordered.fifo"
	poison        = " poison"
)

// dead names the queue where each source's poison must end.
var stormDead = map[string]string{stormPlain: "plain-dead", stormOrdered: "ordered-dead.fifo", "call": "calls-dead", stormBucket: "calls-dead"}

// storm is what the clients of all sources know.
type storm struct {
	mu       sync.Mutex
	next     map[string]int    // by source, and group
	accepted map[string]string // the source of each word that the node accepted
	limit    int               // no event is sent once so many were accepted
}

// word makes the next word of a source; some are poison.
func (s *storm) word(source string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next[source]++
	n := s.next[source]
	w := fmt.Sprintf("%s %d", source, n)
	// A group waits for each of its poisoned messages.
	if ordered := strings.HasPrefix(source, stormOrdered); ordered && n == 5 || !ordered && n%40 == 7 {
		w += poison
	}
	return w
}

func (s *storm) accept(source string, words ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range words {
		s.accepted[w] = source
	}
}

func (s *storm) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.accepted)
}

// send sends events of all sources until the limit is reached or ctx ends. What
// was not answered was promised by nobody.
func (s *storm) send(ctx context.Context, p *process) {
	var work sync.WaitGroup
	defer work.Wait()
	keep := func(send func()) {
		work.Go(func() {
			for ctx.Err() == nil && s.count() < s.limit {
				send()
			}
		})
	}
	queues, objects := p.sqs(), p.s3()
	for range 2 {
		keep(func() {
			w := s.word("call")
			_, err := p.lambda.Invoke(ctx, &lambda.InvokeInput{
				FunctionName: aws.String(stormFunction), InvocationType: types.InvocationTypeEvent, Payload: fmt.Appendf(nil, `{"word":%q}`, w),
			})
			if err == nil {
				s.accept("call", w)
			}
		})
	}
	keep(func() {
		w := s.word(stormBucket)
		if _, err := objects.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(stormBucket), Key: &w, Body: strings.NewReader(w)}); err == nil {
			s.accept(stormBucket, w)
		}
	})
	keep(func() {
		var entries []sqstypes.SendMessageBatchRequestEntry
		for i := range 3 {
			entries = append(entries, sqstypes.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), MessageBody: aws.String(s.word(stormPlain))})
		}
		out, err := queues.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: p.url(stormPlain), Entries: entries})
		if err != nil {
			return
		}
		for _, ok := range out.Successful {
			i, _ := strconv.Atoi(*ok.Id)
			s.accept(stormPlain, *entries[i].MessageBody)
		}
	})
	for _, group := range []string{"a", "b", "c", "d"} {
		keep(func() {
			w := s.word(stormOrdered + " " + group)
			if _, err := queues.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: p.url(stormOrdered), MessageBody: &w, MessageGroupId: &group}); err == nil {
				s.accept(stormOrdered, w)
			}
			select { // a group is handled one by one
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
			}
		})
	}
}

// prepare makes the function and its sources.
func (s *storm) prepare(t *testing.T, p *process) {
	ctx := t.Context()
	arn := func(queue string) string { return "arn:aws:sqs:us-east-1:000000000000:" + queue }
	for _, q := range []string{stormDead[stormPlain], stormDead[stormOrdered], stormDead["call"], stormPlain, stormOrdered} {
		a := map[string]string{"VisibilityTimeout": strconv.Itoa(stormHidden)}
		if strings.HasSuffix(q, ".fifo") {
			a["FifoQueue"], a["ContentBasedDeduplication"] = "true", "true"
		}
		if dead := stormDead[q]; dead != "" {
			// A kill counts as a receive: only poison may be received so often.
			a["RedrivePolicy"] = fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":%d}`, arn(dead), *stormKills+2)
		}
		_, err := p.sqs().CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &q, Attributes: a})
		ok(t, err)
	}
	code, err := os.ReadFile("testdata/storm.py")
	ok(t, err)
	p.deployPython(t, stormFunction, string(code))
	_, err = p.lambda.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String(stormFunction), Timeout: aws.Int32(stormHidden)})
	ok(t, err)
	ok(t, lambda.NewFunctionUpdatedV2Waiter(p.lambda, func(o *lambda.FunctionUpdatedV2WaiterOptions) {
		o.MinDelay, o.MaxDelay = 20*time.Millisecond, 200*time.Millisecond
	}).Wait(ctx, &lambda.GetFunctionInput{FunctionName: aws.String(stormFunction)}, time.Minute))
	_, err = p.lambda.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{FunctionName: aws.String(stormFunction), ReservedConcurrentExecutions: aws.Int32(8)})
	ok(t, err)
	_, err = p.lambda.PutFunctionEventInvokeConfig(ctx, &lambda.PutFunctionEventInvokeConfigInput{
		FunctionName: aws.String(stormFunction), MaximumRetryAttempts: aws.Int32(0),
		DestinationConfig: &types.DestinationConfig{OnFailure: &types.OnFailure{Destination: aws.String(arn(stormDead["call"]))}},
	})
	ok(t, err)
	for q, size := range map[string]int32{stormPlain: 10, stormOrdered: 1} {
		_, err = p.lambda.CreateEventSourceMapping(ctx, &lambda.CreateEventSourceMappingInput{
			FunctionName: aws.String(stormFunction), EventSourceArn: aws.String(arn(q)), BatchSize: &size,
			FunctionResponseTypes: []types.FunctionResponseType{types.FunctionResponseTypeReportBatchItemFailures},
		})
		ok(t, err)
	}
	_, err = p.s3().CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(stormBucket)})
	ok(t, err)
	_, err = p.s3().PutBucketNotificationConfiguration(ctx, &s3.PutBucketNotificationConfigurationInput{
		Bucket: aws.String(stormBucket), NotificationConfiguration: &s3types.NotificationConfiguration{
			LambdaFunctionConfigurations: []s3types.LambdaFunctionConfiguration{{
				LambdaFunctionArn: aws.String("arn:aws:lambda:us-east-1:000000000000:function:" + stormFunction), Events: []s3types.Event{s3types.EventS3ObjectCreated},
			}},
		},
	})
	ok(t, err)
}

// letters takes all dead letters out of a queue: the words that they are about.
func letters(t *testing.T, p *process, queue string, found map[string]bool) {
	t.Helper()
	for {
		out, err := p.sqs().ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: p.url(queue), MaxNumberOfMessages: 10})
		ok(t, err)
		if len(out.Messages) == 0 {
			return
		}
		for _, m := range out.Messages {
			word := *m.Body
			var told struct {
				RequestPayload struct {
					Word    string
					Records []events.S3EventRecord
				}
			}
			if queue == stormDead["call"] {
				ok(t, json.Unmarshal([]byte(*m.Body), &told))
				if word = told.RequestPayload.Word; word == "" {
					word, err = url.QueryUnescape(told.RequestPayload.Records[0].S3.Object.Key)
					ok(t, err)
				}
			}
			found[word] = true
			_, err := p.sqs().DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: p.url(queue), ReceiptHandle: m.ReceiptHandle})
			ok(t, err)
		}
	}
}

func TestEveryEventOfEverySourceIsHandledOverKills(t *testing.T) {
	o := newOutside(t)
	dir := filepath.Join(t.TempDir(), "node")
	p := launch(t, dir)
	s := &storm{next: map[string]int{}, accepted: map[string]string{}}
	s.prepare(t, p)
	for life := range *stormKills + 1 {
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		s.limit = *stormEvents * (life + 1) / (*stormKills + 1)
		already, handled := s.count(), o.count()
		go func() {
			defer close(ended)
			s.send(ctx, p)
		}()
		if life == *stormKills {
			<-ended
			stop()
			break
		}
		// Anywhere in this life's share of the work, while events are handled.
		until := already + 10 + rand.N(max(s.limit-already-10, 1))
		eventually(t, "events are accepted", func() bool { return s.count() >= min(until, s.limit) })
		o.await(t, "an event of this life was handled", time.Minute, func(seen map[string]int) bool { return len(seen) > handled })
		time.Sleep(rand.N(300 * time.Millisecond))
		p.kill()
		stop()
		<-ended
		eventually(t, "the dead node's sandboxes are gone", func() bool { return len(sentries(t, "")) == 0 })
		p = launch(t, dir)
	}
	t.Logf("%d events were accepted in %d lives", len(s.accepted), *stormKills+1)

	limit := 2*time.Minute + time.Duration(*stormEvents)*20*time.Millisecond
	o.await(t, "every accepted event was handled", limit, func(seen map[string]int) bool {
		for w := range s.accepted {
			if seen[w] == 0 && !strings.HasSuffix(w, poison) {
				return false
			}
		}
		return true
	})
	s.checkDead(t, p, limit)
	s.checkRest(t, p)
	s.checkSeen(t, o)
	p.stop(t)
}

// checkDead waits until all accepted poison is in the queues of dead letters, and
// checks that nothing else is.
func (s *storm) checkDead(t *testing.T, p *process, limit time.Duration) {
	dead := map[string]bool{}
	missing := func() (words []string) {
		for w := range s.accepted {
			if strings.HasSuffix(w, poison) && !dead[w] {
				words = append(words, w)
			}
		}
		return words
	}
	queues := slices.Compact(slices.Sorted(maps.Values(stormDead)))
	for end := time.Now().Add(limit); ; time.Sleep(100 * time.Millisecond) {
		for _, q := range queues {
			letters(t, p, q, dead)
		}
		if len(missing()) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Errorf("no dead letters came of %q", missing())
			break
		}
	}
	for w := range dead {
		if !strings.HasSuffix(w, poison) {
			t.Errorf("%q is a dead letter", w)
		}
	}
	t.Logf("%d dead letters", len(dead))
}

// checkRest waits until nothing is stuck in a queue.
func (s *storm) checkRest(t *testing.T, p *process) {
	for _, q := range []string{stormPlain, stormOrdered} {
		var a map[string]string
		eventually(t, q+" is empty", func() bool {
			out, err := p.sqs().GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: p.url(q), AttributeNames: []sqstypes.QueueAttributeName{"All"}})
			ok(t, err)
			a = out.Attributes
			return a["ApproximateNumberOfMessages"]+a["ApproximateNumberOfMessagesNotVisible"]+a["ApproximateNumberOfMessagesDelayed"] == "000"
		})
	}
}

// checkSeen checks the order of groups, and says how often events came again.
func (s *storm) checkSeen(t *testing.T, o *outside) {
	o.mu.Lock()
	defer o.mu.Unlock()
	last, lost, again := map[string]int{}, map[string]int{}, 0
	for w, source := range s.accepted {
		if again += max(o.seen[w]-1, 0); o.seen[w] == 0 && !strings.HasSuffix(w, poison) {
			lost[source]++
		}
	}
	for _, w := range o.first {
		parts := strings.Fields(w) // queue, group, number
		if parts[0] != stormOrdered {
			continue
		}
		n, err := strconv.Atoi(parts[2])
		ok(t, err)
		if n < last[parts[1]] {
			t.Errorf("%q was handled after number %d of its group", w, last[parts[1]])
		}
		last[parts[1]] = n
	}
	if len(lost) > 0 {
		t.Errorf("accepted and lost, by source: %v", lost)
	}
	t.Logf("%d runs were repeats", again)
}
