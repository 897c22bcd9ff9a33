package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// source makes an event for the clock, by one of the ways that wake functions.
type source struct {
	name string
	make func(ctx context.Context, function string, now int64) error
	lead func(ctx context.Context, function string) error // says once that it wakes the function; may be nil
}

func (n *node) sources() []source {
	const queue = "clock"
	bucket, rule := "clock", "clock"
	keys := credentials.StaticCredentialsProvider{Value: n.keys}
	objects := s3.New(s3.Options{Region: region, BaseEndpoint: &n.endpoint, Credentials: keys, UsePathStyle: true})
	buses := eventbridge.New(eventbridge.Options{Region: region, BaseEndpoint: &n.endpoint, Credentials: keys})
	url := n.endpoint + "/" + account + "/" + queue
	return []source{
		{
			name: "queue",
			lead: func(ctx context.Context, function string) error {
				if err := n.queue(ctx, "CreateQueue", map[string]any{"QueueName": queue}, nil); err != nil {
					return err
				}
				_, err := n.api.CreateEventSourceMapping(ctx, &lambda.CreateEventSourceMappingInput{
					FunctionName: &function, EventSourceArn: aws.String("arn:aws:sqs:" + region + ":" + account + ":" + queue),
				})
				return err
			},
			make: func(ctx context.Context, _ string, now int64) error {
				return n.queue(ctx, "SendMessage", map[string]any{"QueueUrl": url, "MessageBody": strconv.FormatInt(now, 10)}, nil)
			},
		},
		{
			name: "asynchronous call",
			make: func(ctx context.Context, function string, now int64) error {
				_, err := n.api.Invoke(ctx, &lambda.InvokeInput{FunctionName: &function, InvocationType: "Event", Payload: fmt.Appendf(nil, `{"made":%d}`, now)})
				return err
			},
		},
		{
			name: "bucket",
			lead: func(ctx context.Context, function string) error {
				if _, err := objects.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
					return err
				}
				_, err := objects.PutBucketNotificationConfiguration(ctx, &s3.PutBucketNotificationConfigurationInput{
					Bucket: &bucket, NotificationConfiguration: &types.NotificationConfiguration{LambdaFunctionConfigurations: []types.LambdaFunctionConfiguration{{
						LambdaFunctionArn: aws.String(functionARN(function)), Events: []types.Event{types.EventS3ObjectCreated},
					}}},
				})
				return err
			},
			make: func(ctx context.Context, _ string, now int64) error {
				_, err := objects.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: aws.String(strconv.FormatInt(now, 10)), Body: strings.NewReader("x")})
				return err
			},
		},
		{
			name: "event bus",
			lead: func(ctx context.Context, function string) error {
				if _, err := buses.PutRule(ctx, &eventbridge.PutRuleInput{Name: &rule, EventPattern: aws.String(`{"source":["bench"]}`)}); err != nil {
					return err
				}
				_, err := buses.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: &rule, Targets: []eventtypes.Target{{Id: &rule, Arn: aws.String(functionARN(function))}}})
				return err
			},
			make: func(ctx context.Context, _ string, now int64) error {
				_, err := buses.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []eventtypes.PutEventsRequestEntry{{
					Source: aws.String("bench"), DetailType: aws.String("tick"), Detail: aws.String(fmt.Sprintf(`{"made":"%d"}`, now)),
				}}})
				return err
			},
		},
	}
}

func functionARN(name string) string {
	return "arn:aws:lambda:" + region + ":" + account + ":function:" + name
}
