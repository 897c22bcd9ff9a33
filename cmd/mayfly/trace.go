package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

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
	from, to := spans[0].Start, spans[0].End()
	byID := map[string]*trace.Span{}
	for i := range spans {
		s := &spans[i]
		byID[s.ID] = s
		if s.Start.Before(from) {
			from = s.Start
		}
		if s.End().After(to) {
			to = s.End()
		}
	}
	total := max(to.Sub(from), time.Nanosecond)
	var rows [][]string
	for _, s := range ordered(spans) {
		depth := 0
		for p := byID[s.Parent]; p != nil && depth < 20; p = byID[p.Parent] {
			depth++
		}
		begin := int(int64(barWidth) * int64(s.Start.Sub(from)) / int64(total))
		begin = min(begin, barWidth-1)
		length := max(1, int(int64(barWidth)*int64(s.Duration)/int64(total)))
		length = min(length, barWidth-begin)
		style := accent
		if s.Error != "" {
			style = bad
		}
		bar := strings.Repeat(" ", begin) + style.Render(strings.Repeat("█", length)) + strings.Repeat(" ", barWidth-begin-length)
		rows = append(rows, []string{strings.Repeat("  ", depth) + s.Name, msText(s.Start.Sub(from)), msText(s.Duration), bar, bad.Render(s.Error)})
	}
	lipgloss.Fprintln(c.out, grid([]column{left("SPAN"), right("AT MS"), right("MS"), left(""), left("")}, rows, false))
	lipgloss.Fprintln(c.out, faint.Render("trace "+spans[0].Trace+", "+from.Local().Format("2006-01-02 15:04:05.000")))
}

// ordered puts each span below its parent.
func ordered(spans []trace.Span) []trace.Span {
	there := map[string]bool{}
	for _, s := range spans {
		there[s.ID] = true
	}
	var list []trace.Span
	var add func(parent string)
	add = func(parent string) {
		for _, s := range spans {
			if s.Parent == parent || parent == "" && !there[s.Parent] {
				if len(list) == len(spans) {
					return // a circle, which a client made up
				}
				list = append(list, s)
				if s.ID != parent {
					add(s.ID)
				}
			}
		}
	}
	add("")
	return list
}
