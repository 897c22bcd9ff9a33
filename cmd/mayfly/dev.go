package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"

	"github.com/mayfly-dev/mayfly/internal/logs"
)

func (c *cli) devCommand() *cobra.Command {
	var o deployOptions
	cmd := &cobra.Command{
		Use:   "dev DIR",
		Short: "Deploy a directory at each save, and show its log with the lines of its errors",
		Long: `Deploy a directory now and at each save, and show what the function writes as it
is called. Errors come with the lines of source that they point to.

The function runs on the node as any other: call it with mayfly invoke, by its URL,
or by whatever wakes it.`,
		Example: `  mayfly dev ./hello
  mayfly invoke hello --payload '{"name": "Ada"}'     # in another terminal`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.dev(cmd.Context(), args[0], o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.Name, "name", "", "name of the function (default: the directory's)")
	f.StringVar(&o.Runtime, "runtime", "", "runtime (default: what the files tell)")
	f.StringVar(&o.Handler, "handler", "", "handler (default: what the files tell)")
	return cmd
}

// dev deploys at each save and follows the log, until ctx ends.
func (c *cli) dev(ctx context.Context, dir string, o deployOptions) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	first, err := c.deploy(ctx, cl, dir, o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	followed := make(chan error, 1)
	go func() {
		err := c.followSource(ctx, cl, first.Name, dir)
		cancel()
		followed <- err
	}()
	err = c.watch(ctx, cl, dir, o)
	cancel()
	return errors.Join(err, <-followed)
}

// followSource prints a function's log from now on, with the source that errors
// point to.
func (c *cli) followSource(ctx context.Context, cl *client, name, dir string) error {
	q := url.Values{"follow": {"1"}, "since": {time.Now().UTC().Format(time.RFC3339Nano)}}
	body, err := cl.get(ctx, "logs/"+url.PathEscape(name), q)
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewReader(body)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("the node ended the log: %w", err)
		}
		var e logs.Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("read the node's answer: %w", err)
		}
		text := e.Text
		if e.Stream == logs.Platform {
			text = faintLines(text)
		}
		lipgloss.Fprintln(c.out, accent.Render(e.Time.Local().Format("15:04:05.000")), text)
		for _, at := range places(e.Text) {
			if s := excerpt(dir, at); s != "" {
				lipgloss.Fprintln(c.out, s)
			}
		}
	}
}

// place is a line of a function's source.
type place struct {
	file string // within the package
	line int
}

// frames match what stack traces of the languages say of files in the package.
var frames = []*regexp.Regexp{
	regexp.MustCompile(`File "/var/task/([^"]+)",? [Ll]ine (\d+)`),
	regexp.MustCompile(`/var/task/([^\s:()"']+):(\d+)`),
}

// maxPlaces is how many places of one error are shown.
const maxPlaces = 3

// places finds the lines of source that a log entry points to.
func places(text string) (list []place) {
	seen := map[place]bool{}
	for _, frame := range frames {
		for _, m := range frame.FindAllStringSubmatch(text, -1) {
			n, err := strconv.Atoi(m[2])
			at := place{m[1], n}
			if err != nil || seen[at] || len(list) == maxPlaces {
				continue
			}
			seen[at] = true
			list = append(list, at)
		}
	}
	return list
}

// excerpt shows a place with the lines around it; "" if the directory has no such
// line.
func excerpt(dir string, at place) string {
	path := filepath.Join(dir, filepath.FromSlash(at.file))
	if rel, err := filepath.Rel(dir, path); err != nil || strings.HasPrefix(rel, "..") {
		return ""
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	lines := strings.Split(string(b), "\n")
	if at.line < 1 || at.line > len(lines) {
		return ""
	}
	var out strings.Builder
	fmt.Fprintf(&out, "  %s\n", strong.Render(at.file+":"+strconv.Itoa(at.line)))
	for n := max(1, at.line-2); n <= min(len(lines), at.line+1); n++ {
		text := strings.ReplaceAll(lines[n-1], "\t", "    ")
		if n == at.line {
			fmt.Fprintf(&out, "%s\n", bad.Render(fmt.Sprintf("  > %4d | %s", n, text)))
		} else {
			fmt.Fprintf(&out, "%s\n", faint.Render(fmt.Sprintf("    %4d | %s", n, text)))
		}
	}
	return strings.TrimRight(out.String(), "\n")
}
