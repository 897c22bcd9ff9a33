package node

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const module = "github.com/mayfly-dev/mayfly/"

type pkg struct {
	ImportPath, Dir, Doc, Name string
	Imports, GoFiles           []string
}

// packages lists the module's packages by their path within it.
func packages(t *testing.T) map[string]pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,Name,Imports,GoFiles", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	all := map[string]pkg{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimPrefix(p.ImportPath, module)] = p
	}
}

// rank is the height of a room: arrows run from higher to lower ones only. The
// longest matching prefix counts. Rooms of one rank don't import each other.
var rank = map[string]int{
	"internal/errs":     0,
	"internal/event":    5,
	"internal/trace":    8,
	"internal/spine":    10,
	"internal/blob":     10,
	"internal/function": 20, "internal/logs": 20, "internal/meter": 20, "internal/access": 20,
	"internal/runtimes":       20,
	"internal/queue":          20,
	"internal/endpoint":       20,
	"internal/certificate":    20,
	"internal/snapshot":       25,
	"internal/metrics":        25,
	"internal/image":          25,
	"internal/sandbox":        30,
	"internal/sandbox/gvisor": 35, "internal/sandbox/process": 35, "internal/sandbox/sandboxtest": 34,
	"internal/sandbox/gvisor/egress": 34,
	"internal/invoke":                40,
	"internal/delivery":              42,
	"internal/trigger":               45, "internal/bus": 45, "internal/schedule": 45, "internal/bucket": 42, "internal/budget": 45, "internal/replay": 45,
	"internal/api":    50,
	"internal/client": 50, // the far side of the doors
	"console":         55,
	"internal/node":   60,
	"mayflytest":      70,
	"cmd":             80,
	"test":            90, "bench": 90, "examples": 75,
}

func rankOf(path string) (int, bool) {
	for p := path; p != "." && p != ""; p = filepath.Dir(p) {
		if r, ok := rank[p]; ok {
			return r, true
		}
	}
	return 0, false
}

// room is a top-level folder under internal/ (or the module): packages within
// one room may import each other.
func room(path string) string {
	parts := strings.SplitN(strings.TrimPrefix(path, "internal/"), "/", 2)
	return parts[0]
}

func TestArrowsRunDownOnly(t *testing.T) {
	for path, p := range packages(t) {
		from, ok := rankOf(path)
		if !ok {
			t.Errorf("%s has no place on the floor plan: give it a rank in arch_test.go", path)
		}
		for _, imp := range p.Imports {
			to, ours := strings.CutPrefix(imp, module)
			if !ours || room(to) == room(path) {
				continue
			}
			if r, _ := rankOf(to); r >= from {
				t.Errorf("%s imports %s, which is not below it", path, to)
			}
		}
	}
}

func TestOnlyNodeImportsDoorsAndDrivers(t *testing.T) {
	closed := []string{"internal/api", "internal/sandbox/gvisor", "internal/sandbox/process", "console"}
	for path, p := range packages(t) {
		for _, imp := range p.Imports {
			to, _ := strings.CutPrefix(imp, module)
			for _, c := range closed {
				if to != c && !strings.HasPrefix(to, c+"/") {
					continue
				}
				// main's first lines run gVisor's child processes, and doctor asks
				// the driver what the machine can do.
				child := (path == "cmd/mayfly" || path == "mayflytest") && strings.HasPrefix(to, "internal/sandbox/gvisor")
				if path != "internal/node" && room(path) != room(to) && !child {
					t.Errorf("%s imports %s: only internal/node may", path, to)
				}
			}
		}
	}
}

func TestEnginesStayInTheirRooms(t *testing.T) {
	homes := map[string]string{
		"github.com/nats-io/":           "internal/spine",
		"gvisor.dev/":                   "internal/sandbox/gvisor",
		"github.com/tetratelabs/wazero": "internal/sandbox/wasm",
		"github.com/aws/":               "internal/api",
		"github.com/prometheus/":        "internal/metrics",
	}
	for path, p := range packages(t) {
		for _, imp := range p.Imports {
			for prefix, home := range homes {
				if !strings.HasPrefix(imp, prefix) || path == home || strings.HasPrefix(path, home+"/") {
					continue
				}
				// The CLI and the bench are clients of the public API, as anybody's
				// program is; examples are functions that users would write.
				if outer := prefix == "github.com/aws/" && (!strings.HasPrefix(path, "internal/") || path == "internal/client"); outer {
					continue
				}
				t.Errorf("%s imports %s, which belongs to %s", path, imp, home)
			}
		}
	}
}

var cloudWord = regexp.MustCompile(`(?i)\b(aws|amazon|arn|gcp|azure)\b|AWS_|arn:`)

func TestNoCloudIsNamedOutsideTheDoors(t *testing.T) {
	eachFile(t, func(path, file string, fset *token.FileSet, f *ast.File) {
		if !strings.HasPrefix(path, "internal/") || strings.HasPrefix(path, "internal/api/") || path == "internal/node" || path == "internal/client" {
			return // node wires the doors and names them; client speaks to them
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Ident:
				if cloudWord.MatchString(n.Name) {
					t.Errorf("%s: %s names a cloud", fset.Position(n.Pos()), n.Name)
				}
			case *ast.BasicLit:
				if n.Kind == token.STRING && cloudWord.MatchString(n.Value) {
					t.Errorf("%s: %s names a cloud", fset.Position(n.Pos()), n.Value)
				}
			}
			return true
		})
	})
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	banned := map[string]bool{"util": true, "utils": true, "common": true, "helper": true, "helpers": true, "types": true, "models": true, "manager": true, "misc": true}
	for path, p := range packages(t) {
		if len(p.GoFiles) == 0 {
			continue // tests only
		}
		if p.Doc == "" {
			t.Errorf("%s has no package comment", path)
		}
		if banned[p.Name] || banned[filepath.Base(path)] {
			t.Errorf("%s is a drawer: name it after what it holds", path)
		}
	}
}

func TestTheEnvironmentIsReadOnlyInCmd(t *testing.T) {
	eachFile(t, func(path, file string, fset *token.FileSet, f *ast.File) {
		// Programs that run inside a sandbox take their orders from its environment.
		guest := strings.HasPrefix(path, "internal/api/aws/guest/agent") || strings.HasPrefix(path, "internal/sandbox/sandboxtest") // builds its probe
		if !strings.HasPrefix(path, "internal/") || guest {
			return
		}
		ast.Inspect(f, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := sel.X.(*ast.Ident)
			if ok && x.Name == "os" && (sel.Sel.Name == "Getenv" || sel.Sel.Name == "LookupEnv" || sel.Sel.Name == "Environ" || sel.Sel.Name == "ExpandEnv") {
				t.Errorf("%s: reads the environment", fset.Position(n.Pos()))
			}
			return true
		})
	})
}

func TestNoInitFunctions(t *testing.T) {
	eachFile(t, func(path, file string, fset *token.FileSet, f *ast.File) {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: init() has effects that nobody asked for", fset.Position(fn.Pos()))
			}
		}
	})
}

// eachFile calls fn with each Go file of the module that is not a test.
func eachFile(t *testing.T, fn func(path, file string, fset *token.FileSet, f *ast.File)) {
	t.Helper()
	for path, p := range packages(t) {
		for _, name := range p.GoFiles {
			file := filepath.Join(p.Dir, name)
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, file, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			fn(path, file, fset, f)
		}
	}
}
