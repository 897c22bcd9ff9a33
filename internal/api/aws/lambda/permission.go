package lambda

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Policy is what AddPermission has said about a function. It is kept and shown,
// because every deployment tool sets it, but decides nothing: whoever holds one of
// the node's keys may call all functions, and a URL's AuthType alone says who may
// call it.
type Policy struct {
	Statements map[string][]Statement `json:"statements"` // by qualifier, "" for the function itself
	Revision   string                 `json:"revision"`
}

// Statement is one permission, in the form of an IAM policy.
type Statement struct {
	Sid       string                       `json:"Sid"`
	Effect    string                       `json:"Effect"`
	Principal any                          `json:"Principal"`
	Action    string                       `json:"Action"`
	Resource  string                       `json:"Resource"`
	Condition map[string]map[string]string `json:"Condition,omitempty"`
}

const statementPattern = `([a-zA-Z0-9-_]+)`

var statementRE = regexp.MustCompile(`^[a-zA-Z0-9-_]{1,100}$`)

// AddPermission keeps a statement of a function's policy.
func (d *Door) AddPermission(ctx context.Context, in *AddPermissionInput) (*AddPermissionOutput, error) {
	t, err := d.existing(in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	var c constraints
	if id := wire.Value(in.StatementId); !statementRE.MatchString(id) {
		c.pattern("statementId", id, statementPattern)
	}
	if in.Action == nil {
		c.null("action")
	}
	if in.Principal == nil {
		c.null("principal")
	}
	c.oneOf("functionUrlAuthType", in.FunctionUrlAuthType, FunctionUrlAuthTypeNone, FunctionUrlAuthTypeAwsIam)
	if err := c.err(); err != nil {
		return nil, err
	}
	s := d.statement(t, in)
	err = d.changePolicy(ctx, t, wire.Value(in.RevisionId), func(list []Statement) ([]Statement, error) {
		if slices.ContainsFunc(list, func(o Statement) bool { return o.Sid == s.Sid }) {
			return nil, wire.Errorf(CodeResourceConflict, "The statement id (%s) provided already exists. Please provide a new statement id, or remove the existing statement.", s.Sid)
		}
		return append(list, s), nil
	})
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return &AddPermissionOutput{Statement: new(string(b))}, nil
}

// existing is target for a function that must exist.
func (d *Door) existing(name, qualifier *string) (target, error) {
	t, err := d.target(name, qualifier)
	if err != nil {
		return t, err
	}
	if _, err := d.o.Functions.Get(t.name, t.qualifier); err != nil {
		return t, d.fail(t, err)
	}
	return t, nil
}

func (d *Door) statement(t target, in *AddPermissionInput) Statement {
	s := Statement{Sid: wire.Value(in.StatementId), Effect: "Allow", Action: wire.Value(in.Action), Resource: t.arn}
	switch p := wire.Value(in.Principal); {
	case p == "*":
		s.Principal = "*"
	case strings.HasSuffix(p, ".amazonaws.com"):
		s.Principal = map[string]string{"Service": p}
	default:
		s.Principal = map[string]string{"AWS": p}
	}
	condition := func(op, key, v string) {
		if v == "" {
			return
		}
		if s.Condition == nil {
			s.Condition = map[string]map[string]string{}
		}
		if s.Condition[op] == nil {
			s.Condition[op] = map[string]string{}
		}
		s.Condition[op][key] = v
	}
	condition("ArnLike", "AWS:SourceArn", wire.Value(in.SourceArn))
	condition("StringEquals", "AWS:SourceAccount", wire.Value(in.SourceAccount))
	condition("StringEquals", "aws:PrincipalOrgID", wire.Value(in.PrincipalOrgID))
	condition("StringEquals", "lambda:EventSourceToken", wire.Value(in.EventSourceToken))
	condition("StringEquals", "lambda:FunctionUrlAuthType", in.FunctionUrlAuthType)
	if wire.Value(in.InvokedViaFunctionUrl) {
		condition("Bool", "lambda:InvokedViaFunctionUrl", "true")
	}
	return s
}

// changePolicy replaces the statements that a function has for a qualifier.
func (d *Door) changePolicy(ctx context.Context, t target, revision string, change func([]Statement) ([]Statement, error)) error {
	edit := func(p *Policy) error {
		if revision != "" && revision != p.Revision {
			return wire.Errorf(CodePreconditionFailed, "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest Revision Id")
		}
		list, err := change(p.Statements[t.qualifier])
		if err != nil {
			return err
		}
		if p.Statements == nil {
			p.Statements = map[string][]Statement{}
		}
		p.Statements[t.qualifier] = list
		p.Revision = uuid.NewString()
		return nil
	}
	_, err := d.o.Policies.Change(ctx, t.name, edit)
	if errs.Is(err, errs.NotFound) {
		p := &Policy{}
		if err = edit(p); err == nil {
			err = d.o.Policies.Create(ctx, t.name, p)
		}
	}
	return d.fail(t, err)
}

// RemovePermission takes a statement out of a function's policy.
func (d *Door) RemovePermission(ctx context.Context, in *RemovePermissionInput) (*RemovePermissionOutput, error) {
	t, err := d.existing(in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	err = d.changePolicy(ctx, t, wire.Value(in.RevisionId), func(list []Statement) ([]Statement, error) {
		i := slices.IndexFunc(list, func(s Statement) bool { return s.Sid == wire.Value(in.StatementId) })
		if i < 0 {
			return nil, wire.Errorf(CodeResourceNotFound, "Statement %s is not found in resource policy.", wire.Value(in.StatementId))
		}
		return slices.Delete(list, i, i+1), nil
	})
	if err != nil {
		return nil, err
	}
	return &RemovePermissionOutput{}, nil
}

// GetPolicy shows a function's policy.
func (d *Door) GetPolicy(_ context.Context, in *GetPolicyInput) (*GetPolicyOutput, error) {
	t, err := d.existing(in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	p, err := d.o.Policies.Get(t.name)
	if err != nil || len(p.Statements[t.qualifier]) == 0 {
		return nil, wire.Errorf(CodeResourceNotFound, "The resource you requested does not exist.")
	}
	b, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Id": "default", "Statement": p.Statements[t.qualifier]})
	if err != nil {
		return nil, err
	}
	return &GetPolicyOutput{Policy: new(string(b)), RevisionId: new(p.Revision)}, nil
}

// forget removes what is kept beside a function that is gone.
func (d *Door) forget(ctx context.Context, name string) error {
	if err := d.o.URLs.DeleteAll(ctx, name); err != nil {
		return err
	}
	if err := d.o.Policies.Delete(ctx, name); err != nil && !errs.Is(err, errs.NotFound) {
		return err
	}
	if d.o.Deleted == nil {
		return nil
	}
	return d.o.Deleted(name)
}

// forgetAlias removes what is kept beside an alias that is gone.
func (d *Door) forgetAlias(ctx context.Context, t target) error {
	if err := d.o.URLs.Delete(ctx, t.name, t.qualifier); err != nil && !errs.Is(err, errs.NotFound) {
		return err
	}
	p, err := d.o.Policies.Get(t.name)
	if err != nil || len(p.Statements[t.qualifier]) == 0 {
		return nil // it has none
	}
	return d.changePolicy(ctx, t, "", func([]Statement) ([]Statement, error) { return nil, nil })
}
