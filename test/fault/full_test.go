package fault

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"golang.org/x/sys/unix"

	"github.com/mayfly-dev/mayfly/test/hostnet"
)

// fill takes all room on dir's disk but a little, and returns the file that does.
func fill(t *testing.T, dir string, left int64) string {
	t.Helper()
	var st unix.Statfs_t
	ok(t, unix.Statfs(dir, &st))
	f, err := os.Create(filepath.Join(dir, "filler"))
	ok(t, err)
	defer f.Close()
	ok(t, unix.Fallocate(int(f.Fd()), 0, 0, int64(st.Bavail)*st.Bsize-left))
	return f.Name()
}

func TestFullDiskIsRefusedClearlyAndRecoveredFrom(t *testing.T) {
	hostnet.New(t)
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=256m"); err != nil {
		t.Skipf("mount a small disk: %v", err)
	}
	t.Cleanup(func() { ok(t, unix.Unmount(disk, unix.MNT_DETACH)) })
	dir := filepath.Join(disk, "node")
	p := launch(t, dir, "--driver", "process")
	_, err := p.sqs().CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("q")})
	ok(t, err)
	_, err = p.s3().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("things")})
	ok(t, err)
	p.deployPython(t, "f", chatty)

	object := strings.Repeat("x", 2<<20)
	writes := map[string]func() error{
		"send": func() error {
			_, err := p.sqs().SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: p.url("q"), MessageBody: aws.String("m")})
			return err
		},
		"asynchronous call": func() error {
			_, err := p.lambda.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("f"), InvocationType: types.InvocationTypeEvent, Payload: []byte(`1`)})
			return err
		},
		"upload": func() error {
			_, err := p.s3().PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("things"), Key: aws.String("k"), Body: strings.NewReader(object)})
			return err
		},
	}
	for name, write := range writes {
		if err := write(); err != nil {
			t.Fatalf("%s while there is room: %v", name, err)
		}
	}
	// What follows has an instance that is free: a start needs room.
	eventually(t, "the asynchronous call is done", func() bool { return len(p.records(t)) == 1 })
	filler := fill(t, disk, 1<<20)
	for name, write := range writes {
		err := write()
		var api interface {
			ErrorCode() string
			ErrorMessage() string
		}
		if err == nil || !errors.As(err, &api) {
			t.Errorf("%s on a full disk: %v, want an error of the service", name, err)
			continue
		}
		t.Logf("%s: %s: %s", name, api.ErrorCode(), api.ErrorMessage())
		if !strings.Contains(api.ErrorMessage(), "full") && !strings.Contains(api.ErrorMessage(), "space") && !strings.Contains(api.ErrorMessage(), "torage") {
			t.Errorf("%s on a full disk does not say so: %v", name, err)
		}
	}
	// Calls that need no disk go on, also when there is none at all; their records
	// wait, and lines of their logs are lost, which is told.
	rest := fill(t, filepath.Join(disk, "node"), 0)
	const calls = 3
	for range calls {
		p.callChatty(t)
	}
	eventually(t, "the node says that records wait and lines are lost", func() bool {
		said := p.stderr.String()
		return strings.Contains(said, "records wait in memory") && strings.Contains(said, "log lines are lost")
	})
	if status, answer := p.ask(t, "records"); status != http.StatusServiceUnavailable || !strings.Contains(string(answer), "full") {
		t.Errorf("the records on a full disk: status %d, %s", status, answer)
	}
	ok(t, os.Remove(filler))
	ok(t, os.Remove(rest))
	for name, write := range writes {
		eventually(t, name+" works when there is room again", func() bool { return write() == nil })
	}
	p.callChatty(t)
	if log := string(p.admin(t, "logs/f")); !strings.Contains(log, "could not be written and are lost") {
		t.Errorf("the log does not say that lines are lost:\n%.2000s", log)
	}
	p.stop(t)

	p = launch(t, dir, "--driver", "process")
	a, err := p.sqs().GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: p.url("q"), AttributeNames: []sqstypes.QueueAttributeName{"All"}})
	ok(t, err)
	if n := a.Attributes["ApproximateNumberOfMessages"]; n != "2" {
		t.Errorf("the queue holds %s messages, want the 2 that were accepted", n)
	}
	// Two asynchronous calls, and the others.
	eventually(t, "all accepted calls are metered", func() bool { return len(p.records(t)) == calls+1+2 })
	p.stop(t)
}

// chatty is a function that writes more than the log's files have in reserve.
const chatty = `
def handler(event, context):
    for i in range(40):
        print(i, "x" * 10000)
    return event
`

// callChatty calls it, which must succeed.
func (p *process) callChatty(t *testing.T) {
	t.Helper()
	out, err := p.lambda.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("f"), Payload: []byte(`"still"`)})
	if err != nil || string(out.Payload) != `"still"` {
		t.Errorf("a call: %v, %+v", err, out)
	}
}
