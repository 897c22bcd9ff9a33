package conformance

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"github.com/mayfly-dev/mayfly/mayflytest"
)

// patience bounds a wait for the node, which is long over before.
const patience = time.Minute

func create(t *testing.T, c *lambda.Client, name string, change ...func(*lambda.CreateFunctionInput)) *lambda.CreateFunctionOutput {
	t.Helper()
	in := &lambda.CreateFunctionInput{
		FunctionName: &name, Role: aws.String(role), Runtime: pythonRuntime, Handler: aws.String("app.handler"),
		Code: &types.FunctionCode{ZipFile: handlerZip(t)},
	}
	for _, f := range change {
		f(in)
	}
	out, err := c.CreateFunction(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func waitActive(t *testing.T, c *lambda.Client, name string) {
	t.Helper()
	w := lambda.NewFunctionActiveV2Waiter(c, func(o *lambda.FunctionActiveV2WaiterOptions) {
		o.MinDelay, o.MaxDelay = 20*time.Millisecond, time.Second
	})
	if err := w.Wait(t.Context(), &lambda.GetFunctionInput{FunctionName: &name}, patience); err != nil {
		t.Fatal(err)
	}
}

func waitUpdated(t *testing.T, c *lambda.Client, name string) *lambda.GetFunctionOutput {
	t.Helper()
	w := lambda.NewFunctionUpdatedV2Waiter(c, func(o *lambda.FunctionUpdatedV2WaiterOptions) {
		o.MinDelay, o.MaxDelay = 20*time.Millisecond, time.Second
	})
	out, err := w.WaitForOutput(t.Context(), &lambda.GetFunctionInput{FunctionName: &name}, patience)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// answer is what the handler returns.
type answer struct {
	Event    json.RawMessage `json:"event"`
	Greeting string          `json:"greeting"`
	Version  int             `json:"version"`
	ARN      string          `json:"arn"`
	ID       string          `json:"id"`
	Custom   map[string]any  `json:"custom"`
	Trace    string          `json:"trace"`
}

func call(t *testing.T, c *lambda.Client, in *lambda.InvokeInput) (*lambda.InvokeOutput, answer) {
	t.Helper()
	out, err := c.Invoke(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if out.FunctionError != nil {
		t.Fatalf("the function failed: %s", out.Payload)
	}
	var a answer
	if err := json.Unmarshal(out.Payload, &a); err != nil {
		t.Fatalf("answer %s: %v", out.Payload, err)
	}
	return out, a
}

// wantCode checks the error code, HTTP status and message of a refusal.
func wantCode(t *testing.T, err error, status int, code, message string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) {
		t.Fatalf("got %v, want %s", err, code)
	}
	if api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), message) {
		t.Errorf("got  %s: %s\nwant %s: %s", api.ErrorCode(), api.ErrorMessage(), code, message)
	}
	var res interface{ HTTPStatusCode() int }
	if errors.As(err, &res) && res.HTTPStatusCode() != status {
		t.Errorf("status %d, want %d", res.HTTPStatusCode(), status)
	}
	var id interface{ ServiceRequestID() string }
	if !errors.As(err, &id) || !uuidRE.MatchString(id.ServiceRequestID()) {
		t.Error("the error has no request id")
	}
}

var uuidRE = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

func TestGoSDK(t *testing.T) {
	n := mayflytest.Start(t)
	c := sdk(n)
	t.Run("LifeCycle", func(t *testing.T) { testLifeCycle(t, n, c) })
	t.Run("Invoke", func(t *testing.T) { testInvoke(t, n, c) })
	t.Run("Lists", func(t *testing.T) { testLists(t, c) })
	t.Run("Tags", func(t *testing.T) { testTags(t, n, c) })
	t.Run("Refusals", func(t *testing.T) { testRefusals(t, c) })
	t.Run("Signatures", func(t *testing.T) { testSignatures(t, n) })
}

func testLifeCycle(t *testing.T, n *mayflytest.Node, c *lambda.Client) {
	name := "life"
	arn := "arn:aws:lambda:" + n.Region + ":" + n.Account + ":function:" + name
	made := create(t, c, name, func(in *lambda.CreateFunctionInput) {
		in.Description, in.Timeout, in.MemorySize = aws.String("words"), aws.Int32(5), aws.Int32(256)
		in.Environment = &types.Environment{Variables: map[string]string{"GREETING": "hi"}}
	})
	if made.State != types.StatePending || made.StateReasonCode != types.StateReasonCodeCreating || *made.FunctionArn != arn || *made.Version != "$LATEST" {
		t.Errorf("created: %s %s %s %s", made.State, made.StateReasonCode, *made.FunctionArn, *made.Version)
	}
	sum := sha256.Sum256(handlerZip(t))
	if *made.CodeSha256 != base64.StdEncoding.EncodeToString(sum[:]) || made.CodeSize != int64(len(handlerZip(t))) {
		t.Errorf("code %s, %d bytes", *made.CodeSha256, made.CodeSize)
	}
	if !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000$`).MatchString(*made.LastModified) || !uuidRE.MatchString(*made.RevisionId) {
		t.Errorf("modified %s, revision %s", *made.LastModified, *made.RevisionId)
	}
	waitActive(t, c, name)
	if _, a := call(t, c, &lambda.InvokeInput{FunctionName: &name}); a.Greeting != "hi" || a.Version != 1 {
		t.Errorf("answer %+v", a)
	}

	got, err := c.GetFunction(t.Context(), &lambda.GetFunctionInput{FunctionName: &arn, Qualifier: aws.String("$LATEST")})
	if err != nil {
		t.Fatal(err)
	}
	if f := got.Configuration; *f.FunctionArn != arn+":$LATEST" || f.LastUpdateStatus != types.LastUpdateStatusSuccessful || *f.MemorySize != 256 ||
		*f.Timeout != 5 || *f.Description != "words" || f.Runtime != pythonRuntime || f.PackageType != types.PackageTypeZip || *f.Role != role ||
		*f.EphemeralStorage.Size != 512 || f.TracingConfig.Mode != types.TracingModePassThrough || f.SnapStart.OptimizationStatus != types.SnapStartOptimizationStatusOff {
		t.Errorf("shown: %+v", f)
	}
	if b := download(t, *got.Code.Location); !bytes.Equal(b, handlerZip(t)) {
		t.Errorf("the code's address gives %d bytes that are not the package", len(b))
	}

	upd, err := c.UpdateFunctionCode(t.Context(), &lambda.UpdateFunctionCodeInput{
		FunctionName: &name, ZipFile: zipOf(t, "app.py", newer(handlerSource)), RevisionId: got.Configuration.RevisionId,
	})
	if err != nil {
		t.Fatal(err)
	}
	if upd.LastUpdateStatus != types.LastUpdateStatusInProgress || upd.State != types.StateActive {
		t.Errorf("update: %s, %s", upd.LastUpdateStatus, upd.State)
	}
	waitUpdated(t, c, name)
	if _, a := call(t, c, &lambda.InvokeInput{FunctionName: &name}); a.Version != 2 {
		t.Errorf("after the code's update version %d answers", a.Version)
	}

	_, err = c.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{FunctionName: &name, RevisionId: got.Configuration.RevisionId, Timeout: aws.Int32(9)})
	wantCode(t, err, 412, "PreconditionFailedException", "The Revision Id provided does not match the latest Revision Id.")
	if _, err = c.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{
		FunctionName: &name, Environment: &types.Environment{Variables: map[string]string{"GREETING": "bye"}},
	}); err != nil {
		t.Fatal(err)
	}
	after := waitUpdated(t, c, name)
	if *after.Configuration.Timeout != 5 || after.Configuration.Environment.Variables["GREETING"] != "bye" {
		t.Errorf("after the configuration's update: %+v", after.Configuration)
	}
	if _, a := call(t, c, &lambda.InvokeInput{FunctionName: &name}); a.Greeting != "bye" {
		t.Errorf("after the configuration's update: greeting %q", a.Greeting)
	}

	if _, err := c.DeleteFunction(t.Context(), &lambda.DeleteFunctionInput{FunctionName: &name}); err != nil {
		t.Fatal(err)
	}
	_, err = c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &name})
	wantCode(t, err, 404, "ResourceNotFoundException", "Function not found: "+arn)
}

func download(t *testing.T, url string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v: %.200s", url, res.Status, err, b)
	}
	return b
}

func testInvoke(t *testing.T, n *mayflytest.Node, c *lambda.Client) {
	name := "invoked"
	create(t, c, name)
	waitActive(t, c, name)

	out, a := call(t, c, &lambda.InvokeInput{
		FunctionName: &name, Payload: []byte(`{"n": [1, 2.5, "ü"]}`), LogType: types.LogTypeTail,
		ClientContext: aws.String(base64.StdEncoding.EncodeToString([]byte(`{"custom": {"k": "v"}}`))),
	})
	if out.StatusCode != 200 || *out.ExecutedVersion != "$LATEST" {
		t.Errorf("status %d, version %s", out.StatusCode, *out.ExecutedVersion)
	}
	if string(a.Event) != `{"n": [1, 2.5, "ü"]}` && string(a.Event) != `{"n": [1, 2.5, "\u00fc"]}` {
		t.Errorf("event %s", a.Event)
	}
	if a.Custom["k"] != "v" || !strings.HasSuffix(a.ARN, ":function:"+name) || !strings.HasPrefix(a.Trace, "Root=1-") {
		t.Errorf("context %+v", a)
	}
	log, err := base64.StdEncoding.DecodeString(*out.LogResult)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"START RequestId: " + a.ID + " Version: $LATEST\n", "event {'n'", "END RequestId: " + a.ID + "\n", "REPORT RequestId: " + a.ID + "\tDuration: ", "Memory Size: 128 MB"} {
		if !strings.Contains(string(log), want) {
			t.Errorf("no %q in the log's tail:\n%s", want, log)
		}
	}

	if _, a := call(t, c, &lambda.InvokeInput{FunctionName: &name}); string(a.Event) != "{}" {
		t.Errorf("without a payload the event is %s", a.Event)
	}

	fail, err := c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &name, Payload: []byte(`{"fail": "on purpose"}`)})
	if err != nil || fail.StatusCode != 200 || aws.ToString(fail.FunctionError) != "Unhandled" {
		t.Fatalf("%+v, %v", fail, err)
	}
	var doc struct {
		ErrorMessage, ErrorType string
		StackTrace              []string
	}
	if err := json.Unmarshal(fail.Payload, &doc); err != nil || doc.ErrorMessage != "on purpose" || doc.ErrorType != "ValueError" || len(doc.StackTrace) == 0 {
		t.Errorf("error document %s, %v", fail.Payload, err)
	}

	event, err := c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &name, InvocationType: types.InvocationTypeEvent, Payload: []byte(`{}`)})
	if err != nil || event.StatusCode != 202 || len(event.Payload) != 0 {
		t.Errorf("Event: %+v, %v", event, err)
	}
	dry, err := c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &name, InvocationType: types.InvocationTypeDryRun})
	if err != nil || dry.StatusCode != 204 {
		t.Errorf("DryRun: %+v, %v", dry, err)
	}

	large := []byte(`"` + strings.Repeat("x", 6<<20-2) + `"`)
	if out, err := c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &name, Payload: large}); err != nil || out.StatusCode != 200 {
		t.Errorf("a payload of 6 MiB: %v", err)
	}
	_, err = c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &name, Payload: append(large, ' ')})
	wantCode(t, err, 413, "RequestTooLargeException", "Request must be smaller than 6291456 bytes for the InvokeFunction operation")
	_, err = c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &name, Payload: large[:1<<20+1], InvocationType: types.InvocationTypeEvent})
	wantCode(t, err, 413, "RequestTooLargeException", "")
	_, err = c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &name, Payload: []byte(`{`)})
	wantCode(t, err, 400, "InvalidRequestContentException", "Could not parse request body into json")
	_, err = c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &name, Qualifier: aws.String("7")})
	wantCode(t, err, 404, "ResourceNotFoundException", "Function not found: arn:aws:lambda:"+n.Region+":"+n.Account+":function:"+name+":7")
}

func testLists(t *testing.T, c *lambda.Client) {
	var want []string
	for i := range 7 {
		name := fmt.Sprintf("listed-%d", i)
		create(t, c, name)
		want = append(want, name)
	}
	var got []string
	p := lambda.NewListFunctionsPaginator(c, &lambda.ListFunctionsInput{MaxItems: aws.Int32(3)})
	for p.HasMorePages() {
		page, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Functions) > 3 {
			t.Errorf("a page of %d functions", len(page.Functions))
		}
		for _, f := range page.Functions {
			if strings.HasPrefix(*f.FunctionName, "listed-") {
				got = append(got, *f.FunctionName)
			}
			if f.State != "" || f.CodeSha256 == nil {
				t.Errorf("listed: %+v", f)
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %v, want %v", got, want)
	}
	settings, err := c.GetAccountSettings(t.Context(), &lambda.GetAccountSettingsInput{})
	if err != nil || settings.AccountUsage.FunctionCount < 7 || settings.AccountLimit.ConcurrentExecutions < 1 || settings.AccountLimit.CodeSizeUnzipped != 262144000 {
		t.Errorf("settings %+v, %v", settings, err)
	}
}

func testTags(t *testing.T, n *mayflytest.Node, c *lambda.Client) {
	arn := create(t, c, "tagged", func(in *lambda.CreateFunctionInput) { in.Tags = map[string]string{"a": "1"} }).FunctionArn
	ctx := t.Context()
	if _, err := c.TagResource(ctx, &lambda.TagResourceInput{Resource: arn, Tags: map[string]string{"b": "2", "c/d": "x y"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.UntagResource(ctx, &lambda.UntagResourceInput{Resource: arn, TagKeys: []string{"a", "b"}}); err != nil {
		t.Fatal(err)
	}
	tags, err := c.ListTags(ctx, &lambda.ListTagsInput{Resource: arn})
	if err != nil || len(tags.Tags) != 1 || tags.Tags["c/d"] != "x y" {
		t.Errorf("tags %+v, %v", tags, err)
	}
	got, err := c.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: aws.String("tagged")})
	if err != nil || got.Tags["c/d"] != "x y" {
		t.Errorf("GetFunction: %+v, %v", got, err)
	}
	_, err = c.ListTags(ctx, &lambda.ListTagsInput{Resource: aws.String(*arn + "x")})
	wantCode(t, err, 404, "ResourceNotFoundException", "Function not found: "+*arn+"x")
}

func testRefusals(t *testing.T, c *lambda.Client) {
	create(t, c, "taken")
	waitActive(t, c, "taken")
	for name, tc := range map[string]struct {
		change func(*lambda.CreateFunctionInput)
		status int
		code   string
		words  string
	}{
		"taken name":  {func(in *lambda.CreateFunctionInput) { in.FunctionName = aws.String("taken") }, 409, "ResourceConflictException", "Function already exist: taken"},
		"bad name":    {func(in *lambda.CreateFunctionInput) { in.FunctionName = aws.String("not a name") }, 400, "ValidationException", "1 validation error detected: Value 'not a name' at 'functionName' failed to satisfy constraint: Member must satisfy regular expression pattern: "},
		"bad runtime": {func(in *lambda.CreateFunctionInput) { in.Runtime = "cobol85" }, 400, "InvalidParameterValueException", "Value cobol85 at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: ["},
		"bad handler": {func(in *lambda.CreateFunctionInput) { in.Handler = aws.String("a b") }, 400, "ValidationException", "at 'handler' failed to satisfy constraint"},
		"no zip":      {func(in *lambda.CreateFunctionInput) { in.Code.ZipFile = []byte("#!/bin/sh") }, 400, "InvalidParameterValueException", "Could not unzip uploaded file. Please check your file, then try to upload again."},
		"huge unpacked": {func(in *lambda.CreateFunctionInput) {
			in.Code.ZipFile = zipOf(t, "zeros", strings.Repeat("\x00", 250<<20+1))
		},
			400, "InvalidParameterValueException", "Unzipped size must be smaller than 262144000 bytes"},
		"huge package": {func(in *lambda.CreateFunctionInput) { in.Code.ZipFile = make([]byte, 53<<20) },
			413, "RequestEntityTooLargeException", "Request must be smaller than 70167211 bytes for the CreateFunction operation"},
		"memory":  {func(in *lambda.CreateFunctionInput) { in.MemorySize = aws.Int32(64) }, 400, "ValidationException", "Member must have value greater than or equal to 128"},
		"timeout": {func(in *lambda.CreateFunctionInput) { in.Timeout = aws.Int32(901) }, 400, "ValidationException", "Member must have value less than or equal to 900"},
		"bucket": {func(in *lambda.CreateFunctionInput) {
			in.Code = &types.FunctionCode{S3Bucket: aws.String("bucket"), S3Key: aws.String("key")}
		}, 400, "InvalidParameterValueException", "NoSuchBucket"},
		"layers": {func(in *lambda.CreateFunctionInput) {
			in.Layers = []string{"arn:aws:lambda:us-east-1:000000000000:layer:l:1"}
		}, 400, "InvalidParameterValueException", "Layers"},
	} {
		t.Run(name, func(t *testing.T) {
			in := &lambda.CreateFunctionInput{
				FunctionName: aws.String("refused"), Role: aws.String(role), Runtime: pythonRuntime, Handler: aws.String("app.handler"),
				Code: &types.FunctionCode{ZipFile: handlerZip(t)},
			}
			tc.change(in)
			_, err := c.CreateFunction(t.Context(), in)
			wantCode(t, err, tc.status, tc.code, tc.words)
		})
	}
	t.Run("missing function", func(t *testing.T) {
		_, err := c.GetFunction(t.Context(), &lambda.GetFunctionInput{FunctionName: aws.String("nowhere")})
		wantCode(t, err, 404, "ResourceNotFoundException", ":function:nowhere")
		var modelled *types.ResourceNotFoundException
		if !errors.As(err, &modelled) || aws.ToString(modelled.Type) != "User" {
			t.Errorf("the SDK does not know the error: %v", err)
		}
	})
	t.Run("update conflict", func(t *testing.T) {
		// The second request may come after the first update is complete; that
		// it is refused while one is under way, the registry's tests prove.
		ctx := t.Context()
		for range 50 {
			up := func() error {
				_, err := c.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String("taken"), Description: aws.String(time.Now().String())})
				return err
			}
			if err := up(); err != nil {
				t.Fatal(err)
			}
			err := up()
			waitUpdated(t, c, "taken")
			if err != nil {
				wantCode(t, err, 409, "ResourceConflictException", "The operation cannot be performed at this time. An update is in progress for resource: arn:aws:lambda:")
				return
			}
		}
		t.Skip("no update lasted long enough to meet the next one")
	})
}

func testSignatures(t *testing.T, n *mayflytest.Node) {
	list := func(key, secret string) error {
		c := sdk(n, func(o *lambda.Options) {
			o.Credentials = credentials.NewStaticCredentialsProvider(key, secret, "")
		})
		_, err := c.ListFunctions(context.Background(), &lambda.ListFunctionsInput{})
		return err
	}
	wantCode(t, list(n.AccessKey, strings.Repeat("x", 40)), 403, "InvalidSignatureException", "The request signature we calculated does not match the signature you provided.")
	wantCode(t, list("AKIAIOSFODNN7EXAMPLE", n.SecretKey), 403, "UnrecognizedClientException", "The security token included in the request is invalid.")
}
