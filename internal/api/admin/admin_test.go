package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/logs"
	"github.com/mayfly-dev/mayfly/internal/meter"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
	"github.com/mayfly-dev/mayfly/internal/trace"
)

type oneFunction struct{ v function.Version }

func (o oneFunction) Get(name, _ string) (*function.Version, error) {
	if name != o.v.Function {
		return nil, errs.Newf(errs.NotFound, "there is no function %s", name)
	}
	return &o.v, nil
}

type twoInstances struct{}

func (twoInstances) Instances() []sandbox.InstanceInfo {
	return []sandbox.InstanceInfo{
		{ID: "i1", Function: "f", Version: "$LATEST", State: "frozen", MemoryMB: 128, MemoryBytes: 9 << 20},
		{ID: "i2", Function: "other", State: "busy"},
	}
}

type journal struct {
	mu      sync.Mutex
	batches [][]byte
}

func (j *journal) Append(_ context.Context, _ string, b []byte) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.batches = append(j.batches, append([]byte(nil), b...))
	return uint64(len(j.batches)), nil
}

func (j *journal) Read(_ context.Context, after uint64, fn func(uint64, []byte) error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, b := range j.batches[min(after, uint64(len(j.batches))):] {
		if err := fn(after+uint64(i)+1, b); err != nil {
			return err
		}
	}
	return nil
}

func (j *journal) Last(context.Context) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return uint64(len(j.batches)), nil
}

func (*journal) Trim(context.Context, uint64) error { return nil }

type fixture struct {
	*httptest.Server
	journal *journal
	meter   *meter.Ledger
	logs    *logs.Store
}

func serve(t *testing.T) *fixture {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	store, err := logs.Open(logs.Config{Dir: t.TempDir()}, log)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{journal: &journal{}, logs: store}
	f.meter, err = meter.Open(t.Context(), meter.Config{Path: filepath.Join(t.TempDir(), "ledger"), Journal: f.journal, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	f.Server = httptest.NewServer(New(Config{
		Node: func() Node {
			return Node{Version: "v1", Driver: "gvisor", DataDir: "/d", Started: time.Now().Add(-time.Minute), Warnings: []string{"Careful."}}
		},
		Meter: f.meter, Prices: ListPrices("amd64"), List: ListPrices("arm64"), Logs: store, Spans: trace.NewSpans(nil), Log: log,
		Functions: oneFunction{function.Version{Function: "f", State: function.Active, Update: function.UpdateSuccessful, RuntimeWarning: "w"}},
		Instances: twoInstances{},
	}))
	t.Cleanup(func() {
		f.Close()
		store.Close()
		f.meter.Close()
	})
	return f
}

func (f *fixture) get(t *testing.T, path string, v any) int {
	t.Helper()
	resp, err := http.Get(f.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	return resp.StatusCode
}

func TestNodeTellsItsInstances(t *testing.T) {
	f := serve(t)
	var n NodeStatus
	if s := f.get(t, "/_mayfly/v1/node", &n); s != 200 {
		t.Fatalf("status %d", s)
	}
	if n.Version != "v1" || n.UptimeSeconds < 60 || len(n.Instances) != 2 || n.Instances[0].MemoryBytes != 9<<20 || n.Warnings[0] != "Careful." {
		t.Errorf("%+v", n)
	}
}

func TestStatusShowsOneFunctionOnly(t *testing.T) {
	f := serve(t)
	var s FunctionStatus
	if code := f.get(t, "/_mayfly/v1/functions/f/status", &s); code != 200 {
		t.Fatalf("status %d", code)
	}
	if s.State != "Active" || s.RuntimeWarning != "w" || len(s.Instances) != 1 || s.Instances[0].ID != "i1" {
		t.Errorf("%+v", s)
	}
}

func TestUsageAndRecordsSeeWhatWasJustAdded(t *testing.T) {
	f := serve(t)
	for i := range 3 {
		f.meter.Add(meter.Record{RequestID: fmt.Sprint(i), Function: "f", Start: time.Now(), Billed: time.Second, MemoryMB: 1024, Outcome: meter.OK})
	}
	var b Usage
	if s := f.get(t, "/_mayfly/v1/usage?by=month", &b); s != 200 {
		t.Fatalf("status %d", s)
	}
	if b.Total.Requests != 3 || b.Total.GBSeconds != "3.000000" || b.Total.Cost.String() != "0.0000506001" || b.Lines[0].Key != time.Now().UTC().Format("2006-01") {
		t.Errorf("%+v", b)
	}
	if b.ListName != ListPrices("arm64").Name || b.ListCost.String() != "0.0000406002" {
		t.Errorf("at list prices: %s %s", b.ListName, b.ListCost)
	}
	var r Records
	f.get(t, "/_mayfly/v1/records?limit=2&function=f", &r)
	if len(r.Records) != 2 || r.Records[1].RequestID != "2" {
		t.Errorf("%+v", r)
	}
	if s := f.get(t, "/_mayfly/v1/records/1", &r); s != 200 || len(r.Records) != 1 || r.Records[0].RequestID != "1" || r.Records[0].Cost.String() != "0.0000168667" {
		t.Errorf("one record: %d %+v", s, r)
	}
	f.get(t, "/_mayfly/v1/records?since="+time.Now().Add(time.Hour).UTC().Format(time.RFC3339), &r)
	if r.Records == nil || len(r.Records) != 0 {
		t.Errorf("%+v", r)
	}
}

func TestErrorsAreJSONWithACode(t *testing.T) {
	f := serve(t)
	for path, want := range map[string]struct {
		status int
		code   string
	}{
		"/_mayfly/v1/nothing":               {404, "NotFound"},
		"/_mayfly/v1/functions/g/status":    {404, "NotFound"},
		"/_mayfly/v1/usage?by=week":         {400, "Invalid"},
		"/_mayfly/v1/usage?since=yesterday": {400, "Invalid"},
		"/_mayfly/v1/usage?form=2":          {400, "Invalid"},
		"/_mayfly/v1/usage?by=day&tag=team": {400, "Invalid"},
		"/_mayfly/v1/records?limit=0":       {400, "Invalid"},
		"/_mayfly/v1/records?failed=2":      {400, "Invalid"},
		"/_mayfly/v1/records/none":          {404, "NotFound"},
		"/_mayfly/v1/logs/g":                {404, "NotFound"},
		"/_mayfly/v1/budgets?name=x":        {400, "Invalid"},
		"/_mayfly/v1/logs/g?follow=1":       {404, "NotFound"},
		"/_mayfly/v1/logs/f?follow=maybe":   {400, "Invalid"},
		"/_mayfly/v1/logs/%2e%2e":           {400, "Invalid"},
	} {
		var p Problem
		if s := f.get(t, path, &p); s != want.status || p.Code != want.code || p.Message == "" {
			t.Errorf("%s: %d %+v", path, s, p)
		}
	}
	resp, err := http.Post(f.URL+"/_mayfly/v1/node", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 404 {
		t.Errorf("POST: %d", resp.StatusCode)
	}
}

func TestInnerFaultsStayInside(t *testing.T) {
	f := serve(t)
	if err := f.meter.Close(); err != nil {
		t.Fatal(err)
	}
	var p Problem
	if s := f.get(t, "/_mayfly/v1/usage", &p); s != 500 || !strings.Contains(p.Message, "log has the reason") {
		t.Errorf("%d %+v", s, p)
	}
}

func TestLogsAreOneEntryALine(t *testing.T) {
	f := serve(t)
	for i := range 3 {
		f.logs.Append("f", logs.Entry{Text: fmt.Sprint("n", i), RequestID: fmt.Sprint("r", i)})
		f.logs.Append("gone", logs.Entry{Text: "x"})
	}
	for path, want := range map[string]string{
		"f":                            "n0 n1 n2",
		"f?request=r1":                 "n1",
		"f?contains=n2":                "n2",
		"f?until=2001-01-01T00:00:00Z": "",
		"gone":                         "x x x", // the function was removed, its log is still there
	} {
		resp, err := http.Get(f.URL + "/_mayfly/v1/logs/" + path)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for dec := json.NewDecoder(resp.Body); ; {
			var e logs.Entry
			if err := dec.Decode(&e); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			got = append(got, e.Text)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 || strings.Join(got, " ") != want {
			t.Errorf("%s: %d %v", path, resp.StatusCode, got)
		}
	}
}

func TestFollowedLogsArriveAsTheyAreWritten(t *testing.T) {
	f := serve(t)
	resp, err := http.Get(f.URL + "/_mayfly/v1/logs/f?follow=1") // answers before there is any entry
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for i := range 5 {
		f.logs.Append("f", logs.Entry{Text: fmt.Sprint("n", i)})
		if !lines.Scan() || !strings.Contains(lines.Text(), fmt.Sprintf(`"text":"n%d"`, i)) {
			t.Fatalf("line %d: %s", i, lines.Text())
		}
	}
}

func TestListPricesAreThePublishedOnes(t *testing.T) {
	for arch, gbSecond := range map[string]string{"amd64": "0.0000166667", "arm64": "0.0000133334"} {
		p := ListPrices(arch)
		if p.GBSecond.String() != gbSecond || p.MillionCalls.String() != "0.20" || p.StorageSecond.String() != "0.0000000309" {
			t.Errorf("%s: %+v", arch, p)
		}
	}
}
