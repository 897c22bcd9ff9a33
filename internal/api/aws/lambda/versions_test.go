package lambda

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

// publishTwo makes f with versions 1 and 2 whose code differs.
func (r *rig) publishTwo(t *testing.T) {
	t.Helper()
	r.createActive(t)
	if _, err := r.PublishVersion(t.Context(), &PublishVersionInput{FunctionName: new("f")}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.UpdateFunctionCode(t.Context(), &UpdateFunctionCodeInput{FunctionName: new("f"), ZipFile: zipOf(t, "two")}); err != nil {
		t.Fatal(err)
	}
	r.finish(t, nil)
	if _, err := r.PublishVersion(t.Context(), &PublishVersionInput{FunctionName: new("f")}); err != nil {
		t.Fatal(err)
	}
}

func TestPublishVersion(t *testing.T) {
	r := newRig(t)
	r.createActive(t)
	latest := r.get(t)
	one, err := r.PublishVersion(t.Context(), &PublishVersionInput{
		FunctionName: new("f"), Description: new("first"), CodeSha256: latest.CodeSha256, RevisionId: latest.RevisionId,
	})
	if err != nil {
		t.Fatal(err)
	}
	if *one.Version != "1" || *one.FunctionArn != fARN+":1" || *one.Description != "first" || one.State != StateActive ||
		*one.CodeSha256 != *latest.CodeSha256 || *one.RevisionId == *latest.RevisionId {
		t.Errorf("published %+v", one)
	}
	again, err := r.PublishVersion(t.Context(), &PublishVersionInput{FunctionName: new(fARN)})
	if err != nil || *again.Version != "1" || *again.RevisionId != *one.RevisionId {
		t.Errorf("without a change: %+v, %v", again, err)
	}
	upd, err := r.UpdateFunctionCode(t.Context(), &UpdateFunctionCodeInput{FunctionName: new("f"), ZipFile: zipOf(t, "two"), Publish: new(true)})
	if err != nil || *upd.Version != "2" || *upd.FunctionArn != fARN+":2" || upd.State != StatePending {
		t.Errorf("updated and published: %+v, %v", upd, err)
	}
	_, err = r.PublishVersion(t.Context(), &PublishVersionInput{FunctionName: new("f")})
	wantError(t, err, CodeResourceConflict, "An update is in progress for resource: "+fARN)
	r.finish(t, nil)

	sum := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for _, tc := range []struct {
		in    PublishVersionInput
		code  string
		words string
	}{
		{PublishVersionInput{FunctionName: new("g")}, CodeResourceNotFound, "Function not found: " + strings.TrimSuffix(fARN, "f") + "g"},
		{PublishVersionInput{FunctionName: new("f:1")}, CodeInvalidParameterValue, "$LATEST"},
		{PublishVersionInput{FunctionName: new("f"), RevisionId: one.RevisionId}, CodePreconditionFailed, "The Revision Id provided does not match the latest Revision Id."},
		{PublishVersionInput{FunctionName: new("f"), CodeSha256: &sum}, CodeInvalidParameterValue, "CodeSHA256 (" + sum + ") is different from current CodeSHA256 in $LATEST (" + *r.get(t).CodeSha256 + "). Please try again with the CodeSHA256 in $LATEST."},
		{PublishVersionInput{FunctionName: new("f"), PublishTo: "LATEST_PUBLISHED"}, CodeInvalidParameterValue, "PublishTo"},
	} {
		_, err := r.PublishVersion(t.Context(), &tc.in)
		wantError(t, err, tc.code, tc.words)
	}
}

func TestCreateAndPublish(t *testing.T) {
	r := newRig(t)
	in := goodInput(t)
	in.Publish = new(true)
	out, err := r.CreateFunction(t.Context(), in)
	if err != nil || *out.Version != "1" || *out.FunctionArn != fARN || out.State != StatePending {
		t.Errorf("created and published: %+v, %v", out, err)
	}
}

func TestVersionsAreListed(t *testing.T) {
	r := newRig(t)
	r.publishTwo(t)
	var got []string
	in := &ListVersionsByFunctionInput{FunctionName: new("f"), MaxItems: new(int32(2))}
	for {
		out, err := r.ListVersionsByFunction(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range out.Versions {
			got = append(got, *v.Version)
			if *v.FunctionArn != fARN+":"+*v.Version || v.State != "" {
				t.Errorf("listed %+v", v)
			}
		}
		got = append(got, "|")
		if out.NextMarker == nil {
			break
		}
		in.Marker = out.NextMarker
	}
	if s := strings.Join(got, " "); s != "$LATEST 1 | 2 |" {
		t.Errorf("pages: %s", s)
	}
	all, err := r.ListFunctions(t.Context(), &ListFunctionsInput{FunctionVersion: "ALL", MaxItems: new(int32(2))})
	if err != nil || len(all.Functions) != 2 || all.NextMarker == nil {
		t.Fatalf("%+v, %v", all, err)
	}
	rest, err := r.ListFunctions(t.Context(), &ListFunctionsInput{FunctionVersion: "ALL", Marker: all.NextMarker})
	if err != nil || len(rest.Functions) != 1 || *rest.Functions[0].FunctionArn != fARN+":2" || rest.NextMarker != nil {
		t.Errorf("second page of all functions' versions: %+v, %v", rest, err)
	}
}

func TestVersionsAreDeleted(t *testing.T) {
	r := newRig(t)
	r.publishTwo(t)
	if _, err := r.CreateAlias(t.Context(), &CreateAliasInput{FunctionName: new("f"), Name: new("live"), FunctionVersion: new("1")}); err != nil {
		t.Fatal(err)
	}
	for qualifier, want := range map[string][2]string{
		"1":    {CodeResourceConflict, "Unable to delete version because the following aliases reference it: [live]"},
		"live": {CodeInvalidParameterValue, "Deletion of aliases is not currently supported."},
		"9":    {CodeResourceNotFound, "Function not found: " + fARN + ":9"},
	} {
		_, err := r.DeleteFunction(t.Context(), &DeleteFunctionInput{FunctionName: new("f"), Qualifier: &qualifier})
		wantError(t, err, want[0], want[1])
	}
	if _, err := r.DeleteFunction(t.Context(), &DeleteFunctionInput{FunctionName: new("f:2")}); err != nil {
		t.Error(err)
	}
	_, err := r.GetFunction(t.Context(), &GetFunctionInput{FunctionName: new("f"), Qualifier: new("2")})
	wantError(t, err, CodeResourceNotFound, "Function not found: "+fARN+":2")
}

func TestAliases(t *testing.T) {
	r := newRig(t)
	r.publishTwo(t)
	made, err := r.CreateAlias(t.Context(), &CreateAliasInput{
		FunctionName: new("f"), Name: new("live"), FunctionVersion: new("1"), Description: new("what people call"),
		RoutingConfig: &AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{"2": 0.1}},
	})
	if err != nil || *made.AliasArn != fARN+":live" || *made.FunctionVersion != "1" || *made.Name != "live" ||
		*made.Description != "what people call" || made.RoutingConfig.AdditionalVersionWeights["2"] != 0.1 {
		t.Fatalf("%+v, %v", made, err)
	}
	for name, qualifier := range map[string]*string{"f": new("live"), "f:live": nil, fARN + ":live": nil, "000000000000:function:f:live": nil} {
		c, err := r.GetFunctionConfiguration(t.Context(), &GetFunctionConfigurationInput{FunctionName: &name, Qualifier: qualifier})
		if err != nil || *c.FunctionArn != fARN+":live" || *c.Version != "1" {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	// No RoutingConfig leaves the weights, an empty one ends them.
	upd, err := r.UpdateAlias(t.Context(), &UpdateAliasInput{FunctionName: new("f"), Name: new("live"), Description: new(""), RevisionId: made.RevisionId})
	if err != nil || *upd.Description != "" || upd.RoutingConfig == nil || *upd.RevisionId == *made.RevisionId {
		t.Fatalf("%+v, %v", upd, err)
	}
	upd, err = r.UpdateAlias(t.Context(), &UpdateAliasInput{FunctionName: new("f"), Name: new("live"), FunctionVersion: new("2"), RoutingConfig: &AliasRoutingConfiguration{}})
	if err != nil || *upd.FunctionVersion != "2" || upd.RoutingConfig != nil {
		t.Fatalf("%+v, %v", upd, err)
	}
	got, err := r.GetAlias(t.Context(), &GetAliasInput{FunctionName: new("f"), Name: new("live")})
	if err != nil || *got.RevisionId != *upd.RevisionId {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := r.CreateAlias(t.Context(), &CreateAliasInput{FunctionName: new("f"), Name: new("dev"), FunctionVersion: new("$LATEST")}); err != nil {
		t.Fatal(err)
	}
	first, err := r.ListAliases(t.Context(), &ListAliasesInput{FunctionName: new("f"), MaxItems: new(int32(1))})
	if err != nil || len(first.Aliases) != 1 || *first.Aliases[0].Name != "dev" || first.NextMarker == nil {
		t.Fatalf("%+v, %v", first, err)
	}
	rest, err := r.ListAliases(t.Context(), &ListAliasesInput{FunctionName: new("f"), Marker: first.NextMarker})
	if err != nil || len(rest.Aliases) != 1 || *rest.Aliases[0].Name != "live" || rest.NextMarker != nil {
		t.Errorf("%+v, %v", rest, err)
	}
	of, err := r.ListAliases(t.Context(), &ListAliasesInput{FunctionName: new("f"), FunctionVersion: new("2")})
	if err != nil || len(of.Aliases) != 1 {
		t.Errorf("aliases of version 2: %+v, %v", of, err)
	}
	if _, err := r.Invoke(t.Context(), &InvokeInput{FunctionName: new("f"), Qualifier: new("live")}); err != nil ||
		r.invoker.got.Qualifier != "live" || r.invoker.got.InvokedName != fARN+":live" {
		t.Errorf("a call of the alias is %+v, %v", r.invoker.got, err)
	}
	for range 2 {
		if _, err := r.DeleteAlias(t.Context(), &DeleteAliasInput{FunctionName: new("f"), Name: new("live")}); err != nil {
			t.Error(err)
		}
	}
	_, err = r.GetAlias(t.Context(), &GetAliasInput{FunctionName: new("f"), Name: new("live")})
	wantError(t, err, CodeResourceNotFound, "Alias not found: "+fARN+":live")
}

func TestDeletedAliasLeavesNoAccessBehind(t *testing.T) {
	r := newRig(t)
	r.publishTwo(t)
	alias := &CreateAliasInput{FunctionName: new("f"), Name: new("live"), FunctionVersion: new("1")}
	permit := func(qualifier *string) {
		t.Helper()
		if _, err := r.AddPermission(t.Context(), &AddPermissionInput{
			FunctionName: new("f"), Qualifier: qualifier, StatementId: new("all"), Action: new("lambda:InvokeFunctionUrl"), Principal: new("*"), FunctionUrlAuthType: "NONE",
		}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.CreateAlias(t.Context(), alias); err != nil {
		t.Fatal(err)
	}
	permit(nil)
	permit(new("live"))
	if _, err := r.CreateFunctionUrlConfig(t.Context(), &CreateFunctionUrlConfigInput{FunctionName: new("f"), Qualifier: new("live"), AuthType: "NONE"}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.DeleteAlias(t.Context(), &DeleteAliasInput{FunctionName: new("f"), Name: new("live")}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.CreateAlias(t.Context(), alias); err != nil {
		t.Fatal(err)
	}
	if out, err := r.GetPolicy(t.Context(), &GetPolicyInput{FunctionName: new("f"), Qualifier: new("live")}); err == nil {
		t.Errorf("a new alias of that name has the policy %s", *out.Policy)
	}
	if out, err := r.GetFunctionUrlConfig(t.Context(), &GetFunctionUrlConfigInput{FunctionName: new("f"), Qualifier: new("live")}); err == nil {
		t.Errorf("a new alias of that name has the URL %s", *out.FunctionUrl)
	}
	if _, err := r.GetPolicy(t.Context(), &GetPolicyInput{FunctionName: new("f")}); err != nil {
		t.Errorf("the function's own policy: %v", err)
	}
}

func TestAliasRefusals(t *testing.T) {
	r := newRig(t)
	r.publishTwo(t)
	live := &CreateAliasInput{FunctionName: new("f"), Name: new("live"), FunctionVersion: new("1")}
	made, err := r.CreateAlias(t.Context(), live)
	if err != nil {
		t.Fatal(err)
	}
	weights := func(w map[string]float64) *AliasRoutingConfiguration {
		return &AliasRoutingConfiguration{AdditionalVersionWeights: w}
	}
	for name, tc := range map[string]struct {
		in    CreateAliasInput
		code  string
		words string
	}{
		"taken":         {*live, CodeResourceConflict, "Alias already exists: " + fARN + ":live"},
		"no function":   {CreateAliasInput{FunctionName: new("g"), Name: new("a"), FunctionVersion: new("1")}, CodeResourceNotFound, "Function not found: " + strings.TrimSuffix(fARN, "f") + "g"},
		"no version":    {CreateAliasInput{FunctionName: new("f"), Name: new("a"), FunctionVersion: new("9")}, CodeResourceNotFound, "Function not found: " + fARN + ":9"},
		"a number":      {CreateAliasInput{FunctionName: new("f"), Name: new("12"), FunctionVersion: new("1")}, codeValidation, "Value '12' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)"},
		"bad version":   {CreateAliasInput{FunctionName: new("f"), Name: new("a"), FunctionVersion: new("one")}, codeValidation, "Value 'one' at 'functionVersion' failed to satisfy constraint"},
		"nothing given": {CreateAliasInput{FunctionName: new("f")}, codeValidation, "2 validation errors detected: Value null at 'name'"},
		"weight": {CreateAliasInput{FunctionName: new("f"), Name: new("a"), FunctionVersion: new("1"), RoutingConfig: weights(map[string]float64{"2": 1.5})},
			codeValidation, "Value '{2=1.5}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: Map value must satisfy constraint: [Member must have value less than or equal to 1.0"},
		"weight of an alias": {CreateAliasInput{FunctionName: new("f"), Name: new("a"), FunctionVersion: new("1"), RoutingConfig: weights(map[string]float64{"live": 0.5})},
			codeValidation, "Map keys must satisfy constraint"},
		"three versions": {CreateAliasInput{FunctionName: new("f"), Name: new("a"), FunctionVersion: new("1"), RoutingConfig: weights(map[string]float64{"2": 0.5, "3": 0.1})},
			CodeInvalidParameterValue, "Number of items in AdditionalVersionWeights cannot be greater than 1"},
		"same version": {CreateAliasInput{FunctionName: new("f"), Name: new("a"), FunctionVersion: new("1"), RoutingConfig: weights(map[string]float64{"1": 0.5})},
			CodeInvalidParameterValue, "Invalid function version 1. Function version 1 is already included in routing configuration."},
		"latest": {CreateAliasInput{FunctionName: new("f"), Name: new("a"), FunctionVersion: new("$LATEST"), RoutingConfig: weights(map[string]float64{"1": 0.5})},
			CodeInvalidParameterValue, "$LATEST is not supported for an alias pointing to more than 1 version"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.CreateAlias(t.Context(), &tc.in)
			wantError(t, err, tc.code, tc.words)
		})
	}
	if _, err := r.UpdateAlias(t.Context(), &UpdateAliasInput{FunctionName: new("f"), Name: new("live"), FunctionVersion: new("2")}); err != nil {
		t.Fatal(err)
	}
	_, err = r.UpdateAlias(t.Context(), &UpdateAliasInput{FunctionName: new("f"), Name: new("live"), RevisionId: made.RevisionId})
	wantError(t, err, CodePreconditionFailed, "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API")
	_, err = r.UpdateAlias(t.Context(), &UpdateAliasInput{FunctionName: new("f"), Name: new("a")})
	wantError(t, err, CodeResourceNotFound, "Alias not found: "+fARN+":a")
}

func TestReservedConcurrency(t *testing.T) {
	r := newRig(t)
	r.createActive(t)
	none, err := r.GetFunctionConcurrency(t.Context(), &GetFunctionConcurrencyInput{FunctionName: new("f")})
	if err != nil || none.ReservedConcurrentExecutions != nil {
		t.Errorf("nothing reserved: %+v, %v", none, err)
	}
	for _, n := range []int32{200, 0} {
		out, err := r.PutFunctionConcurrency(t.Context(), &PutFunctionConcurrencyInput{FunctionName: new("f"), ReservedConcurrentExecutions: &n})
		if err != nil || *out.ReservedConcurrentExecutions != n {
			t.Fatalf("%+v, %v", out, err)
		}
		got, err := r.GetFunction(t.Context(), &GetFunctionInput{FunctionName: new("f")})
		if err != nil || *got.Concurrency.ReservedConcurrentExecutions != n {
			t.Errorf("%+v, %v", got.Concurrency, err)
		}
		s, err := r.GetAccountSettings(t.Context(), &GetAccountSettingsInput{})
		if err != nil || *s.AccountLimit.ConcurrentExecutions != 1000 || *s.AccountLimit.UnreservedConcurrentExecutions != 1000-n {
			t.Errorf("%+v, %v", s.AccountLimit, err)
		}
	}
	for _, tc := range []struct {
		name  string
		n     *int32
		code  string
		words string
	}{
		{"f", new(int32(901)), CodeInvalidParameterValue, "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100]."},
		{"f", new(int32(-1)), codeValidation, "Value '-1' at 'reservedConcurrentExecutions' failed to satisfy constraint: Member must have value greater than or equal to 0"},
		{"f", nil, codeValidation, "Value null at 'reservedConcurrentExecutions'"},
		{"f:1", new(int32(1)), CodeInvalidParameterValue, "This operation is permitted on Lambda functions only."},
		{"g", new(int32(1)), CodeResourceNotFound, "Function not found"},
	} {
		_, err := r.PutFunctionConcurrency(t.Context(), &PutFunctionConcurrencyInput{FunctionName: &tc.name, ReservedConcurrentExecutions: tc.n})
		wantError(t, err, tc.code, tc.words)
	}
	if _, err := r.DeleteFunctionConcurrency(t.Context(), &DeleteFunctionConcurrencyInput{FunctionName: new("f")}); err != nil {
		t.Error(err)
	}
	got, err := r.GetFunction(t.Context(), &GetFunctionInput{FunctionName: new("f")})
	if err != nil || got.Concurrency != nil {
		t.Errorf("after the reservation ended: %+v, %v", got.Concurrency, err)
	}
}

func TestProvisionedConcurrency(t *testing.T) {
	r := newRig(t)
	r.publishTwo(t)
	if _, err := r.CreateAlias(t.Context(), &CreateAliasInput{FunctionName: new("f"), Name: new("live"), FunctionVersion: new("1")}); err != nil {
		t.Fatal(err)
	}
	put, err := r.PutProvisionedConcurrencyConfig(t.Context(), &PutProvisionedConcurrencyConfigInput{FunctionName: new("f"), Qualifier: new("live"), ProvisionedConcurrentExecutions: new(int32(4))})
	if err != nil || put.Status != "IN_PROGRESS" || *put.RequestedProvisionedConcurrentExecutions != 4 || *put.AllocatedProvisionedConcurrentExecutions != 0 {
		t.Fatalf("%+v, %v", put, err)
	}
	for _, tc := range []struct {
		ready                sandbox.Readiness
		status, reason       string
		allocated, available int32
	}{
		{sandbox.Readiness{Allocated: 2, Available: 1}, "IN_PROGRESS", "", 2, 1},
		{sandbox.Readiness{Allocated: 3, Available: 3, Trouble: "No memory."}, "FAILED", "No memory.", 3, 3},
		{sandbox.Readiness{Allocated: 4, Available: 0}, "READY", "", 4, 0},
	} {
		r.capacity.ready = map[string]sandbox.Readiness{"1": tc.ready}
		got, err := r.GetProvisionedConcurrencyConfig(t.Context(), &GetProvisionedConcurrencyConfigInput{FunctionName: new("f:live"), Qualifier: new("live")})
		if err != nil || got.Status != tc.status || wire.Value(got.StatusReason) != tc.reason ||
			*got.AllocatedProvisionedConcurrentExecutions != tc.allocated || *got.AvailableProvisionedConcurrentExecutions != tc.available {
			t.Errorf("%+v: %+v, %v", tc.ready, got, err)
		}
	}
	// Of a canary's two versions, both must be ready.
	if _, err := r.UpdateAlias(t.Context(), &UpdateAliasInput{FunctionName: new("f"), Name: new("live"), RoutingConfig: &AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{"2": 0.25}}}); err != nil {
		t.Fatal(err)
	}
	for allocated, status := range map[int]string{0: "IN_PROGRESS", 1: "READY"} {
		r.capacity.ready = map[string]sandbox.Readiness{"1": {Allocated: 4}, "2": {Allocated: allocated}}
		list, err := r.ListProvisionedConcurrencyConfigs(t.Context(), &ListProvisionedConcurrencyConfigsInput{FunctionName: new("f")})
		if err != nil || len(list.ProvisionedConcurrencyConfigs) != 1 || *list.ProvisionedConcurrencyConfigs[0].FunctionArn != fARN+":live" || list.ProvisionedConcurrencyConfigs[0].Status != status {
			t.Errorf("%+v, %v", list, err)
		}
	}
	for _, tc := range []struct {
		name, qualifier string
		n               int32
		code            string
		words           string
	}{
		{"f", "$LATEST", 1, CodeInvalidParameterValue, "Provisioned Concurrency Configs cannot be applied to unpublished function versions."},
		{"f", "9", 1, CodeResourceNotFound, "Function not found: " + fARN + ":9"},
		{"f", "nope", 1, CodeResourceNotFound, "Cannot find alias arn: " + fARN + ":nope"},
		{"f", "1", 1, CodeResourceConflict, "Version is pointed by a Provisioned Concurrency alias"},
		{"f", "live", 0, codeValidation, "Value '0' at 'provisionedConcurrentExecutions' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		{"f", "live", 901, CodeInvalidParameterValue, "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100]."},
	} {
		_, err := r.PutProvisionedConcurrencyConfig(t.Context(), &PutProvisionedConcurrencyConfigInput{FunctionName: &tc.name, Qualifier: &tc.qualifier, ProvisionedConcurrentExecutions: &tc.n})
		wantError(t, err, tc.code, tc.words)
	}
	_, err = r.PutFunctionConcurrency(t.Context(), &PutFunctionConcurrencyInput{FunctionName: new("f"), ReservedConcurrentExecutions: new(int32(3))})
	wantError(t, err, CodeInvalidParameterValue, "ReservedConcurrentExecutions 3 should not be lower than function's total provisioned concurrency [4].")
	for range 2 {
		if _, err := r.DeleteProvisionedConcurrencyConfig(t.Context(), &DeleteProvisionedConcurrencyConfigInput{FunctionName: new("f"), Qualifier: new("live")}); err != nil {
			t.Error(err)
		}
	}
	_, err = r.GetProvisionedConcurrencyConfig(t.Context(), &GetProvisionedConcurrencyConfigInput{FunctionName: new("f"), Qualifier: new("live")})
	wantError(t, err, CodeProvisionedConcurrencyConfigNotFound, "No Provisioned Concurrency Config found for this function")
	_, err = r.GetProvisionedConcurrencyConfig(t.Context(), &GetProvisionedConcurrencyConfigInput{FunctionName: new("f"), Qualifier: new(function.Latest)})
	wantError(t, err, CodeInvalidParameterValue, "The function resource provided must be an alias or a published version.")
}

func TestScalingConfig(t *testing.T) {
	r := newRig(t)
	r.publishTwo(t)
	in := &PutFunctionScalingConfigInput{
		FunctionName: new("f"), Qualifier: new("1"),
		FunctionScalingConfig: &FunctionScalingConfig{MinExecutionEnvironments: new(int32(1)), MaxExecutionEnvironments: new(int32(3))},
	}
	put, err := r.PutFunctionScalingConfig(t.Context(), in)
	if err != nil || put.FunctionState != StateActive {
		t.Fatalf("%+v, %v", put, err)
	}
	got, err := r.GetFunctionScalingConfig(t.Context(), &GetFunctionScalingConfigInput{FunctionName: new("f"), Qualifier: new("1")})
	if err != nil || *got.FunctionArn != fARN+":1" || *got.AppliedFunctionScalingConfig.MinExecutionEnvironments != 1 || *got.RequestedFunctionScalingConfig.MaxExecutionEnvironments != 3 {
		t.Errorf("%+v, %v", got, err)
	}
	in.FunctionScalingConfig.MaxExecutionEnvironments = new(int32(15001))
	_, err = r.PutFunctionScalingConfig(t.Context(), in)
	wantError(t, err, codeValidation, "Value '15001' at 'functionScalingConfig.maxExecutionEnvironments' failed to satisfy constraint: Member must have value less than or equal to 15000")
	in.FunctionScalingConfig = nil
	if _, err := r.PutFunctionScalingConfig(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	got, err = r.GetFunctionScalingConfig(t.Context(), &GetFunctionScalingConfigInput{FunctionName: new("f"), Qualifier: new("1")})
	if err != nil || got.AppliedFunctionScalingConfig != nil {
		t.Errorf("after it was taken back: %+v, %v", got, err)
	}
	_, err = r.GetFunctionScalingConfig(t.Context(), &GetFunctionScalingConfigInput{FunctionName: new("f"), Qualifier: new("$LATEST.PUBLISHED")})
	wantError(t, err, CodeResourceNotFound, "Function not found: "+fARN+":$LATEST.PUBLISHED")
}
