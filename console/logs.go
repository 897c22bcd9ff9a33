package console

import (
	"bufio"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/mayfly-dev/mayfly/internal/client"
)

func (c *Console) logRoutes() map[string]action {
	return map[string]action{
		"logs":      (*call).logsPage,
		"live/logs": (*call).tailLogs,
	}
}

// logLine is a line of a function's log.
type logLine struct {
	Time      time.Time `json:"time"`
	RequestID string    `json:"requestId"`
	Instance  string    `json:"instance"`
	Stream    string    `json:"stream"`
	Text      string    `json:"text"`
	Function  string    `json:"function"`
}

// maxLines bounds the lines that a page shows.
const maxLines = 2000

// eachLine reads lines of a function's log until there are no more or fn wants
// none.
func (k *call) eachLine(function string, q url.Values, fn func(logLine) error) error {
	body, err := k.api.Stream(k.ctx(), "logs/"+url.PathEscape(function), q)
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l struct {
			logLine
			client.Problem
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return err
		}
		if l.Code != "" {
			return &l.Problem
		}
		l.Function = function
		if err := fn(l.logLine); err != nil {
			return err
		}
	}
	return lines.Err()
}

var errEnough = errors.New("enough lines")

func (k *call) logLines(function string, q url.Values) (list []logLine, err error) {
	err = k.eachLine(function, q, func(l logLine) error {
		if list = append(list, l); len(list) == maxLines {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) || isNotFound(err) {
		err = nil
	}
	return list, err
}

type logsView struct {
	Names    []string
	Function string
	Contains string
	Source   string
}

func (k *call) logsPage() error {
	v := logsView{Function: k.r.FormValue("function"), Contains: k.r.FormValue("contains")}
	names, err := k.functionNames()
	if err != nil {
		return err
	}
	v.Names = names
	v.Source = Prefix + "live/logs?" + url.Values{"function": {v.Function}, "contains": {v.Contains}}.Encode()
	return k.show("logs", "Live tail", v)
}

// functionNames lists all functions.
func (k *call) functionNames() (names []string, err error) {
	for page := 1; page != 0; {
		p, err := k.functions("", page)
		if err != nil {
			return nil, err
		}
		for _, f := range p.Functions {
			names = append(names, f.FunctionName)
		}
		page = p.Next
	}
	return names, nil
}

// maxTails bounds how many logs a browser follows at one time: those of the
// functions that were called last, unless it chose one.
const maxTails = 50

// tailLogs sends lines as they are written.
func (k *call) tailLogs() error {
	names := []string{k.r.FormValue("function")}
	if names[0] == "" {
		var err error
		if names, err = k.recentFunctions(); err != nil {
			return err
		}
	}
	s, err := k.events()
	if err != nil {
		return err
	}
	q := url.Values{"follow": {"1"}, "since": {time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)}}
	if text := k.r.FormValue("contains"); text != "" {
		q.Set("contains", text)
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, name := range names {
		all.Go(func() {
			err := k.eachLine(name, q, func(l logLine) error {
				text, err := toJSON(l)
				if err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				return s.send("line", text)
			})
			if err != nil && k.ctx().Err() == nil {
				k.console.cfg.Log.DebugContext(k.ctx(), "a live tail ended", "function", name, "err", err)
			}
		})
	}
	all.Wait()
	return nil
}

// recentFunctions lists those that were called within a day, or, if there are
// fewer than maxTails functions, all.
func (k *call) recentFunctions() ([]string, error) {
	names, err := k.functionNames()
	if err != nil || len(names) <= maxTails {
		return names, err
	}
	day, err := k.bill("function", "", time.Now().Add(-24*time.Hour))
	if err != nil {
		return nil, err
	}
	exists := map[string]bool{}
	for _, n := range names {
		exists[n] = true
	}
	var recent []string
	for _, u := range day.Lines {
		if exists[u.Key] && len(recent) < maxTails {
			recent = append(recent, u.Key)
		}
	}
	return recent, nil
}

func isNotFound(err error) bool {
	var p *client.Problem
	return errors.As(err, &p) && p.Status == http.StatusNotFound
}
