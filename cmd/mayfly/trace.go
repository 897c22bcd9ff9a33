package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"

	"github.com/mayfly-dev/mayfly/internal/trace"
)

func (c *cli) traceCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "trace [ID]",
		Short: "Show where the time of a call went",
		Long: `Show the spans of a trace as a waterfall: the request or event, the wait in a
queue, what a cold start was made of, the handler, and the calls that came of it.
ID is that of a request or of a trace. Without one, list the latest traces.`,
		Example: `  mayfly trace
  mayfly trace 6f0a4f3e-0f0c-4c35-9d0e-8f3f6c1d2a77`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return c.listTraces(cmd.Context(), cl, limit)
			}
			return c.showTrace(cmd.Context(), cl, args[0])
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 20, "how many traces to list")
	return cmd
}

func (c *cli) listTraces(ctx context.Context, cl *client, limit int) error {
	var list struct {
		Traces []trace.Summary `json:"traces"`
	}
	if err := cl.getJSON(ctx, "traces", url.Values{"limit": {strconv.Itoa(limit)}}, &list); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(list)
	}
	if len(list.Traces) == 0 {
		fmt.Fprintln(c.err, "No call was made since the node's start.")
		return nil
	}
	var rows [][]string
	for _, t := range list.Traces {
		failed := ""
		if t.Failed {
			failed = bad.Render("failed")
		}
		rows = append(rows, []string{t.Trace, t.Name, agoText(t.Start), msText(t.Duration), fmt.Sprint(t.Spans), failed})
	}
	lipgloss.Fprintln(c.out, grid([]column{left("TRACE"), left("BEGAN WITH"), left("WHEN"), right("MS"), right("SPANS"), left("")}, rows, false))
	return nil
}

func (c *cli) showTrace(ctx context.Context, cl *client, id string) error {
	var t struct {
		Trace string       `json:"trace"`
		Spans []trace.Span `json:"spans"`
	}
	if err := cl.getJSON(ctx, "traces/"+url.PathEscape(id), nil, &t); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(t)
	}
	if len(t.Spans) == 0 {
		fmt.Fprintln(c.err, "The call is part of no trace.")
		return nil
	}
	c.printWaterfall(t.Spans)
	return nil
}

// barWidth is how many characters a waterfall is wide.
const barWidth = 48

// printWaterfall prints spans one below the other, each where its time was.
func (c *cli) printWaterfall(spans []trace.Span) {
	bars, total := trace.Waterfall(spans)
	var rows [][]string
	for _, s := range bars {
		begin := int(int64(barWidth) * int64(s.At) / int64(total))
		begin = min(begin, barWidth-1)
		length := max(1, int(int64(barWidth)*int64(s.Duration)/int64(total)))
		length = min(length, barWidth-begin)
		style := accent
		if s.Error != "" {
			style = bad
		}
		bar := strings.Repeat(" ", begin) + style.Render(strings.Repeat("█", length)) + strings.Repeat(" ", barWidth-begin-length)
		rows = append(rows, []string{strings.Repeat("  ", min(s.Depth, 20)) + s.Name, msText(s.At), msText(s.Duration), bar, bad.Render(s.Error)})
	}
	lipgloss.Fprintln(c.out, grid([]column{left("SPAN"), right("AT MS"), right("MS"), left(""), left("")}, rows, false))
	lipgloss.Fprintln(c.out, faint.Render("trace "+spans[0].Trace+", "+bars[0].Start.Add(-bars[0].At).Local().Format("2006-01-02 15:04:05.000")))
}
