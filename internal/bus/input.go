package bus

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

var (
	variable = regexp.MustCompile(`<([A-Za-z0-9_.\-]+)>`)
	targetID = regexp.MustCompile(`^[.\-_A-Za-z0-9]{1,64}$`)
)

// maxPaths bounds the variables of a template.
const maxPaths = 100

// check returns errs.Invalid unless the target can be used.
func (t *Target) check() error {
	shapes := 0
	for _, s := range []string{t.Input, t.InputPath, t.Template} {
		if s != "" {
			shapes++
		}
	}
	switch {
	case !targetID.MatchString(t.ID):
		return errs.Newf(errs.Invalid, "%q is not the id of a target: use up to 64 letters, digits, '.', '-' and '_'", t.ID)
	case shapes > 1:
		return errs.Newf(errs.Invalid, "Only one of Input, InputPath, or InputTransformer must be provided for target %s.", t.ID)
	case t.Input != "" && !json.Valid([]byte(t.Input)):
		return errs.Newf(errs.Invalid, "JSON syntax error in input for target %s.", t.ID)
	case len(t.Paths) > maxPaths:
		return errs.Newf(errs.Invalid, "InputPathsMap of target %s has more than %d entries.", t.ID, maxPaths)
	case t.InputPath != "":
		if _, err := readPath(t.InputPath); err != nil {
			return err
		}
	}
	for _, path := range t.Paths {
		if _, err := readPath(path); err != nil {
			return err
		}
	}
	return nil
}

// body returns what the target gets of an event. variables are those that each
// template has.
func (t *Target) body(document []byte, variables func() map[string]json.RawMessage) []byte {
	switch {
	case t.Input != "":
		return []byte(t.Input)
	case t.InputPath != "":
		if v := at(document, t.InputPath); v != nil {
			return v
		}
		return []byte("null")
	case t.Template != "":
		vars := variables()
		for name, path := range t.Paths {
			vars[name] = at(document, path)
		}
		return fill(t.Template, vars)
	}
	return document
}

// fill puts variables into a template: as JSON, and within a string as text. What
// comes out and is no JSON is a text as a whole.
func fill(template string, vars map[string]json.RawMessage) []byte {
	var out bytes.Buffer
	inString, last := false, 0
	for _, m := range variable.FindAllStringSubmatchIndex(template, -1) {
		before := template[last:m[0]]
		inString = quoted(before, inString)
		out.WriteString(before)
		last = m[1]
		name := template[m[2]:m[3]]
		v, known := vars[name]
		switch {
		case !known:
			out.WriteString(template[m[0]:m[1]])
		case inString:
			out.WriteString(inText(v))
		case v == nil:
			out.WriteString("null")
		default:
			out.Write(v)
		}
	}
	out.WriteString(template[last:])
	if json.Valid(out.Bytes()) {
		return out.Bytes()
	}
	b, err := json.Marshal(out.String())
	if err != nil {
		panic("bus: a string always marshals: " + err.Error())
	}
	return b
}

// quoted reports whether s ends within a JSON string, if it begins within one or not.
func quoted(s string, within bool) bool {
	for i := 0; i < len(s); i++ {
		switch {
		case within && s[i] == '\\':
			i++
		case s[i] == '"':
			within = !within
		}
	}
	return within
}

// inText writes a value for the inside of a JSON string.
func inText(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) == nil {
		return string(v[1 : len(v)-1]) // escaped as it is
	}
	b, err := json.Marshal(string(v))
	if v == nil || err != nil {
		return ""
	}
	return string(b[1 : len(b)-1])
}

// step is one step of a path: a member's name or an element's number.
type step struct {
	name string
	n    int // -1 for a name
}

var stepForm = regexp.MustCompile(`^(?:\.([^.\[\]'"\s]+)|\[([0-9]{1,6})\]|\['([^']*)'\]|\["([^"]*)"\])`)

// readPath reads a path such as $.detail.items[0].id.
func readPath(path string) (steps []step, err error) {
	rest, ok := strings.CutPrefix(path, "$")
	for ok && rest != "" {
		m := stepForm.FindStringSubmatch(rest)
		if m == nil {
			ok = false
			break
		}
		rest = rest[len(m[0]):]
		if m[2] != "" {
			n, err := strconv.Atoi(m[2])
			if err != nil {
				return nil, err
			}
			steps = append(steps, step{n: n})
			continue
		}
		steps = append(steps, step{name: m[1] + m[3] + m[4], n: -1})
	}
	if !ok {
		return nil, errs.Newf(errs.Invalid, "%q is not a path such as $.detail.items[0].id", path)
	}
	return steps, nil
}

// at returns the part of a document at a path, nil if there is none.
func at(document []byte, path string) json.RawMessage {
	steps, err := readPath(path)
	if err != nil {
		return nil
	}
	v := json.RawMessage(document)
	for _, s := range steps {
		if s.n >= 0 {
			var list []json.RawMessage
			if json.Unmarshal(v, &list) != nil || s.n >= len(list) {
				return nil
			}
			v = list[s.n]
			continue
		}
		var fields map[string]json.RawMessage
		if json.Unmarshal(v, &fields) != nil || fields[s.name] == nil {
			return nil
		}
		v = fields[s.name]
	}
	return v
}
