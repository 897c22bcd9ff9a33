package image

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// library is a shared library that some program needs.
type library struct {
	soname string // what the loader asks for
	path   string // on the host, as it was found
}

// linker finds the shared libraries that programs need, as the host's dynamic
// loader would, without running it. Not safe for concurrent use.
type linker struct {
	dirs   []string // where libraries are looked for
	class  elf.Class
	arch   elf.Machine
	rpaths []string // of all programs so far: what they load inherits them
	loader string   // the program interpreter, "" while none was seen
	libs   []library
	known  map[string]bool // sonames in libs, or that are the loader's
}

func newLinker() *linker {
	l := &linker{known: map[string]bool{}}
	l.dirs = append(confDirs("/etc/ld.so.conf", 0), "/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib")
	return l
}

// missingError says that a needed library is not on the host.
type missingError struct{ soname, by string }

func (e *missingError) Error() string {
	return fmt.Sprintf("the shared library %s that %s needs is not installed", e.soname, e.by)
}

// program adds the libraries that the program or library at path needs, and
// its loader. Either all of them are added or, with an error, none.
func (l *linker) program(path string) error {
	saved := *l
	saved.libs, saved.rpaths = slices.Clone(l.libs), slices.Clone(l.rpaths)
	if err := l.visit(path); err != nil {
		for _, lib := range l.libs[len(saved.libs):] {
			delete(l.known, lib.soname)
		}
		*l = saved
		return err
	}
	return nil
}

// library adds the library soname and what it needs, if the host has it.
func (l *linker) library(soname string) error {
	var missing *missingError
	if err := l.need(soname, "a program"); !errors.As(err, &missing) {
		return err
	}
	return nil
}

func (l *linker) visit(path string) error {
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("read program %s: %w", path, err)
	}
	defer f.Close()
	if l.class == 0 {
		l.class, l.arch = f.Class, f.Machine
		l.dirs = append(l.dirs, multiarch(f.Machine)...)
	}
	if err := l.interpreter(f, path); err != nil {
		return err
	}
	needed, err := f.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("read program %s: %w", path, err)
	}
	for _, tag := range []elf.DynTag{elf.DT_RPATH, elf.DT_RUNPATH} {
		paths, err := f.DynString(tag)
		if err != nil {
			return fmt.Errorf("read program %s: %w", path, err)
		}
		l.addRpaths(paths, filepath.Dir(path))
	}
	for _, soname := range needed {
		if err := l.need(soname, path); err != nil {
			return err
		}
	}
	return nil
}

// interpreter notes which dynamic loader the program at path asks for.
func (l *linker) interpreter(f *elf.File, path string) error {
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		b := make([]byte, min(p.Filesz, 4096))
		if _, err := p.ReadAt(b, 0); err != nil {
			return fmt.Errorf("read program %s: %w", path, err)
		}
		loader := strings.TrimRight(string(b), "\x00")
		if l.loader != "" && l.loader != loader {
			return fmt.Errorf("program %s is loaded by %s, others by %s", path, loader, l.loader)
		}
		l.loader = loader
		l.known[filepath.Base(loader)] = true
	}
	return nil
}

func (l *linker) addRpaths(lists []string, origin string) {
	for _, list := range lists {
		for dir := range strings.SplitSeq(list, ":") {
			dir = strings.NewReplacer("$ORIGIN", origin, "${ORIGIN}", origin).Replace(dir)
			if filepath.IsAbs(dir) && !slices.Contains(l.rpaths, dir) {
				l.rpaths = append(l.rpaths, filepath.Clean(dir))
			}
		}
	}
}

func (l *linker) need(soname, by string) error {
	if l.known[soname] {
		return nil
	}
	path, ok := l.find(soname)
	if !ok {
		return &missingError{soname, by}
	}
	l.known[soname] = true
	l.libs = append(l.libs, library{filepath.Base(soname), path})
	return l.visit(path)
}

// find returns where the loader would find soname.
func (l *linker) find(soname string) (string, bool) {
	if filepath.IsAbs(soname) {
		return soname, l.fits(soname)
	}
	for _, dir := range slices.Concat(l.rpaths, l.dirs) {
		if path := filepath.Join(dir, soname); l.fits(path) {
			return path, true
		}
	}
	return "", false
}

// fits reports whether path is a library for the programs' machine: hosts have
// libraries of several.
func (l *linker) fits(path string) bool {
	f, err := elf.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return f.Class == l.class && f.Machine == l.arch
}

// home returns the directory where the loader looks by itself: that of the C
// library.
func (l *linker) home() string {
	for _, lib := range l.libs {
		if strings.HasPrefix(lib.soname, "libc.") {
			return filepath.Dir(lib.path)
		}
	}
	return "/lib"
}

// multiarch gives the directories of Debian and its kin.
func multiarch(m elf.Machine) []string {
	triplet, ok := map[elf.Machine]string{elf.EM_X86_64: "x86_64-linux-gnu", elf.EM_AARCH64: "aarch64-linux-gnu"}[m]
	if !ok {
		return nil
	}
	return []string{"/lib/" + triplet, "/usr/lib/" + triplet}
}

// confDirs reads directories from the loader's configuration. What can't be
// read has none.
func confDirs(name string, depth int) []string {
	f, err := os.Open(name)
	if err != nil || depth > 4 {
		return nil
	}
	defer f.Close()
	var dirs []string
	for s := bufio.NewScanner(f); s.Scan(); {
		line, _, _ := strings.Cut(s.Text(), "#")
		line = strings.TrimSpace(line)
		if pattern, ok := strings.CutPrefix(line, "include "); ok {
			pattern = strings.TrimSpace(pattern)
			if !filepath.IsAbs(pattern) {
				pattern = filepath.Join(filepath.Dir(name), pattern)
			}
			included, err := filepath.Glob(pattern)
			if err != nil {
				continue
			}
			for _, n := range included {
				dirs = append(dirs, confDirs(n, depth+1)...)
			}
		} else if filepath.IsAbs(line) {
			dirs = append(dirs, line)
		}
	}
	return dirs
}

// isELF reports whether the file at path is a program or library.
func isELF(path string, info fs.FileInfo) bool {
	if !info.Mode().IsRegular() {
		return false
	}
	f, err := elf.Open(path)
	if err != nil {
		return false
	}
	return f.Close() == nil
}
