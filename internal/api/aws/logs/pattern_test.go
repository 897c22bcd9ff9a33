package logs

import "testing"

func TestPatternsMatchAsTheFieldSays(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "anything", true},
		{"ERROR", "an ERROR here", true},
		{"ERROR", "an error here", false},
		{"ERROR timeout", "timeout and ERROR", true},
		{"ERROR timeout", "ERROR only", false},
		{"ERROR -ignore", "ERROR to ignore", false},
		{"ERROR -ignore", "ERROR", true},
		{"-ignore", "fine", true},
		{"?a1 ?b2", "has b2", true},
		{"?a1 ?b2", "has none", false},
		{`"two words"`, "the two words", true},
		{`"two words"`, "words two", false},
		{`"a \"quote\""`, `a "quote" is here`, true},
		{`%5\d\d$%`, "status 503", true},
		{`%5\d\d$%`, "status 203", false},
		{`{ $.level = "ERROR" }`, `{"level":"ERROR"}`, true},
		{`{ $.level = "ERROR" }`, `{"level":"INFO"}`, false},
		{`{ $.level = "ERROR" }`, `level ERROR`, false},
		{`{ $.level = ERROR }`, `{"level":"ERROR"}`, true},
		{`{ $.level != "ERROR" }`, `{"level":"INFO"}`, true},
		{`{ $.a.b[1] = 7 }`, `{"a":{"b":[1,7]}}`, true},
		{`{ $.a["b c"] = 7 }`, `{"a":{"b c":7}}`, true},
		{`{ $.ms > 100 && $.path = "/api/*" }`, `{"ms":120.5,"path":"/api/x"}`, true},
		{`{ $.ms > 100 && $.path = "/api/*" }`, `{"ms":80,"path":"/api/x"}`, false},
		{`{ ($.a = 1 || $.b = 2) && $.c IS TRUE }`, `{"b":2,"c":true}`, true},
		{`{ ($.a = 1 || $.b = 2) && $.c IS TRUE }`, `{"b":2,"c":false}`, false},
		{`{ $.x NOT EXISTS }`, `{}`, true},
		{`{ $.x IS NULL }`, `{"x":null}`, true},
		{`{ $.x IS NULL }`, `{}`, false},
		{`{ $.msg = "*mid*end" }`, `{"msg":"a mid b end"}`, true},
		{`{ $.msg = %^a% }`, `{"msg":"abc"}`, true},
	} {
		p, err := ParsePattern(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		if got := p.Match(c.text); got != c.want {
			t.Errorf("%s on %s: %v", c.pattern, c.text, got)
		}
	}
	for _, bad := range []string{`"open`, `{ $.a = `, `{ $.a }`, `{ a = 1 }`, `{ $.a > x }`, `[ip, user]`, `%(%`, `{ ($.a = 1 }`, `{ $.a = 1 } x`} {
		if _, err := ParsePattern(bad); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}

func FuzzPattern(f *testing.F) {
	f.Add(`{ ($.a = 1 || $.b[0].c != "x*") && $.c IS TRUE }`, `{"a":1,"b":[{"c":"x"}]}`)
	f.Add(`a -b ?c "d e" %f%`, "a d e f")
	f.Fuzz(func(_ *testing.T, pattern, text string) {
		if p, err := ParsePattern(pattern); err == nil {
			p.Match(text)
		}
	})
}
