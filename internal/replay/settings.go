package replay

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Mode says which calls of a function are kept.
type Mode string

// The modes. A function without settings keeps none.
const (
	Failed  Mode = "failed"
	Sampled Mode = "sampled"
	All     Mode = "all"
)

// Settings say what is kept of a function's calls.
type Settings struct {
	Mode Mode    `json:"mode"`
	Rate float64 `json:"rate,omitempty"` // Sampled: the share of calls that is kept, over 0 and up to 1
	// Redact lists what is replaced by "[redacted]" before anything is written:
	// a name hides the members of that name at any depth, a path such as
	// "user.card.number" one member, where "*" stands for any one name or index.
	Redact []string `json:"redact,omitempty"`

	names map[string]bool
	paths [][]string
}

// hidden stands where a rule took something out.
const hidden = "[redacted]"

func (s *Settings) check() error {
	switch s.Mode {
	case Failed, All:
		if s.Rate != 0 {
			return errs.Newf(errs.Invalid, "a rate goes with the mode %q only", Sampled)
		}
	case Sampled:
		if s.Rate <= 0 || s.Rate > 1 {
			return errs.Newf(errs.Invalid, "the rate %v is not over 0 and up to 1", s.Rate)
		}
	default:
		return errs.Newf(errs.Invalid, "%q is no mode: use failed, sampled or all", s.Mode)
	}
	for _, rule := range s.Redact {
		for part := range strings.SplitSeq(rule, ".") {
			if part == "" {
				return errs.Newf(errs.Invalid, "the rule %q has an empty part: write a name such as password, or a path such as user.card.number", rule)
			}
		}
	}
	return nil
}

// compile prepares the rules.
func (s *Settings) compile() *Settings {
	s.names, s.paths = map[string]bool{}, nil
	for _, rule := range s.Redact {
		if parts := strings.Split(rule, "."); len(parts) > 1 {
			s.paths = append(s.paths, parts)
		} else {
			s.names[rule] = true
		}
	}
	return s
}

// Set gives a function its settings, from its next call on; nil ends recording.
func (s *Store) Set(function string, set *Settings) error {
	if set == nil {
		s.settings.Delete(function)
		return s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(settingsBucket).Delete([]byte(function)) })
	}
	if err := set.check(); err != nil {
		return err
	}
	b, err := json.Marshal(set)
	if err != nil {
		return err
	}
	err = s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(settingsBucket).Put([]byte(function), b) })
	if err == nil {
		s.settings.Store(function, set.compile())
	}
	return err
}

// Settings returns a function's settings, or nil. They must not be changed.
func (s *Store) Settings(function string) *Settings {
	v, ok := s.settings.Load(function)
	if !ok {
		return nil
	}
	return v.(*Settings)
}

// redact returns a body as JSON without what the rules hide. A body that is no
// JSON is hidden whole if there are rules: nobody can tell what is in it.
func (s *Settings) redact(body []byte) (out json.RawMessage, hid bool) {
	if len(s.Redact) == 0 {
		return asJSON(body), false
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber() // numbers stay as they were written
	var v any
	if d.Decode(&v) != nil || d.More() {
		if len(body) == 0 {
			return asJSON(body), false
		}
		return asJSON([]byte(`"` + hidden + `"`)), true
	}
	v, hid = s.hide(v, s.paths)
	if !hid {
		return asJSON(body), false
	}
	b, err := json.Marshal(v)
	if err != nil { // what was decoded encodes
		return asJSON([]byte(`"` + hidden + `"`)), true
	}
	return b, true
}

// hide replaces what the names hide anywhere in v, and what paths hide from here.
func (s *Settings) hide(v any, paths [][]string) (any, bool) {
	hid := false
	step := func(name string, child any) any {
		below, whole := follow(paths, name)
		if whole || s.names[name] {
			hid = true
			return hidden
		}
		child, h := s.hide(child, below)
		hid = hid || h
		return child
	}
	switch v := v.(type) {
	case map[string]any:
		for name, child := range v {
			v[name] = step(name, child)
		}
	case []any:
		for i, child := range v {
			v[i] = step(index(i), child)
		}
	case string:
		// JSON in a text, as bodies of HTTP events and messages of queues are.
		if t := strings.TrimSpace(v); strings.HasPrefix(t, "{") || strings.HasPrefix(t, "[") {
			var inner any
			if json.Unmarshal([]byte(t), &inner) == nil {
				if inner, h := s.hide(inner, paths); h {
					if b, err := json.Marshal(inner); err == nil {
						return string(b), true
					}
				}
			}
		}
	}
	return v, hid
}

// follow returns the rests of the paths that begin with name, and whether one
// ends there.
func follow(paths [][]string, name string) (below [][]string, whole bool) {
	for _, p := range paths {
		if len(p) == 0 || p[0] != "*" && p[0] != name {
			continue
		}
		if len(p) == 1 {
			return nil, true
		}
		below = append(below, p[1:])
	}
	return below, false
}

func index(i int) string { return strconv.Itoa(i) }

// asJSON returns a body that is JSON as it is, and others as a JSON string.
func asJSON(body []byte) json.RawMessage {
	if json.Valid(body) {
		return body
	}
	b, err := json.Marshal(string(body))
	if err != nil { // a string encodes
		return json.RawMessage("null")
	}
	return b
}

// Same reports whether two answers are the same JSON, however they are written.
// Error documents are the same if type and message are: their traces and request
// ids differ each time.
func Same(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(essence(x), essence(y))
}

// essence is what of an answer is compared.
func essence(v any) any {
	doc, ok := v.(map[string]any)
	if !ok || doc["errorMessage"] == nil {
		return v
	}
	return [2]any{doc["errorType"], doc["errorMessage"]}
}
