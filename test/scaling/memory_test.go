package scaling

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/mayflytest"
	"github.com/mayfly-dev/mayfly/test/lambdatest"
)

// TestScarceMemoryEndsIdleInstancesAndNoCall asks for more memory to be left than
// any machine has.
func TestScarceMemoryEndsIdleInstancesAndNoCall(t *testing.T) {
	n := mayflytest.StartWith(t, mayflytest.Options{ReserveMB: 1 << 30})
	c := lambdatest.New(n)
	c.Deploy(t, lambdatest.Python{Name: "f", Source: source})
	var first, again answer
	c.MustCall(t, "f", map[string]any{"sleep": 2}, &first) // longer than it takes to notice
	for _, want := range []string{"mayfly_memory_scarce 1", `mayfly_memory_relief{what="trimmed"} 1`, `mayfly_memory_relief{what="closed"} 1`} {
		text := ""
		for deadline := time.Now().Add(time.Minute); !strings.Contains(text, "\n"+want+"\n"); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("no %s in the metrics:\n%s", want, text)
			}
			text = metricsOf(t, n)
		}
	}
	c.MustCall(t, "f", map[string]any{}, &again)
	if again.Instance == first.Instance || again.Calls != 1 {
		t.Errorf("the next call ran as the instance's call %d, on the closed one: %v", again.Calls, again.Instance == first.Instance)
	}
}

func metricsOf(t *testing.T, n *mayflytest.Node) string {
	t.Helper()
	r, err := http.Get(n.Endpoint + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", r.Status, err)
	}
	return string(b)
}
