package gvisor

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/sandbox"
	"github.com/mayfly-dev/mayfly/internal/sandbox/sandboxtest"
)

// ranFor returns what all threads of a sandbox's processes have had of the CPU,
// by the kernel's accounts in nanoseconds (Documentation/scheduler/sched-stats).
func ranFor(t *testing.T, s *Sandbox) (sum time.Duration) {
	t.Helper()
	for _, pid := range append(children(s.pid), s.pid) {
		threads, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/schedstat")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range threads {
			text, err := os.ReadFile(file)
			if err != nil {
				continue // ended meanwhile
			}
			ran, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += time.Duration(ran)
		}
	}
	return sum
}

func TestFrozenSandboxUsesNoCPU(t *testing.T) {
	const (
		stretch = time.Second
		nothing = stretch / 1000 // a timer of Go's runtime may wake for some microseconds
		busy    = stretch / 10
	)
	p := sandboxtest.Start(t, newDriver(t), sandboxtest.Images(t).Spec())
	s := p.Sandbox.(*Sandbox)
	p.Must("spin", nil)
	began := ranFor(t, s)
	for deadline := time.Now().Add(30 * time.Second); ranFor(t, s)-began < busy; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("a spinning sandbox took %s", ranFor(t, s)-began)
		}
	}
	frozen := func() {
		t.Helper()
		var took time.Duration
		for range 20 { // what was under way comes to its end
			before := ranFor(t, s)
			time.Sleep(stretch)
			if took = ranFor(t, s) - before; took < nothing {
				t.Logf("%s in %s", took, stretch)
				return
			}
		}
		t.Errorf("a frozen sandbox took %s of the CPU in %s", took, stretch)
	}
	if err := p.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	frozen()
	if err := p.Sandbox.(sandbox.Trimmer).Trim(); err != nil {
		t.Fatal(err)
	}
	frozen()
}
