// Command bootstrap is a function written with AWS's library for Go, unmodified,
// for the tests of the agent.
package main

import (
	"context"
	"errors"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type event struct {
	Do   string `json:"do"`
	Size int    `json:"size"`
}

func handle(ctx context.Context, e event) (any, error) {
	lc, _ := lambdacontext.FromContext(ctx)
	switch e.Do {
	case "fail":
		return nil, errors.New("told to")
	case "panic":
		panic("told to")
	case "exit":
		os.Exit(9)
	case "big":
		return string(make([]byte, e.Size)), nil
	case "context":
		deadline, ok := ctx.Deadline()
		return map[string]any{
			"id": lc.AwsRequestID, "arn": lc.InvokedFunctionArn, "name": lambdacontext.FunctionName,
			"version": lambdacontext.FunctionVersion, "memory": os.Getenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"),
			"group": lambdacontext.LogGroupName, "stream": lambdacontext.LogStreamName,
			"trace": os.Getenv("_X_AMZN_TRACE_ID"), "left": ok && !deadline.IsZero(),
			"identity": lc.Identity.CognitoIdentityID, "client": lc.ClientContext.Custom["k"],
		}, nil
	}
	return "did " + e.Do, nil
}

func main() { lambda.Start(handle) }
