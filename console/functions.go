package console

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/client"
	"github.com/mayfly-dev/mayfly/internal/errs"
)

const (
	functionsPath = "/2015-03-31/functions"
	pageSize      = 50 // functions on a page, which is also the most that a call lists
)

func (c *Console) functionRoutes() map[string]action {
	return map[string]action{
		"functions":                           (*call).listFunctions,
		"functions/new":                       (*call).newFunction,
		"POST functions/new":                  (*call).createFunction,
		"functions/{name}":                    (*call).showFunction,
		"live/functions/{name}":               (*call).liveFunction,
		"functions/{name}/test":               (*call).testPage,
		"POST functions/{name}/test":          (*call).test,
		"functions/{name}/code":               (*call).codePage,
		"POST functions/{name}/code":          (*call).saveCode,
		"functions/{name}/configuration":      (*call).configurationPage,
		"POST functions/{name}/configuration": (*call).saveConfiguration,
		"functions/{name}/versions":           (*call).versionsPage,
		"POST functions/{name}/publish":       (*call).publish,
		"POST functions/{name}/alias":         (*call).setAlias,
		"functions/{name}/triggers":           (*call).triggersPage,
		"POST functions/{name}/delete":        (*call).deleteFunction,
	}
}

// configuration is what Lambda's API tells of a function.
type configuration struct {
	FunctionName     string
	FunctionArn      string
	Runtime          string
	Handler          string
	Description      string
	MemorySize       int
	Timeout          int
	CodeSize         int64
	CodeSha256       string
	Version          string
	LastModified     string
	State            string
	StateReason      string
	RevisionId       string
	Environment      struct{ Variables map[string]string }
	EphemeralStorage struct{ Size int }
	LastUpdateStatus string
}

// Modified is when the function was changed last.
func (c configuration) Modified() time.Time {
	t, err := time.Parse("2006-01-02T15:04:05.000-0700", c.LastModified)
	if err != nil {
		return time.Time{}
	}
	return t
}

// functionsPage is a page of the list.
type functionsPage struct {
	Functions    []configuration
	Usage        map[string]usage // of the last 24 hours
	Search       string
	Page         int
	Before, Next int // pages, 0 for none
}

// functions lists the page-th page of the functions whose name holds search.
func (k *call) functions(search string, page int) (p functionsPage, err error) {
	p.Search, p.Page = search, page
	skip := (page - 1) * pageSize
	marker := ""
	for {
		q := url.Values{"MaxItems": {strconv.Itoa(pageSize)}}
		if marker != "" {
			q.Set("Marker", marker)
		}
		var answer struct {
			Functions  []configuration
			NextMarker string
		}
		if err := k.api.REST(k.ctx(), client.Functions, http.MethodGet, functionsPath+"/", q, nil, &answer); err != nil {
			return p, err
		}
		for _, f := range answer.Functions {
			switch {
			case !strings.Contains(strings.ToLower(f.FunctionName), strings.ToLower(search)):
			case skip > 0:
				skip--
			case len(p.Functions) == pageSize:
				p.Next = page + 1
				p.Before = page - 1
				return p, nil
			default:
				p.Functions = append(p.Functions, f)
			}
		}
		if marker = answer.NextMarker; marker == "" {
			p.Before = page - 1
			return p, nil
		}
	}
}

func (k *call) listFunctions() error {
	page, err := strconv.Atoi(k.r.FormValue("page"))
	if err != nil || page < 1 {
		page = 1
	}
	p, err := k.functions(k.r.FormValue("q"), page)
	if err != nil {
		return err
	}
	day, err := k.bill("function", "", time.Now().Add(-24*time.Hour))
	if err != nil {
		return err
	}
	p.Usage = map[string]usage{}
	for _, u := range day.Lines {
		p.Usage[u.Key] = u
	}
	if k.r.Header.Get("Hx-Request") != "" {
		return k.fragment("functions/table", p)
	}
	return k.show("functions", "Functions", p)
}

func functionPath(name string, rest ...string) string {
	return functionsPath + "/" + url.PathEscape(name) + strings.Join(rest, "")
}

// functionView is what all pages of one function show.
type functionView struct {
	configuration
	Tab  string
	Data any
}

func (k *call) configuration(name string) (c configuration, err error) {
	err = k.api.REST(k.ctx(), client.Functions, http.MethodGet, functionPath(name, "/configuration"), nil, nil, &c)
	return c, err
}

// showTab renders a page of the function in the request's path.
func (k *call) showTab(tab string, data any) error {
	c, err := k.configuration(k.r.PathValue("name"))
	if err != nil {
		return err
	}
	return k.show("function-"+tab, c.FunctionName, functionView{configuration: c, Tab: tab, Data: data})
}

// functionNow are the figures of a function that change by the second.
type functionNow struct {
	Hour      usage
	Day       usage
	Instances []instance
	Latest    []record
}

// States says in words how many instances are in each state.
func (n functionNow) States() string {
	counts := map[string]int{}
	for _, i := range n.Instances {
		counts[i.State]++
	}
	var parts []string
	for _, state := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[state], state))
	}
	return strings.Join(parts, ", ")
}

type functionOverview struct {
	Now   functionNow
	Calls chart
	Times chart
}

func (k *call) functionNow(name string) (n functionNow, err error) {
	hour, err := k.bill("function", name, time.Now().Add(-time.Hour))
	if err != nil {
		return n, err
	}
	day, err := k.bill("function", name, time.Now().Add(-24*time.Hour))
	if err != nil {
		return n, err
	}
	n.Hour, n.Day = hour.Total, day.Total
	node, err := k.node()
	if err != nil {
		return n, err
	}
	for _, i := range node.Instances {
		if i.Function == name {
			n.Instances = append(n.Instances, i)
		}
	}
	n.Latest, err = k.records(name, 20, false)
	return n, err
}

func (k *call) showFunction() error {
	name := k.r.PathValue("name")
	var o functionOverview
	var err error
	if o.Now, err = k.functionNow(name); err != nil {
		return err
	}
	since := time.Now().Add(-24 * time.Hour)
	hours, err := k.bill("hour", name, since)
	if err != nil {
		return err
	}
	o.Calls = overTime(hours.Lines, hourLayout, since, time.Now(), time.Hour, []string{"Calls", "Errors"},
		func(u usage) []float64 { return []float64{float64(u.Requests), float64(u.Errors)} })
	o.Times = overTime(hours.Lines, hourLayout, since, time.Now(), time.Hour, []string{"Mean duration"},
		func(u usage) []float64 { return []float64{float64(u.Mean().Microseconds()) / 1000} })
	o.Times.Unit = "ms"
	return k.showTab("overview", o)
}

func (k *call) liveFunction() error {
	name := k.r.PathValue("name")
	return k.live("function-overview/now", func() (any, error) { return k.functionNow(name) })
}

func (k *call) deleteFunction() error {
	name := k.r.PathValue("name")
	if k.r.FormValue("confirm") != name {
		return errs.Newf(errs.Invalid, "Type the function's name to delete it.")
	}
	if err := k.api.REST(k.ctx(), client.Functions, http.MethodDelete, functionPath(name), nil, nil, nil); err != nil {
		return err
	}
	return k.goTo("functions")
}
