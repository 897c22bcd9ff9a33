package access

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

func TestFirstOpenMakesAKeyAndLaterOnesKeepIt(t *testing.T) {
	dir := t.TempDir()
	if _, err := Read(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("Read before Open: %v", err)
	}
	first, created, err := Open(dir)
	if err != nil || !created {
		t.Fatalf("created %v, %v", created, err)
	}
	k := first.Primary()
	if !regexp.MustCompile(`^AKIA[A-Z2-7]{16}$`).MatchString(k.ID) {
		t.Errorf("id %q", k.ID)
	}
	if !regexp.MustCompile(`^[A-Za-z0-9+/]{40}$`).MatchString(k.Secret) {
		t.Errorf("secret of %d characters", len(k.Secret))
	}
	info, err := os.Stat(filepath.Join(dir, File))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	again, created, err := Open(dir)
	if err != nil || created || again.Primary() != k {
		t.Errorf("second Open: %+v, created %v, %v", again, created, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 {
		t.Errorf("files left: %v", left)
	}
}

func TestSecretKnowsOnlyItsOwnKeys(t *testing.T) {
	keys, _, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	k := keys.Primary()
	if s, who, err := keys.Secret(t.Context(), k.ID); err != nil || s != k.Secret || who != Owner {
		t.Errorf("own key: held by %q, %v", who, err)
	}
	for _, id := range []string{"", "AKIAIOSFODNN7EXAMPLE", strings.ToLower(k.ID)} {
		if s, who, err := keys.Secret(t.Context(), id); !errs.Is(err, errs.NotFound) || s+who != "" {
			t.Errorf("key %q: %q of %q, %v", id, s, who, err)
		}
	}
}

func TestAFileThatOthersCanReadIsRefused(t *testing.T) {
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660, 0o644} {
		dir := t.TempDir()
		if _, _, err := Open(dir); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, File)
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, _, err := Open(dir)
		if !errs.Is(err, errs.Denied) || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
}

func TestADamagedFileIsRefusedAndKept(t *testing.T) {
	for name, content := range map[string]string{
		"not JSON":     "{",
		"no key":       "{}",
		"empty id":     `{"keys":[{"accessKeyId":"","secretAccessKey":"0123456789012345678901234567890123456789"}]}`,
		"short secret": `{"keys":[{"accessKeyId":"AKIAIOSFODNN7EXAMPLE","secretAccessKey":"x"}]}`,
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, File)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, created, err := Open(dir); err == nil || created || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: created %v, %v", name, created, err)
		}
		if b, _ := os.ReadFile(path); string(b) != content {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

func TestOpenersAtOnceAgreeOnOneKey(t *testing.T) {
	dir := t.TempDir()
	ids := make([]string, 8)
	made := make([]bool, len(ids))
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			k, created, err := Open(dir)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i], made[i] = k.Primary().ID, created
		})
	}
	wg.Wait()
	n := 0
	for i, id := range ids {
		if id != ids[0] {
			t.Errorf("opener %d has another key", i)
		}
		if made[i] {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d openers made the key", n)
	}
}
