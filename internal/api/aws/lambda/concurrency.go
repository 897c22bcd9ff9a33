package lambda

import (
	"context"
	"strconv"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/api/aws/arn"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/function"
)

// whole is unqualified for operations that Lambda words another way.
func (d *Door) whole(name *string) (target, error) {
	t, err := d.target(name, nil)
	if err == nil && t.qualifier != "" {
		return target{}, invalid("This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. Please specify either a function name or an unqualified function ARN.")
	}
	return t, err
}

// PutFunctionConcurrency reserves places for a function's calls, and allows it
// no others.
func (d *Door) PutFunctionConcurrency(ctx context.Context, in *PutFunctionConcurrencyInput) (*PutFunctionConcurrencyOutput, error) {
	t, err := d.whole(in.FunctionName)
	if err != nil {
		return nil, err
	}
	if in.ReservedConcurrentExecutions == nil {
		var c constraints
		c.null("reservedConcurrentExecutions")
		return nil, c.err()
	}
	if err := d.o.Functions.Reserve(ctx, t.name, new(int(*in.ReservedConcurrentExecutions))); err != nil {
		return nil, d.failCapacity(t, *in.ReservedConcurrentExecutions, err)
	}
	return &PutFunctionConcurrencyOutput{ReservedConcurrentExecutions: in.ReservedConcurrentExecutions}, nil
}

// GetFunctionConcurrency shows what is reserved for a function.
func (d *Door) GetFunctionConcurrency(_ context.Context, in *GetFunctionConcurrencyInput) (*GetFunctionConcurrencyOutput, error) {
	t, err := d.whole(in.FunctionName)
	if err != nil {
		return nil, err
	}
	n, err := d.reserved(t)
	return &GetFunctionConcurrencyOutput{ReservedConcurrentExecutions: n}, err
}

func (d *Door) reserved(t target) (*int32, error) {
	n, err := d.o.Functions.Reserved(t.name)
	if err != nil || n == nil {
		return nil, d.fail(t, err)
	}
	return new(int32(*n)), nil
}

// DeleteFunctionConcurrency ends a function's reservation.
func (d *Door) DeleteFunctionConcurrency(ctx context.Context, in *DeleteFunctionConcurrencyInput) (*DeleteFunctionConcurrencyOutput, error) {
	t, err := d.whole(in.FunctionName)
	if err != nil {
		return nil, err
	}
	if err := d.o.Functions.Reserve(ctx, t.name, nil); err != nil {
		return nil, d.fail(t, err)
	}
	return &DeleteFunctionConcurrencyOutput{}, nil
}

// provisionable reads the version or alias that a request names.
func (d *Door) provisionable(name, qualifier *string) (target, error) {
	if qualifier == nil {
		var c constraints
		c.null("qualifier")
		return target{}, c.err()
	}
	return d.target(name, qualifier)
}

// published is provisionable without $LATEST.
func (d *Door) published(name, qualifier *string) (target, error) {
	t, err := d.provisionable(name, qualifier)
	if err == nil && (t.qualifier == function.Latest || t.qualifier == "") {
		return target{}, invalid("The function resource provided must be an alias or a published version.")
	}
	return t, err
}

// PutProvisionedConcurrencyConfig keeps instances of a version ready for calls.
func (d *Door) PutProvisionedConcurrencyConfig(ctx context.Context, in *PutProvisionedConcurrencyConfigInput) (*PutProvisionedConcurrencyConfigOutput, error) {
	n := in.ProvisionedConcurrentExecutions
	var c constraints
	switch {
	case n == nil:
		c.null("provisionedConcurrentExecutions")
	case *n < 1:
		c.add("provisionedConcurrentExecutions", strconv.Itoa(int(*n)), "Member must have value greater than or equal to 1")
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	t, err := d.provisionable(in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	if err := d.o.Functions.Provision(ctx, t.name, t.qualifier, int(*n)); err != nil {
		return nil, d.failCapacity(t, *n, err)
	}
	p, err := d.provisioning(t)
	if err != nil {
		return nil, err
	}
	s := d.status(p)
	return &PutProvisionedConcurrencyConfigOutput{
		RequestedProvisionedConcurrentExecutions: s.RequestedProvisionedConcurrentExecutions,
		AllocatedProvisionedConcurrentExecutions: s.AllocatedProvisionedConcurrentExecutions,
		AvailableProvisionedConcurrentExecutions: s.AvailableProvisionedConcurrentExecutions,
		LastModified:                             s.LastModified, Status: s.Status, StatusReason: s.StatusReason,
	}, nil
}

// GetProvisionedConcurrencyConfig shows how far provisioning has come.
func (d *Door) GetProvisionedConcurrencyConfig(_ context.Context, in *GetProvisionedConcurrencyConfigInput) (*GetProvisionedConcurrencyConfigOutput, error) {
	t, err := d.published(in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	p, err := d.provisioning(t)
	if err != nil {
		return nil, err
	}
	return d.status(p), nil
}

func (d *Door) provisioning(t target) (function.Provisioning, error) {
	p, err := d.o.Functions.Provisioning(t.name, t.qualifier)
	if err != nil {
		return p, d.failCapacity(t, 0, err)
	}
	return p, nil
}

// ListProvisionedConcurrencyConfigs lists what is provisioned for a function.
func (d *Door) ListProvisionedConcurrencyConfigs(_ context.Context, in *ListProvisionedConcurrencyConfigsInput) (*ListProvisionedConcurrencyConfigsOutput, error) {
	t, err := d.unqualified(in.FunctionName)
	if err != nil {
		return nil, err
	}
	size, err := pageSize(in.MaxItems, maxPage)
	if err != nil {
		return nil, err
	}
	after, err := readMarker(in.Marker, arn.ValidQualifier)
	if err != nil {
		return nil, err
	}
	all, err := d.o.Functions.Provisionings(t.name)
	if err != nil {
		return nil, d.fail(t, err)
	}
	out := &ListProvisionedConcurrencyConfigsOutput{ProvisionedConcurrencyConfigs: []ProvisionedConcurrencyConfigListItem{}}
	last := ""
	for _, p := range all {
		if p.Qualifier <= after {
			continue
		}
		if len(out.ProvisionedConcurrencyConfigs) == size {
			out.NextMarker = marker(last)
			break
		}
		last = p.Qualifier
		s := d.status(p)
		out.ProvisionedConcurrencyConfigs = append(out.ProvisionedConcurrencyConfigs, ProvisionedConcurrencyConfigListItem{
			FunctionArn:                              new(d.arn(t.name, p.Qualifier)),
			RequestedProvisionedConcurrentExecutions: s.RequestedProvisionedConcurrentExecutions,
			AllocatedProvisionedConcurrentExecutions: s.AllocatedProvisionedConcurrentExecutions,
			AvailableProvisionedConcurrentExecutions: s.AvailableProvisionedConcurrentExecutions,
			LastModified:                             s.LastModified, Status: s.Status, StatusReason: s.StatusReason,
		})
	}
	return out, nil
}

// DeleteProvisionedConcurrencyConfig lets provisioned instances go. Where none
// are provisioned that is no error.
func (d *Door) DeleteProvisionedConcurrencyConfig(ctx context.Context, in *DeleteProvisionedConcurrencyConfigInput) (*DeleteProvisionedConcurrencyConfigOutput, error) {
	t, err := d.published(in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	if err := d.o.Functions.Provision(ctx, t.name, t.qualifier, 0); err != nil {
		return nil, d.fail(t, err)
	}
	return &DeleteProvisionedConcurrencyConfigOutput{}, nil
}

// provisionedLayout is how Lambda writes LastModified of what is provisioned.
const provisionedLayout = "2006-01-02T15:04:05+0000"

// status shows how far provisioning has come, over both versions of an alias.
func (d *Door) status(p function.Provisioning) *GetProvisionedConcurrencyConfigOutput {
	var allocated, available int
	var trouble []string
	for _, part := range p.Parts {
		r := d.o.Capacity.Ready(part.Version)
		allocated += min(part.Ready, r.Allocated)
		available += min(part.Ready, r.Available)
		if r.Trouble != "" {
			trouble = append(trouble, r.Trouble)
		}
	}
	s := &GetProvisionedConcurrencyConfigOutput{
		RequestedProvisionedConcurrentExecutions: new(int32(p.Instances)),
		AllocatedProvisionedConcurrentExecutions: new(int32(allocated)),
		AvailableProvisionedConcurrentExecutions: new(int32(available)),
		LastModified:                             new(p.Modified.UTC().Format(provisionedLayout)),
		Status:                                   ProvisionedConcurrencyStatusEnumInProgress,
	}
	switch {
	case allocated >= p.Instances:
		s.Status = ProvisionedConcurrencyStatusEnumReady
	case len(trouble) > 0:
		s.Status, s.StatusReason = ProvisionedConcurrencyStatusEnumFailed, new(strings.Join(trouble, "; "))
	}
	return s
}

// PutFunctionScalingConfig bounds the instances of a published version.
func (d *Door) PutFunctionScalingConfig(ctx context.Context, in *PutFunctionScalingConfigInput) (*PutFunctionScalingConfigOutput, error) {
	t, err := d.published(in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	var s function.Scaling
	if c := in.FunctionScalingConfig; c != nil {
		s = function.Scaling{Min: count(c.MinExecutionEnvironments), Max: count(c.MaxExecutionEnvironments)}
	}
	if err := d.o.Functions.Scale(ctx, t.name, t.qualifier, s); err != nil {
		return nil, d.fail(t, err)
	}
	v, err := d.o.Functions.Get(t.name, t.qualifier)
	if err != nil {
		return nil, d.fail(t, err)
	}
	return &PutFunctionScalingConfigOutput{FunctionState: string(v.State)}, nil
}

// GetFunctionScalingConfig shows the bounds of a published version. They apply
// from the moment they are set.
func (d *Door) GetFunctionScalingConfig(_ context.Context, in *GetFunctionScalingConfigInput) (*GetFunctionScalingConfigOutput, error) {
	t, err := d.published(in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	s, err := d.o.Functions.Scaling(t.name, t.qualifier)
	if err != nil {
		return nil, d.fail(t, err)
	}
	out := &GetFunctionScalingConfigOutput{FunctionArn: new(t.arn)}
	if s != (function.Scaling{}) {
		c := &FunctionScalingConfig{MinExecutionEnvironments: small(s.Min), MaxExecutionEnvironments: small(s.Max)}
		out.RequestedFunctionScalingConfig, out.AppliedFunctionScalingConfig = c, c
	}
	return out, nil
}

func count(n *int32) *int {
	if n == nil {
		return nil
	}
	return new(int(*n))
}

func small(n *int) *int32 {
	if n == nil {
		return nil
	}
	return new(int32(*n))
}

// failCapacity is fail for operations that set calls or instances apart.
func (d *Door) failCapacity(t target, asked int32, err error) error {
	switch reasonOf(err) {
	case function.ReasonNoAlias:
		return wire.Errorf(CodeResourceNotFound, "Cannot find alias arn: %s", t.arn)
	case function.ReasonNotProvisioned:
		return wire.Errorf(CodeProvisionedConcurrencyConfigNotFound, "No Provisioned Concurrency Config found for this function")
	case function.ReasonUnpublished:
		return invalid("Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
	case function.ReasonProvisionedVersion:
		return wire.Errorf(CodeResourceConflict, "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version")
	case function.ReasonProvisionedAlias:
		return wire.Errorf(CodeResourceConflict, "Version is pointed by a Provisioned Concurrency alias")
	case function.ReasonOverReserved:
		return invalid("Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function")
	case function.ReasonUnderProvisioned:
		return invalid("ReservedConcurrentExecutions %d should not be lower than function's total provisioned concurrency [%s].", asked, err)
	case function.ReasonUnclaimed:
		what := "ReservedConcurrentExecutions"
		if t.qualifier != "" {
			what = "ConcurrentExecutions"
		}
		return invalid("Specified %s for function decreases account's UnreservedConcurrentExecution below its minimum value of [%s].", what, err)
	}
	return d.fail(t, err)
}
