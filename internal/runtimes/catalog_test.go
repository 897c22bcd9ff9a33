package runtimes

import (
	"slices"
	"strings"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

func testCatalog(strict bool) *Catalog {
	return &Catalog{strict: strict, found: []found{
		{family: Python, number: 9, version: "3.9.18", path: "/opt/python3.9"},
		{family: Python, number: 11, version: "3.11.2", path: "/usr/bin/python3.11"},
		{family: Node, number: 20, version: "20.20.2", path: "/usr/bin/node"},
	}}
}

func TestResolveChoosesExactThenNearest(t *testing.T) {
	for _, tt := range []struct{ name, resolved, warning string }{
		{"python3.11", "python3.11 (3.11.2)", ""},
		{"python3.10", "python3.11 (3.11.2)", "pyenv install 3.10"}, // as close as 3.9, but newer
		{"python3.8", "python3.9 (3.9.18)", "python3.9 (3.9.18) at /opt/python3.9 serves"},
		{"python3.14", "python3.11 (3.11.2)", "python3.14 was asked for"},
		{"nodejs20.x", "node (20.20.2)", ""},
		{"nodejs24.x", "node (20.20.2)", "nvm install 24"},
		{"provided.al2023", "provided", ""},
		{"provided", "provided", ""},
		{"go1.x", "provided", "executable named bootstrap"},
	} {
		r, err := testCatalog(false).Resolve(tt.name)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if r.Name != tt.name || r.Resolved() != tt.resolved {
			t.Errorf("%s: name %q is served by %q, want %q", tt.name, r.Name, r.Resolved(), tt.resolved)
		}
		if (r.Warning == "") != (tt.warning == "") || !strings.Contains(r.Warning, tt.warning) {
			t.Errorf("%s: warning %q, want %q in it", tt.name, r.Warning, tt.warning)
		}
	}
}

func TestStrictCatalogTakesExactVersionsOnly(t *testing.T) {
	c := testCatalog(true)
	if _, err := c.Resolve("python3.11"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"python3.12", "nodejs22.x"} {
		if _, err := c.Resolve(name); !errs.Is(err, errs.Unsupported) || !strings.Contains(err.Error(), "To get it, install") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestResolveRefusesWhatItCannotServe(t *testing.T) {
	for _, tt := range []struct {
		name string
		kind errs.Kind
		text string
	}{
		{"", errs.Invalid, "python3.8"},
		{"python", errs.Invalid, "nodejs24.x"},
		{"python3.011", errs.Invalid, "no runtime"},
		{"python3.15", errs.Invalid, "no runtime"},
		{"nodejs21.x", errs.Invalid, "no runtime"},
		{"nodejs20", errs.Invalid, "no runtime"},
		{"python3.7", errs.Invalid, "retired"},
		{"nodejs12.x", errs.Invalid, "Use nodejs22.x"},
		{"java21", errs.Unsupported, "not offered"},
		{"ruby3.3", errs.Unsupported, "not offered"},
		{"dotnet8", errs.Unsupported, "provided.al2023"},
	} {
		_, err := testCatalog(false).Resolve(tt.name)
		if !errs.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%q: %v; want kind %v and %q", tt.name, err, tt.kind, tt.text)
		}
	}
}

func TestResolveWithoutInterpretersServesProvidedOnly(t *testing.T) {
	var c Catalog
	for _, name := range Names() {
		_, err := c.Resolve(name)
		if slices.Contains(provided, name) {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		} else if !errs.Is(err, errs.Unsupported) || !strings.Contains(err.Error(), "nothing to run") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
