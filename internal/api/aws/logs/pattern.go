package logs

import (
	"regexp"
	"strings"
)

// Pattern is a filter pattern: what FilterLogEvents and live tails search for. It
// is safe for concurrent use.
type Pattern struct {
	json *node // of a pattern in braces, else nil
	must []matcher
	any  []matcher // at least one, if there are any
	not  []matcher
}

type matcher func(text string) bool

// ParsePattern reads a filter pattern: nothing, which matches every event; words
// and "quoted phrases" that must all be there, with ? before those of which one
// must be, with - before those that must not; %regular expressions%; or
// { $.member = "value" && … } on events that are JSON. Patterns for
// space-delimited events, in brackets, are not supported.
func ParsePattern(s string) (*Pattern, error) {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "{") {
		n, err := parseSelector(s)
		if err != nil {
			return nil, err
		}
		return &Pattern{json: n}, nil
	}
	if strings.HasPrefix(s, "[") {
		return nil, invalid("Invalid filter pattern: patterns for space-delimited log events are not supported; use words or a JSON selector")
	}
	p := &Pattern{}
	for s != "" {
		to := &p.must
		switch {
		case s[0] == '?' && len(s) > 1:
			to, s = &p.any, s[1:]
		case s[0] == '-' && len(s) > 1:
			to, s = &p.not, s[1:]
		}
		m, rest, err := parseTerm(s)
		if err != nil {
			return nil, err
		}
		*to = append(*to, m)
		s = strings.TrimLeft(rest, " \t")
	}
	if len(p.must) > 0 {
		p.any = nil // as the field does: ?terms beside others are ignored
	}
	return p, nil
}

// parseTerm takes a word, a quoted phrase or a regular expression off the front
// of s, which is not empty.
func parseTerm(s string) (m matcher, rest string, err error) {
	switch s[0] {
	case '"':
		text, rest, err := cutQuoted(s)
		return func(e string) bool { return strings.Contains(e, text) }, rest, err
	case '%':
		end := strings.IndexByte(s[1:], '%')
		if end < 0 {
			break
		}
		re, err := regexp.Compile(s[1 : end+1])
		if err != nil {
			return nil, "", invalid("Invalid filter pattern: %v", err)
		}
		return re.MatchString, s[end+2:], nil
	}
	end := strings.IndexAny(s, " \t")
	if end < 0 {
		end = len(s)
	}
	word := s[:end]
	return func(e string) bool { return strings.Contains(e, word) }, s[end:], nil
}

// cutQuoted takes a string in double quotes off the front of s.
func cutQuoted(s string) (text, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == '"':
			return b.String(), s[i+1:], nil
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", invalid("Invalid filter pattern: a quotation mark is not closed")
}

// Match reports whether an event is one that the pattern is for.
func (p *Pattern) Match(text string) bool {
	if p.json != nil {
		return p.json.match(text)
	}
	for _, m := range p.must {
		if !m(text) {
			return false
		}
	}
	for _, m := range p.not {
		if m(text) {
			return false
		}
	}
	for _, m := range p.any {
		if m(text) {
			return true
		}
	}
	return len(p.any) == 0
}
