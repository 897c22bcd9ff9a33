package main

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// timeOptions say when something happens, as flags.
type timeOptions struct {
	every string
	cron  string
	at    string
	zone  string
}

func (o *timeOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.every, "every", "", "how often: 5m, 2h, 1d")
	f.StringVar(&o.cron, "cron", "", "when: '0 8 * * MON-FRI', or a scheduler's six fields '0 8 ? * MON-FRI *'")
	f.StringVar(&o.at, "at", "", "once, at this time: 2026-12-24T18:00")
	f.StringVar(&o.zone, "zone", "", "time zone of --cron and --at, such as Europe/Berlin (default UTC)")
}

// expression returns what the flags say in the scheduler's language.
func (o *timeOptions) expression() (string, error) {
	switch {
	case o.every != "" && o.cron == "" && o.at == "":
		return rate(o.every)
	case o.cron != "" && o.every == "" && o.at == "":
		return sixFields(o.cron)
	case o.at != "" && o.every == "" && o.cron == "":
		return once(o.at)
	}
	return "", usageError{errors.New("say when: one of --every, --cron and --at")}
}

var everyForm = regexp.MustCompile(`^([1-9][0-9]{0,8})(m|h|d)$`)

func rate(every string) (string, error) {
	m := everyForm.FindStringSubmatch(every)
	if m == nil {
		return "", usageError{fmt.Errorf("--every takes whole minutes, hours or days, such as 5m, 2h or 1d, not %q", every)}
	}
	unit := map[string]string{"m": "minute", "h": "hour", "d": "day"}[m[2]]
	if m[1] != "1" {
		unit += "s"
	}
	return "rate(" + m[1] + " " + unit + ")", nil
}

func once(at string) (string, error) {
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02 15:04:05"} {
		if t, err := time.Parse(layout, at); err == nil {
			return t.Format("at(2006-01-02T15:04:05)"), nil
		}
	}
	return "", usageError{fmt.Errorf("--at takes a time such as 2026-12-24T18:00, not %q; --zone says where", at)}
}

var numbers = regexp.MustCompile(`/?[0-9]+`)

// sixFields reads cron's five fields, or the scheduler's six. The two differ in
// the days of the week, and in what says that there is nothing to say about days.
func sixFields(cron string) (string, error) {
	f := strings.Fields(cron)
	switch {
	case len(f) == 6:
		return "cron(" + strings.Join(f, " ") + ")", nil
	case len(f) != 5:
		return "", usageError{fmt.Errorf("--cron takes five fields (minute, hour, day of the month, month, day of the week), or six with the year; %q has %d", cron, len(f))}
	case f[4] == "*" || f[4] == "?":
		f[4] = "?"
	case f[2] == "*" || f[2] == "?":
		f[2] = "?"
		f[4] = numbers.ReplaceAllStringFunc(f[4], func(s string) string {
			n, err := strconv.Atoi(s) // a step keeps its number
			if err != nil {
				return s
			}
			return strconv.Itoa(n%7 + 1) // cron's Sunday is 0 or 7, the scheduler's 1
		})
	default:
		return "", usageError{fmt.Errorf("--cron takes days of the month or days of the week, not both: %q", cron)}
	}
	return "cron(" + strings.Join(f, " ") + " *)", nil
}
