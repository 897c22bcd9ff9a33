package function

import (
	"testing"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// wantShares checks what Shares says of f.
func (h house) wantShares(t *testing.T, own int, only bool, rest int) {
	t.Helper()
	if o, x, r := h.Shares("f"); o != own || x != only || r != rest {
		t.Errorf("shares are %d, %v, %d; want %d, %v, %d", o, x, r, own, only, rest)
	}
}

func TestReservedCallsLeaveTheCommonPool(t *testing.T) {
	withFunction(t, func(t *testing.T, h house) {
		h.wantShares(t, 0, false, 1000)
		for _, n := range []int{300, 900, 0} {
			if err := h.Reserve(t.Context(), "f", &n); err != nil {
				t.Fatal(err)
			}
			h.wantShares(t, n, true, 1000-n)
		}
		wantKind(t, h.Reserve(t.Context(), "f", new(901)), errs.Invalid, ReasonUnclaimed)
		wantKind(t, h.Reserve(t.Context(), "f", new(-1)), errs.Invalid, "")
		wantKind(t, h.Reserve(t.Context(), "g", new(1)), errs.NotFound, "")
		if n, err := h.Reserved("f"); err != nil || *n != 0 {
			t.Errorf("reserved %v, %v", n, err)
		}
		if err := h.Reserve(t.Context(), "f", nil); err != nil {
			t.Fatal(err)
		}
		h.wantShares(t, 0, false, 1000)

		if err := h.Reserve(t.Context(), "f", new(900)); err != nil {
			t.Fatal(err)
		}
		h.create(t, "g")
		h.settleBuild(nil)
		wantKind(t, h.Reserve(t.Context(), "g", new(1)), errs.Invalid, ReasonUnclaimed)
		if err := h.Delete(t.Context(), "f"); err != nil {
			t.Fatal(err)
		}
		if n := h.Unclaimed(); n != 1000 {
			t.Errorf("after the function was deleted %d calls are free", n)
		}
	})
}

func TestProvisionedInstancesAreSpreadAsCallsAre(t *testing.T) {
	withFunction(t, func(t *testing.T, h house) {
		h.publishTwo(t)
		h.alias(t, Alias{Name: "live", Version: "1"})
		if err := h.Provision(t.Context(), "f", "live", 10); err != nil {
			t.Fatal(err)
		}
		h.wantShares(t, 10, false, 990)
		ready := func(number string) int {
			v, err := h.Lookup("f", number)
			if err != nil {
				t.Fatal(err)
			}
			return h.Demands()[v.Fingerprint()].Ready
		}
		if one, two := ready("1"), ready("2"); one != 10 || two != 0 {
			t.Errorf("%d and %d instances are wanted", one, two)
		}
		if _, err := h.UpdateAlias(t.Context(), "f", "live", AliasChange{Routing: &Routing{"2", 0.2}}); err != nil {
			t.Fatal(err)
		}
		if one, two := ready("1"), ready("2"); one != 8 || two != 2 {
			t.Errorf("%d and %d instances are wanted", one, two)
		}
		if p, err := h.Provisioning("f", "live"); err != nil || p.Instances != 10 || len(p.Parts) != 2 || p.Modified.IsZero() {
			t.Errorf("%+v, %v", p, err)
		}
		if err := h.DeleteAlias(t.Context(), "f", "live"); err != nil {
			t.Fatal(err)
		}
		if all := h.Demands(); len(all) != 0 {
			t.Errorf("after the alias was deleted %+v is wanted", all)
		}
		h.wantShares(t, 0, false, 1000)
	})
}

func TestProvisionRefuses(t *testing.T) {
	withFunction(t, func(t *testing.T, h house) {
		h.publishTwo(t)
		h.alias(t, Alias{Name: "live", Version: "1"})
		h.alias(t, Alias{Name: "dev", Version: Latest})
		for _, tc := range []struct {
			qualifier string
			n         int
			kind      errs.Kind
			reason    string
		}{
			{Latest, 1, errs.Invalid, ReasonUnpublished},
			{"dev", 1, errs.Invalid, ReasonUnpublished},
			{"7", 1, errs.NotFound, ""},
			{"nope", 1, errs.NotFound, ReasonNoAlias},
			{"1", -1, errs.Invalid, ""},
			{"1", 901, errs.Invalid, ReasonUnclaimed},
		} {
			wantKind(t, h.Provision(t.Context(), "f", tc.qualifier, tc.n), tc.kind, tc.reason)
		}
		if err := h.Provision(t.Context(), "f", "live", 5); err != nil {
			t.Fatal(err)
		}
		wantKind(t, h.Provision(t.Context(), "f", "1", 1), errs.Conflict, ReasonProvisionedAlias)
		if err := h.Provision(t.Context(), "f", "2", 5); err != nil {
			t.Fatal(err)
		}
		h.alias(t, Alias{Name: "other", Version: "2"})
		wantKind(t, h.Provision(t.Context(), "f", "other", 1), errs.Conflict, ReasonProvisionedVersion)

		wantKind(t, h.Reserve(t.Context(), "f", new(9)), errs.Invalid, ReasonUnderProvisioned)
		if err := h.Reserve(t.Context(), "f", new(10)); err != nil {
			t.Fatal(err)
		}
		wantKind(t, h.Provision(t.Context(), "f", "2", 6), errs.Invalid, ReasonOverReserved)
		_, err := h.Provisioning("f", "dev")
		wantKind(t, err, errs.NotFound, ReasonNotProvisioned)
		_, err = h.Provisioning("f", "nope")
		wantKind(t, err, errs.NotFound, ReasonNoAlias)
		_, err = h.Provisioning("f", "9")
		wantKind(t, err, errs.NotFound, "")
	})
}

func TestScalingIsKeptForPublishedVersions(t *testing.T) {
	withFunction(t, func(t *testing.T, h house) {
		h.publish(t)
		want := Scaling{Min: new(2), Max: new(5)}
		if err := h.Scale(t.Context(), "f", "1", want); err != nil {
			t.Fatal(err)
		}
		got, err := h.Scaling("f", "1")
		if err != nil || *got.Min != 2 || *got.Max != 5 {
			t.Errorf("%+v, %v", got, err)
		}
		v, _ := h.Lookup("f", "1")
		if d := h.Demands()[v.Fingerprint()]; d.Version != v || *d.Min != 2 || *d.Max != 5 {
			t.Errorf("wanted %+v", d)
		}
		for _, tc := range []struct {
			version string
			s       Scaling
			kind    errs.Kind
		}{
			{"2", Scaling{}, errs.NotFound},
			{Latest, Scaling{}, errs.NotFound},
			{"1", Scaling{Min: new(-1)}, errs.Invalid},
			{"1", Scaling{Max: new(MaxInstances + 1)}, errs.Invalid},
			{"1", Scaling{Min: new(3), Max: new(2)}, errs.Invalid},
		} {
			wantKind(t, h.Scale(t.Context(), "f", tc.version, tc.s), tc.kind, "")
		}
		if err := h.DeleteVersion(t.Context(), "f", "1"); err != nil {
			t.Fatal(err)
		}
		if all := h.Demands(); len(all) != 0 {
			t.Errorf("after the version was deleted %+v is wanted", all)
		}
	})
}
