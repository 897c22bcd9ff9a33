package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"

	api "github.com/mayfly-dev/mayfly/internal/client"
	"github.com/mayfly-dev/mayfly/internal/logs"
)

type logsOptions struct {
	follow  bool
	since   string
	request string
	grep    string
	level   string
}

func (c *cli) logsCommand() *cobra.Command {
	var o logsOptions
	cmd := &cobra.Command{
		Use:   "logs NAME",
		Short: "Print what a function wrote",
		Long: `Print what a function wrote, with the node's own lines around each call. Levels
are read off the lines: "level" of a JSON line, or the word of a logger.`,
		Example: `  mayfly logs hello -f
  mayfly logs hello --since 24h --grep Error
  mayfly logs hello --since 24h --level error
  mayfly logs hello --since 2026-11-23T04:00:00Z`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeFunctions(1),
		RunE:              func(cmd *cobra.Command, args []string) error { return c.logs(cmd.Context(), args[0], o) },
	}
	f := cmd.Flags()
	f.BoolVarP(&o.follow, "follow", "f", false, "go on with each new line")
	f.StringVar(&o.since, "since", "1h", "how far back: a duration, a time, or all")
	f.StringVar(&o.request, "request", "", "only lines of the call with this request id")
	f.StringVar(&o.level, "level", "", "only lines of this level or above: trace, debug, info, warn, error or fatal")
	f.StringVar(&o.grep, "grep", "", "only lines with this text in them")
	return cmd
}

// parseSince reads a duration before now or a time. "all" is the zero time.
func parseSince(s string, now time.Time) (time.Time, error) {
	if s == "all" || s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	if n, ok := strings.CutSuffix(s, "d"); ok {
		if d, err := time.ParseDuration(n + "h"); err == nil && d >= 0 {
			return now.Add(-24 * d), nil
		}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usageError{fmt.Errorf("%q is neither a duration such as 90s, 1h or 7d, nor a time such as 2026-11-23T04:00:00Z, nor all", s)}
}

func (c *cli) logs(ctx context.Context, name string, o logsOptions) error {
	since, err := parseSince(o.since, time.Now())
	if err != nil {
		return err
	}
	q := url.Values{}
	if !since.IsZero() {
		q.Set("since", since.UTC().Format(time.RFC3339Nano))
	}
	if o.follow {
		q.Set("follow", "1")
	}
	if o.request != "" {
		q.Set("request", o.request)
	}
	if o.grep != "" {
		q.Set("contains", o.grep)
	}
	if o.level != "" {
		q.Set("level", o.level)
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	body, err := cl.get(ctx, "logs/"+url.PathEscape(name), q)
	if err != nil {
		return err
	}
	defer body.Close()
	n, err := c.printEntries(body)
	if ctx.Err() != nil {
		return nil // the person has seen enough
	}
	if err == nil && n == 0 && !o.follow && !c.json {
		fmt.Fprintln(c.err, "No lines. --since 7d or --since all looks further back.")
	}
	return err
}

// printEntries prints entries until r ends, and counts them.
func (c *cli) printEntries(r io.Reader) (n int, err error) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("the node ended the log: %w", err)
		}
		var e struct {
			logs.Entry
			api.Problem
		}
		if err := json.Unmarshal(line, &e); err != nil {
			return n, fmt.Errorf("read the node's answer: %w", err)
		}
		if e.Code != "" {
			return n, &e.Problem
		}
		n++
		if c.json {
			if _, err := c.out.Write(line); err != nil {
				return n, err
			}
			continue
		}
		text := e.Text
		if e.Stream == logs.Platform {
			text = faintLines(text)
		}
		if _, err := lipgloss.Fprintln(c.out, accent.Render(e.Time.Local().Format("2006-01-02 15:04:05.000")), text); err != nil {
			return n, err
		}
	}
}
