// Package budget holds limits on what calls may cost in a day or a month. It reads
// the ledger while calls run; when a limit is reached it tells somebody, refuses
// further calls, or both, until the period ends.
package budget

import (
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/meter"
)

// Period is the time for which a limit holds, in UTC.
type Period string

// The periods.
const (
	Day   Period = "day"
	Month Period = "month"
)

// bounds returns the period that t is in.
func (p Period) bounds(t time.Time) (start, end time.Time) {
	t = t.UTC()
	if p == Day {
		start = time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
		return start, start.AddDate(0, 0, 1)
	}
	start = time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
	return start, start.AddDate(0, 1, 0)
}

// Budget is a limit and what is done when it is reached. It is comparable.
type Budget struct {
	Name     string       `json:"name"`
	Limit    meter.Money  `json:"limit"`
	Period   Period       `json:"period"`
	Scope    meter.Scope  `json:"scope"`
	Throttle bool         `json:"throttle,omitempty"` // refuse further calls of the scope
	Notify   event.Target `json:"notify,omitzero"`    // who is told, once in a period; nobody if zero
}

// State is how a budget stands.
type State string

// The states.
const (
	Within     State = "ok"
	Over       State = "over"
	Throttling State = "throttling" // over, and calls are refused
)

// Status is a budget and how it stands in the present period.
type Status struct {
	Budget
	Spent      meter.Money
	Start, End time.Time // of the period
	State      State
}

// Action says in words what is done when the limit is reached.
func (b *Budget) Action() string {
	var parts []string
	if b.Notify != (event.Target{}) {
		parts = append(parts, "notify "+notified(b.Notify))
	}
	if b.Throttle {
		parts = append(parts, "throttle")
	}
	if parts == nil {
		return "warn in the node's log"
	}
	return strings.Join(parts, ", ")
}

// notified names in words who is told.
func notified(t event.Target) string {
	if t.Kind == event.API { // a webhook: its URL
		return t.Name
	}
	return t.String()
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (b *Budget) check() error {
	switch {
	case !nameForm.MatchString(b.Name):
		return errs.Newf(errs.Invalid, "a budget's name has 1 to 64 letters, digits, '-' and '_'; %q does not", b.Name)
	case b.Period != Day && b.Period != Month:
		return errs.Newf(errs.Invalid, "a budget is for a day or a month, not for a %q", b.Period)
	case b.Limit <= 0:
		return errs.Newf(errs.Invalid, "a budget's limit is an amount above zero, such as 5.00")
	case b.Scope.Alias != "" && b.Scope.Function == "":
		return errs.Newf(errs.Invalid, "the alias %s needs its function", b.Scope.Alias)
	case b.Scope.Value != "" && b.Scope.Tag == "":
		return errs.Newf(errs.Invalid, "the tag's value %q needs its key", b.Scope.Value)
	case b.silenced():
		return errs.Newf(errs.Invalid, "function %s could not be told: this budget would throttle it; notify another one, or a queue", b.Notify.Name)
	}
	return nil
}

// silenced reports whether the budget would throttle the function that it tells.
// Which functions have a tag is not known here.
func (b *Budget) silenced() bool {
	s := b.Scope
	return b.Throttle && b.Notify.Kind == event.Function && s.Tag == "" && (s.Function == "" || s.Function == b.Notify.Name) &&
		(s.Alias == "" || s.Alias == b.Notify.Qualifier)
}

// ParseTarget reads who is told: function:NAME, function:NAME:ALIAS, queue:NAME,
// bus:NAME, or the URL of a webhook.
func ParseTarget(s string) (event.Target, error) {
	bad := errs.Newf(errs.Invalid, "%q can't be notified: use function:NAME, queue:NAME, bus:NAME or a URL that begins with https:// or http://", s)
	if u, err := url.Parse(s); err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" {
		return event.Target{Kind: event.API, Name: s}, nil
	}
	kind, name, _ := strings.Cut(s, ":")
	t := event.Target{Kind: event.Kind(kind), Name: name}
	switch t.Kind {
	case event.Function:
		t.Name, t.Qualifier, _ = strings.Cut(name, ":")
	case event.Queue, event.Bus:
	default:
		return event.Target{}, bad
	}
	if t.Name == "" {
		return event.Target{}, bad
	}
	return t, nil
}

// FormatTarget is the inverse of ParseTarget; "" for the zero Target.
func FormatTarget(t event.Target) string {
	switch {
	case t == event.Target{}:
		return ""
	case t.Kind == event.API:
		return t.Name
	case t.Qualifier != "":
		return string(t.Kind) + ":" + t.Name + ":" + t.Qualifier
	}
	return string(t.Kind) + ":" + t.Name
}
