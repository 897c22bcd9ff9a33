package endpoint

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Fallback is the key of the route that takes what no other does.
const Fallback = "$default"

// anyMethod stands for all methods in a key.
const anyMethod = "ANY"

// Table finds routes by method and path. The zero Table has none. It is filled
// with Add; after that its methods are safe for concurrent use.
type Table[T any] struct {
	root     branch[T]
	fallback *T
}

// branch is one place in the tree of path segments.
type branch[T any] struct {
	literal  map[string]*branch[T]
	variable *branch[T]
	exact    map[string]leaf[T] // by method: routes that end here
	greedy   map[string]leaf[T] // by method: routes whose last variable takes all that follows
}

type leaf[T any] struct {
	names []string // of the variables
	value T
}

var (
	methodForm   = regexp.MustCompile(`^(ANY|GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)$`)
	variableForm = regexp.MustCompile(`^\{[a-zA-Z0-9._:-]+\+?\}$`)
)

// Add adds a route under its key: Fallback, or a method (or ANY) and a path such
// as "GET /pets/{id}"; a last variable of the form {name+} takes the rest of the
// path. It fails with errs.Invalid for another form, and with errs.Conflict if a
// route of that method and shape is there.
func (t *Table[T]) Add(key string, v T) error {
	if key == Fallback {
		if t.fallback != nil {
			return errs.Newf(errs.Conflict, "there is a route %s already", key)
		}
		t.fallback = &v
		return nil
	}
	method, path, _ := strings.Cut(key, " ")
	if !methodForm.MatchString(method) || !strings.HasPrefix(path, "/") || strings.ContainsAny(path, " ?#") {
		return errs.Newf(errs.Invalid, "the route key %q is not of the form METHOD /path/{variable}, ANY /{rest+} or %s", key, Fallback)
	}
	b, names, greedy := &t.root, []string(nil), false
	segments := strings.Split(path[1:], "/")
	for i, s := range segments {
		switch {
		case !strings.ContainsAny(s, "{}"):
			b = b.literally(s)
			continue
		case !variableForm.MatchString(s):
			return errs.Newf(errs.Invalid, "the route key %q holds %q: a variable is a whole segment {name}, or {name+} at the end", key, s)
		}
		name := strings.Trim(s, "{}")
		if name, greedy = strings.CutSuffix(name, "+"); greedy && i != len(segments)-1 {
			return errs.Newf(errs.Invalid, "the route key %q holds {%s+} before its end", key, name)
		}
		names = append(names, name)
		if !greedy {
			b = b.variably()
		}
	}
	routes := &b.exact
	if greedy {
		routes = &b.greedy
	}
	if _, taken := (*routes)[method]; taken {
		return errs.Newf(errs.Conflict, "there is a route already that differs from %s in no more than variables' names", key)
	}
	if *routes == nil {
		*routes = map[string]leaf[T]{}
	}
	(*routes)[method] = leaf[T]{names, v}
	return nil
}

func (b *branch[T]) literally(segment string) *branch[T] {
	next := b.literal[segment]
	if next == nil {
		next = &branch[T]{}
		if b.literal == nil {
			b.literal = map[string]*branch[T]{}
		}
		b.literal[segment] = next
	}
	return next
}

func (b *branch[T]) variably() *branch[T] {
	if b.variable == nil {
		b.variable = &branch[T]{}
	}
	return b.variable
}

// Match returns the route for a method and an escaped path, with the unescaped
// values of its variables (nil if it has none). Of several, a route for the whole
// path goes before a greedy one, a literal segment before a variable, a method
// before ANY, and all before the fallback. An escaped slash does not separate.
func (t *Table[T]) Match(method, path string) (v T, variables map[string]string, ok bool) {
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, s := range segments {
		if strings.IndexByte(s, '%') >= 0 {
			if plain, err := url.PathUnescape(s); err == nil {
				segments[i] = plain
			}
		}
	}
	for _, greedy := range []bool{false, true} {
		values := make([]string, 0, 4)
		if l, values, found := t.root.match(method, segments, values, greedy); found {
			if len(l.names) > 0 {
				variables = make(map[string]string, len(l.names))
				for i, name := range l.names {
					variables[name] = values[i]
				}
			}
			return l.value, variables, true
		}
	}
	if t.fallback != nil {
		return *t.fallback, nil, true
	}
	return v, nil, false
}

func (b *branch[T]) match(method string, rest, values []string, greedy bool) (leaf[T], []string, bool) {
	if len(rest) == 0 {
		l, ok := pick(b.exact, method)
		return l, values, ok && !greedy
	}
	if next := b.literal[rest[0]]; next != nil {
		if l, v, ok := next.match(method, rest[1:], values, greedy); ok {
			return l, v, true
		}
	}
	if b.variable != nil && rest[0] != "" {
		if l, v, ok := b.variable.match(method, rest[1:], append(values, rest[0]), greedy); ok {
			return l, v, true
		}
	}
	if greedy && rest[0] != "" {
		if l, ok := pick(b.greedy, method); ok {
			return l, append(values, strings.Join(rest, "/")), true
		}
	}
	return leaf[T]{}, nil, false
}

func pick[T any](routes map[string]leaf[T], method string) (leaf[T], bool) {
	if l, ok := routes[method]; ok {
		return l, true
	}
	l, ok := routes[anyMethod]
	return l, ok
}
