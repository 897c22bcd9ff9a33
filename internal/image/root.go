package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/runtimes"
)

// rootVersion changes when the same inputs would give another root.
const rootVersion = 1

// Where things are in a root.
const (
	langDir    = "var/lang"
	runtimeDir = "var/runtime"
)

// File is one of a node's own files for a runtime: a bootstrap, an agent.
type File struct {
	Name string // relative to /var/runtime
	Mode fs.FileMode
	Data []byte
}

// Root returns the root file system for functions of rt.
//
// Its EROFS image holds the interpreter under /var/lang with its standard
// library, the shared libraries that they need, a shell and a few tools,
// certificates and time zones, files under /var/runtime, and empty directories
// to mount on. It is made of files of the host, whose libraries and
// certificates it therefore has, and is built anew when one of them changes.
// Looking through them takes some 50 ms; a Tree does it once and stays with what
// it found, so keep the Tree.
//
// Its Dir is for programs that run on the host itself. It holds the files under
// /var/runtime and, in /var/lang/bin, links to the host's interpreter.
//
// Both have the interpreter as /var/lang/bin/NAME with the runtime's Command
// as NAME; Python also as python3 and python.
func (s *Store) Root(rt runtimes.Runtime, files ...File) *Tree {
	return &Tree{
		store: s,
		image: &rootSource{store: s, rt: rt, files: files, kind: "root", fill: isolatedRoot},
		dir:   &rootSource{store: s, rt: rt, files: files, kind: "host", fill: hostRoot},
	}
}

type rootSource struct {
	store *Store
	rt    runtimes.Runtime
	files []File
	kind  string
	fill  func(p *plan, rt runtimes.Runtime) error

	mu   sync.Mutex
	plan *plan  // nil until it was made; guarded by mu
	id   string // of plan; guarded by mu
}

func (r *rootSource) name(ctx context.Context) (string, error) {
	_, id, err := r.planned(ctx)
	return id, err
}

// planned makes the plan on first use.
func (r *rootSource) planned(ctx context.Context) (*plan, string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	if r.plan == nil {
		p := newPlan()
		p.dir(".", "var", runtimeDir)
		for _, f := range r.files {
			if !fs.ValidPath(f.Name) || f.Name == "." {
				return nil, "", errs.Newf(errs.Invalid, "%q is no name for a runtime's file", f.Name)
			}
			p.add(planned{name: path.Join(runtimeDir, f.Name), mode: f.Mode.Perm(), mtime: epoch, size: int64(len(f.Data)), data: bytes.Clone(f.Data)})
		}
		if err := r.fill(p, r.rt); err != nil {
			return nil, "", fmt.Errorf("plan the root of %s: %w", r.rt.Resolved(), err)
		}
		what := r.rt.Command
		if what == "" {
			what = string(r.rt.Family)
		}
		r.plan, r.id = p, fmt.Sprintf("%s-%s-%s", r.kind, what, p.key(rootVersion))
	}
	return r.plan, r.id, nil
}

func (r *rootSource) write(ctx context.Context, s sink, prog *progress) error {
	p, _, err := r.planned(ctx)
	if err != nil {
		return err
	}
	if len(p.compile) == 0 {
		return p.write(ctx, s, prog)
	}
	tmp, err := os.MkdirTemp(r.store.cfg.Dir, tmpPrefix+"compile-*")
	if err != nil {
		return err
	}
	full := &plan{byName: maps.Clone(p.byName)}
	err = compile(ctx, r.rt.Interpreter, p.compile, tmp, full)
	if err == nil {
		err = full.write(ctx, s, prog)
	}
	return errors.Join(err, os.RemoveAll(tmp))
}

// hostRoot plans a tree for programs that run on the host itself.
func hostRoot(p *plan, rt runtimes.Runtime) error {
	if rt.Family == runtimes.Provided {
		return nil
	}
	bin := path.Join(langDir, "bin")
	p.dir(langDir, bin)
	p.link(path.Join(bin, rt.Command), rt.Interpreter)
	pythonNames(p, rt)
	return nil
}

func pythonNames(p *plan, rt runtimes.Runtime) {
	if rt.Family == runtimes.Python {
		p.link(path.Join(langDir, "bin/python3"), rt.Command)
		p.link(path.Join(langDir, "bin/python"), rt.Command)
	}
}

// tools are the programs that a shell bootstrap may count on, where the host
// has them.
var tools = strings.Fields(`sh bash
	basename cat chmod cp cut date dirname echo env expr false head id ln ls mkdir mktemp mv printf pwd
	readlink realpath rm rmdir seq sleep sort tail tee test touch tr true uname uniq wc xargs [
	awk find grep gzip gunzip sed tar`)

// libraries are there for what functions bring along: native modules and
// compiled bootstraps, and what the C library loads by itself.
var libraries = strings.Fields(`libc.so.6 libm.so.6 libdl.so.2 librt.so.1 libpthread.so.0 libutil.so.1 libresolv.so.2
	libnss_dns.so.2 libnss_files.so.2 libgcc_s.so.1 libstdc++.so.6 libz.so.1 libcrypt.so.1`)

const passwd = `root:x:0:0:root:/root:/sbin/nologin
sbx_user1051:x:993:990::/tmp:/sbin/nologin
nobody:x:65534:65534:nobody:/:/sbin/nologin
`

const group = `root:x:0:
sbx_user1051:x:990:
nogroup:x:65534:
`

// isolatedRoot plans a root that a sandbox can run on alone.
func isolatedRoot(p *plan, rt runtimes.Runtime) error {
	p.dir("dev", "etc", "opt", "proc", "run", "run/mayfly", "sys", "tmp", "usr", "usr/bin", "var/task")
	p.link("bin", "usr/bin")
	p.text("etc/passwd", passwd)
	p.text("etc/group", group)
	p.text("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n")
	// What depends on the network is the sandbox driver's to mount.
	p.link("etc/hosts", "/run/mayfly/hosts")
	p.link("etc/resolv.conf", "/run/mayfly/resolv.conf")
	p.optional("etc/services", "/etc/services", "/usr/etc/services")
	p.optional("etc/protocols", "/etc/protocols", "/usr/etc/protocols")
	if err := p.certificates(rt); err != nil {
		return err
	}
	if err := p.data(); err != nil {
		return err
	}
	return p.programs(rt)
}

const caBundle = "etc/ssl/certs/ca-certificates.crt"

// certificates takes the host's certificate authorities to where programs of
// the common distributions, and rt's interpreter, look for them.
func (p *plan) certificates(rt runtimes.Runtime) error {
	p.optional(caBundle, "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem")
	if !p.has(caBundle) {
		return nil
	}
	p.link("etc/pki/tls/certs/ca-bundle.crt", "/"+caBundle)
	p.link("etc/ssl/cert.pem", "/"+caBundle)
	name, ok := strings.CutPrefix(filepath.Clean(rt.Home.CAFile), "/")
	// An interpreter may look below its own home, which has no place in the
	// root if it is a person's.
	if ok && name != caBundle && !strings.HasPrefix(name, "root/") && !strings.HasPrefix(name, "home/") {
		p.link(name, "/"+caBundle)
	}
	return nil
}

// data takes time zones and the locale that the C library needs for UTF-8.
func (p *plan) data() error {
	whole := func(string, fs.DirEntry) bool { return true }
	zones := func(rel string, _ fs.DirEntry) bool {
		return rel != "posix" && rel != "right" && rel != "localtime"
	}
	for host, keep := range map[string]func(string, fs.DirEntry) bool{
		"/usr/share/zoneinfo": zones, "/usr/lib/locale/C.utf8": whole, "/usr/lib/locale/C.UTF-8": whole,
	} {
		if err := p.tree(host[1:], host, keep); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// programs takes the interpreter, the tools, and the libraries of all.
func (p *plan) programs(rt runtimes.Runtime) error {
	l := newLinker()
	if rt.Family != runtimes.Provided {
		name := path.Join(langDir, "bin", rt.Command)
		if err := p.file(name, rt.Interpreter); err != nil {
			return err
		}
		if err := l.program(rt.Interpreter); err != nil {
			return err
		}
		pythonNames(p, rt)
	}
	if rt.Family == runtimes.Python {
		if err := p.stdlib(rt, l); err != nil {
			return err
		}
	}
	wanted := tools
	if rt.Family == runtimes.Provided {
		wanted = append([]string{"curl"}, tools...)
	}
	if err := p.tools(wanted, l); err != nil {
		return err
	}
	if l.class == 0 {
		return nil // a host without any dynamic program
	}
	for _, soname := range libraries {
		if err := l.library(soname); err != nil {
			return err
		}
	}
	return p.libraries(l)
}

// tools takes the named programs of the host, those with setuid or setgid bits
// never. One that serves several names is taken once.
func (p *plan) tools(names []string, l *linker) error {
	first := map[string]string{}
	for _, name := range names {
		host, info := findTool(name)
		if info == nil || info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
			continue
		}
		if other, ok := first[host]; ok {
			p.link("usr/bin/"+name, other)
			continue
		}
		if isELF(host, info) {
			var missing *missingError
			if err := l.program(host); errors.As(err, &missing) {
				continue // broken on the host, too
			} else if err != nil {
				return err
			}
		}
		first[host] = name
		if err := p.fileInfo("usr/bin/"+name, host, info); err != nil {
			return err
		}
	}
	return nil
}

// findTool returns where a program of the host is, free of symbolic links.
func findTool(name string) (string, fs.FileInfo) {
	for _, dir := range []string{"/usr/bin", "/bin"} {
		host, err := filepath.EvalSymlinks(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		if info, err := os.Stat(host); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return host, info
		}
	}
	return "", nil
}

// libraries takes the linker's libraries, all to the directory where the
// loader looks by itself, and the loader.
func (p *plan) libraries(l *linker) error {
	home := l.home()[1:]
	for _, lib := range l.libs {
		if err := p.file(path.Join(home, lib.soname), lib.path); err != nil {
			return err
		}
	}
	if l.loader == "" {
		return nil
	}
	return p.file(l.loader[1:], l.loader)
}
