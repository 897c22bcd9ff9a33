package sandbox

import (
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/function"
)

// wide is a version whose instances take n calls at one time. It is no web server
// to the fake driver: what is tested is how instances are shared.
func wide(name string, n int) *function.Version {
	v := version(name, 128)
	v.Web = &function.Web{Command: []string{"x"}, Concurrency: n, Port: function.DefaultWebPort}
	return v
}

func TestInstancesAreSharedUpToTheirWidth(t *testing.T) {
	d := &fakeDriver{}
	p := newTestPool(t, d, nil)
	var all []*Instance
	for range 5 {
		i, err := p.Acquire(t.Context(), wide("f", 2))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, i)
	}
	users := map[*Instance]int{}
	for _, i := range all {
		users[i]++
	}
	if len(users) != 3 || d.created != 3 {
		t.Errorf("5 calls are on %d instances, of %d made, want 3", len(users), d.created)
	}
	for i, n := range users {
		if n > 2 {
			t.Errorf("instance %s has %d users, more than its width", i.ID, n)
		}
	}
	if p.Busy() != 3 {
		t.Errorf("%d are busy", p.Busy())
	}
	for _, i := range all {
		p.Release(i)
	}
	if p.Busy() != 0 {
		t.Errorf("%d are busy after all left", p.Busy())
	}
}

func TestOneStartServesAllWhoFitInIt(t *testing.T) {
	d := &fakeDriver{boots: make(chan struct{})}
	p := newTestPool(t, d, nil)
	got := make(chan *Instance)
	for range 3 {
		go func() {
			i, err := p.Acquire(t.Context(), wide("f", 10))
			if err != nil {
				t.Error(err)
			}
			got <- i
		}()
	}
	d.boots <- struct{}{} // one start: a second would wait for another value for ever
	first := <-got
	for range 2 {
		if i := <-got; i != first {
			t.Error("a caller got another instance")
		}
	}
	for range 3 {
		p.Release(first)
	}
}

func TestRetiredInstanceTakesNoMoreUsers(t *testing.T) {
	p := newTestPool(t, &fakeDriver{}, nil)
	v := wide("f", 10)
	old, err := p.Acquire(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	p.Retire(v.Fingerprint())
	fresh, err := p.Acquire(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	if fresh == old {
		t.Error("an obsolete instance got another user")
	}
	p.Release(fresh)
	p.Release(old)
}

func TestBrokenInstanceEndsWithItsLastUser(t *testing.T) {
	p := newTestPool(t, &fakeDriver{}, nil)
	v := wide("f", 2)
	i, err := p.Acquire(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	again, err := p.Acquire(t.Context(), v)
	if err != nil || again != i {
		t.Fatalf("the second user got %v, %v", again, err)
	}
	i.sb.(*fakeSandbox).end(Exit{Code: 1})
	p.Release(i)
	p.Release(i)
	other, err := p.Acquire(t.Context(), v)
	if err != nil || other == i {
		t.Errorf("the next user got %v, %v", other, err)
	}
	p.Release(other)
}

func TestTimeWithManyRequestsIsBilledOnce(t *testing.T) {
	i := &Instance{sb: &fakeSandbox{}, web: &webServer{fresh: true}}
	began := time.Now()
	if _, fresh := i.Begin(); !fresh {
		t.Error("the first request is not the first")
	}
	if _, fresh := i.Begin(); fresh {
		t.Error("the second request is the first")
	}
	time.Sleep(5 * time.Millisecond)
	one, _ := i.End()
	two, _ := i.End()
	if sum, passed := one+two, time.Since(began); sum > passed || sum < 5*time.Millisecond {
		t.Errorf("billed %s and %s, while %s passed", one, two, passed)
	}
	if one%time.Millisecond != 0 {
		t.Errorf("a part of a millisecond, of %s, would be rounded up twice", one)
	}
}
