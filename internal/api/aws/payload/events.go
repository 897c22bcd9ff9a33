package payload

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/arn"
	"github.com/mayfly-dev/mayfly/internal/bus"
	"github.com/mayfly-dev/mayfly/internal/delivery"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/schedule"
)

// Events puts events of buses and of schedules into EventBridge's shape. It is a
// bus.Format, a schedule.Format and a delivery.Words.
type Events struct{ Place arn.Place }

var (
	_ bus.Format      = Events{}
	_ schedule.Format = Events{}
	_ delivery.Words  = Events{}
)

// document is an event as rules and targets see it.
type document struct {
	Version    string          `json:"version"`
	ID         string          `json:"id"`
	DetailType string          `json:"detail-type"`
	Source     string          `json:"source"`
	Account    string          `json:"account"`
	Time       string          `json:"time"`
	Region     string          `json:"region"`
	Resources  []string        `json:"resources"`
	Detail     json.RawMessage `json:"detail,omitempty"`
}

func (f Events) document(e bus.Event) document {
	d := document{
		Version: "0", ID: e.ID, DetailType: e.DetailType, Source: e.Source, Account: f.Place.Account, Time: Timestamp(e.Time),
		Region: f.Place.Region, Resources: e.Resources, Detail: e.Detail,
	}
	if d.Resources == nil {
		d.Resources = []string{}
	}
	return d
}

// Event implements bus.Format.
func (f Events) Event(e bus.Event) []byte { return encode(f.document(e)) }

// Rule returns a rule's ARN.
func (f Events) Rule(busName, name string) string {
	if busName == bus.Default {
		return f.Place.Resource("events", "rule/"+name)
	}
	return f.Place.Resource("events", "rule/"+busName+"/"+name)
}

// Schedule returns a schedule's ARN.
func (f Events) Schedule(group, name string) string {
	return f.Place.Resource("scheduler", "schedule/"+group+"/"+name)
}

// scheduledEvent is the detail type of what timers send.
const scheduledEvent = "Scheduled Event"

// Tick implements bus.Format.
func (f Events) Tick(r *bus.Rule, due time.Time) bus.Event {
	return bus.Event{
		Source: "aws.events", DetailType: scheduledEvent, Detail: []byte("{}"), Time: due, Resources: []string{f.Rule(r.Bus, r.Name)},
	}
}

// Variables implements bus.Format.
func (f Events) Variables(r *bus.Rule, e bus.Event, full []byte) map[string]json.RawMessage {
	short := f.document(e)
	short.Detail = nil
	return map[string]json.RawMessage{
		"aws.events.rule-arn":             encode(f.Rule(r.Bus, r.Name)),
		"aws.events.rule-name":            encode(r.Name),
		"aws.events.event.ingestion-time": encode(Timestamp(time.Now())),
		"aws.events.event":                encode(short),
		"aws.events.event.json":           full,
	}
}

// Body implements schedule.Format: the schedule's input with its context, or else
// an event like that of a rule's timer.
func (f Events) Body(s *schedule.Schedule, due time.Time, id string) []byte {
	self := f.Schedule(s.Group, s.Name)
	if in := s.Target.Input; in != "" {
		return []byte(strings.NewReplacer(
			"<aws.scheduler.schedule-arn>", self, "<aws.scheduler.scheduled-time>", Timestamp(due),
			"<aws.scheduler.execution-id>", id, "<aws.scheduler.attempt-number>", "1",
		).Replace(in))
	}
	return encode(f.document(bus.Event{
		ID: id, Source: "aws.scheduler", DetailType: scheduledEvent, Detail: encode("{}"), Time: due, Resources: []string{self},
	}))
}

// deliveryErrors are EventBridge's words for why targets don't take events.
var deliveryErrors = map[string]string{
	errs.NotFound.String():  "NO_RESOURCE",
	errs.Throttled.String(): "THROTTLING",
	errs.Denied.String():    "NO_PERMISSIONS",
	errs.Invalid.String():   "SDK_CLIENT_ERROR",
	errs.TooLarge.String():  "SDK_CLIENT_ERROR",
}

// DeadLetter implements delivery.Words.
func (f Events) DeadLetter(p delivery.Parcel) map[string]string {
	code, ok := deliveryErrors[p.Dead.Reason]
	if !ok {
		code = "INTERNAL_ERROR"
	}
	a := map[string]string{
		"ERROR_CODE": code, "ERROR_MESSAGE": p.Dead.Message, "TARGET_ARN": f.Place.Target(p.Target),
		"RETRY_ATTEMPTS": strconv.Itoa(p.Dead.Attempts - 1),
	}
	if p.Dead.Exhausted != "" {
		a["EXHAUSTED_RETRY_CONDITION"] = p.Dead.Exhausted
	}
	if p.Origin.Kind == "rule" {
		a["RULE_ARN"] = f.Rule(p.Origin.Group, p.Origin.Name)
	} else {
		a["SCHEDULE_ARN"], a["EXECUTION_ID"] = f.Schedule(p.Origin.Group, p.Origin.Name), p.Message.ID
	}
	return a
}
