package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"

	"github.com/mayfly-dev/mayfly/internal/meter"
)

type billOptions struct {
	by, function, alias, since, until string
	csv                               bool
}

// bill is what the CLI reads of the admin door's answer to "usage".
type bill struct {
	meter.Bill
	ListName string      `json:"listName"`
	ListCost meter.Money `json:"listCost"`
}

func (c *cli) billCommand() *cobra.Command {
	var o billOptions
	cmd := &cobra.Command{
		Use:   "bill",
		Short: "Add up what functions used and what it is worth",
		Long: `Add up requests and GB-seconds, and price them by the node's price sheet: by
default AWS's list prices, without free allowances; mayfly up --prices names
another. Below the bill stands what the same work costs at AWS's list prices, and
what servers would cost that are always on with each function's memory.

Days and months are those of UTC. --by tag:KEY groups by the values of one tag,
--by tag by each tag, so that lines overlap.`,
		Example: `  mayfly bill
  mayfly bill --by day --since 7d --function hello
  mayfly bill --by tag:team --csv > bill.csv`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := o.query(time.Now())
			if err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			var b bill
			if err := cl.getJSON(cmd.Context(), "usage", q, &b); err != nil {
				return err
			}
			switch {
			case c.json:
				return c.printJSON(b)
			case o.csv:
				return writeBill(c.out, b)
			}
			c.printBill(b)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.by, "by", "function", "function, version, alias, tag, tag:KEY, hour, day or month")
	f.StringVar(&o.function, "function", "", "only this function")
	f.StringVar(&o.alias, "alias", "", "only calls of this alias")
	f.StringVar(&o.since, "since", "all", "how far back: a duration, a time, or all")
	f.StringVar(&o.until, "until", "", "up to: a duration before now, or a time")
	f.BoolVar(&o.csv, "csv", false, "print comma-separated values, for spreadsheets")
	choices := cobra.FixedCompletions([]cobra.Completion{"function", "version", "alias", "tag", "hour", "day", "month"}, cobra.ShellCompDirectiveNoFileComp)
	if err := cmd.RegisterFlagCompletionFunc("by", choices); err != nil {
		panic(err) // there is no such flag
	}
	return cmd
}

func (o *billOptions) query(now time.Time) (url.Values, error) {
	q := url.Values{}
	by, tag, _ := strings.Cut(o.by, ":")
	for name, s := range map[string]string{"by": by, "tag": tag, "function": o.function, "alias": o.alias} {
		if s != "" {
			q.Set(name, s)
		}
	}
	for name, s := range map[string]string{"since": o.since, "until": o.until} {
		t, err := parseSince(s, now)
		if err != nil {
			return nil, err
		}
		if !t.IsZero() {
			q.Set(name, t.UTC().Format(time.RFC3339Nano))
		}
	}
	return q, nil
}

// writeBill writes a bill's lines and its total as comma-separated values.
func writeBill(out io.Writer, b bill) error {
	w := csv.NewWriter(out)
	rows := [][]string{{
		string(b.By), "requests", "errors", "cold_starts", "billed_ms", "gb_seconds",
		"request_cost", "duration_cost", "storage_cost", "provisioned_cost", "cost", "currency",
	}}
	b.Total.Key = "total"
	for _, u := range append(b.Lines, b.Total) {
		rows = append(rows, []string{
			u.Key, strconv.FormatInt(u.Requests, 10), strconv.FormatInt(u.Errors, 10), strconv.FormatInt(u.ColdStarts, 10),
			strconv.FormatInt(u.Billed.Milliseconds(), 10), u.GBSeconds,
			u.RequestCost.String(), u.DurationCost.String(), u.StorageCost.String(), u.KeptCost.String(), u.Cost.String(), b.Prices.Currency,
		})
	}
	return w.WriteAll(rows)
}

func (c *cli) printBill(b bill) {
	if b.Total.Requests == 0 && b.Total.KeptMBMillis == 0 {
		fmt.Fprintln(c.err, "Nothing was used.")
		return
	}
	storage, kept := b.Total.StorageCost != 0, b.Total.KeptCost != 0
	row := func(u meter.Usage, style lipgloss.Style) []string {
		cells := []string{
			u.Key, fmt.Sprint(u.Requests), fmt.Sprint(u.Errors), fmt.Sprint(u.ColdStarts),
			u.Billed.String(), u.GBSeconds, "$" + u.RequestCost.String(), "$" + u.DurationCost.String(),
		}
		if storage {
			cells = append(cells, "$"+u.StorageCost.String())
		}
		if kept {
			cells = append(cells, "$"+u.KeptCost.String())
		}
		cells = append(cells, "$"+u.Cost.String())
		for i := range cells {
			cells[i] = style.Render(cells[i])
		}
		return cells
	}
	var rows [][]string
	for _, u := range b.Lines {
		if u.Key == "" {
			u.Key = "(none)"
		}
		rows = append(rows, row(u, lipgloss.NewStyle()))
	}
	b.Total.Key = "total"
	rows = append(rows, row(b.Total, strong))
	title := strings.ToUpper(string(b.By))
	if b.By == meter.ByHour || b.By == meter.ByDay || b.By == meter.ByMonth {
		title += " (UTC)"
	}
	columns := []column{
		left(title), right("REQUESTS"), right("ERRORS"), right("COLD"), right("BILLED"), right("GB-SECONDS"), right("REQUESTS $"), right("DURATION $"),
	}
	if storage {
		columns = append(columns, right("STORAGE $"))
	}
	if kept {
		columns = append(columns, right("PROVISIONED $"))
	}
	lipgloss.Fprintln(c.out, grid(append(columns, right("TOTAL $")), rows, false))
	for _, line := range []string{
		fmt.Sprintf("Prices: %s, %s: $%s per million requests, $%s per GB-second.", b.Prices.Name, b.Prices.AsOf, b.Prices.MillionCalls, b.Prices.GBSecond),
		fmt.Sprintf("The same at the list prices of %s: $%s. On servers that are always on: $%s.", b.ListName, b.ListCost, b.AlwaysOn),
	} {
		lipgloss.Fprintln(c.out, faint.Render(line))
	}
}
