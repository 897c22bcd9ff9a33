package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/uuid"
	"github.com/spf13/pflag"
)

// bucketTrigger tells a function of the objects of a bucket.
type bucketTrigger struct {
	bucket string
	prefix string
	suffix string
	on     []string
}

// bucketEvents are the events of buckets in plain words.
var bucketEvents = map[string]types.Event{"created": types.EventS3ObjectCreated, "removed": types.EventS3ObjectRemoved}

func (b *bucketTrigger) register(f *pflag.FlagSet) string {
	f.StringVar(&b.bucket, "bucket", "", "tell it of the objects of this bucket")
	f.StringVar(&b.prefix, "prefix", "", "bucket: only of objects whose keys begin so")
	f.StringVar(&b.suffix, "suffix", "", "bucket: only of objects whose keys end so")
	f.StringSliceVar(&b.on, "on", []string{"created"}, "bucket: what it is told of: created, removed")
	return "bucket"
}

func (b *bucketTrigger) add(ctx context.Context, cl *client, function, qualifier string) (triggerLine, error) {
	var kinds []types.Event
	for _, word := range b.on {
		e, ok := bucketEvents[word]
		if !ok {
			return triggerLine{}, usageError{fmt.Errorf("--on takes created and removed, not %q", word)}
		}
		kinds = append(kinds, e)
	}
	get := &lambda.GetFunctionConfigurationInput{FunctionName: &function}
	if qualifier != "" {
		get.Qualifier = &qualifier
	}
	f, err := cl.GetFunctionConfiguration(ctx, get)
	if err != nil {
		return triggerLine{}, err
	}
	rule := types.LambdaFunctionConfiguration{
		Id: aws.String(uuid.NewString()), Events: kinds, LambdaFunctionArn: f.FunctionArn, Filter: filterOf(b.prefix, b.suffix),
	}
	err = cl.changeNotices(ctx, b.bucket, func(c *types.NotificationConfiguration) bool {
		c.LambdaFunctionConfigurations = append(c.LambdaFunctionConfigurations, rule)
		return true
	})
	return bucketTriggerLine(b.bucket, rule), err
}

func filterOf(prefix, suffix string) *types.NotificationConfigurationFilter {
	var rules []types.FilterRule
	if prefix != "" {
		rules = append(rules, types.FilterRule{Name: types.FilterRuleNamePrefix, Value: &prefix})
	}
	if suffix != "" {
		rules = append(rules, types.FilterRule{Name: types.FilterRuleNameSuffix, Value: &suffix})
	}
	if rules == nil {
		return nil
	}
	return &types.NotificationConfigurationFilter{Key: &types.S3KeyFilter{FilterRules: rules}}
}

// changeNotices changes what is told of a bucket, if change says that there is
// something to change.
func (cl *client) changeNotices(ctx context.Context, bucket string, change func(*types.NotificationConfiguration) bool) error {
	o := cl.objects()
	now, err := o.GetBucketNotificationConfiguration(ctx, &s3.GetBucketNotificationConfigurationInput{Bucket: &bucket})
	if err != nil {
		return err
	}
	c := &types.NotificationConfiguration{
		EventBridgeConfiguration: now.EventBridgeConfiguration, LambdaFunctionConfigurations: now.LambdaFunctionConfigurations,
		QueueConfigurations: now.QueueConfigurations,
	}
	if !change(c) {
		return nil
	}
	_, err = o.PutBucketNotificationConfiguration(ctx, &s3.PutBucketNotificationConfigurationInput{Bucket: &bucket, NotificationConfiguration: c})
	return err
}

// bucketTriggerLine shows a rule.
func bucketTriggerLine(bucket string, r types.LambdaFunctionConfiguration) triggerLine {
	_, function, _ := strings.Cut(aws.ToString(r.LambdaFunctionArn), ":function:")
	var words []string
	for _, e := range r.Events {
		word := strings.TrimPrefix(string(e), "s3:")
		for plain, known := range bucketEvents {
			if known == e {
				word = plain
			}
		}
		words = append(words, word)
	}
	how := strings.Join(words, ", ")
	if r.Filter != nil && r.Filter.Key != nil {
		for _, f := range r.Filter.Key.FilterRules {
			how += ", " + strings.ToLower(string(f.Name)) + " " + aws.ToString(f.Value)
		}
	}
	return triggerLine{ID: aws.ToString(r.Id), Function: function, Source: "bucket " + bucket, Detail: how, State: "Enabled"}
}

func (*bucketTrigger) list(ctx context.Context, cl *client, function string) ([]triggerLine, error) {
	buckets, err := cl.buckets(ctx, nil)
	if err != nil {
		return nil, err
	}
	var lines []triggerLine
	for _, b := range buckets {
		c, err := cl.objects().GetBucketNotificationConfiguration(ctx, &s3.GetBucketNotificationConfigurationInput{Bucket: &b.Name})
		if err != nil {
			return nil, err
		}
		for _, r := range c.LambdaFunctionConfigurations {
			line := bucketTriggerLine(b.Name, r)
			if name, _, _ := strings.Cut(line.Function, ":"); function == "" || name == function {
				lines = append(lines, line)
			}
		}
	}
	return lines, nil
}

func (*bucketTrigger) remove(ctx context.Context, cl *client, id string) (found bool, err error) {
	buckets, err := cl.buckets(ctx, nil)
	if err != nil {
		return false, err
	}
	var all error
	for _, b := range buckets {
		err := cl.changeNotices(ctx, b.Name, func(c *types.NotificationConfiguration) bool {
			before := len(c.LambdaFunctionConfigurations)
			c.LambdaFunctionConfigurations = slices.DeleteFunc(c.LambdaFunctionConfigurations, func(r types.LambdaFunctionConfiguration) bool {
				return aws.ToString(r.Id) == id
			})
			changed := len(c.LambdaFunctionConfigurations) < before
			found = found || changed
			return changed
		})
		all = errors.Join(all, err)
	}
	return found, all
}
