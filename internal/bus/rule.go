package bus

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/event/pattern"
	"github.com/mayfly-dev/mayfly/internal/event/when"
)

// compile reads the rule's pattern and expression.
func (r *Rule) compile() (err error) {
	r.pattern, r.timer = nil, nil
	if r.Pattern != "" {
		if r.pattern, err = pattern.Compile([]byte(r.Pattern)); err != nil {
			return errs.Newf(errs.Invalid, "Event pattern is not valid. Reason: %w", err).WithReason(ReasonPattern)
		}
	}
	if r.Schedule != "" {
		if r.timer, err = when.Parse(r.Schedule); err != nil {
			return err
		}
		if r.timer.Once() {
			return errs.Newf(errs.Invalid, "a rule's timer is a rate(…) or a cron(…); for a single time make a schedule")
		}
	}
	return nil
}

// Rule returns a rule, or fails with errs.NotFound.
func (b *Buses) Rule(bus, name string) (*Rule, error) {
	if _, err := b.Get(bus); err != nil {
		return nil, err
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if r := b.rules[bus][name]; r != nil {
		return r, nil
	}
	return nil, errs.Newf(errs.NotFound, "Rule %s does not exist on EventBus %s.", name, bus).WithReason(ReasonRule)
}

// Rules returns the rules of a bus whose names begin with prefix, sorted.
func (b *Buses) Rules(bus, prefix string) (list []*Rule) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, name := range slices.Sorted(maps.Keys(b.rules[bus])) {
		if strings.HasPrefix(name, prefix) {
			list = append(list, b.rules[bus][name])
		}
	}
	return list
}

// PutRule makes a rule, or changes the one of that name, which keeps its targets
// and, unless r has some, its tags. It fails with errs.Invalid (ReasonPattern for
// the pattern), errs.NotFound for the bus, or errs.Conflict (ReasonLimit).
func (b *Buses) PutRule(ctx context.Context, r Rule) (*Rule, error) {
	if !ruleName.MatchString(r.Name) {
		return nil, errs.Newf(errs.Invalid, "%q is not the name of a rule: use up to 64 letters, digits, '.', '-' and '_'", r.Name)
	}
	if r.Pattern == "" && r.Schedule == "" {
		return nil, errs.Newf(errs.Invalid, "Parameter(s) EventPattern or ScheduleExpression must be specified.")
	}
	if r.Schedule != "" && r.Bus != Default {
		return nil, errs.Newf(errs.Invalid, "ScheduleExpression is supported only on the default event bus.")
	}
	if err := r.compile(); err != nil {
		return nil, err
	}
	b.writing.Lock()
	defer b.writing.Unlock()
	if _, err := b.Get(r.Bus); err != nil {
		return nil, err
	}
	r.Created = now()
	r.Since = r.Created
	if old, err := b.Rule(r.Bus, r.Name); err == nil {
		r.Targets, r.Created = old.Targets, old.Created
		if len(r.Tags) == 0 {
			r.Tags = old.Tags
		}
		if old.Schedule == r.Schedule && old.Disabled == r.Disabled {
			r.Since = old.Since // its timer goes on
		}
	} else if len(b.Rules(r.Bus, "")) >= MaxRules {
		return nil, errs.Newf(errs.Conflict, "The requested resource exceeds the maximum number allowed: %d rules on one event bus.", MaxRules).WithReason(ReasonLimit)
	}
	return &r, b.putRule(ctx, &r)
}

// putRule stores a rule; writing is held.
func (b *Buses) putRule(ctx context.Context, r *Rule) error {
	if err := b.store(ctx, ruleKey+r.Bus+"/"+r.Name, r); err != nil {
		return err
	}
	b.mu.Lock()
	b.keep(r)
	b.mu.Unlock()
	b.changed()
	return nil
}

// changeRule changes a rule with edit, which gets a copy whose slices and maps must
// be replaced, not written to. It fails with edit's error or errs.NotFound.
func (b *Buses) changeRule(ctx context.Context, bus, name string, edit func(r *Rule) error) error {
	b.writing.Lock()
	defer b.writing.Unlock()
	old, err := b.Rule(bus, name)
	if err != nil {
		return err
	}
	r := *old
	if err := edit(&r); err != nil {
		return err
	}
	return b.putRule(ctx, &r)
}

// Enable says whether a rule sends events.
func (b *Buses) Enable(ctx context.Context, bus, name string, on bool) error {
	return b.changeRule(ctx, bus, name, func(r *Rule) error {
		if r.Disabled && on {
			r.Since = now() // what was due meanwhile does not fire
		}
		r.Disabled = !on
		return nil
	})
}

// TagRule changes a rule's tags with edit, which gets a copy.
func (b *Buses) TagRule(ctx context.Context, bus, name string, edit func(map[string]string)) error {
	return b.changeRule(ctx, bus, name, func(r *Rule) error {
		r.Tags = edited(r.Tags, edit)
		return nil
	})
}

// DeleteRule removes a rule. One that does not exist is no error; one with targets
// can't be removed (errs.Conflict, ReasonTargets).
func (b *Buses) DeleteRule(ctx context.Context, bus, name string) error {
	b.writing.Lock()
	defer b.writing.Unlock()
	r, err := b.Rule(bus, name)
	switch {
	case errs.Is(err, errs.NotFound) && errs.Of(err).Reason == ReasonRule:
		return nil
	case err != nil:
		return err
	case len(r.Targets) > 0:
		return errs.Newf(errs.Conflict, "Rule can't be deleted since it has targets.").WithReason(ReasonTargets)
	}
	if err := b.o.Bucket.Delete(context.WithoutCancel(ctx), ruleKey+bus+"/"+name, 0); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.rules[bus], name)
	return nil
}

// PutTargets adds targets to a rule, in place of those of the same ids. It fails
// with errs.NotFound, errs.Invalid or errs.Conflict (ReasonLimit).
func (b *Buses) PutTargets(ctx context.Context, bus, rule string, targets []Target) error {
	for i := range targets {
		if err := targets[i].check(); err != nil {
			return err
		}
	}
	return b.changeRule(ctx, bus, rule, func(r *Rule) error {
		all := slices.Clone(r.Targets)
		for _, t := range targets {
			if i := slices.IndexFunc(all, func(o Target) bool { return o.ID == t.ID }); i >= 0 {
				all[i] = t
			} else {
				all = append(all, t)
			}
		}
		if len(all) > MaxTargets {
			return errs.Newf(errs.Conflict, "The requested resource exceeds the maximum number allowed: %d targets of a rule.", MaxTargets).WithReason(ReasonLimit)
		}
		r.Targets = all
		return nil
	})
}

// RemoveTargets removes targets of a rule; it returns the ids that it doesn't have.
func (b *Buses) RemoveTargets(ctx context.Context, bus, rule string, ids []string) (missing []string, err error) {
	err = b.changeRule(ctx, bus, rule, func(r *Rule) error {
		missing = nil
		left := slices.Clone(r.Targets)
		for _, id := range ids {
			before := len(left)
			if left = slices.DeleteFunc(left, func(t Target) bool { return t.ID == id }); len(left) == before {
				missing = append(missing, id)
			}
		}
		r.Targets = left
		return nil
	})
	return missing, err
}

// ByTarget returns the names of the bus's rules that send to a target, sorted.
func (b *Buses) ByTarget(bus string, to event.Target) (names []string) {
	for _, r := range b.Rules(bus, "") {
		if slices.ContainsFunc(r.Targets, func(t Target) bool { return t.To == to }) {
			names = append(names, r.Name)
		}
	}
	return names
}
