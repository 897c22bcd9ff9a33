package function

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// withFunction runs a test on a house with one Active function, f.
func withFunction(t *testing.T, test func(t *testing.T, h house)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, &memBucket{}, newPackages(t))
		defer h.run(t)()
		h.create(t, "f")
		h.settleBuild(nil)
		test(t, h)
	})
}

func (h house) publish(t *testing.T) *Version {
	t.Helper()
	v, err := h.Publish(t.Context(), "f", Publication{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// recode gives f new code and waits for its image.
func (h house) recode(t *testing.T, content string) {
	t.Helper()
	if _, err := h.UpdateCode(t.Context(), "f", CodeChange{Package: zipOf(t, "app.py", content)}); err != nil {
		t.Fatal(err)
	}
	h.settleBuild(nil)
}

// publishTwo publishes versions 1 and 2 of f, whose code differs.
func (h house) publishTwo(t *testing.T) {
	t.Helper()
	h.publish(t)
	h.recode(t, "two")
	h.publish(t)
}

func numbers(t *testing.T, h house, after string, most int) (names []string, more bool) {
	t.Helper()
	page, more, err := h.Versions("f", after, most)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range page {
		names = append(names, v.Version)
	}
	return names, more
}

func TestPublishedVersionNeverChanges(t *testing.T) {
	withFunction(t, func(t *testing.T, h house) {
		one := h.publish(t)
		latest, _ := h.Lookup("f", "")
		if one.Version != "1" || one.State != Active || one.Code != latest.Code || one.Revision == latest.Revision {
			t.Errorf("published %+v", one)
		}
		if one.Fingerprint() == latest.Fingerprint() {
			t.Error("the version shares instances with the latest one, whose code can tell the difference")
		}
		h.recode(t, "two")
		if _, err := h.UpdateConfig(t.Context(), "f", "", func(c *Config) { c.MemoryMB = 512 }); err != nil {
			t.Fatal(err)
		}
		h.settleBuild(nil)
		if got, err := h.Lookup("f", "1"); err != nil || got.Code != one.Code || got.MemoryMB != 128 || got.Revision != one.Revision {
			t.Errorf("after updates version 1 is %+v, %v", got, err)
		}
		if slices.Contains(*h.obsolete, one.Fingerprint()) {
			t.Error("an update of the latest version made instances of version 1 obsolete")
		}
		if n := len(h.packages.keys(t)); n != 2 {
			t.Errorf("%d code packages are kept, want both versions' ones", n)
		}
		if two := h.publish(t); two.Version != "2" || two.Code == one.Code || two.MemoryMB != 512 {
			t.Errorf("published %+v", two)
		}
	})
}

func TestNothingNewIsNotPublishedAgain(t *testing.T) {
	withFunction(t, func(t *testing.T, h house) {
		words := "first"
		one, err := h.Publish(t.Context(), "f", Publication{Description: &words})
		if err != nil || one.Description != "first" {
			t.Fatalf("%+v, %v", one, err)
		}
		if again := h.publish(t); again.Version != "1" || again.Revision != one.Revision {
			t.Errorf("without a change version %s was published", again.Version)
		}
		if _, err := h.UpdateConfig(t.Context(), "f", "", func(c *Config) { c.Description = "other" }); err != nil {
			t.Fatal(err)
		}
		h.settleBuild(nil)
		if two := h.publish(t); two.Version != "2" || two.Description != "other" {
			t.Errorf("after a change of the description: %+v", two)
		}
		if err := h.DeleteVersion(t.Context(), "f", "2"); err != nil {
			t.Fatal(err)
		}
		if three := h.publish(t); three.Version != "3" {
			t.Errorf("after version 2 was deleted the same code became version %s: numbers must not come back", three.Version)
		}
	})
}

func TestPublishRefuses(t *testing.T) {
	withFunction(t, func(t *testing.T, h house) {
		for _, tc := range []struct {
			fn     string
			p      Publication
			kind   errs.Kind
			reason string
		}{
			{"g", Publication{}, errs.NotFound, ""},
			{"f", Publication{Revision: "another"}, errs.Stale, ""},
			{"f", Publication{CodeSHA256: "ab"}, errs.Invalid, ReasonCodeSHA},
			{"f", Publication{Description: new(string(make([]byte, MaxDescription+1)))}, errs.Invalid, ""},
		} {
			_, err := h.Publish(t.Context(), tc.fn, tc.p)
			wantKind(t, err, tc.kind, tc.reason)
		}
		latest, _ := h.Get("f", "")
		if _, err := h.Publish(t.Context(), "f", Publication{Revision: latest.Revision, CodeSHA256: latest.Code.SHA256}); err != nil {
			t.Errorf("with what the latest version has: %v", err)
		}
		if _, err := h.UpdateCode(t.Context(), "f", CodeChange{Package: zipOf(t, "app.py", "new")}); err != nil {
			t.Fatal(err)
		}
		_, err := h.Publish(t.Context(), "f", Publication{})
		wantKind(t, err, errs.Conflict, ReasonUpdating)
		h.settleBuild(nil)
	})
}

func TestPublishingWithCreateAndUpdateWaitsForTheImage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, &memBucket{}, newPackages(t))
		defer h.run(t)()
		made, err := h.Create(t.Context(), New{Name: "f", Config: goodConfig(), Package: zipOf(t, "app.py", "1"), Publish: true}, false)
		if err != nil || made.Version != "1" || made.State != Pending {
			t.Fatalf("created %+v, %v", made, err)
		}
		_, err = h.Lookup("f", "1")
		wantKind(t, err, errs.Conflict, ReasonState)
		h.settleBuild(nil)
		if one, err := h.Lookup("f", "1"); err != nil || one.Code != made.Code || one.Revision == made.Revision {
			t.Errorf("after the build: %+v, %v", one, err)
		}

		bad, err := h.UpdateCode(t.Context(), "f", CodeChange{Package: zipOf(t, "app.py", "2"), Publish: true})
		if err != nil || bad.Version != "2" || bad.State != Pending {
			t.Fatalf("updated %+v, %v", bad, err)
		}
		h.settleBuild(errors.New("disk full"))
		if two, err := h.Get("f", "2"); err != nil || two.State != Failed || two.StateReasonCode != CodeInternal {
			t.Errorf("after a build that failed: %+v, %v", two, err)
		}
		again, err := h.UpdateCode(t.Context(), "f", CodeChange{Package: zipOf(t, "app.py", "2"), Publish: true})
		if err != nil || again.Version != "3" {
			t.Errorf("the same code again: %+v, %v; a version that failed must not stand for it", again, err)
		}
		h.settleBuild(nil)
		latest, _ := h.Lookup("f", "")
		if three, err := h.Lookup("f", "3"); err != nil || three.Code != latest.Code {
			t.Errorf("version 3: %+v, %v", three, err)
		}
	})
}

func TestVersionsAreListedAndPaged(t *testing.T) {
	withFunction(t, func(t *testing.T, h house) {
		h.publishTwo(t)
		if all, more := numbers(t, h, "", 10); !slices.Equal(all, []string{Latest, "1", "2"}) || more {
			t.Errorf("versions %v, more %v", all, more)
		}
		if first, more := numbers(t, h, "", 2); !slices.Equal(first, []string{Latest, "1"}) || !more {
			t.Errorf("first page %v, more %v", first, more)
		}
		if rest, more := numbers(t, h, "1", 2); !slices.Equal(rest, []string{"2"}) || more {
			t.Errorf("second page %v, more %v", rest, more)
		}
		if one, _ := numbers(t, h, Latest, 1); !slices.Equal(one, []string{"1"}) {
			t.Errorf("after the latest: %v", one)
		}
		_, _, err := h.Versions("g", "", 10)
		wantKind(t, err, errs.NotFound, "")
	})
}

func TestDeletedVersionIsGoneWithItsCode(t *testing.T) {
	withFunction(t, func(t *testing.T, h house) {
		h.publishTwo(t)
		one, _ := h.Lookup("f", "1")
		if err := h.DeleteVersion(t.Context(), "f", "1"); err != nil {
			t.Fatal(err)
		}
		_, err := h.Lookup("f", "1")
		wantKind(t, err, errs.NotFound, "")
		if !slices.Contains(*h.obsolete, one.Fingerprint()) {
			t.Error("instances of the deleted version stay")
		}
		if slices.Contains(h.packages.keys(t), one.Code.Key()) {
			t.Error("the code of the deleted version stays")
		}
		for number, want := range map[string]struct {
			kind   errs.Kind
			reason string
		}{"1": {errs.NotFound, ""}, Latest: {errs.Invalid, ReasonNotNumber}} {
			wantKind(t, h.DeleteVersion(t.Context(), "f", number), want.kind, want.reason)
		}
	})
}

func TestVersionsSurviveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bucket, packages := &memBucket{}, newPackages(t)
		h := newHouse(t, bucket, packages)
		stop := h.run(t)
		h.create(t, "f")
		h.settleBuild(nil)
		h.publishTwo(t)
		if _, err := h.CreateAlias(t.Context(), "f", Alias{Name: "live", Version: "1"}); err != nil {
			t.Fatal(err)
		}
		if err := h.Provision(t.Context(), "f", "live", 3); err != nil {
			t.Fatal(err)
		}
		stop()
		next := newHouse(t, bucket, packages)
		defer next.run(t)()
		synctest.Wait() // it has looked for packages that nothing needs
		v, err := next.Lookup("f", "live")
		if err != nil || v.Version != "1" {
			t.Fatalf("after the restart: %+v, %v", v, err)
		}
		f, err := next.OpenCode(t.Context(), v.Code)
		if err != nil {
			t.Fatalf("the code of version 1: %v", err)
		}
		f.Close()
		if own, only, rest := next.Shares("f"); own != 3 || only || rest != 997 {
			t.Errorf("shares %d, %v, %d", own, only, rest)
		}
		if again := next.publish(t); again.Version != "2" {
			t.Errorf("without a change version %s was published", again.Version)
		}
	})
}
