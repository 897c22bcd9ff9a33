package lambda

import (
	"context"
	"regexp"
	"strconv"

	"github.com/mayfly-dev/mayfly/internal/api/aws/arn"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/function"
)

// Patterns of Lambda's model for versions that aliases name.
const (
	aliasVersionPattern   = `(\$LATEST(\.PUBLISHED)?|[0-9]+)`
	routingVersionPattern = `[0-9]+`
)

var (
	aliasVersionRE   = regexp.MustCompile(`^` + aliasVersionPattern + `$`)
	routingVersionRE = regexp.MustCompile(`^` + routingVersionPattern + `$`)
)

// CreateAlias names a version.
func (d *Door) CreateAlias(ctx context.Context, in *CreateAliasInput) (*CreateAliasOutput, error) {
	t, err := d.aliasTarget(in.FunctionName, in.Name, in.FunctionVersion, true)
	if err != nil {
		return nil, err
	}
	a := function.Alias{Name: *in.Name, Version: *in.FunctionVersion, Description: wire.Value(in.Description)}
	if in.RoutingConfig != nil {
		if a.Routing, err = routing(in.RoutingConfig); err != nil {
			return nil, err
		}
	}
	made, err := d.o.Functions.CreateAlias(ctx, t.name, a)
	if err != nil {
		return nil, d.failAlias(t, err)
	}
	return d.alias(t.name, made), nil
}

// GetAlias shows an alias.
func (d *Door) GetAlias(_ context.Context, in *GetAliasInput) (*GetAliasOutput, error) {
	t, err := d.aliasTarget(in.FunctionName, in.Name, nil, false)
	if err != nil {
		return nil, err
	}
	a, err := d.o.Functions.Alias(t.name, t.qualifier)
	if err != nil {
		return nil, d.failAlias(t, err)
	}
	return d.alias(t.name, a), nil
}

// UpdateAlias changes what the request names of an alias. A RoutingConfig
// without weights ends the sharing of its calls.
func (d *Door) UpdateAlias(ctx context.Context, in *UpdateAliasInput) (*UpdateAliasOutput, error) {
	t, err := d.aliasTarget(in.FunctionName, in.Name, in.FunctionVersion, false)
	if err != nil {
		return nil, err
	}
	c := function.AliasChange{Version: in.FunctionVersion, Description: in.Description, Revision: wire.Value(in.RevisionId)}
	if in.RoutingConfig != nil {
		rt, err := routing(in.RoutingConfig)
		if err != nil {
			return nil, err
		}
		c.Routing = &rt
	}
	a, err := d.o.Functions.UpdateAlias(ctx, t.name, t.qualifier, c)
	if err != nil {
		return nil, d.failAlias(t, err)
	}
	return d.alias(t.name, a), nil
}

// DeleteAlias removes an alias with its URL and its policy: a later alias of that
// name must not be open to those whom this one was. One that does not exist is no
// error.
func (d *Door) DeleteAlias(ctx context.Context, in *DeleteAliasInput) (*DeleteAliasOutput, error) {
	t, err := d.aliasTarget(in.FunctionName, in.Name, nil, false)
	if err != nil {
		return nil, err
	}
	if err := d.o.Functions.DeleteAlias(ctx, t.name, t.qualifier); err != nil {
		return nil, d.fail(t, err)
	}
	if err := d.forgetAlias(ctx, t); err != nil {
		return nil, err
	}
	return &DeleteAliasOutput{}, nil
}

// ListAliases lists a function's aliases by name.
func (d *Door) ListAliases(_ context.Context, in *ListAliasesInput) (*ListAliasesOutput, error) {
	t, err := d.unqualified(in.FunctionName)
	if err != nil {
		return nil, err
	}
	var c constraints
	c.version(in.FunctionVersion)
	if err := c.err(); err != nil {
		return nil, err
	}
	size, err := pageSize(in.MaxItems, maxListItems)
	if err != nil {
		return nil, err
	}
	after, err := readMarker(in.Marker, arn.ValidQualifier)
	if err != nil {
		return nil, err
	}
	page, more, err := d.o.Functions.Aliases(t.name, wire.Value(in.FunctionVersion), after, size)
	if err != nil {
		return nil, d.fail(t, err)
	}
	out := &ListAliasesOutput{Aliases: make([]AliasConfiguration, 0, len(page))}
	for _, a := range page {
		out.Aliases = append(out.Aliases, *d.alias(t.name, a))
	}
	if more {
		out.NextMarker = marker(page[len(page)-1].Name)
	}
	return out, nil
}

// aliasTarget reads the function and alias that a request names. The target's
// qualifier is the alias.
func (d *Door) aliasTarget(name, alias, version *string, versionRequired bool) (target, error) {
	var c constraints
	if alias == nil {
		c.null("name")
	}
	if version == nil && versionRequired {
		c.null("functionVersion")
	}
	c.version(version)
	if err := c.err(); err != nil {
		return target{}, err
	}
	t, err := d.unqualified(name)
	t.qualifier = wire.Value(alias)
	t.arn = d.arn(t.name, t.qualifier)
	return t, err
}

// version adds a violation unless v is nil or names a version.
func (c *constraints) version(v *string) {
	if v != nil && !aliasVersionRE.MatchString(*v) {
		c.pattern("functionVersion", *v, aliasVersionPattern)
	}
}

// routing reads the second version of an alias.
func routing(in *AliasRoutingConfiguration) (function.Routing, error) {
	const member = "routingConfig.additionalVersionWeights"
	if len(in.AdditionalVersionWeights) > 1 {
		return function.Routing{}, invalid("Number of items in AdditionalVersionWeights cannot be greater than 1")
	}
	for version, weight := range in.AdditionalVersionWeights {
		var c constraints
		shown := "{" + version + "=" + strconv.FormatFloat(weight, 'f', -1, 64) + "}"
		if !routingVersionRE.MatchString(version) {
			c.add(member, shown, "Map keys must satisfy constraint: [Member must have length less than or equal to 1024, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: "+routingVersionPattern+", Member must not be null]")
		}
		if !(weight >= 0 && weight <= 1) {
			c.add(member, shown, "Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have value greater than or equal to 0.0, Member must not be null]")
		}
		return function.Routing{Version: version, Weight: weight}, c.err()
	}
	return function.Routing{}, nil
}

// alias shows an alias.
func (d *Door) alias(name string, a *function.Alias) *AliasConfiguration {
	c := &AliasConfiguration{
		AliasArn: new(d.arn(name, a.Name)), Name: new(a.Name), FunctionVersion: new(a.Version),
		Description: new(a.Description), RevisionId: new(a.Revision),
	}
	if r := a.Routing; r.Version != "" {
		c.RoutingConfig = &AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{r.Version: r.Weight}}
	}
	return c
}

// failAlias is fail for operations on an alias, which t is.
func (d *Door) failAlias(t target, err error) error {
	switch reasonOf(err) {
	case function.ReasonNoAlias:
		return wire.Errorf(CodeResourceNotFound, "Alias not found: %s", t.arn)
	case function.ReasonAliasExists:
		return wire.Errorf(CodeResourceConflict, "Alias already exists: %s", t.arn)
	case function.ReasonLatestSplit:
		return invalid("$LATEST is not supported for an alias pointing to more than 1 version")
	}
	return d.fail(t, err)
}

// reasonOf returns the reason of an error of the core, "" if it has none.
func reasonOf(err error) string {
	if e := errs.Of(err); e != nil {
		return e.Reason
	}
	return ""
}
