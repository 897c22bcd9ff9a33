package egress

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/sandbox/gvisor"
	"github.com/mayfly-dev/mayfly/internal/sandbox/sandboxtest"
)

// The same policy as seen from inside real sandboxes, whose packets gVisor's
// own network stack makes.
func TestGVisorSandboxesUseTheNetwork(t *testing.T) {
	w := newWorld(t)
	n := w.network(Config{})
	d, err := gvisor.New(gvisor.Config{Dir: t.TempDir(), Network: n, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	ok(t, err)
	t.Cleanup(func() { ok(t, d.Close()) })
	images := sandboxtest.Images(t)
	a, b := sandboxtest.Start(t, d, images.Spec()), sandboxtest.Start(t, d, images.Spec())

	if conf := string(a.Must("read /etc/resolv.conf", nil)); conf != string(n.ResolvConf()) {
		t.Errorf("resolv.conf inside is %q, want %q", conf, n.ResolvConf())
	}
	a.Must("dial "+outsideAddr+":8000", nil)
	a.Must("dial outside.example:8000", nil)
	if got := string(b.Must("loop", []byte("over loopback"))); got != "over loopback" {
		t.Errorf("loopback inside gave %q", got)
	}

	for name, to := range map[string]string{
		"host service":     hostAddr + ":8055",
		"metadata service": metadata + ":8000",
	} {
		t.Run(name, func(t *testing.T) {
			if answer, failed := a.Do("dial "+to, nil); !failed || !strings.Contains(string(answer), "refused") {
				t.Errorf("with the rules: failed is %v, %q, want a refused connection", failed, answer)
			}
			ok(t, n.host.uninstall(n.name))
			defer func() { ok(t, n.host.install(n.rules)) }()
			a.Must("dial "+to, nil)
		})
	}
	t.Run("another sandbox", func(t *testing.T) {
		other := w.sandbox(n)
		w.serve(other, "0.0.0.0:8000")
		to := "dial " + address(t, other) + ":8000"
		if answer, failed := a.Do(to, nil); !failed || !strings.Contains(string(answer), "refused") {
			t.Errorf("with the rules: failed is %v, %q, want a refused connection", failed, answer)
		}
		ok(t, n.host.uninstall(n.name))
		defer func() { ok(t, n.host.install(n.rules)) }()
		a.Must(to, nil)
	})
}
