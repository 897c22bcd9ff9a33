package gvisor

import (
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/sandbox"
	"github.com/mayfly-dev/mayfly/internal/sandbox/sandboxtest"
)

// A copy has a start's CPU for a while longer, which must end.
func TestCopyIsHeldToItsShareSoonAfterItIsReady(t *testing.T) {
	d, images := newDriver(t), sandboxtest.Images(t)
	tenth := func() sandbox.Spec {
		spec := images.Spec() // has a name of its own
		spec.MilliCPU, spec.CapCPU = 100, true
		return spec
	}
	path := sandboxtest.Start(t, d, tenth()).Save()
	c := sandboxtest.Restore(t, d, tenth(), path)
	s := c.Sandbox.(*Sandbox)
	if s.cgroup == nil {
		t.Skip("there are no control groups")
	}
	c.Must("spin", nil)
	if err := s.Settle(); err != nil {
		t.Fatal(err)
	}
	if s.settled.Load() {
		t.Error("a copy that is ready has its share at once")
	}
	for began := time.Now(); !s.settled.Load(); {
		c.Must("spins", nil)
		if time.Since(began) > 10*thaw {
			t.Fatal("it is never held to its share")
		}
	}
	before, began := cpuOf(t, s), time.Now()
	for time.Since(began) < time.Second {
		c.Must("spins", nil)
	}
	if share := float64(cpuOf(t, s)-before) / float64(time.Since(began)); share > 0.2 {
		t.Errorf("a copy with a tenth of a CPU used %.2f", share)
	}
}

func cpuOf(t *testing.T, s *Sandbox) time.Duration {
	t.Helper()
	used, err := s.CPUTime()
	if err != nil {
		t.Fatal(err)
	}
	return used
}
