package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/mayfly-dev/mayfly/test/hostnet"
)

func (p *process) scheduler() *scheduler.Client {
	return scheduler.New(scheduler.Options{Region: "us-east-1", BaseEndpoint: &p.endpoint, Credentials: p.keys, RetryMaxAttempts: 1})
}

func (p *process) events() *eventbridge.Client {
	return eventbridge.New(eventbridge.Options{Region: "us-east-1", BaseEndpoint: &p.endpoint, Credentials: p.keys, RetryMaxAttempts: 1})
}

// agenda is what clients know of timers and events: those that the node accepted.
type agenda struct {
	mu       sync.Mutex
	made     int
	accepted map[string]bool // by name
}

func (a *agenda) name(kind string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.made++
	return fmt.Sprintf("%s-%d", kind, a.made)
}

func (a *agenda) accept(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.accepted[name] = true
}

func (a *agenda) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.accepted)
}

// schedule makes schedules for a time soon until ctx ends.
func (a *agenda) schedule(ctx context.Context, p *process) {
	for c := p.scheduler(); ctx.Err() == nil; {
		name, at := a.name("timer"), time.Now().UTC().Add(2*time.Second+rand.N(2*time.Second)).Truncate(time.Second)
		_, err := c.CreateSchedule(ctx, &scheduler.CreateScheduleInput{
			Name: &name, ScheduleExpression: aws.String(at.Format("at(2006-01-02T15:04:05)")), ActionAfterCompletion: types.ActionAfterCompletionDelete,
			FlexibleTimeWindow: &types.FlexibleTimeWindow{Mode: types.FlexibleTimeWindowModeOff},
			Target:             &types.Target{Arn: aws.String("arn:aws:sqs:us-east-1:000000000000:out"), RoleArn: aws.String("arn:aws:iam::000000000000:role/any"), Input: &name},
		})
		if err == nil && time.Now().Before(at) { // else nobody promised anything
			a.accept(name)
		}
	}
}

// put puts events until ctx ends.
func (a *agenda) put(ctx context.Context, p *process) {
	for c := p.events(); ctx.Err() == nil; {
		name := a.name("event")
		out, err := c.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []eventtypes.PutEventsRequestEntry{{
			Source: aws.String("test"), DetailType: aws.String("t"), Detail: aws.String(`{"name":"` + name + `"}`),
		}}})
		if err == nil && out.FailedEntryCount == 0 {
			a.accept(name)
		}
	}
}

func TestKilledNodeFiresTimersOnceAndLosesNoEvent(t *testing.T) {
	hostnet.New(t)
	dir := filepath.Join(t.TempDir(), "node")
	p := launch(t, dir, "--driver", "process")
	_, err := p.sqs().CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("out"), Attributes: map[string]string{"VisibilityTimeout": "600"}})
	ok(t, err)
	_, err = p.events().PutRule(t.Context(), &eventbridge.PutRuleInput{Name: aws.String("all"), EventPattern: aws.String(`{"source":["test"]}`)})
	ok(t, err)
	_, err = p.events().PutTargets(t.Context(), &eventbridge.PutTargetsInput{Rule: aws.String("all"), Targets: []eventtypes.Target{
		{Id: aws.String("out"), Arn: aws.String("arn:aws:sqs:us-east-1:000000000000:out"), InputPath: aws.String("$.detail.name")},
	}})
	ok(t, err)
	a := &agenda{accepted: map[string]bool{}}
	for range 4 {
		ctx, stop := context.WithCancel(t.Context())
		var work sync.WaitGroup
		already := a.count()
		for range 4 {
			work.Go(func() { a.schedule(ctx, p) })
			work.Go(func() { a.put(ctx, p) })
		}
		eventually(t, "timers and events are accepted", func() bool { return a.count() > already+60 })
		time.Sleep(rand.N(3 * time.Second))
		p.kill()
		stop()
		work.Wait()
		p = launch(t, dir, "--driver", "process")
	}
	t.Logf("%d timers and events were accepted", a.count())

	got := map[string]int{}
	missing := func() (names []string) {
		for name := range a.accepted {
			if got[name] == 0 {
				names = append(names, name)
			}
		}
		return names
	}
	receive := func() int {
		out, err := p.sqs().ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: p.url("out"), MaxNumberOfMessages: 10, WaitTimeSeconds: 1})
		ok(t, err)
		var done []sqstypes.DeleteMessageBatchRequestEntry
		for i, m := range out.Messages {
			got[strings.Trim(*m.Body, `"`)]++
			done = append(done, sqstypes.DeleteMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), ReceiptHandle: m.ReceiptHandle})
		}
		if len(done) > 0 {
			_, err := p.sqs().DeleteMessageBatch(t.Context(), &sqs.DeleteMessageBatchInput{QueueUrl: p.url("out"), Entries: done})
			ok(t, err)
		}
		return len(done)
	}
	for end := time.Now().Add(2 * time.Minute); len(missing()) > 0; receive() {
		if time.Now().After(end) {
			t.Fatalf("these did not come: %v", missing())
		}
	}
	eventually(t, "schedules that are over are deleted", func() bool {
		list, err := p.scheduler().ListSchedules(t.Context(), &scheduler.ListSchedulesInput{})
		ok(t, err)
		return len(list.Schedules) == 0
	})
	for receive() > 0 {
	}
	for name, n := range got {
		if n > 1 {
			t.Errorf("%s came %d times", name, n)
		}
	}
	p.stop(t)
}
