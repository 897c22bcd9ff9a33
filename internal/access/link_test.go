package access

import (
	"strings"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

func TestLinkOpensForItsKeyUntilItIsOld(t *testing.T) {
	keys, _, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	link := NewLink(keys.Primary(), now)
	if key, err := keys.OpenLink(t.Context(), link, now); err != nil || key.Secret != keys.Primary().Secret {
		t.Errorf("%v, %v", key.ID, err)
	}
	if strings.Contains(link, keys.Primary().Secret) {
		t.Error("the link tells the secret")
	}
	other, _, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"of another node": NewLink(other.Primary(), now), "altered": link[:len(link)-2] + "AA", "empty": "", "cut": "a.b", "later end": strings.Replace(link, ".", ".9", 1),
	} {
		if _, err := keys.OpenLink(t.Context(), bad, now); !errs.Is(err, errs.Denied) {
			t.Errorf("a link %s: %v, want denied", name, err)
		}
	}
	if _, err := keys.OpenLink(t.Context(), link, now.Add(LinkLife+2*time.Second)); !errs.Is(err, errs.Denied) {
		t.Errorf("an old link: %v, want denied", err)
	}
}
