package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/spf13/cobra"

	api "github.com/mayfly-dev/mayfly/internal/client"
)

type invokeOptions struct {
	payload   string
	event     string // kind of a made-up event
	qualifier string
	tail      bool
	async     bool
	dryRun    bool
}

func (c *cli) invokeCommand() *cobra.Command {
	var o invokeOptions
	cmd := &cobra.Command{
		Use:   "invoke NAME",
		Short: "Call a function",
		Long: `Call a function. Its answer goes to standard output, all else to standard error.
The exit status is 1 if the function failed.`,
		Example: `  mayfly invoke hello --payload '{"name": "Ada"}' --tail
  mayfly invoke hello --payload @event.json
  echo '{}' | mayfly invoke hello --payload -
  mayfly invoke hello --event s3
  mayfly invoke hello --event sqs --payload '{"order": 7}'
  mayfly invoke hello --async`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeFunctions(1),
		RunE:              func(cmd *cobra.Command, args []string) error { return c.invoke(cmd.Context(), args[0], o) },
	}
	f := cmd.Flags()
	f.StringVarP(&o.payload, "payload", "p", "", "event as JSON, @FILE, or - for standard input (default: {})")
	f.StringVar(&o.event, "event", "", "call with a made-up event: "+strings.Join(api.TestEvents(), ", ")+"; --payload is the text in it")
	f.StringVarP(&o.qualifier, "qualifier", "q", "", "version or alias")
	f.BoolVarP(&o.tail, "tail", "t", false, "print the end of the call's log")
	f.BoolVar(&o.async, "async", false, "queue the call and don't wait for it")
	f.BoolVar(&o.dryRun, "dry-run", false, "only check that the call could be made")
	cmd.MarkFlagsMutuallyExclusive("async", "dry-run")
	cmd.MarkFlagsMutuallyExclusive("async", "tail")
	return cmd
}

// event returns the payload that s means.
func (c *cli) event(s string) ([]byte, error) {
	var b []byte
	var err error
	switch {
	case s == "":
		return []byte("{}"), nil
	case s == "-":
		b, err = io.ReadAll(c.in)
	case strings.HasPrefix(s, "@"):
		b, err = os.ReadFile(s[1:])
	default:
		b = []byte(s)
	}
	if err != nil {
		return nil, fmt.Errorf("read the payload: %w", err)
	}
	if !json.Valid(b) {
		return nil, usageError{fmt.Errorf("the payload is not JSON: %.60q; a file's content is given as @FILE", b)}
	}
	return b, nil
}

// invokePayload returns the payload that the options mean.
func (c *cli) invokePayload(ctx context.Context, o invokeOptions) ([]byte, error) {
	if o.event == "" {
		return c.event(o.payload)
	}
	if !slices.Contains(api.TestEvents(), o.event) {
		return nil, usageError{fmt.Errorf("there is no event %q; use one of: %s", o.event, strings.Join(api.TestEvents(), ", "))}
	}
	cl, err := c.client()
	if err != nil {
		return nil, err
	}
	var text string
	if o.payload != "" {
		if text, err = c.body([]string{o.payload}); err != nil {
			return nil, err
		}
	}
	status, err := cl.node(ctx)
	if err != nil {
		return nil, err
	}
	return api.TestEvent{Region: cl.region, Account: status.Account, Now: time.Now(), Text: text}.Make(o.event)
}

// outcome is what a call gave.
type outcome struct {
	Status    int32           `json:"statusCode"`
	RequestID string          `json:"requestId"`
	Error     string          `json:"functionError,omitempty"`
	Version   string          `json:"executedVersion,omitempty"`
	Payload   json.RawMessage `json:"payload,omitempty"`
	Log       string          `json:"logTail,omitempty"`
	Took      time.Duration   `json:"-"` // as the caller saw it
}

func (c *cli) invoke(ctx context.Context, name string, o invokeOptions) error {
	payload, err := c.invokePayload(ctx, o)
	if err != nil {
		return err
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	in := &lambda.InvokeInput{FunctionName: &name, Payload: payload}
	if o.qualifier != "" {
		in.Qualifier = &o.qualifier
	}
	if o.tail {
		in.LogType = types.LogTypeTail
	}
	switch {
	case o.async:
		in.InvocationType = types.InvocationTypeEvent
	case o.dryRun:
		in.InvocationType = types.InvocationTypeDryRun
	}
	got, err := cl.call(ctx, in)
	if err != nil {
		return err
	}
	if err := c.printOutcome(name, got, o); err != nil {
		return err
	}
	if got.Error != "" {
		return silentError(exitFailed)
	}
	return nil
}

// call invokes and takes the answer apart.
func (cl *client) call(ctx context.Context, in *lambda.InvokeInput) (outcome, error) {
	began := time.Now()
	resp, err := cl.Invoke(ctx, in)
	if err != nil {
		return outcome{}, err
	}
	got := outcome{
		Status: resp.StatusCode, Error: aws.ToString(resp.FunctionError),
		Version: aws.ToString(resp.ExecutedVersion), Payload: resp.Payload, Took: time.Since(began),
	}
	got.RequestID, _ = middleware.GetRequestIDMetadata(resp.ResultMetadata)
	log, err := base64.StdEncoding.DecodeString(aws.ToString(resp.LogResult))
	if err != nil {
		return got, fmt.Errorf("read the log's tail: %w", err)
	}
	got.Log = string(log)
	return got, nil
}

func (c *cli) printOutcome(name string, got outcome, o invokeOptions) error {
	if c.json {
		if !json.Valid(got.Payload) {
			got.Payload = nil // nothing, for a call that was queued or only checked
		}
		return c.printJSON(got)
	}
	if got.Log != "" {
		lipgloss.Fprintln(c.err, faintLines(strings.TrimRight(got.Log, "\n")))
	}
	switch {
	case o.async:
		fmt.Fprintf(c.err, "queued as %s; its lines: mayfly logs %s --request %s\n", got.RequestID, name, got.RequestID)
		return nil
	case o.dryRun:
		fmt.Fprintln(c.err, "the call could be made")
		return nil
	case got.Error != "":
		lipgloss.Fprintln(c.err, bad.Render("failed"), fmt.Sprintf("(%s) in %s ms", got.Error, msText(got.Took)))
	default:
		lipgloss.Fprintln(c.err, good.Render("ok"), fmt.Sprintf("in %s ms", msText(got.Took)))
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, got.Payload, "", "  "); err != nil {
		pretty.Reset()
		pretty.Write(got.Payload)
	}
	_, err := fmt.Fprintln(c.out, pretty.String())
	return err
}
