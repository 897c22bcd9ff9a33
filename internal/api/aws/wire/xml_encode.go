package wire

import (
	"strings"
	"unicode/utf8"
)

// xmlWriter writes structures as XML elements. Absent members are left out.
type xmlWriter struct {
	b     []byte
	shape *Shape // of the structure that is being walked
	top   bool   // only members that belong to the body
	attrs bool   // this walk writes the attributes, the next one the elements
}

// structure writes the element called name that holds s.
func (w *xmlWriter) structure(name string, ns Namespace, s Struct, top bool) {
	outer := *w
	w.shape, w.top, w.attrs = s.Shape(), top, true
	w.b = append(append(w.b, '<'), name...)
	w.namespace(ns)
	s.Walk(w)
	w.b = append(w.b, '>')
	w.attrs = false
	s.Walk(w)
	w.close(name)
	w.shape, w.top, w.attrs = outer.shape, outer.top, outer.attrs
}

// members writes the elements inside s, without an element around them.
func (w *xmlWriter) members(s Struct, top bool) {
	outer := *w
	w.shape, w.top, w.attrs = s.Shape(), top, false
	s.Walk(w)
	w.shape, w.top, w.attrs = outer.shape, outer.top, outer.attrs
}

func (w *xmlWriter) open(name string, ns Namespace) {
	w.b = append(append(w.b, '<'), name...)
	w.namespace(ns)
	w.b = append(w.b, '>')
}

func (w *xmlWriter) close(name string) {
	w.b = append(append(append(w.b, "</"...), name...), '>')
}

func (w *xmlWriter) leaf(name, text string) {
	w.open(name, Namespace{})
	w.b = appendEscaped(w.b, text)
	w.close(name)
}

func (w *xmlWriter) namespace(ns Namespace) {
	if ns.URI == "" {
		return
	}
	w.b = append(w.b, " xmlns"...)
	if ns.Prefix != "" {
		w.b = append(append(w.b, ':'), ns.Prefix...)
	}
	w.b = append(w.b, `="`...)
	w.b = append(appendEscaped(w.b, ns.URI), '"')
}

// Member implements Walker.
func (w *xmlWriter) Member(i int, place any) {
	m := &w.shape.Members[i]
	if w.top && !m.answersInBody() || m.Attribute != w.attrs || absent(place) {
		return
	}
	if w.attrs {
		w.b = append(append(append(w.b, ' '), m.WireName()...), `="`...)
		w.b = append(appendEscaped(w.b, text(m, place, TimeISO)), '"')
		return
	}
	w.value(m.queryName(), m, place)
}

func (w *xmlWriter) value(name string, m *Member, place any) {
	switch {
	case place == nil:
		w.open(name, Namespace{})
		w.close(name)
	case m.Type == TypeStructure:
		w.structure(name, m.Namespace, structOf(place), false)
	case m.Type == TypeList:
		w.list(name, m, place.(List))
	case m.Type == TypeMap:
		w.mapping(name, m, place.(Map))
	default:
		w.open(name, m.Namespace)
		w.b = appendEscaped(w.b, text(m, place, TimeISO))
		w.close(name)
	}
}

func (w *xmlWriter) list(name string, m *Member, l List) {
	inner := m.Elem.part("member")
	if m.Flat {
		inner = name
	} else {
		w.open(name, m.Namespace)
	}
	for i := range l.Len() {
		w.value(inner, m.Elem, l.At(i))
	}
	if !m.Flat {
		w.close(name)
	}
}

func (w *xmlWriter) mapping(name string, m *Member, mp Map) {
	entry := "entry"
	if m.Flat {
		entry = name
	} else {
		w.open(name, m.Namespace)
	}
	for _, k := range mp.Keys() {
		w.open(entry, Namespace{})
		w.leaf(m.Key.part("key"), k)
		w.value(m.Elem.part("value"), m.Elem, mp.At(k))
		w.close(entry)
	}
	if !m.Flat {
		w.close(name)
	}
}

// appendEscaped appends s as XML text that is also safe in an attribute.
// What XML can't hold becomes U+FFFD.
func appendEscaped(b []byte, s string) []byte {
	if !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' || r == utf8.RuneError || strings.ContainsRune(`&<>"'`, r) || r > 0xFFFD
	}) {
		return append(b, s...)
	}
	for _, r := range s {
		switch {
		case r == '&':
			b = append(b, "&amp;"...)
		case r == '<':
			b = append(b, "&lt;"...)
		case r == '>':
			b = append(b, "&gt;"...)
		case r == '"':
			b = append(b, "&quot;"...)
		case r == '\'':
			b = append(b, "&apos;"...)
		case r == '\r':
			b = append(b, "&#xD;"...)
		case r == '\n':
			b = append(b, "&#xA;"...)
		case r == '\t':
			b = append(b, "&#x9;"...)
		case r < ' ', r == 0xFFFE, r == 0xFFFF:
			b = append(b, "\ufffd"...)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}
