package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

// view is what a page's template gets.
type view struct {
	Title   string
	Section string // of the navigation
	Theme   string
	Data    any
}

// notice is a sentence about what was just done, or why not.
type notice struct {
	Bad  bool
	Text string
}

// page is a template with the parts that all pages share.
type page = *template.Template

// link is an entry of the navigation.
type link struct{ Section, Path, Name, Key string }

// navigation lists the sections; Key follows "g" on the keyboard.
var navigation = []link{
	{"", "", "Overview", "o"}, {"functions", "functions", "Functions", "f"}, {"logs", "logs", "Live tail", "l"},
	{"queues", "queues", "Queues", "q"}, {"buckets", "buckets", "Buckets", "b"}, {"schedules", "schedules", "Schedules", "s"},
	{"http", "http", "HTTP", "h"}, {"costs", "costs", "Costs", "c"}, {"node", "node", "Node", "n"},
}

// parsePages parses each page's template together with the shared ones, whose
// names begin with an underscore.
func parsePages() (map[string]page, error) {
	shared, err := template.New("shared").Funcs(functions).ParseFS(assets, "templates/_*.html")
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	files, err := fs.Glob(assets, "templates/[a-z]*.html")
	if err != nil {
		return nil, err
	}
	pages := map[string]page{}
	for _, file := range files {
		t, err := shared.Clone()
		if err != nil {
			return nil, err
		}
		if _, err := t.ParseFS(assets, file); err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}
		pages[strings.TrimSuffix(path.Base(file), ".html")] = t
	}
	pages[""] = shared
	return pages, nil
}

// render writes a whole page.
func (c *Console) render(w http.ResponseWriter, r *http.Request, name string, v view) error {
	if cookie, err := r.Cookie(themeCookie); err == nil && themes[cookie.Value] {
		v.Theme = cookie.Value
	}
	return c.write(w, name, "layout", v)
}

// part writes a shared part; "page/part" is one that a page defines.
func (c *Console) part(w http.ResponseWriter, name string, data any) error {
	pageName, part, ok := strings.Cut(name, "/")
	if !ok {
		pageName, part = "", name
	}
	return c.write(w, pageName, part, data)
}

// write renders the whole first: what breaks midway must not look like a page.
func (c *Console) write(w http.ResponseWriter, pageName, part string, data any) error {
	var b bytes.Buffer
	if err := c.pages[pageName].ExecuteTemplate(&b, part, data); err != nil {
		return fmt.Errorf("render %s: %w", pageName, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, err := w.Write(b.Bytes())
	return err
}

// text renders "page/part".
func (c *Console) text(name string, data any) (string, error) {
	pageName, part, _ := strings.Cut(name, "/")
	var b strings.Builder
	if err := c.pages[pageName].ExecuteTemplate(&b, part, data); err != nil {
		return "", fmt.Errorf("render %s: %w", name, err)
	}
	return b.String(), nil
}

// section is the part of the navigation that a request belongs to.
func section(r *http.Request) string {
	s, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, Prefix), "/")
	if s == "invocations" {
		return "functions"
	}
	return s
}

// functions are what templates call.
var functions = template.FuncMap{
	"navigation": func() []link { return navigation },
	"duration":   duration,
	"bytes":      size,
	"ago":        ago,
	"stamp":      func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000") },
	"iso":        func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
	"json":       toJSON,
	"pretty":     pretty,
	"count":      count,
	"percent":    percent,
	"money":      money,
	"list":       func(items ...any) []any { return items },
	"dict":       dict,
	"times100":   func(f float64) float64 { return 100 * f },
	"target":     lastPart,
	"hasPrefix":  strings.HasPrefix,
}

// dict makes a map of pairs, for templates that hand several things to a part.
func dict(pairs ...any) (map[string]any, error) {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		key, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict: key %v is not a string", pairs[i])
		}
		m[key] = pairs[i+1]
	}
	return m, nil
}

func toJSON(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

// pretty indents JSON, and leaves what is none as it is.
func pretty(b []byte) string {
	var out bytes.Buffer
	if json.Indent(&out, b, "", "  ") != nil {
		return string(b)
	}
	return out.String()
}

// duration writes a time span with the precision that a person needs.
func duration(d time.Duration) string {
	switch {
	case d <= 0:
		return "0 ms"
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2f ms", float64(d)/1e6)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", float64(d)/1e6)
	case d < time.Minute && d%time.Second == 0:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Minute:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

func size(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.2f GB", float64(n)/(1<<30))
}

func ago(t time.Time) string {
	d := time.Since(t)
	switch {
	case t.IsZero():
		return "never"
	case d < 0, d < 2*time.Second:
		return "just now"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return t.UTC().Format("2006-01-02")
}

// count writes a whole number with thin groups of three.
func count(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}

func percent(part, whole int64) string {
	if whole == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(whole))
}

// money words an exact amount of dollars for reading: cents where it is less than
// one, as what runs for a moment costs.
func money(amount string) string {
	dollars, err := strconv.ParseFloat(amount, 64)
	switch {
	case err != nil || dollars == 0:
		return "$0.00"
	case dollars < 0.0000005:
		return "< 0.0001 ¢"
	case dollars < 0.01:
		return strconv.FormatFloat(100*dollars, 'f', 4, 64) + " ¢"
	}
	return "$" + strconv.FormatFloat(dollars, 'f', 2, 64)
}
