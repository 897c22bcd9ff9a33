package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf8"
)

// maxDepth bounds how deep the values of a message may nest.
const maxDepth = 128

// decodeJSON decodes a JSON object into the members of s that belong to the
// body. Unknown members are skipped, nulls mean absent. The input is not kept.
func decodeJSON(b []byte, s Struct) error {
	r := &jsonReader{b: b}
	r.space()
	if err := r.structure(s, true); err != nil {
		return err
	}
	return r.end()
}

// decodeJSONValue decodes one JSON value of type m into a place.
func decodeJSONValue(b []byte, m *Member, place any) error {
	r := &jsonReader{b: b}
	r.space()
	if err := r.value(m, place); err != nil {
		return err
	}
	return r.end()
}

// jsonReader reads a JSON text once, from front to back.
type jsonReader struct {
	b     []byte
	i     int
	depth int
}

func (r *jsonReader) syntax(what string) *Error {
	return serialization("the request body is not valid JSON: %s at byte %d", what, r.i)
}

func (r *jsonReader) space() {
	for r.i < len(r.b) {
		switch r.b[r.i] {
		case ' ', '\t', '\r', '\n':
			r.i++
		default:
			return
		}
	}
}

// peek returns the next byte, or 0 at the end.
func (r *jsonReader) peek() byte {
	if r.i < len(r.b) {
		return r.b[r.i]
	}
	return 0
}

func (r *jsonReader) end() error {
	r.space()
	if r.i != len(r.b) {
		return r.syntax("something follows the value")
	}
	return nil
}

func (r *jsonReader) literal(word string) error {
	if !bytes.HasPrefix(r.b[r.i:], []byte(word)) {
		return r.syntax("unexpected character")
	}
	r.i += len(word)
	return nil
}

// object reads an object, calling f with each key; f reads the value.
func (r *jsonReader) object(f func(key []byte) error) error {
	return r.sequence('}', func() error {
		if r.peek() != '"' {
			return r.syntax("a key is missing")
		}
		key, err := r.str()
		if err != nil {
			return err
		}
		r.space()
		if r.peek() != ':' {
			return r.syntax("a colon is missing")
		}
		r.i++
		r.space()
		return f(key)
	})
}

// sequence reads an object or array up to its closing byte; the opening one is next.
func (r *jsonReader) sequence(closing byte, element func() error) error {
	if r.depth++; r.depth > maxDepth {
		return r.syntax("too many levels")
	}
	r.i++
	r.space()
	if r.peek() == closing {
		r.i++
		r.depth--
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		r.space()
		switch r.peek() {
		case ',':
			r.i++
			r.space()
		case closing:
			r.i++
			r.depth--
			return nil
		default:
			return r.syntax("a comma or closing bracket is missing")
		}
	}
}

// str reads a string. The result is a part of the input if it has no escapes.
func (r *jsonReader) str() ([]byte, error) {
	start := r.i + 1
	for i := start; i < len(r.b); i++ {
		switch c := r.b[i]; {
		case c == '"':
			r.i = i + 1
			return r.b[start:i], nil
		case c == '\\':
			return r.escaped(start, i)
		case c < ' ':
			r.i = i
			return nil, r.syntax("a control character in a string")
		}
	}
	r.i = len(r.b)
	return nil, r.syntax("a string does not end")
}

// escaped reads the rest of a string whose first escape is at i.
func (r *jsonReader) escaped(start, i int) ([]byte, error) {
	for ; i < len(r.b); i++ {
		switch r.b[i] {
		case '\\':
			i++
		case '"':
			var s string
			if err := json.Unmarshal(r.b[start-1:i+1], &s); err != nil {
				return nil, r.syntax("a bad escape in a string")
			}
			r.i = i + 1
			return []byte(s), nil
		}
	}
	r.i = len(r.b)
	return nil, r.syntax("a string does not end")
}

// number reads a number's text.
func (r *jsonReader) number() (string, error) {
	start := r.i
	for r.i < len(r.b) {
		switch c := r.b[r.i]; {
		case c >= '0' && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
			r.i++
			continue
		}
		break
	}
	if !json.Valid(r.b[start:r.i]) {
		if r.i == len(r.b) {
			return "", r.syntax("it ends too early")
		}
		r.i = start
		return "", r.syntax("unexpected character")
	}
	return string(r.b[start:r.i]), nil
}

// skip reads any value and returns its text.
func (r *jsonReader) skip() ([]byte, error) {
	start := r.i
	var err error
	switch r.peek() {
	case '{':
		err = r.object(func([]byte) error { _, err := r.skip(); return err })
	case '[':
		err = r.sequence(']', func() error { _, err := r.skip(); return err })
	case '"':
		_, err = r.str()
	case 't':
		err = r.literal("true")
	case 'f':
		err = r.literal("false")
	case 'n':
		err = r.literal("null")
	default:
		_, err = r.number()
	}
	return r.b[start:r.i], err
}

// places collects where the members of a structure are.
type places []any

// Member implements Walker.
func (p places) Member(i int, place any) { p[i] = place }

// structure reads an object into s; top is set for the message's body, where
// members may be bound elsewhere.
func (r *jsonReader) structure(s Struct, top bool) error {
	if err := r.expect('{'); err != nil {
		return err
	}
	shape := s.Shape()
	where := make(places, len(shape.Members))
	s.Walk(where)
	set := 0
	err := r.object(func(key []byte) error {
		i := shape.find(key, top)
		if i < 0 || r.peek() == 'n' {
			_, err := r.skip()
			return err
		}
		set++
		return r.value(&shape.Members[i], where[i])
	})
	if err == nil && shape.Union && set > 1 {
		return serialization("a union of %s must have one member", shape.Name)
	}
	return err
}

// find returns the index of the body member called name, or -1. Below the top
// of a message locations have no meaning.
func (s *Shape) find(name []byte, top bool) int {
	for i := range s.Members {
		m := &s.Members[i]
		if (!top || m.Loc == InBody) && m.WireName() == string(name) {
			return i
		}
	}
	return -1
}

// expect reports an error in AWS's words unless the next value begins with c.
func (r *jsonReader) expect(c byte) error {
	switch have := r.peek(); {
	case have == c:
		return nil
	case have == '[':
		return serialization("Start of list found where not expected")
	case have == '{':
		return serialization("Start of structure or map found where not expected.")
	case have == 0:
		return r.syntax("it ends too early")
	case c == '[':
		return serialization("Expected list or null")
	case c == '{':
		return serialization("Expected structure or map or null")
	default:
		return r.mismatch(map[byte]string{'"': "a String", '0': "an Integer", 't': "a Boolean"}[c])
	}
}

// mismatch returns the error for a value of the wrong type, after it was
// found to be JSON.
func (r *jsonReader) mismatch(want string) error {
	have := "NUMBER_VALUE"
	switch r.peek() {
	case '"':
		have = "STRING_VALUE"
	case 't':
		have = "TRUE_VALUE"
	case 'f':
		have = "FALSE_VALUE"
	case '[', '{':
		return r.expect('0')
	}
	if _, err := r.skip(); err != nil {
		return err
	}
	return conversion(have, want)
}

// value reads a value of type m, which is not null, into a place.
func (r *jsonReader) value(m *Member, place any) error {
	switch m.Type {
	case TypeStructure:
		return r.structure(structAt(place), false)
	case TypeList:
		return r.list(m, place.(List))
	case TypeMap:
		return r.mapping(m, place.(Map))
	case TypeDocument:
		raw, err := r.skip()
		if err != nil {
			return err
		}
		// Numbers stay json.Number: a document must not lose digits.
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err != nil {
			return r.syntax("a document can't be read")
		}
		store(place, v)
		return nil
	case TypeBoolean:
		return r.boolean(place)
	case TypeString, TypeBlob:
		return r.stringOrBlob(m, place)
	case TypeTimestamp:
		return r.timestamp(place)
	default:
		return r.numeric(m, place)
	}
}

func (r *jsonReader) list(m *Member, l List) error {
	if err := r.expect('['); err != nil {
		return err
	}
	l.Make()
	return r.sequence(']', func() error {
		if r.peek() == 'n' {
			l.AppendNull()
			return r.literal("null")
		}
		return r.value(m.Elem, l.Append())
	})
}

func (r *jsonReader) mapping(m *Member, mp Map) error {
	if err := r.expect('{'); err != nil {
		return err
	}
	mp.Make()
	return r.object(func(key []byte) error {
		if r.peek() == 'n' {
			mp.PutNull(string(key))
			return r.literal("null")
		}
		return mp.Put(string(key), func(place any) error { return r.value(m.Elem, place) })
	})
}

func (r *jsonReader) boolean(place any) error {
	switch r.peek() {
	case 't':
		store(place, true)
		return r.literal("true")
	case 'f':
		store(place, false)
		return r.literal("false")
	}
	return r.mismatch("a Boolean")
}

func (r *jsonReader) stringOrBlob(m *Member, place any) error {
	if r.peek() != '"' {
		if m.Type == TypeBlob {
			return r.mismatch("a Blob")
		}
		return r.mismatch("a String")
	}
	s, err := r.str()
	if err != nil {
		return err
	}
	if m.Type == TypeString {
		if !utf8.Valid(s) {
			return r.syntax("invalid UTF-8 in a string")
		}
		store(place, string(s))
		return nil
	}
	blob := make([]byte, base64.StdEncoding.DecodedLen(len(s)))
	n, err := base64.StdEncoding.Decode(blob, s)
	if err != nil {
		return serialization("%s is not valid base64", m.WireName())
	}
	store(place, blob[:n])
	return nil
}

func (r *jsonReader) timestamp(place any) error {
	var s string
	if r.peek() == '"' {
		b, err := r.str()
		if err != nil {
			return err
		}
		s = string(b)
	} else if c := r.peek(); c == '-' || c >= '0' && c <= '9' {
		var err error
		if s, err = r.number(); err != nil {
			return err
		}
	} else {
		return r.mismatch("a Timestamp")
	}
	t, err := parseTime(s)
	if err != nil {
		return err
	}
	store(place, t)
	return nil
}

func (r *jsonReader) numeric(m *Member, place any) error {
	want := map[Type]string{TypeInteger: "an Integer", TypeLong: "a Long", TypeFloat: "a Float", TypeDouble: "a Double"}[m.Type]
	c := r.peek()
	if c == '"' && (m.Type == TypeFloat || m.Type == TypeDouble) {
		s, err := r.str()
		if err != nil {
			return err
		}
		f, err := parseFloat(string(s))
		if err != nil || !(math.IsNaN(f) || math.IsInf(f, 0)) {
			return conversion("STRING_VALUE", want)
		}
		storeFloat(m, place, f)
		return nil
	}
	if c != '-' && (c < '0' || c > '9') {
		return r.mismatch(want)
	}
	s, err := r.number()
	if err != nil {
		return err
	}
	if m.Type == TypeFloat || m.Type == TypeDouble {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return conversion("NUMBER_VALUE", want)
		}
		storeFloat(m, place, f)
		return nil
	}
	n, ok := integer(s)
	switch {
	case !ok, m.Type == TypeInteger && n != int64(int32(n)):
		return conversion("NUMBER_VALUE", want)
	case m.Type == TypeInteger:
		store(place, int32(n))
	default:
		store(place, n)
	}
	return nil
}

// integer reads a whole number, also one written as 3.0 or 3e2.
func integer(s string) (int64, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) >= 1<<53 {
		return 0, false
	}
	return int64(f), true
}
