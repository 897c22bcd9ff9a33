package main

import (
	"context"
	"net/http"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/pflag"
)

// timeTrigger wakes a function at times: it is a schedule. There are two of it,
// for --every and --cron.
type timeTrigger struct {
	flag  string
	value string
	zone  string
}

func (t *timeTrigger) register(f *pflag.FlagSet) string {
	switch t.flag {
	case "every":
		f.StringVar(&t.value, "every", "", "wake it so often: 5m, 2h, 1d")
	default:
		f.StringVar(&t.value, "cron", "", "wake it at these times: '0 8 * * MON-FRI'")
		f.StringVar(&t.zone, "zone", "", "cron: the time zone, such as Europe/Berlin (default UTC)")
	}
	return t.flag
}

func (t *timeTrigger) add(ctx context.Context, cl *client, function, qualifier string) (triggerLine, error) {
	o := timeOptions{every: t.value}
	if t.flag == "cron" {
		o = timeOptions{cron: t.value}
	}
	expression, err := o.expression()
	if err != nil {
		return triggerLine{}, err
	}
	s := schedule{Name: shortName(function) + "-" + uuid.NewString()[:8], Expression: expression, Zone: t.zone, State: "ENABLED"}
	if s.Window, err = flexible(0); err != nil {
		return triggerLine{}, err
	}
	if s.Target.ARN, err = cl.functionARN(ctx, qualified(function, qualifier)); err != nil {
		return triggerLine{}, err
	}
	return s.triggerLine(), cl.schedules(ctx, http.MethodPost, s.Name, nil, s, nil)
}

// shortName cuts a function's name so that a schedule or rule can be called after it.
func shortName(function string) string {
	const most = 50
	return function[:min(len(function), most)]
}

func qualified(function, qualifier string) string {
	if qualifier == "" {
		return function
	}
	return function + ":" + qualifier
}

// triggerLine shows a schedule as what wakes a function.
func (s *schedule) triggerLine() triggerLine {
	l := triggerLine{ID: s.Name, Function: strings.TrimPrefix(s.wakes(), "function "), Source: "the clock", Detail: s.Expression, State: title(s.State)}
	if s.Zone != "" && s.Zone != "UTC" {
		l.Detail += " in " + s.Zone
	}
	if s.Group != "" && s.Group != "default" {
		l.ID = s.Group + "/" + s.Name
	}
	return l
}

// title writes ENABLED as Enabled.
func title(state string) string {
	if state == "" {
		return ""
	}
	return state[:1] + strings.ToLower(state[1:])
}

// list lists all schedules of functions once, for --every.
func (t *timeTrigger) list(ctx context.Context, cl *client, function string) (lines []triggerLine, err error) {
	if t.flag != "every" {
		return nil, nil
	}
	all, err := cl.allSchedules(ctx, "")
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if name, is := strings.CutPrefix(s.wakes(), "function "); is && ofFunction(name, function) {
			lines = append(lines, s.triggerLine())
		}
	}
	return lines, nil
}

// ofFunction reports whether NAME[:QUALIFIER] is the function; "" is any.
func ofFunction(name, function string) bool {
	name, _, _ = strings.Cut(name, ":")
	return function == "" || name == function
}

func (t *timeTrigger) remove(ctx context.Context, cl *client, id string) (found bool, err error) {
	if t.flag != "every" {
		return false, nil
	}
	return cl.removeSchedule(ctx, id)
}
