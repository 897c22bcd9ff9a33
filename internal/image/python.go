package image

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/mayfly-dev/mayfly/internal/runtimes"
)

// leftOut are directories of Python's standard library that no function needs:
// what others installed, tests, and what wants a screen or a compiler.
var leftOut = []string{
	"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__",
	"idlelib", "tkinter", "turtledemo", "ensurepip",
}

// stdlib takes the standard library of rt's interpreter to where the
// interpreter at /var/lang/bin looks for it, with the libraries that its
// modules need and compiled forms of its modules.
func (p *plan) stdlib(rt runtimes.Runtime, l *linker) error {
	rel, err := filepath.Rel(rt.Home.Prefix, rt.Home.Stdlib)
	if err != nil || !filepath.IsLocal(rel) {
		return fmt.Errorf("the standard library %s is not under %s", rt.Home.Stdlib, rt.Home.Prefix)
	}
	into := path.Join(langDir, rel)
	return p.tree(into, rt.Home.Stdlib, func(name string, d fs.DirEntry) bool {
		base := path.Base(name)
		host := path.Join(rt.Home.Stdlib, name)
		switch {
		case d.IsDir():
			return !slices.Contains(leftOut, base) && !strings.HasPrefix(base, "config-")
		case base == "sitecustomize.py" || base == "usercustomize.py":
			return false // the host's own
		case strings.HasSuffix(base, ".py"):
			if info, err := os.Stat(host); err == nil && info.Mode().IsRegular() {
				p.compiled(path.Join(into, name), host, info, rt.Home.Cache)
			}
			return true
		case strings.HasSuffix(base, ".so"):
			// A module whose libraries are missing does not work on the host
			// either; modules for tests are of no use.
			return !strings.HasPrefix(base, "_test") && !strings.HasPrefix(base, "_tkinter") && l.program(host) == nil
		default:
			return !strings.HasSuffix(base, ".a") && !strings.HasSuffix(base, ".exe")
		}
	})
}

// compiled takes the compiled form of a module, or has it made if the host has
// none that Python would accept.
func (p *plan) compiled(name, host string, source fs.FileInfo, tag string) {
	if tag == "" {
		return
	}
	file := strings.TrimSuffix(path.Base(name), ".py") + "." + tag + ".pyc"
	in := path.Join(path.Dir(name), "__pycache__")
	pyc := path.Join(path.Dir(host), "__pycache__", file)
	p.dir(in)
	if validPyc(pyc, source) && p.file(path.Join(in, file), pyc) == nil {
		return
	}
	p.compile = append(p.compile, compilation{Source: host, Shown: "/" + name, name: path.Join(in, file)})
}

// validPyc reports whether Python would use a compiled file for the source:
// https://peps.python.org/pep-0552/
func validPyc(pyc string, source fs.FileInfo) bool {
	f, err := os.Open(pyc)
	if err != nil {
		return false
	}
	defer f.Close()
	var h [16]byte // magic, flags, mtime and size of the source
	if _, err := io.ReadFull(f, h[:]); err != nil {
		return false
	}
	le := binary.LittleEndian
	if le.Uint32(h[4:]) != 0 {
		return true // by hash of the source
	}
	return le.Uint32(h[8:]) == uint32(source.ModTime().Unix()) && le.Uint32(h[12:]) == uint32(source.Size())
}

// compilation is a module to compile.
type compilation struct {
	Source string // on the host
	Shown  string // the name that stack traces show
	Output string // on the host
	name   string // of the output in the root
}

// compileScript reads compilations as JSON lines. What Python can't compile
// stays without a compiled form, as it would on the host.
const compileScript = `
import json, py_compile, sys
for line in sys.stdin:
    c = json.loads(line)
    try:
        py_compile.compile(c["Source"], c["Output"], c["Shown"], doraise=True,
                           invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP)
    except (py_compile.PyCompileError, SyntaxError, ValueError):
        pass`

// compile runs the interpreter on all CPUs to compile modules into the
// directory tmp, and adds the results to p.
func compile(ctx context.Context, interpreter string, list []compilation, tmp string, p *plan) error {
	for i := range list {
		list[i].Output = filepath.Join(tmp, fmt.Sprintf("%d.pyc", i))
	}
	workers := runtime.GOMAXPROCS(0)
	g, ctx := errgroup.WithContext(ctx)
	for w := range workers {
		g.Go(func() error {
			var in, stderr bytes.Buffer
			enc := json.NewEncoder(&in)
			for i := w; i < len(list); i += workers {
				if err := enc.Encode(list[i]); err != nil {
					return err
				}
			}
			cmd := exec.CommandContext(ctx, interpreter, "-I", "-S", "-B", "-c", compileScript)
			cmd.Env = []string{"LC_ALL=C.UTF-8"}
			cmd.Stdin, cmd.Stderr = &in, &stderr
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("compile the standard library: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, c := range list {
		if err := p.file(c.name, c.Output); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
