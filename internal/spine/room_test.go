package spine

import (
	"testing"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

func TestFullDiskRefusesWritesAndHarmsNoStream(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	ctx := t.Context()
	calls, err := s.Calls(ctx)
	if err != nil {
		t.Fatal(err)
	}
	journal, err := s.Meter(ctx)
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := s.Bucket(ctx, "things")
	if err != nil {
		t.Fatal(err)
	}
	rev, err := bucket.Create(ctx, "a", []byte("1"))
	if err != nil {
		t.Fatal(err)
	}
	writes := map[string]func() error{
		"put a call":     func() error { return calls.Put(ctx, "fn", "", []byte("{}")) },
		"append a batch": func() error { _, err := journal.Append(ctx, "id", []byte("batch")); return err },
		"create a key":   func() error { _, err := bucket.Create(ctx, "b", []byte("1")); return err },
		"update a key":   func() error { _, err := bucket.Update(ctx, "a", []byte("2"), rev); return err },
	}
	free := s.free
	s.free = func() (int64, error) { return reserve - 1, nil }
	for name, write := range writes {
		if err := write(); !errs.Is(err, errs.Unavailable) {
			t.Errorf("%s on a full disk: %v, want unavailable", name, err)
		}
	}
	if _, _, err := bucket.Get(ctx, "b"); !errs.Is(err, errs.NotFound) {
		t.Errorf("key that was refused: %v, want not found", err)
	}
	s.free = free
	for name, write := range writes {
		if err := write(); err != nil {
			t.Errorf("%s when there is room again: %v", name, err)
		}
	}
	var batches int
	if err := journal.Read(ctx, 0, func(uint64, []byte) error { batches++; return nil }); err != nil || batches != 1 {
		t.Errorf("%d batches, %v; want the one that was accepted", batches, err)
	}
	s.free = func() (int64, error) { return deleteReserve, nil }
	if err := bucket.Delete(ctx, "b", 0); err != nil {
		t.Errorf("delete, which makes room: %v", err)
	}
	s.free = func() (int64, error) { return 0, nil }
	if err := bucket.Delete(ctx, "a", 0); !errs.Is(err, errs.Unavailable) {
		t.Errorf("delete without any room: %v, want unavailable", err)
	}
}

func TestFreeSpaceIsThatOfTheDisk(t *testing.T) {
	if n, err := freeBytes(t.TempDir()); err != nil || n <= 0 {
		t.Errorf("free = %d, %v", n, err)
	}
	if _, err := freeBytes("/no/such/directory"); err == nil {
		t.Error("a directory that is not there has free space")
	}
}
