package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"

	api "github.com/mayfly-dev/mayfly/internal/client"
	"github.com/mayfly-dev/mayfly/internal/replay"
)

type recordOptions struct {
	failed, all, off bool
	sample           string
	redact           []string
	bare             bool
}

func (c *cli) recordCommand() *cobra.Command {
	var o recordOptions
	cmd := &cobra.Command{
		Use:   "record FUNCTION",
		Short: "Keep events and answers of a function's calls, to run them again",
		Long: `Keep events and answers of a function's calls, from the next call on, so that
mayfly replay can run them again. Without a flag, show what is kept.

Kept events stay on the node for 14 days. --redact hides what must not be written:
a name hides members of that name at any depth, a path such as user.card.number one.
The rules stay when what is kept is changed, until --redact names others.`,
		Example: `  mayfly record orders --failed --redact password --redact user.card.number
  mayfly record orders --sample 5%
  mayfly record orders
  mayfly record orders --off`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeFunctions(1),
		RunE:              func(cmd *cobra.Command, args []string) error { return c.record(cmd, args[0], o) },
	}
	f := cmd.Flags()
	f.BoolVar(&o.failed, "failed", false, "keep failed calls")
	f.BoolVar(&o.all, "all", false, "keep every call")
	f.StringVar(&o.sample, "sample", "", "keep a share of all calls, such as 5%")
	f.BoolVar(&o.off, "off", false, "keep nothing more")
	f.StringArrayVar(&o.redact, "redact", nil, "a name or path to hide; can be given again")
	f.BoolVar(&o.bare, "no-redact", false, "hide nothing any more")
	cmd.MarkFlagsMutuallyExclusive("failed", "all", "sample", "off")
	cmd.MarkFlagsMutuallyExclusive("redact", "no-redact", "off")
	return cmd
}

// settings reads the flags; nil if they ask for no change.
func (o recordOptions) settings() (*replay.Settings, error) {
	s := &replay.Settings{Redact: o.redact}
	switch {
	case o.failed:
		s.Mode = replay.Failed
	case o.all:
		s.Mode = replay.All
	case o.sample != "":
		share, err := strconv.ParseFloat(strings.TrimSuffix(o.sample, "%"), 64)
		if err != nil {
			return nil, usageError{fmt.Errorf("--sample %q is not a share such as 5%%", o.sample)}
		}
		s.Mode, s.Rate = replay.Sampled, share/100
	case len(o.redact) > 0 || o.bare:
		return nil, usageError{errors.New("--redact and --no-redact go with --failed, --all or --sample")}
	default:
		return nil, nil
	}
	return s, nil
}

func (c *cli) record(cmd *cobra.Command, name string, o recordOptions) error {
	set, err := o.settings()
	if err != nil {
		return err
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	path := "recording/" + url.PathEscape(name)
	switch {
	case o.off:
		if err := cl.api.Admin(cmd.Context(), http.MethodDelete, path, nil, nil, nil); err != nil {
			return err
		}
		fmt.Fprintf(c.err, "Calls of %s are not recorded any more.\n", name)
		return nil
	case set != nil:
		if len(o.redact) == 0 && !o.bare { // what was hidden stays hidden
			var was replay.Settings
			if _, err := cl.recording(cmd.Context(), name, &was); err != nil {
				return err
			}
			set.Redact = was.Redact
		}
		if err := cl.api.Admin(cmd.Context(), http.MethodPut, path, nil, set, set); err != nil {
			return err
		}
		_, err := lipgloss.Fprintln(c.err, good.Render("✓"), describeRecording(name, set))
		return err
	}
	return c.listRecordings(cmd, cl, name)
}

func describeRecording(name string, s *replay.Settings) string {
	what := map[replay.Mode]string{replay.Failed: "failed calls", replay.All: "all calls", replay.Sampled: strconv.FormatFloat(100*s.Rate, 'g', 4, 64) + "% of the calls"}[s.Mode]
	text := fmt.Sprintf("%s: %s are kept", name, what)
	if len(s.Redact) > 0 {
		text += ", without " + strings.Join(s.Redact, ", ")
	}
	return text
}

// recording reads which of a function's calls are kept; false if none are.
func (cl *client) recording(ctx context.Context, name string, set *replay.Settings) (bool, error) {
	err := cl.api.Admin(ctx, http.MethodGet, "recording/"+url.PathEscape(name), nil, nil, set)
	var p *api.Problem
	if errors.As(err, &p) && p.Status == http.StatusNotFound {
		return false, nil
	}
	return err == nil, err
}

// listRecordings shows a function's settings and what was kept.
func (c *cli) listRecordings(cmd *cobra.Command, cl *client, name string) error {
	var set replay.Settings
	recording, err := cl.recording(cmd.Context(), name, &set)
	if err != nil {
		return err
	}
	var kept struct {
		Recordings []replay.Recording `json:"recordings"`
	}
	if err := cl.getJSON(cmd.Context(), "recordings", url.Values{"function": {name}}, &kept); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(kept.Recordings)
	}
	if recording {
		fmt.Fprintln(c.err, describeRecording(name, &set))
	} else {
		fmt.Fprintf(c.err, "Calls of %s are not recorded; mayfly record %s --failed keeps failed ones.\n", name, name)
	}
	if len(kept.Recordings) == 0 {
		return nil
	}
	var rows [][]string
	for _, r := range kept.Recordings {
		outcome := good.Render("ok")
		if r.Failed {
			outcome = bad.Render("failed")
		}
		rows = append(rows, []string{r.RequestID, agoText(r.Time), r.Version, outcome, msText(r.Duration)})
	}
	_, err = lipgloss.Fprintln(c.out, grid([]column{left("request"), left("when"), left("version"), left("outcome"), right("ms")}, rows, false))
	return err
}

type replayOptions struct {
	version string
	local   bool
	dir     string
	debug   bool
}

func (c *cli) replayCommand() *cobra.Command {
	var o replayOptions
	cmd := &cobra.Command{
		Use:   "replay REQUEST-ID",
		Short: "Run a recorded event again, and compare the answers",
		Long: `Run the event of a recorded call again on the function as it is now, or on
another version, and show both answers side by side. The exit status is 1 if they
differ.

With --local the handler in --dir runs on this machine instead, without a sandbox;
with --debug it waits for a debugger first (see docs/guide/replay.md).`,
		Example: `  mayfly record orders --failed
  mayfly replay 0b9c6e1e-3c0f-4c0e-9a55-6a6e0f5f3b8a
  mayfly replay 0b9c6e1e-3c0f-4c0e-9a55-6a6e0f5f3b8a --version 3
  mayfly replay 0b9c6e1e-3c0f-4c0e-9a55-6a6e0f5f3b8a --local --dir ./orders --debug`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.replay(cmd, args[0], o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.version, "version", "", "version or alias to run it on (default: the latest)")
	f.BoolVar(&o.local, "local", false, "run the handler in --dir on this machine")
	f.StringVar(&o.dir, "dir", ".", "with --local: the function's directory")
	f.BoolVar(&o.debug, "debug", false, "with --local: wait for a debugger")
	cmd.MarkFlagsMutuallyExclusive("local", "version")
	return cmd
}

func (c *cli) replay(cmd *cobra.Command, id string, o replayOptions) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	var r replay.Replayed
	if o.local {
		if err := cl.getJSON(ctx, "recordings/"+url.PathEscape(id), nil, &r.Before); err != nil {
			return err
		}
		if r.After, err = c.runLocally(ctx, cl, r.Before, o); err != nil {
			return err
		}
		r.Same = replay.Same(r.Before.Answer, r.After.Answer)
	} else {
		in := map[string]string{"version": o.version}
		if err := cl.api.Admin(ctx, http.MethodPost, "recordings/"+url.PathEscape(id)+"/replay", nil, in, &r); err != nil {
			return err
		}
	}
	if c.json {
		err = c.printJSON(r)
	} else {
		err = c.printReplayed(r)
	}
	if err == nil && !r.Same {
		return silentError(exitFailed)
	}
	return err
}

// printReplayed shows both answers side by side.
func (c *cli) printReplayed(r replay.Replayed) error {
	if r.Before.Redacted {
		c.warnf("what the rules hid when the call was recorded is %q in the event, too", "[redacted]")
	}
	const wide = 56
	side := func(title string, rec replay.Recording) string {
		outcome := good.Render("ok")
		if rec.Failed {
			outcome = bad.Render("failed")
		}
		head := strong.Render(title) + "  " + outcome + faint.Render("  "+rec.Time.Local().Format(time.DateTime)+"  "+msText(rec.Duration)+" ms")
		return lipgloss.NewStyle().Width(wide).Border(lipgloss.RoundedBorder()).BorderForeground(lipgloss.BrightBlack).Padding(0, 1).
			Render(head + "\n\n" + indented(rec.Answer))
	}
	now := "now, version " + r.After.Version
	if r.After.Version == "" {
		now = "here"
	}
	boxes := lipgloss.JoinHorizontal(lipgloss.Top, side("then, version "+r.Before.Version, r.Before), side(now, r.After))
	if _, err := lipgloss.Fprintln(c.out, boxes); err != nil {
		return err
	}
	verdict := good.Render("✓") + " the same answer"
	if !r.Same {
		verdict = bad.Render("✗") + " the answers differ"
	}
	_, err := lipgloss.Fprintln(c.err, verdict)
	return err
}
