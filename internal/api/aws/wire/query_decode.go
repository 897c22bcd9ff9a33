package wire

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// param is a node in the tree that the dotted names of query parameters make.
type param struct {
	value string
	kids  map[string]*param
}

// maxParams bounds the parameters of a query request.
const maxParams = 1 << 16

// parseParams builds the tree of "A.member.1.B=v" parameters.
func parseParams(form url.Values) (*param, error) {
	if len(form) > maxParams {
		return nil, serialization("the request has more than %d parameters", maxParams)
	}
	root := &param{}
	for name, values := range form {
		parts := strings.Split(name, ".")
		if len(parts) > maxDepth {
			return nil, serialization("the parameter %.80q has too many levels", name)
		}
		p := root
		for _, part := range parts {
			kid := p.kids[part]
			if kid == nil {
				kid = &param{}
				if p.kids == nil {
					p.kids = map[string]*param{}
				}
				p.kids[part] = kid
			}
			p = kid
		}
		p.value = values[len(values)-1]
	}
	return root, nil
}

// queryReader fills a structure from parameters.
type queryReader struct {
	p     *param
	shape *Shape
	err   error
}

func decodeQuery(p *param, s Struct) error {
	r := &queryReader{p: p, shape: s.Shape()}
	s.Walk(r)
	return r.err
}

// Member implements Walker.
func (r *queryReader) Member(i int, place any) {
	if r.err != nil {
		return
	}
	m := &r.shape.Members[i]
	name := m.queryName()
	// The elements of a flattened list may have a name, which stands in for the
	// list's unless the place where the list stands gives one.
	if m.Flat && m.Type == TypeList && m.Wire+m.Query == "" {
		name = orElse(m.Elem.Wire, name)
	}
	if p := r.p.kids[name]; p != nil {
		r.err = queryValue(p, m, place)
	}
}

func queryValue(p *param, m *Member, place any) error {
	switch m.Type {
	case TypeStructure:
		return decodeQuery(p, structAt(place))
	case TypeList:
		return queryList(p, m, place.(List))
	case TypeMap:
		return queryMap(p, m, place.(Map))
	default:
		return setText(m, place, p.value)
	}
}

func queryList(p *param, m *Member, l List) error {
	l.Make()
	if !m.Flat {
		if p = p.kids[m.Elem.part("member")]; p == nil {
			return nil // an empty list is "Name="
		}
	}
	items, err := numbered(p)
	if err != nil {
		return err
	}
	for _, item := range items {
		if err := queryValue(item, m.Elem, l.Append()); err != nil {
			return err
		}
	}
	return nil
}

func queryMap(p *param, m *Member, mp Map) error {
	mp.Make()
	if !m.Flat {
		if p = p.kids["entry"]; p == nil {
			return nil
		}
	}
	entries, err := numbered(p)
	if err != nil {
		return err
	}
	for _, e := range entries {
		key, value := e.kids[m.Key.part("key")], e.kids[m.Elem.part("value")]
		if key == nil {
			return serialization("an entry of %s has no key", m.WireName())
		}
		if value == nil {
			value = &param{}
		}
		if err := mp.Put(key.value, func(place any) error { return queryValue(value, m.Elem, place) }); err != nil {
			return err
		}
	}
	return nil
}

// numbered returns the children called 1, 2, 3… in the order of the numbers.
// Gaps are closed.
func numbered(p *param) ([]*param, error) {
	var numbers []int
	for name := range p.kids {
		n, err := strconv.Atoi(name)
		if err != nil || n < 0 || strconv.Itoa(n) != name {
			return nil, serialization("the index %.40q of a list is not a number", name)
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	out := make([]*param, 0, len(numbers))
	for _, n := range numbers {
		out = append(out, p.kids[strconv.Itoa(n)])
	}
	return out, nil
}
