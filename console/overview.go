package console

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

const liveEvery = 2 * time.Second // between two states of a live part

func (c *Console) overviewRoutes() map[string]action {
	return map[string]action{
		"{$}":      func(k *call) error { return k.showOverview() },
		"live/now": func(k *call) error { return k.live("overview/now", func() (any, error) { return k.now() }) },
	}
}

// overview is the first page: what runs, what failed, what it costs.
type overview struct {
	Now    now
	Calls  chart
	Failed []record
	Any    bool // there are functions
}

// now are the figures that change by the second.
type now struct {
	Node   nodeAnswer
	Hour   usage // of the last hour
	Today  usage // since midnight UTC
	Latest []record
}

func (k *call) now() (n now, err error) {
	if n.Node, err = k.node(); err != nil {
		return n, err
	}
	hour, err := k.bill("function", "", time.Now().Add(-time.Hour))
	if err != nil {
		return n, err
	}
	today, err := k.bill("function", "", time.Now().UTC().Truncate(24*time.Hour))
	if err != nil {
		return n, err
	}
	n.Hour, n.Today = hour.Total, today.Total
	n.Latest, err = k.records("", 8, false)
	return n, err
}

func (k *call) showOverview() error {
	var o overview
	var err error
	if o.Now, err = k.now(); err != nil {
		return err
	}
	since := time.Now().Add(-time.Hour)
	minutes, err := k.bill("minute", "", since)
	if err != nil {
		return err
	}
	o.Calls = overTime(minutes.Lines, minuteLayout, since, time.Now(), time.Minute, []string{"Calls", "Errors"},
		func(u usage) []float64 { return []float64{float64(u.Requests), float64(u.Errors)} })
	if o.Failed, err = k.records("", 6, true); err != nil {
		return err
	}
	page, err := k.functions("", 1)
	if err != nil {
		return err
	}
	o.Any = len(page.Functions) > 0
	return k.show("overview", "Overview", o)
}

// live sends a part of a page anew, by server-sent events, until the browser
// leaves.
func (k *call) live(part string, load func() (any, error)) error {
	s, err := k.events()
	if err != nil {
		return err
	}
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	for {
		data, err := load()
		if err != nil {
			return nil // the browser asks again; a page loaded anew shows the error
		}
		html, err := k.console.text(part, data)
		if err != nil {
			return err
		}
		if err := s.send("html", html); err != nil {
			return nil // the browser has left
		}
		select {
		case <-tick.C:
		case <-k.ctx().Done():
			return nil
		}
	}
}

// events is a stream of server-sent events.
type events struct {
	w http.ResponseWriter
	c *http.ResponseController
}

func (k *call) events() (*events, error) {
	s := &events{w: k.w, c: http.NewResponseController(k.w)}
	k.w.Header().Set("Content-Type", "text/event-stream")
	k.w.WriteHeader(http.StatusOK)
	return s, s.c.Flush()
}

// send sends one event; text may have several lines.
func (s *events) send(name, text string) error {
	text = strings.ReplaceAll(text, "\r", "")
	if _, err := fmt.Fprintf(s.w, "event: %s\ndata: %s\n\n", name, strings.ReplaceAll(text, "\n", "\ndata: ")); err != nil {
		return err
	}
	return s.c.Flush()
}
