package gvisor

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/sandbox"
	"github.com/mayfly-dev/mayfly/internal/sandbox/sandboxtest"
)

func newDriver(t *testing.T) sandbox.Driver {
	t.Helper()
	d, err := New(Config{Dir: filepath.Join(t.TempDir(), strings.Repeat("long", 30)), Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return d
}

func TestDriver(t *testing.T) {
	sandboxtest.Run(t, newDriver, sandboxtest.Options{Isolated: true, Memory: true, CPU: true, Limits: true, Snapshots: true})
}
