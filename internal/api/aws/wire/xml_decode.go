package wire

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
)

// element is an XML element, read whole. Namespaces are not looked at, as
// AWS's services don't either: names are compared without their prefix.
type element struct {
	name  string
	attrs []xml.Attr
	text  string
	kids  []*element
}

// maxElements bounds the elements of a request, so that a small body can't
// become a large tree.
const maxElements = 1 << 18

// parseXML reads a document. DTDs are refused.
func parseXML(b []byte) (*element, error) {
	d := xml.NewDecoder(bytes.NewReader(b))
	root := &element{}
	stack := []*element{root}
	for count := 0; ; {
		tok, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, serialization("the request body is not valid XML: %v", err)
		}
		top := stack[len(stack)-1]
		switch t := tok.(type) {
		case xml.StartElement:
			if count++; count > maxElements || len(stack) > maxDepth {
				return nil, serialization("the request body has too many elements or levels")
			}
			e := &element{name: t.Name.Local, attrs: t.Copy().Attr}
			top.kids = append(top.kids, e)
			stack = append(stack, e)
		case xml.EndElement:
			if len(stack) == 1 || top.name != t.Name.Local {
				return nil, serialization("the request body is not valid XML: </%s> closes nothing", t.Name.Local)
			}
			stack = stack[:len(stack)-1]
		case xml.CharData:
			top.text += string(t)
		case xml.Directive:
			return nil, serialization("the request body is not valid XML: a DTD is not accepted")
		}
	}
	if len(stack) != 1 || len(root.kids) != 1 {
		return nil, serialization("the request body is not one XML element")
	}
	return root.kids[0], nil
}

// localName returns a name without its namespace prefix.
func localName(name string) string { return name[strings.LastIndexByte(name, ':')+1:] }

// xmlReader fills a structure from an element.
type xmlReader struct {
	e     *element
	shape *Shape
	top   bool // only members that belong to the body
	err   error
}

// decodeXML fills s from e; of a message's top structure only the members that
// belong to the body.
func decodeXML(e *element, s Struct, top bool) error {
	r := &xmlReader{e: e, shape: s.Shape(), top: top}
	s.Walk(r)
	return r.err
}

// Member implements Walker.
func (r *xmlReader) Member(i int, place any) {
	m := &r.shape.Members[i]
	if r.err != nil || r.top && m.Loc != InBody {
		return
	}
	name := localName(m.WireName())
	if m.Attribute {
		for _, a := range r.e.attrs {
			if a.Name.Local == name && a.Name.Space != "xmlns" {
				r.err = setText(m, place, a.Value)
			}
		}
		return
	}
	var found []*element
	for _, kid := range r.e.kids {
		if kid.name == name {
			found = append(found, kid)
		}
	}
	switch {
	case len(found) == 0:
	case m.Type == TypeList && m.Flat:
		r.err = xmlList(found, m, place.(List))
	case m.Type == TypeMap && m.Flat:
		r.err = xmlMap(found, m, place.(Map))
	default:
		r.err = xmlValue(found[len(found)-1], m, place)
	}
}

func xmlValue(e *element, m *Member, place any) error {
	switch m.Type {
	case TypeStructure:
		return decodeXML(e, structAt(place), false)
	case TypeList:
		return xmlList(e.kids, m, place.(List))
	case TypeMap:
		return xmlMap(e.kids, m, place.(Map))
	case TypeString:
		store(place, e.text)
		return nil
	default:
		return setText(m, place, strings.TrimSpace(e.text))
	}
}

func xmlList(items []*element, m *Member, l List) error {
	l.Make()
	for _, e := range items {
		if err := xmlValue(e, m.Elem, l.Append()); err != nil {
			return err
		}
	}
	return nil
}

func xmlMap(entries []*element, m *Member, mp Map) error {
	mp.Make()
	keyName, valueName := localName(orElse(m.Key.Wire, "key")), localName(orElse(m.Elem.Wire, "value"))
	for _, entry := range entries {
		var key, value *element
		for _, kid := range entry.kids {
			switch kid.name {
			case keyName:
				key = kid
			case valueName:
				value = kid
			}
		}
		if key == nil {
			return serialization("an entry of %s has no key", m.WireName())
		}
		if value == nil {
			value = &element{}
		}
		if err := mp.Put(key.text, func(place any) error { return xmlValue(value, m.Elem, place) }); err != nil {
			return err
		}
	}
	return nil
}

func orElse(s, def string) string {
	if s != "" {
		return s
	}
	return def
}
