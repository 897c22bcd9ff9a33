// Package arn builds and parses Amazon Resource Names of functions, and the
// shorter names that Lambda's API takes in their place.
package arn

import (
	"regexp"
	"strings"
)

// Partition is the part of the cloud that this node speaks for.
const Partition = "aws"

// Patterns of Lambda's API model, for its error messages. Parse accepts what
// FunctionPattern does.
const (
	FunctionPattern  = `(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?`
	QualifierPattern = `\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+`
	RolePattern      = `arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+`
	RegionPattern    = `(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}`
)

var (
	prefixRE    = regexp.MustCompile(`^arn:(aws[a-zA-Z-]*)?:lambda:`)
	functionRE  = regexp.MustCompile(`^` + FunctionPattern + `$`)
	qualifierRE = regexp.MustCompile(`^(` + QualifierPattern + `)$`)
	roleRE      = regexp.MustCompile(`^` + RolePattern + `$`)
	regionRE    = regexp.MustCompile(`^` + RegionPattern + `$`)
	accountRE   = regexp.MustCompile(`^\d{12}$`)
)

// Function names a function, or a version or alias of it.
type Function struct {
	Region    string // "" if the name that was parsed had none
	Account   string // 12 digits, "" as above
	Name      string
	Qualifier string // version or alias, "" for the function itself
}

// String returns the full ARN.
func (f Function) String() string {
	s := "arn:" + Partition + ":lambda:" + f.Region + ":" + f.Account + ":function:" + f.Name
	if f.Qualifier != "" {
		s += ":" + f.Qualifier
	}
	return s
}

// Parse reads each form in which Lambda's API names a function: a full ARN,
// ACCOUNT:function:NAME, function:NAME or NAME, each with or without
// :QUALIFIER. ok is false for anything else.
func Parse(s string) (f Function, ok bool) {
	if plain(s) { // what nearly all calls say
		return Function{Name: s}, true
	}
	if !functionRE.MatchString(s) {
		return Function{}, false
	}
	parts := strings.Split(s[len(prefixRE.FindString(s)):], ":")
	// The name is the last part but for a qualifier. Leading parts that could
	// be names themselves are taken for the prefixes that they look like, as
	// the pattern does, as long as a name remains.
	take := func(is func(string) bool) string {
		if len(parts) > 1 && is(parts[0]) {
			p := parts[0]
			parts = parts[1:]
			return p
		}
		return ""
	}
	f.Region = take(regionRE.MatchString)
	f.Account = take(accountRE.MatchString)
	take(func(p string) bool { return p == "function" })
	switch len(parts) {
	case 1:
		f.Name = parts[0]
	case 2:
		f.Name, f.Qualifier = parts[0], parts[1]
	default:
		return Function{}, false
	}
	return f, true
}

// plain reports whether s is a name and nothing else.
func plain(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return s != ""
}

// ValidQualifier reports whether q has the form of a version's or alias's
// name.
func ValidQualifier(q string) bool { return len(q) <= 128 && qualifierRE.MatchString(q) }

// ValidRole reports whether s has the form of a role's ARN.
func ValidRole(s string) bool { return roleRE.MatchString(s) }
