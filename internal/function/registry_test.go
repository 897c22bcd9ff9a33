package function

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-dev/mayfly/internal/blob/disk"
	"github.com/mayfly-dev/mayfly/internal/errs"
)

// memBucket is a Bucket in memory. Its zero value is empty.
type memBucket struct {
	mu   sync.Mutex
	rev  uint64
	vals map[string]memValue
}

type memValue struct {
	b   []byte
	rev uint64
}

func (m *memBucket) Get(_ context.Context, key string) ([]byte, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.vals[key]
	if !ok {
		return nil, 0, errs.Newf(errs.NotFound, "no %s", key)
	}
	return v.b, v.rev, nil
}

func (m *memBucket) put(key string, b []byte) uint64 {
	m.rev++
	if m.vals == nil {
		m.vals = map[string]memValue{}
	}
	m.vals[key] = memValue{bytes.Clone(b), m.rev}
	return m.rev
}

func (m *memBucket) Create(_ context.Context, key string, b []byte) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.vals[key]; ok {
		return 0, errs.Newf(errs.Conflict, "%s exists", key)
	}
	return m.put(key, b), nil
}

func (m *memBucket) Update(_ context.Context, key string, b []byte, rev uint64) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.vals[key].rev != rev {
		return 0, errs.Newf(errs.Stale, "%s changed", key)
	}
	return m.put(key, b), nil
}

func (m *memBucket) Delete(_ context.Context, key string, rev uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.vals[key].rev != rev {
		return errs.Newf(errs.Stale, "%s changed", key)
	}
	m.rev++
	delete(m.vals, key)
	return nil
}

func (m *memBucket) List(_ context.Context, prefix string, fn func(string, []byte, uint64) error) error {
	m.mu.Lock()
	vals := maps.Clone(m.vals)
	m.mu.Unlock()
	for k, v := range vals {
		if strings.HasPrefix(k, prefix) {
			if err := fn(k, v.b, v.rev); err != nil {
				return err
			}
		}
	}
	return nil
}

// packages is a blob store on disk.
type packages struct{ *disk.Store }

func newPackages(t *testing.T) packages {
	t.Helper()
	s, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return packages{s}
}

// keys lists what is stored.
func (p packages) keys(t *testing.T) []string {
	t.Helper()
	var keys []string
	for info, err := range p.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

type catalog struct{}

func (catalog) Resolve(name string) (string, string, error) {
	switch name {
	case "python3.11":
		return "python3.11 (3.11.2)", "", nil
	case "python3.12":
		return "python3.11 (3.11.2)", "python3.12 is not installed: python3.11 serves it", nil
	}
	return "", "", errs.Newf(errs.Invalid, "no runtime is called %q", name)
}

// gate is a Builder that waits for the test. What is sent on verdict ends one
// build with that error.
type gate struct{ verdict chan error }

func (g gate) Build(ctx context.Context, _ *Version) error {
	select {
	case err := <-g.verdict:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func zipOf(t testing.TB, name, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func goodConfig() Config {
	return Config{Runtime: "python3.11", Handler: "app.handler", MemoryMB: 128, Timeout: 3 * time.Second, TmpMB: 512, Architecture: "amd64"}
}

// house is a registry with the parts it is made of.
type house struct {
	*Registry
	bucket   *memBucket
	packages packages
	gate     gate
	obsolete *[]string
}

func newHouse(t *testing.T, bucket *memBucket, packages packages) house {
	t.Helper()
	h := house{bucket: bucket, packages: packages, gate: gate{make(chan error)}, obsolete: new([]string)}
	var mu sync.Mutex
	r, err := Open(t.Context(), Options{
		Bucket: bucket, Packages: packages, Runtimes: catalog{}, Builder: h.gate,
		Limits: DefaultLimits("amd64"), Log: slog.New(slog.DiscardHandler),
		Obsolete: func(f string) {
			mu.Lock()
			defer mu.Unlock()
			*h.obsolete = append(*h.obsolete, f)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Registry = r
	return h
}

// run runs the registry until the returned function is called, which waits for it.
func (h house) run(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

// settleBuild ends one build and waits until its outcome is recorded.
func (h house) settleBuild(err error) {
	h.gate.verdict <- err
	synctest.Wait()
}

func (h house) create(t *testing.T, name string) *Version {
	t.Helper()
	v, err := h.Create(t.Context(), New{Name: name, Config: goodConfig(), Package: zipOf(t, "app.py", name)}, false)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func wantKind(t *testing.T, err error, k errs.Kind, reason string) {
	t.Helper()
	if !errs.Is(err, k) || errs.Of(err).Reason != reason {
		t.Fatalf("got error %v (%v, reason %q), want %v, reason %q", err, errs.KindOf(err), errs.Of(err).Reason, k, reason)
	}
}

func TestCreateIsPendingUntilTheImageIsBuilt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, &memBucket{}, newPackages(t))
		defer h.run(t)()
		v := h.create(t, "f")
		if v.State != Pending || v.StateReasonCode != CodeCreating || v.Update != "" || v.Version != Latest {
			t.Errorf("created: %+v", v)
		}
		_, err := h.Lookup("f", "")
		wantKind(t, err, errs.Conflict, ReasonState)
		if !strings.HasSuffix(err.Error(), "following state: Pending") {
			t.Errorf("error %q does not name the state", err)
		}
		_, err = h.UpdateConfig(t.Context(), "f", "", func(c *Config) { c.MemoryMB = 256 })
		wantKind(t, err, errs.Conflict, ReasonState)

		h.settleBuild(nil)
		got, err := h.Lookup("f", Latest)
		if err != nil {
			t.Fatal(err)
		}
		if got.State != Active || got.StateReason != "" || got.Update != UpdateSuccessful {
			t.Errorf("after the build: %+v", got)
		}
		if got.Revision == v.Revision {
			t.Error("the revision is the same although the state changed")
		}
	})
}

func TestFailedCreateSaysWhy(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		code string
	}{
		"bad package": {errs.Newf(errs.Invalid, "link out of the tree"), CodeInvalidPackage},
		"too large":   {errs.Newf(errs.TooLarge, "too many files"), CodeInvalidPackage},
		"disk full":   {errors.New("no space left on device"), CodeInternal},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, &memBucket{}, newPackages(t))
				defer h.run(t)()
				h.create(t, "f")
				h.settleBuild(tc.err)
				v, err := h.Get("f", "")
				if err != nil {
					t.Fatal(err)
				}
				if v.State != Failed || v.StateReasonCode != tc.code || !strings.Contains(v.StateReason, tc.err.Error()) {
					t.Errorf("state %s, reason %q, code %s", v.State, v.StateReason, v.StateReasonCode)
				}
				_, err = h.Lookup("f", "")
				wantKind(t, err, errs.Conflict, ReasonState)

				// New code mends it.
				if _, err := h.UpdateCode(t.Context(), "f", CodeChange{Package: zipOf(t, "app.py", "better")}); err != nil {
					t.Fatal(err)
				}
				h.settleBuild(nil)
				if _, err := h.Lookup("f", ""); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestCallsRunTheOldCodeUntilTheUpdateSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, &memBucket{}, newPackages(t))
		defer h.run(t)()
		h.create(t, "f")
		h.settleBuild(nil)
		old, _ := h.Lookup("f", "")

		upd, err := h.UpdateCode(t.Context(), "f", CodeChange{Package: zipOf(t, "app.py", "new")})
		if err != nil {
			t.Fatal(err)
		}
		if upd.Update != UpdateInProgress || upd.State != Active || upd.Code == old.Code {
			t.Errorf("update answers %+v", upd)
		}
		if shown, _ := h.Get("f", ""); shown.Revision != upd.Revision {
			t.Error("the owner does not see the update under way")
		}
		if serving, err := h.Lookup("f", ""); err != nil || serving.Fingerprint() != old.Fingerprint() {
			t.Errorf("calls run %v, %v while the update is under way", serving, err)
		}
		_, err = h.UpdateConfig(t.Context(), "f", "", func(c *Config) { c.MemoryMB = 256 })
		wantKind(t, err, errs.Conflict, ReasonUpdating)
		if len(*h.obsolete) != 0 {
			t.Errorf("obsolete before the update succeeded: %v", *h.obsolete)
		}

		h.settleBuild(nil)
		serving, err := h.Lookup("f", "")
		if err != nil || serving.Code != upd.Code || serving.Update != UpdateSuccessful {
			t.Errorf("after the update calls run %+v, %v", serving, err)
		}
		if want := []string{old.Fingerprint()}; !slices.Equal(*h.obsolete, want) {
			t.Errorf("obsolete: %v, want %v", *h.obsolete, want)
		}
		if got, want := h.packages.keys(t), []string{upd.Code.Key()}; !slices.Equal(got, want) {
			t.Errorf("packages kept: %v, want %v", got, want)
		}
	})
}

func TestFailedUpdateLeavesTheOldCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, &memBucket{}, newPackages(t))
		defer h.run(t)()
		h.create(t, "f")
		h.settleBuild(nil)
		old, _ := h.Lookup("f", "")
		if _, err := h.UpdateCode(t.Context(), "f", CodeChange{Package: zipOf(t, "app.py", "bad")}); err != nil {
			t.Fatal(err)
		}
		h.settleBuild(errs.Newf(errs.Invalid, "broken archive"))
		v, err := h.Lookup("f", "")
		if err != nil {
			t.Fatal(err)
		}
		if v.Fingerprint() != old.Fingerprint() {
			t.Error("another code serves")
		}
		if v.Update != UpdateFailed || v.UpdateReason != "broken archive" || v.UpdateReasonCode != CodeInvalidPackage || v.State != Active {
			t.Errorf("update shows as %+v", v)
		}
		if got, want := h.packages.keys(t), []string{old.Code.Key()}; !slices.Equal(got, want) {
			t.Errorf("packages kept: %v, want %v", got, want)
		}
		if len(*h.obsolete) != 0 {
			t.Errorf("obsolete: %v", *h.obsolete)
		}
	})
}

func TestDescriptionAloneKeepsInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, &memBucket{}, newPackages(t))
		defer h.run(t)()
		h.create(t, "f")
		h.settleBuild(nil)
		if _, err := h.UpdateConfig(t.Context(), "f", "", func(c *Config) { c.Description = "new words" }); err != nil {
			t.Fatal(err)
		}
		h.settleBuild(nil)
		if v, _ := h.Lookup("f", ""); v.Description != "new words" {
			t.Errorf("description %q", v.Description)
		}
		if len(*h.obsolete) != 0 {
			t.Errorf("obsolete: %v", *h.obsolete)
		}
	})
}

func TestRevisionGuardsUpdates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, &memBucket{}, newPackages(t))
		defer h.run(t)()
		v := h.create(t, "f")
		h.settleBuild(nil)
		_, err := h.UpdateConfig(t.Context(), "f", v.Revision, func(c *Config) { c.MemoryMB = 256 })
		wantKind(t, err, errs.Stale, "")
		_, err = h.UpdateCode(t.Context(), "f", CodeChange{Package: zipOf(t, "app.py", "other"), Revision: v.Revision})
		wantKind(t, err, errs.Stale, "")
		if n := len(h.packages.keys(t)); n != 1 {
			t.Errorf("%d packages kept after a refused update, want 1", n)
		}
		v, _ = h.Get("f", "")
		if _, err := h.UpdateConfig(t.Context(), "f", v.Revision, func(c *Config) { c.MemoryMB = 256 }); err != nil {
			t.Error(err)
		}
	})
}

func TestBuildsGoOnAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bucket, packages := &memBucket{}, newPackages(t)
		h := newHouse(t, bucket, packages)
		stop := h.run(t)
		h.create(t, "updated")
		h.settleBuild(nil)
		if _, err := h.UpdateConfig(t.Context(), "updated", "", func(c *Config) { c.MemoryMB = 512 }); err != nil {
			t.Fatal(err)
		}
		h.create(t, "created")
		stop() // both builds are under way
		if _, err := packages.Put(t.Context(), "code-orphan", strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}

		h = newHouse(t, bucket, packages)
		if v, err := h.Lookup("updated", ""); err != nil || v.MemoryMB != 128 {
			t.Fatalf("before the build calls run %+v, %v", v, err)
		}
		defer h.run(t)()
		h.settleBuild(nil)
		h.settleBuild(nil)
		for _, name := range []string{"created", "updated"} {
			if v, err := h.Lookup(name, ""); err != nil || v.Update != UpdateSuccessful {
				t.Errorf("%s: %+v, %v", name, v, err)
			}
		}
		if v, _ := h.Lookup("updated", ""); v.MemoryMB != 512 {
			t.Errorf("memory %d, want 512", v.MemoryMB)
		}
		if slices.Contains(packages.keys(t), "code-orphan") {
			t.Error("a package that nothing refers to outlived the start")
		}
	})
}

func TestDeleteRemovesEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, &memBucket{}, newPackages(t))
		defer h.run(t)()
		h.create(t, "f")
		h.settleBuild(nil)
		v, _ := h.Lookup("f", "")
		if err := h.Delete(t.Context(), "f"); err != nil {
			t.Fatal(err)
		}
		_, err := h.Lookup("f", "")
		wantKind(t, err, errs.NotFound, "")
		wantKind(t, h.Delete(t.Context(), "f"), errs.NotFound, "")
		if n := len(h.bucket.vals) + len(h.packages.keys(t)); n != 0 {
			t.Errorf("%d documents and packages left", n)
		}
		if !slices.Equal(*h.obsolete, []string{v.Fingerprint()}) {
			t.Errorf("obsolete: %v", *h.obsolete)
		}
	})
}

func TestSharedPackageOutlivesOneOfItsFunctions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, &memBucket{}, newPackages(t))
		z := zipOf(t, "app.py", "same")
		for _, name := range []string{"a", "b"} {
			if _, err := h.Create(t.Context(), New{Name: name, Config: goodConfig(), Package: z}, false); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.Delete(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		v, _ := h.Get("b", "")
		r, err := h.OpenCode(t.Context(), v.Code)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if got, _ := io.ReadAll(r); !bytes.Equal(got, z) {
			t.Error("the package is not what was uploaded")
		}
		if n, size := h.Usage(); n != 1 || size != int64(len(z)) {
			t.Errorf("usage %d functions, %d bytes", n, size)
		}
	})
}

func TestCreateRefuses(t *testing.T) {
	h := newHouse(t, &memBucket{}, newPackages(t))
	h.create(t, "taken")
	good := zipOf(t, "app.py", "x")
	empty := func() []byte {
		var b bytes.Buffer
		if err := zip.NewWriter(&b).Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}()
	h.o.Limits.Package = 4096
	h.o.Limits.Unpacked = 1000
	h.o.Limits.CodeStorage = 3000
	big := zipOf(t, "app.py", strings.Repeat("x", 1001))
	filler := func(n int) []byte { // a zip with n bytes in front, which readers skip
		return append(bytes.Repeat([]byte{0}, n), good...)
	}
	for name, tc := range map[string]struct {
		change func(*New)
		kind   errs.Kind
		reason string
	}{
		"a name that is taken":   {func(n *New) { n.Name = "taken" }, errs.Conflict, ReasonExists},
		"no code":                {func(n *New) { n.Package = nil }, errs.Invalid, ReasonNoPackage},
		"no zip":                 {func(n *New) { n.Package = []byte("#!/bin/sh") }, errs.Invalid, ReasonNotZip},
		"a zip without files":    {func(n *New) { n.Package = empty }, errs.Invalid, ReasonEmptyPackage},
		"too large unpacked":     {func(n *New) { n.Package = big }, errs.Invalid, ReasonUnpacked},
		"too large a package":    {func(n *New) { n.Package = filler(4096) }, errs.TooLarge, ReasonPackage},
		"too much code together": {func(n *New) { n.Package = filler(3000) }, errs.TooLarge, ReasonCodeStorage},
		"an unknown runtime":     {func(n *New) { n.Config.Runtime = "cobol85" }, errs.Invalid, ReasonRuntime},
	} {
		for _, dry := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/dry=%v", name, dry), func(t *testing.T) {
				n := New{Name: "f", Config: goodConfig(), Package: good}
				tc.change(&n)
				_, err := h.Create(t.Context(), n, dry)
				wantKind(t, err, tc.kind, tc.reason)
			})
		}
	}
	if n := len(h.packages.keys(t)); n != 1 {
		t.Errorf("%d packages kept, want the first function's only", n)
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	h := newHouse(t, &memBucket{}, newPackages(t))
	z := zipOf(t, "app.py", "x")
	v, err := h.Create(t.Context(), New{Name: "f", Config: goodConfig(), Package: z}, true)
	if err != nil || v.Code != codeOf(z) {
		t.Fatalf("%+v, %v", v, err)
	}
	if len(h.bucket.vals)+len(h.packages.keys(t)) != 0 {
		t.Error("a dry run left something")
	}
}

func TestListIsSortedAndPaged(t *testing.T) {
	h := newHouse(t, &memBucket{}, newPackages(t))
	for _, name := range []string{"c", "a", "d", "b", "e"} {
		h.create(t, name)
	}
	var got [][]string
	after := ""
	for {
		page, more := h.List(after, 2)
		var names []string
		for _, v := range page {
			names = append(names, v.Function)
		}
		got = append(got, names)
		if !more {
			break
		}
		after = names[len(names)-1]
	}
	if want := "[[a b] [c d] [e]]"; fmt.Sprint(got) != want {
		t.Errorf("pages %v, want %s", got, want)
	}
}

func TestTags(t *testing.T) {
	h := newHouse(t, &memBucket{}, newPackages(t))
	h.create(t, "f")
	if err := h.Tag(t.Context(), "f", map[string]string{"team": "a", "stage": "test"}); err != nil {
		t.Fatal(err)
	}
	if err := h.Tag(t.Context(), "f", map[string]string{"team": "b"}); err != nil {
		t.Fatal(err)
	}
	if err := h.Untag(t.Context(), "f", []string{"stage", "none"}); err != nil {
		t.Fatal(err)
	}
	tags, err := h.Tags("f")
	if err != nil || !maps.Equal(tags, map[string]string{"team": "b"}) {
		t.Errorf("tags %v, %v", tags, err)
	}
	many := map[string]string{}
	for i := range MaxTags {
		many[fmt.Sprint(i)] = ""
	}
	wantKind(t, h.Tag(t.Context(), "f", many), errs.Invalid, "")
	wantKind(t, h.Tag(t.Context(), "g", nil), errs.NotFound, "")
	_, err = h.Tags("g")
	wantKind(t, err, errs.NotFound, "")
}

func TestAChangeOfAnotherWriterIsSeenAndKept(t *testing.T) {
	bucket, packages := &memBucket{}, newPackages(t)
	a := newHouse(t, bucket, packages)
	a.create(t, "f")
	b := newHouse(t, bucket, packages)
	if err := a.Tag(t.Context(), "f", map[string]string{"from": "a"}); err != nil {
		t.Fatal(err)
	}
	if err := b.Tag(t.Context(), "f", map[string]string{"also": "b"}); err != nil {
		t.Fatal(err)
	}
	if tags, _ := b.Tags("f"); len(tags) != 2 {
		t.Errorf("tags %v, want both", tags)
	}
	if err := a.Delete(t.Context(), "f"); err != nil { // a's copy is stale by now
		t.Fatal(err)
	}
	wantKind(t, b.Tag(t.Context(), "f", nil), errs.NotFound, "")
	_, err := b.Get("f", "")
	wantKind(t, err, errs.NotFound, "")
}

func TestManyWritersLoseNothing(t *testing.T) {
	h := newHouse(t, &memBucket{}, newPackages(t))
	h.create(t, "f")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if err := h.Tag(context.Background(), "f", map[string]string{fmt.Sprint(i): ""}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if tags, _ := h.Tags("f"); len(tags) != 8 {
		t.Errorf("%d tags, want 8", len(tags))
	}
}

func TestPublishedVersionsAreFound(t *testing.T) {
	bucket := &memBucket{}
	one := &Version{Function: "f", Version: "1", Config: goodConfig(), State: Active}
	latest := &Version{Function: "f", Version: Latest, Config: goodConfig(), State: Active}
	d := document{Name: "f", Latest: latest, Versions: []*Version{one}}
	if _, err := bucket.Create(t.Context(), key("f"), d.encode()); err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, bucket, newPackages(t))
	if v, err := h.Lookup("f", "1"); err != nil || v.Version != "1" {
		t.Errorf("version 1: %+v, %v", v, err)
	}
	_, err := h.Lookup("f", "2")
	wantKind(t, err, errs.NotFound, "")
}

func TestRuntimeIsResolvedAgainAtStart(t *testing.T) {
	c := goodConfig()
	c.Runtime = "python3.12"
	bucket := &memBucket{}
	d := document{Name: "f", Latest: &Version{Function: "f", Version: Latest, Config: c, RuntimeResolved: "python3.12 (3.12.1)"}}
	if _, err := bucket.Create(t.Context(), key("f"), d.encode()); err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, bucket, newPackages(t))
	v, _ := h.Get("f", "")
	if v.RuntimeWarning == "" || v.RuntimeResolved != "python3.11 (3.11.2)" {
		t.Errorf("resolved %q, warning %q", v.RuntimeResolved, v.RuntimeWarning)
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, &memBucket{}, newPackages(t))
		defer h.run(t)()
		h.create(t, "f")
		h.settleBuild(nil)
		h.publishTwo(t)
		if _, err := h.CreateAlias(t.Context(), "f", Alias{Name: "live", Version: "1", Routing: Routing{"2", 0.5}}); err != nil {
			t.Fatal(err)
		}
		for _, qualifier := range []string{"", Latest, "2", "live"} {
			n := testing.AllocsPerRun(100, func() {
				v, err := h.Lookup("f", qualifier)
				if err != nil || v.Fingerprint() == "" {
					t.Error(err)
				}
				h.Shares("f")
			})
			if n != 0 {
				t.Errorf("%v allocations for a look-up of %q and its fingerprint", n, qualifier)
			}
		}
	})
}

func TestFingerprintOfAChangedCopyIsNotTheOriginals(t *testing.T) {
	v := (&Version{Function: "f", Version: Latest, Config: goodConfig()}).seal()
	c := *v
	c.MemoryMB = 1024
	if c.Fingerprint() == v.Fingerprint() {
		t.Error("the copy kept the original's fingerprint")
	}
}
