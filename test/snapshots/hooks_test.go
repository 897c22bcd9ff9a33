package snapshots

import (
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/mayfly-dev/mayfly/mayflytest"
	"github.com/mayfly-dev/mayfly/test/lambdatest"
)

const failing = `
import time
from snapshot_restore_py import register_after_restore

@register_after_restore
def fail():
    time.sleep(0.1)
    raise RuntimeError("no luck")

def handler(event, context):
    time.sleep(event.get("sleep", 0))
`

// TestFailedHookOfACopyIsReportedAsItsRestore proves that a call learns what failed
// and how long it took, in both formats of a log.
func TestFailedHookOfACopyIsReportedAsItsRestore(t *testing.T) {
	n := start(t, mayflytest.Options{})
	for format, want := range map[types.LogFormat]string{
		types.LogFormatText: `(?m)^RESTORE_REPORT Restore Duration: (\d+\.\d\d) ms\tStatus: error\tError Type: \S+\t$`,
		types.LogFormatJson: `"type":"platform\.restoreReport","record":{"status":"error","errorType":"[^"]+","metrics":{"durationMs":([\d.]+)}}`,
	} {
		name := string(format)
		_, err := n.CreateFunction(t.Context(), &lambda.CreateFunctionInput{
			FunctionName: &name, Role: aws.String(lambdatest.Role), Runtime: types.RuntimePython311, Handler: aws.String("app.handler"),
			MemorySize: aws.Int32(256), Timeout: aws.Int32(60), LoggingConfig: &types.LoggingConfig{LogFormat: format},
			Code: &types.FunctionCode{ZipFile: lambdatest.Zip(t, "app.py", failing)},
		})
		if err != nil {
			t.Fatal(err)
		}
		n.Active(t, name)
		before := len(n.files(t))
		n.MustCall(t, name, map[string]any{}, nil)
		n.awaitFiles(t, before+1)
		r := n.failed(t, name)
		found := regexp.MustCompile(want).FindStringSubmatch(r.Tail)
		if found == nil || strings.Contains(r.Tail, "INIT_REPORT") || strings.Contains(r.Tail, "platform.initReport") || !strings.Contains(r.Payload, "no luck") {
			t.Fatalf("%s: the call got %s, and the log\n%s", format, r.Payload, r.Tail)
		}
		if took, err := strconv.ParseFloat(found[1], 64); err != nil || took < 100 {
			t.Errorf("%s: %v, %v; a hook of 100 ms has run", format, took, err)
		}
	}
}

// failed calls name until a call needs a copy that does not become ready.
func (n node) failed(t *testing.T, name string) lambdatest.Result {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		var wg sync.WaitGroup
		results := make([]lambdatest.Result, 2) // one takes the instance that runs
		for i := range results {
			wg.Go(func() {
				var err error
				if results[i], err = n.Call(t.Context(), name, map[string]any{"sleep": 1}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, r := range results {
			if r.Failure != "" {
				return r
			}
		}
	}
	t.Fatal("no call needed a copy")
	return lambdatest.Result{}
}
