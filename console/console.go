// Package console is Mayfly's web console: pages that a node serves itself, made
// on the server, from embedded assets, without a build step and without another
// host. It is a client of the node's public API and can do nothing that a program
// outside could not.
package console

import (
	"context"
	"embed"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"github.com/mayfly-dev/mayfly/internal/access"
	"github.com/mayfly-dev/mayfly/internal/client"
	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Prefix is the path below which the console is.
const Prefix = "/console/"

//go:embed static all:templates
var assets embed.FS

// Keys knows the node's access keys. *access.Keys is one.
type Keys interface {
	Secret(ctx context.Context, id string) (secret, principal string, err error)
	OpenLink(ctx context.Context, token string, now time.Time) (access.Key, error)
}

// Config is what a Console is made of. All fields are required.
type Config struct {
	Keys Keys
	// Client returns a client of the node's API that signs with the key.
	Client func(access.Key) *client.Client
	Log    *slog.Logger
}

// Console serves the console's pages. It is an http.Handler for the paths under
// Prefix, safe for concurrent use.
type Console struct {
	cfg      Config
	pages    map[string]page
	sessions *sessions
	handler  http.Handler
}

// New returns a Console. It fails if a template is broken.
func New(cfg Config) (*Console, error) {
	pages, err := parsePages()
	if err != nil {
		return nil, err
	}
	c := &Console{cfg: cfg, pages: pages, sessions: newSessions()}
	static, err := fs.Sub(assets, "static")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+Prefix+"static/", cached(http.StripPrefix(Prefix+"static/", http.FileServerFS(static))))
	mux.HandleFunc("GET "+Prefix+"signin", c.signInPage)
	mux.HandleFunc("POST "+Prefix+"signin", c.signIn)
	mux.HandleFunc("GET "+Prefix+"link", c.linkPage)
	mux.HandleFunc("POST "+Prefix+"link", c.openLink)
	mux.HandleFunc("POST "+Prefix+"theme", c.setTheme)
	for _, routes := range []map[string]action{
		c.overviewRoutes(), c.functionRoutes(), c.invocationRoutes(), c.logRoutes(), c.queueRoutes(),
		c.bucketRoutes(), c.scheduleRoutes(), c.httpRoutes(), c.costRoutes(), c.nodeRoutes(),
	} {
		for pattern, do := range routes {
			method, path := splitPattern(pattern)
			mux.Handle(method+" "+Prefix+path, c.signedIn(do))
		}
	}
	mux.Handle("POST "+Prefix+"signout", c.signedIn(c.signOut))
	mux.Handle(Prefix, c.signedIn(func(*call) error { return errs.Newf(errs.NotFound, "There is no such page.") }))
	c.handler = guarded(mux)
	return c, nil
}

func splitPattern(pattern string) (method, path string) {
	for i := range pattern {
		if pattern[i] == ' ' {
			return pattern[:i], pattern[i+1:]
		}
	}
	return http.MethodGet, pattern
}

// ServeHTTP implements http.Handler.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.handler.ServeHTTP(w, r) }

// call is one request of a person who has signed in.
type call struct {
	w       http.ResponseWriter
	r       *http.Request
	api     *client.Client
	session *session
	console *Console
}

func (c *call) ctx() context.Context { return c.r.Context() }

// action answers a call or returns an error that is shown.
type action func(*call) error

// signedIn runs do for those who have signed in and leads others to do so.
func (c *Console) signedIn(do action) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := c.sessions.of(r, time.Now())
		if s == nil {
			c.askToSignIn(w, r)
			return
		}
		k := &call{w: w, r: r, api: c.cfg.Client(s.key), session: s, console: c}
		if err := do(k); err != nil && r.Context().Err() == nil {
			c.showError(k, err)
		}
	})
}

// askToSignIn leads a browser to the sign-in page, also one that asked for a
// part of a page only.
func (c *Console) askToSignIn(w http.ResponseWriter, r *http.Request) {
	to := Prefix + "signin"
	if r.Header.Get("Hx-Request") != "" {
		w.Header().Set("Hx-Redirect", to)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if r.Method == http.MethodGet && r.URL.Path != Prefix {
		c.sessions.rememberPage(w, r)
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// showError shows what went wrong, in the page or in the part of it that asked.
func (c *Console) showError(k *call, err error) {
	status, message := http.StatusInternalServerError, "The console failed; the node's log has the reason."
	var p *client.Problem
	var e *errs.Error
	switch {
	case errors.As(err, &p):
		status, message = p.Status, p.Message
	case errors.As(err, &e):
		status, message = statusOf(e.Kind), e.Message
	default:
		c.cfg.Log.ErrorContext(k.ctx(), "a page of the console failed", "path", k.r.URL.Path, "err", err)
	}
	if k.r.Header.Get("Hx-Request") != "" {
		// The browser's part swaps answers of status 200 only.
		k.w.Header().Set("Content-Type", "text/html; charset=utf-8")
		c.part(k.w, "notice", notice{Bad: true, Text: message})
		return
	}
	k.w.WriteHeader(status)
	c.render(k.w, k.r, "error", view{Title: http.StatusText(status), Data: message})
}

func statusOf(kind errs.Kind) int {
	switch kind {
	case errs.NotFound:
		return http.StatusNotFound
	case errs.Invalid:
		return http.StatusBadRequest
	case errs.Denied:
		return http.StatusForbidden
	case errs.TooLarge:
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusInternalServerError
}

// show renders a whole page.
func (k *call) show(name, title string, data any) error {
	return k.console.render(k.w, k.r, name, view{Title: title, Section: section(k.r), Data: data})
}

// fragment renders a named part of a page, for a browser that swaps it in.
func (k *call) fragment(name string, data any) error { return k.console.part(k.w, name, data) }

// goTo leads the browser to another page after a change.
func (k *call) goTo(path string) error {
	if k.r.Header.Get("Hx-Request") != "" {
		k.w.Header().Set("Hx-Redirect", Prefix+path)
		return nil
	}
	http.Redirect(k.w, k.r, Prefix+path, http.StatusSeeOther)
	return nil
}
