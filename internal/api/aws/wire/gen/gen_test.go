package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

// services returns the services that have an operations list.
func services(t *testing.T) []string {
	t.Helper()
	lists, err := filepath.Glob(filepath.Join(root, "models", "*.operations"))
	if err != nil || len(lists) == 0 {
		t.Fatal("no operations lists", err)
	}
	var names []string
	for _, l := range lists {
		names = append(names, strings.TrimSuffix(filepath.Base(l), ".operations"))
	}
	return names
}

func TestCommittedCodeIsWhatTheModelsGive(t *testing.T) {
	for _, service := range services(t) {
		want, err := generate(root, service)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(root, service, "api_gen.go"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s/api_gen.go is stale: run go generate ./internal/api/aws/wire/gen", service)
		}
	}
}

func TestCommittedModelsHoldNothingThatIsNotServed(t *testing.T) {
	for _, service := range services(t) {
		tmp := t.TempDir()
		if err := os.Mkdir(filepath.Join(tmp, "models"), 0o755); err != nil {
			t.Fatal(err)
		}
		model := filepath.Join(root, "models", service+".json")
		list, err := os.ReadFile(filepath.Join(root, "models", service+".operations"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(tmp, "models", service+".operations"), list, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := trim(tmp, model, service); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(tmp, "models", service+".json"))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(model)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("trimming models/%s.json again changes it", service)
		}
	}
}

func TestOperationThatTheModelLacksIsNamed(t *testing.T) {
	tmp := t.TempDir()
	if err := os.Mkdir(filepath.Join(tmp, "models"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"x.operations": "# a list\nGet\nPut # not in the model\n",
		"x.json":       `{"metadata":{"protocol":"rest-json"},"operations":{"Get":{"name":"Get","http":{"method":"GET","requestUri":"/"}}},"shapes":{}}`,
	} {
		if err := os.WriteFile(filepath.Join(tmp, "models", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, err := generate(tmp, "x")
	if err == nil || !strings.Contains(err.Error(), "Put") || !strings.Contains(err.Error(), "-from") {
		t.Errorf("got %v", err)
	}
}
