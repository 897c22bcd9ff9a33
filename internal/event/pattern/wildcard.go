package pattern

import (
	"fmt"
	"strings"
)

// wildcard compiles a text in which * stands for any characters, \* for a star
// and \\ for a backslash. Two stars in a row are refused, as EventBridge does.
func wildcard(text string) (func(string) bool, error) {
	var parts []string // what must come in this order, with anything between
	var part strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			i++
			if i == len(text) || text[i] != '*' && text[i] != '\\' {
				return nil, fmt.Errorf("has a backslash at byte %d that escapes neither * nor \\", i-1)
			}
			part.WriteByte(text[i])
		case c == '*':
			if i > 0 && part.Len() == 0 && len(parts) > 0 {
				return nil, fmt.Errorf("has two * in a row at byte %d: one is enough", i)
			}
			parts = append(parts, part.String())
			part.Reset()
		default:
			part.WriteByte(c)
		}
	}
	parts = append(parts, part.String())
	return func(s string) bool { return inOrder(s, parts) }, nil
}

// inOrder reports whether s begins with the first part, ends with the last, and
// has the others between, in order. The first place that fits is the best one,
// so it never goes back.
func inOrder(s string, parts []string) bool {
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 {
		return s == first
	}
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return true
}
