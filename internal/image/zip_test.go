package image

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/blob"
	"github.com/mayfly-dev/mayfly/internal/blob/disk"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/function"
)

var stamp = time.Date(2024, 5, 6, 7, 8, 10, 0, time.UTC)

// entry is a file of a zip that a test makes.
type entry struct {
	name, data string
	creator    uint16 // creatorUnix, or 0 for DOS
	mode       uint32 // Unix mode with type
	flags      uint16
}

func unix(name string, mode uint32, data string) entry {
	return entry{name: name, data: data, creator: creatorUnix, mode: mode}
}

func zipped(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate, Modified: stamp, CreatorVersion: e.creator<<8 | 20, ExternalAttrs: e.mode << 16}
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		h.Flags |= e.flags
		if _, err := f.Write([]byte(e.data)); err != nil && e.data != "" {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// codeTree returns the tree of a package, in a store of its own.
func codeTree(t *testing.T, pkg []byte, limit int64) *Tree {
	t.Helper()
	blobs, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return newStore(t, Config{Blobs: blobs, MaxUnzipped: limit}).Code(put(t, blobs, pkg))
}

func put(t *testing.T, blobs blob.Store, pkg []byte) function.Code {
	t.Helper()
	code := function.Code{SHA256: fmt.Sprintf("%064x", crc32.ChecksumIEEE(pkg)), Size: int64(len(pkg))}
	if _, err := blobs.Put(t.Context(), code.Key(), bytes.NewReader(pkg)); err != nil {
		t.Fatal(err)
	}
	return code
}

// describe lists a tree, a line for each entry.
func describe(t *testing.T, fsys fs.FS) string {
	t.Helper()
	var b strings.Builder
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		kind, detail := "file", ""
		switch d.Type() {
		case fs.ModeDir:
			kind = "dir"
		case fs.ModeSymlink:
			target, err := fs.ReadLink(fsys, name)
			fmt.Fprintf(&b, "link %s -> %s\n", name, target)
			return err
		default:
			data, err := fs.ReadFile(fsys, name)
			if err != nil {
				return err
			}
			detail = fmt.Sprintf(" %q", data)
		}
		if m := info.ModTime(); !m.Equal(stamp) {
			detail += fmt.Sprintf(" at %d", m.Unix())
		}
		fmt.Fprintf(&b, "%s %s %o%s\n", kind, name, info.Mode().Perm(), detail)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestCodeIsTheSameInBothForms(t *testing.T) {
	for name, tt := range map[string]struct {
		entries []entry
		want    string
	}{
		"unix modes are kept, special bits are not": {
			[]entry{unix("app.py", 0o100640, "x"), unix("lib/", 0o040750, ""), unix("lib/tool", 0o106755, "t"), unix("plain", 0o600, "p")},
			`file app.py 640 "x"` + "\n" + `dir lib 750` + "\n" + `file lib/tool 755 "t"` + "\n" + `file plain 600 "p"`,
		},
		"windows and mode-less packages get usual modes": {
			[]entry{{name: "a/b/c.txt", data: "c"}, {name: "bootstrap", data: "run"}, {name: "sub/bootstrap", data: "no"}, {name: "a/"}},
			`dir a 755` + "\n" + `dir a/b 755 at 0` + "\n" + `file a/b/c.txt 644 "c"` + "\n" + `file bootstrap 755 "run"` + "\n" + `dir sub 755 at 0` + "\n" + `file sub/bootstrap 644 "no"`,
		},
		"a bootstrap's own mode is kept": {
			[]entry{unix("bootstrap", 0o100644, "run")},
			`file bootstrap 644 "run"`,
		},
		"names are cleaned": {
			[]entry{{name: "./"}, {name: "./a//b.py", data: "b"}},
			`dir a 755 at 0` + "\n" + `file a/b.py 644 "b"`,
		},
		"links that stay inside are kept": {
			[]entry{unix("bin/tool", 0o120777, "../lib/tool.js"), unix("lib/tool.js", 0o100755, "js"), unix("all", 0o120777, ".")},
			`link all -> .` + "\n" + `dir bin 755 at 0` + "\n" + `link bin/tool -> ../lib/tool.js` + "\n" + `dir lib 755 at 0` + "\n" + `file lib/tool.js 755 "js"`,
		},
		"a directory that comes twice, and after its files": {
			[]entry{unix("d/f", 0o100644, "f"), unix("d/", 0o040700, ""), unix("d/", 0o040711, ""), unix("e/", 0o040755, "")},
			`dir d 711` + "\n" + `file d/f 644 "f"` + "\n" + `dir e 755`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			tree := codeTree(t, zipped(t, tt.entries...), 0)
			img, _ := openImage(t, tree)
			if got := describe(t, img); got != tt.want+"\n" {
				t.Errorf("image:\n%swant:\n%s", got, tt.want)
			}
			dir, err := tree.Dir(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := describe(t, os.DirFS(dir)); got != tt.want+"\n" {
				t.Errorf("directory:\n%swant:\n%s", got, tt.want)
			}
		})
	}
}

func TestBadPackagesAreRefused(t *testing.T) {
	damaged := zipped(t, entry{name: "f", data: strings.Repeat("text ", 1000)})
	damaged[60] ^= 0xff // within the compressed data
	many := make([]entry, 0, 70)
	for i := range 70 {
		many = append(many, entry{name: fmt.Sprintf("%d/%s", i, strings.Repeat("d/", 1000))})
	}
	for name, tt := range map[string]struct {
		pkg    []byte
		text   string
		reason string
	}{
		"no zip":              {[]byte("#!/bin/sh"), "Could not unzip uploaded file. Please check your file", function.ReasonNotZip},
		"empty":               {zipped(t), "Uploaded file must be a non-empty zip", function.ReasonEmptyPackage},
		"parent":              {zipped(t, entry{name: "../x"}), `".." in its name`, ""},
		"inner parent":        {zipped(t, entry{name: "a/../../x"}), `".." in its name`, ""},
		"absolute":            {zipped(t, entry{name: "/etc/passwd"}), "absolute", ""},
		"backslash":           {zipped(t, entry{name: `a\b`}), "backslash", ""},
		"NUL":                 {zipped(t, entry{name: "a\x00b"}), "NUL", ""},
		"long part":           {zipped(t, entry{name: strings.Repeat("n", 256)}), "over 255 bytes", ""},
		"twice":               {zipped(t, entry{name: "a"}, entry{name: "./a"}), "twice", ""},
		"file and directory":  {zipped(t, entry{name: "a"}, entry{name: "a/"}), "twice", ""},
		"below a file":        {zipped(t, entry{name: "a"}, entry{name: "a/b"}), "no directory", ""},
		"below a link":        {zipped(t, unix("a", 0o120777, "b"), entry{name: "a/c"}), "no directory", ""},
		"device":              {zipped(t, unix("null", 0o020666, "")), "neither a file", ""},
		"absolute link":       {zipped(t, unix("l", 0o120777, "/etc/passwd")), "leads outside", ""},
		"link up":             {zipped(t, unix("d/l", 0o120777, "../../x")), "leads outside", ""},
		"link up at the end":  {zipped(t, unix("l", 0o120777, "..")), "leads outside", ""},
		"link through a link": {zipped(t, unix("x", 0o120777, "."), unix("l", 0o120777, "x/..")), "leads outside", ""},
		"link to nothing":     {zipped(t, unix("l", 0o120777, "")), "leads outside", ""},
		"encrypted":           {zipped(t, entry{name: "f", data: "x", flags: 1}), "encrypted", ""},
		"over the limit":      {zipped(t, entry{name: "a", data: strings.Repeat("0", 6000)}, entry{name: "b", data: strings.Repeat("0", 4001)}), "Unzipped size must be smaller than 10000 bytes", function.ReasonUnpacked},
		"damaged data":        {damaged, "Could not unzip uploaded file", function.ReasonNotZip},
		"understated size":    {understated(t), "Could not unzip uploaded file", function.ReasonNotZip},
		"directories without": {zipped(t, many...), "more than 65535 files and directories", ""},
	} {
		t.Run(name, func(t *testing.T) {
			tree := codeTree(t, tt.pkg, 10_000)
			_, imageErr := tree.EROFS(t.Context())
			_, dirErr := tree.Dir(t.Context())
			for _, err := range []error{imageErr, dirErr} {
				if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), tt.text) || errs.Of(err).Reason != tt.reason {
					t.Errorf("error = %v (reason %q); want %q (reason %q)", err, errs.Of(err).Reason, tt.text, tt.reason)
				}
			}
			if left, err := os.ReadDir(tree.store.cfg.Dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// understated returns a zip whose file unpacks to more than it says.
func understated(t *testing.T) []byte {
	b := zipped(t, entry{name: "f", data: strings.Repeat("0", 9000)})
	i := bytes.Index(b, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(b[i+24:], 10)
	return b
}

func TestCodeOfMissingPackageIsNotFound(t *testing.T) {
	blobs, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(t, Config{Blobs: blobs})
	if _, err := s.Code(function.Code{SHA256: "abc"}).EROFS(t.Context()); !errs.Is(err, errs.NotFound) {
		t.Errorf("error = %v", err)
	}
}

// FuzzReadZip proves that a package which is taken stays inside its directory.
func FuzzReadZip(f *testing.F) {
	f.Add(zipped(f, entry{name: "a/b", data: "x"}, unix("l", 0o120777, "a/b")))
	f.Add(zipped(f, unix("d/l", 0o120777, "../x"), unix("d/", 0o040755, "")))
	f.Add(understatedSeed)
	f.Fuzz(func(t *testing.T, pkg []byte) {
		entries, err := readZip(bytes.NewReader(pkg), int64(len(pkg)), 1<<20)
		if err != nil {
			if !errs.Is(err, errs.Invalid) {
				t.Fatalf("kind of %v", err)
			}
			return
		}
		outer := t.TempDir()
		dir := filepath.Join(outer, "tree")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		d := newDirSink(root)
		for _, e := range entries {
			if err := e.write(context.Background(), d, &progress{report: func(Progress) {}}); err != nil && !errs.Is(err, errs.Invalid) {
				t.Fatalf("%q: %v", e.name, err)
			}
			if e.mode.Type() == fs.ModeSymlink {
				at, err := filepath.EvalSymlinks(filepath.Join(dir, e.name))
				if err == nil && at != dir && !strings.HasPrefix(at, dir+"/") {
					t.Fatalf("%q leads to %s", e.name, at)
				}
			}
		}
		if list, err := os.ReadDir(outer); err != nil || len(list) != 1 {
			t.Fatalf("beside the tree: %v, %v", list, err)
		}
	})
}

var understatedSeed = []byte("PK\x05\x06" + strings.Repeat("\x00", 18))
