package spine

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// lastBlock returns the newest file of messages of the stream of calls.
func lastBlock(t *testing.T, dir string) string {
	t.Helper()
	blocks, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", callsStream, "msgs", "*.blk"))
	if err != nil || len(blocks) == 0 {
		t.Fatalf("no blocks in %s: %v", dir, err)
	}
	return slices.Max(blocks)
}

func TestTornTailOfALogIsToldOfAndCostsNothingBeforeIt(t *testing.T) {
	const n = 20
	for name, tear := range map[string]func(t *testing.T, path string, b []byte){
		"cut off":     func(t *testing.T, path string, b []byte) { write(t, path, b[:len(b)-5]) },
		"overwritten": func(t *testing.T, path string, b []byte) { copy(b[len(b)-12:], "xxxxxxxxxxxx"); write(t, path, b) },
		"lengthened":  func(t *testing.T, path string, b []byte) { write(t, path, append(b, "garbage garbage garbage"...)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			calls := openCalls(t, s)
			for i := range n {
				put(t, calls, "f", "", fmt.Sprint(i))
			}
			s.Close()
			path := lastBlock(t, dir)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			tear(t, path, b)

			var said bytes.Buffer
			s, err = Open(t.Context(), Config{Dir: dir, Log: slog.New(slog.NewTextHandler(&said, nil))})
			if err != nil {
				t.Fatalf("a torn tail: %v", err)
			}
			defer s.Close()
			calls = openCalls(t, s)
			info, err := calls.st.Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			least := n
			if name != "lengthened" {
				least-- // the last one is torn
			}
			t.Logf("%d of %d items are left; the engine says:\n%s", info.State.Msgs, n, said.String())
			if info.State.Msgs < uint64(least) {
				t.Errorf("%d of %d items are left", info.State.Msgs, n)
			}
			if info.State.Msgs < n && said.Len() == 0 {
				t.Error("items were lost, and the log tells nobody")
			}
			if err := calls.Put(context.Background(), "f", "", []byte("next")); err != nil {
				t.Errorf("an item after that: %v", err)
			}
		})
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
