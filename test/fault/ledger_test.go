package fault

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// ledgerCalls is raised by `make ledger`.
var ledgerCalls = flag.Int64("ledger.calls", 300, "calls in the test of the ledger")

// tickers are functions that do next to nothing: three, so that no log is over
// its budget.
var tickers = []string{"tick-0", "tick-1", "tick-2"}

const tickSource = "def handler(event, context):\n    return event\n"

// tick calls the tickers until there were that many calls, or the node is gone.
func (p *process) tick(t *testing.T, next *atomic.Int64, until int64) {
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for n := next.Add(1); n <= until; n = next.Add(1) {
				in := &lambda.InvokeInput{FunctionName: aws.String(tickers[n%3]), Payload: []byte("1")}
				if n%10 == 0 {
					in.InvocationType = types.InvocationTypeEvent
				}
				if _, err := p.lambda.Invoke(t.Context(), in); err != nil {
					return // the node is gone
				}
			}
		})
	}
	work.Wait()
}

// reports adds up what the REPORT lines of a function say.
func (p *process) reports(t *testing.T, function string) (requests int64, billed time.Duration) {
	t.Helper()
	billedForm := regexp.MustCompile(`^REPORT RequestId: .*\tBilled Duration: (\d+) ms\t`)
	restoreForm := regexp.MustCompile(`\tBilled Restore Duration: (\d+) ms\t`) // of a copy's first call, beside the other
	lines := bufio.NewScanner(bytes.NewReader(p.admin(t, "logs/"+function+"?contains=REPORT")))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct{ Text string }
		ok(t, json.Unmarshal(lines.Bytes(), &e))
		if billedForm.MatchString(e.Text) {
			requests++
		}
		for _, form := range []*regexp.Regexp{billedForm, restoreForm} {
			if m := form.FindStringSubmatch(e.Text); m != nil {
				ms, err := strconv.Atoi(m[1])
				ok(t, err)
				billed += time.Duration(ms) * time.Millisecond
			}
		}
	}
	ok(t, lines.Err())
	return requests, billed
}

func TestLedgerEqualsTheReportsOverAKill(t *testing.T) {
	newOutside(t)
	dir := filepath.Join(t.TempDir(), "node")
	p := launch(t, dir)
	for _, name := range tickers {
		p.deployPython(t, name, tickSource)
	}
	var next atomic.Int64
	ticked := make(chan struct{})
	go func() {
		defer close(ticked)
		p.tick(t, &next, *ledgerCalls)
	}()
	for next.Load() < *ledgerCalls/2 {
		time.Sleep(time.Millisecond)
		select {
		case <-ticked:
			t.Fatalf("the node took only %d calls:\n%s", next.Load(), p.stderr)
		default:
		}
	}
	p.kill() // in the middle of the work
	<-ticked
	eventually(t, "the dead node's sandboxes are gone", func() bool { return len(sentries(t, "")) == 0 })

	p = launch(t, dir)
	p.tick(t, &next, *ledgerCalls)
	var usage struct {
		Lines []struct {
			Key      string
			Requests int64
			Billed   time.Duration `json:"billedNs"`
		}
	}
	compare := func() (same bool, text string) {
		ok(t, json.Unmarshal(p.admin(t, "usage?by=function"), &usage))
		same = len(usage.Lines) == len(tickers)
		for _, u := range usage.Lines {
			requests, billed := p.reports(t, u.Key)
			same = same && requests == u.Requests && billed == u.Billed
			text += fmt.Sprintf("%s: the ledger has %d requests, %s; the reports %d, %s\n", u.Key, u.Requests, u.Billed, requests, billed)
		}
		return same, text
	}
	// Queued calls of the first life may still run.
	var text string
	for end := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		same, now := compare()
		if text = now; same {
			again, later := compare()
			if again && later == now {
				break
			}
		}
		if time.Now().After(end) {
			t.Errorf("the ledger is not what the reports add up to:\n%s", text)
			break
		}
	}
	t.Logf("%d calls\n%s", *ledgerCalls, text)
	p.stop(t)
}
