package admin

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/budget"
	"github.com/mayfly-dev/mayfly/internal/meter"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

func TestBudgetsAreSetListedAndRemoved(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	s, err := spine.Open(t.Context(), spine.Config{Dir: t.TempDir(), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	bucket, err := s.Bucket(t.Context(), spine.BudgetsBucket)
	if err != nil {
		t.Fatal(err)
	}
	f := serve(t)
	budgets, err := budget.Open(t.Context(), budget.Options{Bucket: bucket, Ledger: f.meter, Prices: meter.PriceSheet{}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(New(Config{Meter: f.meter, Budgets: budgets, Log: log}))
	defer server.Close()
	do := func(method, path, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, server.URL+Prefix+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(bytes.TrimSpace(got))
	}
	if status, body := do("GET", "budgets", ""); status != 200 || body != `{"budgets":[]}` {
		t.Errorf("without budgets: %d %s", status, body)
	}
	for _, c := range []struct {
		path, body string
		status     int
	}{
		{"budgets/m", `{"limit":"5","period":"month"}`, 204},
		{"budgets/d", `{"name":"d","limit":"0.50","period":"day","tag":"team=shop","throttle":true,"notify":"queue:q"}`, 204},
		{"budgets/d", `{"name":"e","limit":"1","period":"day"}`, 400},
		{"budgets/x", `{"limit":"-1","period":"day"}`, 400},
		{"budgets/x", `{"limit":"1","period":"day","tag":"team"}`, 400},
		{"budgets/x", `{"limit":"1","period":"day","notify":"me"}`, 400},
		{"budgets/x", `{"limit":"1","period":"day","color":"red"}`, 400},
	} {
		if status, body := do("PUT", c.path, c.body); status != c.status {
			t.Errorf("PUT %s %s: %d %s, want %d", c.path, c.body, status, body, c.status)
		}
	}
	_, body := do("GET", "budgets", "")
	var got struct {
		Budgets []struct{ Name, Limit, Period, Spent, State, Action, Tag, Notify string }
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || len(got.Budgets) != 2 {
		t.Fatalf("%s: %v", body, err)
	}
	if d := got.Budgets[0]; d.Name != "d" || d.Limit != "0.50" || d.Period != "day" || d.Spent != "0.00" || d.State != "ok" ||
		d.Action != "notify queue q, throttle" || d.Tag != "team=shop" || d.Notify != "queue:q" {
		t.Errorf("got %s", body)
	}
	if status, _ := do("DELETE", "budgets/d", ""); status != 204 {
		t.Errorf("DELETE: %d", status)
	}
	if status, _ := do("DELETE", "budgets/d", ""); status != 404 {
		t.Errorf("DELETE once more: %d", status)
	}
}
