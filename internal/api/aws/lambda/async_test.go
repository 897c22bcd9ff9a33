package lambda

import (
	"strings"
	"testing"
)

const (
	queueARN = "arn:aws:sqs:us-east-1:000000000000:failed"
	busARN   = "arn:aws:events:us-east-1:000000000000:event-bus/default"
)

func TestEventInvokeConfigIsPutShownChangedAndDeleted(t *testing.T) {
	r := newRig(t)
	r.createActive(t)
	ctx := t.Context()
	get := &GetFunctionEventInvokeConfigInput{FunctionName: new("f")}
	_, err := r.GetFunctionEventInvokeConfig(ctx, get)
	wantError(t, err, CodeResourceNotFound, "The function "+fARN+":$LATEST doesn't have an EventInvokeConfig")
	_, err = r.UpdateFunctionEventInvokeConfig(ctx, &UpdateFunctionEventInvokeConfigInput{FunctionName: new("f"), MaximumRetryAttempts: new(int32(1))})
	wantError(t, err, CodeResourceNotFound, "doesn't have an EventInvokeConfig")

	c, err := r.PutFunctionEventInvokeConfig(ctx, &PutFunctionEventInvokeConfigInput{
		FunctionName: new("f"), MaximumRetryAttempts: new(int32(0)), MaximumEventAgeInSeconds: new(int32(3600)),
		DestinationConfig: &DestinationConfig{OnFailure: &OnFailure{Destination: new(queueARN)}, OnSuccess: &OnSuccess{Destination: new(busARN)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if *c.FunctionArn != fARN+":$LATEST" || c.LastModified.IsZero() || *c.MaximumRetryAttempts != 0 || *c.MaximumEventAgeInSeconds != 3600 ||
		*c.DestinationConfig.OnFailure.Destination != queueARN || *c.DestinationConfig.OnSuccess.Destination != busARN {
		t.Errorf("put: %+v", c)
	}
	c, err = r.UpdateFunctionEventInvokeConfig(ctx, &UpdateFunctionEventInvokeConfigInput{
		FunctionName: new("f"), Qualifier: new("$LATEST"), MaximumRetryAttempts: new(int32(1)), DestinationConfig: &DestinationConfig{OnSuccess: &OnSuccess{}},
	})
	if err != nil || *c.MaximumRetryAttempts != 1 || *c.MaximumEventAgeInSeconds != 3600 || c.DestinationConfig.OnSuccess.Destination != nil || *c.DestinationConfig.OnFailure.Destination != queueARN {
		t.Errorf("updated: %+v, %v", c, err)
	}
	list, err := r.ListFunctionEventInvokeConfigs(ctx, &ListFunctionEventInvokeConfigsInput{FunctionName: new("f")})
	if err != nil || len(list.FunctionEventInvokeConfigs) != 1 || list.NextMarker != nil {
		t.Errorf("list: %+v, %v", list, err)
	}
	if _, err := r.DeleteFunctionEventInvokeConfig(ctx, &DeleteFunctionEventInvokeConfigInput{FunctionName: new("f")}); err != nil {
		t.Fatal(err)
	}
	_, err = r.GetFunctionEventInvokeConfig(ctx, get)
	wantError(t, err, CodeResourceNotFound, "doesn't have an EventInvokeConfig")
}

func TestEventInvokeConfigRefuses(t *testing.T) {
	r := newRig(t)
	r.createActive(t)
	tests := map[string]struct {
		change      func(in *PutFunctionEventInvokeConfigInput)
		code, words string
	}{
		"nothing":  {func(in *PutFunctionEventInvokeConfigInput) {}, CodeInvalidParameterValue, "at least one of"},
		"young":    {func(in *PutFunctionEventInvokeConfigInput) { in.MaximumEventAgeInSeconds = new(int32(59)) }, codeValidation, "greater than or equal to 60"},
		"old":      {func(in *PutFunctionEventInvokeConfigInput) { in.MaximumEventAgeInSeconds = new(int32(21601)) }, codeValidation, "less than or equal to 21600"},
		"stubborn": {func(in *PutFunctionEventInvokeConfigInput) { in.MaximumRetryAttempts = new(int32(3)) }, codeValidation, "less than or equal to 2"},
		"no function": {func(in *PutFunctionEventInvokeConfigInput) {
			in.FunctionName, in.MaximumRetryAttempts = new("g"), new(int32(1))
		}, CodeResourceNotFound, "doesn't exist"},
		"no version": {func(in *PutFunctionEventInvokeConfigInput) {
			in.Qualifier, in.MaximumRetryAttempts = new("9"), new(int32(1))
		}, CodeResourceNotFound, "f:9"},
		"no ARN":    {to("queue"), CodeInvalidParameterValue, "is invalid"},
		"a topic":   {to("arn:aws:sns:us-east-1:000000000000:t"), CodeInvalidParameterValue, "names no function, queue, bucket or event bus"},
		"elsewhere": {to("arn:aws:sqs:eu-west-1:000000000000:q"), CodeInvalidParameterValue, "this node serves region us-east-1"},
		"itself":    {to(fARN), CodeInvalidParameterValue, "as a destination for itself"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			in := &PutFunctionEventInvokeConfigInput{FunctionName: new("f")}
			tc.change(in)
			_, err := r.PutFunctionEventInvokeConfig(t.Context(), in)
			wantError(t, err, tc.code, tc.words)
		})
	}
}

func to(arn string) func(in *PutFunctionEventInvokeConfigInput) {
	return func(in *PutFunctionEventInvokeConfigInput) {
		in.DestinationConfig = &DestinationConfig{OnFailure: &OnFailure{Destination: new(arn)}}
	}
}

func TestDeadLetterConfigIsKeptAndShown(t *testing.T) {
	r := newRig(t)
	in := goodInput(t)
	in.DeadLetterConfig = &DeadLetterConfig{TargetArn: new(queueARN)}
	out, err := r.CreateFunction(t.Context(), in)
	if err != nil || out.DeadLetterConfig == nil || *out.DeadLetterConfig.TargetArn != queueARN {
		t.Fatalf("created: %+v, %v", out, err)
	}
	in.DeadLetterConfig = &DeadLetterConfig{TargetArn: new("arn:aws:sns:us-east-1:000000000000:t")}
	_, err = r.CreateFunction(t.Context(), in)
	wantError(t, err, CodeInvalidParameterValue, "DeadLetterConfig's TargetArn is invalid")
	r.finish(t, nil)
	if _, err := r.UpdateFunctionConfiguration(t.Context(), &UpdateFunctionConfigurationInput{FunctionName: new("f"), DeadLetterConfig: &DeadLetterConfig{TargetArn: new("")}}); err != nil {
		t.Fatal(err)
	}
	if c := r.finish(t, nil); c.DeadLetterConfig != nil {
		t.Errorf("after its removal: %+v", c.DeadLetterConfig)
	}
}

func TestRecursionConfigIsTerminateUntilItIsAllow(t *testing.T) {
	r := newRig(t)
	r.createActive(t)
	get := &GetFunctionRecursionConfigInput{FunctionName: new("f")}
	if c, err := r.GetFunctionRecursionConfig(t.Context(), get); err != nil || c.RecursiveLoop != RecursiveLoopTerminate {
		t.Errorf("at first: %+v, %v", c, err)
	}
	if _, err := r.PutFunctionRecursionConfig(t.Context(), &PutFunctionRecursionConfigInput{FunctionName: new("f"), RecursiveLoop: RecursiveLoopAllow}); err != nil {
		t.Fatal(err)
	}
	if c, err := r.GetFunctionRecursionConfig(t.Context(), get); err != nil || c.RecursiveLoop != RecursiveLoopAllow {
		t.Errorf("after Allow: %+v, %v", c, err)
	}
	_, err := r.PutFunctionRecursionConfig(t.Context(), &PutFunctionRecursionConfigInput{FunctionName: new("f"), RecursiveLoop: "Sometimes"})
	wantError(t, err, codeValidation, strings.Join([]string{RecursiveLoopAllow, RecursiveLoopTerminate}, ", "))
}
