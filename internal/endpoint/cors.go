package endpoint

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// CORS says which pages of other origins may use an endpoint, in the terms of the
// Fetch standard. The zero CORS allows none. A "*" in a list allows any.
type CORS struct {
	Origins     []string      `json:"origins,omitempty"` // one "*" may stand for a part, as in https://*.example.com
	Methods     []string      `json:"methods,omitempty"`
	Headers     []string      `json:"headers,omitempty"` // of requests
	Expose      []string      `json:"expose,omitempty"`  // headers of answers that the page may read
	Credentials bool          `json:"credentials,omitempty"`
	MaxAge      time.Duration `json:"maxAge,omitempty"` // how long a browser may keep a preflight's answer; 0 leaves it to it
}

// IsPreflight reports whether a browser asks by r what it may send.
func IsPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

// Preflight sets the headers of the answer to a preflight. Without them the
// browser refuses, which is how what is not allowed is told.
func (c *CORS) Preflight(h http.Header, r *http.Request) {
	h.Add("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
	if !c.allowOrigin(h, r.Header.Get("Origin")) {
		return
	}
	// A browser does not read "*" as any where credentials are sent, so what it
	// asked for is what it is told.
	if method := r.Header.Get("Access-Control-Request-Method"); listed(c.Methods, method) {
		set(h, "Access-Control-Allow-Methods", spelled(c.Methods, method))
	}
	asked := r.Header.Get("Access-Control-Request-Headers")
	set(h, "Access-Control-Allow-Headers", spelled(c.Headers, asked))
	if c.MaxAge > 0 {
		h.Set("Access-Control-Max-Age", strconv.Itoa(int(c.MaxAge/time.Second)))
	}
}

// Apply sets the headers of an answer that is no preflight's, in place of those
// that the endpoint's own code may have set.
func (c *CORS) Apply(h http.Header, r *http.Request) {
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") {
			h.Del(name)
		}
	}
	origin := r.Header.Get("Origin")
	if !slices.Contains(c.Origins, "*") || c.Credentials {
		h.Add("Vary", "Origin")
	}
	if origin == "" || !c.allowOrigin(h, origin) {
		return
	}
	set(h, "Access-Control-Expose-Headers", strings.Join(c.Expose, ","))
}

// allowOrigin sets the headers that allow the origin, if it is allowed.
func (c *CORS) allowOrigin(h http.Header, origin string) bool {
	i := slices.IndexFunc(c.Origins, func(pattern string) bool { return matches(pattern, origin) })
	if i < 0 {
		return false
	}
	if slices.Contains(c.Origins, "*") && !c.Credentials {
		origin = "*"
	}
	h.Set("Access-Control-Allow-Origin", origin)
	if c.Credentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	return true
}

// matches reports whether an origin is what a pattern says. Schemes and hosts
// don't differ in case.
func matches(pattern, origin string) bool {
	pattern, origin = strings.ToLower(pattern), strings.ToLower(origin)
	before, after, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == origin
	}
	return len(origin) >= len(before)+len(after) && strings.HasPrefix(origin, before) && strings.HasSuffix(origin, after)
}

func listed(list []string, method string) bool {
	return slices.Contains(list, "*") || slices.ContainsFunc(list, func(m string) bool { return strings.EqualFold(m, method) })
}

// spelled returns the list as a header's value, with what was asked for in the
// place of a "*".
func spelled(list []string, asked string) string {
	if slices.Contains(list, "*") {
		return asked
	}
	return strings.Join(list, ",")
}

func set(h http.Header, name, value string) {
	if value != "" {
		h.Set(name, value)
	}
}
