package console

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// pages are all pages by the name of their picture.
var pages = []struct{ name, path, heading string }{
	{"overview", "", "Overview"},
	{"functions", "functions", "Functions"},
	{"function-new", "functions/new", "New function"},
	{"function", "functions/orders", "orders"},
	{"function-test", "functions/orders/test", "orders"},
	{"function-code", "functions/orders/code", "orders"},
	{"function-configuration", "functions/orders/configuration", "orders"},
	{"function-versions", "functions/orders/versions", "orders"},
	{"function-triggers", "functions/orders/triggers", "orders"},
	{"logs", "logs", "Live tail"},
	{"queues", "queues", "Queues"},
	{"buckets", "buckets", "Buckets"},
	{"schedules", "schedules", "Schedules"},
	{"http", "http", "HTTP"},
	{"costs", "costs", "Costs"},
	{"node", "node", "Node"},
}

func TestEveryPageShowsWithoutComplaintAndIsAccessible(t *testing.T) {
	s := start(t)
	s.look(t, 1280, 860, "light")
	s.signIn(t)
	for _, p := range pages {
		t.Run(p.name, func(t *testing.T) {
			s.open(t, p.path)
			if got := s.Text(t, "h1"); got != p.heading {
				t.Fatalf("heading %q, want %q: %s", got, p.heading, s.Text(t, "main"))
			}
			s.clean(t)
			s.accessible(t)
			s.shoot(t, p.name+"-light")
			s.look(t, 1280, 860, "dark")
			s.accessible(t)
			s.shoot(t, p.name+"-dark")
			s.look(t, 390, 844, "light")
			s.fits(t)
			s.shoot(t, p.name+"-phone")
			s.look(t, 1280, 860, "light")
		})
	}
}

// accessible runs axe-core, if it is installed, and fails on serious findings.
func (s *site) accessible(t *testing.T) {
	t.Helper()
	axe, err := os.ReadFile("node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Log("axe-core is not installed: accessibility is not checked")
		return
	}
	var result string
	s.Do(t, chromedp.Evaluate(string(axe)+";0", nil), chromedp.Evaluate(`axe.run({runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}).then(r =>
		JSON.stringify(r.violations.map(v => ({id: v.id, impact: v.impact, help: v.help, nodes: v.nodes.map(n => n.html + " " + n.failureSummary)}))))`,
		&result, awaitPromise))
	var found []struct {
		ID, Impact, Help string
		Nodes            []string
	}
	if err := json.Unmarshal([]byte(result), &found); err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.Impact == "serious" || f.Impact == "critical" {
			t.Errorf("%s (%s): %s\n%s", f.ID, f.Impact, f.Help, strings.Join(f.Nodes, "\n"))
		}
	}
}

// fits fails if the page stays wider than the window: charts are drawn anew a moment
// after its size has changed.
func (s *site) fits(t *testing.T) {
	t.Helper()
	var over int
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		s.Do(t, chromedp.Evaluate(`document.documentElement.scrollWidth - document.documentElement.clientWidth`, &over))
		if over <= 0 {
			return
		}
		s.Do(t, chromedp.Sleep(50*time.Millisecond))
	}
	t.Errorf("the page is %d pixels wider than a phone", over)
}
