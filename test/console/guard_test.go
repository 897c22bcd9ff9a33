package console

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/access"
	"github.com/mayfly-dev/mayfly/mayflytest"
)

// visitor is a browser without a window.
type visitor struct {
	*http.Client
	base string
}

func visit(t *testing.T, n *mayflytest.Node) *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{base: n.Endpoint + "/console/", Client: &http.Client{
		Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (v *visitor) do(t *testing.T, method, path string, form url.Values, header http.Header) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, v.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := v.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestConsoleIsClosedToStrangersAndToOtherSites(t *testing.T) {
	n := mayflytest.StartWith(t, mayflytest.Options{Driver: "process"})
	key := url.Values{"id": {n.AccessKey}, "secret": {n.SecretKey}}

	t.Run("pages need a sign-in", func(t *testing.T) {
		v := visit(t, n)
		for _, path := range []string{"", "functions", "functions/x/code", "live/now", "queues"} {
			if resp, body := v.do(t, "GET", path, nil, nil); resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/console/signin" {
				t.Errorf("%s: %d %s", path, resp.StatusCode, body)
			}
		}
	})
	t.Run("the right key signs in and out", func(t *testing.T) {
		v := visit(t, n)
		resp, _ := v.do(t, "POST", "signin", key, nil)
		c := resp.Cookies()
		if resp.StatusCode != http.StatusSeeOther || len(c) == 0 || !c[0].HttpOnly || c[0].SameSite != http.SameSiteStrictMode {
			t.Fatalf("sign-in: %d %v", resp.StatusCode, c)
		}
		if resp, _ := v.do(t, "GET", "", nil, nil); resp.StatusCode != http.StatusOK {
			t.Errorf("overview: %d", resp.StatusCode)
		}
		v.do(t, "POST", "signout", url.Values{}, nil)
		if resp, _ := v.do(t, "GET", "", nil, nil); resp.StatusCode != http.StatusSeeOther {
			t.Errorf("overview after sign-out: %d", resp.StatusCode)
		}
	})
	t.Run("a link works once", func(t *testing.T) {
		link := url.Values{"token": {access.NewLink(access.Key{ID: n.AccessKey, Secret: n.SecretKey}, time.Now())}}
		if resp, _ := visit(t, n).do(t, "POST", "link", link, nil); resp.StatusCode != http.StatusSeeOther {
			t.Errorf("first: %d", resp.StatusCode)
		}
		if resp, _ := visit(t, n).do(t, "POST", "link", link, nil); resp.StatusCode != http.StatusForbidden {
			t.Errorf("second: %d", resp.StatusCode)
		}
	})
	t.Run("another site can change nothing", func(t *testing.T) {
		v := visit(t, n)
		v.do(t, "POST", "signin", key, nil)
		for _, h := range []http.Header{{"Sec-Fetch-Site": {"cross-site"}}, {"Origin": {"http://evil.example"}}} {
			if resp, _ := v.do(t, "POST", "functions/new", url.Values{"name": {"x"}}, h); resp.StatusCode != http.StatusForbidden {
				t.Errorf("%v: %d", h, resp.StatusCode)
			}
		}
	})
	t.Run("every page forbids frames and foreign code", func(t *testing.T) {
		v := visit(t, n)
		v.do(t, "POST", "signin", key, nil)
		for _, path := range []string{"", "signin", "static/console.js", "nosuchpage"} {
			resp, _ := v.do(t, "GET", path, nil, nil)
			csp := resp.Header.Get("Content-Security-Policy")
			if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
				t.Errorf("%s: %q", path, csp)
			}
		}
	})
	t.Run("guessing keys is slowed down", func(t *testing.T) { // last: it locks this address out
		v := visit(t, n)
		wrong := url.Values{"id": {n.AccessKey}, "secret": {"guess"}}
		for i := range 5 {
			if resp, _ := v.do(t, "POST", "signin", wrong, nil); resp.StatusCode != http.StatusForbidden {
				t.Errorf("guess %d: %d", i, resp.StatusCode)
			}
		}
		if resp, _ := v.do(t, "POST", "signin", key, nil); resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
			t.Errorf("after five guesses even the right key: %d", resp.StatusCode)
		}
	})
}
