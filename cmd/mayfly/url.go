package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"charm.land/lipgloss/v2"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/spf13/cobra"
)

// urlOptions say what a function's URL is to be.
type urlOptions struct {
	public, signed, stream, remove bool
	streamSet, corsSet             bool // the flags were given
	alias                          string
	origins                        []string
}

// changes reports whether the options ask for more than to show the URL.
func (o urlOptions) changes() bool {
	return o.public || o.signed || o.streamSet || o.corsSet
}

// functionURL is a function's URL as the command prints it.
type functionURL struct {
	URL    string `json:"url"`
	Auth   string `json:"auth"`
	Stream bool   `json:"stream"`
}

func (c *cli) urlCommand() *cobra.Command {
	var o urlOptions
	cmd := &cobra.Command{
		Use:   "url FUNCTION",
		Short: "Show the HTTP endpoint of a function, or give it one",
		Long: `Show the HTTP endpoint of a function, or give it one.

Each request to it is a call of the function, with the request as its event and
its answer as the response. --public lets everybody in, --signed only requests
that are signed with the node's keys (AWS Signature Version 4).`,
		Example: `  mayfly url hello --public
  curl "$(mayfly url hello)"
  mayfly url hello --cors https://app.example.com
  mayfly url hello --rm`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeFunctions(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			o.streamSet, o.corsSet = cmd.Flags().Changed("stream"), cmd.Flags().Changed("cors")
			return c.url(cmd.Context(), cl, args[0], o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.public, "public", false, "let everybody in")
	f.BoolVar(&o.signed, "signed", false, "let in signed requests only")
	f.BoolVar(&o.stream, "stream", false, "send the answer while it is made; --stream=false when it is whole")
	f.StringArrayVar(&o.origins, "cors", nil, `let pages of an origin use it, such as https://app.example.com or *; repeat for more; "" leaves it to the function`)
	f.StringVar(&o.alias, "alias", "", "the endpoint of an alias")
	f.BoolVar(&o.remove, "rm", false, "take the endpoint away")
	cmd.MarkFlagsMutuallyExclusive("public", "signed")
	return cmd
}

func (c *cli) url(ctx context.Context, cl *client, name string, o urlOptions) error {
	var alias *string
	if o.alias != "" {
		alias = &o.alias
	}
	if o.remove {
		if _, err := cl.DeleteFunctionUrlConfig(ctx, &lambda.DeleteFunctionUrlConfigInput{FunctionName: &name, Qualifier: alias}); err != nil {
			return err
		}
		fmt.Fprintln(c.err, "removed the endpoint of", name)
		return nil
	}
	u, err := cl.GetFunctionUrlConfig(ctx, &lambda.GetFunctionUrlConfigInput{FunctionName: &name, Qualifier: alias})
	var missing *types.ResourceNotFoundException
	switch {
	case errors.As(err, &missing) && !o.changes():
		if _, err := cl.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &name, Qualifier: alias}); err != nil {
			return err
		}
		return fmt.Errorf("%s has no endpoint yet; give it one with: %s url %s --public (or --signed)", name, c.self(), name)
	case errors.As(err, &missing):
		u, err = cl.createURL(ctx, name, alias, o)
	case err == nil && o.changes():
		u, err = cl.updateURL(ctx, name, alias, o)
	}
	if err != nil {
		return err
	}
	return c.printURL(functionURL{URL: aws.ToString(u.FunctionUrl), Auth: string(u.AuthType), Stream: u.InvokeMode == types.InvokeModeResponseStream})
}

// createURL gives a function its URL. Who does not say public gets a signed one.
func (cl *client) createURL(ctx context.Context, name string, alias *string, o urlOptions) (*lambda.GetFunctionUrlConfigOutput, error) {
	in := &lambda.CreateFunctionUrlConfigInput{FunctionName: &name, Qualifier: alias, AuthType: types.FunctionUrlAuthTypeAwsIam, Cors: o.cors()}
	if o.public {
		in.AuthType = types.FunctionUrlAuthTypeNone
	}
	if o.stream {
		in.InvokeMode = types.InvokeModeResponseStream
	}
	if _, err := cl.CreateFunctionUrlConfig(ctx, in); err != nil {
		return nil, err
	}
	return cl.GetFunctionUrlConfig(ctx, &lambda.GetFunctionUrlConfigInput{FunctionName: &name, Qualifier: alias})
}

func (cl *client) updateURL(ctx context.Context, name string, alias *string, o urlOptions) (*lambda.GetFunctionUrlConfigOutput, error) {
	in := &lambda.UpdateFunctionUrlConfigInput{FunctionName: &name, Qualifier: alias, Cors: o.cors()}
	switch {
	case o.public:
		in.AuthType = types.FunctionUrlAuthTypeNone
	case o.signed:
		in.AuthType = types.FunctionUrlAuthTypeAwsIam
	}
	switch {
	case o.stream:
		in.InvokeMode = types.InvokeModeResponseStream
	case o.streamSet:
		in.InvokeMode = types.InvokeModeBuffered
	}
	if _, err := cl.UpdateFunctionUrlConfig(ctx, in); err != nil {
		return nil, err
	}
	return cl.GetFunctionUrlConfig(ctx, &lambda.GetFunctionUrlConfigInput{FunctionName: &name, Qualifier: alias})
}

// ensureURL returns the URL of a function, which becomes a public one if there is
// none.
func (cl *client) ensureURL(ctx context.Context, name string) (string, error) {
	u, err := cl.GetFunctionUrlConfig(ctx, &lambda.GetFunctionUrlConfigInput{FunctionName: &name})
	var missing *types.ResourceNotFoundException
	if errors.As(err, &missing) {
		u, err = cl.createURL(ctx, name, nil, urlOptions{public: true})
	}
	if err != nil {
		return "", err
	}
	return aws.ToString(u.FunctionUrl), nil
}

func (o urlOptions) cors() *types.Cors {
	origins := slices.DeleteFunc(slices.Clone(o.origins), func(s string) bool { return s == "" })
	switch {
	case len(origins) > 0:
	case o.corsSet:
		return &types.Cors{} // takes it away
	default:
		return nil
	}
	return &types.Cors{AllowOrigins: origins, AllowMethods: []string{"*"}, AllowHeaders: []string{"*"}, ExposeHeaders: []string{"*"}}
}

func (c *cli) printURL(u functionURL) error {
	if c.json {
		return c.printJSON(u)
	}
	if u.Auth == string(types.FunctionUrlAuthTypeAwsIam) {
		lipgloss.Fprintln(c.err, faint.Render("signed requests only"))
	}
	_, err := lipgloss.Fprintln(c.out, u.URL)
	return err
}
