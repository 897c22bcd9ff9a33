package function

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

func (h house) alias(t *testing.T, a Alias) *Alias {
	t.Helper()
	made, err := h.CreateAlias(t.Context(), "f", a)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestRouteSendsItsShareToTheSecondVersion(t *testing.T) {
	one, two := &Version{Version: "1"}, &Version{Version: "2"}
	for _, tc := range []struct {
		rt   route
		draw float64
		want *Version
	}{
		{route{first: one}, 0, one},
		{route{first: one}, math.Nextafter(1, 0), one},
		{route{one, two, 0}, 0, one},
		{route{one, two, 1}, math.Nextafter(1, 0), two},
		{route{one, two, 0.1}, 0, two},
		{route{one, two, 0.1}, 0.0999, two},
		{route{one, two, 0.1}, 0.1, one},
		{route{one, two, 0.1}, 0.9, one},
	} {
		if got := tc.rt.pick(tc.draw); got != tc.want {
			t.Errorf("weight %v, draw %v: version %s, want %s", tc.rt.weight, tc.draw, got.Version, tc.want.Version)
		}
	}
}

func TestCallsOfAnAliasAreSharedByWeight(t *testing.T) {
	withFunction(t, func(t *testing.T, h house) {
		h.publishTwo(t)
		h.alias(t, Alias{Name: "live", Version: "1", Routing: Routing{"2", 0.3}})
		const calls = 10000
		second := 0
		for range calls {
			v, err := h.Lookup("f", "live")
			if err != nil {
				t.Fatal(err)
			}
			if v.Version == "2" {
				second++
			}
		}
		// Wide enough that chance passes it but once in 10^40 runs.
		if second < 2400 || second > 3600 {
			t.Errorf("%d of %d calls went to the version whose share is 0.3", second, calls)
		}
		if v, _ := h.Get("f", "live"); v.Version != "1" {
			t.Errorf("the owner sees version %s of the alias", v.Version)
		}
		for weight, want := range map[float64]string{0: "1", 1: "2"} {
			if _, err := h.UpdateAlias(t.Context(), "f", "live", AliasChange{Routing: &Routing{"2", weight}}); err != nil {
				t.Fatal(err)
			}
			for range 1000 {
				if v, _ := h.Lookup("f", "live"); v.Version != want {
					t.Fatalf("with weight %v a call went to version %s", weight, v.Version)
				}
			}
		}
	})
}

func TestAliasFollowsItsChanges(t *testing.T) {
	withFunction(t, func(t *testing.T, h house) {
		h.publishTwo(t)
		a := h.alias(t, Alias{Name: "live", Version: "1", Description: "first"})
		_, err := h.UpdateAlias(t.Context(), "f", "live", AliasChange{Version: new("2"), Revision: "another"})
		wantKind(t, err, errs.Stale, "")
		b, err := h.UpdateAlias(t.Context(), "f", "live", AliasChange{Version: new("2"), Revision: a.Revision})
		if err != nil || b.Version != "2" || b.Description != "first" || b.Revision == a.Revision {
			t.Fatalf("%+v, %v", b, err)
		}
		if v, err := h.Lookup("f", "live"); err != nil || v.Version != "2" {
			t.Errorf("calls run %+v, %v", v, err)
		}
		if a.Version != "1" {
			t.Error("what was handed out before has changed")
		}
		c, err := h.UpdateAlias(t.Context(), "f", "live", AliasChange{Description: new(""), Routing: &Routing{"1", 0.5}})
		if err != nil || c.Version != "2" || c.Description != "" || c.Routing.Version != "1" {
			t.Errorf("%+v, %v", c, err)
		}
		if d, err := h.UpdateAlias(t.Context(), "f", "live", AliasChange{Routing: &Routing{}}); err != nil || d.Routing != (Routing{}) {
			t.Errorf("%+v, %v", d, err)
		}
		if err := h.DeleteAlias(t.Context(), "f", "live"); err != nil {
			t.Fatal(err)
		}
		_, err = h.Lookup("f", "live")
		wantKind(t, err, errs.NotFound, "")
		if err := h.DeleteAlias(t.Context(), "f", "live"); err != nil {
			t.Errorf("deleting an alias again: %v", err)
		}
	})
}

func TestAliasOfTheLatestVersionSeesItsUpdates(t *testing.T) {
	withFunction(t, func(t *testing.T, h house) {
		h.alias(t, Alias{Name: "dev", Version: Latest})
		h.recode(t, "new")
		latest, _ := h.Lookup("f", "")
		if v, err := h.Lookup("f", "dev"); err != nil || v != latest {
			t.Errorf("the alias runs %+v, %v", v, err)
		}
	})
}

func TestVersionOfAnAliasCanNotBeDeleted(t *testing.T) {
	withFunction(t, func(t *testing.T, h house) {
		h.publishTwo(t)
		h.alias(t, Alias{Name: "live", Version: "1", Routing: Routing{"2", 0.1}})
		for _, number := range []string{"1", "2"} {
			err := h.DeleteVersion(t.Context(), "f", number)
			wantKind(t, err, errs.Conflict, ReasonAliased)
			if !strings.Contains(err.Error(), "[live]") {
				t.Errorf("%v does not name the alias", err)
			}
		}
		wantKind(t, h.DeleteVersion(t.Context(), "f", "live"), errs.Invalid, ReasonNotNumber)
	})
}

func TestAliasesAreCheckedAndListed(t *testing.T) {
	withFunction(t, func(t *testing.T, h house) {
		h.publishTwo(t)
		for _, tc := range []struct {
			a      Alias
			kind   errs.Kind
			reason string
		}{
			{Alias{Name: "12", Version: "1"}, errs.Invalid, ""},
			{Alias{Name: "a.b", Version: "1"}, errs.Invalid, ""},
			{Alias{Name: strings.Repeat("x", 129), Version: "1"}, errs.Invalid, ""},
			{Alias{Name: "a", Version: "7"}, errs.NotFound, ""},
			{Alias{Name: "a", Version: "1", Routing: Routing{"7", 0.1}}, errs.NotFound, ""},
			{Alias{Name: "a", Version: "1", Routing: Routing{"1", 0.1}}, errs.Invalid, ReasonSameSplit},
			{Alias{Name: "a", Version: Latest, Routing: Routing{"1", 0.1}}, errs.Invalid, ReasonLatestSplit},
			{Alias{Name: "a", Version: "1", Routing: Routing{"2", 1.1}}, errs.Invalid, ""},
			{Alias{Name: "a", Version: "1", Routing: Routing{"2", math.NaN()}}, errs.Invalid, ""},
		} {
			_, err := h.CreateAlias(t.Context(), "f", tc.a)
			wantKind(t, err, tc.kind, tc.reason)
		}
		h.alias(t, Alias{Name: "b", Version: "1"})
		h.alias(t, Alias{Name: "c", Version: "2"})
		h.alias(t, Alias{Name: "a", Version: "2", Routing: Routing{"1", 0.1}})
		_, err := h.CreateAlias(t.Context(), "f", Alias{Name: "a", Version: "1"})
		wantKind(t, err, errs.Conflict, ReasonAliasExists)
		_, err = h.UpdateAlias(t.Context(), "f", "nope", AliasChange{})
		wantKind(t, err, errs.NotFound, ReasonNoAlias)
		_, err = h.Alias("f", "nope")
		wantKind(t, err, errs.NotFound, ReasonNoAlias)
		for _, tc := range []struct {
			version, after string
			most           int
			want           []string
			more           bool
		}{
			{"", "", 10, []string{"a", "b", "c"}, false},
			{"", "", 2, []string{"a", "b"}, true},
			{"", "b", 2, []string{"c"}, false},
			{"1", "", 10, []string{"a", "b"}, false},
			{"9", "", 10, nil, false},
		} {
			page, more, err := h.Aliases("f", tc.version, tc.after, tc.most)
			var names []string
			for _, a := range page {
				names = append(names, a.Name)
			}
			if err != nil || !slices.Equal(names, tc.want) || more != tc.more {
				t.Errorf("aliases of %q after %q: %v, %v, %v", tc.version, tc.after, names, more, err)
			}
		}
	})
}
