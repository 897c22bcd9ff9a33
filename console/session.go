package console

import (
	"crypto/rand"
	"crypto/subtle"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-dev/mayfly/internal/access"
)

const (
	sessionCookie = "mayfly_session"
	themeCookie   = "mayfly_theme"
	pageCookie    = "mayfly_page"

	sessionLife = 12 * time.Hour // from the last request on
	maxSessions = 1000

	tries     = 5                // wrong keys from one address before it must wait
	tryWindow = 30 * time.Second // how long it must wait then, and how long a wrong key counts
)

// session is a browser that has signed in.
type session struct {
	key  access.Key
	last time.Time // guarded by sessions.mu
}

// sessions keeps who has signed in, in memory: a restart of the node signs all
// out.
type sessions struct {
	mu     sync.Mutex
	byID   map[string]*session    // guarded by mu
	used   map[string]time.Time   // guarded by mu; links that were opened -> when
	failed map[string][]time.Time // guarded by mu; address -> wrong keys of the last tryWindow
}

func newSessions() *sessions {
	return &sessions{byID: map[string]*session{}, used: map[string]time.Time{}, failed: map[string][]time.Time{}}
}

// of returns the session of a request, or nil.
func (s *sessions) of(r *http.Request, now time.Time) *session {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.byID[cookie.Value]
	if found == nil || now.Sub(found.last) > sessionLife {
		delete(s.byID, cookie.Value)
		return nil
	}
	found.last = now
	return found
}

// begin makes a session and sets its cookie. Of too many, the one that was idle
// longest ends.
func (s *sessions) begin(w http.ResponseWriter, r *http.Request, key access.Key, now time.Time) {
	id := rand.Text()
	s.mu.Lock()
	if len(s.byID) >= maxSessions {
		oldest := ""
		for id, o := range s.byID {
			if oldest == "" || o.last.Before(s.byID[oldest].last) {
				oldest = id
			}
		}
		delete(s.byID, oldest)
	}
	s.byID[id] = &session{key: key, last: now}
	s.mu.Unlock()
	http.SetCookie(w, cookie(r, sessionCookie, id, 0))
}

func (s *sessions) end(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(sessionCookie); err == nil {
		s.mu.Lock()
		delete(s.byID, c.Value)
		s.mu.Unlock()
	}
	http.SetCookie(w, cookie(r, sessionCookie, "", -1))
}

// cookie is one that only this console's own pages send back.
func cookie(r *http.Request, name, value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: name, Value: value, Path: Prefix, MaxAge: maxAge,
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode,
	}
}

// rememberPage keeps which page was asked for, for after the sign-in.
func (s *sessions) rememberPage(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, cookie(r, pageCookie, strings.TrimPrefix(r.URL.Path, Prefix), 600))
}

// admit reports whether an address may try a key now.
func (s *sessions) admit(addr string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	recent := s.failed[addr][:0]
	for _, t := range s.failed[addr] {
		if now.Sub(t) < tryWindow {
			recent = append(recent, t)
		}
	}
	if len(recent) == 0 {
		delete(s.failed, addr)
		return true
	}
	s.failed[addr] = recent
	return len(recent) < tries
}

// fail notes that an address tried a wrong key.
func (s *sessions) fail(addr string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.failed) > 10*maxSessions { // many addresses at once: forget those of the past
		for a, list := range s.failed {
			if now.Sub(list[len(list)-1]) > tryWindow {
				delete(s.failed, a)
			}
		}
	}
	s.failed[addr] = append(s.failed[addr], now)
}

// take reports whether a link is opened for the first time.
func (s *sessions) take(token string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t, at := range s.used {
		if now.Sub(at) > 2*access.LinkLife {
			delete(s.used, t)
		}
	}
	if _, used := s.used[token]; used {
		return false
	}
	s.used[token] = now
	return true
}

func (c *Console) signInPage(w http.ResponseWriter, r *http.Request) {
	if c.sessions.of(r, time.Now()) != nil {
		http.Redirect(w, r, Prefix, http.StatusSeeOther)
		return
	}
	c.show(w, r, "signin", view{Title: "Sign in"})
}

// signIn takes an access key of the node.
func (c *Console) signIn(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	addr := remote(r)
	if !c.sessions.admit(addr, now) {
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(http.StatusTooManyRequests)
		c.show(w, r, "signin", view{Title: "Sign in", Data: "Too many wrong keys. Wait half a minute, then try again."})
		return
	}
	id, given := strings.TrimSpace(r.FormValue("id")), strings.TrimSpace(r.FormValue("secret"))
	secret, principal, err := c.cfg.Keys.Secret(r.Context(), id)
	if err != nil || principal != access.Owner || subtle.ConstantTimeCompare([]byte(secret), []byte(given)) != 1 {
		c.sessions.fail(addr, now)
		w.WriteHeader(http.StatusForbidden)
		c.show(w, r, "signin", view{Title: "Sign in", Data: "This is not a key of the node. `mayfly env` prints the right one on the node's machine; `mayfly console` signs in by itself."})
		return
	}
	c.enter(w, r, access.Key{ID: id, Secret: secret}, now)
}

// linkPage asks for a click before a link is opened: what merely looks at links,
// such as a chat's preview, must not use them up.
func (c *Console) linkPage(w http.ResponseWriter, r *http.Request) {
	c.show(w, r, "link", view{Title: "Sign in", Data: r.URL.Query().Get("token")})
}

func (c *Console) openLink(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	token := r.FormValue("token")
	key, err := c.cfg.Keys.OpenLink(r.Context(), token, now)
	if err != nil || !c.sessions.take(token, now) {
		w.WriteHeader(http.StatusForbidden)
		c.show(w, r, "signin", view{Title: "Sign in", Data: "This link is used up or too old. `mayfly console` makes a new one."})
		return
	}
	c.enter(w, r, key, now)
}

// enter begins a session and leads to the page that was asked for.
func (c *Console) enter(w http.ResponseWriter, r *http.Request, key access.Key, now time.Time) {
	c.sessions.begin(w, r, key, now)
	to := Prefix
	if p, err := r.Cookie(pageCookie); err == nil && !strings.ContainsAny(p.Value, `:\`) && !strings.HasPrefix(p.Value, "/") {
		to += p.Value
		http.SetCookie(w, cookie(r, pageCookie, "", -1))
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

func (c *Console) signOut(k *call) error {
	c.sessions.end(k.w, k.r)
	return k.goTo("signin")
}

// themes are the choices of colours; "" follows the system.
var themes = map[string]bool{"": true, "light": true, "dark": true}

// setTheme keeps a choice of colours for the browser.
func (c *Console) setTheme(w http.ResponseWriter, r *http.Request) {
	theme := r.FormValue("theme")
	if !themes[theme] {
		c.cfg.Log.DebugContext(r.Context(), "unknown theme", "theme", theme)
		theme = ""
	}
	http.SetCookie(w, cookie(r, themeCookie, theme, 365*24*3600))
	w.Header().Set("Hx-Refresh", "true")
	w.WriteHeader(http.StatusNoContent)
}

// show renders a page for somebody who has not signed in.
func (c *Console) show(w http.ResponseWriter, r *http.Request, name string, v view) {
	if err := c.render(w, r, name, v); err != nil {
		c.cfg.Log.DebugContext(r.Context(), "a page was not delivered", "page", name, "err", err)
	}
}

// remote is the address that a request comes from, without its port.
func remote(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
