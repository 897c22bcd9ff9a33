package lambda

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/function"
)

// constraints collects what is wrong with a request, in the words of Lambda's
// own validator.
type constraints []string

func (c *constraints) add(member, value, words string) {
	*c = append(*c, fmt.Sprintf("Value '%s' at '%s' failed to satisfy constraint: %s", value, member, words))
}

func (c *constraints) null(member string) {
	*c = append(*c, fmt.Sprintf("Value null at '%s' failed to satisfy constraint: Member must not be null", member))
}

func (c *constraints) pattern(member, value, pattern string) {
	c.add(member, value, "Member must satisfy regular expression pattern: "+pattern)
}

func (c *constraints) longest(member, value string, limit int) {
	c.add(member, value, fmt.Sprintf("Member must have length less than or equal to %d", limit))
}

// oneOf adds a violation unless value is empty or one of allowed.
func (c *constraints) oneOf(member, value string, allowed ...string) {
	if value != "" && !slices.Contains(allowed, value) {
		c.add(member, value, "Member must satisfy enum value set: ["+strings.Join(allowed, ", ")+"]")
	}
}

// err returns the error for what was added, or nil.
func (c constraints) err() error {
	switch len(c) {
	case 0:
		return nil
	case 1:
		return wire.Errorf(codeValidation, "1 validation error detected: %s", c[0])
	default:
		return wire.Errorf(codeValidation, "%d validation errors detected: %s", len(c), strings.Join(c, "; "))
	}
}

// members are the names in Lambda's model of the fields that have rules.
var members = map[function.Field]string{
	function.FieldName:         "functionName",
	function.FieldRuntime:      "runtime",
	function.FieldHandler:      "handler",
	function.FieldMemory:       "memorySize",
	function.FieldTimeout:      "timeout",
	function.FieldTmp:          "ephemeralStorage.size",
	function.FieldEnv:          "environment.variables",
	function.FieldDescription:  "description",
	function.FieldArchitecture: "architectures",
	function.FieldTags:         "tags",
	function.FieldAlias:        "name",
	function.FieldReserved:     "reservedConcurrentExecutions",
	function.FieldProvisioned:  "provisionedConcurrentExecutions",
	function.FieldMinInstances: "functionScalingConfig.minExecutionEnvironments",
	function.FieldMaxInstances: "functionScalingConfig.maxExecutionEnvironments",
}

// broken words the rules of functions that a request breaks: what Lambda's
// validator finds together, else the first that the service behind it finds.
func broken(vs function.Violations) error {
	var c constraints
	var behind error
	for _, v := range vs {
		if err := brokenBehind(v); err != nil {
			if behind == nil {
				behind = err
			}
			continue
		}
		member := members[v.Field]
		switch v.Rule {
		case function.AtLeast:
			c.add(member, v.Value, "Member must have value greater than or equal to "+v.Limit)
		case function.AtMost:
			c.add(member, v.Value, "Member must have value less than or equal to "+v.Limit)
		case function.Longest:
			c.add(member, v.Value, "Member must have length less than or equal to "+v.Limit)
		case function.KeyPattern:
			c.add(member, v.Value, "Map keys must satisfy constraint: [Member must satisfy regular expression pattern: "+v.Limit+"]")
		default:
			c.pattern(member, v.Value, v.Limit)
		}
	}
	if len(c) > 0 {
		return c.err()
	}
	return behind
}

// brokenBehind words a rule that Lambda's validator doesn't know, or is nil.
func brokenBehind(v function.Violation) error {
	switch {
	case v.Field == function.FieldWeb:
		return invalid("The settings of a web server, which are the environment variables %s, %s, PORT and %s…, are not valid: %s.", envWebCommand, envWebConcurrency, adapterPrefix, v)
	case v.Rule == function.Required:
		return invalid("Runtime and Handler are mandatory parameters for functions created with deployment packages.")
	case v.Rule == function.TotalSize:
		return invalid("Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit. String measured: %s bytes", v.Value)
	case v.Rule == function.Count:
		return invalid("Number of tags exceeds resource tag limit.")
	case v.Field == function.FieldMemory && v.Rule == function.AtMost:
		return invalid("'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to %s", v.Limit)
	case v.Field == function.FieldArchitecture:
		return invalid("This node can't run %s: it is a machine of another architecture (%s).", architectureName(v.Value), architectureName(v.Limit))
	}
	return nil
}
