package lambda

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/blob/disk"
	"github.com/mayfly-dev/mayfly/internal/endpoint"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/invoke"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

const testRole = "arn:aws:iam::000000000000:role/lambda"

type catalog struct{}

func (catalog) Resolve(name string) (string, string, error) {
	switch name {
	case "python3.11":
		return "python3.11 (3.11.2)", "", nil
	case "python3.12":
		return "python3.11 (3.11.2)", "python3.12 is not installed.", nil
	case "java21":
		return "", "", errs.Newf(errs.Unsupported, "The runtime java21 is not offered here.")
	}
	return "", "", errs.Newf(errs.Invalid, "There is no runtime %q.", name)
}

// gate is a function.Builder: each value sent to it ends one build.
type gate chan error

func (g gate) Build(ctx context.Context, _ *function.Version) error {
	select {
	case err := <-g:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// invoker is an Invoker that answers as the test says.
type invoker struct {
	got    invoke.Request
	result invoke.Result
	err    error
}

func (i *invoker) Check(r invoke.Request) error { i.got = r; return i.err }

func (i *invoker) Sync(_ context.Context, r invoke.Request) (invoke.Result, error) {
	i.got = r
	return i.result, i.err
}

func (i *invoker) Stream(_ context.Context, r invoke.Request, _ invoke.StreamWriter) (invoke.Result, error) {
	i.got = r
	return i.result, i.err
}

func (i *invoker) Async(_ context.Context, r invoke.Request) error { i.got = r; return i.err }

// rig is a door over a real registry.
type rig struct {
	*Door
	gate     gate
	invoker  *invoker
	capacity *capacity
}

// Saved implements Snapshots: there are none.
func (*capacity) Saved(context.Context, *function.Version) bool { return false }

// capacity is a Capacity that answers as the test says.
type capacity struct{ ready map[string]sandbox.Readiness } // by version

func (c *capacity) Ready(v *function.Version) sandbox.Readiness { return c.ready[v.Version] }

func newRig(t *testing.T) *rig {
	t.Helper()
	s, err := spine.Open(t.Context(), spine.Config{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	bucket, err := s.Bucket(t.Context(), "functions")
	if err != nil {
		t.Fatal(err)
	}
	packages, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{gate: make(gate), invoker: &invoker{}, capacity: &capacity{}}
	limits := function.DefaultLimits("amd64")
	limits.MemoryMB = 4096
	reg, err := function.Open(t.Context(), function.Options{
		Bucket: bucket, Packages: packages, Runtimes: catalog{}, Builder: r.gate,
		Limits: limits, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	urls, err := endpoint.OpenURLs(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	policies, err := endpoint.OpenDocuments[Policy](t.Context(), bucket, "policy")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- reg.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	r.Door = New(Options{
		Region: "us-east-1", Account: "000000000000", Functions: reg, Invoker: r.invoker, Capacity: r.capacity, Snapshots: r.capacity,
		Runtimes: []string{"python3.11", "python3.12"}, Concurrency: 1000,
		MaxSync: 6 << 20, MaxAsync: 1 << 20, Log: slog.New(slog.DiscardHandler),
		URLs: urls, URL: func(id string) string { return "http://" + id + ".fn.localhost/" }, Policies: policies,
	})
	return r
}

func zipOf(t testing.TB, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create("app.py")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func goodInput(t *testing.T) *CreateFunctionInput {
	return &CreateFunctionInput{
		FunctionName: new("f"), Role: new(testRole), Runtime: "python3.11", Handler: new("app.handler"),
		Code: &FunctionCode{ZipFile: zipOf(t, "def handler(e, c): return e")},
	}
}

// createActive creates f and waits until it is Active.
func (r *rig) createActive(t *testing.T) {
	t.Helper()
	if _, err := r.CreateFunction(t.Context(), goodInput(t)); err != nil {
		t.Fatal(err)
	}
	r.finish(t, nil)
}

// finish ends the build of f and waits until its outcome shows.
func (r *rig) finish(t *testing.T, err error) *FunctionConfiguration {
	t.Helper()
	before := r.get(t)
	r.gate <- err
	for {
		if c := r.get(t); *c.RevisionId != *before.RevisionId {
			return c
		}
		select {
		case <-t.Context().Done():
			t.Fatal("the build's outcome never showed")
		case <-time.After(time.Millisecond): // the registry tells no one of this
		}
	}
}

func (r *rig) get(t *testing.T) *FunctionConfiguration {
	t.Helper()
	c, err := r.GetFunctionConfiguration(t.Context(), &GetFunctionConfigurationInput{FunctionName: new("f")})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func wantError(t *testing.T, err error, code, message string) {
	t.Helper()
	var e *wire.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a %s", err, code)
	}
	if e.Code != code || !strings.Contains(e.Message, message) {
		t.Errorf("got  %s: %s\nwant %s: %s", e.Code, e.Message, code, message)
	}
}

const fARN = "arn:aws:lambda:us-east-1:000000000000:function:f"

func TestFunctionLifeCycle(t *testing.T) {
	r := newRig(t)
	created, err := r.CreateFunction(t.Context(), goodInput(t))
	if err != nil {
		t.Fatal(err)
	}
	if created.State != StatePending || *created.StateReason != "The function is being created." ||
		created.StateReasonCode != StateReasonCodeCreating || created.LastUpdateStatus != "" {
		t.Errorf("created in state %s, %v, %s, update %s", created.State, created.StateReason, created.StateReasonCode, created.LastUpdateStatus)
	}
	if *created.FunctionArn != fARN || *created.Version != "$LATEST" || *created.MemorySize != 128 || *created.Timeout != 3 ||
		*created.EphemeralStorage.Size != 512 || created.TracingConfig.Mode != "PassThrough" || created.Architectures[0] != "x86_64" ||
		created.Environment != nil || *created.LoggingConfig.LogGroup != "/aws/lambda/f" || *created.Description != "" {
		t.Errorf("created: %+v", created)
	}
	if b, err := base64.StdEncoding.DecodeString(*created.CodeSha256); err != nil || len(b) != 32 {
		t.Errorf("CodeSha256 %s", *created.CodeSha256)
	}
	if _, err := time.Parse("2006-01-02T15:04:05.000-0700", *created.LastModified); err != nil {
		t.Error(err)
	}

	active := r.finish(t, nil)
	if active.State != StateActive || active.StateReason != nil || active.LastUpdateStatus != LastUpdateStatusSuccessful {
		t.Errorf("after the build: %+v", active)
	}

	upd, err := r.UpdateFunctionConfiguration(t.Context(), &UpdateFunctionConfigurationInput{
		FunctionName: new("f"), MemorySize: new(int32(256)), Environment: &Environment{Variables: map[string]string{"KEY": "v"}},
		RevisionId: active.RevisionId,
	})
	if err != nil {
		t.Fatal(err)
	}
	if upd.State != StateActive || upd.LastUpdateStatus != LastUpdateStatusInProgress || upd.LastUpdateStatusReasonCode != "Creating" || *upd.MemorySize != 256 {
		t.Errorf("updated: %+v", upd)
	}
	_, err = r.UpdateFunctionCode(t.Context(), &UpdateFunctionCodeInput{FunctionName: new("f"), ZipFile: zipOf(t, "x")})
	wantError(t, err, CodeResourceConflict, "The operation cannot be performed at this time. An update is in progress for resource: "+fARN)
	r.finish(t, nil)

	if _, err = r.UpdateFunctionCode(t.Context(), &UpdateFunctionCodeInput{FunctionName: new("f"), ZipFile: zipOf(t, "x")}); err != nil {
		t.Fatal(err)
	}
	failed := r.finish(t, errs.Newf(errs.Invalid, "a link points out of the archive"))
	if failed.State != StateActive || failed.LastUpdateStatus != LastUpdateStatusFailed ||
		failed.LastUpdateStatusReasonCode != LastUpdateStatusReasonCodeInvalidZipFileException ||
		*failed.LastUpdateStatusReason != "a link points out of the archive" || *failed.CodeSha256 != *created.CodeSha256 {
		t.Errorf("after a failed update: %+v", failed)
	}

	_, err = r.UpdateFunctionConfiguration(t.Context(), &UpdateFunctionConfigurationInput{FunctionName: new("f"), RevisionId: created.RevisionId})
	wantError(t, err, CodePreconditionFailed, "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id")

	out, err := r.DeleteFunction(t.Context(), &DeleteFunctionInput{FunctionName: new(fARN)})
	if err != nil || *out.StatusCode != 204 {
		t.Errorf("delete: %+v, %v", out, err)
	}
	_, err = r.DeleteFunction(t.Context(), &DeleteFunctionInput{FunctionName: new("f")})
	wantError(t, err, CodeResourceNotFound, "Function not found: "+fARN)

	again, err := r.CreateFunction(t.Context(), goodInput(t))
	if err != nil || again.State != StatePending {
		t.Errorf("created again: %+v, %v", again, err)
	}
}

func TestCreateRefusals(t *testing.T) {
	r := newRig(t)
	r.createActive(t)
	const enum = " failed to satisfy constraint: Member must satisfy enum value set: ["
	tests := map[string]struct {
		change func(*CreateFunctionInput)
		code   string
		words  string
	}{
		"taken name": {func(in *CreateFunctionInput) {}, CodeResourceConflict, "Function already exist: f"},
		"bad name": {func(in *CreateFunctionInput) { in.FunctionName = new("a b") }, codeValidation,
			"1 validation error detected: Value 'a b' at 'functionName' failed to satisfy constraint: Member must satisfy regular expression pattern: (arn:"},
		"long name": {func(in *CreateFunctionInput) { in.FunctionName = new(strings.Repeat("n", 65)) }, codeValidation,
			"at 'functionName' failed to satisfy constraint: Member must have length less than or equal to 64"},
		"no role":  {func(in *CreateFunctionInput) { in.Role = nil }, codeValidation, "Value null at 'role' failed to satisfy constraint: Member must not be null"},
		"bad role": {func(in *CreateFunctionInput) { in.Role = new("me") }, codeValidation, "Value 'me' at 'role' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:"},
		"unknown runtime": {func(in *CreateFunctionInput) { in.Runtime = "cobol85" }, CodeInvalidParameterValue,
			"Value cobol85 at 'runtime'" + enum + "python3.11, python3.12] or be a valid ARN"},
		"runtime not offered": {func(in *CreateFunctionInput) { in.Runtime = "java21" }, CodeInvalidParameterValue, "The runtime java21 is not offered here."},
		"no handler":          {func(in *CreateFunctionInput) { in.Handler = nil }, CodeInvalidParameterValue, "Runtime and Handler are mandatory parameters for functions created with deployment packages."},
		"bad handler":         {func(in *CreateFunctionInput) { in.Handler = new("a b") }, codeValidation, `Value 'a b' at 'handler' failed to satisfy constraint: Member must satisfy regular expression pattern: [^\s]+`},
		"little memory":       {func(in *CreateFunctionInput) { in.MemorySize = new(int32(64)) }, codeValidation, "Value '64' at 'memorySize' failed to satisfy constraint: Member must have value greater than or equal to 128"},
		"much memory":         {func(in *CreateFunctionInput) { in.MemorySize = new(int32(5000)) }, CodeInvalidParameterValue, "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 4096"},
		"two faults": {func(in *CreateFunctionInput) { in.MemorySize, in.Timeout = new(int32(1)), new(int32(901)) }, codeValidation,
			"2 validation errors detected: Value '1' at 'memorySize' failed to satisfy constraint: Member must have value greater than or equal to 128; Value '901' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 900"},
		"reserved variables": {func(in *CreateFunctionInput) {
			in.Environment = &Environment{Variables: map[string]string{"AWS_REGION": "", "AWS_ACCESS_KEY_ID": ""}}
		}, CodeInvalidParameterValue, "Reserved keys used in this request: AWS_ACCESS_KEY_ID, AWS_REGION"},
		"large environment": {func(in *CreateFunctionInput) {
			in.Environment = &Environment{Variables: map[string]string{"KEY": strings.Repeat("x", 4096)}}
		}, CodeInvalidParameterValue, "exceeded the 4KB limit"},
		"no code":      {func(in *CreateFunctionInput) { in.Code = &FunctionCode{} }, CodeInvalidParameterValue, "Please provide a source for function code."},
		"no zip":       {func(in *CreateFunctionInput) { in.Code.ZipFile = []byte("x") }, CodeInvalidParameterValue, "Could not unzip uploaded file. Please check your file, then try to upload again."},
		"bucket":       {func(in *CreateFunctionInput) { in.Code = &FunctionCode{S3Bucket: new("b"), S3Key: new("k")} }, CodeInvalidParameterValue, "This node has no object storage"},
		"image":        {func(in *CreateFunctionInput) { in.PackageType = "Image" }, CodeInvalidParameterValue, "PackageType Image"},
		"package type": {func(in *CreateFunctionInput) { in.PackageType = "Tar" }, codeValidation, "Value 'Tar' at 'packageType'" + enum + "Zip, Image]"},
		"layers":       {func(in *CreateFunctionInput) { in.Layers = []string{"arn"} }, CodeInvalidParameterValue, "Layers"},
		"network":      {func(in *CreateFunctionInput) { in.VpcConfig = &VpcConfig{SubnetIds: []string{"subnet-1"}} }, CodeInvalidParameterValue, "VpcConfig"},
		"log group":    {func(in *CreateFunctionInput) { in.LoggingConfig = &LoggingConfig{LogGroup: new("my group")} }, codeValidation, "Value 'my group' at 'loggingConfig.logGroup'"},
		"level of text": {func(in *CreateFunctionInput) {
			in.LoggingConfig = &LoggingConfig{LogFormat: "Text", SystemLogLevel: "WARN"}
		}, CodeInvalidParameterValue, "LogFormat JSON"},
		"log level": {func(in *CreateFunctionInput) {
			in.LoggingConfig = &LoggingConfig{LogFormat: "JSON", ApplicationLogLevel: "LOUD"}
		}, codeValidation, "Value 'LOUD' at 'loggingConfig.applicationLogLevel'"},
		"publish to":    {func(in *CreateFunctionInput) { in.PublishTo = "LATEST_PUBLISHED" }, CodeInvalidParameterValue, "PublishTo"},
		"other machine": {func(in *CreateFunctionInput) { in.Architectures = []string{"arm64"} }, CodeInvalidParameterValue, "can't run arm64"},
		"architecture":  {func(in *CreateFunctionInput) { in.Architectures = []string{"z80"} }, codeValidation, "Value 'z80' at 'architectures'" + enum + "x86_64, arm64]"},
		"reserved tag":  {func(in *CreateFunctionInput) { in.Tags = map[string]string{"aws:x": ""} }, CodeInvalidParameterValue, "aws:"},
		"other region": {func(in *CreateFunctionInput) {
			in.FunctionName = new("arn:aws:lambda:eu-west-1:000000000000:function:f")
		}, CodeResourceNotFound, "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')"},
		"other account": {func(in *CreateFunctionInput) { in.FunctionName = new("123456789012:function:f") }, codeAccessDenied, "another account"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			in := goodInput(t)
			tc.change(in)
			_, err := r.CreateFunction(t.Context(), in)
			wantError(t, err, tc.code, tc.words)
		})
	}
}

func TestLoggingIsKeptAndShown(t *testing.T) {
	r := newRig(t)
	in := goodInput(t)
	in.LoggingConfig = &LoggingConfig{LogFormat: "JSON", ApplicationLogLevel: "WARN", LogGroup: new("/my/group")}
	out, err := r.CreateFunction(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	l := out.LoggingConfig
	if l.LogFormat != "JSON" || l.ApplicationLogLevel != "WARN" || l.SystemLogLevel != "INFO" || *l.LogGroup != "/my/group" {
		t.Errorf("%+v", l)
	}
	s := settings{logging: &LoggingConfig{LogFormat: "Text"}}
	if got := s.applyLogging(function.Logging{JSON: true, Code: "WARN", Group: "g"}); got != (function.Logging{Group: "g"}) {
		t.Errorf("text after JSON: %+v", got)
	}
}

func TestHarmlessParametersAreAccepted(t *testing.T) {
	r := newRig(t)
	in := goodInput(t)
	in.PackageType = "Zip"
	in.Publish = new(false)
	in.VpcConfig = &VpcConfig{SubnetIds: []string{}, SecurityGroupIds: []string{}}
	in.DeadLetterConfig = &DeadLetterConfig{TargetArn: new("")}
	in.KMSKeyArn = new("")
	in.Layers = []string{}
	in.SnapStart = &SnapStart{ApplyOn: "None"}
	in.LoggingConfig = &LoggingConfig{LogFormat: "Text", LogGroup: new("/aws/lambda/f")}
	in.TracingConfig = &TracingConfig{Mode: "Active"}
	in.Tags = map[string]string{"team": "a"}
	in.Runtime = "python3.12"
	out, err := r.CreateFunction(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if out.TracingConfig.Mode != "Active" || out.Runtime != "python3.12" || *out.RuntimeVersionConfig.Error.Message != "python3.12 is not installed." {
		t.Errorf("created: %+v", out)
	}
	tags, err := r.ListTags(t.Context(), &ListTagsInput{Resource: new(fARN)})
	if err != nil || tags.Tags["team"] != "a" {
		t.Errorf("tags %v, %v", tags, err)
	}
}

func TestNamesAndQualifiers(t *testing.T) {
	r := newRig(t)
	r.createActive(t)
	tests := []struct {
		name      string
		qualifier *string
		arn       string // "" for an error
		code      string
		words     string
	}{
		{"f", nil, fARN, "", ""},
		{"f", new("$LATEST"), fARN + ":$LATEST", "", ""},
		{"f:$LATEST", nil, fARN + ":$LATEST", "", ""},
		{"function:f", nil, fARN, "", ""},
		{"000000000000:function:f", nil, fARN, "", ""},
		{fARN + ":$LATEST", new("$LATEST"), fARN + ":$LATEST", "", ""},
		{fARN + ":$LATEST", new("1"), "", CodeInvalidParameterValue, "The derived qualifier from the function name does not match the specified qualifier."},
		{"f", new("7"), "", CodeResourceNotFound, "Function not found: " + fARN + ":7"},
		{"g", nil, "", CodeResourceNotFound, "Function not found: arn:aws:lambda:us-east-1:000000000000:function:g"},
		{"g", new("$LATEST"), "", CodeResourceNotFound, "function:g:$LATEST"},
		{"f", new("no way"), "", codeValidation, "Value 'no way' at 'qualifier'"},
	}
	for _, tc := range tests {
		out, err := r.GetFunction(t.Context(), &GetFunctionInput{FunctionName: &tc.name, Qualifier: tc.qualifier})
		if tc.arn == "" {
			wantError(t, err, tc.code, tc.words)
		} else if err != nil || *out.Configuration.FunctionArn != tc.arn {
			t.Errorf("%s %v: %+v, %v", tc.name, tc.qualifier, out, err)
		}
	}
	_, err := r.DeleteFunction(t.Context(), &DeleteFunctionInput{FunctionName: new("f"), Qualifier: new("$LATEST")})
	wantError(t, err, CodeInvalidParameterValue, "$LATEST version cannot be deleted without deleting the function.")
}

func TestListPages(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"c", "a", "b"} {
		in := goodInput(t)
		in.FunctionName = &name
		if _, err := r.CreateFunction(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	in := &ListFunctionsInput{MaxItems: new(int32(2)), FunctionVersion: "ALL"}
	for {
		out, err := r.ListFunctions(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range out.Functions {
			got = append(got, *f.FunctionArn)
			if f.State != "" || f.RuntimeVersionConfig != nil {
				t.Errorf("a list shows the state of %s", *f.FunctionName)
			}
		}
		got = append(got, "|")
		if out.NextMarker == nil {
			break
		}
		in.Marker = out.NextMarker
	}
	const p = "arn:aws:lambda:us-east-1:000000000000:function:"
	if want := p + "a:$LATEST " + p + "b:$LATEST | " + p + "c:$LATEST |"; strings.Join(got, " ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
	}
	_, err := r.ListFunctions(t.Context(), &ListFunctionsInput{Marker: new("***")})
	wantError(t, err, CodeInvalidParameterValue, "marker")
	_, err = r.ListFunctions(t.Context(), &ListFunctionsInput{MaxItems: new(int32(0))})
	wantError(t, err, codeValidation, "Value '0' at 'maxItems' failed to satisfy constraint: Member must have value greater than or equal to 1")
}

func TestInvokeTypes(t *testing.T) {
	r := newRig(t)
	r.invoker.result = invoke.Result{Payload: []byte(`{"ok":true}`), Version: "$LATEST", FunctionError: invoke.Unhandled, LogTail: []byte("END\n")}
	out, err := r.Invoke(t.Context(), &InvokeInput{
		FunctionName: new("f"), LogType: LogTypeTail, Payload: []byte(`[1]`),
		ClientContext: new(base64.StdEncoding.EncodeToString([]byte(`{"custom":{}}`))),
	})
	if err != nil {
		t.Fatal(err)
	}
	if string(out.Payload) != `{"ok":true}` || *out.ExecutedVersion != "$LATEST" || *out.FunctionError != "Unhandled" || *out.LogResult != "RU5ECg==" || *out.StatusCode != 200 {
		t.Errorf("answer %+v", out)
	}
	got := r.invoker.got
	if got.Function != "f" || got.InvokedName != fARN || string(got.Payload) != "[1]" || got.ClientContext != `{"custom":{}}` || !got.Tail || got.RequestID == "" {
		t.Errorf("call %+v", got)
	}
	if !strings.HasPrefix(got.TraceID, "Root=1-") {
		t.Errorf("trace id %q", got.TraceID)
	}

	out, err = r.Invoke(t.Context(), &InvokeInput{FunctionName: new("f:$LATEST"), InvocationType: InvocationTypeEvent})
	if err != nil || *out.StatusCode != 202 || out.ExecutedVersion != nil || len(out.Payload) != 0 {
		t.Errorf("Event: %+v, %v", out, err)
	}
	if got := r.invoker.got; string(got.Payload) != "{}" || got.Qualifier != "$LATEST" || got.InvokedName != fARN+":$LATEST" {
		t.Errorf("call %+v", got)
	}

	out, err = r.Invoke(t.Context(), &InvokeInput{FunctionName: new("f"), InvocationType: InvocationTypeDryRun})
	if err != nil || *out.StatusCode != 204 {
		t.Errorf("DryRun: %+v, %v", out, err)
	}
}

func TestInvokeRefusals(t *testing.T) {
	r := newRig(t)
	big := []byte(`"` + strings.Repeat("x", 6<<20) + `"`)
	tests := map[string]struct {
		in    InvokeInput
		err   error // of the invoker
		code  string
		words string
	}{
		"payload no JSON":    {InvokeInput{Payload: []byte("{")}, nil, CodeInvalidRequestContent, "Could not parse request body into json: "},
		"large payload":      {InvokeInput{Payload: big}, nil, CodeRequestTooLarge, "Request must be smaller than 6291456 bytes for the InvokeFunction operation"},
		"large event":        {InvokeInput{Payload: big[:1<<20+1], InvocationType: "Event"}, nil, CodeRequestTooLarge, "Request must be smaller than 1048576 bytes for the InvokeFunction operation"},
		"bad type":           {InvokeInput{InvocationType: "Later"}, nil, codeValidation, "Value 'Later' at 'invocationType' failed to satisfy constraint: Member must satisfy enum value set: [Event, RequestResponse, DryRun]"},
		"bad log type":       {InvokeInput{LogType: "All"}, nil, codeValidation, "at 'logType'"},
		"context no base64":  {InvokeInput{ClientContext: new("{}")}, nil, CodeInvalidRequestContent, "Client context must be a valid Base64-encoded JSON object."},
		"missing":            {InvokeInput{}, errs.Newf(errs.NotFound, "no"), CodeResourceNotFound, "Function not found: " + fARN},
		"pending":            {InvokeInput{}, errs.Newf(errs.Conflict, "The function is currently in the following state: Pending").WithReason(function.ReasonState), CodeResourceConflict, "following state: Pending"},
		"throttled":          {InvokeInput{}, errs.Newf(errs.Throttled, "no room"), CodeTooManyRequests, "Rate Exceeded."},
		"node stops":         {InvokeInput{}, errs.Newf(errs.Unavailable, "stopping"), CodeService, "stopping"},
		"fault of the node":  {InvokeInput{}, errors.New("secret detail"), CodeService, "An error occurred and the request cannot be processed."},
		"durable executions": {InvokeInput{DurableExecutionName: new("d")}, nil, CodeInvalidParameterValue, "Durable executions"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r.invoker.err = tc.err
			in := tc.in
			in.FunctionName = new("f")
			_, err := r.Invoke(t.Context(), &in)
			wantError(t, err, tc.code, tc.words)
			var e *wire.Error
			if errors.As(err, &e) && tc.code == CodeTooManyRequests {
				if d, ok := e.Detail.(*TooManyRequestsException); !ok || d.Reason != ThrottleReasonConcurrentInvocationLimitExceeded || e.RetryAfter < time.Second {
					t.Errorf("reason %+v, retry after %v", e.Detail, e.RetryAfter)
				}
			}
		})
	}
}

func TestTagRefusals(t *testing.T) {
	r := newRig(t)
	r.createActive(t)
	for _, tc := range []struct{ resource, code, words string }{
		{"f", codeValidation, "Value 'f' at 'resource'"},
		{fARN + ":1", CodeInvalidParameterValue, "Tags on function aliases and versions are not supported. Please specify a function ARN."},
		{fARN + "x", CodeResourceNotFound, "Function not found: " + fARN + "x"},
	} {
		_, err := r.TagResource(t.Context(), &TagResourceInput{Resource: &tc.resource, Tags: map[string]string{"k": "v"}})
		wantError(t, err, tc.code, tc.words)
		_, err = r.UntagResource(t.Context(), &UntagResourceInput{Resource: &tc.resource, TagKeys: []string{"k"}})
		wantError(t, err, tc.code, tc.words)
		_, err = r.ListTags(t.Context(), &ListTagsInput{Resource: &tc.resource})
		wantError(t, err, tc.code, tc.words)
	}
}

func TestCodeLocation(t *testing.T) {
	r := newRig(t)
	r.createActive(t)
	out, err := r.GetFunction(t.Context(), &GetFunctionInput{FunctionName: new("f")})
	if err != nil || *out.Code.RepositoryType != "S3" {
		t.Fatalf("%+v, %v", out, err)
	}
	good, err := url.Parse(*out.Code.Location)
	if err != nil {
		t.Fatal(err)
	}
	fetch := func(change func(*url.URL)) *http.Response {
		u := *good
		change(&u)
		w := httptest.NewRecorder()
		r.CodeHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, u.String(), nil))
		return w.Result()
	}
	res := fetch(func(*url.URL) {})
	if b, _ := io.ReadAll(res.Body); res.StatusCode != 200 || !bytes.Equal(b, zipOf(t, "def handler(e, c): return e")) {
		t.Errorf("status %s, %d bytes", res.Status, len(b))
	}
	param := func(k, v string) func(*url.URL) {
		return func(u *url.URL) { q := u.Query(); q.Set(k, v); u.RawQuery = q.Encode() }
	}
	past := "1000000000"
	sum := strings.TrimSuffix(strings.TrimPrefix(good.Path, CodePath), ".zip")
	for name, change := range map[string]func(*url.URL){
		"another package":   func(u *url.URL) { u.Path = CodePath + strings.Repeat("0", 64) + ".zip" },
		"no signature":      param("signature", ""),
		"a later time":      param("expires", "9999999999"),
		"an expired one":    func(u *url.URL) { param("expires", past)(u); param("signature", r.codeSignature(sum, past))(u) },
		"another extension": func(u *url.URL) { u.Path = CodePath + sum },
	} {
		if res := fetch(change); res.StatusCode != http.StatusForbidden {
			t.Errorf("%s: status %s", name, res.Status)
		}
	}
}

func TestAccountSettings(t *testing.T) {
	r := newRig(t)
	r.createActive(t)
	out, err := r.GetAccountSettings(t.Context(), &GetAccountSettingsInput{})
	if err != nil {
		t.Fatal(err)
	}
	if *out.AccountLimit.ConcurrentExecutions != 1000 || *out.AccountLimit.CodeSizeZipped != 52428800 || *out.AccountLimit.CodeSizeUnzipped != 262144000 ||
		*out.AccountUsage.FunctionCount != 1 || *out.AccountUsage.TotalCodeSize == 0 {
		t.Errorf("limits %+v, usage %+v", out.AccountLimit, out.AccountUsage)
	}
}
