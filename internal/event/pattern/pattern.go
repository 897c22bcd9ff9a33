// Package pattern matches events against event patterns: JSON objects that name
// fields of an event and what their values may be. The language is that of
// EventBridge's rules, which filters of queues use too.
package pattern

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// or is the field whose value is a list of patterns of which one must match.
const or = "$or"

// Pattern is a compiled pattern. It doesn't change: it is safe for concurrent use.
type Pattern struct{ root *object }

// Document is an event that was read once, to be matched against many patterns.
// It is safe for concurrent use.
type Document struct{ root any }

// Compile reads a pattern. The errs.Invalid error names the field that is wrong.
func Compile(text []byte) (*Pattern, error) {
	v, err := read(text)
	if err != nil {
		return nil, errs.Newf(errs.Invalid, "the pattern is not JSON: %v", err)
	}
	fields, ok := v.(map[string]any)
	if !ok {
		return nil, errs.Newf(errs.Invalid, "the pattern is not an object")
	}
	root, err := compileObject("", fields)
	if err != nil {
		return nil, errs.Newf(errs.Invalid, "%w", err)
	}
	return &Pattern{root: root}, nil
}

// Read reads an event for Pattern.MatchDocument.
func Read(event []byte) (Document, error) {
	v, err := read(event)
	if err != nil {
		return Document{}, errs.Newf(errs.Invalid, "the event is not JSON: %v", err)
	}
	return Document{root: v}, nil
}

// Match reports whether the event, a JSON object, fits the pattern. What is no
// JSON fits none.
func (p *Pattern) Match(event []byte) bool {
	d, err := Read(event)
	return err == nil && p.MatchDocument(d)
}

// MatchDocument is Match for an event that was read before.
func (p *Pattern) MatchDocument(d Document) bool {
	fields, ok := d.root.(map[string]any)
	return ok && p.root.matchFields(fields)
}

// read decodes one JSON value. Numbers keep their spelling.
func read(b []byte) (v any, err error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more after the value")
	}
	return v, nil
}

// matcher is a pattern for the value of one field.
type matcher interface {
	// match gets the value, and whether the field is there at all.
	match(v any, there bool) bool
}

// object wants each of its fields to match.
type object struct {
	fields []field
	either [][]*object // of each list, one must match
}

type field struct {
	name string
	matcher
}

func compileObject(path string, fields map[string]any) (*object, error) {
	if len(fields) == 0 {
		return nil, fmt.Errorf("%s is empty: name at least one field", at(path))
	}
	o := &object{}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		where := join(path, name)
		if name == or {
			alternatives, err := compileOr(path, fields[name])
			if err != nil {
				return nil, err
			}
			o.either = append(o.either, alternatives)
			continue
		}
		var m matcher
		var err error
		switch v := fields[name].(type) {
		case map[string]any:
			m, err = compileObject(where, v)
		case []any:
			m, err = compileLeaf(where, v)
		default:
			err = fmt.Errorf("%s must be an object or a list of what is wanted: [%s]", at(where), spell(v))
		}
		if err != nil {
			return nil, err
		}
		o.fields = append(o.fields, field{name, m})
	}
	return o, nil
}

func compileOr(path string, v any) ([]*object, error) {
	list, ok := v.([]any)
	if !ok || len(list) < 2 {
		return nil, fmt.Errorf("%s must be a list of at least two patterns", at(join(path, or)))
	}
	alternatives := make([]*object, len(list))
	for i, v := range list {
		fields, ok := v.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s must hold patterns only, not %s", at(join(path, or)), spell(v))
		}
		var err error
		if alternatives[i], err = compileObject(path, fields); err != nil {
			return nil, err
		}
	}
	return alternatives, nil
}

// match wants an object. Of a list of objects one must match as a whole. Anything
// else is an object without fields: that fits where fields must be missing.
func (o *object) match(v any, _ bool) bool {
	switch v := v.(type) {
	case map[string]any:
		return o.matchFields(v)
	case []any:
		some := false
		for _, e := range v {
			switch e.(type) {
			case map[string]any, []any:
				some = true
				if o.match(e, true) {
					return true
				}
			}
		}
		if some {
			return false
		}
	}
	return o.matchFields(nil)
}

func (o *object) matchFields(fields map[string]any) bool {
	for _, f := range o.fields {
		v, there := fields[f.name]
		if !f.match(v, there) {
			return false
		}
	}
	for _, alternatives := range o.either {
		if !slices.ContainsFunc(alternatives, func(a *object) bool { return a.matchFields(fields) }) {
			return false
		}
	}
	return true
}

// leaf wants a value that one of its tests allows; of a list, one value.
type leaf struct {
	tests  []test
	absent bool // the field may be missing
}

// test reports whether a single value is allowed: a string, json.Number, bool or nil.
type test func(v any) bool

func (l *leaf) match(v any, there bool) bool {
	if !there {
		return l.absent
	}
	values := 0
	return l.any(v, &values) || values == 0 && l.absent
}

// any reports whether a single value in v is allowed, and counts them.
func (l *leaf) any(v any, values *int) bool {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if l.any(e, values) {
				return true
			}
		}
		return false
	case map[string]any:
		return false // not a leaf
	default:
		*values++
		return slices.ContainsFunc(l.tests, func(t test) bool { return t(v) })
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// at names a place in a pattern.
func at(path string) string {
	if path == "" {
		return "the pattern"
	}
	return fmt.Sprintf("%q", path)
}

// spell writes a value as JSON, shortened.
func spell(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	const most = 60
	if len(b) > most {
		return string(b[:most]) + "…"
	}
	return string(b)
}
