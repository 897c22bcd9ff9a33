package console

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/client"
)

// trigger is something that wakes a function, in words for a person.
type trigger struct {
	Kind, Source, Detail, State, Path string
}

type triggersView struct{ Triggers []trigger }

// mapping is what Lambda's API tells of an event source mapping.
type mapping struct {
	UUID                 string
	EventSourceArn       string
	BatchSize            int
	State                string
	LastProcessingResult string
}

// functionURL is what Lambda's API tells of an endpoint.
type functionURL struct {
	FunctionUrl string
	FunctionArn string
	AuthType    string
	InvokeMode  string
}

// lastPart is what follows the last colon or slash of an ARN.
func lastPart(arn string) string { return arn[strings.LastIndexAny(arn, ":/")+1:] }

func (k *call) triggersPage() error {
	name := k.r.PathValue("name")
	var v triggersView
	urls, err := k.functionURLs(name)
	if err != nil {
		return err
	}
	for _, u := range urls {
		v.Triggers = append(v.Triggers, trigger{Kind: "URL", Source: u.FunctionUrl, Detail: u.AuthType, State: "Enabled"})
	}
	var mappings struct{ EventSourceMappings []mapping }
	err = k.api.REST(k.ctx(), client.Functions, http.MethodGet, "/2015-03-31/event-source-mappings", url.Values{"FunctionName": {name}}, nil, &mappings)
	if err != nil {
		return err
	}
	for _, m := range mappings.EventSourceMappings {
		queue := lastPart(m.EventSourceArn)
		v.Triggers = append(v.Triggers, trigger{Kind: "Queue", Source: queue, Detail: m.LastProcessingResult, State: m.State, Path: "queues/" + queue})
	}
	rules, err := k.rules()
	if err != nil {
		return err
	}
	for _, r := range rules {
		for _, t := range r.Targets {
			if isFunction(t.Arn, name) {
				v.Triggers = append(v.Triggers, trigger{Kind: "Rule", Source: r.Name, Detail: r.When(), State: r.State, Path: "schedules"})
			}
		}
	}
	schedules, err := k.schedules()
	if err != nil {
		return err
	}
	for _, s := range schedules {
		if isFunction(s.Target.Arn, name) {
			v.Triggers = append(v.Triggers, trigger{Kind: "Schedule", Source: s.Name, Detail: s.ScheduleExpression, State: s.State, Path: "schedules"})
		}
	}
	buckets, err := k.notifiedBuckets(name)
	if err != nil {
		return err
	}
	v.Triggers = append(v.Triggers, buckets...)
	return k.showTab("triggers", v)
}

// isFunction reports whether an ARN names the function, with any qualifier.
func isFunction(arn, name string) bool {
	_, rest, ok := strings.Cut(arn, ":function:")
	got, _, _ := strings.Cut(rest, ":")
	return ok && got == name
}

func (k *call) functionURLs(name string) ([]functionURL, error) {
	var answer struct{ FunctionUrlConfigs []functionURL }
	path := "/2021-10-31/functions/" + url.PathEscape(name) + "/urls"
	err := k.api.REST(k.ctx(), client.Functions, http.MethodGet, path, nil, nil, &answer)
	return answer.FunctionUrlConfigs, err
}

// functionOf is the function in an ARN, with its qualifier, or the text itself.
func functionOf(arn string) string {
	_, rest, ok := strings.Cut(arn, ":function:")
	if !ok {
		return arn
	}
	rest, _, _ = strings.Cut(rest, "/")
	return rest
}
