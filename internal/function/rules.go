package function

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// The field's limits. An operator may lower some of them: see Limits.
const (
	MaxNameLength  = 64
	MinMemoryMB    = 128
	MaxMemoryMB    = 10240
	MinTimeout     = time.Second
	MaxTimeout     = 900 * time.Second
	MinTmpMB       = 512
	MaxTmpMB       = 10240
	MaxHandler     = 128  // characters
	MaxDescription = 256  // characters
	MaxEnvBytes    = 4096 // names and values together
	MaxTags        = 50
	MaxTagKey      = 128 // characters
	MaxTagValue    = 256 // characters
)

// Limits are what a node's operator allows. All sizes are in bytes unless the
// name says otherwise.
type Limits struct {
	MemoryMB      int      // of one function; at most MaxMemoryMB
	Package       int64    // a code package as uploaded
	Unpacked      int64    // a code package's files
	CodeStorage   int64    // all code packages together
	Concurrency   int      // calls that may run at one time
	Architectures []string // that this machine can run, its own first, GOARCH spelling
}

// DefaultLimits returns the field's usual limits for a machine of the given
// architecture (GOARCH spelling).
func DefaultLimits(goarch string) Limits {
	return Limits{
		MemoryMB:      MaxMemoryMB,
		Package:       50 << 20,
		Unpacked:      250 << 20,
		CodeStorage:   75 << 30,
		Concurrency:   1000,
		Architectures: []string{goarch},
	}
}

// Field names a setting that has a rule.
type Field string

// The fields.
const (
	FieldName         Field = "name"
	FieldRuntime      Field = "runtime"
	FieldHandler      Field = "handler"
	FieldMemory       Field = "memory"
	FieldTimeout      Field = "timeout"
	FieldTmp          Field = "ephemeral storage"
	FieldEnv          Field = "environment"
	FieldDescription  Field = "description"
	FieldArchitecture Field = "architecture"
	FieldTags         Field = "tags"
	FieldWeb          Field = "web server"
	FieldAlias        Field = "alias"
	FieldWeight       Field = "routing weight"
	FieldReserved     Field = "reserved calls"
	FieldProvisioned  Field = "provisioned instances"
	FieldMinInstances Field = "least instances"
	FieldMaxInstances Field = "most instances"
)

// Rule is a kind of constraint on a field.
type Rule uint8

// The rules. What Violation.Limit holds is said at each.
const (
	AtLeast    Rule = iota + 1 // the least value allowed
	AtMost                     // the greatest value allowed
	Longest                    // the most characters allowed
	Pattern                    // a regular expression that the whole value must match
	KeyPattern                 // the same for the keys of a map; Value is the key
	OneOf                      // the values allowed, joined by ", "
	TotalSize                  // the most bytes allowed for keys and values together
	Count                      // the most entries allowed
	Required                   // empty
)

// Violation is one rule that a value breaks.
type Violation struct {
	Field Field
	Value string // as the caller gave it
	Rule  Rule
	Limit string
}

// String says what is wrong and what is allowed.
func (v Violation) String() string {
	switch v.Rule {
	case AtLeast:
		return fmt.Sprintf("%s %s is less than %s", v.Field, v.Value, v.Limit)
	case AtMost:
		return fmt.Sprintf("%s %s is more than %s", v.Field, v.Value, v.Limit)
	case Longest:
		return fmt.Sprintf("%s is longer than %s characters", v.Field, v.Limit)
	case Pattern:
		return fmt.Sprintf("%s %q does not match %s", v.Field, v.Value, v.Limit)
	case KeyPattern:
		return fmt.Sprintf("%s: the name %q does not match %s", v.Field, v.Value, v.Limit)
	case OneOf:
		return fmt.Sprintf("%s %q is none of: %s", v.Field, v.Value, v.Limit)
	case TotalSize:
		return fmt.Sprintf("%s has more than %s bytes of names and values", v.Field, v.Limit)
	case Count:
		return fmt.Sprintf("%s has more than %s entries", v.Field, v.Limit)
	case Required:
		return fmt.Sprintf("%s is missing", v.Field)
	}
	return fmt.Sprintf("%s is invalid", v.Field)
}

// Violations are all the rules that a request breaks, in the order of the
// fields above. They are the cause (errors.As) of an errs.Invalid error.
type Violations []Violation

// Error joins the violations to one sentence.
func (vs Violations) Error() string {
	words := make([]string, len(vs))
	for i, v := range vs {
		words[i] = v.String()
	}
	return strings.Join(words, "; ")
}

func (vs *Violations) add(f Field, r Rule, value, limit string) {
	*vs = append(*vs, Violation{Field: f, Value: value, Rule: r, Limit: limit})
}

func (vs Violations) asError() error {
	if len(vs) == 0 {
		return nil
	}
	return errs.Newf(errs.Invalid, "%w", vs)
}

// The patterns of names. They are anchored when matched.
const (
	NamePattern    = `[a-zA-Z0-9-_]+`
	HandlerPattern = `[^\s]+`
	EnvPattern     = `[a-zA-Z]([a-zA-Z0-9_])+`
	TagPattern     = `([\p{L}\p{Z}\p{N}_.:/=+\-@]*)`
)

var (
	nameRE    = regexp.MustCompile(`^` + NamePattern + `$`)
	handlerRE = regexp.MustCompile(`^` + HandlerPattern + `$`)
	envRE     = regexp.MustCompile(`^` + EnvPattern + `$`)
	tagRE     = regexp.MustCompile(`^` + TagPattern + `$`)
)

// CheckName reports whether name can name a function.
func CheckName(name string) error {
	var vs Violations
	vs.name(name)
	return vs.asError()
}

func (vs *Violations) name(name string) {
	switch {
	case !nameRE.MatchString(name):
		vs.add(FieldName, Pattern, name, NamePattern)
	case len(name) > MaxNameLength:
		vs.add(FieldName, Longest, name, strconv.Itoa(MaxNameLength))
	}
}

// config adds all rules that c breaks, but for those of its runtime, which
// the catalog of runtimes judges.
func (vs *Violations) config(c *Config, l Limits) {
	switch {
	case c.Handler == "":
		vs.add(FieldHandler, Required, "", "")
	case !handlerRE.MatchString(c.Handler):
		vs.add(FieldHandler, Pattern, c.Handler, HandlerPattern)
	case utf8.RuneCountInString(c.Handler) > MaxHandler:
		vs.add(FieldHandler, Longest, c.Handler, strconv.Itoa(MaxHandler))
	}
	if c.Runtime == "" {
		vs.add(FieldRuntime, Required, "", "")
	}
	vs.within(FieldMemory, c.MemoryMB, MinMemoryMB, min(MaxMemoryMB, l.MemoryMB))
	if c.Timeout%time.Second != 0 {
		vs.add(FieldTimeout, Pattern, c.Timeout.String(), "whole seconds")
	} else {
		vs.within(FieldTimeout, int(c.Timeout/time.Second), int(MinTimeout/time.Second), int(MaxTimeout/time.Second))
	}
	vs.within(FieldTmp, c.TmpMB, MinTmpMB, MaxTmpMB)
	vs.env(c.Env)
	vs.description(c.Description)
	if !slices.Contains(l.Architectures, c.Architecture) {
		vs.add(FieldArchitecture, OneOf, c.Architecture, strings.Join(l.Architectures, ", "))
	}
	vs.web(c.Web)
}

func (vs *Violations) within(f Field, value, least, most int) {
	switch {
	case value < least:
		vs.add(f, AtLeast, strconv.Itoa(value), strconv.Itoa(least))
	case value > most:
		vs.add(f, AtMost, strconv.Itoa(value), strconv.Itoa(most))
	}
}

func (vs *Violations) env(env map[string]string) {
	size := 0
	var bad []string
	for k, v := range env {
		size += len(k) + len(v)
		if !envRE.MatchString(k) {
			bad = append(bad, k)
		}
	}
	slices.Sort(bad)
	for _, k := range bad {
		vs.add(FieldEnv, KeyPattern, k, EnvPattern)
	}
	if size > MaxEnvBytes {
		vs.add(FieldEnv, TotalSize, strconv.Itoa(size), strconv.Itoa(MaxEnvBytes))
	}
}

func (vs *Violations) tags(tags map[string]string) {
	if len(tags) > MaxTags {
		vs.add(FieldTags, Count, strconv.Itoa(len(tags)), strconv.Itoa(MaxTags))
	}
	keys := make([]string, 0, len(tags))
	for k := range tags {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		n := utf8.RuneCountInString(k)
		if n == 0 || n > MaxTagKey || !tagRE.MatchString(k) {
			vs.add(FieldTags, KeyPattern, k, TagPattern)
		}
		if v := tags[k]; utf8.RuneCountInString(v) > MaxTagValue {
			vs.add(FieldTags, Longest, v, strconv.Itoa(MaxTagValue))
		} else if !tagRE.MatchString(v) {
			vs.add(FieldTags, Pattern, v, TagPattern)
		}
	}
}
