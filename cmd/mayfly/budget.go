package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"

	"github.com/mayfly-dev/mayfly/internal/meter"
)

func (c *cli) budgetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "budget",
		Short: "Limit what calls may cost in a day or a month",
		Long: `Limit what calls may cost in a day or a month (of UTC), for all functions, one
function, one alias, or all functions with a tag. When a limit is reached, the node
warns in its log, tells somebody, refuses further calls until the period ends, or
does both. It takes effect within seconds of the call that reached it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.budgetSet(), c.budgetLs(), c.budgetRm())
	return cmd
}

// budget is a budget as the admin door has it.
type budget struct {
	Name     string       `json:"name,omitempty"`
	Limit    meter.Money  `json:"limit"`
	Period   string       `json:"period"`
	Function string       `json:"function,omitempty"`
	Alias    string       `json:"alias,omitempty"`
	Tag      string       `json:"tag,omitempty"`
	Throttle bool         `json:"throttle"`
	Notify   string       `json:"notify,omitempty"`
	Spent    *meter.Money `json:"spent,omitempty"`
	State    string       `json:"state,omitempty"`
	Action   string       `json:"action,omitempty"`
}

// scope says in words what the budget is for.
func (b *budget) scope() string {
	switch {
	case b.Tag != "" && b.Function != "":
		return "function " + b.Function + " tagged " + b.Tag
	case b.Tag != "":
		return "functions tagged " + b.Tag
	case b.Alias != "":
		return "function " + b.Function + ":" + b.Alias
	case b.Function != "":
		return "function " + b.Function
	}
	return "all functions"
}

func (cl *client) budgets(ctx context.Context) ([]budget, error) {
	var all struct {
		Budgets []budget `json:"budgets"`
	}
	return all.Budgets, cl.getJSON(ctx, "budgets", nil, &all)
}

func (c *cli) budgetSet() *cobra.Command {
	var b budget
	var limit string
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Make a budget, or change one",
		Long:  `Make a budget, or change one: what is not said stays as it is.`,
		Example: `  mayfly budget set monthly --limit 5
  mayfly budget set shop --limit 0.50 --period day --tag team=shop --throttle --notify queue:alerts
  mayfly budget set shop --limit 1`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			all, err := cl.budgets(cmd.Context())
			if err != nil {
				return err
			}
			next := budget{Period: "month"}
			for _, old := range all {
				if old.Name == args[0] {
					next = old
				}
			}
			next.Name, next.Spent, next.State, next.Action = "", nil, "", ""
			changed := cmd.Flags().Changed
			if changed("limit") {
				if next.Limit, err = meter.ParseMoney(limit); err != nil {
					return usageError{err}
				}
			}
			if next.Limit == 0 {
				return usageError{errors.New("say how much may be spent: --limit 5.00")}
			}
			if changed("throttle") {
				next.Throttle = b.Throttle
			}
			for name, field := range map[string]struct{ to, from *string }{
				"period": {&next.Period, &b.Period}, "function": {&next.Function, &b.Function}, "alias": {&next.Alias, &b.Alias},
				"tag": {&next.Tag, &b.Tag}, "notify": {&next.Notify, &b.Notify},
			} {
				if changed(name) {
					*field.to = *field.from
				}
			}
			if err := cl.api.Admin(cmd.Context(), http.MethodPut, "budgets/"+url.PathEscape(args[0]), nil, next, nil); err != nil {
				return err
			}
			fmt.Fprintf(c.err, "%s may cost $%s a %s\n", next.scope(), next.Limit, next.Period)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&limit, "limit", "", "how much may be spent, in dollars")
	f.StringVar(&b.Period, "period", "month", "day or month, of UTC")
	f.StringVar(&b.Function, "function", "", "only calls of this function")
	f.StringVar(&b.Alias, "alias", "", "only calls of this alias of the function")
	f.StringVar(&b.Tag, "tag", "", "only functions with this tag, KEY=VALUE")
	f.BoolVar(&b.Throttle, "throttle", false, "refuse further calls when the limit is reached")
	f.StringVar(&b.Notify, "notify", "", "tell function:NAME, queue:NAME, bus:NAME or a webhook's URL when it is reached")
	return cmd
}

func (c *cli) budgetLs() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List budgets and how they stand",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			all, err := cl.budgets(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(append([]budget{}, all...))
			}
			if len(all) == 0 {
				fmt.Fprintln(c.err, "No budgets yet. Make one: mayfly budget set monthly --limit 5")
				return nil
			}
			var rows [][]string
			for _, b := range all {
				state := good.Render(b.State)
				if b.State != "ok" {
					state = bad.Render(b.State)
				}
				var spent meter.Money
				if b.Spent != nil {
					spent = *b.Spent
				}
				rows = append(rows, []string{
					strong.Render(b.Name), b.scope(), "$" + spent.String(), fmt.Sprintf("$%s a %s", b.Limit, b.Period), state, b.Action,
				})
			}
			_, err = lipgloss.Fprintln(c.out, grid([]column{left("NAME"), left("FOR"), right("SPENT"), right("LIMIT"), left("STATE"), left("THEN")}, rows, false))
			return err
		},
	}
}

func (c *cli) budgetRm() *cobra.Command {
	return &cobra.Command{
		Use:   "rm NAME...",
		Short: "Remove budgets",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			var all error
			for _, name := range args {
				err := cl.api.Admin(cmd.Context(), http.MethodDelete, "budgets/"+url.PathEscape(name), nil, nil, nil)
				if isCode(err, "NotFound") {
					err = fmt.Errorf("there is no budget %s; `mayfly budget ls` lists them", name)
				}
				if err != nil {
					all = errors.Join(all, err)
					continue
				}
				fmt.Fprintln(c.err, "removed", name)
			}
			return all
		},
	}
}
