package lambda

import (
	"slices"
	"testing"
)

func TestURLsAreListedPageByPage(t *testing.T) {
	r := newRig(t)
	r.publishTwo(t)
	want := []string{""}
	for _, alias := range []string{"a", "b", "c"} {
		if _, err := r.CreateAlias(t.Context(), &CreateAliasInput{FunctionName: new("f"), Name: new(alias), FunctionVersion: new("1")}); err != nil {
			t.Fatal(err)
		}
		want = append(want, ":"+alias)
	}
	for _, alias := range []*string{nil, new("a"), new("b"), new("c")} {
		if _, err := r.CreateFunctionUrlConfig(t.Context(), &CreateFunctionUrlConfigInput{FunctionName: new("f"), Qualifier: alias, AuthType: "NONE"}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for marker, pages := (*string)(nil), 0; pages == 0 || marker != nil; pages++ {
		out, err := r.ListFunctionUrlConfigs(t.Context(), &ListFunctionUrlConfigsInput{FunctionName: new("f"), MaxItems: new(int32(1)), Marker: marker})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range out.FunctionUrlConfigs {
			got = append(got, (*c.FunctionArn)[len(r.arn("f", "")):])
		}
		if marker = out.NextMarker; marker != nil && *marker == "" {
			t.Fatal("clients take an empty marker for the end")
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
}

func TestAnEmptyCORSConfigurationTakesItAway(t *testing.T) {
	r := newRig(t)
	r.publishTwo(t)
	name := new("f")
	if _, err := r.CreateFunctionUrlConfig(t.Context(), &CreateFunctionUrlConfigInput{FunctionName: name, AuthType: "NONE", Cors: &Cors{AllowOrigins: []string{"*"}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.UpdateFunctionUrlConfig(t.Context(), &UpdateFunctionUrlConfigInput{FunctionName: name, Cors: &Cors{}}); err != nil {
		t.Fatal(err)
	}
	if u, err := r.o.URLs.Get("f", ""); err != nil || u.CORS != nil {
		t.Errorf("%+v, %v: the function's own headers would be removed", u, err)
	}
}
