package image

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	reader "github.com/erofs/go-erofs"

	"github.com/mayfly-dev/mayfly/internal/blob"
	"github.com/mayfly-dev/mayfly/internal/blob/disk"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/runtimes"
)

// gate is a Blobs whose Open waits, and counts.
type gate struct {
	blob.Store
	opened chan struct{} // gets a value for each Open
	pass   chan struct{} // closed to let them go on
}

func (g *gate) Open(ctx context.Context, key string) (blob.Reader, error) {
	g.opened <- struct{}{}
	select {
	case <-g.pass:
		return g.Store.Open(ctx, key)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func newGate(t *testing.T) (*gate, function.Code) {
	t.Helper()
	blobs, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	code := put(t, blobs, zipped(t, entry{name: "f", data: "x"}))
	return &gate{Store: blobs, opened: make(chan struct{}, 10), pass: make(chan struct{})}, code
}

func TestConcurrentCallsBuildOnce(t *testing.T) {
	g, code := newGate(t)
	s := newStore(t, Config{Blobs: g})
	var wg sync.WaitGroup
	paths := make([]string, 8)
	for i := range paths {
		wg.Go(func() {
			var err error
			if paths[i], err = s.Code(code).EROFS(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	<-g.opened
	close(g.pass)
	wg.Wait()
	if len(g.opened) != 0 {
		t.Errorf("%d more builds than one", len(g.opened))
	}
	if len(slices.Compact(paths)) != 1 {
		t.Errorf("paths differ: %q", paths)
	}
}

func TestBuildGoesOnWhenItsCallerLeaves(t *testing.T) {
	g, code := newGate(t)
	s := newStore(t, Config{Blobs: g})
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := s.Code(code).EROFS(ctx)
		left <- err
	}()
	<-g.opened
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller that left got %v", err)
	}
	close(g.pass)
	if _, err := s.Code(code).EROFS(t.Context()); err != nil {
		t.Error(err)
	}
	if len(g.opened) != 0 {
		t.Error("the image was built a second time")
	}
}

func TestCloseEndsBuilds(t *testing.T) {
	g, code := newGate(t)
	s := newStore(t, Config{Blobs: g})
	ended := make(chan error)
	go func() {
		_, err := s.Code(code).EROFS(t.Context())
		ended <- err
	}()
	<-g.opened
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the build ended with %v", err)
	}
	if _, err := s.Code(code).EROFS(t.Context()); !errs.Is(err, errs.Unavailable) {
		t.Errorf("after Close: %v", err)
	}
}

func TestNewSweepsUnfinishedBuildsAndKeepsImages(t *testing.T) {
	blobs, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	code := put(t, blobs, zipped(t, entry{name: "f", data: "x"}))
	dir := t.TempDir()
	path, err := newStore(t, Config{Dir: dir, Blobs: blobs}).Code(code).EROFS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, tmpPrefix+"x.d", "shut"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, tmpPrefix+"x.d", "shut"), 0o500); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := newStore(t, Config{Dir: dir, Blobs: blobs}).Code(code).EROFS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(again)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the image was built again: %v", err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
		t.Errorf("the store holds %v, %v", list, err)
	}
}

func TestCollectKeepsWhatIsNamedAndWhatWasJustAskedFor(t *testing.T) {
	blobs, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	build := func(s *Store, name string) (*Tree, string, string) {
		t.Helper()
		tree := s.Code(put(t, blobs, zipped(t, entry{name: name, data: name})))
		img, err := tree.EROFS(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		d, err := tree.Dir(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return tree, img, d
	}
	old := newStore(t, Config{Dir: dir, Blobs: blobs})
	_, unusedImg, unusedDir := build(old, "unused")
	kept, keptImg, keptDir := build(old, "kept")

	s := newStore(t, Config{Dir: dir, Blobs: blobs})
	_, freshImg, freshDir := build(s, "fresh")
	if err := s.Collect(t.Context(), kept, s.Root(runtimes.Runtime{Family: runtimes.Provided})); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{unusedImg: false, unusedDir: false, keptImg: true, keptDir: true, freshImg: true, freshDir: true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s: %v, want it there: %v", path, err, want)
		}
	}
}

func TestProgressEndsWithTheOutcome(t *testing.T) {
	g, code := newGate(t)
	close(g.pass)
	big := put(t, g.Store, zipped(t, entry{name: "a", data: strings.Repeat("x", 5<<20)}, entry{name: "b", data: strings.Repeat("x", 5<<20)}))
	var got []Progress
	s := newStore(t, Config{Blobs: g, Progress: func(p Progress) { got = append(got, p) }})
	if _, err := s.Code(big).EROFS(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[0].Done || got[0].Written != 5<<20 || got[0].Total != 10<<20 || !got[2].Done || got[2].Written != 10<<20 || got[2].Err != nil {
		t.Errorf("progress: %+v", got)
	}
	got = nil
	code.SHA256 = strings.Repeat("0", 64)
	if _, err := s.Code(code).EROFS(t.Context()); err == nil {
		t.Fatal("no error")
	}
	if len(got) != 1 || !got[0].Done || got[0].Err == nil {
		t.Errorf("progress of a failure: %+v", got)
	}
}

func TestWriteEROFSTakesAFileSystem(t *testing.T) {
	src := t.TempDir()
	for name, mode := range map[string]os.FileMode{"d/run": 0o755 | os.ModeSetuid, "text": 0o640} {
		file := filepath.Join(src, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("d/run", filepath.Join(src, "link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"d/run", "text", "d"} {
		if err := os.Chtimes(filepath.Join(src, name), stamp, stamp); err != nil {
			t.Fatal(err)
		}
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "out.erofs"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := WriteEROFS(t.Context(), out, os.DirFS(src)); err != nil {
		t.Fatal(err)
	}
	img, err := reader.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	want := "dir d 755\nfile d/run 755 \"d/run\"\nlink link -> d/run\nfile text 640 \"text\"\n"
	if got := describe(t, img); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
