package erofs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	reader "github.com/erofs/go-erofs"

	"github.com/mayfly-dev/mayfly/internal/image/erofs"
)

var epoch = time.Unix(1_700_000_000, 123_456_789)

// image writes what add adds, checks the result with fsck.erofs where there is
// one, and opens it with an independent reader.
func image(t *testing.T, add func(w *erofs.Writer)) fs.FS {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "image.erofs"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	w := erofs.NewWriter(f)
	add(w)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if st.Size()%4096 != 0 {
		t.Errorf("image has %d bytes: not whole blocks", st.Size())
	}
	if fsck, err := exec.LookPath("fsck.erofs"); err == nil {
		if out, err := exec.Command(fsck, f.Name()).CombinedOutput(); err != nil {
			t.Fatalf("fsck.erofs: %v\n%s", err, out)
		}
	}
	img, err := reader.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestImageHoldsWhatWasWritten(t *testing.T) {
	big := make([]byte, 3*4096+17)
	for i := range big {
		big[i] = byte(rand.Uint32())
	}
	contents := map[string][]byte{
		"empty":            nil,
		"small":            []byte("a small file is not inlined"),
		"block":            bytes.Repeat([]byte("b"), 4096),
		"dir/sub/big":      big,
		"dir/-dash":        []byte("sorts before dot"),
		"dir/.hidden":      []byte("sorts after dot"),
		"dir/\xff\xfename": []byte("names are bytes"),
	}
	img := image(t, func(w *erofs.Writer) {
		for name, data := range contents {
			if n, err := w.File(name, 0o640, epoch, bytes.NewReader(data)); err != nil || n != int64(len(data)) {
				t.Fatalf("File(%q) = %d, %v", name, n, err)
			}
		}
		if err := w.Mkdir("dir", 0o711, epoch); err != nil {
			t.Fatal(err)
		}
		if err := w.Symlink("dir/link", "../small", epoch); err != nil {
			t.Fatal(err)
		}
	})
	for name, want := range contents {
		if !fs.ValidPath(name) {
			continue // the reader takes UTF-8 names only
		}
		got, err := fs.ReadFile(img, name)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q: read %d bytes, %v; want %d", name, len(got), err, len(want))
		}
		st, err := fs.Stat(img, name)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != 0o640 || !st.ModTime().Equal(epoch) {
			t.Errorf("%q: mode %v, time %v", name, st.Mode(), st.ModTime())
		}
	}
	st, err := fs.Stat(img, "dir")
	if err != nil || !st.IsDir() || st.Mode().Perm() != 0o711 {
		t.Errorf("dir: %v, %v", st, err)
	}
	if target, err := fs.ReadLink(img, "dir/link"); err != nil || target != "../small" {
		t.Errorf("link leads to %q, %v", target, err)
	}
}

func TestDirectoryOfManyBlocksIsSortedAndComplete(t *testing.T) {
	const files = 3000
	img := image(t, func(w *erofs.Writer) {
		for _, i := range rand.Perm(files) {
			name := fmt.Sprintf("d/%04d%s", i, strings.Repeat("x", i%200))
			if _, err := w.File(name, 0o644, epoch, strings.NewReader(name)); err != nil {
				t.Fatal(err)
			}
		}
	})
	list, err := fs.ReadDir(img, "d")
	if err != nil || len(list) != files {
		t.Fatalf("ReadDir gives %d entries, %v", len(list), err)
	}
	for i := 0; i < files; i += 97 {
		name := fmt.Sprintf("d/%04d%s", i, strings.Repeat("x", i%200))
		if got, err := fs.ReadFile(img, name); err != nil || string(got) != name {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
}

func TestLargeFileIsCopiedFromItsDescriptor(t *testing.T) {
	src := filepath.Join(t.TempDir(), "src")
	data := bytes.Repeat([]byte("0123456789abcdef"), 40_000)
	if err := os.WriteFile(src, data, 0o600); err != nil {
		t.Fatal(err)
	}
	img := image(t, func(w *erofs.Writer) {
		for _, name := range []string{"one", "two"} {
			f, err := os.Open(src)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := w.File(name, 0o755, epoch, f); err != nil {
				t.Fatal(err)
			}
			if _, err := w.File(name+".txt", 0o644, epoch, strings.NewReader(name)); err != nil {
				t.Fatal(err)
			}
		}
	})
	for _, name := range []string{"one", "two"} {
		if got, err := fs.ReadFile(img, name); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if got, err := fs.ReadFile(img, name+".txt"); err != nil || string(got) != name {
			t.Errorf("%s.txt: %q, %v", name, got, err)
		}
	}
}

// Layout FLAT_PLAIN for every inode is what gVisor can map.
func TestNoDataIsInlined(t *testing.T) {
	dump, err := exec.LookPath("dump.erofs")
	if err != nil {
		t.Skip("dump.erofs (package erofs-utils) is not installed")
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "image.erofs"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := erofs.NewWriter(f)
	if _, err := w.File("a/small", 0o644, epoch, strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"/", "/a", "/a/small"} {
		out, err := exec.Command(dump, "--path="+p, f.Name()).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if !bytes.Contains(out, []byte("Layout: 0")) {
			t.Errorf("%s is not FLAT_PLAIN:\n%s", p, out)
		}
	}
}

func TestBadEntriesAreRefused(t *testing.T) {
	for name, add := range map[string]func(w *erofs.Writer) error{
		"duplicate file": func(w *erofs.Writer) error { _, err := w.File("f", 0o644, epoch, nil); return err },
		"file as parent": func(w *erofs.Writer) error { return w.Mkdir("f/d", 0o755, epoch) },
		"parent":         func(w *erofs.Writer) error { return w.Mkdir("a/../b", 0o755, epoch) },
		"absolute":       func(w *erofs.Writer) error { return w.Mkdir("/a", 0o755, epoch) },
		"empty":          func(w *erofs.Writer) error { return w.Mkdir("", 0o755, epoch) },
		"long name":      func(w *erofs.Writer) error { return w.Mkdir(strings.Repeat("n", 256), 0o755, epoch) },
		"NUL":            func(w *erofs.Writer) error { return w.Mkdir("a\x00b", 0o755, epoch) },
		"long target":    func(w *erofs.Writer) error { return w.Symlink("l", strings.Repeat("t", 4096), epoch) },
		"empty target":   func(w *erofs.Writer) error { return w.Symlink("l", "", epoch) },
	} {
		t.Run(name, func(t *testing.T) {
			image(t, func(w *erofs.Writer) {
				if _, err := w.File("f", 0o644, epoch, strings.NewReader("f")); err != nil {
					t.Fatal(err)
				}
				if err := add(w); err == nil {
					t.Error("no error")
				}
			})
		})
	}
}

func TestReadErrorSpoilsTheWriter(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "image.erofs"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := erofs.NewWriter(f)
	if _, err := w.File("f", 0o644, epoch, io.MultiReader(strings.NewReader("x"), errReader{})); !errors.Is(err, errRead) {
		t.Fatalf("File = %v", err)
	}
	if err := w.Close(); !errors.Is(err, errRead) {
		t.Errorf("Close = %v", err)
	}
}

var errRead = errors.New("the disk is on fire")

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errRead }

// FuzzWriter proves that whatever entries the Writer accepts can be read back.
func FuzzWriter(f *testing.F) {
	f.Add("a/b", "a", "data", "t")
	f.Add(".", "-", "", "../x")
	f.Add("a/a/a", "a/a", strings.Repeat("d", 5000), "/")
	f.Fuzz(func(t *testing.T, file, dir, data, target string) {
		out, err := os.Create(filepath.Join(t.TempDir(), "image.erofs"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		w := erofs.NewWriter(out)
		_, fileErr := w.File(file, 0o644, epoch, strings.NewReader(data))
		_ = w.Mkdir(dir, 0o755, epoch)
		_ = w.Symlink("link", target, epoch)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		img, err := reader.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		if fileErr == nil && fs.ValidPath(file) {
			if got, err := fs.ReadFile(img, file); err != nil || string(got) != data {
				t.Errorf("%q: %q, %v", file, got, err)
			}
		}
	})
}
