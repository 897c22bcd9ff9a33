package when

import (
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

func moment(t *testing.T, s string) time.Time {
	t.Helper()
	m, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestNext(t *testing.T) {
	const from = "2026-11-29T12:00:30Z" // a Sunday
	tests := []struct {
		expression, zone, after, want string // want "" is never
	}{
		{"rate(5 minutes)", "UTC", from, "2026-11-29T12:05:30Z"},
		{"rate(5 minutes)", "UTC", "2026-11-29T12:05:30Z", "2026-11-29T12:10:30Z"},
		{"rate(1 day)", "UTC", "2026-12-05T12:00:00Z", "2026-12-05T12:00:30Z"},
		{"at(2026-12-24T18:00:00)", "Europe/Berlin", from, "2026-12-24T17:00:00Z"},
		{"at(2026-11-29T12:00:00)", "UTC", from, ""},
		{"at(2026-03-29T02:30:00)", "Europe/Berlin", "2026-01-01T00:00:00Z", ""}, // skipped by the clocks

		{"cron(0 8 ? * MON-FRI *)", "UTC", from, "2026-11-30T08:00:00Z"},
		{"cron(0/15 * * * ? *)", "UTC", from, "2026-11-29T12:15:00Z"},
		{"cron(*/20 10-12 * * ? *)", "UTC", "2026-11-29T12:40:00Z", "2026-11-30T10:00:00Z"},
		{"cron(5,35 14 * * ? *)", "UTC", "2026-11-29T14:05:00Z", "2026-11-29T14:35:00Z"},
		{"cron(15 10 ? * 6L 2026-2030)", "UTC", from, "2026-12-25T10:15:00Z"}, // November's last Friday was the 27th
		{"cron(0 10 ? * 3#1 *)", "UTC", from, "2026-12-01T10:00:00Z"},
		{"cron(0 10 ? * TUE#5 *)", "UTC", from, "2026-12-29T10:00:00Z"},
		{"cron(0 0 ? * L *)", "UTC", from, "2026-12-05T00:00:00Z"},
		{"cron(0 0 L * ? *)", "UTC", from, "2026-11-30T00:00:00Z"},
		{"cron(0 0 L FEB ? *)", "UTC", from, "2027-02-28T00:00:00Z"},
		{"cron(0 0 LW 1 ? *)", "UTC", from, "2027-01-29T00:00:00Z"},  // the 31st is a Sunday
		{"cron(0 0 1W 5 ? *)", "UTC", from, "2027-05-03T00:00:00Z"},  // the 1st is a Saturday
		{"cron(0 0 15W 8 ? *)", "UTC", from, "2027-08-16T00:00:00Z"}, // a Sunday
		{"cron(0 0 29 2 ? *)", "UTC", from, "2028-02-29T00:00:00Z"},
		{"cron(0 0 30 2 ? *)", "UTC", from, ""},
		{"cron(0 0 1 1 ? 2020)", "UTC", from, ""},
		{"cron(0 0 1 1 ? 2199)", "UTC", from, "2199-01-01T00:00:00Z"},
		{"cron(0 9 * * ? *)", "America/New_York", from, "2026-11-29T14:00:00Z"},

		// Clocks go forward on March 29 from 2:00 to 3:00, and back on October 25.
		{"cron(30 2 * * ? *)", "Europe/Berlin", "2026-03-28T02:00:00Z", "2026-03-30T00:30:00Z"},
		{"cron(30 2 * * ? *)", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"},
		{"cron(30 2 * * ? *)", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
		{"cron(0/30 * * * ? *)", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z"},
	}
	for _, tt := range tests {
		e, err := Parse(tt.expression)
		if err != nil {
			t.Errorf("%s: %v", tt.expression, err)
			continue
		}
		zone, err := time.LoadLocation(tt.zone)
		if err != nil {
			t.Skipf("this machine has no time zones: %v", err)
		}
		got := e.Next(moment(t, tt.after), moment(t, from), zone)
		if tt.want == "" {
			if !got.IsZero() {
				t.Errorf("%s in %s after %s: %s, want never", tt.expression, tt.zone, tt.after, got.UTC())
			}
			continue
		}
		if !got.Equal(moment(t, tt.want)) {
			t.Errorf("%s in %s after %s: %s, want %s", tt.expression, tt.zone, tt.after, got.UTC().Format(time.RFC3339), tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		"", "rate(10 seconds)", "rate( 10 minutes )", " rate(10 minutes)", "rate(0 minutes)", "rate(-1 hours)", "rate(10)", "rate(999999999 days)",
		"at(2026-11-29)", "at(2026-11-29T20:00:00Z)", "at(2026-02-30T00:00:00)", "at(2026-11-29T25:00:00)",
		"cron()", "cron(0 8 * * *)", "cron(0 8 * * * *)", "cron(0 8 ? * ? *)", "cron(60 8 * * ? *)", "cron(0 24 * * ? *)", "cron(0 8 0 * ? *)",
		"cron(0 8 32 * ? *)", "cron(0 8 * 13 ? *)", "cron(0 8 ? * 8 *)", "cron(0 8 ? * 0 *)", "cron(0 8 ? * MON#6 *)", "cron(0 8 ? * MOO *)",
		"cron(0 8 * * ? 1969)", "cron(0 8 * * ? 2200)", "cron(0/0 8 * * ? *)", "cron(5-1 8 * * ? *)", "cron(0  8 * * ? *)", "cron(, 8 * * ? *)",
		"cron(0 8 W * ? *)", "cron(0 8 ? * #2 *)", "cron(+1 8 * * ? *)", "every(5 minutes)",
	} {
		if _, err := Parse(text); !errs.Is(err, errs.Invalid) {
			t.Errorf("Parse(%q): %v, want invalid", text, err)
		}
	}
}

func FuzzNextIsLaterAndStable(f *testing.F) {
	for _, s := range []string{"rate(7 hours)", "cron(0/15 8-18 ? 1,6 2-6 *)", "cron(1 2 LW * ? *)", "cron(1 2 ? * 3#2,6L *)", "at(2026-11-29T20:00:00)"} {
		f.Add(s, int64(1774750000))
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		berlin = time.UTC
	}
	f.Fuzz(func(t *testing.T, text string, unix int64) {
		e, err := Parse(text)
		if err != nil {
			return
		}
		after := time.Unix(unix%(1<<33), 0)
		next := e.Next(after, time.Unix(1700000000, 0), berlin)
		if next.IsZero() {
			return
		}
		if !next.After(after) {
			t.Fatalf("%s after %s: %s", text, after, next)
		}
		if again := e.Next(next.Add(-time.Second), time.Unix(1700000000, 0), berlin); again.After(next) {
			t.Fatalf("%s after %s: %s, but a second before that: %s", text, after, next, again)
		}
	})
}
