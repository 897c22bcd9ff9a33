package bucket

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

// targets take what is sent, after they have failed as often as they are told to.
type targets struct {
	mu    sync.Mutex
	fail  []error         // guarded by mu: of the next sendings
	got   []event.Message // guarded by mu
	tried int             // guarded by mu
	told  chan struct{}   // after each sending
}

func (s *targets) Send(_ context.Context, _ event.Target, m event.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.told <- struct{}{} }()
	s.tried++
	if len(s.fail) > 0 {
		err := s.fail[0]
		s.fail = s.fail[1:]
		return err
	}
	s.got = append(s.got, m)
	return nil
}

// open opens notifications over a spine in dir.
func open(t *testing.T, dir string, s *targets) (*Notifications, func()) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	sp, err := spine.Open(t.Context(), spine.Config{Dir: dir, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	rules, err := sp.Bucket(t.Context(), spine.NoticesBucket)
	if err != nil {
		t.Fatal(err)
	}
	outbox, err := sp.Notices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n, err := Open(t.Context(), Options{
		Rules: rules, Outbox: outbox, Senders: s, Log: log,
		Encode: func(n Notice) (event.Message, error) {
			return event.Message{ID: n.Rule, Body: []byte(n.Change.Key), Attributes: map[string]string{"sequence": strconv.FormatUint(n.Sequence, 10)}}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return n, sp.Close
}

// run runs n until the test has seen so many sendings.
func run(t *testing.T, n *Notifications, s *targets, sendings int) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	for range sendings {
		select {
		case <-s.told:
		case err := <-ended:
			t.Fatalf("delivery ended: %v", err)
		case <-time.After(time.Minute):
			t.Fatal("nothing was sent for a minute")
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestRecordedChangesAreDeliveredAfterARestart(t *testing.T) {
	dir, s := t.TempDir(), &targets{told: make(chan struct{}, 16)}
	n, end := open(t, dir, s)
	if err := n.Set(t.Context(), "photos", []Rule{{ID: "r", Events: []Event{AnyCreated}, Target: resize}}); err != nil {
		t.Fatal(err)
	}
	s.fail = []error{errs.Newf(errs.Unavailable, "later")}
	for _, c := range []Change{
		{Event: Put, Bucket: "photos", Key: "a"}, {Event: Deleted, Bucket: "photos", Key: "b"}, {Event: Put, Bucket: "other", Key: "c"},
	} {
		if err := n.Record(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	<-s.told
	end() // before anything was delivered

	n, end = open(t, dir, s)
	if !n.Wants("photos") || n.Wants("other") {
		t.Error("the rules are not what they were before the restart")
	}
	run(t, n, s, 1)
	end()
	if len(s.got) != 1 || string(s.got[0].Body) != "a" || s.got[0].ID != "r" {
		t.Errorf("%d notices were delivered, want the one that a rule asks for: %+v", len(s.got), s.got)
	}

	n, end = open(t, dir, s)
	defer end()
	if err := n.Record(t.Context(), Change{Event: Put, Bucket: "photos", Key: "later"}); err != nil {
		t.Fatal(err)
	}
	run(t, n, s, 1)
	if last := s.got[len(s.got)-1]; string(last.Body) != "later" {
		t.Errorf("%s was delivered again", last.Body)
	}
}

func TestTargetsHaveNoticesWhenTheChangeIsRecorded(t *testing.T) {
	dir, s := t.TempDir(), &targets{told: make(chan struct{}, 16)}
	var last uint64
	for restart := range 3 {
		n, end := open(t, dir, s) // which does not run: nothing goes by the outbox
		if err := n.Set(t.Context(), "b", []Rule{{ID: "r", Events: []Event{Put}, Target: resize}}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := n.Record(t.Context(), Change{Event: Put, Bucket: "b", Key: "k"}); err != nil {
				t.Fatal(err)
			}
			seq, err := strconv.ParseUint(s.got[len(s.got)-1].Attributes["sequence"], 10, 64)
			if err != nil || seq <= last {
				t.Errorf("after %d restarts a change has the number %d, %v, and one before it %d", restart, seq, err, last)
			}
			last = seq
		}
		end()
	}
	if len(s.got) != 6 {
		t.Errorf("%d of 6 notices arrived", len(s.got))
	}
}

func TestDeliveryIsTriedAgainUnlessItCanNeverWork(t *testing.T) {
	for name, test := range map[string]struct {
		err   error
		tries int
		got   int
	}{
		"unavailable":                 {errs.Newf(errs.Unavailable, "later"), 2, 1},
		"throttled":                   {errs.Newf(errs.Throttled, "later"), 2, 1},
		"an error of no kind":         {errors.New("oops"), 2, 1},
		"a target that is gone":       {errs.Newf(errs.NotFound, "gone"), 1, 0},
		"a message that is too large": {errs.Newf(errs.TooLarge, "large"), 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := &targets{told: make(chan struct{}, 16), fail: []error{test.err}}
			n, end := open(t, t.TempDir(), s)
			defer end()
			if err := n.Set(t.Context(), "b", []Rule{{ID: "r", Events: []Event{Put}, Target: resize}}); err != nil {
				t.Fatal(err)
			}
			if err := n.Record(t.Context(), Change{Event: Put, Bucket: "b", Key: "k"}); err != nil {
				t.Fatal(err)
			}
			run(t, n, s, test.tries)
			if len(s.got) != test.got || s.tried != test.tries {
				t.Errorf("%d of %d tries arrived, want %d of %d", len(s.got), s.tried, test.got, test.tries)
			}
		})
	}
}

func TestRulesGoWithTheirBucket(t *testing.T) {
	n, end := open(t, t.TempDir(), &targets{told: make(chan struct{}, 1)})
	defer end()
	rule := Rule{ID: "r", Events: []Event{Put}, Target: resize}
	if err := n.Set(t.Context(), "b", []Rule{rule}); err != nil {
		t.Fatal(err)
	}
	if err := n.Forget(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	if n.Wants("b") || len(n.All()) != 0 {
		t.Error("the rules are still there")
	}
	if err := n.Forget(t.Context(), "never"); err != nil {
		t.Errorf("a bucket without rules: %v", err)
	}
}
