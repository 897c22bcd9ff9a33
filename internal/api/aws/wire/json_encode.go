package wire

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// jsonWriter writes structures as JSON. Absent members are left out.
type jsonWriter struct {
	b     []byte
	shape *Shape // of the structure that is being walked
	top   bool   // only members that belong to the body
	comma bool   // a member went before
	err   error
}

// appendJSON appends s as a JSON object; of a message's top structure only the
// members that belong to the body.
func appendJSON(b []byte, s Struct, top bool) ([]byte, error) {
	w := &jsonWriter{b: b}
	w.structure(s, top)
	return w.b, w.err
}

func (w *jsonWriter) structure(s Struct, top bool) {
	outer := *w
	w.shape, w.top, w.comma = s.Shape(), top, false
	w.b = append(w.b, '{')
	s.Walk(w)
	w.b = append(w.b, '}')
	w.shape, w.top, w.comma = outer.shape, outer.top, outer.comma
}

// Member implements Walker.
func (w *jsonWriter) Member(i int, place any) {
	m := &w.shape.Members[i]
	if w.top && !m.answersInBody() || absent(place) {
		return
	}
	w.key(m.WireName())
	w.value(m, place)
}

// key begins a member of the current object.
func (w *jsonWriter) key(name string) {
	if w.comma {
		w.b = append(w.b, ',')
	}
	w.comma = true
	w.b = appendQuoted(w.b, name)
	w.b = append(w.b, ':')
}

func (w *jsonWriter) value(m *Member, place any) {
	if place == nil {
		w.b = append(w.b, "null"...)
		return
	}
	switch m.Type {
	case TypeStructure:
		w.structure(structOf(place), false)
	case TypeList:
		l := place.(List)
		w.b = append(w.b, '[')
		for i := range l.Len() {
			if i > 0 {
				w.b = append(w.b, ',')
			}
			w.value(m.Elem, l.At(i))
		}
		w.b = append(w.b, ']')
	case TypeMap:
		mp := place.(Map)
		comma := w.comma
		w.b, w.comma = append(w.b, '{'), false
		for _, k := range mp.Keys() {
			w.key(k)
			w.value(m.Elem, mp.At(k))
		}
		w.b, w.comma = append(w.b, '}'), comma
	default:
		w.scalar(m, place)
	}
}

func (w *jsonWriter) scalar(m *Member, place any) {
	switch m.Type {
	case TypeString:
		w.b = appendQuoted(w.b, load[string](place))
	case TypeBoolean:
		w.b = strconv.AppendBool(w.b, load[bool](place))
	case TypeInteger:
		w.b = strconv.AppendInt(w.b, int64(load[int32](place)), 10)
	case TypeLong:
		w.b = strconv.AppendInt(w.b, load[int64](place), 10)
	case TypeFloat:
		w.float(float64(load[float32](place)), 32)
	case TypeDouble:
		w.float(load[float64](place), 64)
	case TypeBlob:
		w.b = append(w.b, '"')
		w.b = base64.StdEncoding.AppendEncode(w.b, load[[]byte](place))
		w.b = append(w.b, '"')
	case TypeTimestamp:
		t := load[time.Time](place)
		if f := m.format(TimeEpoch); f != TimeEpoch {
			w.b = appendQuoted(w.b, formatTime(t, f))
			return
		}
		w.b = appendEpoch(w.b, t)
	case TypeDocument:
		doc, err := json.Marshal(load[any](place))
		if err != nil {
			w.err = err
			return
		}
		w.b = append(w.b, doc...)
	}
}

func (w *jsonWriter) float(f float64, bits int) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		w.b = appendQuoted(w.b, formatFloat(f, bits))
		return
	}
	w.b = append(w.b, formatFloat(f, bits)...)
}

// appendQuoted appends s as a JSON string, without encoding/json's escapes for
// HTML. Bytes that are not UTF-8 become U+FFFD.
func appendQuoted(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				b = append(append(b, s[start:i]...), "\ufffd"...)
				start = i + 1
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}
