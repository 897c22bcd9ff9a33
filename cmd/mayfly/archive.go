package main

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// ignoreFile lists files that don't belong into the package.
const ignoreFile = ".mayflyignore"

// neverPacked are names that no function needs.
var neverPacked = []string{".git", ".hg", ".svn", ".DS_Store", "__pycache__", ignoreFile, projectFile}

// zipTime is the time of all files in a package, so that equal directories
// give equal packages.
var zipTime = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// bundle is a code package.
type bundle struct {
	data    []byte
	files   int
	modules int64 // bytes under node_modules, before compression
}

// sha256 is the package's hash as Lambda writes it.
func (b *bundle) sha256() string {
	sum := sha256.Sum256(b.data)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// pack makes the project's code package. A Go program is compiled first, and
// what the compiler says goes to out.
func (p *project) pack(ctx context.Context, out io.Writer) (*bundle, error) {
	if !p.buildGo {
		return zipDir(p.dir)
	}
	tmp, err := os.MkdirTemp("", "mayfly-build-")
	if err != nil {
		return nil, fmt.Errorf("build: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := goBuild(ctx, p.dir, filepath.Join(tmp, "bootstrap"), out); err != nil {
		return nil, err
	}
	return zipDir(tmp)
}

// goBuild compiles the program in dir to a static binary for this machine's
// architecture.
func goBuild(ctx context.Context, dir, output string, out io.Writer) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags", "lambda.norpc", "-ldflags", "-s -w", "-o", output, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+runtime.GOARCH, "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = out, out
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return missingTool("it is a Go program, and there is no go command here: install Go, or put a compiled bootstrap into the directory")
	}
	if err != nil {
		return fmt.Errorf("go build in %s: %w", dir, err)
	}
	return nil
}

// zipDir packs a directory. Equal content gives equal bytes.
func zipDir(dir string) (*bundle, error) {
	skip, err := readIgnore(filepath.Join(dir, ignoreFile))
	if err != nil {
		return nil, err
	}
	b := &bundle{}
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	err = filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error { // in lexical order
		if err != nil || file == dir {
			return err
		}
		rel, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if skip.match(rel, d.IsDir()) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		return b.add(z, file, rel)
	})
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", dir, err)
	}
	if b.files == 0 {
		return nil, fmt.Errorf("%s holds no files to deploy", dir)
	}
	b.data = buf.Bytes()
	return b, nil
}

// add writes one file; a symbolic link becomes the file that it leads to.
func (b *bundle) add(z *zip.Writer, file, rel string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file: list it in %s to leave it out", rel, ignoreFile)
	}
	h := &zip.FileHeader{Name: rel, Method: zip.Deflate, Modified: zipTime}
	h.SetMode(0o644)
	if info.Mode()&0o111 != 0 {
		h.SetMode(0o755)
	}
	w, err := z.CreateHeader(h)
	if err != nil {
		return err
	}
	n, err := io.Copy(w, f)
	if err != nil {
		return err
	}
	b.files++
	if strings.HasPrefix(rel, "node_modules/") || strings.Contains(rel, "/node_modules/") {
		b.modules += n
	}
	return nil
}

// ignore is a list of patterns, as in the simple uses of .gitignore.
type ignore []pattern

type pattern struct {
	glob     string
	anywhere bool // matches a name in any directory
	dirOnly  bool
}

func readIgnore(file string) (ignore, error) {
	var list ignore
	for _, name := range neverPacked {
		list = append(list, pattern{glob: name, anywhere: true})
	}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return list, nil
	}
	if err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		p, err := parsePattern(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, n, err)
		}
		list = append(list, p)
	}
	return list, lines.Err()
}

// parsePattern reads a pattern: a name or glob matches in every directory,
// unless a slash before its end ties it to the top; a slash at its end matches
// directories only.
func parsePattern(line string) (pattern, error) {
	if strings.HasPrefix(line, "!") || strings.Contains(line, "**") {
		return pattern{}, fmt.Errorf("%q: neither ! nor ** is understood here", line)
	}
	glob, dirOnly := strings.CutSuffix(line, "/")
	p := pattern{glob: strings.TrimPrefix(glob, "/"), anywhere: !strings.Contains(glob, "/"), dirOnly: dirOnly}
	if _, err := path.Match(p.glob, ""); err != nil || p.glob == "" {
		return pattern{}, fmt.Errorf("%q is not a pattern", line)
	}
	return p, nil
}

func (list ignore) match(rel string, dir bool) bool {
	for _, p := range list {
		if p.dirOnly && !dir {
			continue
		}
		name := rel
		if p.anywhere {
			name = path.Base(rel)
		}
		if ok, err := path.Match(p.glob, name); ok && err == nil {
			return true
		}
	}
	return false
}
