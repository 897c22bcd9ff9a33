package invoke

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

// shelf is an Instances on which all that is wanted is ready at once.
type shelf struct {
	mu     sync.Mutex
	scales map[string]sandbox.Scale // by version
}

func (s *shelf) Provision(v *function.Version, sc sandbox.Scale) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.scales == nil {
		s.scales = map[string]sandbox.Scale{}
	}
	s.scales[v.Version] = sc
}

func (s *shelf) Ready(v *function.Version) sandbox.Readiness {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sandbox.Readiness{Allocated: s.scales[v.Version].Ready}
}

func (s *shelf) ready(version string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scales[version].Ready
}

// book is a Keeper.
type book struct {
	mu   sync.Mutex
	kept []time.Duration
}

func (b *book) Keep(_, _, _ string, _ int, _ time.Time, took time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kept = append(b.kept, took)
}

// oneFunction is a bucket that holds f, with two instances of its version 1
// provisioned.
type oneFunction struct {
	function.Bucket // not used
}

func (oneFunction) List(_ context.Context, _ string, fn func(string, []byte, uint64) error) error {
	return fn("function.f", []byte(`{
		"name": "f",
		"latest": {"function": "f", "version": "$LATEST", "runtime": "r", "memoryMB": 128, "state": "Active"},
		"versions": [{"function": "f", "version": "1", "runtime": "r", "memoryMB": 128, "state": "Active"}],
		"capacity": {"provisioned": {"1": {"instances": 2}}}}`), 1)
}

func (oneFunction) Update(_ context.Context, _ string, _ []byte, rev uint64) (uint64, error) {
	return rev + 1, nil
}

// anyRuntime is a catalog that serves what is asked for.
type anyRuntime struct{}

func (anyRuntime) Resolve(name string) (string, string, error) { return name, "", nil }

func TestCapacityTellsThePoolAndAccountsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *Capacity
		registry, err := function.Open(t.Context(), function.Options{
			Bucket: oneFunction{}, Runtimes: anyRuntime{}, Limits: function.DefaultLimits("amd64"),
			Changed: func() { c.Changed() },
		})
		ok(t, err)
		pool, kept := &shelf{}, &book{}
		c = NewCapacity(registry, pool, kept)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		synctest.Wait()
		if n := pool.ready("1"); n != 2 { // as after a restart
			t.Errorf("at the start the pool is told to keep %d instances", n)
		}
		time.Sleep(90 * time.Second)
		ok(t, registry.Provision(t.Context(), "f", "1", 1))
		synctest.Wait()
		if n := pool.ready("1"); n != 1 {
			t.Errorf("after the change the pool is told to keep %d instances", n)
		}
		time.Sleep(10 * time.Second)
		ok(t, registry.Provision(t.Context(), "f", "1", 0))
		synctest.Wait()
		if n := pool.ready("1"); n != 0 {
			t.Errorf("the pool is still told to keep %d instances", n)
		}
		time.Sleep(time.Hour)
		cancel()
		ok(t, <-done)
		want := []time.Duration{time.Minute, time.Minute, 30 * time.Second, 30 * time.Second, 10 * time.Second}
		if !slices.Equal(kept.kept, want) {
			t.Errorf("instances are accounted for as %v, want %v", kept.kept, want)
		}
	})
}
