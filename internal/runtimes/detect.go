package runtimes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// probeTime bounds how long an interpreter may take to tell what it is.
const probeTime = 15 * time.Second

// probes run at once.
const probes = 4

// Config says where to look for interpreters, and how to choose.
type Config struct {
	// Dirs are directories of executables, the most wanted first: of two
	// interpreters of one version the first found serves.
	Dirs []string
	// VersionDirs hold an installation with a bin directory in each of their
	// subdirectories, as ~/.pyenv/versions and ~/.nvm/versions/node do. They
	// come after Dirs.
	VersionDirs []string
	// Strict refuses a version that the machine lacks, where otherwise the
	// nearest serves with a warning.
	Strict bool
}

// Catalog knows the interpreters of this machine. It doesn't change: what is
// installed later is found by the next Detect.
type Catalog struct {
	strict  bool
	found   []found
	skipped []Skipped
}

// Skipped is an interpreter that could not be used.
type Skipped struct {
	Path   string
	Reason string
}

// Found returns the interpreters in use, as the runtimes that they serve
// exactly, ordered by name.
func (c *Catalog) Found() []Runtime {
	var list []Runtime
	for i := range c.found {
		list = append(list, c.found[i].runtime(c.found[i].name()))
	}
	return list
}

// Skipped returns interpreters that were found but did not answer as expected.
func (c *Catalog) Skipped() []Skipped { return slices.Clone(c.skipped) }

// found is an interpreter that told its version.
type found struct {
	family  Family
	number  int // minor of Python 3, major of Node.js
	version string
	path    string
	home    Home
}

func (f *found) name() string {
	if f.family == Python {
		return fmt.Sprintf("python3.%d", f.number)
	}
	return fmt.Sprintf("nodejs%d.x", f.number)
}

func (f *found) runtime(name string) Runtime {
	command := "node"
	if f.family == Python {
		command = f.name()
	}
	return Runtime{Name: name, Family: f.family, Version: f.version, Interpreter: f.path, Command: command, Home: f.home}
}

// Detect looks for interpreters and asks each what it is. Scripts that only
// lead to one (version managers' shims) are passed over. Finding none is no
// error; the error is ctx's.
func Detect(ctx context.Context, cfg Config) (*Catalog, error) {
	groups := candidates(cfg)
	results := make([]found, len(groups))
	skipped := make([][]Skipped, len(groups))
	var g errgroup.Group
	g.SetLimit(probes)
	for i, paths := range groups {
		g.Go(func() error {
			for _, p := range paths {
				f, err := probe(ctx, p)
				if err == nil {
					results[i] = f
					return nil
				}
				skipped[i] = append(skipped[i], Skipped{p, err.Error()})
			}
			return nil
		})
	}
	if err := errors.Join(g.Wait(), ctx.Err()); err != nil {
		return nil, fmt.Errorf("detect language runtimes: %w", err)
	}
	c := &Catalog{strict: cfg.Strict, skipped: slices.Concat(skipped...)}
	for _, f := range results {
		if f.path == "" || slices.ContainsFunc(c.found, func(o found) bool { return o.family == f.family && o.number == f.number }) {
			continue
		}
		c.found = append(c.found, f)
	}
	slices.SortFunc(c.found, func(a, b found) int {
		if a.family != b.family {
			return -strings.Compare(string(a.family), string(b.family))
		}
		return a.number - b.number
	})
	return c, nil
}

var (
	pythonFile = regexp.MustCompile(`^python3(\.\d+)?$`)
	nodeFile   = regexp.MustCompile(`^node(js)?(-?\d+)?$`)
)

// candidates returns executables that may be interpreters, free of symbolic
// links, in groups that each hold different files for one version.
func candidates(cfg Config) [][]string {
	dirs := slices.Clone(cfg.Dirs)
	for _, v := range cfg.VersionDirs {
		bins, err := filepath.Glob(filepath.Join(v, "*", "bin"))
		if err == nil { // the pattern is well-formed unless v holds one
			dirs = append(dirs, bins...)
		}
	}
	var groups [][]string
	group := map[string]int{}
	seen := map[string]bool{}
	for _, dir := range dirs {
		for _, path := range executables(dir) {
			if seen[path] {
				continue
			}
			seen[path] = true
			// Files whose names tell no version are each their own group.
			key := path
			if m, ok := pythonMinor(filepath.Base(path)); ok {
				key = strconv.Itoa(m)
			}
			i, ok := group[key]
			if !ok {
				i = len(groups)
				group[key] = i
				groups = append(groups, nil)
			}
			groups[i] = append(groups[i], path)
		}
	}
	return groups
}

// executables returns the targets of dir's files that look like interpreters.
// A directory that can't be read has none.
func executables(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var list []string
	for _, e := range entries {
		if !pythonFile.MatchString(e.Name()) && !nodeFile.MatchString(e.Name()) {
			continue
		}
		path, err := filepath.EvalSymlinks(filepath.Join(dir, e.Name()))
		if err != nil || !isELF(path) {
			continue
		}
		if path, err = filepath.Abs(path); err == nil {
			list = append(list, path)
		}
	}
	return list
}

func isELF(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var magic [4]byte
	_, err = io.ReadFull(f, magic[:])
	return err == nil && string(magic[:]) == "\x7fELF"
}

func probe(ctx context.Context, path string) (found, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	if pythonFile.MatchString(filepath.Base(path)) {
		return probePython(ctx, path)
	}
	return probeNode(ctx, path)
}

// probeScript runs without site, so that nothing but the standard library is
// imported, and writes no compiled files.
const probeScript = `
import json, sys, sysconfig
try:
    import _ssl
    ca = _ssl.get_default_verify_paths()[1]
except ImportError:
    ca = ""
print(json.dumps({
    "major": sys.version_info[0], "minor": sys.version_info[1],
    "version": "%d.%d.%d" % sys.version_info[:3],
    "prefix": sys.base_prefix, "stdlib": sysconfig.get_path("stdlib"),
    "cache": sys.implementation.cache_tag or "", "ca": ca,
}))`

func probePython(ctx context.Context, path string) (found, error) {
	out, err := output(ctx, path, "-I", "-S", "-B", "-c", probeScript)
	if err != nil {
		return found{}, err
	}
	var a struct {
		Major, Minor                       int
		Version, Prefix, Stdlib, Cache, CA string
	}
	if err := json.Unmarshal(out, &a); err != nil {
		return found{}, fmt.Errorf("it does not answer like Python: %w", err)
	}
	if a.Major != 3 || a.Minor < minPython {
		return found{}, fmt.Errorf("it is Python %s: 3.%d is the oldest that is used", a.Version, minPython)
	}
	if rel, err := filepath.Rel(a.Prefix, a.Stdlib); err != nil || !filepath.IsLocal(rel) {
		return found{}, fmt.Errorf("its standard library %s is not under its prefix %s", a.Stdlib, a.Prefix)
	}
	return found{
		family: Python, number: a.Minor, version: a.Version, path: path,
		home: Home{Prefix: a.Prefix, Stdlib: a.Stdlib, Cache: a.Cache, CAFile: a.CA},
	}, nil
}

func probeNode(ctx context.Context, path string) (found, error) {
	out, err := output(ctx, path, "--version")
	if err != nil {
		return found{}, err
	}
	version, ok := strings.CutPrefix(strings.TrimSpace(string(out)), "v")
	major, err := strconv.Atoi(strings.SplitN(version, ".", 2)[0])
	if !ok || err != nil {
		return found{}, fmt.Errorf("it does not answer like Node.js: %.40q", out)
	}
	if major < nodeMajors[0] {
		return found{}, fmt.Errorf("it is Node.js %s: %d is the oldest that is used", version, nodeMajors[0])
	}
	return found{family: Node, number: major, version: version, path: path}, nil
}

// output runs an interpreter with an empty environment, so that nothing of the
// node's own reaches it.
func output(ctx context.Context, path string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{"LC_ALL=C.UTF-8"}
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, fmt.Errorf("it ends with %w: %s", err, bytes.TrimSpace(exit.Stderr))
	}
	if err != nil {
		return nil, fmt.Errorf("it does not run: %w", err)
	}
	return out, nil
}
