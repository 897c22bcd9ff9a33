package main

import (
	"archive/zip"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/examples"
)

// tree makes a directory of files.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestEqualDirectoriesGiveEqualPackages(t *testing.T) {
	files := map[string]string{"app.py": "x", "lib/a.py": "y", "bootstrap": "z"}
	one, two := tree(t, files), tree(t, files)
	old := time.Unix(1e9, 0)
	if err := os.Chtimes(filepath.Join(two, "app.py"), old, old); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{one, two} {
		if err := os.Chmod(filepath.Join(dir, "bootstrap"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	a, err := zipDir(one)
	if err != nil {
		t.Fatal(err)
	}
	b, err := zipDir(two)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.data, b.data) || a.sha256() != b.sha256() {
		t.Error("the packages differ")
	}
	r, err := zip.NewReader(bytes.NewReader(a.data), int64(len(a.data)))
	if err != nil {
		t.Fatal(err)
	}
	modes := map[string]fs.FileMode{}
	for _, f := range r.File {
		modes[f.Name] = f.Mode()
	}
	if modes["bootstrap"] != 0o755 || modes["app.py"] != 0o644 || len(modes) != 3 {
		t.Errorf("modes: %v", modes)
	}
}

func TestPackageLeavesOutWhatIsIgnored(t *testing.T) {
	dir := tree(t, map[string]string{
		".mayflyignore": "# comment\n*.log\n/top.txt\ntests/\ndocs/*.md\n",
		".git/config":   "", "mayfly.toml": "", "pkg/__pycache__/a.pyc": "",
		"a.log": "", "sub/b.log": "", "top.txt": "", "sub/top.txt": "", "tests/t.py": "", "docs/a.md": "", "docs/a.txt": "",
		"app.py": "", "node_modules/x/i.js": "12345", ".env": "",
	})
	b, err := zipDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	r, err := zip.NewReader(bytes.NewReader(b.data), int64(len(b.data)))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range r.File {
		got = append(got, f.Name)
	}
	if want := ".env app.py docs/a.txt node_modules/x/i.js sub/top.txt"; strings.Join(got, " ") != want {
		t.Errorf("packed %v, want %s", got, want)
	}
	if b.modules != 5 {
		t.Errorf("%d bytes of node_modules", b.modules)
	}
	for _, bad := range []string{"!keep", "a/**/b", "["} {
		if _, err := parsePattern(bad); err == nil {
			t.Errorf("%q is a pattern", bad)
		}
	}
}

func TestInferenceKnowsTheUsualShapes(t *testing.T) {
	have := []runtimeInfo{{Name: "python3.9"}, {Name: "python3.13"}, {Name: "nodejs20.x"}, {Name: "nodejs8.x"}}
	for _, c := range []struct {
		name    string
		files   map[string]string
		said    project
		runtime string
		handler string
		fails   string
	}{
		{"python, newest by number", map[string]string{"app.py": "def handler(event, context):\n"}, project{}, "python3.13", "app.handler", ""},
		{"AWS's template", map[string]string{"lambda_function.py": "import x\n\ndef lambda_handler(event, context):\n"}, project{}, "python3.13", "lambda_function.lambda_handler", ""},
		{"async python", map[string]string{"main.py": "async def handler(e, c): pass"}, project{}, "python3.13", "main.handler", ""},
		{"node module", map[string]string{"index.mjs": "export const handler = async () => {}"}, project{}, "nodejs20.x", "index.handler", ""},
		{"node, other name", map[string]string{"app.js": "exports.run = async () => {}"}, project{}, "nodejs20.x", "app.run", ""},
		{"node, exported as an object", map[string]string{"index.js": "module.exports = { handler }"}, project{}, "nodejs20.x", "index.handler", ""},
		{"handler before others", map[string]string{"index.js": "exports.a = 1; exports.handler = 2"}, project{}, "nodejs20.x", "index.handler", ""},
		{"bootstrap", map[string]string{"bootstrap": "", "app.py": ""}, project{}, "provided.al2023", "bootstrap", ""},
		{"go", map[string]string{"go.mod": ""}, project{}, "provided.al2023", "bootstrap", ""},
		{"what is said goes first", map[string]string{"app.py": "def handler(e, c): pass", "index.js": ""}, project{Runtime: "nodejs18.x"}, "nodejs18.x", "index.handler", ""},
		{"unknown files, all said", map[string]string{"x.py": ""}, project{Runtime: "python3.9", Handler: "x.y"}, "python3.9", "x.y", ""},
		{"web server by its command", map[string]string{"server.js": ""}, project{Web: web{Command: "node server.js"}}, "nodejs20.x", "node", ""},
		{"web server in Python", map[string]string{"app.py": ""}, project{Web: web{Command: "python3 app.py"}}, "python3.13", "python3", ""},
		{"web server in Go", map[string]string{"go.mod": ""}, project{Web: web{Command: "bootstrap"}}, "provided.al2023", "bootstrap", ""},
		{"two languages", map[string]string{"app.py": "", "index.js": ""}, project{}, "", "", "say which it is"},
		{"nothing", map[string]string{"a.txt": ""}, project{}, "", "", "name the runtime"},
		{"no handler", map[string]string{"app.py": "x = 1"}, project{}, "", "", "--handler"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := c.said
			p.dir = tree(t, c.files)
			err := p.infer(have)
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Fatalf("got %v", err)
				}
				return
			}
			if err != nil || p.Runtime != c.runtime || p.Handler != c.handler {
				t.Errorf("%s %s, %v", p.Runtime, p.Handler, err)
			}
		})
	}
	p := project{dir: tree(t, map[string]string{"app.py": "def handler(e, c): pass"})}
	if err := p.infer(nil); err == nil || !strings.Contains(err.Error(), "apt-get install python3") {
		t.Errorf("a node without Python: %v", err)
	}
}

func TestEveryExampleHasAnEventAndIsInferred(t *testing.T) {
	dir := t.TempDir()
	trials, err := unpackExamples(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(trials) < 5 {
		t.Errorf("only %d examples", len(trials))
	}
	for _, tr := range trials {
		p, err := readProject(filepath.Join(dir, tr.Function))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.infer([]runtimeInfo{{Name: "python3.11"}, {Name: "nodejs20.x"}}); err != nil {
			t.Errorf("%s: %v", tr.Function, err)
		}
		if len(tr.event) == 0 {
			t.Errorf("%s has no event.json", tr.Function)
		}
	}
}

// The Go example is carried outside of its module, with a go.mod of its own.
func TestGoExampleUsesThisModulesLibrary(t *testing.T) {
	ours, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile("../../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	for name, within := range map[string]string{"go.mod.txt": string(ours), "go.sum.txt": string(sums)} {
		b, err := examples.Files.ReadFile("hello-go/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			line = strings.TrimSpace(strings.TrimPrefix(line, "require "))
			if strings.HasPrefix(line, "github.com/") && !strings.Contains(within, line) {
				t.Errorf("%s says %q, this module does not: copy it from there", name, line)
			}
		}
	}
}
