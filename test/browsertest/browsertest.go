// Package browsertest gives tests a real browser, headless Chromium, which they
// drive as a person would.
package browsertest

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is how long one test may use its browser.
const patience = 4 * time.Minute

// Tab is a browser's tab that notes what it complains about.
type Tab struct {
	context.Context

	mu       sync.Mutex
	errors   []string // guarded by mu
	requests []string // guarded by mu; URLs asked for
}

// Open starts a browser with an empty profile and opens a tab. Without Chromium
// the test is skipped.
func Open(t *testing.T) *Tab {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(profile(t)),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("no-first-run", true), chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost, EXCLUDE *.localhost"),
		chromedp.WSURLReadTimeout(time.Minute),
	)
	ctx, end := context.WithTimeout(context.Background(), patience)
	ctx, endBrowser := chromedp.NewExecAllocator(ctx, options...)
	ctx, endTab := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		endTab()
		endBrowser() // waits for the browser's end
		end()
	})
	tab := &Tab{Context: ctx}
	chromedp.ListenTarget(ctx, tab.note)
	if err := chromedp.Run(ctx, network.Enable(), runtime.Enable(), log.Enable()); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	return tab
}

// profile is a directory for a browser. testing's own TempDir fails a test whose
// directory is still written to: Chromium's children outlive it for a moment.
func profile(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "browsertest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for end := time.Now().Add(10 * time.Second); os.RemoveAll(dir) != nil && time.Now().Before(end); {
			time.Sleep(50 * time.Millisecond)
		}
	})
	return dir
}

// note keeps what the page asks for and complains about.
func (b *Tab) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	case *runtime.EventExceptionThrown:
		b.errors = append(b.errors, e.ExceptionDetails.Error())
	case *log.EventEntryAdded:
		// Sandboxes that start or end change this machine's network, and Chromium
		// then gives up what it is loading: no fault of the page.
		if e.Entry.Level == log.LevelError && !strings.Contains(e.Entry.Text, "net::ERR_NETWORK_CHANGED") {
			b.errors = append(b.errors, e.Entry.Text+" "+e.Entry.URL)
		}
	}
}

// Errors returns what was logged as an error since the last call: exceptions,
// failed requests, refusals of the content security policy.
func (b *Tab) Errors() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.errors
	b.errors = nil
	return list
}

// Requests returns the URLs that were asked for since the last call.
func (b *Tab) Requests() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.requests
	b.requests = nil
	return list
}

// Do runs actions and fails the test if one does.
func (b *Tab) Do(t *testing.T, actions ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(b, actions...); err != nil {
		t.Fatal(err)
	}
}

// Text returns the text of the first element that the selector names.
func (b *Tab) Text(t *testing.T, selector string) string {
	t.Helper()
	var s string
	b.Do(t, chromedp.Text(selector, &s, chromedp.ByQuery))
	return s
}
