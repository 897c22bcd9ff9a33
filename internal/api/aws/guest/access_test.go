package guest

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/runtimes"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

// reaching returns a guest of a runtime whose instances reach the node's API.
func reaching(t *testing.T, r runtimes.Runtime) *Guest {
	g := testGuest(t, r)
	g.cfg.Services = []string{"s3", "sqs"}
	g.cfg.Access = func(function, instance string) (Access, bool) {
		return Access{"http://node", "id " + function + instance, "secret " + instance, "token " + instance}, true
	}
	return g
}

// bornAt returns the id of an instance that was made then.
func bornAt(t time.Time, name byte) string {
	b := make([]byte, 16)
	b[0] = name
	binary.BigEndian.PutUint32(b[12:], uint32(t.Unix()))
	return hex.EncodeToString(b)
}

func TestCredentialsAreAnInstancesOwn(t *testing.T) {
	v := &function.Version{Function: "orders", Version: "1"}
	for _, r := range []runtimes.Runtime{{Family: runtimes.Python}, {Family: runtimes.Node}, {Family: runtimes.Provided}} {
		g, birth := reaching(t, r), sandbox.Birth{ID: bornAt(time.Now(), 1)}
		p, err := g.Process(v, birth, isolated)
		if err != nil {
			t.Fatal(err)
		}
		own := []string{"id orders" + birth.ID, "secret " + birth.ID, "token " + birth.ID}
		for i, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} {
			if variable := name + "=" + own[i]; !slices.Contains(p.Env, variable) || !slices.Contains(g.Fresh(v, birth), variable) {
				t.Errorf("%s: %s is not in the environment, or copies are not told", r.Family, name)
			}
			if !slices.Contains(g.Own(v, birth), own[i]) {
				t.Errorf("%s: copies do not get theirs in place of %s", r.Family, name)
			}
		}
		if stream := slices.Contains(g.Own(v, birth), LogStream("1", birth.ID)); stream != (r.Family == runtimes.Provided) {
			t.Errorf("%s: the log stream is replaced: %v", r.Family, stream)
		}
	}
}

// A snapshot is found by the environment of no instance, but for what Fresh names.
func TestEnvironmentsOfInstancesDifferInWhatIsFreshOnly(t *testing.T) {
	g, v := reaching(t, runtimes.Runtime{Family: runtimes.Python}), &function.Version{Function: "orders", Version: "1"}
	rest := func(b sandbox.Birth) []string {
		p, err := g.Process(v, b, isolated)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, variable := range g.Fresh(v, sandbox.Birth{}) {
			name, _, _ := strings.Cut(variable, "=")
			names = append(names, name)
		}
		return slices.DeleteFunc(p.Env, func(variable string) bool {
			name, _, _ := strings.Cut(variable, "=")
			return slices.Contains(names, name)
		})
	}
	if a, b := rest(sandbox.Birth{}), rest(sandbox.Birth{ID: bornAt(time.Now(), 1), Saved: true}); !slices.Equal(a, b) {
		t.Errorf("the rest is\n%q\nand\n%q", a, b)
	}
}

// What a client signs with on one day has one place, whoever else of that day or
// the day before takes it.
func TestSigningKeysOfADayHaveOnePlace(t *testing.T) {
	g, v := reaching(t, runtimes.Runtime{Family: runtimes.Provided}), &function.Version{Function: "orders", Version: "1"}
	noon := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	place := func(born, used time.Time, service string) int {
		id := bornAt(born, 7)
		return slices.Index(g.Own(v, sandbox.Birth{ID: id}), string(wire.SigningKey("secret "+id, used.Format("20060102"), "us-east-1", service)))
	}
	for _, service := range g.cfg.Services {
		for day := range 3 {
			used := noon.AddDate(0, 0, day)
			today, before := place(used, used, service), place(used.AddDate(0, 0, -1), used, service)
			if today < 0 || today != before {
				t.Errorf("%s: of an instance of the day at %d, of the day before at %d", service, today, before)
			}
		}
	}
	if a, b := len(g.Own(v, sandbox.Birth{})), len(g.Own(v, sandbox.Birth{ID: bornAt(noon, 1)})); a != b {
		t.Errorf("instances have %d and %d values", a, b)
	}
}
