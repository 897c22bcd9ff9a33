package replay

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/invoke"
	"github.com/mayfly-dev/mayfly/internal/meter"
)

func open(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(Config{Path: path, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func call(id, event, answer string, outcome meter.Outcome) (invoke.Request, invoke.Result) {
	return invoke.Request{RequestID: id, Function: "f", Payload: []byte(event)},
		invoke.Result{Payload: []byte(answer), Version: "1", Record: meter.Record{Start: time.Now(), Outcome: outcome}}
}

func TestOnlyWhatTheModeAsksForIsKept(t *testing.T) {
	for mode, want := range map[Mode]map[string]bool{
		"":      {"good": false, "bad": false},
		Failed:  {"good": false, "bad": true},
		All:     {"good": true, "bad": true},
		Sampled: {"good": true, "bad": true}, // at a rate of 1
	} {
		s := open(t, filepath.Join(t.TempDir(), "db"))
		if mode != "" {
			set := &Settings{Mode: mode}
			if mode == Sampled {
				set.Rate = 1
			}
			if err := s.Set("f", set); err != nil {
				t.Fatal(err)
			}
		}
		s.Record(call("good", `{}`, `1`, meter.OK))
		s.Record(call("bad", `{}`, `{"errorMessage":"x"}`, meter.Failed))
		if err := s.write(); err != nil {
			t.Fatal(err)
		}
		for id, kept := range want {
			if _, err := s.Get(id); (err == nil) != kept || err != nil && !errs.Is(err, errs.NotFound) {
				t.Errorf("mode %q: %s: %v, want kept %v", mode, id, err, kept)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSettingsAndRecordingsSurviveAReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s := open(t, path)
	if err := s.Set("f", &Settings{Mode: All, Redact: []string{"password"}}); err != nil {
		t.Fatal(err)
	}
	s.Record(call("a", `{"password":"x"}`, `"ok"`, meter.OK))
	if err := s.write(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	defer s.Close()
	s.Record(call("b", `{"password":"y"}`, `"ok"`, meter.OK))
	if err := s.write(); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"a", "b"} {
		if r, err := s.Get(id); err != nil || string(r.Event) != `{"password":"[redacted]"}` || !r.Redacted {
			t.Errorf("%s: %s, %v", id, r.Event, err)
		}
	}
	list, err := s.List("f", 10)
	if err != nil || len(list) != 2 || list[0].RequestID != "b" || list[0].Event != nil {
		t.Errorf("list %v, %v", list, err)
	}
	if err := s.Set("f", nil); err != nil || s.Settings("f") != nil {
		t.Errorf("settings after they were removed: %v, %v", s.Settings("f"), err)
	}
}

func TestAQuestionHasWhatWaitsWritten(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db")) // nothing runs that would write
	defer s.Close()
	if err := s.Set("f", &Settings{Mode: All}); err != nil {
		t.Fatal(err)
	}
	s.Record(call("a", `{}`, `1`, meter.OK))
	if r, err := s.Get("a"); err != nil || string(r.Answer) != "1" {
		t.Errorf("the call that was just made: %s, %v", r.Answer, err)
	}
	s.Record(call("b", `{}`, `2`, meter.OK))
	if list, err := s.List("f", 10); err != nil || len(list) != 2 || list[0].RequestID != "b" {
		t.Errorf("list %v, %v", list, err)
	}
}

func TestCallsOfAMomentShareATransaction(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"))
	defer s.Close()
	if err := s.Set("f", &Settings{Mode: All}); err != nil {
		t.Fatal(err)
	}
	before := s.db.Stats()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	const calls = 500
	for i := range calls {
		s.Record(call(fmt.Sprint(i), `{}`, `1`, meter.OK))
		runtime.Gosched() // the writer could begin
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	list, err := s.List("f", 2*calls)
	if err != nil || len(list) != calls {
		t.Fatalf("%d of %d calls are kept: %v", len(list), calls, err)
	}
	after := s.db.Stats()
	if n := after.TxStats.GetWrite() - before.TxStats.GetWrite(); n > calls/2 {
		t.Errorf("%d writes for %d calls", n, calls)
	}
}

func TestWhatIsTooMuchIsDroppedAndNotKeptInMemory(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"))
	defer s.Close()
	if err := s.Set("f", &Settings{Mode: All}); err != nil {
		t.Fatal(err)
	}
	body := strings.Repeat("1", maxWaiting/4)
	for i := range 6 {
		s.Record(call(fmt.Sprint(i), body, "1", meter.OK))
	}
	if len(s.waiting) != 3 || s.dropped != 3 || s.bytes > maxWaiting {
		t.Errorf("%d calls with %d bytes wait, %d are dropped", len(s.waiting), s.bytes, s.dropped)
	}
}

func TestRulesHideWhatTheyNameAndNothingElse(t *testing.T) {
	tests := []struct {
		rules     []string
		body, out string
	}{
		{nil, `{"a":1}`, `{"a":1}`},
		{[]string{"a"}, `{"a":{"b":2},"c":[{"a":3}]}`, `{"a":"[redacted]","c":[{"a":"[redacted]"}]}`},
		{[]string{"u.card.n"}, `{"u":{"card":{"n":1,"m":2}},"n":3}`, `{"n":3,"u":{"card":{"m":2,"n":"[redacted]"}}}`},
		{[]string{"items.*.price"}, `{"items":[{"price":1},{"price":2,"id":9007199254740993}]}`, `{"items":[{"price":"[redacted]"},{"id":9007199254740993,"price":"[redacted]"}]}`},
		{[]string{"items.1"}, `{"items":[1,2]}`, `{"items":[1,"[redacted]"]}`},
		{[]string{"token"}, `{"body":"{\"token\":\"s\",\"x\":1}"}`, `{"body":"{\"token\":\"[redacted]\",\"x\":1}"}`},
		{[]string{"a"}, `no json`, `"[redacted]"`},
		{[]string{"a"}, `{"a":1} {"a":2}`, `"[redacted]"`},
		{[]string{"z"}, `{"a": 1}`, `{"a": 1}`},
		{nil, `no json`, `"no json"`},
	}
	for _, tt := range tests {
		s := (&Settings{Mode: All, Redact: tt.rules}).compile()
		if got, _ := s.redact([]byte(tt.body)); string(got) != tt.out {
			t.Errorf("%v on %s: %s, want %s", tt.rules, tt.body, got, tt.out)
		}
	}
}

func TestWrongSettingsAreRefused(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"))
	defer s.Close()
	for _, set := range []Settings{{}, {Mode: "some"}, {Mode: Sampled}, {Mode: Sampled, Rate: 2}, {Mode: All, Rate: 1}, {Mode: All, Redact: []string{"a..b"}}} {
		if err := s.Set("f", &set); !errs.Is(err, errs.Invalid) {
			t.Errorf("%+v: %v, want invalid", set, err)
		}
	}
}

func TestOldAndTooManyRecordingsGo(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"))
	defer s.Close()
	if err := s.Set("f", &Settings{Mode: All}); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		req, res := call(fmt.Sprint(i), `{}`, `1`, meter.OK)
		res.Record.Start = time.Now().Add(time.Duration(i-4) * time.Hour)
		s.Record(req, res)
	}
	if err := s.write(); err != nil {
		t.Fatal(err)
	}
	s.cfg.KeepFor = 3*time.Hour + 30*time.Minute
	r, err := s.Get("1")
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	s.cfg.MaxBytes = 2*int64(len(b)) + 10
	if err := s.trim(time.Now()); err != nil {
		t.Fatal(err)
	}
	for id, kept := range map[string]bool{"0": false, "1": false, "2": true, "3": true} {
		if _, err := s.Get(id); (err == nil) != kept {
			t.Errorf("%s: %v, want kept %v", id, err, kept)
		}
	}
}

// answerer answers every call with the same.
type answerer struct {
	answer string
	got    invoke.Request
}

func (a *answerer) Sync(_ context.Context, r invoke.Request) (invoke.Result, error) {
	a.got = r
	return invoke.Result{Payload: []byte(a.answer), Version: "2"}, nil
}

func TestReplayRunsTheKeptEventAndComparesAnswers(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"))
	defer s.Close()
	if err := s.Set("f", &Settings{Mode: All}); err != nil {
		t.Fatal(err)
	}
	s.Record(call("a", `{"n":1}`, `{"x":1,"y":2}`, meter.OK))
	if err := s.write(); err != nil {
		t.Fatal(err)
	}
	by := &answerer{answer: `{"y":2, "x":1}`}
	r, err := s.Replay(t.Context(), by, "a", "live")
	if err != nil || !r.Same || string(by.got.Payload) != `{"n":1}` || by.got.Qualifier != "live" || by.got.RequestID == "a" {
		t.Errorf("%+v, %v; called with %+v", r, err, by.got)
	}
	by.answer = `{"x":1}`
	if r, err := s.Replay(t.Context(), by, "a", ""); err != nil || r.Same {
		t.Errorf("another answer is the same: %v, %v", r.Same, err)
	}
	if _, err := s.Replay(t.Context(), by, "none", ""); !errs.Is(err, errs.NotFound) {
		t.Errorf("a call that was not recorded: %v", err)
	}
}
