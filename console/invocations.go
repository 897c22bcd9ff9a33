package console

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/client"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/trace"
)

func (c *Console) invocationRoutes() map[string]action {
	return map[string]action{
		"invocations":                  (*call).findInvocation,
		"invocations/{id}":             (*call).showInvocation,
		"POST invocations/{id}/replay": (*call).replay,
	}
}

// template is an event to test a function with.
type eventTemplate struct{ Name, Text string }

type testView struct {
	Templates []eventTemplate
	Event     string
}

func (k *call) testPage() error {
	v := testView{Event: "{\n  \"name\": \"Ada\"\n}"}
	v.Templates = append(v.Templates, eventTemplate{"Hello", v.Event})
	n, err := k.node()
	if err != nil {
		return err
	}
	for _, kind := range client.TestEvents() {
		b, err := client.TestEvent{Region: n.Region, Account: n.Account, Now: time.Now()}.Make(kind)
		if err != nil {
			return err
		}
		v.Templates = append(v.Templates, eventTemplate{"From " + kind, pretty(b)})
	}
	return k.showTab("test", v)
}

// result is how a test went.
type result struct {
	Failed   bool
	Answer   string
	Log      string
	Took     time.Duration
	Request  string
	Version  string
	Queued   bool
	Refusal  string
	Function string
}

func (k *call) test() error {
	name := k.r.PathValue("name")
	event := k.r.FormValue("event")
	if strings.TrimSpace(event) == "" {
		event = "{}"
	}
	r := client.Request{
		Service: client.Functions, Method: http.MethodPost, Path: functionPath(name, "/invocations"),
		Header: http.Header{"X-Amz-Log-Type": {"Tail"}}, Body: compact([]byte(event)),
	}
	if q := k.r.FormValue("qualifier"); q != "" {
		r.Query = url.Values{"Qualifier": {q}}
	}
	if k.r.FormValue("async") != "" {
		r.Header.Set("X-Amz-Invocation-Type", "Event")
	}
	began := time.Now()
	resp, err := k.api.Send(k.ctx(), r)
	res := result{Function: name, Took: time.Since(began)}
	if p := sentence(err); p != "" {
		res.Failed, res.Refusal = true, p
		return k.fragment("function-test/result", res)
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	log, err := base64.StdEncoding.DecodeString(resp.Header.Get("X-Amz-Log-Result"))
	if err != nil {
		return fmt.Errorf("read the log of a test: %w", err)
	}
	res.Failed = resp.Header.Get("X-Amz-Function-Error") != ""
	res.Answer, res.Log = pretty(body), string(log)
	res.Request, res.Version = resp.Header.Get("X-Amzn-Requestid"), resp.Header.Get("X-Amz-Executed-Version")
	res.Queued = resp.StatusCode == http.StatusAccepted
	return k.fragment("function-test/result", res)
}

// findInvocation leads to the page of a request id that a person typed.
func (k *call) findInvocation() error {
	id := strings.TrimSpace(k.r.FormValue("id"))
	if id == "" {
		return k.goTo("functions")
	}
	return k.goTo("invocations/" + url.PathEscape(id))
}

// bar is a phase of an invocation in the waterfall.
type bar struct {
	Name, Class string
	Took        time.Duration
	Left, Width string // of the whole, in percent
}

// waterfall lays out the phases of a call.
func waterfall(r record) []bar {
	phases := []struct {
		name, class string
		took        time.Duration
	}{
		{"Waiting", "queue", r.Phases.Queue}, {"Sandbox", "sandbox", r.Phases.Sandbox}, {"Restore", "restore", r.Phases.Restore},
		{"Init", "init", r.Phases.Init}, {"Handler", "handler", r.Duration},
	}
	var total, at time.Duration
	for _, p := range phases {
		total += p.took
	}
	var bars []bar
	for _, p := range phases {
		if p.took > 0 {
			bars = append(bars, place(p.name, p.class, p.took, at, total))
		}
		at += p.took
	}
	return bars
}

// place says where a bar is in a waterfall that is total long.
func place(name, class string, took, at, total time.Duration) bar {
	share := func(d time.Duration) string { return fmt.Sprintf("%.2f%%", 100*float64(d)/float64(max(total, 1))) }
	return bar{name, class, took, share(at), share(max(took, total/400))}
}

// attempt is one run of an invocation.
type attempt struct {
	record
	Bars []bar
}

// recording is an event that was kept, with its answer.
type recording struct {
	Event  json.RawMessage `json:"event"`
	Answer json.RawMessage `json:"answer"`
	Failed bool            `json:"failed"`
}

type invocation struct {
	ID        string
	Attempts  []attempt
	Lines     []logLine
	Recording *recording
	Trace     []span // of what the call was part of, if that is more than itself
}

// span is one of a trace in its waterfall.
type span struct {
	bar
	Indent string
	Link   string // the request id of another call
	Error  string
}

// traced lays out the trace that a call was part of: what called it and what came
// of it. It is nil if there is nothing else, or nothing is known of it any more.
func (k *call) traced(id string, own []record) ([]span, error) {
	var answer struct{ Spans []trace.Span }
	err := k.api.Admin(k.ctx(), http.MethodGet, "traces/"+url.PathEscape(id), nil, nil, &answer)
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	ownSpans := map[string]bool{}
	for _, r := range own {
		ownSpans[r.Span] = true
	}
	var list []span
	more := false
	bars, total := trace.Waterfall(answer.Spans)
	for _, b := range bars {
		more = more || !ownSpans[b.ID] && !ownSpans[b.Parent]
		s := span{bar: place(b.Name, cmp.Or(spanClass[b.Name], "span"), b.Duration, b.At, total), Error: b.Error}
		s.Indent = strings.Repeat("\u2003", min(b.Depth, 12))
		if request := b.Attributes["faas.invocation_id"]; request != id {
			s.Link = request
		}
		list = append(list, s)
	}
	if !more {
		return nil, nil
	}
	return list, nil
}

// spanClass is the colour of the spans that calls are made of.
var spanClass = map[string]string{
	"queued": "queue", "wait for an instance": "queue", "create sandbox": "sandbox", "restore snapshot": "restore", "init": "init", "handler": "handler",
}

func (k *call) showInvocation() error {
	id := k.r.PathValue("id")
	var answer recordsAnswer
	if err := k.api.Admin(k.ctx(), http.MethodGet, "records/"+url.PathEscape(id), nil, nil, &answer); err != nil {
		return err
	}
	if len(answer.Records) == 0 {
		return errs.Newf(errs.NotFound, "No invocation has the request id %s. Records are kept for 30 days.", id)
	}
	v := invocation{ID: id}
	for _, r := range answer.Records {
		v.Attempts = append(v.Attempts, attempt{r, waterfall(r)})
	}
	first := answer.Records[0]
	var err error
	q := url.Values{"request": {id}, "since": {first.Start.Add(-time.Hour).UTC().Format(time.RFC3339)}}
	if v.Lines, err = k.logLines(first.Function, q); err != nil {
		return err
	}
	if v.Trace, err = k.traced(id, answer.Records); err != nil {
		return err
	}
	var rec recording
	switch err := k.api.Admin(k.ctx(), http.MethodGet, "recordings/"+url.PathEscape(id), nil, nil, &rec); {
	case err == nil:
		v.Recording = &rec
	case !isNotFound(err):
		return err
	}
	return k.show("invocation", "Invocation "+first.Short(), v)
}

// replayed is a recorded call beside its repetition.
type replayed struct {
	Before recording `json:"before"`
	After  recording `json:"after"`
	Same   bool      `json:"same"`
	ID     string    `json:"requestId"`
}

func (k *call) replay() error {
	var r replayed
	in := map[string]string{"version": k.r.FormValue("version")}
	err := k.api.Admin(k.ctx(), http.MethodPost, "recordings/"+url.PathEscape(k.r.PathValue("id"))+"/replay", nil, in, &r)
	if err != nil {
		return err
	}
	return k.fragment("invocation/replayed", r)
}
