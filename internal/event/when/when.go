// Package when reads the expressions that say when timers fire: rate(5 minutes),
// cron(0 8 ? * MON-FRI *) and at(2026-11-29T20:00:00), in the language of
// EventBridge's rules and schedules.
package when

import (
	"regexp"
	"strconv"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Expression is when a timer fires. It doesn't change.
type Expression struct {
	period time.Duration // of a rate
	at     *wall         // of a single time
	cron   *cron
}

// wall is a time on a wall clock, wherever that hangs.
type wall struct {
	year         int
	month        time.Month
	day          int
	hour, min, s int
}

var (
	rateForm = regexp.MustCompile(`^rate\(([0-9]{1,9}) (minute|hour|day)s?\)$`)
	cronForm = regexp.MustCompile(`^cron\((.*)\)$`)
	atForm   = regexp.MustCompile(`^at\(([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})\)$`)
)

var units = map[string]time.Duration{"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour}

// maxRate bounds a rate, so that its sums don't overflow.
const maxRate = 100 * 365 * 24 * time.Hour

// Parse reads an expression. The errs.Invalid error says what is wrong.
func Parse(text string) (*Expression, error) {
	if m := rateForm.FindStringSubmatch(text); m != nil {
		n, err := strconv.Atoi(m[1])
		if err != nil || n < 1 || time.Duration(n) > maxRate/units[m[2]] {
			return nil, errs.Newf(errs.Invalid, "%s: a rate is at least 1 and at most a hundred years", text)
		}
		return &Expression{period: time.Duration(n) * units[m[2]]}, nil
	}
	if m := atForm.FindStringSubmatch(text); m != nil {
		t, err := time.Parse("2006-01-02T15:04:05", m[1])
		if err != nil {
			return nil, errs.Newf(errs.Invalid, "%s names a time that does not exist", text)
		}
		return &Expression{at: &wall{t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second()}}, nil
	}
	if m := cronForm.FindStringSubmatch(text); m != nil {
		c, err := parseCron(m[1])
		if err != nil {
			return nil, errs.Newf(errs.Invalid, "%s: %w", text, err)
		}
		return &Expression{cron: c}, nil
	}
	return nil, errs.Newf(errs.Invalid, "%q is none of rate(5 minutes), cron(0 8 ? * MON-FRI *) and at(2026-11-29T20:00:00)", text)
}

// Once reports whether the expression names a single time.
func (e *Expression) Once() bool { return e.at != nil }

// Rate reports whether the expression is a rate.
func (e *Expression) Rate() bool { return e.period > 0 }

// Next returns the first time after after at which a timer with this expression
// fires, the zero time if there is none. Wall clocks are those of zone; a rate
// counts from from, and fires after each full period.
//
// A wall clock time that is skipped when clocks go forward does not come that
// day; one that comes twice when they go back counts the first time only.
func (e *Expression) Next(after, from time.Time, zone *time.Location) time.Time {
	switch {
	case e.period > 0:
		if after.Before(from) {
			return from.Add(e.period)
		}
		return from.Add((after.Sub(from)/e.period + 1) * e.period)
	case e.at != nil:
		if t, ok := e.at.in(zone); ok && t.After(after) {
			return t
		}
		return time.Time{}
	default:
		return e.cron.next(after, zone)
	}
}

// in returns the instant at which the clocks of zone show w for the first time.
// ok is false if they never do.
func (w wall) in(zone *time.Location) (t time.Time, ok bool) {
	t = time.Date(w.year, w.month, w.day, w.hour, w.min, w.s, 0, zone)
	if t.Hour() != w.hour || t.Minute() != w.min || t.Day() != w.day {
		return time.Time{}, false
	}
	// Clocks go back by an hour, or half of one.
	for _, back := range []time.Duration{time.Hour, 30 * time.Minute} {
		if first := t.Add(-back); first.Hour() == w.hour && first.Minute() == w.min && first.Day() == w.day {
			return first, true
		}
	}
	return t, true
}
