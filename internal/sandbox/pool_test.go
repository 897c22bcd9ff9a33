package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

func acquire(t *testing.T, p *Pool, name string) *Instance {
	t.Helper()
	i, err := p.Acquire(t.Context(), version(name, 128))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestSequentialCallsReuseOneInstance(t *testing.T) {
	d := &fakeDriver{}
	p := newTestPool(t, d, nil)
	for n := range 10 {
		i := acquire(t, p, "f")
		if _, fresh := i.Start(); fresh != (n == 0) {
			t.Errorf("call %d: fresh = %v", n, fresh)
		}
		a := i.Call(call("r", fmt.Sprint(n)))
		if string(a.Body) != fmt.Sprint(n) {
			t.Fatalf("call %d: %q", n, a.Body)
		}
		p.Release(i)
	}
	if d.created != 1 {
		t.Errorf("%d sandboxes were made, want 1", d.created)
	}
}

func TestReadyInstanceIsSettledOnce(t *testing.T) {
	p := newTestPool(t, &fakeDriver{}, nil)
	for range 2 {
		i := acquire(t, p, "f")
		if n := i.sb.(*fakeSandbox).settled; n != 1 {
			t.Errorf("its sandbox was settled %d times before the call", n)
		}
		i.Call(call("r", ""))
		p.Release(i)
	}
}

func TestMostRecentlyUsedInstanceGoesFirst(t *testing.T) {
	p := newTestPool(t, &fakeDriver{}, nil)
	a, b := acquire(t, p, "f"), acquire(t, p, "f")
	p.Release(a)
	p.Release(b)
	if got := acquire(t, p, "f"); got != b {
		t.Error("the least recently used instance was handed out first")
	} else {
		p.Release(got)
	}
}

func TestWaitingCallTakesAFreedInstanceBeforeItsOwnStart(t *testing.T) {
	d := &fakeDriver{boots: make(chan struct{}, 8)}
	d.boots <- struct{}{}
	p := newTestPool(t, d, nil)
	first := acquire(t, p, "f")
	got := make(chan *Instance)
	go func() {
		i, err := p.Acquire(t.Context(), version("f", 128))
		if err != nil {
			t.Error(err)
		}
		got <- i
	}()
	untilOneWaits(p)
	p.Release(first)
	if i := <-got; i != first {
		t.Error("the waiting call did not take the freed instance")
	} else {
		p.Release(i)
	}
	close(d.boots)
}

// untilOneWaits returns when a call waits for an instance.
func untilOneWaits(p *Pool) {
	for {
		p.mu.Lock()
		n := len(p.waiting)
		p.mu.Unlock()
		if n == 1 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func TestStartsAreBoundedInABurst(t *testing.T) {
	d := &fakeDriver{boots: make(chan struct{})}
	p := newTestPool(t, d, func(c *PoolConfig) { c.Starts = 3; c.MemoryMB = 100 * 128 })
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			i, err := p.Acquire(t.Context(), version("f", 128))
			if err != nil {
				t.Error(err)
				return
			}
			p.mu.Lock()
			if p.starts > 3 {
				t.Errorf("%d instances are starting, want at most 3", p.starts)
			}
			p.mu.Unlock()
			p.Release(i)
		})
	}
	close(d.boots)
	wg.Wait()
}

func TestIdleInstancesOfOthersMakeRoomLeastRecentlyUsedFirst(t *testing.T) {
	d := &fakeDriver{}
	p := newTestPool(t, d, func(c *PoolConfig) { c.MemoryMB = 256 })
	a, b := acquire(t, p, "a"), acquire(t, p, "b")
	p.Release(a)
	p.Release(b)
	c := acquire(t, p, "c")
	defer p.Release(c)
	names := functions(p)
	if !slices.Equal(names, []string{"b", "c"}) {
		t.Errorf("instances of %v are left, want b and c", names)
	}
}

func functions(p *Pool) (names []string) {
	for _, i := range p.Instances() {
		names = append(names, i.Function)
	}
	return names
}

func TestCallWaitsForTheRoomOfAnInstanceThatBecomesIdle(t *testing.T) {
	p := newTestPool(t, &fakeDriver{}, func(c *PoolConfig) { c.MemoryMB = 128; c.QueueLimit = time.Hour })
	a := acquire(t, p, "a")
	got := make(chan *Instance)
	go func() {
		i, err := p.Acquire(t.Context(), version("b", 128))
		if err != nil {
			t.Error(err)
		}
		got <- i
	}()
	untilOneWaits(p)
	p.Release(a)
	p.Release(<-got)
}

func TestFullMachineThrottlesAfterTheQueueLimit(t *testing.T) {
	p := newTestPool(t, &fakeDriver{}, func(c *PoolConfig) { c.MemoryMB = 128; c.QueueLimit = time.Millisecond })
	a := acquire(t, p, "a")
	defer p.Release(a)
	if _, err := p.Acquire(t.Context(), version("b", 128)); !errs.Is(err, errs.Throttled) {
		t.Errorf("Acquire on a full machine: %v, want throttled", err)
	}
	if _, err := p.Acquire(t.Context(), version("b", 129)); !errs.Is(err, errs.Invalid) {
		t.Errorf("Acquire of more than the machine has: %v, want invalid", err)
	}
}

func TestIdleInstanceIsFrozenAndThawedByItsNextCall(t *testing.T) {
	d := &fakeDriver{}
	p := newTestPool(t, d, func(c *PoolConfig) { c.Linger = 0 })
	i := acquire(t, p, "f")
	p.Release(i)
	for !i.isFrozen() {
		time.Sleep(time.Millisecond)
	}
	if infos := p.Instances(); len(infos) != 1 || infos[0].State != "frozen" {
		t.Errorf("instances: %+v, want one frozen", infos)
	}
	j := acquire(t, p, "f")
	defer p.Release(j)
	if a := j.Call(call("r", "x")); string(a.Body) != "x" {
		t.Errorf("call after the thaw: %q", a.Body)
	}
	if i != j || i.isFrozen() {
		t.Error("the frozen instance was not thawed and used")
	}
}

func TestIdleInstanceEndsAfterKeepAlive(t *testing.T) {
	d := &fakeDriver{}
	p := newTestPool(t, d, func(c *PoolConfig) { c.Linger, c.KeepAlive = 0, 5*time.Millisecond })
	i := acquire(t, p, "f")
	p.Release(i)
	<-i.sb.Done()
}

func TestTimerOfAnEarlierRestDoesNothingToAnInstanceThatWasUsedSince(t *testing.T) {
	p := newTestPool(t, &fakeDriver{}, nil)
	i := acquire(t, p, "f")
	p.Release(i)
	p.mu.Lock()
	armed := i.armed
	p.mu.Unlock()
	ran := 0
	p.fire(i, armed, func(*Instance) { ran++ })
	if ran != 1 {
		t.Error("the timer of an idle instance does nothing")
	}
	p.Release(acquire(t, p, "f"))
	p.fire(i, armed, func(*Instance) { ran++ }) // it ran out before, and waited for the pool
	if ran != 1 {
		t.Error("the timer of an earlier rest counts")
	}
	if err := p.pause(i, armed); err != nil || i.isFrozen() {
		t.Errorf("frozen by the timer of an earlier rest: %v, %v", i.isFrozen(), err)
	}
}

func TestRetiredCodeServesNoNewCallAndFinishesOldOnes(t *testing.T) {
	d := &fakeDriver{}
	p := newTestPool(t, d, nil)
	v := version("f", 128)
	old := acquire(t, p, "f")
	rest := acquire(t, p, "f")
	p.Release(rest)
	p.Retire(v.Fingerprint())
	<-rest.sb.Done()
	if a := old.Call(call("r", "still here")); string(a.Body) != "still here" {
		t.Errorf("call under way on retired code: %q", a.Body)
	}
	again := acquire(t, p, "f") // as when the same code comes back
	if again == old || again == rest {
		t.Error("a retired instance was handed out")
	}
	p.Release(old)
	<-old.sb.Done()
	p.Release(again)
	if next := acquire(t, p, "f"); next != again {
		t.Error("code that came back is not reused")
	} else {
		p.Release(next)
	}
}

func TestDeadIdleInstanceIsReplaced(t *testing.T) {
	d := &fakeDriver{}
	p := newTestPool(t, d, nil)
	i := acquire(t, p, "f")
	p.Release(i)
	i.sb.(*fakeSandbox).end(Exit{Signal: 9})
	j := acquire(t, p, "f")
	if i == j {
		t.Error("a dead instance was handed out")
	}
	p.Release(j)
}

func TestAnswersThatNobodyAskedForReachNoCall(t *testing.T) {
	d := &fakeDriver{answer: func(sb *fakeSandbox, f Frame) (Frame, bool) {
		sb.send(Frame{Kind: FrameResponse, Body: f.Body})
		return Frame{Kind: FrameResponse, Body: []byte("stale")}, true
	}}
	p := newTestPool(t, d, nil)
	for range 3 {
		i := acquire(t, p, "f")
		if a := i.Call(call("r", "mine")); string(a.Body) != "mine" {
			t.Errorf("a call got %q", a.Body)
		}
		for i.out.Buffered() == 0 && !readable(i.stdout) { // until the second answer is there
			time.Sleep(time.Millisecond)
		}
		p.Release(i)
	}
}

func TestFaultsAreToldApart(t *testing.T) {
	block := make(chan struct{})
	defer close(block)
	tests := []struct {
		name   string
		answer func(*fakeSandbox, Frame) (Frame, bool)
		want   FaultKind
	}{
		{"no answer in time", func(*fakeSandbox, Frame) (Frame, bool) { <-block; return Frame{}, false }, TimedOut},
		{"process ends", func(*fakeSandbox, Frame) (Frame, bool) { return Frame{}, false }, Exited},
		{"memory limit", func(sb *fakeSandbox, _ Frame) (Frame, bool) {
			sb.end(Exit{Signal: 9, OOM: true})
			return Frame{}, false
		}, OutOfMemory},
		{"answer too large", func(*fakeSandbox, Frame) (Frame, bool) {
			return Frame{Kind: FrameResponse, Body: make([]byte, 1<<20+1)}, true
		}, ResponseTooLarge},
		{"nonsense on the link", func(*fakeSandbox, Frame) (Frame, bool) { return Frame{Kind: 99}, true }, Exited},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newTestPool(t, &fakeDriver{answer: tt.answer}, nil)
			i := acquire(t, p, "f")
			c := call("r", "x")
			if tt.want == TimedOut {
				c.Deadline = time.Now().Add(20 * time.Millisecond)
			}
			a := i.Call(c)
			if !a.Failed || a.Fault != tt.want || string(a.Body) != fmt.Sprintf("fault %dr", tt.want) {
				t.Errorf("answer %q, fault %d, want %d", a.Body, a.Fault, tt.want)
			}
			p.Release(i)
			<-i.sb.Done() // a broken instance is never used again
		})
	}
}

func TestInitErrorReachesEachWaitingCall(t *testing.T) {
	p := newTestPool(t, &fakeDriver{initErr: "no such module"}, nil)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			_, err := p.Acquire(t.Context(), version("f", 128))
			var failed *InitError
			if !errors.As(err, &failed) || string(failed.For("r1")) != "no such module" || failed.ErrorType != "Bad.Init" || failed.PeakBytes != 2<<20 {
				t.Errorf("Acquire: %v, want the init error", err)
			}
		})
	}
	wg.Wait()
}

func TestSlowInitIsTriedOnceMoreWithTheCallsLimit(t *testing.T) {
	d := &fakeDriver{boots: make(chan struct{}, 1)}
	p := newTestPool(t, d, func(c *PoolConfig) { c.InitLimit = 10 * time.Millisecond })
	v := version("f", 128)
	v.Timeout = 30 * time.Millisecond
	_, err := p.Acquire(t.Context(), v)
	var failed *InitError
	if !errors.As(err, &failed) || failed.Fault != InitTimedOut {
		t.Fatalf("Acquire: %v, want an init timeout", err)
	}
	if got := string(failed.For(" of r1")); got != fmt.Sprintf("fault %d of r1", InitTimedOut) || failed.PeakBytes != 2<<20 {
		t.Errorf("the call's document %q, peak %d; want its request id and the init's memory", got, failed.PeakBytes)
	}
	if d.created != 2 {
		t.Errorf("%d sandboxes were made, want 2", d.created)
	}
	close(d.boots)
}

func TestLinesAreTaggedWithTheirCall(t *testing.T) {
	d := &fakeDriver{answer: func(sb *fakeSandbox, f Frame) (Frame, bool) {
		sb.log(string(f.Body))
		return Frame{Kind: FrameResponse}, true
	}}
	var mu sync.Mutex
	var lines []string
	p := newTestPool(t, d, func(c *PoolConfig) {
		c.Sink = func(l Lines) {
			mu.Lock()
			defer mu.Unlock()
			for _, text := range l.Texts {
				lines = append(lines, l.RequestID+":"+text)
			}
		}
	})
	i := acquire(t, p, "f")
	long := strings.Repeat("x", maxLine+10)
	for n, text := range []string{"one\ntwo\r\nhalf", "", long + "\n"} {
		i.Call(call(fmt.Sprint("r", n), text))
	}
	p.Release(i)
	mu.Lock()
	defer mu.Unlock()
	want := []string{"r0:one", "r0:two", "r0:half", "r2:" + long[:maxLine], "r2:" + long[maxLine:]}
	if !slices.Equal(lines, want) {
		t.Errorf("%d lines %.80q, want %d", len(lines), lines, len(want))
	}
}

func TestLargePayloadsCrossTheLinkBothWays(t *testing.T) {
	p := newTestPool(t, &fakeDriver{}, func(c *PoolConfig) { c.MaxResponse = 8 << 20 })
	i := acquire(t, p, "f")
	defer p.Release(i)
	for _, n := range []int{0, 1, inlineBody, inlineBody + 1, 6 << 20} {
		body := bytes.Repeat([]byte{'b'}, n)
		a := i.Call(&Call{Deadline: time.Now().Add(5 * time.Second), Payload: body})
		if a.Failed || !bytes.Equal(a.Body, body) {
			t.Errorf("%d bytes came back as %d, failed %v", n, len(a.Body), a.Failed)
		}
	}
}

func TestCloseLetsCallsFinishAndRefusesNewOnes(t *testing.T) {
	release := make(chan struct{})
	d := &fakeDriver{answer: func(*fakeSandbox, Frame) (Frame, bool) {
		<-release
		return Frame{Kind: FrameResponse, Body: []byte("done")}, true
	}}
	p := newTestPool(t, d, nil)
	i := acquire(t, p, "f")
	finished := make(chan Answer)
	go func() {
		a := i.Call(call("r", ""))
		p.Release(i)
		finished <- a
	}()
	closed := make(chan error)
	go func() { closed <- p.Close(context.Background()) }()
	for {
		_, err := p.Acquire(t.Context(), version("g", 128))
		if errs.Is(err, errs.Unavailable) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	close(release)
	if a := <-finished; string(a.Body) != "done" {
		t.Errorf("the call under way answered %q", a.Body)
	}
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
}

func TestCloseCutsOffWhatOutlastsItsPatience(t *testing.T) {
	block := make(chan struct{})
	defer close(block)
	d := &fakeDriver{answer: func(*fakeSandbox, Frame) (Frame, bool) { <-block; return Frame{}, false }}
	p := newTestPool(t, d, nil)
	i := acquire(t, p, "f")
	finished := make(chan Answer)
	go func() {
		a := i.Call(call("r", ""))
		p.Release(i)
		finished <- a
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := p.Close(ctx); err == nil {
		t.Error("Close says nothing of the call that it cut off")
	}
	if a := <-finished; !a.Failed {
		t.Error("the call that was cut off did not fail")
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add(AppendFrame(nil, Frame{Kind: FrameInvoke, Header: []byte("A: b\r\n"), Body: []byte("{}")}))
	f.Add([]byte{255, 255, 255, 255, 1, 0, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, err := ReadFrame(bytes.NewReader(b), 1<<16)
		if err != nil {
			return
		}
		again := AppendFrame(nil, fr)
		again[5] = b[5] // reserved
		if !bytes.Equal(again, b[:len(again)]) {
			t.Errorf("frame %v does not encode to what it was read from", fr)
		}
	})
}
