package admin

import (
	"net/http"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/budget"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/meter"
)

// Budgets is the answer of GET budgets, sorted by name.
type Budgets struct {
	Budgets []Budget `json:"budgets"`
}

// Budget is a limit on what calls may cost. PUT takes all but what says otherwise.
type Budget struct {
	Name     string        `json:"name"` // in a PUT, absent or that of the path
	Limit    meter.Money   `json:"limit"`
	Period   budget.Period `json:"period"` // day or month, of UTC
	Function string        `json:"function,omitempty"`
	Alias    string        `json:"alias,omitempty"`
	Tag      string        `json:"tag,omitempty"` // KEY=VALUE
	Throttle bool          `json:"throttle"`
	Notify   string        `json:"notify,omitempty"` // as budget.ParseTarget reads it

	Spent  meter.Money  `json:"spent"`          // in the present period; not of a PUT
	State  budget.State `json:"state"`          // ok, over or throttling; not of a PUT
	Action string       `json:"action"`         // in words; not of a PUT
	Start  time.Time    `json:"start,omitzero"` // of the period; not of a PUT
	End    time.Time    `json:"end,omitzero"`   // of the period; not of a PUT
}

func (d *door) budgetRoutes() map[string]handler {
	return map[string]handler{
		"GET budgets":           d.budgets,
		"PUT budgets/{name}":    d.setBudget,
		"DELETE budgets/{name}": d.removeBudget,
	}
}

func (d *door) budgets(w http.ResponseWriter, r *http.Request) error {
	if err := only(r); err != nil {
		return err
	}
	all, err := d.Budgets.List(r.Context())
	if err != nil {
		return err
	}
	list := Budgets{Budgets: make([]Budget, len(all))}
	for i := range all {
		list.Budgets[i] = budgetOf(&all[i])
	}
	return write(w, list)
}

func budgetOf(s *budget.Status) Budget {
	b := Budget{
		Name: s.Name, Limit: s.Limit, Period: s.Period, Function: s.Scope.Function, Alias: s.Scope.Alias,
		Throttle: s.Throttle, Notify: budget.FormatTarget(s.Notify),
		Spent: s.Spent, State: s.State, Action: s.Action(), Start: s.Start, End: s.End,
	}
	if s.Scope.Tag != "" {
		b.Tag = s.Scope.Tag + "=" + s.Scope.Value
	}
	return b
}

func (d *door) setBudget(w http.ResponseWriter, r *http.Request) error {
	var in Budget
	if err := read(r, &in); err != nil {
		return err
	}
	name := r.PathValue("name")
	if in.Name != "" && in.Name != name {
		return errs.Newf(errs.Invalid, "the body names the budget %s, the path %s", in.Name, name)
	}
	b := budget.Budget{Name: name, Limit: in.Limit, Period: in.Period, Throttle: in.Throttle, Scope: meter.Scope{Function: in.Function, Alias: in.Alias}}
	if in.Tag != "" {
		key, value, ok := strings.Cut(in.Tag, "=")
		if !ok || key == "" {
			return errs.Newf(errs.Invalid, "a tag is KEY=VALUE; %q is not", in.Tag)
		}
		b.Scope.Tag, b.Scope.Value = key, value
	}
	if in.Notify != "" {
		t, err := budget.ParseTarget(in.Notify)
		if err != nil {
			return err
		}
		b.Notify = t
	}
	if err := d.Budgets.Set(r.Context(), b); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (d *door) removeBudget(w http.ResponseWriter, r *http.Request) error {
	if err := d.Budgets.Remove(r.Context(), r.PathValue("name")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
