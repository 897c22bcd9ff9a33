package console

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

func (c *Console) costRoutes() map[string]action {
	return map[string]action{"costs": (*call).costsPage}
}

// budget is a limit on what calls may cost.
type budget struct {
	Name   string `json:"name"`
	Limit  string `json:"limit"`
	Period string `json:"period"`
	Spent  string `json:"spent"`
	State  string `json:"state"`
	Action string `json:"action"`
}

type costsView struct {
	By, Span string
	Bill     bill
	Days     chart
	Budgets  []budget
	Groups   []string
	Spans    []string
}

// spans are how far back costs are shown.
var spans = map[string]time.Duration{"1 day": 24 * time.Hour, "7 days": 7 * 24 * time.Hour, "30 days": 30 * 24 * time.Hour, "365 days": 365 * 24 * time.Hour}

// inDollars says that a chart's values are dollars, or has them in cents if they
// are all less than one, as money does.
func (c *chart) inDollars() {
	values := c.Series[1]
	if c.Unit = "$"; slices.Max(values) >= 0.01 {
		return
	}
	c.Unit = "¢"
	for i := range values {
		values[i] *= 100
	}
}

func (k *call) costsPage() error {
	v := costsView{By: k.r.FormValue("by"), Span: k.r.FormValue("span"), Groups: []string{"function", "alias", "tag", "day"}, Spans: []string{"1 day", "7 days", "30 days", "365 days"}}
	if v.By == "" {
		v.By = "function"
	}
	if spans[v.Span] == 0 {
		v.Span = "30 days"
	}
	now := time.Now()
	since := now.Add(-spans[v.Span])
	var err error
	if v.Bill, err = k.bill(v.By, "", since); err != nil {
		return err
	}
	by, layout, step := "day", time.DateOnly, 24*time.Hour
	if v.Span == "1 day" {
		by, layout, step = "hour", hourLayout, time.Hour
	}
	over, err := k.bill(by, "", since)
	if err != nil {
		return err
	}
	v.Days = overTime(over.Lines, layout, since, now, step, []string{"Cost"}, func(u usage) []float64 {
		cost, err := strconv.ParseFloat(u.Cost, 64)
		if err != nil {
			return []float64{0}
		}
		return []float64{cost}
	})
	v.Days.inDollars()
	var budgets struct {
		Budgets []budget `json:"budgets"`
	}
	if err := k.api.Admin(k.ctx(), http.MethodGet, "budgets", url.Values{}, nil, &budgets); err != nil {
		return err
	}
	v.Budgets = budgets.Budgets
	return k.show("costs", "Costs", v)
}
