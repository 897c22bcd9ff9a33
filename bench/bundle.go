package main

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// debianPython is where Debian's Python packages are.
const debianPython = "/usr/lib/python3/dist-packages"

// libraries are the packages that a heavy Python function brings along.
var libraries = map[string][]string{
	"boto3":  {"boto3", "botocore", "s3transfer", "jmespath", "urllib3", "requests", "chardet", "idna", "certifi", "dateutil", "six.py"},
	"pandas": {"numpy", "pandas", "pytz", "dateutil", "six.py"},
}

// vendor makes the directory of a heavy Python function: its handler, Debian's
// packages, and in lib the C libraries that they are linked with.
func vendor(ctx context.Context, name, to string) error {
	if err := copyFile("bench/handlers/"+name+"/app.py", filepath.Join(to, "app.py")); err != nil {
		return err
	}
	for _, p := range libraries[name] {
		if err := copyTree(filepath.Join(debianPython, p), filepath.Join(to, p)); err != nil {
			return fmt.Errorf("%w (apt-get install python3-%s)", err, name)
		}
	}
	return linked(ctx, to)
}

// copyTree copies what an import reads: no tests, no descriptions of services
// other than the one that the handler uses.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if e.IsDir() {
			service := filepath.Base(filepath.Dir(path)) == "data" && strings.Contains(path, "botocore") && e.Name() != "s3"
			if e.Name() == "tests" || e.Name() == "__pycache__" || service {
				return fs.SkipDir
			}
			return nil
		}
		return copyFile(path, filepath.Join(to, rel))
	})
}

// linked copies into lib what the extensions below dir need of the machine, beside
// the C library itself.
func linked(ctx context.Context, dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".so" {
			return err
		}
		out, err := exec.CommandContext(ctx, "ldd", path).Output()
		if err != nil {
			return fmt.Errorf("ldd %s: %w", path, err)
		}
		for line := range strings.Lines(string(out)) {
			name, where, found := strings.Cut(strings.TrimSpace(line), " => ")
			where, _, _ = strings.Cut(where, " ")
			to := filepath.Join(dir, "lib", name)
			if _, err := os.Stat(to); err == nil || !found || isC(name) {
				continue
			}
			if err := copyFile(where, to); err != nil {
				return err
			}
		}
		return nil
	})
}

func isC(library string) bool {
	for _, p := range []string{"libc.", "libm.", "libdl.", "libpthread.", "librt.", "ld-"} {
		if strings.HasPrefix(library, p) {
			return true
		}
	}
	return false
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o755)
}

// packTree zips a directory.
func packTree(dir string) ([]byte, error) {
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	if err := z.AddFS(os.DirFS(dir)); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// npm installs the pinned packages of bench/npm once into the user's cache and
// returns where they are.
func npm(ctx context.Context) (string, error) {
	lock, err := os.ReadFile("bench/npm/package-lock.json")
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(lock)
	dir := filepath.Join(cache, "mayfly-bench", hex.EncodeToString(sum[:6]))
	modules := filepath.Join(dir, "node_modules")
	if _, err := os.Stat(filepath.Join(modules, ".package-lock.json")); err == nil {
		return modules, nil
	}
	note("installing npm packages into " + dir)
	for _, f := range []string{"package.json", "package-lock.json"} {
		if err := copyFile(filepath.Join("bench/npm", f), filepath.Join(dir, f)); err != nil {
			return "", err
		}
	}
	cmd := exec.CommandContext(ctx, "npm", "ci", "--prefix", dir, "--no-audit", "--no-fund")
	if b, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w: %s", err, b)
	}
	return modules, nil
}

// bundleSDK makes one file of a handler and the AWS SDK.
func bundleSDK(ctx context.Context, modules, to string) error {
	tool, err := oneFile(filepath.Join(modules, "@esbuild/*/bin/esbuild"))
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, tool, "bench/handlers/node-sdk/index.mjs", "--bundle", "--platform=node", "--format=esm", "--log-level=error",
		"--banner:js=import{createRequire}from'node:module';const require=createRequire(import.meta.url);", "--outfile="+filepath.Join(to, "index.mjs"))
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
	if b, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("esbuild: %w: %s", err, b)
	}
	return nil
}

// oneFile returns the one file that the pattern names.
func oneFile(pattern string) (string, error) {
	found, err := filepath.Glob(pattern)
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", errors.New("nothing at " + pattern)
	}
	return found[0], nil
}
