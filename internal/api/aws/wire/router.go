package wire

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// router finds the operation of a REST request by method, path, query and, for
// a few operations, headers.
type router struct {
	byMethod map[string][]*route // the more particular ones first
}

type route struct {
	op       *Operation
	segments []segment
	greedy   bool       // the last segment is a {Label+}
	constant url.Values // of the template's query
	required []string   // query parameters that the input requires
	headers  []string   // headers that the input requires
}

type segment struct {
	literal string // in decoded form; "" for a label
	label   string
}

func newRouter(ops []*Operation) *router {
	r := &router{byMethod: map[string][]*route{}}
	for _, op := range ops {
		r.byMethod[op.Method] = append(r.byMethod[op.Method], newRoute(op))
	}
	for _, routes := range r.byMethod {
		slices.SortStableFunc(routes, func(a, b *route) int {
			return cmp.Or(
				cmp.Compare(len(b.constant), len(a.constant)),
				cmp.Compare(a.labels(), b.labels()),
				cmp.Compare(len(b.required)+len(b.headers), len(a.required)+len(a.headers)))
		})
	}
	return r
}

func newRoute(op *Operation) *route {
	path, query, _ := strings.Cut(op.Path, "?")
	rt := &route{op: op, constant: url.Values{}}
	for pair := range strings.SplitSeq(query, "&") {
		if pair != "" {
			k, v, _ := strings.Cut(pair, "=")
			rt.constant.Add(k, v)
		}
	}
	for _, part := range splitPath(path) {
		if strings.HasPrefix(part, "{") {
			name := strings.Trim(part, "{}")
			rt.greedy = rt.greedy || strings.HasSuffix(name, "+")
			rt.segments = append(rt.segments, segment{label: strings.TrimSuffix(name, "+")})
			continue
		}
		rt.segments = append(rt.segments, segment{literal: part})
	}
	for i := range op.Handler.Input.Members {
		switch m := &op.Handler.Input.Members[i]; {
		case m.Required && m.Loc == InQuery:
			rt.required = append(rt.required, m.WireName())
		case m.Required && m.Loc == InHeader:
			rt.headers = append(rt.headers, m.WireName())
		}
	}
	return rt
}

// labels counts the labels, a greedy one as more than any number of others.
func (rt *route) labels() int {
	n := 0
	for _, s := range rt.segments {
		if s.label != "" {
			n++
		}
	}
	if rt.greedy {
		n += 1000
	}
	return n
}

// splitPath splits an escaped path at its slashes. Escaped ones don't split.
func splitPath(path string) []string {
	path = strings.TrimPrefix(path, "/")
	if path == "" {
		return nil
	}
	return strings.Split(path, "/")
}

// labels holds the values of a URI's labels, unescaped.
type labels map[string]string

// match returns the operation for a request, with its labels, or nil. The path
// is in its escaped form: "%2F" is a part of a label and not a separator. A
// slash at the end is forgiven, as some clients add one.
func (r *router) match(method, escapedPath string, query url.Values, h http.Header) (*Operation, labels) {
	parts := splitPath(escapedPath)
	trimmed := parts
	if n := len(parts); n > 0 && parts[n-1] == "" {
		trimmed = parts[:n-1]
	}
	// Some operations share path and method, and only the parameters and headers
	// that they require tell them apart. Where no operation has all of its own, it is
	// for the handler to say which one is missing.
	for _, strict := range []bool{true, false} {
		for _, rt := range r.byMethod[method] {
			if !rt.matchQuery(query) || strict && !rt.hasRequired(query, h) {
				continue
			}
			if l, ok := rt.matchPath(parts); ok {
				return rt.op, l
			}
			if l, ok := rt.matchPath(trimmed); ok {
				return rt.op, l
			}
		}
	}
	return nil, nil
}

func (rt *route) matchQuery(query url.Values) bool {
	for k, want := range rt.constant {
		have, ok := query[k]
		if !ok || want[0] != "" && !slices.Contains(have, want[0]) {
			return false
		}
	}
	return true
}

func (rt *route) hasRequired(query url.Values, h http.Header) bool {
	return !slices.ContainsFunc(rt.required, func(name string) bool { return !query.Has(name) }) &&
		!slices.ContainsFunc(rt.headers, func(name string) bool { return h.Get(name) == "" })
}

func (rt *route) matchPath(parts []string) (labels, bool) {
	n := len(rt.segments)
	if len(parts) < n || len(parts) > n && !rt.greedy {
		return nil, false
	}
	var found labels
	for i, s := range rt.segments {
		part := parts[i]
		if rt.greedy && i == n-1 {
			part = strings.Join(parts[i:], "/")
		}
		value, err := url.PathUnescape(part)
		if err != nil || s.label == "" && value != s.literal || s.label != "" && value == "" {
			return nil, false
		}
		if s.label != "" {
			if found == nil {
				found = labels{}
			}
			found[s.label] = value
		}
	}
	return found, true
}
