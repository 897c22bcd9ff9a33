package sqs

import (
	"context"
	"encoding/base64"
	"maps"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/queue"
)

// CreateQueue makes a queue, or finds one that has the attributes given.
func (d *Door) CreateQueue(ctx context.Context, in *CreateQueueInput) (*CreateQueueOutput, error) {
	name := wire.Value(in.QueueName)
	if name == "" {
		return nil, missing("QueueName")
	}
	if !queue.ValidName(name) {
		return nil, invalid("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")
	}
	c := queue.DefaultConfig()
	if err := d.apply(&c, in.Attributes); err != nil {
		return nil, err
	}
	if c.FIFO != strings.HasSuffix(name, queue.FIFOSuffix) {
		return nil, invalid("The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length.")
	}
	i, err := d.o.Queues.Create(ctx, name, c, in.Tags)
	if e := errs.Of(err); e != nil && e.Reason == queue.ReasonExists {
		before := d.attributes(i)
		if err := d.apply(&i.Config, in.Attributes); err != nil {
			return nil, err
		}
		if !maps.Equal(before, d.attributes(i)) {
			return nil, wire.Errorf(CodeQueueNameExists, "A queue already exists with the same name and a different value for an attribute.")
		}
		err = nil
	}
	if err != nil {
		return nil, fail(err)
	}
	return &CreateQueueOutput{QueueUrl: new(d.url(ctx, name))}, nil
}

// DeleteQueue deletes a queue with its messages.
func (d *Door) DeleteQueue(ctx context.Context, in *DeleteQueueInput) (*DeleteQueueOutput, error) {
	name, err := d.name(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	return nil, fail(d.o.Queues.Remove(ctx, name))
}

// GetQueueUrl returns a queue's URL.
func (d *Door) GetQueueUrl(ctx context.Context, in *GetQueueUrlInput) (*GetQueueUrlOutput, error) {
	name := wire.Value(in.QueueName)
	if name == "" {
		return nil, missing("QueueName")
	}
	if owner := wire.Value(in.QueueOwnerAWSAccountId); owner != "" && owner != d.o.Account {
		return nil, noQueue()
	}
	if _, err := d.o.Queues.Get(name); err != nil {
		return nil, fail(err)
	}
	return &GetQueueUrlOutput{QueueUrl: new(d.url(ctx, name))}, nil
}

// GetQueueAttributes shows a queue.
func (d *Door) GetQueueAttributes(_ context.Context, in *GetQueueAttributesInput) (*GetQueueAttributesOutput, error) {
	name, err := d.name(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	i, err := d.o.Queues.Get(name)
	if err != nil {
		return nil, fail(err)
	}
	a, err := pick(d.attributes(i), in.AttributeNames)
	if err != nil {
		return nil, err
	}
	return &GetQueueAttributesOutput{Attributes: a}, nil
}

// SetQueueAttributes changes a queue's attributes.
func (d *Door) SetQueueAttributes(ctx context.Context, in *SetQueueAttributesInput) (*SetQueueAttributesOutput, error) {
	name, err := d.name(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	if len(in.Attributes) == 0 {
		return nil, missing("Attribute.Name")
	}
	return nil, fail(d.o.Queues.Change(ctx, name, func(c *queue.Config) error { return d.apply(c, in.Attributes) }))
}

// maxPage is the longest page of a list.
const maxPage = 1000

// page returns one page of sorted names, and the token of the next.
func page(names []string, most *int32, token *string) ([]string, *string, error) {
	n := maxPage
	if most != nil {
		if n = int(*most); n < 1 || n > maxPage {
			return nil, nil, outOf(n, "MaxResults", 1, maxPage)
		}
	}
	if t := wire.Value(token); t != "" {
		after, err := base64.RawURLEncoding.DecodeString(t)
		if err != nil {
			return nil, nil, invalid("Invalid or expired next token.")
		}
		for len(names) > 0 && names[0] <= string(after) {
			names = names[1:]
		}
	}
	if len(names) <= n {
		return names, nil, nil
	}
	names = names[:n]
	if most == nil { // as SQS does: who asks for no pages gets one
		return names, nil, nil
	}
	return names, new(base64.RawURLEncoding.EncodeToString([]byte(names[n-1]))), nil
}

func (d *Door) urls(ctx context.Context, names []string) []string {
	var urls []string
	for _, n := range names {
		urls = append(urls, d.url(ctx, n))
	}
	return urls
}

// ListQueues lists queues by name.
func (d *Door) ListQueues(ctx context.Context, in *ListQueuesInput) (*ListQueuesOutput, error) {
	names, next, err := page(d.o.Queues.Names(wire.Value(in.QueueNamePrefix)), in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	return &ListQueuesOutput{QueueUrls: d.urls(ctx, names), NextToken: next}, nil
}

// ListDeadLetterSourceQueues lists the queues whose dead letters go to a queue.
func (d *Door) ListDeadLetterSourceQueues(ctx context.Context, in *ListDeadLetterSourceQueuesInput) (*ListDeadLetterSourceQueuesOutput, error) {
	name, err := d.name(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	if _, err := d.o.Queues.Get(name); err != nil {
		return nil, fail(err)
	}
	names, next, err := page(d.o.Queues.DeadLetterSources(name), in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &ListDeadLetterSourceQueuesOutput{QueueUrls: d.urls(ctx, names), NextToken: next}
	if out.QueueUrls == nil {
		out.QueueUrls = []string{}
	}
	return out, nil
}

// PurgeQueue deletes all messages of a queue.
func (d *Door) PurgeQueue(ctx context.Context, in *PurgeQueueInput) (*PurgeQueueOutput, error) {
	name, err := d.name(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	err = d.o.Queues.Purge(ctx, name)
	if e := errs.Of(err); e != nil && e.Reason == queue.ReasonPurging {
		return nil, wire.Errorf(CodePurgeQueueInProgress, "Only one PurgeQueue operation on %s is allowed every 60 seconds.", name)
	}
	return nil, fail(err)
}

// TagQueue sets tags of a queue.
func (d *Door) TagQueue(ctx context.Context, in *TagQueueInput) (*TagQueueOutput, error) {
	name, err := d.name(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	if len(in.Tags) == 0 {
		return nil, missing("Tags")
	}
	return nil, fail(d.o.Queues.Tag(ctx, name, in.Tags, nil))
}

// UntagQueue removes tags of a queue.
func (d *Door) UntagQueue(ctx context.Context, in *UntagQueueInput) (*UntagQueueOutput, error) {
	name, err := d.name(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	if len(in.TagKeys) == 0 {
		return nil, missing("TagKeys")
	}
	return nil, fail(d.o.Queues.Tag(ctx, name, nil, in.TagKeys))
}

// ListQueueTags shows a queue's tags.
func (d *Door) ListQueueTags(_ context.Context, in *ListQueueTagsInput) (*ListQueueTagsOutput, error) {
	name, err := d.name(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	i, err := d.o.Queues.Get(name)
	if err != nil {
		return nil, fail(err)
	}
	if len(i.Tags) == 0 {
		return &ListQueueTagsOutput{}, nil
	}
	return &ListQueueTagsOutput{Tags: i.Tags}, nil
}
