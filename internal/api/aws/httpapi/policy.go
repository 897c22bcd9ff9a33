package httpapi

import (
	"encoding/json"
	"strings"
)

// policy is what an authorizer answers about a caller, in IAM's language but for
// conditions, which make a statement one that does not allow.
type policy struct {
	Statement statements `json:"Statement"`
}

type statements []statement

type statement struct {
	Effect    string          `json:"Effect"`
	Action    oneOrMany       `json:"Action"`
	Resource  oneOrMany       `json:"Resource"`
	Condition json.RawMessage `json:"Condition"`
}

// oneOrMany is a string or a list of them.
type oneOrMany []string

// UnmarshalJSON implements json.Unmarshaler.
func (o *oneOrMany) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*o = oneOrMany{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(o))
}

// UnmarshalJSON implements json.Unmarshaler: a policy of one statement may leave
// out the list.
func (s *statements) UnmarshalJSON(b []byte) error {
	var one statement
	if len(b) > 0 && b[0] == '{' {
		err := json.Unmarshal(b, &one)
		*s = statements{one}
		return err
	}
	return json.Unmarshal(b, (*[]statement)(s))
}

// allows reports whether the policy allows an action on a resource. What it
// denies, it does not allow.
func (p *policy) allows(action, resource string) bool {
	allowed := false
	for _, s := range p.Statement {
		if !s.Action.matches(action, true) || !s.Resource.matches(resource, false) {
			continue
		}
		switch {
		case strings.EqualFold(s.Effect, "Deny"):
			return false
		case strings.EqualFold(s.Effect, "Allow") && len(s.Condition) == 0:
			allowed = true
		}
	}
	return allowed
}

func (o oneOrMany) matches(value string, fold bool) bool {
	for _, pattern := range o {
		if fold {
			pattern, value = strings.ToLower(pattern), strings.ToLower(value)
		}
		if glob(pattern, value) {
			return true
		}
	}
	return false
}

// glob reports whether s is what a pattern says, in which * stands for any
// characters, slashes too, and ? for one. It takes no more than len(pattern) times
// len(s) steps.
func glob(pattern, s string) bool {
	star, mark := -1, 0
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
