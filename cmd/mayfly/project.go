package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// projectFile may say in a function's directory what can't be inferred.
const projectFile = "mayfly.toml"

// project is a directory that becomes a function, and what its owner says
// about it. Zero values mean: infer it, or leave the function's as it is.
type project struct {
	dir     string
	buildGo bool

	Name        string            `toml:"name"`
	Description string            `toml:"description"`
	Runtime     string            `toml:"runtime"`
	Handler     string            `toml:"handler"`
	MemoryMB    int32             `toml:"memory"`   // MB
	TimeoutS    int32             `toml:"timeout"`  // seconds
	StorageMB   int32             `toml:"storage"`  // MB of /tmp
	Snapshot    string            `toml:"snapshot"` // on or off
	Env         map[string]string `toml:"env"`      // the whole environment, if given
	URL         bool              `toml:"url"`      // it has a public endpoint
	Web         web               `toml:"web"`
}

// readProject reads a directory's project file, if it has one.
func readProject(dir string) (*project, error) {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usageError{fmt.Errorf("there is no directory %s: name the one that holds the code", dir)}
	}
	if err != nil {
		return nil, fmt.Errorf("deploy: %w", err)
	}
	if !info.IsDir() {
		return nil, usageError{fmt.Errorf("%s is not a directory: name the one that holds the code", dir)}
	}
	p := &project{dir: dir}
	path := filepath.Join(dir, projectFile)
	meta, err := toml.DecodeFile(path, p)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err == nil && len(meta.Undecoded()) > 0 {
		return nil, fmt.Errorf("%s: there is no setting %q; there are name, description, runtime, handler, memory, timeout, storage, snapshot, url, [env] and [web]", path, meta.Undecoded()[0])
	}
	if p.Name == "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, fmt.Errorf("deploy: %w", err)
		}
		p.Name = strings.Trim(notInName.ReplaceAllString(filepath.Base(abs), "-"), "-")
	}
	return p, nil
}

var notInName = regexp.MustCompile(`[^a-zA-Z0-9_-]+`)

// What the names of files say.
var (
	pythonFiles = []string{"lambda_function.py", "app.py", "main.py", "handler.py", "index.py"}
	nodeFiles   = []string{"index.mjs", "index.js", "index.cjs", "app.mjs", "app.js", "app.cjs", "handler.mjs", "handler.js", "handler.cjs"}
	pythonDef   = regexp.MustCompile(`(?m)^(?:async\s+)?def\s+(lambda_handler|handler|main)\s*\(`)
	nodeExport  = regexp.MustCompile(`(?m)\bexports\.(\w+)\s*=|^export\s+(?:const|let|async\s+function|function)\s+(\w+)`)
)

const (
	familyPython = "python3."
	familyNode   = "nodejs"
	customOS     = "provided.al2023"
)

// guess is what a directory's files say it is.
type guess struct {
	family  string // familyPython, familyNode or customOS
	handler string // "" if it could not be told
	file    string // what said so
	buildGo bool
}

// infer fills in runtime and handler where the owner did not say them. have are
// the runtimes of the node.
func (p *project) infer(have []runtimeInfo) error {
	if p.Web.Command != "" {
		return p.inferWeb(have)
	}
	guesses, err := p.guesses()
	if err != nil {
		return err
	}
	g, err := p.choose(guesses)
	if err != nil {
		return err
	}
	p.buildGo = g.buildGo
	if p.Runtime == "" {
		if p.Runtime, err = newest(have, g.family); err != nil {
			return err
		}
	}
	if p.Handler == "" {
		p.Handler = g.handler
	}
	if p.Handler == "" {
		return fmt.Errorf("%s has no function named handler or lambda_handler: name the one to call with --handler, such as %s.run",
			g.file, strings.TrimSuffix(g.file, filepath.Ext(g.file)))
	}
	return nil
}

// choose returns the guess that agrees with the runtime, if that was said.
func (p *project) choose(guesses []guess) (guess, error) {
	if p.Runtime != "" {
		for _, g := range guesses {
			if strings.HasPrefix(p.Runtime, g.family) || g.family == customOS && strings.HasPrefix(p.Runtime, "provided") {
				return g, nil
			}
		}
		if p.Handler == "" && !knownFamily(p.Runtime) {
			return guess{}, fmt.Errorf("there is no runtime %s: `mayfly doctor` lists those of this machine, such as python3.11, nodejs20.x and provided.al2023", p.Runtime)
		}
		if p.Handler == "" {
			return guess{}, fmt.Errorf("%s: nothing in it tells the handler for %s: give --handler, such as app.handler", p.dir, p.Runtime)
		}
		return guess{file: p.dir}, nil
	}
	switch {
	case len(guesses) == 1:
		return guesses[0], nil
	case len(guesses) == 0:
		return guess{}, fmt.Errorf("%s holds no bootstrap, go.mod, main.go, %s or %s: name the runtime and handler with --runtime and --handler",
			p.dir, strings.Join(pythonFiles[:2], ", "), nodeFiles[0])
	default:
		return guess{}, fmt.Errorf("%s holds %s and %s: say which it is with --runtime", p.dir, guesses[0].file, guesses[1].file)
	}
}

// knownFamily reports whether a runtime's name is one that nodes may have.
func knownFamily(name string) bool {
	return strings.HasPrefix(name, familyPython) || strings.HasPrefix(name, familyNode) || strings.HasPrefix(name, "provided")
}

// guesses returns at most one guess for each family.
func (p *project) guesses() (list []guess, err error) {
	if info, err := os.Stat(filepath.Join(p.dir, "bootstrap")); err == nil && info.Mode().IsRegular() {
		return []guess{{family: customOS, handler: "bootstrap", file: "bootstrap"}}, nil
	}
	for _, name := range []string{"go.mod", "main.go"} {
		if exists(filepath.Join(p.dir, name)) {
			list = append(list, guess{family: customOS, handler: "bootstrap", file: name, buildGo: true})
			break
		}
	}
	for _, f := range []struct {
		family string
		files  []string
		find   *regexp.Regexp
		known  string
	}{
		{familyPython, pythonFiles, pythonDef, ""},
		{familyNode, nodeFiles, nodeExport, "handler"},
	} {
		for _, name := range f.files {
			src, err := os.ReadFile(filepath.Join(p.dir, name))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("deploy: %w", err)
			}
			g := guess{family: f.family, file: name}
			if fn := handlerIn(src, f.find, f.known); fn != "" {
				g.handler = strings.TrimSuffix(name, filepath.Ext(name)) + "." + fn
			}
			list = append(list, g)
			break
		}
	}
	return list, nil
}

// handlerIn returns the name of the function to call: the first that the
// pattern finds, but wanted if there is one of that name.
func handlerIn(src []byte, find *regexp.Regexp, wanted string) string {
	first := ""
	for _, m := range find.FindAllSubmatch(src, -1) {
		for _, group := range m[1:] {
			name := string(group)
			if name == wanted && name != "" {
				return name
			}
			if first == "" {
				first = name
			}
		}
	}
	if first == "" {
		return wanted
	}
	return first
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// newest returns the newest of a family's runtimes that the node has.
func newest(have []runtimeInfo, family string) (string, error) {
	if family == customOS {
		return customOS, nil
	}
	best, name := -1, ""
	for _, r := range have {
		rest, ok := strings.CutPrefix(r.Name, family)
		if n, err := strconv.Atoi(strings.TrimSuffix(rest, ".x")); ok && err == nil && n > best {
			best, name = n, r.Name
		}
	}
	if name == "" {
		if family == familyNode {
			return "", missingTool("the node found no Node.js on its machine: install it (apt-get install nodejs) and start the node again")
		}
		return "", missingTool("the node found no Python on its machine: install it (apt-get install python3) and start the node again")
	}
	return name, nil
}

// missingTool says what this machine or the node's lacks.
type missingTool string

func (m missingTool) Error() string { return string(m) }
