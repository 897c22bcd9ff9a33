package delivery

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

var (
	out  = event.Target{Kind: event.Queue, Name: "out"}
	dead = event.Target{Kind: event.Queue, Name: "dead"}
)

// inbox takes messages, or refuses them as answer says.
type inbox struct {
	mu     sync.Mutex
	got    map[string][]string // guarded by mu: the ids of a target
	last   event.Message       // guarded by mu
	more   chan struct{}
	answer func(t event.Target, times int) error
	tries  int // guarded by mu
}

func newInbox(answer func(t event.Target, times int) error) *inbox {
	return &inbox{got: map[string][]string{}, more: make(chan struct{}, 1000), answer: answer}
}

func (b *inbox) Send(_ context.Context, t event.Target, m event.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tries++
	if err := b.answer(t, b.tries); err != nil {
		return err
	}
	b.got[t.Name], b.last = append(b.got[t.Name], m.ID), m
	b.more <- struct{}{}
	return nil
}

// next waits until a message has come.
func (b *inbox) next(t *testing.T) {
	t.Helper()
	select {
	case <-b.more:
	case <-time.After(time.Minute):
		t.Fatal("no message comes")
	}
}

func take(event.Target, int) error { return nil }

type plainWords struct{}

func (plainWords) DeadLetter(p Parcel) map[string]string {
	return map[string]string{"reason": p.Dead.Reason, "exhausted": p.Dead.Exhausted}
}

// house is a spine in a directory, with a courier.
type house struct {
	spine   *spine.Spine
	courier *Courier
	passed  *spine.Bucket
}

func openHouse(t *testing.T, dir string, in *inbox) *house {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s, err := spine.Open(t.Context(), spine.Config{Dir: dir, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	lanes, err := s.Parcels(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	passed, err := s.Bucket(t.Context(), spine.ClockBucket)
	if err != nil {
		t.Fatal(err)
	}
	return &house{spine: s, courier: NewCourier(lanes, event.Senders{event.Queue: in}, plainWords{}, log), passed: passed}
}

// run runs parts until stop is called, and waits for their ends.
func run(t *testing.T, parts ...func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for _, part := range parts {
		all.Go(func() {
			if err := part(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	stop = sync.OnceFunc(func() { cancel(); all.Wait() })
	t.Cleanup(stop)
	return stop
}

// fixed are timers that fire at given times; of several that were missed, at the latest.
type fixed struct {
	times  []time.Time
	passed chan time.Time
}

func (f *fixed) Next(after time.Time) (next time.Time) {
	for _, t := range f.times {
		if t.After(after) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	return next
}

func (f *fixed) Due(after, until time.Time) (parcels []Parcel) {
	var due time.Time
	for _, t := range f.times {
		if t.After(after) && !t.After(until) && t.After(due) {
			due = t
		}
	}
	if due.IsZero() {
		return nil
	}
	return []Parcel{{Target: out, Message: event.Message{ID: due.UTC().Format(time.RFC3339Nano), Time: due}, MaxAge: time.Hour, Accepted: time.Now()}}
}

func (f *fixed) Passed(until time.Time) {
	select {
	case f.passed <- until:
	default:
	}
}

func TestTimersFireOnceOverRestartsAndOnceForWhatWasMissed(t *testing.T) {
	dir, in := t.TempDir(), newInbox(take)
	h := openHouse(t, dir, in)
	first := time.Now().Add(100 * time.Millisecond)
	timers := &fixed{times: []time.Time{first}, passed: make(chan time.Time, 1)}
	clock := NewClock(h.passed, h.courier, slog.New(slog.DiscardHandler), timers)
	stop := run(t, h.courier.Run, clock.Run)
	in.next(t)
	stop()
	h.spine.Close()

	// While nothing runs, the timer is due three times.
	for range 3 {
		timers.times = append(timers.times, time.Now())
	}
	missed := timers.times[3].UTC().Format(time.RFC3339Nano)
	for range 2 { // the second time nothing is due
		h = openHouse(t, dir, in)
		timers.passed = make(chan time.Time, 1)
		stop = run(t, h.courier.Run, NewClock(h.passed, h.courier, slog.New(slog.DiscardHandler), timers).Run)
		<-timers.passed
		for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			waiting := h.courier.lanes.Waiting()
			if len(waiting) == 0 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("still waiting: %v", waiting)
			}
		}
		stop()
		h.spine.Close()
	}
	if want := []string{first.UTC().Format(time.RFC3339Nano), missed}; !slices.Equal(in.got["out"], want) {
		t.Errorf("sent %q, want %q", in.got["out"], want)
	}
}

func TestTargetThatFailsGetsTheMessageAgain(t *testing.T) {
	in := newInbox(func(_ event.Target, times int) error {
		if times == 1 {
			return errs.Newf(errs.Throttled, "busy")
		}
		return nil
	})
	h := openHouse(t, t.TempDir(), in)
	run(t, h.courier.Run)
	p := Parcel{Target: out, Message: event.Message{ID: "m"}, Retries: 1, MaxAge: time.Hour, Accepted: time.Now()}
	if err := h.courier.Post(t.Context(), "post", []Parcel{p}); err != nil {
		t.Fatal(err)
	}
	in.next(t)
	if in.tries != 2 {
		t.Errorf("tried %d times, want 2", in.tries)
	}
}

func TestMessageThatIsGivenUpIsADeadLetter(t *testing.T) {
	for name, tt := range map[string]struct {
		err     error
		retries int
		age     time.Duration
		want    map[string]string
	}{
		"no such target": {errs.Newf(errs.NotFound, "no queue"), 5, time.Hour, map[string]string{"reason": errs.NotFound.String(), "exhausted": ""}},
		"out of retries": {errs.Newf(errs.Unavailable, "down"), 0, time.Hour, map[string]string{"reason": errs.Unavailable.String(), "exhausted": RetriesExhausted}},
		"too old":        {errs.Newf(errs.Unavailable, "down"), 5, 0, map[string]string{"reason": errs.Unavailable.String(), "exhausted": AgeExhausted}},
	} {
		t.Run(name, func(t *testing.T) {
			in := newInbox(func(to event.Target, _ int) error {
				if to == out {
					return tt.err
				}
				return nil
			})
			h := openHouse(t, t.TempDir(), in)
			run(t, h.courier.Run)
			p := Parcel{Target: out, DeadLetter: dead, Message: event.Message{ID: "m", Body: []byte("b")}, Retries: tt.retries, MaxAge: tt.age, Accepted: time.Now()}
			if err := h.courier.Post(t.Context(), "post", []Parcel{p}); err != nil {
				t.Fatal(err)
			}
			in.next(t)
			if string(in.last.Body) != "b" || in.last.Attributes["reason"] != tt.want["reason"] || in.last.Attributes["exhausted"] != tt.want["exhausted"] {
				t.Errorf("the dead letter is %+v, want %v", in.last, tt.want)
			}
		})
	}
}

func TestPostOfManyParcelsLosesNone(t *testing.T) {
	in := newInbox(take)
	h := openHouse(t, t.TempDir(), in)
	var parcels []Parcel
	for i := range 3*together + 1 {
		parcels = append(parcels, Parcel{Target: out, Message: event.Message{ID: string(rune('a' + i)), Body: make([]byte, 3<<10)}, MaxAge: time.Hour, Accepted: time.Now()})
	}
	for range 2 { // a repeat of the same post counts once
		if err := h.courier.Post(t.Context(), "post", parcels); err != nil {
			t.Fatal(err)
		}
	}
	run(t, h.courier.Run)
	for range parcels {
		in.next(t)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	slices.Sort(in.got["out"])
	if n := len(slices.Compact(slices.Clone(in.got["out"]))); n != len(parcels) || len(in.got["out"]) != n {
		t.Errorf("%d messages, %d different; want %d", len(in.got["out"]), n, len(parcels))
	}
}
