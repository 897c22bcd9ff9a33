package gvisor

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/memmap"
	"gvisor.dev/gvisor/pkg/sentry/state/stateio"

	"github.com/mayfly-dev/mayfly/internal/sandbox"
	"github.com/mayfly-dev/mayfly/internal/sandbox/sandboxtest"
)

const page = hostarch.PageSize

// fileOf returns a file with the given content, open for reading and writing.
func fileOf(t *testing.T, content []byte) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestSectionsOfASnapshotAreFoundAgain(t *testing.T) {
	f := fileOf(t, make([]byte, 3*page))
	if err := appendSections(f, fileOf(t, []byte("kernel")), fileOf(t, []byte("where")), []string{"mine"}); err != nil {
		t.Fatal(err)
	}
	at, err := readLayout(f)
	if want := (layout{3 * page, 6, 5, int64(len(`[{"size":4,"at":null}]`))}); err != nil || at != want {
		t.Fatalf("the layout is %v, %v, want %v", at, err, want)
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if got := string(b[at.Pages : at.Pages+at.Kernel+at.Metadata]); got != "kernelwhere" {
		t.Errorf("the sections are %q", got)
	}
	for n := range b { // however little is missing
		if len(b)-n > 3*layoutSize && n%97 != 0 {
			continue
		}
		if at, err := readLayout(fileOf(t, b[:n])); err == nil {
			t.Errorf("of %d bytes, %d pass for a snapshot of %v", len(b), n, at)
		}
	}
	binary.LittleEndian.PutUint64(b[len(b)-8:], 1<<63)
	if at, err := readLayout(fileOf(t, b)); err == nil {
		t.Errorf("a section of negative length passes: %v", at)
	}
}

func TestPagesReaderCopiesEachPageToItsPlace(t *testing.T) {
	from := make([]byte, 8*page)
	rng := rand.NewChaCha8([32]byte{})
	rng.Read(from)
	a, b := fileOf(t, nil), fileOf(t, bytes.Repeat([]byte{7}, 6*page))
	r, err := newPagesReader(fileOf(t, from), 6*page, nil) // what follows is no page
	if err != nil {
		t.Fatal(err)
	}
	register := func(f *os.File) stateio.DestinationFile {
		d, err := r.RegisterDestinationFD(int32(f.Fd()), 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	toA, toB := register(a), register(b)
	r.AddRead(1, 2*page, toA, memmap.FileRange{Start: page, End: 3 * page}, nil)
	r.AddReadv(0, 0, 2*page, toB, []memmap.FileRange{{Start: 5 * page, End: 6 * page}, {Start: 0, End: page}}, nil)
	done, err := r.Wait(nil, 1)
	if err != nil || len(done) == 0 || done[0].Err != nil || done[0].N != 2*page || done[0].ID != 1 {
		t.Fatalf("the first read ended with %v, %v", done, err)
	}
	if done, err = r.Wait(done, 2-len(done)); err != nil || len(done) != 2 || done[1].Err != nil || done[1].N != 2*page {
		t.Fatalf("the reads ended with %v, %v", done, err)
	}
	gotA, _ := os.ReadFile(a.Name())
	gotB, _ := os.ReadFile(b.Name())
	if want := slices.Concat(make([]byte, page), from[2*page:4*page]); !bytes.Equal(gotA, want) {
		t.Error("one file has other pages than were read into it")
	}
	if want := slices.Concat(from[page:2*page], bytes.Repeat([]byte{7}, 4*page), from[:page]); !bytes.Equal(gotB, want) {
		t.Error("the file that was read into in pieces has other pages")
	}
	r.AddRead(1, 5*page, toA, memmap.FileRange{Start: 0, End: 2 * page}, nil)
	if done, err = r.Wait(nil, 1); err != nil || len(done) != 1 || done[0].Err == nil || done[0].N == 2*page {
		t.Errorf("a read past the last page ended with %v, %v", done, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// What is damaged must not run: where its pages are missing, a restore fails, or
// its copy ends.
func TestCopyOfDamagedSnapshotEnds(t *testing.T) {
	d, images := newDriver(t), sandboxtest.Images(t)
	whole, err := os.ReadFile(sandboxtest.Start(t, d, images.Spec()).Save())
	if err != nil {
		t.Fatal(err)
	}
	at, err := readLayout(fileOf(t, whole))
	if err != nil {
		t.Fatal(err)
	}
	noPages := bytes.Clone(whole[at.Pages:])
	binary.LittleEndian.PutUint64(noPages[len(noPages)-3*8:], 0)
	for name, content := range map[string][]byte{"cut off": whole[:len(whole)-1], "empty": nil, "no pages": noPages} {
		t.Run(name, func(t *testing.T) {
			spec := images.Spec()
			b, err := d.(sandbox.Snapshotter).Blank(t.Context(), spec.ID, spec)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { b.Close() })
			s, err := b.Restore(t.Context(), spec, fileOf(t, content))
			if err != nil {
				return
			}
			stdin, _, _ := s.Link()
			stdin.Write(sandbox.AppendFrame(nil, sandbox.Frame{Kind: sandbox.FrameInvoke, Header: []byte("echo")})) // wakes the code
			select {
			case <-s.Done():
			case <-time.After(time.Minute):
				t.Fatal("the copy lives")
			}
		})
	}
}
