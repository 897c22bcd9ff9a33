package main

import (
	"testing"

	"github.com/mayfly-dev/mayfly/internal/event/when"
)

func TestTimesInPlainWordsAreExpressions(t *testing.T) {
	for _, tt := range []struct {
		in   timeOptions
		want string // "" is refused
	}{
		{timeOptions{every: "5m"}, "rate(5 minutes)"},
		{timeOptions{every: "1h"}, "rate(1 hour)"},
		{timeOptions{every: "2d"}, "rate(2 days)"},
		{timeOptions{every: "30s"}, ""},
		{timeOptions{every: "0m"}, ""},
		{timeOptions{cron: "0 8 * * MON-FRI"}, "cron(0 8 ? * MON-FRI *)"},
		{timeOptions{cron: "*/15 * * * *"}, "cron(*/15 * * * ? *)"},
		{timeOptions{cron: "0 2 1 * *"}, "cron(0 2 1 * ? *)"},
		{timeOptions{cron: "0 2 * * 0"}, "cron(0 2 ? * 1 *)"},
		{timeOptions{cron: "0 2 * * 7"}, "cron(0 2 ? * 1 *)"},
		{timeOptions{cron: "0 2 * * 1-5/2"}, "cron(0 2 ? * 2-6/2 *)"},
		{timeOptions{cron: "0 8 ? * 2#1 *"}, "cron(0 8 ? * 2#1 *)"},
		{timeOptions{cron: "0 8 1 * 1"}, ""},
		{timeOptions{cron: "0 8 * *"}, ""},
		{timeOptions{at: "2026-12-24T18:00"}, "at(2026-12-24T18:00:00)"},
		{timeOptions{at: "2026-12-24 18:00:30"}, "at(2026-12-24T18:00:30)"},
		{timeOptions{at: "2026-12-24T18:00Z"}, ""},
		{timeOptions{at: "2026-12-24T18:00", every: "5m"}, ""},
		{timeOptions{}, ""},
	} {
		got, err := tt.in.expression()
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%+v: %q, %v; want %q", tt.in, got, err, tt.want)
		}
		if tt.want == "" {
			continue
		}
		if _, err := when.Parse(got); err != nil {
			t.Errorf("%+v: %v", tt.in, err)
		}
	}
}
