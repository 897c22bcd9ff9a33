package console

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/chromedp/chromedp"

	"github.com/mayfly-dev/mayfly/internal/client"
)

// awaitText waits until an element's text holds some words.
func (s *site) awaitText(t *testing.T, selector, words string) {
	t.Helper()
	var text string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		s.Do(t, chromedp.Evaluate(`(document.querySelector(`+"`"+selector+"`"+`) || {innerText: ""}).innerText`, &text))
		if strings.Contains(text, words) {
			return
		}
		s.Do(t, chromedp.Sleep(100*time.Millisecond))
	}
	t.Fatalf("%s does not come to hold %q: %q", selector, words, text)
}

func TestPersonWorksInTheConsole(t *testing.T) {
	s := start(t)
	s.look(t, 1280, 860, "light")
	s.signIn(t)

	t.Run("makes a function, tests it and changes it", func(t *testing.T) {
		s.open(t, "functions/new")
		s.Do(t, chromedp.SendKeys("#name", "greet", chromedp.ByQuery), chromedp.Click("form.card button.main", chromedp.ByQuery),
			chromedp.WaitVisible("#event", chromedp.ByQuery))
		s.Do(t, chromedp.SetValue("#event", `{"name": "<b>Ada</b>"}`, chromedp.ByQuery))
		for range 50 { // it is Pending until its image is built
			s.Do(t, chromedp.Click("form button.main", chromedp.ByQuery), chromedp.Sleep(300*time.Millisecond))
			if !strings.Contains(s.Text(t, "#result"), "Pending") {
				break
			}
		}
		s.awaitText(t, "#result", "Hello, <b>Ada</b>!")
		s.shoot(t, "function-result")
		s.open(t, "functions/greet/code")
		s.Do(t, chromedp.SetValue("#text0", "def handler(event, context):\n    return 'changed'\n", chromedp.ByQuery),
			chromedp.Click("form.card button.main", chromedp.ByQuery))
		s.awaitText(t, "#saved", "Deployed")
		s.lambda.Updated(t, "greet")
		s.open(t, "functions/greet/test")
		s.Do(t, chromedp.Click("form button.main", chromedp.ByQuery))
		s.awaitText(t, "#result", "changed")
		s.clean(t)
	})

	t.Run("follows an invocation that failed, whose log is no markup", func(t *testing.T) {
		s.open(t, "")
		s.Do(t, chromedp.Click("main > section:last-of-type tbody tr a.mono", chromedp.ByQuery), chromedp.WaitVisible(".waterfall", chromedp.ByQuery))
		s.awaitText(t, "main", "thirteen is not sold here")
		s.awaitText(t, ".tail", hostile)
		var title string
		s.Do(t, chromedp.Title(&title))
		if title == "owned" {
			t.Error("a log line ran as code")
		}
		s.awaitText(t, ".facts", "$"+s.costOf(t, strings.TrimSpace(s.Text(t, "p.mono"))))
		s.accessible(t)
		s.shoot(t, "invocation")
		s.clean(t)
	})

	t.Run("sees log lines as they are written", func(t *testing.T) {
		s.open(t, "logs")
		s.awaitText(t, "#tail-state", "Live")
		s.call(t, `{"id": 4711}`)
		s.awaitText(t, ".tail", "order 4711")
		s.accessible(t)
		s.shoot(t, "tail")
		s.clean(t)
	})

	t.Run("sends a message, finds it dead and redrives it", func(t *testing.T) {
		s.open(t, "queues")
		for _, name := range []string{"dead", "work"} {
			s.open(t, "queues")
			s.Do(t, chromedp.SendKeys("#name", name, chromedp.ByQuery), chromedp.Click(".head button.main", chromedp.ByQuery))
			s.awaitText(t, "h1", name)
		}
		s.Do(t, chromedp.SendKeys("#body", "a letter", chromedp.ByQuery), chromedp.Click(".halves form button", chromedp.ByQuery))
		s.awaitText(t, "#done", "Sent.")
		s.Do(t, chromedp.Click(`button[hx-get$="/messages"]`, chromedp.ByQuery))
		s.awaitText(t, "#messages", "a letter")
		s.shoot(t, "queue")

		s.deadLetters(t, "work", "dead")
		s.open(t, "queues/work")
		s.Do(t, chromedp.Click(`button[hx-get$="/messages"]`, chromedp.ByQuery)) // its second receive, which is one too many
		s.awaitText(t, "#messages", "No message is waiting.")
		s.open(t, "queues/dead")
		s.awaitText(t, "main", "Takes the dead letters of work")
		s.accessible(t)
		s.shoot(t, "dead-letters")
		s.Do(t, chromedp.Click("form[hx-post$='/redrive'] button", chromedp.ByQuery))
		s.awaitText(t, "#done", "Moved 1 message.")
		s.open(t, "queues/work")
		for range 100 { // the move takes its time
			s.Do(t, chromedp.Click(`button[hx-get$="/messages"]`, chromedp.ByQuery), chromedp.Sleep(200*time.Millisecond))
			if strings.Contains(s.Text(t, "#messages"), "a letter") {
				break
			}
		}
		s.awaitText(t, "#messages", "a letter")
		s.clean(t)
	})

	t.Run("redrives what functions and schedules could not handle", func(t *testing.T) {
		s.open(t, "queues")
		s.Do(t, chromedp.SendKeys("#name", "lost", chromedp.ByQuery), chromedp.Click(".head button.main", chromedp.ByQuery))
		s.awaitText(t, "h1", "lost")
		s.letter(t, "lost", `{"name": "dead"}`, map[string]string{"TARGET_ARN": "arn:aws:lambda:" + s.Region + ":" + s.Account + ":function:greet", "ERROR_MESSAGE": "it was <i>gone</i>"})
		s.open(t, "queues/lost")
		if s.Text(t, "#redrive") != "" {
			t.Error("a queue that nothing names offers to redrive before it was looked into")
		}
		s.Do(t, chromedp.Click(`button[hx-get$="/messages"]`, chromedp.ByQuery))
		s.awaitText(t, "#messages", "was for function greet")
		s.awaitText(t, "#messages", "it was <i>gone</i>")
		s.Do(t, chromedp.Click("form[hx-post$='/redrive'] button", chromedp.ByQuery))
		s.awaitText(t, "#done", "Moved 1 message.")

		_, err := s.lambda.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{
			FunctionName: aws.String("greet"), DeadLetterConfig: &types.DeadLetterConfig{TargetArn: aws.String("arn:aws:sqs:" + s.Region + ":" + s.Account + ":lost")},
		})
		if err != nil {
			t.Fatal(err)
		}
		s.letter(t, "lost", "stray", nil)
		s.open(t, "queues/lost")
		s.awaitText(t, "main", "Takes the dead letters of function greet")
		s.Do(t, chromedp.Click("form[hx-post$='/redrive'] button", chromedp.ByQuery))
		s.awaitText(t, "#done", "doesn't say what it was for")
		s.Do(t, chromedp.SetValue("#to", "work", chromedp.ByQuery), chromedp.Click("form[hx-post$='/redrive'] button", chromedp.ByQuery))
		s.awaitText(t, "#done", "Moved 1 message.")
		s.accessible(t)
		s.clean(t)
	})

	t.Run("sees a call among what it is part of", func(t *testing.T) {
		const id = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"
		var requests []string
		for range 2 {
			resp, err := s.api().Send(t.Context(), client.Request{
				Service: client.Functions, Method: http.MethodPost, Path: "/2015-03-31/functions/greet/invocations",
				Header: http.Header{"X-Amzn-Trace-Id": {id}}, Body: []byte("{}"),
			})
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			requests = append(requests, resp.Header.Get("X-Amzn-Requestid"))
		}
		s.open(t, "invocations/"+requests[1])
		s.awaitText(t, "main", "Trace")
		s.accessible(t)
		s.Do(t, chromedp.Click(`.waterfall a[href$="`+requests[0]+`"]`, chromedp.ByQuery))
		s.awaitText(t, "p.mono", requests[0])
		s.clean(t)
	})

	t.Run("mends what was refused without typing all again", func(t *testing.T) {
		s.open(t, "schedules")
		s.Do(t, chromedp.SendKeys("#name", "tick", chromedp.ByQuery), chromedp.SetValue("#function", "greet", chromedp.ByQuery),
			chromedp.SendKeys("#when", "now and then", chromedp.ByQuery), chromedp.Click("form.fields button.main", chromedp.ByQuery))
		s.awaitText(t, "#made", "now and then")
		s.Do(t, chromedp.SetValue("#when", "rate(5 minutes)", chromedp.ByQuery), chromedp.Click("form.fields button.main", chromedp.ByQuery))
		s.awaitText(t, "tbody", "tick")
		s.open(t, "functions/greet/versions")
		s.Do(t, chromedp.SendKeys("#alias", "live", chromedp.ByQuery), chromedp.SendKeys("#version", "77", chromedp.ByQuery), chromedp.Click("form.fields button", chromedp.ByQuery))
		s.awaitText(t, "#made", "greet:77")
		s.clean(t)
	})

	t.Run("replays a recorded call", func(t *testing.T) {
		s.record(t, "orders")
		out, err := s.lambda.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("orders"), Payload: []byte(`{"id": 13}`)})
		if err != nil || out.FunctionError == nil {
			t.Fatalf("%v, %v", out, err)
		}
		s.open(t, "")
		s.awaitText(t, "main", "error")
		s.Do(t, chromedp.Click("main > section:last-of-type tbody tr a.mono", chromedp.ByQuery), chromedp.WaitVisible("form[hx-post$='/replay'] button", chromedp.ByQuery),
			chromedp.Click("form[hx-post$='/replay'] button", chromedp.ByQuery))
		s.awaitText(t, "#replayed", "The same answer.")
		s.shoot(t, "replay")
		s.clean(t)
	})
}
