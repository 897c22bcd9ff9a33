package spine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// handler is a Service that takes notes.
type handler struct {
	mu      sync.Mutex
	runs    map[string]int // guarded by mu: by lane and body
	handled int            // guarded by mu: by run
	do      func(h *handler, d Delivery) (time.Duration, error)
	room    func(lane string) int
}

func (h *handler) service() Service {
	if h.room == nil {
		h.room = func(string) int { return 8 }
	}
	return Service{Room: h.room, Handle: func(_ context.Context, d Delivery) (time.Duration, error) {
		h.mu.Lock()
		h.runs[d.Lane+" "+string(d.Body)]++
		h.mu.Unlock()
		return h.do(h, d)
	}}
}

func openCalls(t *testing.T, s *Spine) *Lanes {
	t.Helper()
	l, err := s.Calls(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func put(t *testing.T, l *Lanes, lane, id, body string) {
	t.Helper()
	if err := l.Put(t.Context(), lane, id, []byte(body)); err != nil {
		t.Fatal(err)
	}
}

func TestItemsAreHandledUntilDoneAndThenGone(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	calls := openCalls(t, s)
	const n = 50
	for i := range n {
		put(t, calls, fmt.Sprintf("f%d", i%3), "", fmt.Sprint(i))
	}
	s.Close() // nothing was handled: all must be there after reopening
	s = open(t, dir)
	defer s.Close()
	calls = openCalls(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	total := 0
	h := &handler{runs: map[string]int{}, do: func(h *handler, d Delivery) (time.Duration, error) {
		if d.Attempt == 1 && string(d.Body) == "7" {
			return time.Millisecond, errors.New("once more")
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if total++; total == n {
			cancel()
		}
		return 0, nil
	}}
	if err := calls.Run(ctx, h.service()); err != nil {
		t.Fatal(err)
	}
	if len(h.runs) != n || h.runs["f1 7"] != 2 {
		t.Errorf("%d items were handled, %d times the failing one; want %d and 2", len(h.runs), h.runs["f1 7"], n)
	}
	if left := calls.Waiting(); len(left) != 0 {
		t.Errorf("left in the queue: %v", left)
	}
}

func TestLaneThatIsStuckHoldsUpNoOther(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	calls := openCalls(t, s)
	for i := range 100 {
		put(t, calls, "stuck", "", fmt.Sprint(i))
		put(t, calls, "failing", "", fmt.Sprint(i))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	h := &handler{runs: map[string]int{}, room: func(string) int { return 2 }, do: func(_ *handler, d Delivery) (time.Duration, error) {
		switch d.Lane {
		case "stuck":
			<-ctx.Done()
			return 0, ctx.Err()
		case "failing":
			return time.Hour, errors.New("not now")
		}
		cancel()
		return 0, nil
	}}
	ended := make(chan error, 1)
	go func() { ended <- calls.Run(ctx, h.service()) }()
	put(t, calls, "free", "", "x")
	select {
	case err := <-ended:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("an item of a free lane was not handled")
	}
	stuck := 0
	for key := range h.runs {
		if key[:5] == "stuck" {
			stuck++
		}
	}
	if stuck > 2 {
		t.Errorf("%d items of a lane were out at a time, where there was room for 2", stuck)
	}
}

func TestRepeatedItemIsDropped(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	calls := openCalls(t, s)
	for range 3 {
		put(t, calls, "f", "same", "x")
		put(t, calls, "f", "", "y")
	}
	if waiting := calls.Waiting(); waiting["f"] != 4 {
		t.Errorf("waiting: %v; want 4: one with the id, three without", waiting)
	}
}

// run serves the queue until its handler was called as often as that.
func run(t *testing.T, l *Lanes, h *handler, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	do := h.do
	h.do = func(h *handler, d Delivery) (retry time.Duration, err error) {
		if do != nil {
			retry, err = do(h, d)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.handled++; h.handled == n {
			cancel()
		}
		return retry, err
	}
	if err := l.Run(ctx, h.service()); err != nil {
		t.Fatal(err)
	}
	h.do = do
}

// held returns how many records the queue's log holds.
func held(t *testing.T, l *Lanes) int {
	t.Helper()
	n := 0
	if err := l.items.headsAfter(t.Context(), 0, func(uint64, string) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestItemsThatComeTogetherAreOneRecord(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	calls := openCalls(t, s)
	var batch []*incoming
	for i := range 50 {
		body := fmt.Append(nil, i)
		batch = append(batch, &incoming{head: itemHead{Lane: fmt.Sprintf("f%d", i%3), Size: len(body)}, body: body})
	}
	for _, id := range []string{"a", "b", "a"} {
		batch = append(batch, &incoming{head: itemHead{Lane: "g", Size: 1}, id: id, body: []byte(id)})
	}
	if err := calls.storeAll(batch); err != nil {
		t.Fatal(err)
	}
	if n := held(t, calls); n != 3 {
		t.Errorf("%d records, want one for all and one for each id", n)
	}
	s.Close()
	s = open(t, dir)
	defer s.Close()
	calls = openCalls(t, s)
	h := &handler{runs: map[string]int{}}
	run(t, calls, h, 52)
	for i := range 50 {
		if key := fmt.Sprintf("f%d %d", i%3, i); h.runs[key] != 1 {
			t.Errorf("item %q was handled %d times", key, h.runs[key])
		}
	}
	if h.runs["g a"] != 1 || h.runs["g b"] != 1 {
		t.Errorf("handled: %v", h.runs)
	}
}

func TestHandledItemsDoNotComeAgainAfterARestart(t *testing.T) {
	dir := t.TempDir()
	h := &handler{runs: map[string]int{}, do: func(_ *handler, d Delivery) (time.Duration, error) {
		if string(d.Body) == "stays" {
			return time.Hour, errors.New("not now")
		}
		return 0, nil
	}}
	for life := range 3 {
		s := open(t, dir)
		calls := openCalls(t, s)
		if life == 0 {
			put(t, calls, "f", "", "stays")
		}
		for i := range 10 {
			put(t, calls, "f", "", fmt.Sprint(life, i))
		}
		h.handled = 0
		run(t, calls, h, 11)
		if waiting := calls.Waiting(); waiting["f"] != 1 {
			t.Errorf("waiting: %v, want the one that is put off", waiting)
		}
		s.Close()
	}
	for key, n := range h.runs {
		if key != "f stays" && n != 1 {
			t.Errorf("%q was handled %d times", key, n)
		}
	}
	if len(h.runs) != 31 || h.runs["f stays"] != 3 {
		t.Errorf("%d items were handled, that which stays %d times; want 31 and 3", len(h.runs), h.runs["f stays"])
	}
}

func TestItemsLeaveWhenWhatTheyLeftBehindIsOnDisk(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	calls := openCalls(t, s)
	put(t, calls, "f", "", "x")
	ctx, cancel := context.WithCancel(t.Context())
	h := &handler{runs: map[string]int{}, do: func(*handler, Delivery) (time.Duration, error) { return 0, nil }}
	service := h.service()
	asked := 0
	service.Settle = func(context.Context) error {
		if calls.Waiting()["f"] != 1 {
			t.Error("the item has left the queue before")
		}
		if asked++; asked == 1 {
			return errors.New("not now")
		}
		cancel()
		return nil
	}
	if err := calls.Run(ctx, service); err != nil {
		t.Fatal(err)
	}
	if asked < 2 || len(calls.Waiting()) != 0 || h.runs["f x"] != 1 {
		t.Errorf("asked %d times, waiting %v, handled %v", asked, calls.Waiting(), h.runs)
	}
}

func TestItemThatStaysHoldsNoOthersOnDisk(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	calls := openCalls(t, s)
	calls.cutBytes, calls.moveBytes = 1000, 1000
	small := calls.items.(*files)
	small.size = 1000
	if err := small.roll(0); err != nil {
		t.Fatal(err)
	}
	put(t, calls, "stuck", "", "stays")
	const n = 300
	for i := range n {
		put(t, calls, "f", "", fmt.Sprint(i))
	}
	h := &handler{runs: map[string]int{}, do: func(_ *handler, d Delivery) (time.Duration, error) {
		if d.Lane == "stuck" {
			return time.Hour, errors.New("not now")
		}
		return 0, nil
	}}
	run(t, calls, h, n+1)
	if err := calls.tidy(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if got := held(t, calls); got > 60 {
		t.Errorf("%d records are left of %d items of which one was not handled", got, n+1)
	}
	if len(calls.shelf.notes) > 60 || len(calls.shelf.records) != held(t, calls) {
		t.Errorf("%d entries of the journal, %d records are known", len(calls.shelf.notes), len(calls.shelf.records))
	}
	s.Close()

	s = open(t, dir)
	defer s.Close()
	calls = openCalls(t, s)
	if waiting := calls.Waiting(); len(waiting) != 1 || waiting["stuck"] != 1 {
		t.Errorf("waiting: %v, want the one that stays", waiting)
	}
	h = &handler{runs: map[string]int{}, do: func(_ *handler, d Delivery) (time.Duration, error) {
		if d.Attempt != 2 {
			t.Errorf("attempt %d of the item that was delivered once before it moved", d.Attempt)
		}
		return 0, nil
	}}
	run(t, calls, h, 1)
	if h.runs["stuck stays"] != 1 {
		t.Errorf("handled: %v", h.runs)
	}
	if err := calls.tidy(t.Context(), true); err != nil || held(t, calls) > 5 { // in the last segment
		t.Errorf("%d records of an empty queue, %v", held(t, calls), err)
	}
	put(t, calls, "f", "", "next")
	if waiting := calls.Waiting(); waiting["f"] != 1 {
		t.Errorf("waiting: %v", waiting)
	}
}

// An item whose write seems to fail may be there all the same: it is known as
// soon as another is written, and its repeat is not accepted without it.
func TestItemWhoseStoringSeemedToFailIsKnown(t *testing.T) {
	for _, repeat := range []bool{false, true} {
		t.Run(fmt.Sprint("repeat=", repeat), func(t *testing.T) {
			s := open(t, t.TempDir())
			defer s.Close()
			calls := openCalls(t, s)
			put(t, calls, "f", "", "1")
			in := &incoming{head: itemHead{Lane: "g", Size: 1}, id: "id", body: []byte("2")}
			if w := calls.write(t.Context(), []*incoming{in})[0]; w.err != nil { // and its answer is lost
				t.Fatal(w.err)
			}
			want := 2
			if repeat {
				put(t, calls, "g", "id", "2")
			} else {
				put(t, calls, "f", "", "3")
				want++
			}
			h := &handler{runs: map[string]int{}}
			run(t, calls, h, want)
			if h.runs["g 2"] != 1 || len(h.runs) != want || len(calls.Waiting()) != 0 {
				t.Errorf("handled %v, waiting %v", h.runs, calls.Waiting())
			}
		})
	}
}

// A log that lost its end gives numbers again: what the journal says of the old
// records is not said of the new ones.
func TestRecordWithTheNumberOfALostOneIsNew(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	calls := openCalls(t, s)
	put(t, calls, "f", "", "1")
	put(t, calls, "f", "", "2")
	run(t, calls, &handler{runs: map[string]int{}}, 2)
	s.Close()
	rewrite(t, lastSegment(t, dir, callsName), written(tears["cut off"]))
	for range 2 {
		s = open(t, dir)
		calls = openCalls(t, s)
		if len(calls.Waiting()) == 0 {
			put(t, calls, "f", "", "new")
		}
		if waiting := calls.Waiting(); waiting["f"] != 1 {
			t.Errorf("waiting: %v, want the new one", waiting)
		}
		s.Close()
	}
}

func TestQueueOfAnOlderNodeIsTakenOver(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	old, err := s.stream(t.Context(), jetstream.StreamConfig{Name: oldCallsStream, Subjects: []string{oldCallsStream + ".>"}, Retention: jetstream.WorkQueuePolicy})
	if err != nil {
		t.Fatal(err)
	}
	const n = 600
	for i := range n {
		id := ""
		if i%100 == 0 {
			id = fmt.Sprint("id", i)
		}
		if _, err := s.publish(t.Context(), fmt.Sprintf("%s.f%d", oldCallsStream, i%2), id, fmt.Append(nil, i), reserve); err != nil {
			t.Fatal(err)
		}
	}
	c, err := old.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "lane-f0", FilterSubject: oldCallsStream + ".f0", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	first, err := c.Next()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.DoubleAck(t.Context()); err != nil { // number 0 is done
		t.Fatal(err)
	}
	calls := openCalls(t, s)
	if _, err := s.js.Stream(t.Context(), oldCallsStream); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("the old stream: %v", err)
	}
	if waiting := calls.Waiting(); waiting["f0"] != n/2-1 || waiting["f1"] != n/2 {
		t.Errorf("waiting: %v", waiting)
	}
	put(t, calls, "f0", "id100", "100") // was put before
	h := &handler{runs: map[string]int{}}
	run(t, calls, h, n-1)
	for i := 1; i < n; i++ {
		if key := fmt.Sprintf("f%d %d", i%2, i); h.runs[key] != 1 {
			t.Errorf("item %q was handled %d times", key, h.runs[key])
		}
	}
}

func TestTakeOverGoesOnWhereAKilledStartWas(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	calls := openCalls(t, s)
	if _, err := s.stream(t.Context(), jetstream.StreamConfig{Name: oldCallsStream, Subjects: []string{oldCallsStream + ".>"}, Retention: jetstream.WorkQueuePolicy}); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if _, err := s.publish(t.Context(), oldCallsStream+".f", "", fmt.Append(nil, i+1), reserve); err != nil {
			t.Fatal(err)
		}
	}
	var some []*incoming
	for _, number := range []uint64{1, 3} {
		some = append(some, &incoming{head: itemHead{Lane: "f", Size: 1, Old: number}, body: fmt.Append(nil, number)})
	}
	if err := calls.storeAll(some); err != nil {
		t.Fatal(err)
	}
	calls = openCalls(t, s)
	h := &handler{runs: map[string]int{}}
	run(t, calls, h, 5)
	for i := range 5 {
		if key := fmt.Sprintf("f %d", i+1); h.runs[key] != 1 {
			t.Errorf("item %q was handled %d times", key, h.runs[key])
		}
	}
}

func TestHeadersOfRecordsAreReadAsTheyWereWritten(t *testing.T) {
	for _, h := range []recordHeader{
		{Check: math.MaxUint32, Items: []itemHead{{Lane: "f"}}},
		{Check: 1, Items: []itemHead{{Lane: "a-b_C9", Size: 1 << 20, Tries: 3}, {Lane: "all", Size: 2, From: &place{Record: math.MaxUint64, At: 7}}}},
		{Items: []itemHead{{Lane: "f", Size: 1, Old: math.MaxUint64}, {Lane: "f", Size: 1, From: &place{Record: 1}}}},
	} {
		got, err := readRecordHeader(h.encode())
		if err != nil || !reflect.DeepEqual(got, h) {
			t.Errorf("%s is read as %+v, %v", h.encode(), got, err)
		}
	}
}
