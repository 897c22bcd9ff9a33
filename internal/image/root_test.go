package image

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	reader "github.com/erofs/go-erofs"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/runtimes"
)

func newStore(t *testing.T, cfg Config) *Store {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	cfg.Log = slog.New(slog.NewTextHandler(testWriter{t}, nil))
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(string(bytes.TrimSpace(p)))
	return len(p), nil
}

// found returns the runtimes that this machine has, and skips the test if there
// are none. Version managers' interpreters come last.
func found(t *testing.T) []runtimes.Runtime {
	t.Helper()
	c, err := runtimes.Detect(t.Context(), runtimes.Config{Dirs: []string{"/usr/local/bin", "/usr/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	list := c.Found()
	if home, err := os.UserHomeDir(); err == nil && !testing.Short() {
		managed, err := runtimes.Detect(t.Context(), runtimes.Config{VersionDirs: []string{
			filepath.Join(home, ".pyenv/versions"), filepath.Join(home, ".nvm/versions/node"),
		}})
		if err != nil {
			t.Fatal(err)
		}
		// The oldest and the newest stand for the others.
		if m := managed.Found(); len(m) > 0 {
			list = append(list, m[0], m[len(m)-1])
		}
	}
	if len(list) == 0 {
		t.Skip("this machine has no interpreter in /usr/local/bin, /usr/bin or under a version manager")
	}
	return list
}

// one returns a runtime of the family, or skips the test.
func one(t *testing.T, family runtimes.Family) runtimes.Runtime {
	t.Helper()
	for _, r := range found(t) {
		if r.Family == family {
			return r
		}
	}
	t.Skipf("this machine has no %s", family)
	return runtimes.Runtime{}
}

func openImage(t *testing.T, tree *Tree) (fs.FS, string) {
	t.Helper()
	name, err := tree.EROFS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if fsck, err := exec.LookPath("fsck.erofs"); err == nil {
		if out, err := exec.Command(fsck, name).CombinedOutput(); err != nil {
			t.Fatalf("fsck.erofs: %v\n%s", err, out)
		}
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	img, err := reader.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	return img, name
}

// unpack writes what the tree's image holds into a directory.
func unpack(t *testing.T, tree *Tree) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	d := newDirSink(root)
	if err := tree.image.write(t.Context(), d, &progress{report: func(Progress) {}}); err != nil {
		t.Fatal(err)
	}
	if err := d.finish(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// inside runs a program with dir as its root directory, as the user that
// sandboxes use.
func inside(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: dir, Credential: &syscall.Credential{Uid: 993, Gid: 990}}
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

const pythonProgram = `
import sys, os
import asyncio, bz2, ctypes, decimal, hashlib, json, lzma, multiprocessing, sqlite3, ssl, threading, uuid, zlib
assert sys.prefix == sys.exec_prefix == "/var/lang", (sys.prefix, sys.exec_prefix)
assert os.__file__.startswith("/var/lang/lib"), os.__file__
assert json.__cached__ and os.path.exists(json.__cached__), json.__cached__
if sys.version_info >= (3, 9):
    import zoneinfo
    assert zoneinfo.ZoneInfo("Europe/Berlin").key
context = ssl.create_default_context()
assert context.cert_store_stats()["x509_ca"] > 10, context.cert_store_stats()
t = threading.Thread(target=print, args=["thread"]); t.start(); t.join()
assert sqlite3.connect(":memory:").execute("select 6*7").fetchone() == (42,)
import importlib.util, pathlib
stdlib = pathlib.Path(os.__file__).parent
stale = []
for p in stdlib.rglob("*.py"):
    pyc = pathlib.Path(importlib.util.cache_from_source(str(p)))
    if pyc.exists():
        head = pyc.read_bytes()[:16]
        st = p.stat()
        if head[:4] != importlib.util.MAGIC_NUMBER or int.from_bytes(head[4:8], "little") == 0 and (
                int.from_bytes(head[8:12], "little") != int(st.st_mtime) or int.from_bytes(head[12:16], "little") != st.st_size):
            stale.append(str(p))
    elif "lib2to3" not in str(p):
        stale.append("no " + str(pyc))
assert not stale, stale[:10]
print(sys.version.split()[0])`

const nodeProgram = `
const crypto = require('crypto'), zlib = require('zlib'), tls = require('tls'), assert = require('assert');
assert(tls.rootCertificates.length > 10);
assert.equal(zlib.gunzipSync(zlib.gzipSync('x')).toString(), 'x');
assert.equal(new Date(0).toLocaleString('en-US', {timeZone: 'Asia/Tokyo', hour12: false, hour: 'numeric'}), '09');
console.log(process.execPath, process.version, crypto.randomUUID().length)`

func TestInterpretersRunOnTheirRootsAlone(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("changing the root directory takes root")
	}
	for _, rt := range found(t) {
		t.Run(rt.Resolved()+" at "+strings.ReplaceAll(rt.Interpreter, "/", "_"), func(t *testing.T) {
			dir := unpack(t, newStore(t, Config{}).Root(rt))
			bin := "/var/lang/bin/" + rt.Command
			if rt.Family == runtimes.Python {
				if out, want := inside(t, dir, bin, "-c", pythonProgram), "thread\n"+rt.Version+"\n"; out != want {
					t.Errorf("got %q, want %q", out, want)
				}
				return
			}
			if out, want := inside(t, dir, bin, "-e", nodeProgram), bin+" v"+rt.Version+" 36\n"; out != want {
				t.Errorf("got %q, want %q", out, want)
			}
		})
	}
}

func TestProvidedRootRunsShellsAndDynamicPrograms(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("changing the root directory takes root")
	}
	dir := unpack(t, newStore(t, Config{}).Root(runtimes.Runtime{Name: "provided", Family: runtimes.Provided},
		File{Name: "agent", Mode: 0o755, Data: []byte("#!/bin/sh\necho agent: $1\n")}))
	if out := inside(t, dir, "/var/runtime/agent", "hello"); out != "agent: hello\n" {
		t.Errorf("got %q", out)
	}
	if out := inside(t, dir, "/bin/sh", "-c", "ls /var | sort | tr '\\n' ' '; id -u"); out != "runtime task 993\n" {
		t.Errorf("got %q", out)
	}
	if _, err := exec.LookPath("curl"); err == nil {
		if out := inside(t, dir, "curl", "--version"); !strings.HasPrefix(out, "curl ") {
			t.Errorf("got %q", out)
		}
	}
}

func TestRootImageIsCompleteAndHoldsNothingOfTheHostsOwn(t *testing.T) {
	for _, family := range []runtimes.Family{runtimes.Python, runtimes.Node, runtimes.Provided} {
		t.Run(string(family), func(t *testing.T) {
			rt := runtimes.Runtime{Name: "provided", Family: runtimes.Provided}
			if family != runtimes.Provided {
				rt = one(t, family)
			}
			img, _ := openImage(t, newStore(t, Config{}).Root(rt, File{Name: "bootstrap.py", Mode: 0o644, Data: []byte("pass")}))
			for _, dir := range []string{"proc", "sys", "dev", "tmp", "opt", "var/task", "run/mayfly", "var/runtime"} {
				if st, err := fs.Stat(img, dir); err != nil || !st.IsDir() {
					t.Errorf("no directory %s: %v", dir, err)
				}
			}
			if b, err := fs.ReadFile(img, "var/runtime/bootstrap.py"); err != nil || string(b) != "pass" {
				t.Errorf("bootstrap.py: %q, %v", b, err)
			}
			err := fs.WalkDir(img, ".", func(name string, d fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				for _, bad := range []string{"root", "home/", "etc/shadow", "site-packages", "dist-packages", "usr/local"} {
					if name == bad || strings.Contains(name, "/"+bad) || strings.HasPrefix(name, bad+"/") {
						t.Errorf("holds %s", name)
					}
				}
				info, err := d.Info()
				if err != nil {
					return err
				}
				if info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 || info.Mode().Perm()&0o022 != 0 && d.Type() != fs.ModeSymlink || info.Mode().Perm()&0o044 != 0o044 {
					t.Errorf("%s has mode %v", name, info.Mode())
				}
				if st, ok := info.Sys().(*reader.Stat); !ok || st.UID != 0 || st.GID != 0 {
					t.Errorf("%s belongs to %+v", name, info.Sys())
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestStdlibWithoutCompiledFilesIsCompiled(t *testing.T) {
	rt := one(t, runtimes.Python)
	prefix := t.TempDir()
	stdlib := filepath.Join(prefix, "lib", rt.Command)
	for name, text := range map[string]string{"os.py": "x = 1", "pkg/__init__.py": "y = 2", "pkg/bad.py": "this is no Python", "stale.py": "z = 3"} {
		file := filepath.Join(stdlib, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stale := filepath.Join(stdlib, "__pycache__", "stale."+rt.Home.Cache+".pyc")
	if err := os.MkdirAll(filepath.Dir(stale), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(stale, make([]byte, 16+10), 0o644); err != nil {
		t.Fatal(err)
	}
	rt.Home.Prefix, rt.Home.Stdlib = prefix, stdlib
	s := newStore(t, Config{})
	img, _ := openImage(t, s.Root(rt))
	for _, name := range []string{"os", "pkg/__init__", "stale"} {
		source, err := os.Stat(filepath.Join(stdlib, name+".py"))
		if err != nil {
			t.Fatal(err)
		}
		dir, base := filepath.Split(name)
		b, err := fs.ReadFile(img, "var/lang/lib/"+rt.Command+"/"+dir+"__pycache__/"+base+"."+rt.Home.Cache+".pyc")
		if err != nil {
			t.Error(err)
			continue
		}
		file := filepath.Join(t.TempDir(), "pyc")
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if !validPyc(file, source) {
			t.Errorf("%s is compiled, but not for its source", name)
		}
	}
	if _, err := fs.Stat(img, "var/lang/lib/"+rt.Command+"/pkg/__pycache__/bad."+rt.Home.Cache+".pyc"); err == nil {
		t.Error("a module that is no Python was compiled")
	}
	if left, _ := filepath.Glob(filepath.Join(s.cfg.Dir, tmpPrefix+"*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestRootDirLeadsToTheHostsInterpreter(t *testing.T) {
	for _, rt := range found(t) {
		dir, err := newStore(t, Config{}).Root(rt, File{Name: "a/b", Mode: 0o755, Data: []byte("x")}).Dir(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		args := []string{"-e", "console.log(process.version.slice(1))"}
		if rt.Family == runtimes.Python {
			args = []string{"-c", "import platform, json; print(platform.python_version())"}
		}
		out, err := exec.Command(filepath.Join(dir, "var/lang/bin", rt.Command), args...).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != rt.Version {
			t.Errorf("%s: %q, %v", rt.Resolved(), out, err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "var/runtime/a/b")); err != nil || string(b) != "x" {
			t.Errorf("a/b: %q, %v", b, err)
		}
	}
}

func TestRootsAreNamedByWhatGoesIn(t *testing.T) {
	s := newStore(t, Config{})
	dir := t.TempDir()
	interpreter := filepath.Join(dir, "node")
	name := func(files ...File) string {
		t.Helper()
		b, err := os.ReadFile("/bin/true")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(interpreter); err != nil {
			if err := os.WriteFile(interpreter, b, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		n, err := s.Root(runtimes.Runtime{Family: runtimes.Node, Command: "node", Version: "1", Interpreter: interpreter}, files...).image.name(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	base := name(File{Name: "f", Mode: 0o644, Data: []byte("x")})
	if again := name(File{Name: "f", Mode: 0o644, Data: []byte("x")}); again != base {
		t.Errorf("equal roots are named %s and %s", base, again)
	}
	if name(File{Name: "f", Mode: 0o644, Data: []byte("y")}) == base {
		t.Error("another file, same name")
	}
	if name(File{Name: "f", Mode: 0o755, Data: []byte("x")}) == base {
		t.Error("another mode, same name")
	}
	if err := os.Chtimes(interpreter, epoch, epoch); err != nil {
		t.Fatal(err)
	}
	if name(File{Name: "f", Mode: 0o644, Data: []byte("x")}) == base {
		t.Error("another interpreter, same name")
	}
	if _, err := s.Root(runtimes.Runtime{Family: runtimes.Provided}, File{Name: "../f"}).EROFS(context.Background()); !errs.Is(err, errs.Invalid) {
		t.Errorf("a file outside of the runtime's directory gives %v", err)
	}
}
