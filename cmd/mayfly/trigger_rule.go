package main

import (
	"context"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/pflag"

	api "github.com/mayfly-dev/mayfly/internal/client"
)

// ruleTrigger wakes a function when an event on a bus matches a pattern: it is a
// rule with one target.
type ruleTrigger struct {
	pattern string
	bus     string
}

// busRule is a rule as the API has it.
type busRule struct {
	Name    string
	Bus     string `json:"EventBusName"`
	Pattern string `json:"EventPattern"`
	When    string `json:"ScheduleExpression"`
	State   string
}

func (r *ruleTrigger) register(f *pflag.FlagSet) string {
	f.StringVar(&r.pattern, "pattern", "", `wake it when an event matches: '{"source": ["shop"]}'`)
	f.StringVar(&r.bus, "bus", "default", "pattern: the event bus")
	return "pattern"
}

func (r *ruleTrigger) add(ctx context.Context, cl *client, function, qualifier string) (triggerLine, error) {
	arn, err := cl.functionARN(ctx, qualified(function, qualifier))
	if err != nil {
		return triggerLine{}, err
	}
	name := shortName(function) + "-" + uuid.NewString()[:8]
	rule := map[string]string{"Name": name, "EventBusName": r.bus, "EventPattern": r.pattern}
	if err := cl.events(ctx, "PutRule", rule, nil); err != nil {
		return triggerLine{}, err
	}
	targets := map[string]any{"Rule": name, "EventBusName": r.bus, "Targets": []map[string]string{{"Id": "function", "Arn": arn}}}
	if err := cl.events(ctx, "PutTargets", targets, nil); err != nil {
		return triggerLine{}, err
	}
	return busRule{Name: name, Bus: r.bus, Pattern: r.pattern, State: "ENABLED"}.triggerLine(arn), nil
}

// triggerLine shows a rule as what wakes a function.
func (r busRule) triggerLine(arn string) triggerLine {
	l := triggerLine{
		ID: r.Name, Function: strings.TrimPrefix(api.ARNText(arn), "function "), Source: "event bus " + r.Bus, Detail: r.Pattern, State: title(r.State),
	}
	if r.Bus != "default" {
		l.ID = r.Bus + "/" + r.Name
	}
	if r.Pattern == "" {
		l.Source, l.Detail = "the clock", r.When
	}
	return l
}

// eachRule calls do for each rule of each bus, with its targets.
func (cl *client) eachRule(ctx context.Context, do func(r busRule, targets []busTarget) error) error {
	var buses struct{ EventBuses []struct{ Name string } }
	if err := cl.events(ctx, "ListEventBuses", nil, &buses); err != nil {
		return err
	}
	for _, b := range buses.EventBuses {
		in := map[string]string{"EventBusName": b.Name}
		for {
			var page struct {
				Rules     []busRule
				NextToken string
			}
			if err := cl.events(ctx, "ListRules", in, &page); err != nil {
				return err
			}
			for _, r := range page.Rules {
				var out struct{ Targets []busTarget }
				if err := cl.events(ctx, "ListTargetsByRule", map[string]string{"Rule": r.Name, "EventBusName": b.Name}, &out); err != nil {
					return err
				}
				if err := do(r, out.Targets); err != nil {
					return err
				}
			}
			if page.NextToken == "" {
				break
			}
			in["NextToken"] = page.NextToken
		}
	}
	return nil
}

// busTarget is a target of a rule as the API has it.
type busTarget struct {
	ID  string `json:"Id"`
	ARN string `json:"Arn"`
}

func (*ruleTrigger) list(ctx context.Context, cl *client, function string) (lines []triggerLine, err error) {
	err = cl.eachRule(ctx, func(r busRule, targets []busTarget) error {
		for _, t := range targets {
			if name, is := strings.CutPrefix(api.ARNText(t.ARN), "function "); is && ofFunction(name, function) {
				lines = append(lines, r.triggerLine(t.ARN))
			}
		}
		return nil
	})
	return lines, err
}

func (*ruleTrigger) remove(ctx context.Context, cl *client, id string) (found bool, err error) {
	err = cl.eachRule(ctx, func(r busRule, targets []busTarget) error {
		if r.triggerLine("").ID != id {
			return nil
		}
		found = true
		var ids []string
		for _, t := range targets {
			ids = append(ids, t.ID)
		}
		if len(ids) > 0 {
			if err := cl.events(ctx, "RemoveTargets", map[string]any{"Rule": r.Name, "EventBusName": r.Bus, "Ids": ids}, nil); err != nil {
				return err
			}
		}
		return cl.events(ctx, "DeleteRule", map[string]string{"Name": r.Name, "EventBusName": r.Bus}, nil)
	})
	return found, err
}
