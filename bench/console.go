package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/meter"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

// consoleFunctions is how many functions the node has whose console is measured.
const consoleFunctions = 1000

// runConsole measures what people wait for: pages of the console on a node with a
// thousand functions and many records, of which few failed, and mayfly dev.
func runConsole(ctx context.Context, out io.Writer, o options, work string) (err error) {
	note(fmt.Sprintf("entering %d records", o.records))
	if err := fillLedger(ctx, filepath.Join(work, "data"), o.records); err != nil {
		return err
	}
	n, err := startNode(ctx, o, work)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	note("creating the functions")
	zip, err := pack("bench/handlers/python/app.py")
	if err != nil {
		return err
	}
	for i := range consoleFunctions {
		if err := n.create(ctx, subject{name: fmt.Sprint("f", i), runtime: "python3.11", handler: "app.handler", zip: zip}); err != nil {
			return err
		}
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	n.http.Jar = jar
	if _, err := n.page(ctx, http.MethodPost, "signin", url.Values{"id": {n.keys.AccessKeyID}, "secret": {n.keys.SecretAccessKey}}); err != nil {
		return err
	}
	heading(out, o, "Bench of the console,")
	fmt.Fprintf(out, "%d functions, %d records of the last day, of which three failed. Time until the whole page is there, on loopback, 20 loads each.\n\n| page | p50 ms | slowest ms |\n|---|---|---|\n", consoleFunctions, o.records)
	for _, p := range []struct{ name, path string }{
		{"overview", ""}, {"functions", "functions"}, {"functions, last page", "functions?page=20"}, {"functions, search", "functions?q=f99"},
		{"one function", "functions/f77"}, {"one invocation", "invocations/r" + fmt.Sprint(o.records/2)}, {"costs, 30 days", "costs"}, {"costs, 1 day", "costs?span=1+day"},
	} {
		var took series
		for range 20 {
			d, err := n.page(ctx, http.MethodGet, p.path, nil)
			if err != nil {
				return err
			}
			took.add(d)
		}
		fmt.Fprintf(out, "| %s | %.0f | %.0f |\n", p.name, took.q(.5), took.q(1))
	}
	return devTable(ctx, out, o, n, work)
}

// page loads a page of the console as one who has signed in.
func (n *node) page(ctx context.Context, method, path string, form url.Values) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, method, n.endpoint+"/console/"+path, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", n.endpoint)
	}
	began := time.Now()
	resp, err := n.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	took := time.Since(began)
	if err == nil && (resp.StatusCode != http.StatusOK || strings.Contains(resp.Request.URL.Path, "signin")) {
		err = fmt.Errorf("page %q: %s %s: %.300s", path, resp.Status, resp.Request.URL.Path, b)
	}
	return took, err
}

// fillLedger enters records in the ledger of a node that does not run, in the
// way that a node does.
func fillLedger(ctx context.Context, dir string, records int) (err error) {
	for _, d := range []string{dir, filepath.Join(dir, "spine")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	log := slog.New(slog.DiscardHandler)
	s, err := spine.Open(ctx, spine.Config{Dir: filepath.Join(dir, "spine"), Log: log})
	if err != nil {
		return err
	}
	defer s.Close()
	journal, err := s.Meter(ctx)
	if err != nil {
		return err
	}
	l, err := meter.Open(ctx, meter.Config{Path: filepath.Join(dir, "ledger.db"), Journal: journal, Log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- l.Run(running) }()
	start := time.Now().Add(-23 * time.Hour)
	step := 23 * time.Hour / time.Duration(max(records, 1))
	for i := range records {
		r := meter.Record{
			RequestID: fmt.Sprint("r", i), Function: fmt.Sprint("f", i%consoleFunctions), Version: "$LATEST", Start: start.Add(time.Duration(i) * step),
			Duration: 9500 * time.Microsecond, Billed: 10 * time.Millisecond, MemoryMB: 128, PeakBytes: 30 << 20, Outcome: meter.OK, Instance: fmt.Sprint("i", i%97),
		}
		if i%(records/3+1) == 0 {
			r.Outcome = meter.Failed
		}
		if err := l.Add(r); err != nil {
			stop()
			return errors.Join(err, <-ended)
		}
	}
	stop()
	return <-ended
}
