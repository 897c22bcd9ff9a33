// Package console tests the web console in a real browser, on a node with real
// traffic.
package console

import (
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/mayfly-dev/mayfly/internal/access"
	"github.com/mayfly-dev/mayfly/internal/client"
	"github.com/mayfly-dev/mayfly/mayflytest"
	"github.com/mayfly-dev/mayfly/test/browsertest"
	"github.com/mayfly-dev/mayfly/test/lambdatest"
)

// shots, if set, is where TestEveryPage leaves pictures of the pages.
var shots = flag.String("shots", "", "directory for pictures of the pages")

func TestMain(m *testing.M) { mayflytest.Main(m) }

// site is a node with some traffic, and a browser that has signed in.
type site struct {
	*mayflytest.Node
	*browsertest.Tab
	lambda *lambdatest.Client
}

// hostile is what a function may print and return: nothing of it may become
// markup.
const hostile = `<script>document.title="owned"</script><img src=x onerror=alert(1)>`

func start(t *testing.T) *site {
	t.Helper()
	n := mayflytest.Start(t)
	s := &site{Node: n, Tab: browsertest.Open(t), lambda: lambdatest.New(n)}
	s.lambda.Deploy(t, lambdatest.Python{Name: "orders", Source: `
def handler(event, context):
    print("order", event.get("id"), '` + hostile + `')
    if event.get("id") == 13:
        raise ValueError("thirteen is not sold here")
    return {"ok": True, "id": event.get("id"), "note": '` + hostile + `'}
`})
	for _, id := range []string{"1", "2", "13"} {
		s.call(t, `{"id": `+id+`}`)
	}
	return s
}

func (s *site) call(t *testing.T, event string) {
	t.Helper()
	_, err := s.lambda.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("orders"), Payload: []byte(event)})
	if err != nil {
		t.Fatal(err)
	}
}

// signIn opens a sign-in link as `mayfly console` prints it.
func (s *site) signIn(t *testing.T) {
	t.Helper()
	link := s.Endpoint + "/console/link?token=" + access.NewLink(access.Key{ID: s.AccessKey, Secret: s.SecretKey}, time.Now())
	s.Do(t, chromedp.Navigate(link), chromedp.Click("button", chromedp.ByQuery), chromedp.WaitVisible("nav[aria-label=Sections]", chromedp.ByQuery))
}

func (s *site) open(t *testing.T, path string) {
	t.Helper()
	s.Do(t, chromedp.Navigate(s.Endpoint+"/console/"+path), chromedp.WaitReady("main", chromedp.ByQuery))
}

// clean fails if the page complained, or asked another host for something.
func (s *site) clean(t *testing.T) {
	t.Helper()
	for _, e := range s.Errors() {
		t.Errorf("the browser complains: %s", e)
	}
	for _, u := range s.Requests() {
		if !strings.HasPrefix(u, s.Endpoint+"/") && !strings.HasPrefix(u, "data:") {
			t.Errorf("the page asked %s", u)
		}
	}
}

// shoot leaves a picture of the page.
func (s *site) shoot(t *testing.T, name string) {
	t.Helper()
	if *shots == "" {
		return
	}
	var png []byte
	s.Do(t, chromedp.Sleep(400*time.Millisecond), chromedp.CaptureScreenshot(&png)) // charts draw after the page is ready
	if err := os.WriteFile(filepath.Join(*shots, name+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}

// look sets size and colours of the browser's window.
func (s *site) look(t *testing.T, width, height int64, scheme string) {
	t.Helper()
	s.Do(t, emulation.SetDeviceMetricsOverride(width, height, 1, width < 500),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}, // a colour on its way to another has any contrast
		}))
}

// awaitPromise makes an evaluation wait for the value that it promises.
func awaitPromise(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }

// api is a client of the node, for what a test needs and no page offers.
func (s *site) api() *client.Client {
	return &client.Client{Endpoint: s.Endpoint, Region: s.Region, KeyID: s.AccessKey, Secret: s.SecretKey, HTTP: http.DefaultClient}
}

// record has the node keep a function's calls.
func (s *site) record(t *testing.T, function string) {
	t.Helper()
	if err := s.api().Admin(t.Context(), http.MethodPut, "recording/"+function, nil, map[string]string{"mode": "all"}, nil); err != nil {
		t.Fatal(err)
	}
}

// deadLetters has a queue give messages to another one after their first receive.
func (s *site) deadLetters(t *testing.T, queue, dead string) {
	t.Helper()
	in := map[string]any{
		"QueueUrl":   s.Endpoint + "/" + s.Account + "/" + queue,
		"Attributes": map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:` + s.Region + ":" + s.Account + ":" + dead + `","maxReceiveCount":1}`},
	}
	if err := s.api().Operation(t.Context(), client.Queues, "SetQueueAttributes", in, nil); err != nil {
		t.Fatal(err)
	}
}

// letter puts a message with attributes into a queue.
func (s *site) letter(t *testing.T, queue, body string, attributes map[string]string) {
	t.Helper()
	named := map[string]map[string]string{}
	for k, v := range attributes {
		named[k] = map[string]string{"DataType": "String", "StringValue": v}
	}
	in := map[string]any{"QueueUrl": s.Endpoint + "/" + s.Account + "/" + queue, "MessageBody": body, "MessageAttributes": named}
	if err := s.api().Operation(t.Context(), client.Queues, "SendMessage", in, nil); err != nil {
		t.Fatal(err)
	}
}

// costOf returns what the node says that a call cost.
func (s *site) costOf(t *testing.T, request string) string {
	t.Helper()
	var answer struct{ Records []struct{ Cost string } }
	if err := s.api().Admin(t.Context(), http.MethodGet, "records/"+request, nil, nil, &answer); err != nil || len(answer.Records) != 1 {
		t.Fatalf("the record of %q: %v, %v", request, answer, err)
	}
	return answer.Records[0].Cost
}
