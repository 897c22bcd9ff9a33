package endpoint

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

func table(t testing.TB, keys ...string) *Table[string] {
	t.Helper()
	tb := &Table[string]{}
	for _, k := range keys {
		if err := tb.Add(k, k); err != nil {
			t.Fatal(err)
		}
	}
	return tb
}

func TestTheMostSpecificRouteWins(t *testing.T) {
	tb := table(t, "GET /pets/dog/1", "GET /pets/dog/{id}", "GET /pets/{proxy+}", "ANY /{proxy+}", "$default",
		"POST /pets/{kind}/{id}", "ANY /pets/dog/1", "GET /", "GET /{a}/x", "GET /y/{rest+}", "DELETE /y/{b}/z")
	for _, tc := range []struct{ method, path, want string }{
		{"GET", "/pets/dog/1", "GET /pets/dog/1"},
		{"PUT", "/pets/dog/1", "ANY /pets/dog/1"},
		{"GET", "/pets/dog/2", "GET /pets/dog/{id} id=2"},
		{"GET", "/pets/cat/1", "GET /pets/{proxy+} proxy=cat/1"},
		{"POST", "/pets/dog/2", "POST /pets/{kind}/{id} id=2 kind=dog"},
		{"GET", "/test/5", "ANY /{proxy+} proxy=test/5"},
		{"GET", "/", "GET /"},
		{"POST", "/", "$default"},
		{"GET", "/y/x", "GET /{a}/x a=y"}, // the whole path before a greedy variable
		{"DELETE", "/y/q/z", "DELETE /y/{b}/z b=q"},
		{"GET", "/y/q/z", "GET /y/{rest+} rest=q/z"},
		{"GET", "/pets/a%2Fb/c%20d", "GET /pets/{proxy+} proxy=a/b/c d"},
		{"POST", "/pets/a%2Fb/c", "POST /pets/{kind}/{id} id=c kind=a/b"},
		{"GET", "/pets/", "ANY /{proxy+} proxy=pets/"}, // a variable is never empty
		{"GET", "//", "$default"},
	} {
		key, vars, ok := tb.Match(tc.method, tc.path)
		got := key
		for _, name := range []string{"a", "b", "id", "kind", "proxy", "rest"} {
			if v, ok := vars[name]; ok {
				got += fmt.Sprintf(" %s=%s", name, v)
			}
		}
		if !ok || got != tc.want {
			t.Errorf("%s %s: %s, want %s", tc.method, tc.path, got, tc.want)
		}
	}
	if _, _, ok := table(t, "GET /a").Match("GET", "/b"); ok {
		t.Error("a path that no route has is found")
	}
}

func TestRoutesThatCanNotBeAreRefused(t *testing.T) {
	tb := table(t, "GET /a/{id}", "$default")
	for key, kind := range map[string]errs.Kind{
		"GET /a/{name}":      errs.Conflict, // the same shape
		"$default":           errs.Conflict,
		"FETCH /a":           errs.Invalid,
		"GET a":              errs.Invalid,
		"GET":                errs.Invalid,
		"":                   errs.Invalid,
		"GET /a b":           errs.Invalid,
		"GET /a?x=1":         errs.Invalid,
		"GET /{rest+}/b":     errs.Invalid,
		"GET /pre{id}":       errs.Invalid,
		"GET /{}":            errs.Invalid,
		"GET /{a}{b}":        errs.Invalid,
		"GET /a/{i d}":       errs.Invalid,
		"get /a/lower-case":  errs.Invalid,
		"GET /a/{id}/{id+}/": errs.Invalid,
	} {
		if err := tb.Add(key, key); !errs.Is(err, kind) {
			t.Errorf("%q: %v, want %v", key, err, kind)
		}
	}
}

func FuzzMatchFindsARouteOrNone(f *testing.F) {
	tb := table(f, "GET /pets/{id}", "ANY /x/{rest+}", "POST /{a}/{b}/c")
	f.Add("GET", "/pets/1")
	f.Add("POST", "/%2F/%zz/c")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, method, path string) {
		key, vars, ok := tb.Match(method, path)
		if ok && strings.Count(key, "{") != len(vars) {
			t.Errorf("%s %s: %s with %v", method, path, key, vars)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	var keys []string
	for i := range 300 {
		keys = append(keys, fmt.Sprintf("GET /v1/resource%d/{id}/part", i))
	}
	tb := table(b, keys...)
	b.ReportAllocs()
	for b.Loop() {
		tb.Match("GET", "/v1/resource299/7/part")
	}
}
