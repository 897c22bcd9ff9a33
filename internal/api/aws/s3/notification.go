package s3

import (
	"context"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/mayfly-dev/mayfly/internal/api/aws/arn"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/bucket"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
)

// Rules keeps what is to be told of the changes in each bucket.
type Rules interface {
	Set(ctx context.Context, bucket string, rules []bucket.Rule) error
	Rules(bucket string) []bucket.Rule
}

// DoorOptions are what a Door is made of. All are required.
type DoorOptions struct {
	Store   *Store
	Rules   Rules
	Region  string
	Account string
	// Check returns an error of kind NotFound for a target that does not exist.
	Check func(ctx context.Context, t event.Target) error
}

// Door serves the operations on notifications.
type Door struct{ o DoorOptions }

var _ API = (*Door)(nil)

// NewDoor returns a Door.
func NewDoor(o DoorOptions) *Door { return &Door{o} }

// Service returns the service for a wire.Mux.
func (d *Door) Service() *wire.Service {
	s := NewService(d)
	s.BareErrors = true
	s.Signing = wire.SigningRules{RawPath: true, UnsignedPayload: true}
	s.Namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
	return s
}

// defaultBus is the name of the bus that gets the events of buckets.
const defaultBus = "default"

// busRule is the id of the rule for the bus, which has none of its own.
const busRule = "EventBridge"

// names of events on the wire, without their "s3:".
var names = map[bucket.Event]string{
	bucket.AnyCreated: "ObjectCreated:*",
	bucket.Put:        "ObjectCreated:Put",
	bucket.Post:       "ObjectCreated:Post",
	bucket.Copy:       "ObjectCreated:Copy",
	bucket.Completed:  "ObjectCreated:CompleteMultipartUpload",
	bucket.AnyRemoved: "ObjectRemoved:*",
	bucket.Deleted:    "ObjectRemoved:Delete",
	bucket.Marked:     "ObjectRemoved:DeleteMarkerCreated",
}

// EventName returns an event's name in its record: "ObjectCreated:Put".
func EventName(e bucket.Event) string { return names[e] }

func invalid(format string, args ...any) *wire.Error {
	e := wire.Errorf("InvalidArgument", format, args...)
	e.Status = http.StatusBadRequest
	return e
}

// exists returns the bucket's name, or the error for one that does not exist.
func (d *Door) exists(name, owner *string) (string, error) {
	if !d.o.Store.Exists(wire.Value(name)) {
		return "", &wire.Error{Code: "NoSuchBucket", Status: http.StatusNotFound, Message: "The specified bucket does not exist"}
	}
	if owner != nil && *owner != d.o.Account {
		return "", &wire.Error{Code: "AccessDenied", Status: http.StatusForbidden, Message: "Access Denied"}
	}
	return *name, nil
}

// GetBucketNotificationConfiguration implements API.
func (d *Door) GetBucketNotificationConfiguration(_ context.Context, in *GetBucketNotificationConfigurationInput) (*GetBucketNotificationConfigurationOutput, error) {
	name, err := d.exists(in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	out := &NotificationConfiguration{}
	for _, r := range d.o.Rules.Rules(name) {
		var events []string
		for _, e := range r.Events {
			events = append(events, "s3:"+names[e])
		}
		id := r.ID
		switch target := d.target(r.Target); r.Target.Kind {
		case event.Function:
			out.LambdaFunctionConfigurations = append(out.LambdaFunctionConfigurations,
				LambdaFunctionConfiguration{Id: &id, Events: events, Filter: filterOf(r), LambdaFunctionArn: &target})
		case event.Queue:
			out.QueueConfigurations = append(out.QueueConfigurations,
				QueueConfiguration{Id: &id, Events: events, Filter: filterOf(r), QueueArn: &target})
		case event.Bus:
			out.EventBridgeConfiguration = &EventBridgeConfiguration{}
		}
	}
	return out, nil
}

// target returns the ARN of a target.
func (d *Door) target(t event.Target) string {
	if t.Kind == event.Queue {
		return "arn:" + arn.Partition + ":sqs:" + d.o.Region + ":" + d.o.Account + ":" + t.Name
	}
	return arn.Function{Region: d.o.Region, Account: d.o.Account, Name: t.Name, Qualifier: t.Qualifier}.String()
}

func filterOf(r bucket.Rule) *NotificationConfigurationFilter {
	var rules []FilterRule
	for _, part := range []struct{ name, value string }{{"Prefix", r.Prefix}, {"Suffix", r.Suffix}} {
		if part.value != "" {
			rules = append(rules, FilterRule{Name: part.name, Value: &part.value})
		}
	}
	if rules == nil {
		return nil
	}
	return &NotificationConfigurationFilter{Key: &S3KeyFilter{FilterRules: rules}}
}

// PutBucketNotificationConfiguration implements API.
func (d *Door) PutBucketNotificationConfiguration(ctx context.Context, in *PutBucketNotificationConfigurationInput) (*PutBucketNotificationConfigurationOutput, error) {
	name, err := d.exists(in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if in.NotificationConfiguration == nil {
		return nil, &wire.Error{Code: "MalformedXML", Status: http.StatusBadRequest, Message: "The XML you provided was not well-formed or did not validate against our published schema"}
	}
	rules, err := d.rules(in.NotificationConfiguration)
	if err != nil {
		return nil, err
	}
	if !wire.Value(in.SkipDestinationValidation) {
		if err := d.reachable(ctx, rules); err != nil {
			return nil, err
		}
	}
	err = d.o.Rules.Set(ctx, name, rules)
	switch e := errs.Of(err); {
	case err == nil:
		return nil, nil
	case e.Reason == bucket.ReasonOverlap:
		return nil, invalid("Configurations overlap. Configurations on the same bucket cannot share a common event type.")
	case e.Kind == errs.Invalid:
		return nil, invalid("%s", e.Message)
	case e.Kind == errs.Unavailable:
		return nil, &wire.Error{Code: "ServiceUnavailable", Status: http.StatusServiceUnavailable, Message: "Please reduce your request rate.", Err: err}
	}
	return nil, err
}

// rules reads a configuration.
func (d *Door) rules(c *NotificationConfiguration) (rules []bucket.Rule, err error) {
	add := func(id *string, events []string, filter *NotificationConfigurationFilter, t event.Target) error {
		r := bucket.Rule{ID: wire.Value(id), Target: t}
		if r.ID == "" {
			r.ID = uuid.NewString()
		}
		for _, e := range events {
			known, ok := eventOf(e)
			if !ok {
				return invalid("The event '%.100s' is not supported for notifications", e)
			}
			r.Events = append(r.Events, known)
		}
		if r.Prefix, r.Suffix, err = readFilter(filter); err != nil {
			return err
		}
		rules = append(rules, r)
		return nil
	}
	for _, f := range c.LambdaFunctionConfigurations {
		t, err := d.function(wire.Value(f.LambdaFunctionArn))
		if err == nil {
			err = add(f.Id, f.Events, f.Filter, t)
		}
		if err != nil {
			return nil, err
		}
	}
	for _, q := range c.QueueConfigurations {
		t, err := d.queue(wire.Value(q.QueueArn))
		if err == nil {
			err = add(q.Id, q.Events, q.Filter, t)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(c.TopicConfigurations) > 0 {
		return nil, invalid("This node has no topics: configure a function, a queue or the event bus.")
	}
	if c.EventBridgeConfiguration != nil {
		rules = append(rules, bucket.Rule{
			ID: busRule, Events: []bucket.Event{bucket.AnyCreated, bucket.AnyRemoved},
			Target: event.Target{Kind: event.Bus, Name: defaultBus},
		})
	}
	return rules, nil
}

func eventOf(wireName string) (bucket.Event, bool) {
	plain, ok := strings.CutPrefix(wireName, "s3:")
	for e, name := range names {
		if ok && name == plain {
			return e, true
		}
	}
	return "", false
}

func readFilter(f *NotificationConfigurationFilter) (prefix, suffix string, err error) {
	if f == nil || f.Key == nil {
		return "", "", nil
	}
	seen := map[string]bool{}
	for _, rule := range f.Key.FilterRules {
		name := strings.ToLower(rule.Name)
		switch {
		case name != FilterRuleNamePrefix && name != FilterRuleNameSuffix:
			return "", "", invalid("filter rule name must be either prefix or suffix")
		case seen[name]:
			return "", "", invalid("Cannot specify more than one %s rule in a filter.", name)
		case len(wire.Value(rule.Value)) > 1024:
			return "", "", invalid("Size of filter rule value cannot exceed 1024 bytes in UTF-8 representation")
		}
		seen[name] = true
		if name == FilterRuleNamePrefix {
			prefix = wire.Value(rule.Value)
		} else {
			suffix = wire.Value(rule.Value)
		}
	}
	return prefix, suffix, nil
}

const notWellFormed = "The ARN is not well formed"

func (d *Door) function(name string) (event.Target, error) {
	f, ok := arn.Parse(name)
	if !ok || !strings.HasPrefix(name, "arn:") {
		return event.Target{}, invalid(notWellFormed)
	}
	if f.Region != d.o.Region {
		return event.Target{}, invalid("The notification destination service region is not valid for the bucket location constraint")
	}
	return event.Target{Kind: event.Function, Name: f.Name, Qualifier: f.Qualifier}, nil
}

func (d *Door) queue(name string) (event.Target, error) {
	parts := strings.SplitN(name, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "sqs" || parts[5] == "" {
		return event.Target{}, invalid(notWellFormed)
	}
	if parts[3] != d.o.Region {
		return event.Target{}, invalid("The notification destination service region is not valid for the bucket location constraint")
	}
	return event.Target{Kind: event.Queue, Name: parts[5]}, nil
}

// reachable refuses rules whose target does not exist.
func (d *Door) reachable(ctx context.Context, rules []bucket.Rule) error {
	for _, r := range rules {
		if err := d.o.Check(ctx, r.Target); err != nil {
			return invalid("Unable to validate the following destination configurations: %s: %s", d.target(r.Target), errs.Of(err).Message)
		}
	}
	return nil
}
