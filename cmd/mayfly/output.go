package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"charm.land/lipgloss/v2/table"
)

// Styles. lipgloss.Fprint drops them where there is no terminal, or where
// NO_COLOR asks for that.
var (
	good   = lipgloss.NewStyle().Foreground(lipgloss.Green)
	bad    = lipgloss.NewStyle().Foreground(lipgloss.Red).Bold(true)
	warned = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
	faint  = lipgloss.NewStyle().Faint(true)
	strong = lipgloss.NewStyle().Bold(true)
	accent = lipgloss.NewStyle().Foreground(lipgloss.Cyan)
)

// faintLines dims each line and leaves its tabs alone.
func faintLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = faint.TabWidth(lipgloss.NoTabConversion).Render(lines[i])
	}
	return strings.Join(lines, "\n")
}

// printJSON prints v for programs.
func (c *cli) printJSON(v any) error {
	enc := json.NewEncoder(c.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// column is a heading and how its cells stand.
type column struct {
	title string
	right bool
}

func left(title string) column  { return column{title, false} }
func right(title string) column { return column{title, true} }

// grid lays rows out below headings. framed adds lines between and around.
func grid(columns []column, rows [][]string, framed bool) string {
	t := table.New().Rows(rows...).StyleFunc(func(row, col int) lipgloss.Style {
		s := lipgloss.NewStyle()
		if columns[col].right {
			s = s.Align(lipgloss.Right)
		}
		switch {
		case framed:
			s = s.Padding(0, 1)
		case col < len(columns)-1:
			s = s.PaddingRight(2)
		}
		if row == table.HeaderRow {
			s = s.Bold(true)
		}
		return s
	})
	titles := make([]string, len(columns))
	for i, col := range columns {
		titles[i] = col.title
	}
	t.Headers(titles...)
	if framed {
		t.Border(lipgloss.RoundedBorder()).BorderStyle(faint)
		return t.String()
	}
	t.BorderTop(false).BorderBottom(false).BorderLeft(false).BorderRight(false).BorderHeader(false).BorderColumn(false)
	return trimLines(t.String())
}

// trimLines removes the blanks that fill lines up.
func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// isTerminal reports whether w is one.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}

// warnf tells of something that is not an error.
func (c *cli) warnf(format string, args ...any) {
	lipgloss.Fprintln(c.err, warned.Render("warning:"), fmt.Sprintf(format, args...))
}

// numbered is a number of things: "1 message", "2 messages".
func numbered(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// bytesText is a size for people.
func bytesText(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000_000:
		return fmt.Sprintf("%.1f KB", float64(n)/1e3)
	default:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
}

// msText is a time in milliseconds for people.
func msText(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	if ms < 100 {
		return fmt.Sprintf("%.1f", ms)
	}
	return fmt.Sprintf("%.0f", ms)
}

// agoText is how long ago t was, roughly.
func agoText(t time.Time) string {
	d := time.Since(t)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	default:
		return t.Local().Format("2006-01-02")
	}
}
