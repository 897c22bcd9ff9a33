package schedule

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

type plain struct{}

func (plain) Body(_ *Schedule, due time.Time, _ string) []byte {
	return []byte(due.UTC().Format(time.RFC3339))
}

func open(t *testing.T, dir string) (*Schedules, *spine.Spine) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s, err := spine.Open(t.Context(), spine.Config{Dir: dir, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	b, err := s.Bucket(t.Context(), spine.SchedulesBucket)
	if err != nil {
		t.Fatal(err)
	}
	all, err := Open(t.Context(), Options{Bucket: b, Format: plain{}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return all, s
}

var queue = Target{To: event.Target{Kind: event.Queue, Name: "q"}}

// at returns a time that is relative to that of the schedule's making.
func (t *Schedule) at(d time.Duration) time.Time { return t.Modified.Add(d) }

// due returns the times of what the schedules send.
func due(s *Schedules, after, until time.Time) (bodies []string) {
	for _, p := range s.Due(after, until) {
		bodies = append(bodies, string(p.Message.Body))
	}
	slices.Sort(bodies)
	return bodies
}

func TestScheduleIsDueOncePerTimeAndOnceForThoseMissed(t *testing.T) {
	s, _ := open(t, t.TempDir())
	m, err := s.Create(t.Context(), Schedule{Group: Default, Name: "m", Expression: "rate(10 minutes)", Target: queue})
	if err != nil {
		t.Fatal(err)
	}
	last := m.Created
	for _, tt := range []struct {
		until time.Duration
		want  time.Duration // 0: nothing
	}{
		{9 * time.Minute, 0}, {10 * time.Minute, 10 * time.Minute}, {11 * time.Minute, 0}, {20 * time.Minute, 20 * time.Minute},
		{3*time.Hour + 5*time.Minute, 3 * time.Hour}, // eighteen are missed: the latest fires
		{3*time.Hour + 6*time.Minute, 0},
		{90 * 24 * time.Hour, 90 * 24 * time.Hour},
	} {
		until := m.at(tt.until)
		var want []string
		if tt.want != 0 {
			want = []string{m.at(tt.want).Format(time.RFC3339)}
		}
		got := due(s, last, until)
		if again := due(s, last, until); !slices.Equal(got, again) {
			t.Errorf("up to %s: %q, but when the post failed and is tried again %q", tt.until, got, again)
		}
		if !slices.Equal(got, want) {
			t.Errorf("up to %s: %q, want %q", tt.until, got, want)
		}
		s.Passed(until)
		last = until
	}
}

func TestSameTimeHasTheSameMessage(t *testing.T) {
	dir := t.TempDir()
	s, sp := open(t, dir)
	made, err := s.Create(t.Context(), Schedule{Group: Default, Name: "m", Expression: "rate(1 hour)", Window: time.Hour, Target: queue})
	if err != nil {
		t.Fatal(err)
	}
	first := s.Due(made.Created, made.at(time.Hour))
	sp.Close()
	s, _ = open(t, dir)
	second := s.Due(made.Created, made.at(time.Hour))
	if len(first) != 1 || len(second) != 1 || first[0].Message.ID != second[0].Message.ID || !first[0].NotBefore.Equal(second[0].NotBefore) {
		t.Fatalf("before the restart %+v, after it %+v", first, second)
	}
	if wait := first[0].NotBefore.Sub(made.at(time.Hour)); wait < 0 || wait >= time.Hour {
		t.Errorf("it is sent %s after its time, want within the window", wait)
	}
	s.Passed(made.at(time.Hour))
	if next := s.Due(made.at(time.Hour), made.at(2*time.Hour)); len(next) != 1 || next[0].Message.ID == first[0].Message.ID {
		t.Errorf("the next time sends %+v", next)
	}
}

func TestWhatIsOlderThanTheTargetsEventsDoesNotFire(t *testing.T) {
	dir := t.TempDir()
	s, sp := open(t, dir)
	short := queue
	short.MaxAge = 10 * time.Minute
	made, err := s.Create(t.Context(), Schedule{Group: Default, Name: "m", Expression: "rate(1 hour)", Target: short})
	if err != nil {
		t.Fatal(err)
	}
	sp.Close()
	for until, want := range map[time.Duration]int{65 * time.Minute: 1, 75 * time.Minute: 0} {
		s, sp = open(t, dir)
		if got := s.Due(made.Created, made.at(until)); len(got) != want {
			t.Errorf("the node is back %s after the making: %d sent, want %d", until, len(got), want)
		}
		sp.Close()
	}
}

func TestBoundsAndWhatIsOver(t *testing.T) {
	s, _ := open(t, t.TempDir())
	from := time.Now().UTC().Truncate(time.Second).Add(time.Hour)
	make := func(in Schedule) *Schedule {
		t.Helper()
		in.Group, in.Target = Default, queue
		made, err := s.Create(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	make(Schedule{Name: "rate", Expression: "rate(1 hour)", Start: from, End: from.Add(time.Hour)})
	make(Schedule{Name: "once", Expression: "at(" + from.Format("2006-01-02T15:04:05") + ")", Delete: true})
	make(Schedule{Name: "kept", Expression: "at(" + from.Format("2006-01-02T15:04:05") + ")"})
	make(Schedule{Name: "off", Expression: "rate(1 minute)", Disabled: true})
	if next := s.Next(time.Now()); !next.Equal(from) {
		t.Errorf("the next is %s, want %s", next, from)
	}
	last := time.Now()
	for _, tt := range []struct {
		until time.Time
		want  int
	}{{from.Add(-time.Second), 0}, {from, 3}, {from.Add(30 * time.Minute), 0}, {from.Add(time.Hour), 1}, {from.Add(5 * time.Hour), 0}} {
		if got := due(s, last, tt.until); len(got) != tt.want {
			t.Errorf("up to %s: %q, want %d", tt.until, got, tt.want)
		}
		s.Passed(tt.until)
		s.sweep(t.Context())
		last = tt.until
	}
	if next := s.Next(last); !next.IsZero() {
		t.Errorf("the next is %s, want none", next)
	}
	if _, err := s.Get(Default, "once"); !errs.Is(err, errs.NotFound) {
		t.Errorf("the schedule that is to be deleted when it is over: %v", err)
	}
	if _, err := s.Get(Default, "kept"); err != nil {
		t.Errorf("one that is to be kept: %v", err)
	}
}

func TestTimeThatComesWhileTheScheduleIsStoredIsNotLost(t *testing.T) {
	s, _ := open(t, t.TempDir())
	made, err := s.Create(t.Context(), Schedule{Group: Default, Name: "m", Expression: "rate(1 minute)", Target: queue})
	if err != nil {
		t.Fatal(err)
	}
	// The clock has passed the time before it saw the schedule.
	passed := made.at(time.Minute + time.Second)
	s.Passed(passed)
	if next := s.Next(passed); next.After(passed) {
		t.Errorf("the clock sleeps until %s, though one was due before %s", next, passed)
	}
	if got := due(s, passed, passed.Add(time.Second)); len(got) != 1 {
		t.Errorf("sent %q, want one", got)
	}
}
