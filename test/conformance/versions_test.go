package conformance

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/mayfly-dev/mayfly/mayflytest"
)

// versionSource is a function that says which version of it runs, and why its
// instance was started.
const versionSource = `
import os

CODE = 1

def handler(event, context):
    return {"code": CODE, "version": os.environ["AWS_LAMBDA_FUNCTION_VERSION"], "contextVersion": context.function_version,
            "arn": context.invoked_function_arn, "start": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]}
`

func versionZips(t testing.TB) (one, two []byte) {
	return zipOf(t, "app.py", versionSource), zipOf(t, "app.py", strings.Replace(versionSource, "CODE = 1", "CODE = 2", 1))
}

// ran is what the function answers.
type ran struct {
	Code           int
	Version        string
	ContextVersion string
	ARN            string
	Start          string
}

func TestVersions(t *testing.T) {
	n := mayflytest.Start(t)
	t.Run("GoSDK", func(t *testing.T) { testVersionsGoSDK(t, n) })
	t.Run("SnapStart", func(t *testing.T) { testSnapStart(t, n) })
	t.Run("AWSCLI", func(t *testing.T) { testVersionsCLI(t, n) })
	t.Run("Boto3", func(t *testing.T) {
		c := newTool(t, n, "apt-get install python3-boto3", "/usr/bin/python3", "python3")
		if _, _, ok := c.run(t.Context(), "-c", "import boto3"); !ok {
			t.Skip("boto3 is not installed: apt-get install python3-boto3, or run make test, which does")
		}
		c.runScript("python/versions_test.py", "-X", "utf8", "-W", "ignore::ResourceWarning")
	})
	t.Run("JavaScriptSDK", func(t *testing.T) {
		c := newTool(t, n, "apt-get install nodejs npm", "node")
		if _, err := os.Stat("node/node_modules/@aws-sdk/client-lambda"); err != nil {
			t.Skip("@aws-sdk/client-lambda is not installed: npm ci --prefix test/conformance/node, or run make test, which does")
		}
		c.runScript("node/versions.test.mjs", "--test")
	})
}

// runScript runs a client's tests of versions.
func (c *tool) runScript(script string, args ...string) {
	c.t.Helper()
	one, two := versionZips(c.t)
	c.env = append(c.env, "MAYFLY_ZIP="+c.file("1.zip", one), "MAYFLY_ZIP2="+c.file("2.zip", two))
	path, err := filepath.Abs(script)
	if err != nil {
		c.t.Fatal(err)
	}
	out, errs, ok := c.run(c.t.Context(), append(args, path)...)
	c.t.Logf("%s%s", out, errs)
	if !ok {
		c.t.Errorf("%s failed", script)
	}
}

func testVersionsGoSDK(t *testing.T, n *mayflytest.Node) {
	c, name, ctx := sdk(n, func(o *lambda.Options) { o.RetryMaxAttempts = 1 }), "go", t.Context()
	arn := "arn:aws:lambda:" + n.Region + ":" + n.Account + ":function:" + name
	one, two := versionZips(t)
	made := create(t, c, name, func(in *lambda.CreateFunctionInput) { in.Code.ZipFile, in.Publish = one, true })
	if *made.Version != "1" || made.State != types.StatePending {
		t.Errorf("created and published: %s, %s", *made.Version, made.State)
	}
	waitActive(t, c, name+":1")
	upd, err := c.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: &name, ZipFile: two})
	if err != nil {
		t.Fatal(err)
	}
	waitUpdated(t, c, name)
	v2, err := c.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: &name, CodeSha256: upd.CodeSha256, Description: aws.String("second")})
	if err != nil || *v2.Version != "2" || *v2.FunctionArn != arn+":2" || *v2.Description != "second" {
		t.Fatalf("%+v, %v", v2, err)
	}
	_, err = c.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: &name, RevisionId: v2.RevisionId})
	wantCode(t, err, 412, "PreconditionFailedException", "The Revision Id provided does not match the latest Revision Id.")
	_, err = c.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: &name, CodeSha256: made.CodeSha256})
	wantCode(t, err, 400, "InvalidParameterValueException", "is different from current CodeSHA256 in $LATEST")

	live, err := c.CreateAlias(ctx, &lambda.CreateAliasInput{FunctionName: &name, Name: aws.String("live"), FunctionVersion: aws.String("1"),
		RoutingConfig: &types.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{"2": 1}}})
	if err != nil || *live.AliasArn != arn+":live" || live.RoutingConfig.AdditionalVersionWeights["2"] != 1 {
		t.Fatalf("%+v, %v", live, err)
	}
	says := func(in *lambda.InvokeInput, version, invoked string) {
		t.Helper()
		out, err := c.Invoke(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		var r ran
		if err := json.Unmarshal(out.Payload, &r); err != nil {
			t.Fatalf("%s: %v", out.Payload, err)
		}
		if *out.ExecutedVersion != version || r.Version != version || r.ContextVersion != version || r.ARN != invoked {
			t.Errorf("version %s was executed, it says %+v; want version %s, called as %s", *out.ExecutedVersion, r, version, invoked)
		}
	}
	says(&lambda.InvokeInput{FunctionName: aws.String(name + ":live")}, "2", arn+":live")
	says(&lambda.InvokeInput{FunctionName: aws.String(arn), Qualifier: aws.String("1")}, "1", arn+":1")
	says(&lambda.InvokeInput{FunctionName: &name}, "$LATEST", arn)
	upda, err := c.UpdateAlias(ctx, &lambda.UpdateAliasInput{FunctionName: &name, Name: aws.String("live"), RevisionId: live.RevisionId,
		RoutingConfig: &types.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{"2": 0}}})
	if err != nil || *upda.FunctionVersion != "1" {
		t.Fatalf("%+v, %v", upda, err)
	}
	says(&lambda.InvokeInput{FunctionName: aws.String(n.Account + ":function:" + name + ":live")}, "1", arn+":live")
	_, err = c.UpdateAlias(ctx, &lambda.UpdateAliasInput{FunctionName: &name, Name: aws.String("live"), RevisionId: live.RevisionId})
	wantCode(t, err, 412, "PreconditionFailedException", "The Revision Id provided")
	_, err = c.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: &name, Qualifier: aws.String("2")})
	wantCode(t, err, 409, "ResourceConflictException", "aliases reference it: [live]")

	t.Run("Provisioned", func(t *testing.T) { testProvisioned(t, c, name) })
	t.Run("Reserved", func(t *testing.T) { testReserved(t, c, name) })
	t.Run("Scaling", func(t *testing.T) { testScalingConfig(t, c, name, arn) })

	if _, err := c.DeleteAlias(ctx, &lambda.DeleteAliasInput{FunctionName: &name, Name: aws.String("live")}); err != nil {
		t.Fatal(err)
	}
	_, err = c.GetAlias(ctx, &lambda.GetAliasInput{FunctionName: &name, Name: aws.String("live")})
	wantCode(t, err, 404, "ResourceNotFoundException", "Alias not found: "+arn+":live")
	if _, err := c.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: &name, Qualifier: aws.String("2")}); err != nil {
		t.Fatal(err)
	}
	var versions []string
	for p := lambda.NewListVersionsByFunctionPaginator(c, &lambda.ListVersionsByFunctionInput{FunctionName: &name, MaxItems: aws.Int32(1)}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range page.Versions {
			versions = append(versions, *v.Version)
		}
	}
	if strings.Join(versions, " ") != "$LATEST 1" {
		t.Errorf("versions %v", versions)
	}
}

// testSnapStart publishes a version that wants a snapshot, and calls it when it
// says that it has one.
func testSnapStart(t *testing.T, n *mayflytest.Node) {
	c, name, ctx := sdk(n, func(o *lambda.Options) { o.RetryMaxAttempts = 1 }), "snapstart", t.Context()
	one, _ := versionZips(t)
	create(t, c, name, func(in *lambda.CreateFunctionInput) {
		in.Code.ZipFile, in.SnapStart = one, &types.SnapStart{ApplyOn: types.SnapStartApplyOnPublishedVersions}
	})
	waitActive(t, c, name)
	wants := func(qualifier *string, want types.SnapStartOptimizationStatus, patience time.Duration) {
		t.Helper()
		for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
			f, err := c.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &name, Qualifier: qualifier})
			if err != nil {
				t.Fatal(err)
			}
			if f.SnapStart.ApplyOn == types.SnapStartApplyOnPublishedVersions && f.SnapStart.OptimizationStatus == want && f.State == types.StateActive {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s shows %+v, want %s", aws.ToString(qualifier), f.SnapStart, want)
			}
		}
	}
	v, err := c.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: &name})
	if err != nil {
		t.Fatal(err)
	}
	if v.SnapStart.OptimizationStatus != types.SnapStartOptimizationStatusOff {
		t.Errorf("a version without a snapshot yet shows %+v", v.SnapStart)
	}
	wants(v.Version, types.SnapStartOptimizationStatusOn, patience)
	wants(nil, types.SnapStartOptimizationStatusOff, 0) // $LATEST
	out, err := c.Invoke(ctx, &lambda.InvokeInput{FunctionName: &name, Qualifier: v.Version, LogType: types.LogTypeTail})
	if err != nil {
		t.Fatal(err)
	}
	if tail, err := base64.StdEncoding.DecodeString(aws.ToString(out.LogResult)); err != nil || !strings.Contains(string(tail), "Restore Duration") {
		t.Errorf("the first call of a version that has a snapshot: %s %v", tail, err)
	}
}

// testProvisioned provisions an instance for the alias live, which points at
// version 1.
func testProvisioned(t *testing.T, c *lambda.Client, name string) {
	ctx, live := t.Context(), aws.String("live")
	put, err := c.PutProvisionedConcurrencyConfig(ctx, &lambda.PutProvisionedConcurrencyConfigInput{FunctionName: &name, Qualifier: live, ProvisionedConcurrentExecutions: aws.Int32(1)})
	if err != nil || *put.RequestedProvisionedConcurrentExecutions != 1 {
		t.Fatalf("%+v, %v", put, err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		got, err := c.GetProvisionedConcurrencyConfig(ctx, &lambda.GetProvisionedConcurrencyConfigInput{FunctionName: &name, Qualifier: live})
		if err != nil {
			t.Fatal(err)
		}
		if got.Status == types.ProvisionedConcurrencyStatusEnumReady && *got.AvailableProvisionedConcurrentExecutions == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not ready: %+v", got)
		}
	}
	out, err := c.Invoke(ctx, &lambda.InvokeInput{FunctionName: &name, Qualifier: live})
	var r ran
	if err != nil || json.Unmarshal(out.Payload, &r) != nil || r.Start != "provisioned-concurrency" {
		t.Errorf("%+v, %v: the call did not run on the provisioned instance", r, err)
	}
	list, err := c.ListProvisionedConcurrencyConfigs(ctx, &lambda.ListProvisionedConcurrencyConfigsInput{FunctionName: &name})
	if err != nil || len(list.ProvisionedConcurrencyConfigs) != 1 || !strings.HasSuffix(*list.ProvisionedConcurrencyConfigs[0].FunctionArn, ":live") {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := c.DeleteProvisionedConcurrencyConfig(ctx, &lambda.DeleteProvisionedConcurrencyConfigInput{FunctionName: &name, Qualifier: live}); err != nil {
		t.Fatal(err)
	}
	_, err = c.GetProvisionedConcurrencyConfig(ctx, &lambda.GetProvisionedConcurrencyConfigInput{FunctionName: &name, Qualifier: live})
	wantCode(t, err, 404, "ProvisionedConcurrencyConfigNotFoundException", "No Provisioned Concurrency Config found for this function")
}

func testReserved(t *testing.T, c *lambda.Client, name string) {
	ctx := t.Context()
	if _, err := c.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{FunctionName: &name, ReservedConcurrentExecutions: aws.Int32(0)}); err != nil {
		t.Fatal(err)
	}
	_, err := c.Invoke(ctx, &lambda.InvokeInput{FunctionName: &name})
	wantCode(t, err, 429, "TooManyRequestsException", "Rate Exceeded.")
	var throttled *types.TooManyRequestsException
	if !errors.As(err, &throttled) || throttled.Reason != types.ThrottleReasonReservedFunctionConcurrentInvocationLimitExceeded {
		t.Errorf("the reason of %v is %+v", err, throttled)
	}
	got, err := c.GetFunctionConcurrency(ctx, &lambda.GetFunctionConcurrencyInput{FunctionName: &name})
	if err != nil || aws.ToInt32(got.ReservedConcurrentExecutions) != 0 || got.ReservedConcurrentExecutions == nil {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := c.DeleteFunctionConcurrency(ctx, &lambda.DeleteFunctionConcurrencyInput{FunctionName: &name}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Invoke(ctx, &lambda.InvokeInput{FunctionName: &name}); err != nil {
		t.Errorf("after the reservation ended: %v", err)
	}
}

func testScalingConfig(t *testing.T, c *lambda.Client, name, arn string) {
	ctx, one := t.Context(), aws.String("1")
	put, err := c.PutFunctionScalingConfig(ctx, &lambda.PutFunctionScalingConfigInput{FunctionName: &name, Qualifier: one,
		FunctionScalingConfig: &types.FunctionScalingConfig{MinExecutionEnvironments: aws.Int32(0), MaxExecutionEnvironments: aws.Int32(2)}})
	if err != nil || put.FunctionState != types.StateActive {
		t.Fatalf("%+v, %v", put, err)
	}
	got, err := c.GetFunctionScalingConfig(ctx, &lambda.GetFunctionScalingConfigInput{FunctionName: &name, Qualifier: one})
	if err != nil || *got.FunctionArn != arn+":1" || *got.AppliedFunctionScalingConfig.MaxExecutionEnvironments != 2 {
		t.Errorf("%+v, %v", got, err)
	}
}

// testVersionsCLI leaves out what differs from another command only by its name:
// each start of the CLI takes a second of the CPU.
func testVersionsCLI(t *testing.T, n *mayflytest.Node) {
	c := newCLI(t, n)
	one, two := versionZips(t)
	zip, zip2, out := c.file("1.zip", one), c.file("2.zip", two), filepath.Join(c.dir, "out.json")
	do := func(command string, args ...string) map[string]any {
		t.Helper()
		return c.do(append([]string{command, "--function-name", "cli"}, args...)...)
	}
	do("create-function", "--runtime", pythonRuntime, "--role", role, "--handler", "app.handler", "--zip-file", "fileb://"+zip, "--publish")
	c.do("wait", "published-version-active", "--function-name", "cli", "--qualifier", "1")
	if v := do("update-function-code", "--zip-file", "fileb://"+zip2, "--publish"); v["Version"] != "2" {
		t.Errorf("updated and published: %v", v)
	}
	c.do("wait", "published-version-active", "--function-name", "cli", "--qualifier", "2")
	if v := do("publish-version"); v["Version"] != "2" {
		t.Errorf("published without a change: %v", v)
	}
	do("create-alias", "--name", "live", "--function-version", "1", "--routing-config", "AdditionalVersionWeights={2=1.0}")
	if res := do("invoke", "--qualifier", "live", out); res["ExecutedVersion"] != "2" {
		t.Errorf("a call of the alias: %v", res)
	}
	if a := do("update-alias", "--name", "live", "--function-version", "2", "--routing-config", "AdditionalVersionWeights={}"); a["FunctionVersion"] != "2" || a["RoutingConfig"] != nil {
		t.Errorf("after promotion: %v", a)
	}
	if l := do("list-aliases"); len(l["Aliases"].([]any)) != 1 {
		t.Errorf("aliases %v", l)
	}
	if l := do("list-versions-by-function"); len(l["Versions"].([]any)) != 3 {
		t.Errorf("versions %v", l)
	}
	do("put-function-concurrency", "--reserved-concurrent-executions", "5")
	do("put-provisioned-concurrency-config", "--qualifier", "live", "--provisioned-concurrent-executions", "1")
	if l := do("list-provisioned-concurrency-configs"); len(l["ProvisionedConcurrencyConfigs"].([]any)) != 1 {
		t.Errorf("provisioned %v", l)
	}
	c.refused("An error occurred (ResourceConflictException) when calling the PutProvisionedConcurrencyConfig operation: Version is pointed by a Provisioned Concurrency alias",
		"put-provisioned-concurrency-config", "--function-name", "cli", "--qualifier", "2", "--provisioned-concurrent-executions", "1")
	do("delete-function", "--qualifier", "1")
}
