// Package endpoint holds what any HTTP endpoint of functions has, whatever cloud's
// words its events use: its address, its routes, its rules for pages of other
// origins, and the documents that describe it.
package endpoint

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Address is how a request reached an endpoint.
type Address struct {
	Name   string // of the endpoint: its id, or a domain name of its own
	Prefix string // what the path begins with that is not the endpoint's; "" if it was reached by its host
}

// Handler serves the requests of all endpoints of a kind. It is safe for
// concurrent use.
type Handler interface {
	ServeEndpoint(w http.ResponseWriter, r *http.Request, a Address)
}

// Path returns the path of a request as the client sent it, escaped and without
// the address's prefix; it begins with a slash. Paths that other programs on the
// way may read in another way are errs.Invalid: with dot segments, control
// characters or broken escapes.
func (a Address) Path(r *http.Request) (string, error) {
	path, ok := strings.CutPrefix(r.URL.EscapedPath(), a.Prefix)
	if !ok {
		return "", errs.Newf(errs.Invalid, "the path must begin with %s, without escapes", a.Prefix)
	}
	if path == "" {
		path = "/"
	}
	if path[0] != '/' {
		return "", errs.Newf(errs.Invalid, "the path must begin with a slash")
	}
	for segment := range strings.SplitSeq(path, "/") {
		plain, err := url.PathUnescape(segment)
		if err != nil {
			return "", errs.Newf(errs.Invalid, "the path holds a percent sign that does not begin an escape")
		}
		for part := range strings.FieldsFuncSeq(plain, isSlash) { // other programs may divide at escaped ones, too
			if part == "." || part == ".." {
				return "", errs.Newf(errs.Invalid, "the path holds a segment %q; send it resolved", part)
			}
		}
		if strings.IndexFunc(plain, func(c rune) bool { return c < ' ' || c == 0x7f }) >= 0 {
			return "", errs.Newf(errs.Invalid, "the path holds a control character")
		}
	}
	return path, nil
}

func isSlash(c rune) bool { return c == '/' || c == '\\' }
