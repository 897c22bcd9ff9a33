package bucket

import (
	"testing"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
)

var resize = event.Target{Kind: event.Function, Name: "resize"}

func TestRulesThatCouldBothMatchAreRefused(t *testing.T) {
	bus := event.Target{Kind: event.Bus, Name: "default"}
	for name, test := range map[string]struct {
		a, b   Rule
		reason string
	}{
		"the same":                    {Rule{Events: []Event{Put}}, Rule{Events: []Event{Put}}, ReasonOverlap},
		"a class and one of it":       {Rule{Events: []Event{AnyCreated}}, Rule{Events: []Event{Copy}}, ReasonOverlap},
		"one of a class and it":       {Rule{Events: []Event{Marked}}, Rule{Events: []Event{AnyRemoved}}, ReasonOverlap},
		"other events":                {Rule{Events: []Event{Put, Post}}, Rule{Events: []Event{Copy}}, ""},
		"other classes":               {Rule{Events: []Event{AnyCreated}}, Rule{Events: []Event{AnyRemoved}}, ""},
		"a prefix of the other's":     {Rule{Events: []Event{Put}, Prefix: "in/"}, Rule{Events: []Event{Put}, Prefix: "in/a/"}, ReasonOverlap},
		"other prefixes":              {Rule{Events: []Event{Put}, Prefix: "in/"}, Rule{Events: []Event{Put}, Prefix: "out/"}, ""},
		"other suffixes":              {Rule{Events: []Event{Put}, Suffix: ".jpg"}, Rule{Events: []Event{Put}, Suffix: ".png"}, ""},
		"a suffix of the other's":     {Rule{Events: []Event{Put}, Suffix: ".gz"}, Rule{Events: []Event{Put}, Suffix: ".tar.gz"}, ReasonOverlap},
		"a prefix and a suffix":       {Rule{Events: []Event{Put}, Prefix: "in/"}, Rule{Events: []Event{Put}, Suffix: ".jpg"}, ReasonOverlap},
		"the same prefix, not suffix": {Rule{Events: []Event{Put}, Prefix: "in/", Suffix: ".a"}, Rule{Events: []Event{Put}, Prefix: "in/", Suffix: ".b"}, ""},
		"a bus beside a function":     {Rule{Events: []Event{AnyCreated}, Target: bus}, Rule{Events: []Event{Put}}, ""},
	} {
		a, b := test.a, test.b
		a.ID, b.ID = "a", "b"
		for _, r := range []*Rule{&a, &b} {
			if r.Target.Kind == "" {
				r.Target = resize
			}
		}
		for _, rules := range [][]Rule{{a, b}, {b, a}} {
			err := Check(rules)
			if got := reasonOf(err); got != test.reason {
				t.Errorf("%s: %v, want reason %q", name, err, test.reason)
			}
		}
	}
}

func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	return errs.Of(err).Reason
}

func TestRulesMustBeWhole(t *testing.T) {
	for name, test := range map[string]struct {
		rules  []Rule
		reason string
	}{
		"no id":            {[]Rule{{Events: []Event{Put}}}, ReasonID},
		"no event":         {[]Rule{{ID: "a"}}, ReasonEvent},
		"an unknown event": {[]Rule{{ID: "a", Events: []Event{"created:gone"}}}, ReasonEvent},
		"one id twice":     {[]Rule{{ID: "a", Events: []Event{Put}}, {ID: "a", Events: []Event{Copy}}}, ReasonID},
	} {
		if err := Check(test.rules); !errs.Is(err, errs.Invalid) || reasonOf(err) != test.reason {
			t.Errorf("%s: %v, want reason %q", name, err, test.reason)
		}
	}
}

func TestRulesMatch(t *testing.T) {
	r := Rule{Events: []Event{AnyCreated, Deleted}, Prefix: "in/", Suffix: ".jpg"}
	for _, test := range []struct {
		event Event
		key   string
		want  bool
	}{
		{Put, "in/a.jpg", true}, {Completed, "in/.jpg", true}, {Deleted, "in/a.jpg", true},
		{Marked, "in/a.jpg", false}, {Put, "in/a.png", false}, {Put, "out/a.jpg", false}, {Put, "in.jpg", false},
	} {
		if got := r.matches(test.event, test.key); got != test.want {
			t.Errorf("%s of %s: %v, want %v", test.event, test.key, got, test.want)
		}
	}
}
