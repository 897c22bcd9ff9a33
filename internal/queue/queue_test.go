package queue

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// opened is queues on a real spine, which can be closed and opened again.
type opened struct {
	*Queues
	t     *testing.T
	dir   string
	spine *spine.Spine
	stop  func()
}

func open(t *testing.T) *opened {
	t.Helper()
	o := &opened{t: t, dir: t.TempDir()}
	o.start()
	t.Cleanup(func() { o.stop() })
	return o
}

func (o *opened) start() {
	t := o.t
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s, err := spine.Open(t.Context(), spine.Config{Dir: o.dir, Log: log})
	ok(t, err)
	bucket, err := s.Bucket(t.Context(), spine.QueuesBucket)
	ok(t, err)
	moves, err := s.Bucket(t.Context(), spine.MovesBucket)
	ok(t, err)
	journal, err := s.QueueChanges(t.Context())
	ok(t, err)
	o.Queues, err = Open(t.Context(), Options{Spine: s, Bucket: bucket, Moves: moves, Journal: journal, Log: log})
	ok(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); o.Run(ctx) }()
	o.spine, o.stop = s, func() { cancel(); <-done; s.Close() }
}

// restart opens the queues anew from what is on disk. Nothing is told to the old
// ones first: what they have in memory is lost.
func (o *opened) restart() {
	o.t.Helper()
	o.stop()
	o.start()
}

func (o *opened) create(name string, change func(*Config)) {
	o.t.Helper()
	c := DefaultConfig()
	c.FIFO = strings.HasSuffix(name, FIFOSuffix)
	if change != nil {
		change(&c)
	}
	_, err := o.Create(o.t.Context(), name, c, nil)
	ok(o.t, err)
}

func (o *opened) put(name string, ms ...Message) []Sent {
	o.t.Helper()
	sent, err := o.Send(o.t.Context(), name, ms...)
	ok(o.t, err)
	for _, s := range sent {
		ok(o.t, s.Err)
	}
	return sent
}

func bodies(texts ...string) (ms []Message) {
	for _, b := range texts {
		ms = append(ms, Message{Body: b})
	}
	return ms
}

// take receives without waiting.
func (o *opened) take(name string, most int) []Delivery {
	o.t.Helper()
	ds, err := o.Receive(o.t.Context(), name, Receive{Max: most, Wait: new(time.Duration(0))})
	ok(o.t, err)
	return ds
}

func texts(ds []Delivery) (bs []string) {
	for _, d := range ds {
		bs = append(bs, d.Body)
	}
	return bs
}

func (o *opened) delete(name string, ds ...Delivery) {
	o.t.Helper()
	for _, d := range ds {
		failed, err := o.Delete(o.t.Context(), name, d.Handle)
		ok(o.t, err)
		ok(o.t, failed[0])
	}
}

func want(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestMessageIsHiddenWhileItIsOutAndGoneWhenDeleted(t *testing.T) {
	q := open(t)
	q.create("q", nil)
	delay := time.Duration(0)
	q.put("q", Message{Body: "a", Attributes: map[string]Attribute{"k": {Type: "Binary", Data: []byte{0, 255}}}, Delay: &delay, TraceID: "t", Sender: "me", Lineage: event.Lineage{}.With("f")})
	ds := q.take("q", 10)
	if len(ds) != 1 {
		t.Fatalf("received %d messages, want 1", len(ds))
	}
	d := ds[0]
	if d.Body != "a" || d.Receives != 1 || d.TraceID != "t" || d.Sender != "me" || d.Lineage.Counts["f"] != 1 || string(d.Attributes["k"].Data) != "\x00\xff" {
		t.Errorf("received %+v", d)
	}
	if again := q.take("q", 10); len(again) != 0 {
		t.Errorf("a message that is out was received again: %+v", again)
	}
	i, err := q.Get("q")
	ok(t, err)
	if i.InFlight != 1 || i.Visible != 0 {
		t.Errorf("counts %+v", i)
	}
	q.delete("q", d, d) // the second time it is gone already
	i, err = q.Get("q")
	ok(t, err)
	if i.InFlight+i.Visible+i.Delayed != 0 {
		t.Errorf("counts after the deletion %+v", i)
	}
}

func TestHiddenMessageComesBackWithItsReceivesCounted(t *testing.T) {
	q := open(t)
	q.create("q", nil)
	q.put("q", bodies("a")...)
	d := q.take("q", 1)[0]
	failed, err := q.Hide(t.Context(), "q", Hide{Handle: d.Handle})
	ok(t, err)
	ok(t, failed[0])
	again := q.take("q", 1)
	if len(again) != 1 || again[0].ID != d.ID || again[0].Receives != 2 || again[0].Handle == d.Handle {
		t.Fatalf("received %+v after %+v", again, d)
	}
	// The old handle is worth nothing now.
	failed, err = q.Hide(t.Context(), "q", Hide{Handle: d.Handle})
	ok(t, err)
	if e := errs.Of(failed[0]); e == nil || e.Reason != ReasonStale {
		t.Errorf("hide by an old handle: %v", failed[0])
	}
	q.delete("q", d)
	if i, _ := q.Get("q"); i.InFlight != 1 {
		t.Error("an old handle deleted the message")
	}
	for _, h := range []string{"", "?", "bm90aGluZw", d.Handle + "x"} {
		failed, err := q.Delete(t.Context(), "q", h)
		ok(t, err)
		if h != d.Handle+"x" && !errs.Is(failed[0], errs.Invalid) {
			t.Errorf("handle %q: %v, want invalid", h, failed[0])
		}
	}
}

func TestReceiverWaitsForAMessage(t *testing.T) {
	q := open(t)
	q.create("q", nil)
	q.create("late", nil)
	got := make(chan []Delivery)
	for _, name := range []string{"q", "q", "late"} {
		go func() {
			ds, err := q.Receive(context.Background(), name, Receive{Max: 10, Wait: new(MaxWait)})
			if err != nil {
				t.Error(err)
			}
			got <- ds
		}()
	}
	q.put("q", bodies("a")...)
	q.put("q", bodies("b")...)
	q.put("late", Message{Body: "c", Delay: new(20 * time.Millisecond)})
	var all []string
	for range 3 {
		all = append(all, texts(<-got)...)
	}
	slices.Sort(all)
	want(t, "what three receivers got", all, "a", "b", "c")
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	ds, err := q.Receive(ctx, "q", Receive{Max: 1, Wait: new(MaxWait)})
	if len(ds) != 0 || err != nil {
		t.Errorf("a receiver that left got %v, %v", ds, err)
	}
}

func TestReceiverOfADeletedQueueIsTold(t *testing.T) {
	q := open(t)
	q.create("q", nil)
	failed := make(chan error)
	go func() {
		_, err := q.Receive(context.Background(), "q", Receive{Max: 1, Wait: new(MaxWait)})
		failed <- err
	}()
	ok(t, q.Remove(t.Context(), "q"))
	if err := <-failed; !errs.Is(err, errs.NotFound) {
		t.Errorf("receive: %v, want not found", err)
	}
	q.create("q", nil)
	q.restart()
	if names := q.Names(""); !slices.Equal(names, []string{"q"}) {
		t.Errorf("queues %v", names)
	}
	if ids, _ := q.spine.Logs(t.Context()); len(ids) != 1 {
		t.Errorf("%d logs, want that of the one queue", len(ids))
	}
}

func TestRestartKeepsWhatWasAcceptedAndBringsNothingBack(t *testing.T) {
	q := open(t)
	q.create("q", nil)
	var all []Message
	for i := range 30 {
		all = append(all, Message{Body: fmt.Sprint(i)})
	}
	for i := 0; i < len(all); i += 7 { // several records, with several messages each
		q.put("q", all[i:min(i+7, len(all))]...)
	}
	ds := q.take("q", 20)
	q.delete("q", ds[:15]...)
	back := ds[15]
	_, err := q.Hide(t.Context(), "q", Hide{Handle: back.Handle, For: 0})
	ok(t, err)
	q.restart()
	i, err := q.Get("q")
	ok(t, err)
	if i.Visible != 11 || i.InFlight != 4 {
		t.Errorf("after the restart %d are visible and %d in flight, want 11 and 4", i.Visible, i.InFlight)
	}
	got := q.take("q", 100)
	if len(got) != 11 || got[0].ID != back.ID || got[0].Receives != 2 || !got[0].FirstReceived.Equal(back.FirstReceived) {
		t.Errorf("received %d, the first %+v, want that of %+v", len(got), got[0], back)
	}
	q.delete("q", ds[16:]...) // handles stay good
	q.delete("q", got...)
	q.restart()
	if i, _ := q.Get("q"); i.Visible+i.InFlight != 0 {
		t.Errorf("after all were deleted there are %+v", i)
	}
}

func TestInsideReceiverLeavesNothingHiddenAtARestart(t *testing.T) {
	q := open(t)
	q.create("q", nil)
	q.put("q", bodies("a")...)
	_, err := q.Receive(t.Context(), "q", Receive{Max: 1, Inside: true})
	ok(t, err)
	q.restart()
	if ds := q.take("q", 1); len(ds) != 1 || ds[0].Receives != 2 {
		t.Errorf("received %+v", ds)
	}
}

func TestOwnRepeatsAreDroppedAlsoAfterARestart(t *testing.T) {
	q := open(t)
	q.create("q", nil)
	send := func(id string) {
		t.Helper()
		ok(t, q.Sender().Send(t.Context(), event.Target{Kind: event.Queue, Name: "q"}, event.Message{ID: id, Body: []byte(id)}))
	}
	send("a")
	send("a")
	send("b")
	q.delete("q", q.take("q", 1)...)
	q.restart()
	send("a") // deleted, but a moment ago
	send("b") // still there
	send("c")
	want(t, "messages", texts(q.take("q", 10)), "b", "c")
	if err := q.Sender().Send(t.Context(), event.Target{Kind: event.Queue, Name: "none"}, event.Message{}); !errs.Is(err, errs.NotFound) {
		t.Errorf("send to no queue: %v", err)
	}
}

func TestConcurrentRepeatsAreStoredOnce(t *testing.T) {
	q := open(t)
	q.create("q.fifo", nil)
	var wg sync.WaitGroup
	ids := make([]string, 16)
	for i := range ids {
		wg.Go(func() { ids[i] = q.put("q.fifo", Message{Body: "a", Group: "g", Dedup: "d"})[0].ID })
	}
	wg.Wait()
	if slices.Sort(ids); ids[0] == "" || ids[0] != ids[len(ids)-1] {
		t.Errorf("ids %v", ids)
	}
	twice := q.put("q.fifo", Message{Body: "b", Group: "g", Dedup: "e"}, Message{Body: "c", Group: "g", Dedup: "e"})
	if twice[0] != twice[1] {
		t.Errorf("a repeat within a batch has another outcome: %v", twice)
	}
	want(t, "messages", texts(q.take("q.fifo", 10)), "a", "b")
}

func TestGroupIsReceivedInOrderByOneAtATime(t *testing.T) {
	q := open(t)
	q.create("q.fifo", func(c *Config) { c.ContentDedup = true })
	for _, m := range []string{"a1", "b1", "a2", "a3", "b2"} {
		q.put("q.fifo", Message{Body: m, Group: m[:1]})
	}
	first := q.take("q.fifo", 2)
	want(t, "first receive", texts(first), "a1", "a2") // a's while they last
	second := q.take("q.fifo", 1)
	want(t, "second receive", texts(second), "b1")
	want(t, "while both groups are out", texts(q.take("q.fifo", 10)))
	q.delete("q.fifo", first[1])
	want(t, "with a1 still out", texts(q.take("q.fifo", 10)))
	q.restart()
	want(t, "with a1 still out, after a restart", texts(q.take("q.fifo", 10)))
	_, err := q.Hide(t.Context(), "q.fifo", Hide{Handle: first[0].Handle})
	ok(t, err)
	q.delete("q.fifo", second[0])
	want(t, "the rest", texts(q.take("q.fifo", 10)), "a1", "a3", "b2")
	failed, err := q.Delete(t.Context(), "q.fifo", first[0].Handle)
	ok(t, err)
	if e := errs.Of(failed[0]); e == nil || e.Reason != ReasonStale {
		t.Errorf("deletion by the handle of an earlier receive: %v", failed[0])
	}
	for _, m := range []Message{{Body: "x"}, {Body: "x", Group: "g", Delay: new(time.Second)}} {
		sent, err := q.Send(t.Context(), "q.fifo", m)
		ok(t, err)
		if !errs.Is(sent[0].Err, errs.Invalid) {
			t.Errorf("send of %+v: %v, want invalid", m, sent[0].Err)
		}
	}
}

func TestDeadLettersGoToTheirQueueAndBack(t *testing.T) {
	for _, suffix := range []string{"", FIFOSuffix} {
		q := open(t)
		q.create("dead"+suffix, nil)
		q.create("q"+suffix, func(c *Config) { c.Dead = &DeadLetter{Queue: "dead" + suffix, Receives: 2} })
		ms := []Message{{Body: "bad", Group: "g", Dedup: "1"}, {Body: "good", Group: "g", Dedup: "2"}}
		id := q.put("q"+suffix, ms...)[0].ID
		for range 2 {
			d := q.take("q"+suffix, 1)[0]
			_, err := q.Hide(t.Context(), "q"+suffix, Hide{Handle: d.Handle})
			ok(t, err)
			q.restart()
		}
		want(t, "after two receives", texts(q.take("q"+suffix, 10)), "good")
		q.restart()
		ds := q.take("dead"+suffix, 10)
		if len(ds) != 1 || ds[0].ID != id || ds[0].From != "q"+suffix || ds[0].Receives != 1 {
			t.Fatalf("dead letters %+v", ds)
		}
		_, err := q.Hide(t.Context(), "dead"+suffix, Hide{Handle: ds[0].Handle})
		ok(t, err)
		if _, err := q.StartMove(t.Context(), "q"+suffix, "", 0); errs.Of(err) == nil || errs.Of(err).Reason != ReasonNotDead {
			t.Errorf("move out of a queue without dead letters: %v", err)
		}
		m, err := q.StartMove(t.Context(), "dead"+suffix, "", 0)
		ok(t, err)
		for end := time.Now().Add(30 * time.Second); m.State == MoveRunning && time.Now().Before(end); {
			ms, err := q.Moves("dead" + suffix)
			ok(t, err)
			m = ms[0]
		}
		if m.State != MoveCompleted || m.Moved != 1 || m.Total != 1 {
			t.Errorf("move %+v", m)
		}
		if suffix == "" {
			back := q.take("q", 10)
			if len(back) != 1 || back[0].Body != "bad" || back[0].ID == id || back[0].Receives != 1 {
				t.Errorf("redriven %+v", back)
			}
		}
		q.restart()
		if i, _ := q.Get("dead" + suffix); i.Visible+i.InFlight != 0 {
			t.Errorf("dead letters are left: %+v", i)
		}
		if ms, err := q.Moves("dead" + suffix); err != nil || len(ms) != 1 || ms[0].State != MoveCompleted {
			t.Errorf("moves after a restart: %+v, %v", ms, err)
		}
		ok(t, q.Remove(t.Context(), "dead"+suffix))
		q.create("dead"+suffix, nil)
		if ms, err := q.Moves("dead" + suffix); err != nil || len(ms) != 0 {
			t.Errorf("moves of a new queue of that name: %+v, %v", ms, err)
		}
	}
}

// openWithMove opens queues of which four messages are moved from "dead" to "q", one
// a second: that is under way for long enough.
func openWithMove(t *testing.T) (*opened, Move) {
	t.Helper()
	q := open(t)
	q.create("dead", nil)
	q.create("q", func(c *Config) { c.Dead = &DeadLetter{Queue: "dead", Receives: 1} })
	q.put("dead", bodies("a", "b", "c", "d")...)
	m, err := q.StartMove(t.Context(), "dead", "q", 1)
	ok(t, err)
	return q, m
}

func TestCancelledMoveDoesNotGoOnAfterARestart(t *testing.T) {
	q, m := openWithMove(t)
	m, err := q.CancelMove(t.Context(), m.ID)
	if err != nil || m.State != MoveCancelling {
		t.Fatalf("cancelled move %+v, %v", m, err)
	}
	q.restart()
	for end := time.Now().Add(30 * time.Second); m.State != MoveCancelled && time.Now().Before(end); {
		ms, err := q.Moves("dead")
		ok(t, err)
		m = ms[0]
	}
	dead, _ := q.Get("dead")
	back, _ := q.Get("q")
	if m.State != MoveCancelled || back.Visible > 1 || dead.Visible != 4-back.Visible {
		t.Errorf("move %+v; %d messages were moved, %d were left", m, back.Visible, dead.Visible)
	}
	if _, err := q.CancelMove(t.Context(), m.ID); errs.Of(err) == nil || errs.Of(err).Reason != ReasonNoTask {
		t.Errorf("a move that is over was cancelled: %v", err)
	}
}

func TestMoveDoesNotGoOnWithALaterQueueOfTheSameName(t *testing.T) {
	q, m := openWithMove(t)
	ok(t, q.Remove(t.Context(), "dead"))
	q.create("dead", nil)
	q.put("dead", bodies("later")...)
	known := func() bool {
		q.moving.mu.Lock()
		defer q.moving.mu.Unlock()
		return q.moving.all[m.ID] != nil
	}
	for end := time.Now().Add(30 * time.Second); known() && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if known() {
		t.Fatal("the move goes on")
	}
	want(t, "the later queue", texts(q.take("dead", 10)), "later")
}

func TestReceiverMayHideMessagesForLongerThanItLetsOn(t *testing.T) {
	q := open(t)
	q.create("q", func(c *Config) { c.Visibility = 0 })
	q.put("q", bodies("a")...)
	ds, err := q.Receive(t.Context(), "q", Receive{Max: 1, Longer: time.Hour})
	ok(t, err)
	if len(ds) != 1 || ds[0].Shown.After(time.Now()) {
		t.Fatalf("received %+v, with a visibility timeout that is not over", ds)
	}
	want(t, "while it is hidden", texts(q.take("q", 1)))
}

func TestManyMessagesWithLongNamesMakeSeveralRecords(t *testing.T) {
	q := open(t)
	q.create("q.fifo", nil)
	long := strings.Repeat("<", maxToken-4)
	var ms []Message
	for i := range 300 {
		ms = append(ms, Message{Body: "a", Group: fmt.Sprintf("%s%04d", long, i), Dedup: fmt.Sprintf("%s%04d", long, i)})
	}
	q.put("q.fifo", ms...)
	ok(t, q.Sender().Send(t.Context(), event.Target{Name: "q.fifo"}, event.Message{ID: strings.Repeat("x", 70_000), Group: "g", Body: []byte("b")}))
	q.restart()
	if i, _ := q.Get("q.fifo"); i.Visible != 301 {
		t.Errorf("%d messages, want 301", i.Visible)
	}
	sent, err := q.Send(t.Context(), "q.fifo", Message{Body: "a", Group: long + "12345", Dedup: "d"})
	ok(t, err)
	if !errs.Is(sent[0].Err, errs.Invalid) {
		t.Errorf("a group that is too long: %v", sent[0].Err)
	}
}

func TestPurgedMessagesAreGone(t *testing.T) {
	q := open(t)
	q.create("q", nil)
	q.put("q", bodies("a", "b")...)
	q.take("q", 1)
	ok(t, q.Purge(t.Context(), "q"))
	if err := q.Purge(t.Context(), "q"); errs.Of(err) == nil || errs.Of(err).Reason != ReasonPurging {
		t.Errorf("second purge: %v", err)
	}
	q.put("q", bodies("c")...)
	q.restart()
	want(t, "messages", texts(q.take("q", 10)), "c")
}

func TestOldMessagesGo(t *testing.T) {
	q := open(t)
	q.create("q", func(c *Config) { c.Retention = MinRetention })
	q.put("q", bodies("a", "b")...)
	q.take("q", 1)
	l, err := q.live("q")
	ok(t, err)
	l.expire(millis(time.Now().Add(30 * time.Second)))
	if i, _ := q.Get("q"); i.Visible != 1 || i.InFlight != 1 {
		t.Errorf("young messages went: %+v", i)
	}
	l.expire(millis(time.Now().Add(2 * time.Minute)))
	q.restart()
	if i, _ := q.Get("q"); i.Visible+i.InFlight != 0 {
		t.Errorf("old messages stay: %+v", i)
	}
}

func TestShortenedJournalTellsTheSame(t *testing.T) {
	q := open(t)
	q.create("q", nil)
	q.put("q", bodies("a", "b", "c", "d")...)
	ok(t, q.Sender().Send(t.Context(), event.Target{Name: "q"}, event.Message{ID: "own", Body: []byte("own")}))
	ds := q.take("q", 5)
	q.delete("q", ds[1], ds[4]) // one of a record that stays, and one that was the node's own
	_, err := q.Hide(t.Context(), "q", Hide{Handle: ds[0].Handle})
	ok(t, err)
	q.Queues.shorten()
	q.restart()
	ok(t, q.Sender().Send(t.Context(), event.Target{Name: "q"}, event.Message{ID: "own", Body: []byte("own")}))
	got := q.take("q", 10)
	want(t, "visible", texts(got), "a")
	if got[0].Receives != 2 {
		t.Errorf("received %d times, want 2", got[0].Receives)
	}
	if i, _ := q.Get("q"); i.InFlight != 3 {
		t.Errorf("in flight %d, want 3", i.InFlight)
	}
}

func TestRecordsThatNobodyNeedsAreRemoved(t *testing.T) {
	q := open(t)
	q.create("q", nil)
	for _, b := range []string{"a", "b", "c"} {
		q.put("q", bodies(b)...)
	}
	ds := q.take("q", 3)
	q.delete("q", ds[0], ds[2])
	l, err := q.live("q")
	ok(t, err)
	count := func() (n int) {
		ok(t, l.log.Heads(t.Context(), func(uint64, string) error { n++; return nil }))
		return n
	}
	for end := time.Now().Add(30 * time.Second); count() != 2; {
		if time.Now().After(end) {
			t.Fatalf("%d records, want those of b and the hollow one after it", count())
		}
		time.Sleep(10 * time.Millisecond)
	}
	q.delete("q", ds[1])
	ok(t, l.clean(t.Context()))
	for end := time.Now().Add(30 * time.Second); count() != 0; {
		if time.Now().After(end) {
			t.Fatalf("%d records are left", count())
		}
		time.Sleep(10 * time.Millisecond)
	}
	q.put("q", bodies("d")...)
	q.restart()
	want(t, "messages", texts(q.take("q", 10)), "d")
}

func TestBadSettingsAreRefused(t *testing.T) {
	q := open(t)
	q.create("dead.fifo", nil)
	q.create("deaf", func(c *Config) { c.Sources = &Sources{Queues: []string{"other"}} })
	for name, change := range map[string]func(*Config){
		"bad name":  nil,
		"x.fifo":    func(c *Config) { c.FIFO = false },
		"size":      func(c *Config) { c.MaxSize = 1023 },
		"keep":      func(c *Config) { c.Retention = time.Second },
		"hide":      func(c *Config) { c.Visibility = MaxVisibility + 1 },
		"delay":     func(c *Config) { c.Delay = -1 },
		"wait":      func(c *Config) { c.Wait = MaxWait + 1 },
		"dedup":     func(c *Config) { c.ContentDedup = true },
		"self":      func(c *Config) { c.Dead = &DeadLetter{"self", 1} },
		"none":      func(c *Config) { c.Dead = &DeadLetter{"gone", 1} },
		"fifo-dead": func(c *Config) { c.Dead = &DeadLetter{"dead.fifo", 1} },
		"deaf-dead": func(c *Config) { c.Dead = &DeadLetter{"deaf", 1} },
		"receives":  func(c *Config) { c.Dead = &DeadLetter{"deaf", 0} },
	} {
		c := DefaultConfig()
		if change != nil {
			change(&c)
		}
		if _, err := q.Create(t.Context(), name, c, nil); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
	if _, err := q.Create(t.Context(), "deaf", DefaultConfig(), nil); errs.Of(err) == nil || errs.Of(err).Reason != ReasonExists {
		t.Errorf("second creation: %v", err)
	}
	sent, err := q.Send(t.Context(), "deaf", Message{Body: strings.Repeat("x", MaxSize+1)}, Message{Body: "y"})
	ok(t, err)
	if !errs.Is(sent[0].Err, errs.TooLarge) || sent[1].Err != nil {
		t.Errorf("sent %+v", sent)
	}
}
