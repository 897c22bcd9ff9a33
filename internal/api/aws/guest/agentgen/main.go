// Command agentgen builds the agent that package guest embeds, for each
// architecture that a node can have, and notes what it was built from, so that
// a test can tell when it is stale. go generate runs it in package guest's folder.
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

var architectures = []string{"amd64", "arm64"}

func main() {
	if err := generate("."); err != nil {
		fmt.Fprintln(os.Stderr, "agentgen:", err)
		os.Exit(1)
	}
}

// generate writes the agents and their sum into dir, package guest's folder.
func generate(dir string) error {
	for _, arch := range architectures {
		program, err := build(dir, arch)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, file(arch)), program, 0o644); err != nil {
			return err
		}
	}
	note, err := sum(dir)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "agent.sum"), []byte(note), 0o644)
}

func file(arch string) string { return "agent_" + arch + ".gz" }

// build returns the compressed agent. Equal sources and compilers give equal bytes.
func build(dir, arch string) ([]byte, error) {
	tmp, err := os.MkdirTemp("", "agentgen-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	out := filepath.Join(tmp, "agent")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", out, "./agent")
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch,
		"GOFLAGS=", "GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the agent for %s: %w\n%s", arch, err, text)
	}
	program, err := os.ReadFile(out)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(program); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// sources are the folders that the agent is built from, below package guest's.
var sources = []string{"agent", "runtimeapi"}

// sum describes what the agent is built from: the compiler on the first line,
// a hash over the sources on the second.
func sum(dir string) (string, error) {
	h := sha256.New()
	for _, from := range sources {
		names, err := filepath.Glob(filepath.Join(dir, from, "*.go"))
		if err != nil {
			return "", err
		}
		for _, name := range names { // Glob sorts
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			text, err := os.ReadFile(name)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(h, "%s/%s %d\n%s", from, filepath.Base(name), len(text), text)
		}
	}
	return runtime.Version() + "\n" + hex.EncodeToString(h.Sum(nil)) + "\n", nil
}
