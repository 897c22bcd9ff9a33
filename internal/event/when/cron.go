package when

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// Years that a cron expression can name.
const (
	firstYear = 1970
	lastYear  = 2199
)

// set is a set of numbers from 0 to 63.
type set uint64

func (s set) has(n int) bool { return s&(1<<n) != 0 }

// cron is a parsed expression of six fields: minutes, hours, days of the month,
// months, days of the week, years. Of the two kinds of days one is open (?).
type cron struct {
	minutes, hours, months set

	days     set // of the month; 0 if that is open
	lastDay  bool
	weekdays set  // closest to these days of the month: 15W
	lastWork bool // the last working day of the month: LW

	week     set    // days of the week, Sunday is 1; 0 if that is open
	lastWeek set    // the last of these in the month: 6L
	nth      [6]set // the first to the fifth of these in the month: 3#2

	years [4]set // from firstYear
}

var (
	monthNames = names("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC")
	dayNames   = names("SUN MON TUE WED THU FRI SAT")
)

func names(list string) map[string]int {
	m := map[string]int{}
	for i, name := range strings.Fields(list) {
		m[name] = i + 1
	}
	return m
}

// field is one field's bounds and names.
type field struct {
	what      string
	low, high int
	names     map[string]int
}

func parseCron(text string) (*cron, error) {
	f := strings.Split(text, " ")
	if len(f) != 6 {
		return nil, fmt.Errorf("cron has six fields with single spaces between: minutes, hours, days of the month, months, days of the week, years")
	}
	if (f[2] == "?") == (f[4] == "?") {
		return nil, fmt.Errorf("exactly one of the days of the month and the days of the week is ?")
	}
	c := &cron{}
	var err error
	read := func(text string, f field, put func(n int)) {
		if err == nil {
			err = f.list(text, put)
		}
	}
	read(f[0], field{"minutes", 0, 59, nil}, func(n int) { c.minutes |= 1 << n })
	read(f[1], field{"hours", 0, 23, nil}, func(n int) { c.hours |= 1 << n })
	read(f[3], field{"months", 1, 12, monthNames}, func(n int) { c.months |= 1 << n })
	read(f[5], field{"years", firstYear, lastYear, nil}, func(n int) { c.years[(n-firstYear)/64] |= 1 << ((n - firstYear) % 64) })
	if err != nil {
		return nil, err
	}
	if f[2] != "?" {
		return c, c.parseDays(f[2])
	}
	return c, c.parseWeek(f[4])
}

// list reads values, ranges and steps, with commas between.
func (f field) list(text string, put func(n int)) error {
	for part := range strings.SplitSeq(text, ",") {
		low, high, step := f.low, f.high, 1
		span, every, stepped := strings.Cut(part, "/")
		if stepped {
			n, err := strconv.Atoi(every)
			if err != nil || n < 1 || n > f.high {
				return fmt.Errorf("%s: %q is not a step", f.what, every)
			}
			step = n
		}
		if span != "*" {
			from, to, ranged := strings.Cut(span, "-")
			var err error
			if low, err = f.value(from); err != nil {
				return err
			}
			if !stepped {
				high = low
			}
			if ranged {
				if high, err = f.value(to); err != nil {
					return err
				}
			}
			if high < low {
				return fmt.Errorf("%s: the range %s runs backwards", f.what, span)
			}
		}
		for n := low; n <= high; n += step {
			put(n)
		}
	}
	return nil
}

func (f field) value(text string) (int, error) {
	if n, ok := f.names[strings.ToUpper(text)]; ok {
		return n, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < f.low || n > f.high || text[0] == '+' || text[0] == '-' {
		return 0, fmt.Errorf("%s: %q is not from %d to %d", f.what, text, f.low, f.high)
	}
	return n, nil
}

// parseDays reads days of the month: L, LW and 15W besides lists.
func (c *cron) parseDays(text string) error {
	f := field{"days of the month", 1, 31, nil}
	for part := range strings.SplitSeq(text, ",") {
		switch day, near := strings.CutSuffix(part, "W"); {
		case part == "L":
			c.lastDay = true
		case part == "LW":
			c.lastWork = true
		case near:
			n, err := f.value(day)
			if err != nil {
				return err
			}
			c.weekdays |= 1 << n
		default:
			if err := f.list(part, func(n int) { c.days |= 1 << n }); err != nil {
				return err
			}
		}
	}
	return nil
}

// parseWeek reads days of the week: L, 6L and 3#2 besides lists.
func (c *cron) parseWeek(text string) error {
	f := field{"days of the week", 1, 7, dayNames}
	for part := range strings.SplitSeq(text, ",") {
		day, last := strings.CutSuffix(part, "L")
		weekday, nth, hashed := strings.Cut(part, "#")
		switch {
		case part == "L":
			c.week |= 1 << 7
		case hashed:
			n, err := f.value(weekday)
			if err != nil {
				return err
			}
			i, err := field{"days of the week, after #", 1, 5, nil}.value(nth)
			if err != nil {
				return err
			}
			c.nth[i] |= 1 << n
		case last:
			n, err := f.value(day)
			if err != nil {
				return err
			}
			c.lastWeek |= 1 << n
		default:
			if err := f.list(part, func(n int) { c.week |= 1 << n }); err != nil {
				return err
			}
		}
	}
	return nil
}

// next returns the first time after after, the zero time if there is none.
func (c *cron) next(after time.Time, zone *time.Location) time.Time {
	local := after.In(zone)
	fromYear, fromMonth, fromDay := local.Date()
	for year := max(fromYear, firstYear); year <= lastYear; year++ {
		if !c.years[(year-firstYear)/64].has((year - firstYear) % 64) {
			continue
		}
		for month := time.January; month <= time.December; month++ {
			if !c.months.has(int(month)) || year == fromYear && month < fromMonth {
				continue
			}
			length := daysIn(year, month)
			for day := 1; day <= length; day++ {
				if year == fromYear && month == fromMonth && day < fromDay || !c.day(year, month, day, length) {
					continue
				}
				if t := c.within(wall{year: year, month: month, day: day}, after, zone); !t.IsZero() {
					return t
				}
			}
		}
	}
	return time.Time{}
}

// within returns the first time after after on the day.
func (c *cron) within(w wall, after time.Time, zone *time.Location) time.Time {
	for hours := uint64(c.hours); hours != 0; hours &= hours - 1 {
		w.hour = bits.TrailingZeros64(hours)
		for minutes := uint64(c.minutes); minutes != 0; minutes &= minutes - 1 {
			w.min = bits.TrailingZeros64(minutes)
			if t, ok := w.in(zone); ok && t.After(after) {
				return t
			}
		}
	}
	return time.Time{}
}

// day reports whether the timer fires on a day of a month of some length.
func (c *cron) day(year int, month time.Month, day, length int) bool {
	weekday := int(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Weekday()) + 1
	switch {
	case c.days.has(day), c.week.has(weekday), c.lastDay && day == length, c.nth[(day-1)/7+1].has(weekday),
		c.lastWeek.has(weekday) && day+7 > length:
		return true
	case c.lastWork && day == nearest(year, month, length, length):
		return true
	}
	for days := uint64(c.weekdays); days != 0; days &= days - 1 {
		if n := bits.TrailingZeros64(days); n <= length && day == nearest(year, month, n, length) {
			return true
		}
	}
	return false
}

// nearest returns the working day of the same month that is closest to a day.
func nearest(year int, month time.Month, day, length int) int {
	switch time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Weekday() {
	case time.Saturday:
		if day == 1 {
			return 3
		}
		return day - 1
	case time.Sunday:
		if day == length {
			return day - 2
		}
		return day + 1
	}
	return day
}

func daysIn(year int, month time.Month) int {
	return time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
}
