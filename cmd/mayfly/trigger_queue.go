package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/spf13/pflag"
)

// queueTrigger leads messages of a queue to a function.
type queueTrigger struct {
	queue       string
	batch       int32
	window      time.Duration
	filters     []string
	partial     bool
	concurrency int32
}

func (q *queueTrigger) register(f *pflag.FlagSet) string {
	f.StringVar(&q.queue, "queue", "", "wake it with the messages of this queue")
	f.Int32Var(&q.batch, "batch", 10, "queue: messages of a call at most")
	f.DurationVar(&q.window, "window", 0, "queue: how long a batch is gathered (default: what is there is called with at once)")
	f.StringArrayVar(&q.filters, "filter", nil, "queue: pattern; messages that match none are dropped; may be repeated")
	f.BoolVar(&q.partial, "partial", false, "queue: the answer may name failed messages in batchItemFailures")
	f.Int32Var(&q.concurrency, "concurrency", 0, "queue: calls at one time at most, from 2 (default: as many as it takes)")
	return "queue"
}

func (q *queueTrigger) add(ctx context.Context, cl *client, function, qualifier string) (triggerLine, error) {
	_, a, err := cl.queueAttributes(ctx, q.queue)
	if err != nil {
		return triggerLine{}, err
	}
	if qualifier != "" {
		function += ":" + qualifier
	}
	in := &lambda.CreateEventSourceMappingInput{
		FunctionName: &function, EventSourceArn: aws.String(a["QueueArn"]), BatchSize: &q.batch,
		MaximumBatchingWindowInSeconds: aws.Int32(int32(q.window / time.Second)),
	}
	if len(q.filters) > 0 {
		in.FilterCriteria = &types.FilterCriteria{}
		for _, f := range q.filters {
			in.FilterCriteria.Filters = append(in.FilterCriteria.Filters, types.Filter{Pattern: &f})
		}
	}
	if q.partial {
		in.FunctionResponseTypes = []types.FunctionResponseType{types.FunctionResponseTypeReportBatchItemFailures}
	}
	if q.concurrency > 0 {
		in.ScalingConfig = &types.ScalingConfig{MaximumConcurrency: &q.concurrency}
	}
	m, err := cl.CreateEventSourceMapping(ctx, in)
	if err != nil {
		return triggerLine{}, err
	}
	return queueTriggerLine(&types.EventSourceMappingConfiguration{
		UUID: m.UUID, FunctionArn: m.FunctionArn, EventSourceArn: m.EventSourceArn, BatchSize: m.BatchSize,
		MaximumBatchingWindowInSeconds: m.MaximumBatchingWindowInSeconds, State: m.State, FilterCriteria: m.FilterCriteria,
		FunctionResponseTypes: m.FunctionResponseTypes, ScalingConfig: m.ScalingConfig,
	}), nil
}

// queueTriggerLine shows a mapping.
func queueTriggerLine(m *types.EventSourceMappingConfiguration) triggerLine {
	_, function, _ := strings.Cut(aws.ToString(m.FunctionArn), ":function:")
	source := aws.ToString(m.EventSourceArn)
	how := []string{"up to " + numbered(int(aws.ToInt32(m.BatchSize)), "message")}
	if w := aws.ToInt32(m.MaximumBatchingWindowInSeconds); w > 0 {
		how = append(how, fmt.Sprintf("gathered for %d s", w))
	}
	if m.FilterCriteria != nil {
		how = append(how, numbered(len(m.FilterCriteria.Filters), "filter"))
	}
	if len(m.FunctionResponseTypes) > 0 {
		how = append(how, "partial failures")
	}
	if m.ScalingConfig != nil {
		how = append(how, numbered(int(aws.ToInt32(m.ScalingConfig.MaximumConcurrency)), "call")+" at one time")
	}
	return triggerLine{
		ID: aws.ToString(m.UUID), Function: function, Source: "queue " + source[strings.LastIndexByte(source, ':')+1:],
		Detail: strings.Join(how, ", "), State: aws.ToString(m.State), Result: aws.ToString(m.LastProcessingResult),
	}
}

func (*queueTrigger) list(ctx context.Context, cl *client, function string) ([]triggerLine, error) {
	var lines []triggerLine
	in := &lambda.ListEventSourceMappingsInput{}
	if function != "" {
		in.FunctionName = &function
	}
	pages := lambda.NewListEventSourceMappingsPaginator(cl, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for i := range page.EventSourceMappings {
			lines = append(lines, queueTriggerLine(&page.EventSourceMappings[i]))
		}
	}
	return lines, nil
}

func (*queueTrigger) remove(ctx context.Context, cl *client, id string) (bool, error) {
	_, err := cl.DeleteEventSourceMapping(ctx, &lambda.DeleteEventSourceMappingInput{UUID: &id})
	var none *types.ResourceNotFoundException
	if errors.As(err, &none) {
		return false, nil
	}
	return err == nil, err
}
