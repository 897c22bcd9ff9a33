package arn

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	full := Function{Region: "us-east-1", Account: "123456789012", Name: "f"}
	with := func(f Function, q string) Function { f.Qualifier = q; return f }
	tests := map[string]Function{
		"f":                                 {Name: "f"},
		"arn:0":                             {Name: "arn", Qualifier: "0"},
		"f:1":                               {Name: "f", Qualifier: "1"},
		"f:$LATEST":                         {Name: "f", Qualifier: "$LATEST"},
		"function:f":                        {Name: "f"},
		"function:f:live":                   {Name: "f", Qualifier: "live"},
		"function":                          {Name: "function"},
		"function:function":                 {Name: "function"},
		"123456789012:f":                    {Account: "123456789012", Name: "f"},
		"123456789012:function:f":           {Account: "123456789012", Name: "f"},
		"123456789012":                      {Name: "123456789012"},
		"us-east-1:123456789012:function:f": {Region: "us-east-1", Account: "123456789012", Name: "f"},
		"arn:aws:lambda:us-east-1:123456789012:function:f":           full,
		"arn:aws:lambda:us-east-1:123456789012:function:f:$LATEST":   with(full, "$LATEST"),
		"arn:aws:lambda:us-east-1:123456789012:function:f:my-alias":  with(full, "my-alias"),
		"arn:aws:lambda:us-gov-west-1:123456789012:function:my-f_2":  {Region: "us-gov-west-1", Account: "123456789012", Name: "my-f_2"},
		"arn:aws-cn:lambda:cn-north-1:123456789012:function:f":       {Region: "cn-north-1", Account: "123456789012", Name: "f"},
		"arn:aws:lambda:eu-central-1:123456789012:function:function": {Region: "eu-central-1", Account: "123456789012", Name: "function"},
	}
	for s, want := range tests {
		if got, ok := Parse(s); !ok || got != want {
			t.Errorf("Parse(%q) = %+v, %v, want %+v", s, got, ok, want)
		}
	}
	for _, s := range []string{
		"", " ", "a b", "f:", ":f", "f:1:2", "f.g", "f:$OTHER", "f\n", "é",
		"arn:aws:s3:::bucket",
		"arn:aws:lambda:us-east-1:123456789012:layer:l:1",
		"arn:aws:lambda:us-east-1:1234:function:f",
		"arn:aws:lambda:us-east-1:123456789012:function:f:1:2",
		"https://example.com/f",
	} {
		if got, ok := Parse(s); ok {
			t.Errorf("Parse(%q) = %+v, want a refusal", s, got)
		}
	}
}

func TestStringAndParseAgree(t *testing.T) {
	for _, f := range []Function{
		{"us-east-1", "000000000000", "f", ""},
		{"eu-west-3", "000000000000", "a-b_C", "12"},
		{"us-east-1", "000000000000", "f", "$LATEST"},
	} {
		if got, ok := Parse(f.String()); !ok || got != f {
			t.Errorf("%s parses to %+v, %v", f, got, ok)
		}
	}
}

func TestValidQualifierAndRole(t *testing.T) {
	for q, want := range map[string]bool{"1": true, "live": true, "$LATEST": true, "": false, "a b": false, "a:b": false, strings.Repeat("q", 129): false} {
		if ValidQualifier(q) != want {
			t.Errorf("ValidQualifier(%q) = %v", q, !want)
		}
	}
	for r, want := range map[string]bool{
		"arn:aws:iam::123456789012:role/lambda":       true,
		"arn:aws:iam::000000000000:role/a/b/my-role_": true,
		"lambda":                               false,
		"":                                     false,
		"arn:aws:iam::123:role/x":              false,
		"arn:aws:iam::123456789012:user/x":     false,
		"arn:aws:iam::123456789012:role/x y":   false,
		"arn:aws:iam::123456789012:role/a\n":   false,
		" arn:aws:iam::123456789012:role/name": false,
	} {
		if ValidRole(r) != want {
			t.Errorf("ValidRole(%q) = %v", r, !want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"f", "f:1", "function:f", "123456789012:function:f", "arn:aws:lambda:us-east-1:123456789012:function:f:$LATEST", "a:b:c", "arn:0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := Parse(s)
		if !ok {
			if got != (Function{}) {
				t.Errorf("Parse(%q) refuses but returns %+v", s, got)
			}
			return
		}
		if got.Name == "" || strings.Contains(got.Name, ":") {
			t.Errorf("Parse(%q) = %+v", s, got)
		}
		if got.Region != "" && got.Account != "" {
			if again, ok := Parse(got.String()); !ok || again != got {
				t.Errorf("Parse(%q) = %+v, whose ARN parses to %+v, %v", s, got, again, ok)
			}
		}
	})
}
