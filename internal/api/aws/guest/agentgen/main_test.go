package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

const guestDir = ".."

func TestEmbeddedAgentIsBuiltFromTheseSources(t *testing.T) {
	recorded, err := os.ReadFile(filepath.Join(guestDir, "agent.sum"))
	if err != nil {
		t.Fatal(err)
	}
	now, err := sum(guestDir)
	if err != nil {
		t.Fatal(err)
	}
	_, recordedHash, _ := strings.Cut(string(recorded), "\n")
	_, hash, _ := strings.Cut(now, "\n")
	if recordedHash != hash {
		t.Fatal("the agent's sources have changed since it was built: run go generate ./internal/api/aws/guest")
	}
}

// TestEmbeddedAgentIsReproducible compares bytes where the compiler is the one
// that built the embedded agent; another compiler gives other bytes.
func TestEmbeddedAgentIsReproducible(t *testing.T) {
	recorded, err := os.ReadFile(filepath.Join(guestDir, "agent.sum"))
	if err != nil {
		t.Fatal(err)
	}
	compiler, _, _ := strings.Cut(string(recorded), "\n")
	if compiler != runtime.Version() {
		t.Skipf("the embedded agent was built with %s, this is %s", compiler, runtime.Version())
	}
	for _, arch := range architectures {
		embedded, err := os.ReadFile(filepath.Join(guestDir, file(arch)))
		if err != nil {
			t.Fatal(err)
		}
		built, err := build(guestDir, arch)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(embedded, built) {
			t.Errorf("%s differs from a fresh build: run go generate ./internal/api/aws/guest", file(arch))
		}
	}
}
