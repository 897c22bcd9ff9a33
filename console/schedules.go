package console

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/client"
)

func (c *Console) scheduleRoutes() map[string]action {
	return map[string]action{
		"schedules":                    (*call).listSchedules,
		"POST schedules":               (*call).createSchedule,
		"POST schedules/{name}/delete": (*call).deleteSchedule,
		"POST rules/{name}/{state}":    (*call).switchRule,
	}
}

// rule is one of the event bus, with what it wakes.
type rule struct {
	Name               string
	EventPattern       string
	ScheduleExpression string
	State              string
	Description        string
	Targets            []target
}

// target is what a rule or a schedule wakes, and the queue for what it can't.
type target struct {
	Arn              string
	DeadLetterConfig struct{ Arn string }
}

// When says in words when the rule fires.
func (r rule) When() string {
	if r.ScheduleExpression != "" {
		return r.ScheduleExpression
	}
	return r.EventPattern
}

// schedule is one of the scheduler.
type schedule struct {
	Name                       string
	GroupName                  string
	State                      string
	ScheduleExpression         string
	ScheduleExpressionTimezone string
	Target                     target
}

// Wakes is what the schedule wakes.
func (s schedule) Wakes() string { return lastPart(s.Target.Arn) }

func (k *call) rules() ([]rule, error) {
	var answer struct{ Rules []rule }
	if err := k.api.Operation(k.ctx(), client.Events, "ListRules", nil, &answer); err != nil {
		return nil, err
	}
	for i := range answer.Rules {
		r := &answer.Rules[i]
		var targets struct {
			Targets []target
		}
		if err := k.api.Operation(k.ctx(), client.Events, "ListTargetsByRule", map[string]string{"Rule": r.Name}, &targets); err != nil {
			return nil, err
		}
		r.Targets = targets.Targets
	}
	return answer.Rules, nil
}

// maxSchedules bounds the schedules that a page shows.
const maxSchedules = 500

func (k *call) schedules() (list []schedule, err error) {
	q := url.Values{"MaxResults": {"100"}}
	for len(list) < maxSchedules {
		var answer struct {
			Schedules []schedule
			NextToken string
		}
		if err := k.api.REST(k.ctx(), client.Schedules, http.MethodGet, "/schedules", q, nil, &answer); err != nil {
			return nil, err
		}
		// A list tells no times: each schedule does.
		for _, s := range answer.Schedules {
			path := "/schedules/" + url.PathEscape(s.Name)
			if err := k.api.REST(k.ctx(), client.Schedules, http.MethodGet, path, url.Values{"groupName": {s.GroupName}}, nil, &s); err != nil {
				if isNotFound(err) {
					continue
				}
				return nil, err
			}
			list = append(list, s)
		}
		if answer.NextToken == "" {
			break
		}
		q.Set("NextToken", answer.NextToken)
	}
	return list, nil
}

type schedulesView struct {
	Schedules []schedule
	Rules     []rule
	Names     []string
}

func (k *call) listSchedules() (err error) {
	var v schedulesView
	if v.Schedules, err = k.schedules(); err != nil {
		return err
	}
	if v.Rules, err = k.rules(); err != nil {
		return err
	}
	if v.Names, err = k.functionNames(); err != nil {
		return err
	}
	return k.show("schedules", "Schedules", v)
}

// createSchedule makes a timer that wakes a function.
func (k *call) createSchedule() error {
	f, err := k.configuration(k.r.FormValue("function"))
	if err != nil {
		return err
	}
	when := strings.TrimSpace(k.r.FormValue("when"))
	in := map[string]any{
		"ScheduleExpression": when, "FlexibleTimeWindow": map[string]string{"Mode": "OFF"},
		"Target": map[string]string{"Arn": f.FunctionArn, "RoleArn": "arn:aws:iam::000000000000:role/console", "Input": `{"source":"schedule"}`},
	}
	if zone := strings.TrimSpace(k.r.FormValue("zone")); zone != "" {
		in["ScheduleExpressionTimezone"] = zone
	}
	name := strings.TrimSpace(k.r.FormValue("name"))
	if err := k.api.REST(k.ctx(), client.Schedules, http.MethodPost, "/schedules/"+url.PathEscape(name), nil, in, nil); err != nil {
		return err
	}
	return k.goTo("schedules")
}

func (k *call) deleteSchedule() error {
	q := url.Values{"groupName": {k.r.FormValue("group")}}
	if err := k.api.REST(k.ctx(), client.Schedules, http.MethodDelete, "/schedules/"+url.PathEscape(k.r.PathValue("name")), q, nil, nil); err != nil {
		return err
	}
	return k.goTo("schedules")
}

func (k *call) switchRule() error {
	operation := "DisableRule"
	if k.r.PathValue("state") == "enable" {
		operation = "EnableRule"
	}
	if err := k.api.Operation(k.ctx(), client.Events, operation, map[string]string{"Name": k.r.PathValue("name")}, nil); err != nil {
		return err
	}
	return k.goTo("schedules")
}

// redrivePolicy reads a queue's policy, which is JSON in a text; the limit comes
// as a number or a text.
func redrivePolicy(text string) (queue, most string) {
	var p struct {
		DeadLetterTargetArn string          `json:"deadLetterTargetArn"`
		MaxReceiveCount     json.RawMessage `json:"maxReceiveCount"`
	}
	if text == "" || json.Unmarshal([]byte(text), &p) != nil {
		return "", ""
	}
	most = string(p.MaxReceiveCount)
	if s, err := strconv.Unquote(most); err == nil {
		most = s
	}
	return lastPart(p.DeadLetterTargetArn), most
}
