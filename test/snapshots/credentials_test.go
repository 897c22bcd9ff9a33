package snapshots

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/mayfly-dev/mayfly/mayflytest"
)

// signed is what a function tells of its credentials: the id, the secret and the
// token that init has kept, those of its environment, and the statuses of requests
// signed with the first, with a signing key that init has derived, and with the others.
type signed struct {
	Kept, Env []string
	Statuses  map[string]int
}

// TestCopiesSignWithCredentialsOfTheirOwn proves that no two instances have the same
// ones, that a copy has its own wherever init has kept the snapshot's, and that they
// are good for what they were before.
func TestCopiesSignWithCredentialsOfTheirOwn(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("functions have a network only where the node runs as root")
	}
	n := start(t, mayflytest.Options{})
	provider := credentials.NewStaticCredentialsProvider(n.node.AccessKey, n.node.SecretKey, "")
	objects := s3.New(s3.Options{Region: n.node.Region, BaseEndpoint: &n.node.Endpoint, UsePathStyle: true, Credentials: provider})
	if _, err := objects.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("own")}); err != nil {
		t.Fatal(err)
	}
	if _, err := objects.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("own"), Key: aws.String("x"), Body: strings.NewReader("x")}); err != nil {
		t.Fatal(err)
	}
	queues := sqs.New(sqs.Options{Region: n.node.Region, BaseEndpoint: &n.node.Endpoint, Credentials: provider})
	if _, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("own")}); err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		name, file, needs string
		runtime           types.Runtime
		source            func() string
	}{
		{"python", "app.py", "python3", types.RuntimePython311, func() string { return read(t, "testdata/signing.py") }},
		{"node", "app.mjs", "node", types.RuntimeNodejs20x, func() string { return read(t, "testdata/signing.mjs") }},
		{"go", "bootstrap", "go", types.RuntimeProvidedal2023, func() string { return goFunction(t, "signing") }},
	} {
		t.Run(f.name, func(t *testing.T) {
			if _, err := exec.LookPath(f.needs); err != nil {
				t.Skip(f.needs, "is missing")
			}
			n.deploy(t, f.name, f.runtime, f.file, f.source())
			all := []signed{n.saved(t, f.name).Signed}
			for _, a := range n.copies(t, f.name, 2) {
				all = append(all, a.Signed)
			}
			for i, a := range all {
				if len(a.Kept) != 3 || !slices.Equal(a.Kept, a.Env) {
					t.Errorf("instance %d: init has kept other credentials than its environment has", i)
				}
				if len(a.Statuses) == 0 {
					t.Errorf("instance %d has asked for nothing", i)
				}
				for what, status := range a.Statuses {
					if status != 200 {
						t.Errorf("instance %d: %s: %d", i, what, status)
					}
				}
				for k := range a.Kept {
					for _, b := range all[:i] {
						if a.Kept[k] == b.Kept[k] || len(a.Kept[k]) != len(b.Kept[k]) {
							t.Errorf("two instances share credential %d, or theirs are not as long", k)
						}
					}
				}
			}
			last := all[len(all)-1].Kept
			if _, err := n.DeleteFunction(t.Context(), &lambda.DeleteFunctionInput{FunctionName: &f.name}); err != nil {
				t.Fatal(err)
			}
			gone := s3.New(objects.Options(), func(o *s3.Options) {
				o.Credentials = credentials.NewStaticCredentialsProvider(last[0], last[1], last[2])
			})
			if _, err := gone.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("own"), Key: aws.String("x")}); err == nil || !strings.Contains(err.Error(), "InvalidToken") {
				t.Errorf("after the function's end: %v, want InvalidToken", err)
			}
		})
	}
}

// A copy's hooks find its own credentials in the environment.
func TestHooksOfACopyFindItsOwnCredentials(t *testing.T) {
	n := start(t, mayflytest.Options{})
	n.deploy(t, "hooked", types.RuntimePython311, "app.py", `
import os, time
from snapshot_restore_py import register_after_restore
seen = []
register_after_restore(lambda: seen.append(os.environ.get("AWS_ACCESS_KEY_ID")))
def handler(event, context):
    time.sleep(event.get("sleep", 0))
    return {"hooks": seen, "env": os.environ.get("AWS_ACCESS_KEY_ID")}
`)
	n.saved(t, "hooked")
	for _, a := range n.copies(t, "hooked", 2) {
		if len(a.Hooks) != 1 || a.Hooks[0] != a.Env {
			t.Errorf("a hook found %q, the call %q", a.Hooks, a.Env)
		}
	}
}
