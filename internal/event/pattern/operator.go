package pattern

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
)

// compileLeaf reads the list of what a field may be.
func compileLeaf(path string, list []any) (*leaf, error) {
	if len(list) == 0 {
		return nil, fmt.Errorf("%s is an empty list: name at least one value", at(path))
	}
	l := &leaf{}
	for _, v := range list {
		switch v := v.(type) {
		case map[string]any:
			if err := l.operator(path, v); err != nil {
				return nil, err
			}
		case []any:
			return nil, fmt.Errorf("%s has a list within its list: write the values in one list", at(path))
		default:
			l.tests = append(l.tests, exactly(v))
		}
	}
	return l, nil
}

// exactly allows one value. Numbers are compared as they are spelled: 300 is not 3.0e2.
func exactly(want any) test { return func(v any) bool { return v == want } }

// operator adds what an operator's object allows.
func (l *leaf) operator(path string, o map[string]any) error {
	name, arg, err := single(path, o)
	if err != nil {
		return err
	}
	if name == "exists" {
		wanted, ok := arg.(bool)
		if !ok {
			return fmt.Errorf("%s: exists takes true or false, not %s", at(path), spell(arg))
		}
		if wanted {
			l.tests = append(l.tests, func(any) bool { return true })
		} else {
			l.absent = true
		}
		return nil
	}
	compile, ok := operators[name]
	if !ok {
		return fmt.Errorf("%s: there is no operator %q", at(path), name)
	}
	t, err := compile(arg)
	if err != nil {
		return fmt.Errorf("%s: %s %w", at(path), name, err)
	}
	l.tests = append(l.tests, t)
	return nil
}

// single returns the one member of an operator's object.
func single(path string, o map[string]any) (name string, arg any, err error) {
	if len(o) != 1 {
		return "", nil, fmt.Errorf("%s: an operator is an object with one member, not %d", at(path), len(o))
	}
	for name, arg = range o {
	}
	return name, arg, nil
}

// operators are those that look at one value. Their errors follow the name.
var operators = map[string]func(arg any) (test, error){
	"prefix":             affix(strings.HasPrefix),
	"suffix":             affix(strings.HasSuffix),
	"equals-ignore-case": onText(equalFold),
	"wildcard":           onText(wildcard),
	"numeric":            numeric,
	"cidr":               cidr,
	"anything-but":       anythingBut,
}

// onText makes an operator that takes a string and looks at strings.
func onText(compile func(arg string) (func(string) bool, error)) func(any) (test, error) {
	return func(arg any) (test, error) {
		s, ok := arg.(string)
		if !ok {
			return nil, fmt.Errorf("takes a string, not %s", spell(arg))
		}
		is, err := compile(s)
		if err != nil {
			return nil, err
		}
		return func(v any) bool {
			text, ok := v.(string)
			return ok && is(text)
		}, nil
	}
}

// affix makes prefix or suffix, which take a string or {"equals-ignore-case": string}.
func affix(has func(s, part string) bool) func(any) (test, error) {
	exact := onText(func(part string) (func(string) bool, error) {
		return func(s string) bool { return has(s, part) }, nil
	})
	folded := onText(func(part string) (func(string) bool, error) {
		part = strings.ToLower(part)
		return func(s string) bool { return has(strings.ToLower(s), part) }, nil
	})
	return func(arg any) (test, error) {
		if o, ok := arg.(map[string]any); ok {
			inner, ok := o["equals-ignore-case"]
			if !ok || len(o) != 1 {
				return nil, fmt.Errorf("takes a string or {\"equals-ignore-case\": …}, not %s", spell(arg))
			}
			return folded(inner)
		}
		return exact(arg)
	}
}

func equalFold(want string) (func(string) bool, error) {
	return func(s string) bool { return strings.EqualFold(s, want) }, nil
}

// anythingBut takes a value, a list of values, or one operator on texts with one
// or more of its arguments, and allows what these don't.
func anythingBut(arg any) (test, error) {
	compile := func(v any) (test, error) {
		switch v := v.(type) {
		case string:
			return exactly(v), nil
		case json.Number:
			return sameNumber(v)
		}
		return nil, fmt.Errorf("takes strings, numbers or one operator, not %s", spell(v))
	}
	if o, ok := arg.(map[string]any); ok {
		var name string
		if len(o) == 1 {
			for name, arg = range o {
			}
		}
		switch name {
		case "prefix", "suffix", "equals-ignore-case", "wildcard":
			compile = butOperators[name]
		default:
			return nil, fmt.Errorf("takes prefix, suffix, equals-ignore-case or wildcard, not %s", spell(o))
		}
	}
	list, ok := arg.([]any)
	if !ok {
		list = []any{arg}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("has an empty list: name at least one value")
	}
	tests := make([]test, len(list))
	for i, v := range list {
		var err error
		if tests[i], err = compile(v); err != nil {
			return nil, err
		}
	}
	return func(v any) bool {
		for _, t := range tests {
			if t(v) {
				return false
			}
		}
		return true
	}, nil
}

// butOperators are the operators within anything-but.
var butOperators = map[string]func(arg any) (test, error){
	"prefix":             affix(strings.HasPrefix),
	"suffix":             affix(strings.HasSuffix),
	"equals-ignore-case": onText(equalFold),
	"wildcard":           onText(wildcard),
}

// cidr takes an address block and allows addresses in it.
func cidr(arg any) (test, error) {
	s, ok := arg.(string)
	if !ok {
		return nil, fmt.Errorf("takes a string such as \"10.0.0.0/24\", not %s", spell(arg))
	}
	block, err := netip.ParsePrefix(s)
	if err != nil {
		return nil, fmt.Errorf("takes an address block such as \"10.0.0.0/24\", not %q", s)
	}
	return func(v any) bool {
		text, ok := v.(string)
		if !ok {
			return false
		}
		a, err := netip.ParseAddr(text)
		return err == nil && block.Contains(a)
	}, nil
}
