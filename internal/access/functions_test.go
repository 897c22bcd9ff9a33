package access

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// made are functions by the time when they were made.
type made map[string]time.Time

func (m made) Created(name string) (time.Time, error) {
	t, ok := m[name]
	if !ok {
		return t, errs.Newf(errs.NotFound, "no function %s", name)
	}
	return t, nil
}

func (m made) Names() (names []string) {
	for n := range m {
		names = append(names, n)
	}
	return names
}

func credentials(t *testing.T, dir string, f Functions) *Credentials {
	t.Helper()
	keys, _, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := keys.WithFunctions(dir)
	if err != nil {
		t.Fatal(err)
	}
	c.Know(f)
	return c
}

func TestKeyOfAFunctionOutlivesTheNodeAndEndsWithTheFunction(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	functions := made{"resize": time.Unix(1, 0), "other": time.Unix(1, 0)}
	key, err := credentials(t, dir, functions).Function("resize")
	if err != nil {
		t.Fatal(err)
	}
	later := credentials(t, dir, functions) // a start later, nobody has asked for the key
	secret, principal, err := later.Secret(ctx, key.ID)
	if err != nil || secret != key.Secret || principal != "function:resize" {
		t.Errorf("after a start: %q of %q, %v; want the same key", secret, principal, err)
	}
	if err := later.CheckToken(ctx, key.ID, key.Token); err != nil {
		t.Errorf("after a start: its token: %v", err)
	}
	for name, token := range map[string]string{"no token": "", "a wrong token": "x" + key.Token[1:]} {
		if err := later.CheckToken(ctx, key.ID, token); !errs.Is(err, errs.NotFound) {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
	other, err := later.Function("other")
	if err != nil || other.ID == key.ID || other.Secret == key.Secret {
		t.Errorf("two functions share a key: %v", err)
	}
	functions["resize"] = time.Unix(2, 0) // deleted, and made again
	if _, _, err := later.Secret(ctx, key.ID); !errs.Is(err, errs.NotFound) {
		t.Errorf("the key of a deleted function: %v, want it unknown", err)
	}
	delete(functions, "other")
	if _, _, err := later.Secret(ctx, other.ID); !errs.Is(err, errs.NotFound) {
		t.Errorf("the key of a deleted function: %v, want it unknown", err)
	}
}

func TestNodesOwnKeysTakeNoToken(t *testing.T) {
	c := credentials(t, t.TempDir(), made{})
	id := c.Primary().ID
	if _, principal, err := c.Secret(t.Context(), id); err != nil || principal != Owner {
		t.Errorf("%q, %v; want the owner", principal, err)
	}
	if err := c.CheckToken(t.Context(), id, ""); err != nil {
		t.Error(err)
	}
	if err := c.CheckToken(t.Context(), id, "token"); !errs.Is(err, errs.NotFound) {
		t.Errorf("a token: %v, want it refused", err)
	}
}

func TestDamagedSecretOfFunctionsIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	keys, _, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, FunctionsFile), []byte("zz"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.WithFunctions(dir); err == nil {
		t.Error("a damaged file was accepted")
	}
}
