package disk_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/blob"
	"github.com/mayfly-dev/mayfly/internal/blob/blobtest"
	"github.com/mayfly-dev/mayfly/internal/blob/disk"
)

func open(t *testing.T, dir string) *disk.Store {
	t.Helper()
	s, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return open(t, t.TempDir()) })
}

func TestOpenKeepsBlobsAndSweepsUnfinishedPuts(t *testing.T) {
	dir := t.TempDir()
	if _, err := open(t, dir).Put(t.Context(), "abc", strings.NewReader("kept")); err != nil {
		t.Fatal(err)
	}
	unfinished := filepath.Join(dir, "tmp", "put-1")
	if err := os.WriteFile(unfinished, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := open(t, dir).Open(t.Context(), "abc")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.Size() != 4 {
		t.Errorf("size = %d", r.Size())
	}
	if _, err := os.Stat(unfinished); !os.IsNotExist(err) {
		t.Errorf("the unfinished put is still there: %v", err)
	}
}

func TestFailedPutLeavesNoFile(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := s.Put(t.Context(), "abc", blobtest.FailingReader("some bytes")); err == nil {
		t.Fatal("no error")
	}
	left, err := os.ReadDir(filepath.Join(dir, "tmp"))
	if err != nil || len(left) != 0 {
		t.Errorf("tmp holds %v, %v", left, err)
	}
}
