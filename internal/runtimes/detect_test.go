package runtimes_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/runtimes"
)

// host returns the catalog of what this machine has in the usual places.
func host(t *testing.T) *runtimes.Catalog {
	t.Helper()
	c, err := runtimes.Detect(t.Context(), runtimes.Config{Dirs: []string{"/usr/local/bin", "/usr/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// need returns an interpreter of the host, or skips the test.
func need(t *testing.T, family runtimes.Family) runtimes.Runtime {
	t.Helper()
	for _, r := range host(t).Found() {
		if r.Family == family {
			return r
		}
	}
	t.Skipf("no %s in /usr/local/bin or /usr/bin", family)
	return runtimes.Runtime{}
}

func TestDetectTellsWhatAnInterpreterIs(t *testing.T) {
	py := need(t, runtimes.Python)
	out, err := exec.Command(py.Interpreter, "-c", "import os, platform; print(platform.python_version(), os.__file__)").Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := py.Version + " " + py.Home.Stdlib + "/os.py\n"; string(out) != want {
		t.Errorf("Python says %q, the catalog %q", out, want)
	}
	if !strings.HasPrefix(py.Version, strings.TrimPrefix(py.Name, "python")+".") || py.Command != py.Name {
		t.Errorf("%+v", py)
	}
}

func TestDetectFollowsLinksAndPassesOverShimsAndBrokenOnes(t *testing.T) {
	py := need(t, runtimes.Python)
	dir := t.TempDir()
	bin := filepath.Join(dir, "versions", "any", "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	shims := filepath.Join(dir, "shims")
	if err := os.Mkdir(shims, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(shims, py.Command), []byte("#!/bin/sh\necho ran >\"$0.ran\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(shims, "python3.8")
	copyFile(t, "/bin/false", broken)
	if err := os.Symlink(py.Interpreter, filepath.Join(bin, "python3")); err != nil {
		t.Fatal(err)
	}
	c, err := runtimes.Detect(t.Context(), runtimes.Config{
		Dirs:        []string{shims, filepath.Join(dir, "missing")},
		VersionDirs: []string{filepath.Join(dir, "versions")},
	})
	if err != nil {
		t.Fatal(err)
	}
	found := c.Found()
	if len(found) != 1 || found[0].Interpreter != py.Interpreter || found[0].Version != py.Version {
		t.Errorf("found %+v, want %+v only", found, py)
	}
	if skipped := c.Skipped(); len(skipped) != 1 || skipped[0].Path != broken || skipped[0].Reason == "" {
		t.Errorf("skipped %+v, want %s", skipped, broken)
	}
	if _, err := os.Stat(filepath.Join(shims, py.Command+".ran")); err == nil {
		t.Error("the shim was run")
	}
}

func TestDetectFallsBackToTheNextFileOfAVersion(t *testing.T) {
	py := need(t, runtimes.Python)
	dir := t.TempDir()
	copyFile(t, "/bin/false", filepath.Join(dir, py.Command))
	c, err := runtimes.Detect(t.Context(), runtimes.Config{Dirs: []string{dir, filepath.Dir(py.Interpreter)}})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := c.Resolve(py.Name); err != nil || r.Interpreter != py.Interpreter || r.Warning != "" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestDetectFindsNode(t *testing.T) {
	n := need(t, runtimes.Node)
	out, err := exec.Command(n.Interpreter, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	if string(out) != "v"+n.Version+"\n" || n.Command != "node" {
		t.Errorf("node says %q, the catalog %+v", out, n)
	}
}

func TestDetectEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := runtimes.Detect(ctx, runtimes.Config{Dirs: []string{"/usr/bin"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}
