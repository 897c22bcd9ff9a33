package invoke

import (
	"errors"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

func TestAdmission(t *testing.T) {
	type call struct {
		name      string
		own       int
		only      bool
		rest      int
		wantOwn   bool
		throttled string
	}
	for name, calls := range map[string][]call{
		"calls without places of their own share the rest": {
			{"f", 0, false, 2, false, ""}, {"g", 0, false, 2, false, ""}, {"h", 0, false, 2, false, ReasonConcurrency},
		},
		"reserved places are there although the rest is taken": {
			{"g", 0, false, 1, false, ""}, {"g", 0, false, 1, false, ReasonConcurrency}, {"f", 1, true, 1, true, ""},
		},
		"a function takes no more than is reserved for it": {
			{"f", 1, true, 9, true, ""}, {"f", 1, true, 9, false, ReasonReserved},
		},
		"nothing reserved stops a function": {{"f", 0, true, 9, false, ReasonReserved}},
		"beyond what is provisioned calls share the rest": {
			{"f", 1, false, 1, true, ""}, {"f", 1, false, 1, false, ""}, {"f", 1, false, 1, false, ReasonConcurrency},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var a admission
			for n, c := range calls {
				own, err := a.enter(c.name, c.own, c.only, c.rest)
				if own != c.wantOwn {
					t.Errorf("call %d of %s: in a place of its own: %v", n, c.name, own)
				}
				switch {
				case c.throttled == "" && err != nil:
					t.Errorf("call %d of %s: %v", n, c.name, err)
				case c.throttled != "" && (!errs.Is(err, errs.Throttled) || errs.Of(err).Reason != c.throttled):
					t.Errorf("call %d of %s: %v, want throttled for %s", n, c.name, err, c.throttled)
				}
			}
		})
	}
}

func TestPlacesComeBack(t *testing.T) {
	var a admission
	for range 3 {
		own, err := a.enter("f", 1, true, 1)
		ok(t, err)
		shared, err := a.enter("g", 0, false, 1)
		ok(t, err)
		a.leave("f", own)
		a.leave("g", shared)
	}
	// What was reserved meanwhile does not count a call that began before.
	own, err := a.enter("f", 0, false, 1)
	ok(t, err)
	if _, err := a.enter("f", 1, true, 0); err != nil {
		t.Errorf("a new reservation counts a call in the common pool: %v", err)
	}
	a.leave("f", own)
	if a.shared != 0 || len(a.own) != 1 {
		t.Errorf("%d shared places and %v are taken", a.shared, a.own)
	}
}

func TestCallThatIsNotAllowedDoesNotRun(t *testing.T) {
	ran := false
	n := newInvoker(t, func([]byte) (string, bool) { ran = true; return `1`, false }, nil)
	create(t, n.cfg.Functions, "f", nil)
	why := errs.Newf(errs.Throttled, "no more")
	n.cfg.Allow = func(function, qualifier string) error {
		if function == "f" && qualifier == "$LATEST" {
			return why
		}
		return nil
	}
	var refused []string
	n.cfg.Throttled = func(function string) { refused = append(refused, function) }
	if _, err := n.Sync(t.Context(), Request{RequestID: "r", Function: "f", Qualifier: "$LATEST"}); !errors.Is(err, why) || ran {
		t.Errorf("the call ended with %v, ran: %v", err, ran)
	}
	if len(refused) != 1 || refused[0] != "f" {
		t.Errorf("throttled were %v", refused)
	}
	_, err := n.Sync(t.Context(), Request{RequestID: "r2", Function: "f"})
	ok(t, err)
}
