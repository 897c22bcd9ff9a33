package fault

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"golang.org/x/sys/unix"
)

// reporter is the function that the tests call.
const reporter = "reporter"

// deploy creates the reporter and waits until it can be called.
func (p *process) deploy(t *testing.T) {
	t.Helper()
	code, err := os.ReadFile("testdata/main.py")
	ok(t, err)
	p.deployPython(t, reporter, string(code))
}

// deployPython creates a function and waits until it can be called.
func (p *process) deployPython(t *testing.T, name, code string) {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create("main.py")
	ok(t, err)
	_, err = w.Write([]byte(code))
	ok(t, errors.Join(err, z.Close()))
	_, err = p.lambda.CreateFunction(t.Context(), &lambda.CreateFunctionInput{
		FunctionName: aws.String(name), Role: aws.String("arn:aws:iam::000000000000:role/any"),
		Runtime: types.RuntimePython311, Handler: aws.String("main.handler"), Timeout: aws.Int32(60),
		Code: &types.FunctionCode{ZipFile: b.Bytes()},
	})
	ok(t, err)
	ready := lambda.NewFunctionActiveV2Waiter(p.lambda, func(o *lambda.FunctionActiveV2WaiterOptions) {
		o.MinDelay, o.MaxDelay = 20*time.Millisecond, 200*time.Millisecond
	})
	ok(t, ready.Wait(t.Context(), &lambda.GetFunctionInput{FunctionName: aws.String(name)}, time.Minute))
}

// event is what the reporter gets.
type event struct {
	Word  string  `json:"word"`
	Sleep float64 `json:"sleep,omitempty"` // seconds
}

// call calls the reporter and returns the request's id.
func (p *process) call(ctx context.Context, e event, kind types.InvocationType) (id string, out *lambda.InvokeOutput, err error) {
	payload, err := json.Marshal(e)
	if err != nil {
		return "", nil, err
	}
	out, err = p.lambda.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String(reporter), Payload: payload, InvocationType: kind})
	if err != nil {
		return "", nil, err
	}
	id, _ = awsmiddleware.GetRequestIDMetadata(out.ResultMetadata)
	return id, out, nil
}

// load calls the reporter, at once and queued, until the node is gone. Words of
// events that the node accepted end up in accepted, with their request's id.
type load struct {
	next     atomic.Int64
	mu       sync.Mutex
	accepted map[string]string
}

func (l *load) run(ctx context.Context, p *process) {
	var work sync.WaitGroup
	for range 3 {
		work.Go(func() {
			for ctx.Err() == nil {
				word := fmt.Sprintf("event-%d", l.next.Add(1))
				id, out, err := p.call(ctx, event{Word: word}, types.InvocationTypeEvent)
				if err != nil || out.StatusCode != 202 {
					continue // refused, or the node died: nobody promised anything
				}
				l.mu.Lock()
				l.accepted[word] = id
				l.mu.Unlock()
			}
		})
	}
	work.Go(func() {
		for ctx.Err() == nil {
			_, _, _ = p.call(ctx, event{Word: fmt.Sprintf("sync-%d", l.next.Add(1))}, types.InvocationTypeRequestResponse) // its caller saw how it went
		}
	})
	work.Wait()
}

func TestKilledNodeLosesNoEventAndMetersNothingTwice(t *testing.T) {
	o := newOutside(t)
	before := traces(t)
	dir := filepath.Join(t.TempDir(), "node")
	p := launch(t, dir)
	p.deploy(t)

	l := &load{accepted: map[string]string{}}
	const kills = 4
	for range kills {
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		already := l.count()
		go func() {
			defer close(done)
			l.run(ctx, p)
		}()
		// Anywhere in the work, but not before there is some.
		eventually(t, "events are accepted", func() bool { return l.count() > already+20 })
		time.Sleep(rand.N(time.Second))
		p.kill()
		stop()
		<-done
		eventually(t, "the dead node's sandboxes are gone", func() bool { return len(sentries(t, "")) == 0 })
		p = launch(t, dir)
	}

	t.Logf("%d events were accepted in %d lives", l.count(), kills)
	o.await(t, "every accepted event ran", 2*time.Minute, func(seen map[string]int) bool {
		for word := range l.accepted {
			if seen[word] == 0 {
				return false
			}
		}
		return true
	})
	o.mu.Lock()
	for word, id := range l.accepted {
		if o.seen[word] == 0 {
			t.Errorf("%s (request %s) was accepted and never ran", word, id)
		}
	}
	o.mu.Unlock()

	groups := p.groups(t)

	// The record of a run comes after its report.
	var records []record
	eventually(t, "every accepted event is metered", func() bool {
		metered := map[string]bool{}
		records = p.records(t)
		for _, r := range records {
			if r.Outcome == "ok" {
				metered[r.ID] = true
			}
		}
		for _, id := range l.accepted {
			if !metered[id] {
				return false
			}
		}
		return true
	})
	times := map[string]int{}
	for _, r := range records {
		if r.Start.IsZero() {
			t.Fatalf("record %+v has no start", r)
		}
		times[r.run()]++
	}
	for key, n := range times {
		if n > 1 {
			t.Errorf("run %s has %d records", key, n)
		}
	}

	p.stop(t)
	if after := traces(t); !slices.Equal(before, after) {
		t.Errorf("the machine before:\n%s\nand after:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	gone(t, groups)
	left, err := filepath.Glob(filepath.Join(dir, "run", "*"))
	ok(t, err)
	if len(left) > 0 {
		t.Errorf("the data directory still has %v", left)
	}
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.accepted)
}

func TestNodeIsSweptEvenIfItsSuccessorIsKilledToo(t *testing.T) {
	newOutside(t)
	before := traces(t)
	dir := filepath.Join(t.TempDir(), "node")
	for range 3 {
		run(t, dir).kill() // at some point of its start
	}
	p := launch(t, dir)
	p.stop(t)
	if after := traces(t); !slices.Equal(before, after) {
		t.Errorf("the machine before:\n%s\nand after:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

func TestKilledSandboxFailsItsCallOnly(t *testing.T) {
	o := newOutside(t)
	p := launch(t, filepath.Join(t.TempDir(), "node"))
	p.deploy(t)
	answers := make(chan *lambda.InvokeOutput, 1)
	go func() {
		_, out, err := p.call(t.Context(), event{Word: "victim", Sleep: 30}, types.InvocationTypeRequestResponse)
		if err != nil {
			t.Errorf("the node's answer: %v", err)
		}
		answers <- out
	}()
	o.await(t, "the call runs", 30*time.Second, func(seen map[string]int) bool { return seen["victim"] > 0 })
	for _, pid := range sentries(t, strconv.Itoa(p.cmd.Process.Pid)) {
		n, err := strconv.Atoi(pid)
		ok(t, err)
		ok(t, unix.Kill(n, unix.SIGKILL))
	}
	if out := <-answers; out == nil || out.FunctionError == nil || !strings.Contains(string(out.Payload), "Runtime.ExitError") {
		t.Errorf("the call whose sandbox was killed: %+v", out)
	}
	_, out, err := p.call(t.Context(), event{Word: "next"}, types.InvocationTypeRequestResponse)
	if err != nil || out.FunctionError != nil {
		t.Errorf("the next call: %v, %+v", err, out)
	}
	p.stop(t)
}

func TestSecondNodeOnADataDirectoryIsRefused(t *testing.T) {
	newOutside(t)
	dir := filepath.Join(t.TempDir(), "node")
	first := launch(t, dir)
	first.deploy(t)
	second := run(t, dir)
	select {
	case <-second.ended:
	case <-time.After(time.Minute):
		t.Fatal("the second node did not end")
	}
	if code := second.cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("the second node ended with status %d, want 1", code)
	}
	for _, words := range []string{dir, strconv.Itoa(first.cmd.Process.Pid), "--data-dir"} {
		if !strings.Contains(second.stderr.String(), words) {
			t.Errorf("the second node's words lack %q:\n%s", words, second.stderr)
		}
	}
	if _, out, err := first.call(t.Context(), event{Word: "still here"}, types.InvocationTypeRequestResponse); err != nil || out.FunctionError != nil {
		t.Errorf("a call of the first node: %v, %+v", err, out)
	}
	first.stop(t)
}

func TestStoppedNodeLetsItsCallsFinish(t *testing.T) {
	o := newOutside(t)
	before := traces(t)
	p := launch(t, filepath.Join(t.TempDir(), "node"))
	p.deploy(t)
	failed := make(chan error, 1)
	go func() {
		_, out, err := p.call(t.Context(), event{Word: "slow", Sleep: 2}, types.InvocationTypeRequestResponse)
		if err == nil && string(out.Payload) != `{"word": "slow"}` {
			err = fmt.Errorf("the answer is %s", out.Payload)
		}
		failed <- err
	}()
	o.await(t, "the call runs", 30*time.Second, func(seen map[string]int) bool { return seen["slow"] > 0 })
	groups := p.groups(t)
	p.stop(t)
	gone(t, groups)
	if err := <-failed; err != nil {
		t.Errorf("the call that was under way: %v", err)
	}
	if _, _, err := p.call(t.Context(), event{Word: "late"}, types.InvocationTypeRequestResponse); err == nil {
		t.Error("a stopped node took a call")
	}
	if after := traces(t); !slices.Equal(before, after) {
		t.Errorf("the machine before:\n%s\nand after:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

func TestCallsOverTheDrainLimitAreCutOff(t *testing.T) {
	o := newOutside(t)
	before := traces(t)
	p := launch(t, filepath.Join(t.TempDir(), "node"), "--drain-limit", "200ms")
	p.deploy(t)
	cut := make(chan bool, 1)
	go func() {
		_, out, err := p.call(t.Context(), event{Word: "endless", Sleep: 50}, types.InvocationTypeRequestResponse)
		cut <- err != nil || out.FunctionError != nil
	}()
	o.await(t, "the call runs", 30*time.Second, func(seen map[string]int) bool { return seen["endless"] > 0 })
	groups := p.groups(t)
	p.stop(t)
	gone(t, groups)
	if !<-cut {
		t.Error("the call was answered as if nothing had happened")
	}
	if after := traces(t); !slices.Equal(before, after) {
		t.Errorf("the machine before:\n%s\nand after:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

// An event that is running when the node stops in its orderly way is not lost
// either, whether it was let finish or not.
func TestStoppedNodeKeepsItsEvents(t *testing.T) {
	o := newOutside(t)
	dir := filepath.Join(t.TempDir(), "node")
	p := launch(t, dir, "--drain-limit", "100ms")
	p.deploy(t)
	const events = 30
	for i := range events {
		_, out, err := p.call(t.Context(), event{Word: fmt.Sprintf("kept-%d", i), Sleep: 0.3}, types.InvocationTypeEvent)
		ok(t, err)
		if out.StatusCode != 202 {
			t.Fatalf("status %d", out.StatusCode)
		}
	}
	p.stop(t)
	p = launch(t, dir)
	o.await(t, "all events ran", 2*time.Minute, func(seen map[string]int) bool {
		for i := range events {
			if seen[fmt.Sprintf("kept-%d", i)] == 0 {
				return false
			}
		}
		return true
	})
	p.stop(t)
}
