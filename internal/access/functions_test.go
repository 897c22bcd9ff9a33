package access

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
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

// instance returns the key of an instance.
func instance(t *testing.T, c *Credentials, function, id string) SessionKey {
	t.Helper()
	k, err := c.Instance(function, id)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKeyOfAnInstanceOutlivesTheNodeAndEndsWithItsFunction(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	functions := made{"resize": time.Unix(1, 0), "other": time.Unix(1, 0)}
	key := instance(t, credentials(t, dir, functions), "resize", "a1")
	later := credentials(t, dir, functions) // a start later, nobody has asked for the key
	secret, principal, err := later.SessionSecret(ctx, key.ID, key.Token)
	if err != nil || secret != key.Secret || principal != "function:resize" {
		t.Errorf("after a start: %q of %q, %v; want the same key", secret, principal, err)
	}
	if again := instance(t, later, "resize", "a1"); again != key {
		t.Error("an instance got another key when it was asked for twice")
	}
	if _, _, err := credentials(t, t.TempDir(), functions).SessionSecret(ctx, key.ID, key.Token); !errs.Is(err, errs.NotFound) {
		t.Errorf("on another node: %v, want it unknown", err)
	}
	other := instance(t, later, "other", "a1")
	functions["resize"] = time.Unix(2, 0) // deleted, and made again
	delete(functions, "other")
	for _, k := range []SessionKey{key, other} {
		if _, _, err := later.SessionSecret(ctx, k.ID, k.Token); !errs.Is(err, errs.NotFound) {
			t.Errorf("the key of a deleted function: %v, want it unknown", err)
		}
	}
	if _, err := later.Instance("other", "a1"); !errs.Is(err, errs.NotFound) {
		t.Errorf("an instance of a deleted function: %v, want no key", err)
	}
}

func TestInstancesHaveKeysOfTheirOwnOfOneForm(t *testing.T) {
	c := credentials(t, t.TempDir(), made{"resize": time.Unix(1, 0), "other": time.Unix(1, 0)})
	seen := map[string]bool{}
	first := instance(t, c, "resize", "")
	form := regexp.MustCompile(`^ASIA[A-Z2-7]{16}$`)
	for _, k := range []SessionKey{first, instance(t, c, "resize", "a1"), instance(t, c, "resize", "a2"), instance(t, c, "other", "a1")} {
		for _, part := range []string{k.ID, k.Secret, k.Token} {
			if seen[part] {
				t.Errorf("%q is part of two keys", part)
			}
			seen[part] = true
		}
		if !form.MatchString(k.ID) || !OfFunction(k.ID) || len(k.Secret) != 40 {
			t.Errorf("a key has the id %q and a secret of %d characters", k.ID, len(k.Secret))
		}
		if _, principal, err := c.SessionSecret(t.Context(), k.ID, k.Token); err != nil {
			t.Errorf("a key of %s: %v", principal, err)
		} else if principal == "function:resize" && len(k.Token) != len(first.Token) {
			t.Errorf("tokens of one function have %d and %d characters", len(k.Token), len(first.Token))
		}
	}
}

func TestTokensOfOthersAreRefused(t *testing.T) {
	c := credentials(t, t.TempDir(), made{"resize": time.Unix(1, 0), "other": time.Unix(1, 0)})
	key := instance(t, c, "resize", "a1")
	raw, err := tokenText.DecodeString(key.Token)
	if err != nil {
		t.Fatal(err)
	}
	change := func(at int) string {
		b := slices.Clone(raw)
		b[at] ^= 1
		return tokenText.EncodeToString(b)
	}
	for name, token := range map[string]string{
		"none": "", "not of this form": "?", "too short": "AAAA", "no name": tokenText.EncodeToString(raw[:nonceSize+proofSize]),
		"a sibling's": instance(t, c, "resize", "a2").Token, "another function's": instance(t, c, "other", "a1").Token,
		"a nonce of its maker's": change(0), "a wrong proof": change(nonceSize), "a function that is not there": change(len(raw) - 1),
		"another's name":    tokenText.EncodeToString(append(slices.Clone(raw[:nonceSize+proofSize]), "other"...)),
		"written otherwise": key.Token[:20] + "\n" + key.Token[20:],
	} {
		if secret, _, err := c.SessionSecret(t.Context(), key.ID, token); !errs.Is(err, errs.NotFound) || secret != "" {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
	if _, _, err := c.Secret(t.Context(), key.ID); !errs.Is(err, errs.NotFound) {
		t.Errorf("without its token: %v, want it refused", err)
	}
}

func TestNodesOwnKeysTakeNoToken(t *testing.T) {
	c := credentials(t, t.TempDir(), made{"resize": time.Unix(1, 0)})
	id := c.Primary().ID
	if _, principal, err := c.Secret(t.Context(), id); err != nil || principal != Owner {
		t.Errorf("%q, %v; want the owner", principal, err)
	}
	for _, token := range []string{"token", instance(t, c, "resize", "a1").Token} {
		if _, _, err := c.SessionSecret(t.Context(), id, token); !errs.Is(err, errs.NotFound) {
			t.Errorf("a token: %v, want it refused", err)
		}
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
