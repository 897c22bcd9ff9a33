package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/spf13/cobra"
)

// concurrency is what is set apart for a function.
type concurrency struct {
	Function    string            `json:"function"`
	Reserved    *int32            `json:"reserved"`   // calls at one time; null reserves nothing
	Unreserved  int32             `json:"unreserved"` // left for functions that reserve nothing
	Limit       int32             `json:"limit"`      // calls at one time, of all functions
	Provisioned []provisionedLine `json:"provisioned"`
}

// provisionedLine is how many instances of a version or alias are kept ready.
type provisionedLine struct {
	Qualifier string `json:"qualifier"`
	Wanted    int32  `json:"wanted"`
	Ready     int32  `json:"ready"`
	Idle      int32  `json:"idle"`
	Status    string `json:"status"`
	Reason    string `json:"reason,omitempty"`
}

func (c *cli) concurrencyCommand() *cobra.Command {
	var reserved string
	var provisioned int32
	var qualifier string
	cmd := &cobra.Command{
		Use:   "concurrency NAME",
		Short: "Show or set the calls and instances that are set apart for a function",
		Long: `Show or set the calls and instances that are set apart for a function.

Reserved calls always have a place, and are the most that the function may have
at one time; 0 stops it, none ends the reservation. Provisioned instances of a
published version or alias are started ahead of calls and kept ready; 0 lets them
go. More calls than those run on further instances.`,
		Example: `  mayfly concurrency hello
  mayfly concurrency hello --reserved 50
  mayfly concurrency hello --reserved none
  mayfly concurrency hello --provisioned 3 --alias live`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeFunctions(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			ctx, name, flags := cmd.Context(), args[0], cmd.Flags()
			if flags.Changed("reserved") {
				if err := cl.reserve(ctx, name, reserved); err != nil {
					return err
				}
			}
			if flags.Changed("provisioned") {
				if err := c.provision(ctx, cl, name, qualifier, provisioned); err != nil {
					return err
				}
			} else if flags.Changed("alias") {
				return usageError{errors.New("--alias says what --provisioned is for")}
			}
			k, err := cl.concurrency(ctx, name)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(k)
			}
			c.printConcurrency(k)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&reserved, "reserved", "", "calls at one time, or none")
	f.Int32Var(&provisioned, "provisioned", 0, "instances that are kept ready")
	f.StringVar(&qualifier, "alias", defaultAlias, "what is provisioned: an alias or a version's number")
	return cmd
}

func (cl *client) reserve(ctx context.Context, name, calls string) error {
	if calls == "none" {
		_, err := cl.DeleteFunctionConcurrency(ctx, &lambda.DeleteFunctionConcurrencyInput{FunctionName: &name})
		return err
	}
	n, err := strconv.ParseInt(calls, 10, 32)
	if err != nil || n < 0 {
		return usageError{fmt.Errorf("--reserved takes a number of calls from 0 on, or none, not %q", calls)}
	}
	_, err = cl.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{FunctionName: &name, ReservedConcurrentExecutions: aws.Int32(int32(n))})
	return err
}

// provision sets how many instances are kept ready, and waits until they are.
func (c *cli) provision(ctx context.Context, cl *client, name, qualifier string, n int32) error {
	if n == 0 {
		_, err := cl.DeleteProvisionedConcurrencyConfig(ctx, &lambda.DeleteProvisionedConcurrencyConfigInput{FunctionName: &name, Qualifier: &qualifier})
		return err
	}
	if _, err := cl.PutProvisionedConcurrencyConfig(ctx, &lambda.PutProvisionedConcurrencyConfigInput{
		FunctionName: &name, Qualifier: &qualifier, ProvisionedConcurrentExecutions: &n,
	}); err != nil {
		return err
	}
	return step(c.err, fmt.Sprintf("%d ready for %s:%s", n, name, qualifier), func() error { return cl.awaitProvisioned(ctx, name, qualifier) })
}

func (cl *client) awaitProvisioned(ctx context.Context, name, qualifier string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, settleLimit, fmt.Errorf("not all instances are ready after %s; see: mayfly concurrency %s", settleLimit, name))
	defer cancel()
	for {
		got, err := cl.GetProvisionedConcurrencyConfig(ctx, &lambda.GetProvisionedConcurrencyConfigInput{FunctionName: &name, Qualifier: &qualifier})
		switch {
		case err != nil:
			return errors.Join(context.Cause(ctx), err)
		case got.Status == types.ProvisionedConcurrencyStatusEnumReady:
			return nil
		case got.Status == types.ProvisionedConcurrencyStatusEnumFailed:
			return fmt.Errorf("%d of %d instances are ready: %s", aws.ToInt32(got.AllocatedProvisionedConcurrentExecutions),
				aws.ToInt32(got.RequestedProvisionedConcurrentExecutions), aws.ToString(got.StatusReason))
		}
		select {
		case <-time.After(settlePoll):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (cl *client) concurrency(ctx context.Context, name string) (k concurrency, err error) {
	k.Function = name
	reserved, err := cl.GetFunctionConcurrency(ctx, &lambda.GetFunctionConcurrencyInput{FunctionName: &name})
	if err != nil {
		return k, err
	}
	k.Reserved = reserved.ReservedConcurrentExecutions
	account, err := cl.GetAccountSettings(ctx, &lambda.GetAccountSettingsInput{})
	if err != nil {
		return k, err
	}
	k.Limit, k.Unreserved = account.AccountLimit.ConcurrentExecutions, aws.ToInt32(account.AccountLimit.UnreservedConcurrentExecutions)
	k.Provisioned, err = cl.provisioned(ctx, name)
	return k, err
}

func (cl *client) provisioned(ctx context.Context, name string) ([]provisionedLine, error) {
	list := []provisionedLine{}
	pages := lambda.NewListProvisionedConcurrencyConfigsPaginator(cl, &lambda.ListProvisionedConcurrencyConfigsInput{FunctionName: &name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range page.ProvisionedConcurrencyConfigs {
			arn := aws.ToString(p.FunctionArn)
			list = append(list, provisionedLine{
				Qualifier: arn[strings.LastIndexByte(arn, ':')+1:], Wanted: aws.ToInt32(p.RequestedProvisionedConcurrentExecutions),
				Ready: aws.ToInt32(p.AllocatedProvisionedConcurrentExecutions), Idle: aws.ToInt32(p.AvailableProvisionedConcurrentExecutions),
				Status: string(p.Status), Reason: aws.ToString(p.StatusReason),
			})
		}
	}
	return list, nil
}

func (c *cli) printConcurrency(k concurrency) {
	reserved := "none: calls share what others have not reserved"
	switch {
	case k.Reserved == nil:
	case *k.Reserved == 0:
		reserved = "0: the function is stopped"
	default:
		reserved = fmt.Sprintf("%d at one time, and no more", *k.Reserved)
	}
	lipgloss.Fprintln(c.out, faint.Render("reserved     "), reserved)
	lipgloss.Fprintln(c.out, faint.Render("unreserved   "), fmt.Sprintf("%d of %d, for all functions without a reservation", k.Unreserved, k.Limit))
	if len(k.Provisioned) == 0 {
		lipgloss.Fprintln(c.out, faint.Render("provisioned  "), "none")
		return
	}
	fmt.Fprintln(c.out)
	var rows [][]string
	for _, p := range k.Provisioned {
		status := strings.ToLower(strings.ReplaceAll(p.Status, "_", " "))
		if p.Reason != "" {
			status += ": " + p.Reason
		}
		rows = append(rows, []string{p.Qualifier, fmt.Sprint(p.Wanted), fmt.Sprint(p.Ready), fmt.Sprint(p.Idle), status})
	}
	lipgloss.Fprintln(c.out, grid([]column{left("PROVISIONED"), right("WANTED"), right("READY"), right("IDLE"), left("STATUS")}, rows, false))
}
