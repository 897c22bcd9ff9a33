package logs

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
)

// node is a condition on a JSON event: a comparison, or others joined.
type node struct {
	or, and []*node
	path    []any // names and indexes
	test    func(v any, there bool) bool
}

// maxDepth bounds how deep parentheses go.
const maxDepth = 32

// parseSelector reads { CONDITION }.
func parseSelector(s string) (*node, error) {
	p := &selectorParser{s: s[1:]}
	n, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if !p.take("}") || strings.TrimSpace(p.s) != "" {
		return nil, p.bad()
	}
	return n, nil
}

type selectorParser struct{ s string }

func (p *selectorParser) bad() error {
	if strings.TrimSpace(p.s) == "" {
		return invalid("Invalid filter pattern: it ends too early")
	}
	return invalid("Invalid filter pattern: it can't be read at %q", strings.TrimSpace(p.s))
}

// take takes a token off the front, if it is there.
func (p *selectorParser) take(token string) bool {
	rest, ok := strings.CutPrefix(strings.TrimLeft(p.s, " \t\n"), token)
	if ok {
		p.s = rest
	}
	return ok
}

func (p *selectorParser) or(depth int) (*node, error) {
	n := &node{}
	for {
		c, err := p.and(depth)
		if err != nil {
			return nil, err
		}
		n.or = append(n.or, c)
		if !p.take("||") {
			return n, nil
		}
	}
}

func (p *selectorParser) and(depth int) (*node, error) {
	n := &node{}
	for {
		c, err := p.condition(depth)
		if err != nil {
			return nil, err
		}
		n.and = append(n.and, c)
		if !p.take("&&") {
			return n, nil
		}
	}
}

func (p *selectorParser) condition(depth int) (*node, error) {
	if p.take("(") {
		if depth == maxDepth {
			return nil, p.bad()
		}
		n, err := p.or(depth + 1)
		if err == nil && !p.take(")") {
			err = p.bad()
		}
		return n, err
	}
	if !p.take("$") {
		return nil, p.bad()
	}
	n := &node{}
	if err := p.readPath(n); err != nil {
		return nil, err
	}
	switch {
	case p.take("NOT EXISTS"):
		n.test = func(_ any, there bool) bool { return !there }
	case p.take("IS NULL"):
		n.test = func(v any, there bool) bool { return there && v == nil }
	case p.take("IS TRUE"):
		n.test = func(v any, _ bool) bool { return v == true }
	case p.take("IS FALSE"):
		n.test = func(v any, _ bool) bool { return v == false }
	default:
		return n, p.comparison(n)
	}
	return n, nil
}

// readPath reads .name, ["name"] and [0], again and again.
func (p *selectorParser) readPath(n *node) error {
	for {
		switch {
		case strings.HasPrefix(p.s, "."):
			end := 1
			for end < len(p.s) && !strings.ContainsRune(" \t.[]=!<>(){}&|", rune(p.s[end])) {
				end++
			}
			if end == 1 {
				return p.bad()
			}
			n.path = append(n.path, p.s[1:end])
			p.s = p.s[end:]
		case strings.HasPrefix(p.s, "["):
			inner, rest, ok := strings.Cut(p.s[1:], "]")
			if !ok {
				return p.bad()
			}
			if i, err := strconv.Atoi(inner); err == nil && i >= 0 {
				n.path = append(n.path, i)
			} else {
				n.path = append(n.path, strings.Trim(inner, `"'`))
			}
			p.s = rest
		default:
			return nil
		}
	}
}

func (p *selectorParser) comparison(n *node) error {
	op := ""
	for _, o := range []string{"!=", "<=", ">=", "=", "<", ">"} {
		if p.take(o) {
			op = o
			break
		}
	}
	if op == "" {
		return p.bad()
	}
	p.s = strings.TrimLeft(p.s, " \t\n")
	var want string
	quoted := strings.HasPrefix(p.s, `"`)
	if quoted {
		var err error
		if want, p.s, err = cutQuoted(p.s); err != nil {
			return err
		}
	} else {
		end := strings.IndexAny(p.s, " \t\n)}&|")
		if end <= 0 {
			return p.bad()
		}
		want, p.s = p.s[:end], p.s[end:]
	}
	number, err := strconv.ParseFloat(want, 64)
	numeric := err == nil && !quoted
	if op != "=" && op != "!=" {
		if !numeric {
			return p.bad()
		}
		n.test = func(v any, _ bool) bool {
			f, ok := v.(float64)
			return ok && ordered(op, f, number)
		}
		return nil
	}
	same := sameText(want)
	n.test = func(v any, there bool) bool {
		equal := false
		switch v := v.(type) {
		case float64:
			equal = numeric && v == number || !numeric && same(strconv.FormatFloat(v, 'f', -1, 64))
		case string:
			equal = same(v)
		case bool:
			equal = same(strconv.FormatBool(v))
		}
		return there && equal == (op == "=")
	}
	return nil
}

func ordered(op string, a, b float64) bool {
	switch op {
	case "<":
		return a < b
	case "<=":
		return a <= b
	case ">":
		return a > b
	}
	return a >= b
}

// sameText compares with a text in which * stands for anything, or with a
// %regular expression%.
func sameText(want string) func(string) bool {
	if len(want) > 2 && strings.HasPrefix(want, "%") && strings.HasSuffix(want, "%") {
		if re, err := regexp.Compile(want[1 : len(want)-1]); err == nil {
			return re.MatchString
		}
	}
	if !strings.Contains(want, "*") {
		return func(v string) bool { return v == want }
	}
	parts := strings.Split(want, "*")
	return func(v string) bool {
		rest, ok := strings.CutPrefix(v, parts[0])
		for _, part := range parts[1 : len(parts)-1] {
			_, after, found := strings.Cut(rest, part)
			ok = ok && found
			rest = after
		}
		return ok && strings.HasSuffix(rest, parts[len(parts)-1])
	}
}

// match reports whether an event is a JSON object that meets the condition.
func (n *node) match(text string) bool {
	if !strings.HasPrefix(strings.TrimLeft(text, " \t"), "{") {
		return false
	}
	var doc any
	if json.Unmarshal([]byte(text), &doc) != nil {
		return false
	}
	return n.holds(doc)
}

func (n *node) holds(doc any) bool {
	switch {
	case n.or != nil:
		for _, c := range n.or {
			if c.holds(doc) {
				return true
			}
		}
		return false
	case n.and != nil:
		for _, c := range n.and {
			if !c.holds(doc) {
				return false
			}
		}
		return true
	}
	v, there := doc, true
	for _, step := range n.path {
		switch step := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v, there = m[step]
		case int:
			l, _ := v.([]any)
			if there = step < len(l); there {
				v = l[step]
			} else {
				v = nil
			}
		}
		if !there {
			break
		}
	}
	return n.test(v, there)
}
