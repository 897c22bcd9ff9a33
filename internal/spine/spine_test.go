package spine

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

func open(t *testing.T, dir string) *Spine {
	t.Helper()
	s, err := Open(t.Context(), Config{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBucketRefusesStaleAndDuplicateWrites(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	b, err := s.Bucket(t.Context(), "things")
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if _, _, err := b.Get(ctx, "a"); !errs.Is(err, errs.NotFound) {
		t.Errorf("Get of a missing key: %v, want not found", err)
	}
	rev, err := b.Create(ctx, "a", []byte("1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Create(ctx, "a", []byte("2")); !errs.Is(err, errs.Conflict) {
		t.Errorf("second Create: %v, want conflict", err)
	}
	next, err := b.Update(ctx, "a", []byte("3"), rev)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Update(ctx, "a", []byte("4"), rev); !errs.Is(err, errs.Stale) {
		t.Errorf("Update at an old revision: %v, want stale", err)
	}
	if err := b.Delete(ctx, "a", rev); !errs.Is(err, errs.Stale) {
		t.Errorf("Delete at an old revision: %v, want stale", err)
	}
	if err := b.Delete(ctx, "a", next); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if _, _, err := b.Get(ctx, "a"); !errs.Is(err, errs.NotFound) {
		t.Errorf("Get after Delete: %v, want not found", err)
	}
	if _, err := b.Create(ctx, "a", []byte("5")); err != nil {
		t.Errorf("Create after Delete: %v", err)
	}
}

func TestBucketListsByPrefixAndSurvivesReopen(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	b, err := s.Bucket(t.Context(), "things")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"f/a", "f/b", "g/c"} {
		if _, err := b.Create(t.Context(), k, []byte(k)); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()

	s = open(t, dir)
	defer s.Close()
	if b, err = s.Bucket(t.Context(), "things"); err != nil {
		t.Fatal(err)
	}
	var got []string
	err = b.List(t.Context(), "f/", func(k string, v []byte, _ uint64) error {
		got = append(got, k+"="+string(v))
		return nil
	})
	slices.Sort(got)
	if want := []string{"f/a=f/a", "f/b=f/b"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("List = %v, %v, want %v", got, err, want)
	}
	stop := errors.New("stop")
	if err := b.List(t.Context(), "", func(string, []byte, uint64) error { return stop }); err != stop {
		t.Errorf("List = %v, want the callback's error", err)
	}
}

func TestSpineOnAClusterIsTheSameSpine(t *testing.T) {
	cluster, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	cluster.Start()
	t.Cleanup(func() { cluster.Shutdown(); cluster.WaitForShutdown() })
	if !cluster.ReadyForConnections(10 * time.Second) {
		t.Fatal("the cluster does not start")
	}
	s, err := Open(t.Context(), Config{URL: cluster.ClientURL(), Replicas: 1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b, err := s.Bucket(t.Context(), "things")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Create(t.Context(), "a", []byte("1")); err != nil {
		t.Fatal(err)
	}
	j, err := s.Meter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append(t.Context(), "id", []byte("batch")); err != nil {
		t.Fatal(err)
	}
}

func TestSpineThatIsNotThereIsUnavailable(t *testing.T) {
	_, err := Open(t.Context(), Config{URL: "nats://127.0.0.1:1", Log: slog.New(slog.DiscardHandler)})
	if !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("Open: %v, want unavailable, with the address", err)
	}
}

func TestJournalKeepsOrderAndDropsRepeatedBatches(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	j, err := s.Meter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	read := func(after uint64) (got []string) {
		t.Helper()
		err := j.Read(t.Context(), after, func(n uint64, b []byte) error { got = append(got, fmt.Sprint(n, string(b))); return nil })
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := read(0); got != nil {
		t.Errorf("empty journal reads %v", got)
	}
	for i, id := range []string{"a", "b", "b", "c"} {
		n, err := j.Append(t.Context(), id, []byte(id))
		if err != nil || n != []uint64{1, 2, 2, 3}[i] {
			t.Fatalf("append %s: number %d, %v", id, n, err)
		}
	}
	if last, err := j.Last(t.Context()); err != nil || last != 3 {
		t.Errorf("last number %d, %v", last, err)
	}
	if got := read(0); !slices.Equal(got, []string{"1a", "2b", "3c"}) {
		t.Errorf("journal reads %v", got)
	}
	if got := read(3); got != nil {
		t.Errorf("journal reads %v past its end", got)
	}
	if err := j.Trim(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if got := read(0); !slices.Equal(got, []string{"3c"}) {
		t.Errorf("trimmed journal reads %v", got)
	}
	if err := j.Trim(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	if n, err := j.Append(t.Context(), "d", []byte("d")); err != nil || n != 4 {
		t.Errorf("number %d after a trim of all, %v; want 4", n, err)
	}
}
