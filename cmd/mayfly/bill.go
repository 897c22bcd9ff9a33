package main

import (
	"fmt"
	"net/url"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"

	"github.com/mayfly-dev/mayfly/internal/meter"
)

func (c *cli) billCommand() *cobra.Command {
	var by, function, since, until string
	cmd := &cobra.Command{
		Use:   "bill",
		Short: "Add up what functions used and what it is worth",
		Long: `Add up requests and GB-seconds, and price them by the node's price sheet: by
default AWS's list prices, so that the bill is what the same work would have
cost there, without free allowances. Days and months are those of UTC.`,
		Example: `  mayfly bill
  mayfly bill --by day --since 7d --function hello`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{"by": {by}}
			if function != "" {
				q.Set("function", function)
			}
			for name, s := range map[string]string{"since": since, "until": until} {
				t, err := parseSince(s, time.Now())
				if err != nil {
					return err
				}
				if !t.IsZero() {
					q.Set(name, t.UTC().Format(time.RFC3339Nano))
				}
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			var bill meter.Bill
			if err := cl.getJSON(cmd.Context(), "usage", q, &bill); err != nil {
				return err
			}
			if c.json {
				return c.printJSON(bill)
			}
			c.printBill(bill)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&by, "by", "function", "function, day or month")
	f.StringVar(&function, "function", "", "only this function")
	f.StringVar(&since, "since", "all", "how far back: a duration, a time, or all")
	f.StringVar(&until, "until", "", "up to: a duration before now, or a time")
	choices := cobra.FixedCompletions([]cobra.Completion{"function", "day", "month"}, cobra.ShellCompDirectiveNoFileComp)
	if err := cmd.RegisterFlagCompletionFunc("by", choices); err != nil {
		panic(err) // there is no such flag
	}
	return cmd
}

func (c *cli) printBill(b meter.Bill) {
	if b.Total.Requests == 0 {
		fmt.Fprintln(c.err, "Nothing was used.")
		return
	}
	row := func(u meter.Usage, style lipgloss.Style) []string {
		cells := []string{
			u.Key, fmt.Sprint(u.Requests), fmt.Sprint(u.Errors), fmt.Sprint(u.ColdStarts),
			u.Billed.String(), u.GBSeconds, "$" + u.RequestCost.String(), "$" + u.DurationCost.String(), "$" + u.Cost.String(),
		}
		for i := range cells {
			cells[i] = style.Render(cells[i])
		}
		return cells
	}
	var rows [][]string
	for _, u := range b.Lines {
		rows = append(rows, row(u, lipgloss.NewStyle()))
	}
	b.Total.Key = "total"
	rows = append(rows, row(b.Total, strong))
	title := map[meter.By]string{meter.ByFunction: "FUNCTION", meter.ByDay: "DAY (UTC)", meter.ByMonth: "MONTH (UTC)"}[b.By]
	lipgloss.Fprintln(c.out, grid([]column{
		left(title), right("REQUESTS"), right("ERRORS"), right("COLD"), right("BILLED"), right("GB-SECONDS"), right("REQUESTS $"), right("DURATION $"), right("TOTAL $"),
	}, rows, false))
	lipgloss.Fprintln(c.out, faint.Render(fmt.Sprintf("Prices: %s, %s: $%s per million requests, $%s per GB-second.",
		b.Prices.Name, b.Prices.AsOf, b.Prices.MillionCalls, b.Prices.GBSecond)))
}
