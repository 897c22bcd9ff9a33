package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/spf13/cobra"
)

// defaultAlias is the alias that callers of a function use.
const defaultAlias = "live"

// share is a part of an alias's calls, a number from 0 to 1; its flag takes
// percents. The zero share was not given.
type share float64

func (s *share) Set(text string) error {
	n, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil || !(n > 0 && n <= 100) {
		return fmt.Errorf("it takes a part of the calls, from 1%% to 100%%")
	}
	*s = share(n / 100)
	return nil
}

func (s *share) String() string {
	if s == nil || *s == 0 {
		return ""
	}
	return percent(float64(*s))
}

func (*share) Type() string { return "percent" }

func percent(weight float64) string { return strconv.FormatFloat(weight*100, 'f', -1, 64) + "%" }

// releaseOptions say what becomes of a deployment's code besides $LATEST.
type releaseOptions struct {
	publish bool
	alias   string
	canary  share
}

func (o releaseOptions) wanted() bool { return o.publish || o.alias != "" || o.canary > 0 }

// release is a published version, and what an alias gives to whom.
type release struct {
	Version string `json:"version"`
	Alias   string `json:"alias,omitempty"`
	Split   *split `json:"split,omitempty"` // of the alias's calls
}

// split says which versions an alias's calls run.
type split struct {
	Version string  `json:"version"`
	Canary  string  `json:"canary,omitempty"` // a second version
	Weight  float64 `json:"weight,omitempty"` // its share, from 0 to 1
}

func (s *split) String() string {
	if s.Canary == "" {
		return s.Version
	}
	return fmt.Sprintf("%s (%s), %s (%s)", s.Version, percent(1-s.Weight), s.Canary, percent(s.Weight))
}

func splitOf(version *string, r *types.AliasRoutingConfiguration) *split {
	s := &split{Version: aws.ToString(version)}
	if r != nil {
		for v, weight := range r.AdditionalVersionWeights {
			s.Canary, s.Weight = v, weight
		}
	}
	return s
}

// release publishes a function's latest code, and gives it all of an alias's
// calls, or a share of them.
func (cl *client) release(ctx context.Context, name string, o releaseOptions) (*release, error) {
	v, err := cl.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: &name})
	if err != nil {
		return nil, err
	}
	r := &release{Version: aws.ToString(v.Version), Alias: o.alias}
	if o.canary > 0 && r.Alias == "" {
		r.Alias = defaultAlias
	}
	if r.Alias == "" {
		return r, nil
	}
	a, err := cl.GetAlias(ctx, &lambda.GetAliasInput{FunctionName: &name, Name: &r.Alias})
	var missing *types.ResourceNotFoundException
	switch {
	case errors.As(err, &missing): // the first release has all calls
		made, err := cl.CreateAlias(ctx, &lambda.CreateAliasInput{FunctionName: &name, Name: &r.Alias, FunctionVersion: v.Version})
		if err != nil {
			return nil, err
		}
		r.Split = splitOf(made.FunctionVersion, made.RoutingConfig)
		return r, nil
	case err != nil:
		return nil, err
	case aws.ToString(a.FunctionVersion) == r.Version: // there is nothing to try beside it
		r.Split, err = cl.point(ctx, name, a, split{Version: r.Version})
	case o.canary > 0 && o.canary < 1:
		r.Split, err = cl.point(ctx, name, a, split{Version: *a.FunctionVersion, Canary: r.Version, Weight: float64(o.canary)})
	default:
		r.Split, err = cl.point(ctx, name, a, split{Version: r.Version})
	}
	return r, err
}

// point shares an alias's calls out anew, unless somebody else just did.
func (cl *client) point(ctx context.Context, name string, a *lambda.GetAliasOutput, to split) (*split, error) {
	in := &lambda.UpdateAliasInput{
		FunctionName: &name, Name: a.Name, FunctionVersion: &to.Version, RevisionId: a.RevisionId,
		RoutingConfig: &types.AliasRoutingConfiguration{},
	}
	if to.Canary != "" {
		in.RoutingConfig.AdditionalVersionWeights = map[string]float64{to.Canary: to.Weight}
	}
	out, err := cl.UpdateAlias(ctx, in)
	if err != nil {
		return nil, err
	}
	return splitOf(out.FunctionVersion, out.RoutingConfig), nil
}

// printRelease goes on after printDeployment.
func (c *cli) printRelease(name string, r *release) {
	lipgloss.Fprintln(c.out, " ", fmt.Sprintf("%-12s", "version"), r.Version)
	if r.Alias == "" {
		return
	}
	lipgloss.Fprintln(c.out, " ", fmt.Sprintf("%-12s", r.Alias), "→", r.Split.String())
	if r.Split.Canary != "" {
		lipgloss.Fprintln(c.out, faint.Render("  Then: ")+c.self()+" promote "+name+faint.Render(" or ")+c.self()+" rollback "+name)
	}
}

// shift is what promote and rollback did to an alias.
type shift struct {
	Function string `json:"function"`
	Alias    string `json:"alias"`
	From     *split `json:"from"`
	To       *split `json:"to"`
}

// shiftCommand makes a command that shares an alias's calls out anew. decide says
// how.
func (c *cli) shiftCommand(cmd *cobra.Command, decide func(ctx context.Context, cl *client, name, alias string, now *split) (split, error)) *cobra.Command {
	alias := cmd.Flags().String("alias", defaultAlias, "the alias whose calls are meant")
	cmd.Args, cmd.ValidArgsFunction = cobra.ExactArgs(1), c.completeFunctions(1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cl, err := c.client()
		if err != nil {
			return err
		}
		a, err := cl.GetAlias(cmd.Context(), &lambda.GetAliasInput{FunctionName: &args[0], Name: alias})
		if err != nil {
			return err
		}
		s := shift{Function: args[0], Alias: *alias, From: splitOf(a.FunctionVersion, a.RoutingConfig)}
		to, err := decide(cmd.Context(), cl, args[0], *alias, s.From)
		if err != nil {
			return err
		}
		if s.To, err = cl.point(cmd.Context(), args[0], a, to); err != nil {
			return err
		}
		if c.json {
			return c.printJSON(s)
		}
		lipgloss.Fprintln(c.out, good.Render("✓"), strong.Render(s.Function+":"+s.Alias), faint.Render(s.From.String()), "→", s.To.String())
		return nil
	}
	return cmd
}

func (c *cli) promoteCommand() *cobra.Command {
	var weight share
	cmd := &cobra.Command{
		Use:   "promote NAME",
		Short: "Give a canary all calls of its alias, or more of them",
		Example: `  mayfly promote hello
  mayfly promote hello --canary 50%`,
	}
	cmd.Flags().Var(&weight, "canary", "the canary's part of the calls (default: all)")
	return c.shiftCommand(cmd, func(_ context.Context, _ *client, name, alias string, now *split) (split, error) {
		switch {
		case now.Canary == "":
			return split{}, fmt.Errorf("%s:%s has no canary, all its calls run version %s; start one with: mayfly deploy DIR --canary 10%%", name, alias, now.Version)
		case weight > 0 && weight < 1:
			return split{now.Version, now.Canary, float64(weight)}, nil
		}
		return split{Version: now.Canary}, nil
	})
}

func (c *cli) rollbackCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rollback NAME",
		Short: "Give all calls of an alias back to the version before",
		Long: `Give all calls of an alias back to the version before.

A canary loses its part of the calls; without one, the alias goes back to the
published version before its own. It takes effect with the next call.`,
		Example: `  mayfly rollback hello
  mayfly rollback hello --to 3`,
	}
	to := cmd.Flags().String("to", "", "the version that gets the calls")
	return c.shiftCommand(cmd, func(ctx context.Context, cl *client, name, alias string, now *split) (split, error) {
		switch {
		case *to != "":
			return split{Version: *to}, nil
		case now.Canary != "":
			return split{Version: now.Version}, nil
		}
		before, err := cl.before(ctx, name, now.Version)
		if err == nil && before == "" {
			err = fmt.Errorf("%s:%s runs version %s, and none was published before it", name, alias, now.Version)
		}
		return split{Version: before}, err
	})
}

// before returns the published version before another one, "" if there is none.
func (cl *client) before(ctx context.Context, name, version string) (string, error) {
	versions, err := cl.versions(ctx, name)
	if err != nil {
		return "", err
	}
	last := ""
	for _, v := range versions {
		if v.Version == version {
			return last, nil
		}
		last = v.Version
	}
	return last, nil // of $LATEST
}

// versionLine is a published version as describe shows it.
type versionLine struct {
	Version     string `json:"version"`
	Description string `json:"description,omitempty"`
	CodeSHA256  string `json:"codeSha256"`
	CodeBytes   int64  `json:"codeBytes"`
	Published   string `json:"published"`
}

// versions lists the published versions, oldest first.
func (cl *client) versions(ctx context.Context, name string) ([]versionLine, error) {
	list := []versionLine{}
	pages := lambda.NewListVersionsByFunctionPaginator(cl, &lambda.ListVersionsByFunctionInput{FunctionName: &name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, v := range page.Versions {
			if aws.ToString(v.Version) != "$LATEST" {
				list = append(list, versionLine{
					Version: aws.ToString(v.Version), Description: aws.ToString(v.Description),
					CodeSHA256: aws.ToString(v.CodeSha256), CodeBytes: v.CodeSize, Published: aws.ToString(v.LastModified),
				})
			}
		}
	}
	return list, nil
}

// aliasLine is an alias as ls and describe show it.
type aliasLine struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	split
}

func (cl *client) aliases(ctx context.Context, name string) ([]aliasLine, error) {
	list := []aliasLine{}
	pages := lambda.NewListAliasesPaginator(cl, &lambda.ListAliasesInput{FunctionName: &name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, a := range page.Aliases {
			list = append(list, aliasLine{aws.ToString(a.Name), aws.ToString(a.Description), *splitOf(a.FunctionVersion, a.RoutingConfig)})
		}
	}
	return list, nil
}
