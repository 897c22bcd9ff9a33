package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"

	api "github.com/mayfly-dev/mayfly/internal/client"
)

func (c *cli) scheduleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "schedule",
		Short: "Wake functions at times",
		Long:  `Wake functions, or send messages to queues, at times. Clients of EventBridge Scheduler's API use the same schedules.`,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.scheduleAdd(), c.scheduleLs(), c.scheduleRm())
	return cmd
}

// schedule is a schedule as the API has it.
type schedule struct {
	Name        string          `json:"Name"`
	Group       string          `json:"GroupName,omitempty"`
	Expression  string          `json:"ScheduleExpression"`
	Zone        string          `json:"ScheduleExpressionTimezone,omitempty"`
	State       string          `json:"State,omitempty"`
	Description string          `json:"Description,omitempty"`
	Completed   string          `json:"ActionAfterCompletion,omitempty"`
	Window      json.RawMessage `json:"FlexibleTimeWindow"`
	Target      struct {
		ARN        string            `json:"Arn"`
		Input      string            `json:"Input,omitempty"`
		Retry      map[string]int    `json:"RetryPolicy,omitempty"`
		DeadLetter map[string]string `json:"DeadLetterConfig,omitempty"`
	} `json:"Target"`
}

// wakes says in words what the schedule wakes.
func (s *schedule) wakes() string { return api.ARNText(s.Target.ARN) }

// schedules calls an operation on a schedule, or on all if name is "".
func (cl *client) schedules(ctx context.Context, method, name string, query url.Values, in, out any) error {
	path := "/schedules"
	if name != "" {
		path += "/" + url.PathEscape(name)
	}
	return cl.api.REST(ctx, api.Schedules, method, path, query, in, out)
}

// allSchedules returns the schedules of a group, or of all.
func (cl *client) allSchedules(ctx context.Context, group string) (all []schedule, err error) {
	query := url.Values{"MaxResults": {"100"}}
	if group != "" {
		query.Set("ScheduleGroup", group)
	}
	for {
		var page struct {
			Schedules []schedule
			NextToken string
		}
		if err := cl.schedules(ctx, http.MethodGet, "", query, nil, &page); err != nil {
			return nil, err
		}
		for _, s := range page.Schedules { // a list says nothing of times
			err := cl.schedules(ctx, http.MethodGet, s.Name, url.Values{"groupName": {s.Group}}, nil, &s)
			if isCode(err, "ResourceNotFoundException") { // just removed
				continue
			}
			if err != nil {
				return nil, err
			}
			all = append(all, s)
		}
		if page.NextToken == "" {
			return all, nil
		}
		query.Set("NextToken", page.NextToken)
	}
}

func isCode(err error, code string) bool {
	var p *api.Problem
	return errors.As(err, &p) && p.Code == code
}

func (c *cli) scheduleAdd() *cobra.Command {
	var times timeOptions
	var queue, input, dead, description string
	var window time.Duration
	var keep bool
	cmd := &cobra.Command{
		Use:   "add NAME [FUNCTION]",
		Short: "Make a schedule",
		Example: `  mayfly schedule add nightly report --cron '30 2 * * *' --zone Europe/Berlin
  mayfly schedule add poll fetch --every 5m --input '{"source": "feed"}'
  mayfly schedule add party invite --at 2026-12-24T18:00
  mayfly schedule add tick --queue ticks --every 1h`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			expression, err := times.expression()
			if err != nil {
				return err
			}
			if (len(args) == 2) == (queue != "") {
				return usageError{errors.New("name a function to wake, or a --queue to send to")}
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			s := schedule{Expression: expression, Zone: times.zone, Description: description}
			if s.Window, err = flexible(window); err != nil {
				return err
			}
			if times.at != "" && !keep {
				s.Completed = "DELETE"
			}
			s.Target.Input = input
			if queue != "" {
				s.Target.ARN, err = cl.queueARN(ctx, queue)
			} else {
				s.Target.ARN, err = cl.functionARN(ctx, args[1])
			}
			if err != nil {
				return err
			}
			if dead != "" {
				arn, err := cl.queueARN(ctx, dead)
				if err != nil {
					return err
				}
				s.Target.DeadLetter = map[string]string{"Arn": arn}
			}
			return c.addSchedule(ctx, cl, args[0], s)
		},
	}
	f := cmd.Flags()
	times.register(f)
	f.StringVar(&queue, "queue", "", "send to this queue instead of waking a function")
	f.StringVar(&input, "input", "", "what it gets, in JSON (default: an event that tells the time)")
	f.DurationVar(&window, "window", 0, "it may come so much later, to spread load")
	f.StringVar(&dead, "dead-letter", "", "queue for what can't be delivered")
	f.StringVar(&description, "description", "", "what it is for")
	f.BoolVar(&keep, "keep", false, "keep a schedule of --at when it is over")
	return cmd
}

// flexible returns the window of a schedule.
func flexible(d time.Duration) (json.RawMessage, error) {
	switch {
	case d == 0:
		return json.RawMessage(`{"Mode":"OFF"}`), nil
	case d%time.Minute != 0:
		return nil, usageError{fmt.Errorf("--window takes whole minutes, not %s", d)}
	}
	return fmt.Appendf(nil, `{"Mode":"FLEXIBLE","MaximumWindowInMinutes":%d}`, d/time.Minute), nil
}

// queueARN returns a queue's identifier.
func (cl *client) queueARN(ctx context.Context, name string) (string, error) {
	_, a, err := cl.queueAttributes(ctx, name)
	return a["QueueArn"], err
}

// addSchedule makes a schedule and says so.
func (c *cli) addSchedule(ctx context.Context, cl *client, name string, s schedule) error {
	err := cl.schedules(ctx, http.MethodPost, name, nil, s, nil)
	if isCode(err, "ConflictException") {
		return fmt.Errorf("there is a schedule %s already\nTo replace it, remove it first: mayfly schedule rm %s", name, name)
	}
	if err != nil {
		return err
	}
	s.Name = name
	if c.json {
		return c.printJSON(s)
	}
	zone := ""
	if s.Zone != "" {
		zone = " in " + s.Zone
	}
	fmt.Fprintf(c.err, "%s wakes %s: %s%s\n", name, s.wakes(), s.Expression, zone)
	return nil
}

func (c *cli) scheduleLs() *cobra.Command {
	var group string
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List schedules", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			all, err := cl.allSchedules(cmd.Context(), group)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(append([]schedule{}, all...))
			}
			if len(all) == 0 {
				fmt.Fprintln(c.err, "No schedules. Add one: mayfly schedule add NAME FUNCTION --every 5m")
				return nil
			}
			var rows [][]string
			for _, s := range all {
				name := s.Name
				if s.Group != "default" {
					name = s.Group + "/" + name
				}
				rows = append(rows, []string{strong.Render(name), s.Expression, s.Zone, s.wakes(), strings.ToLower(s.State)})
			}
			lipgloss.Fprintln(c.out, grid([]column{left("NAME"), left("WHEN"), left("ZONE"), left("WAKES"), left("STATE")}, rows, false))
			return nil
		},
	}
	cmd.Flags().StringVar(&group, "group", "", "only those of this group")
	return cmd
}

func (c *cli) scheduleRm() *cobra.Command {
	return &cobra.Command{
		Use: "rm NAME...", Aliases: []string{"delete"}, Short: "Remove schedules; name those of a group GROUP/NAME", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			var all error
			removed := []string{}
			for _, name := range args {
				found, err := cl.removeSchedule(cmd.Context(), name)
				if err == nil && !found {
					err = fmt.Errorf("there is no schedule %s\n`mayfly schedule ls` lists the schedules there are", name)
				}
				if err != nil {
					all = errors.Join(all, err)
					continue
				}
				removed = append(removed, name)
				if !c.json {
					fmt.Fprintln(c.err, "removed", name)
				}
			}
			if c.json {
				all = errors.Join(all, c.printJSON(map[string][]string{"removed": removed}))
			}
			return all
		},
	}
}

// removeSchedule removes the schedule NAME or GROUP/NAME. found is false if there is none.
func (cl *client) removeSchedule(ctx context.Context, name string) (found bool, err error) {
	query := url.Values{}
	if group, in, ok := strings.Cut(name, "/"); ok {
		query.Set("groupName", group)
		name = in
	}
	err = cl.schedules(ctx, http.MethodDelete, name, query, nil, nil)
	if isCode(err, "ResourceNotFoundException") || isCode(err, "ValidationException") { // no name of one
		return false, nil
	}
	return err == nil, err
}
