package main

import (
	"fmt"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire/botocore"
)

var scalars = map[wire.Type]string{
	wire.TypeString: "string", wire.TypeBoolean: "bool", wire.TypeInteger: "int32", wire.TypeLong: "int64",
	wire.TypeFloat: "float32", wire.TypeDouble: "float64", wire.TypeTimestamp: "time.Time",
}

// fieldType returns the Go type of a structure's field: a pointer for a
// scalar or structure, so that absent and zero differ; a plain string for an
// enumeration, whose values are never empty.
func (e *emitter) fieldType(r *botocore.Ref) (string, error) {
	s := e.model.Shapes[r.Shape]
	switch {
	case s.Document:
		return "any", nil
	case s.EventStream:
		return "wire.EventStream", nil
	case s.Streaming || r.Streaming:
		e.imports["io"] = true
		return "io.Reader", nil
	case len(s.Enum) > 0 && s.Type == "string":
		return "string", nil
	}
	t, err := e.elemType(r)
	if err != nil {
		return "", err
	}
	switch s.Type {
	case "list", "map", "blob":
		return t, nil
	}
	return "*" + t, nil
}

// elemType returns the Go type of an element of a list or map.
func (e *emitter) elemType(r *botocore.Ref) (string, error) {
	s := e.model.Shapes[r.Shape]
	switch s.Type {
	case "structure":
		if s.Document {
			return "any", nil
		}
		return e.names[r.Shape], nil
	case "blob":
		return "[]byte", nil
	case "list":
		t, err := e.elemType(s.Member)
		return "[]" + t, err
	case "map":
		t, err := e.elemType(s.Value)
		return "map[string]" + t, err
	case "timestamp":
		e.imports["time"] = true
	}
	t, ok := scalars[goType(s)]
	if !ok {
		return "", fmt.Errorf("no Go type for %s", s.Type)
	}
	return t, nil
}

func goType(s *botocore.Shape) wire.Type {
	switch s.Type {
	case "string", "character":
		return wire.TypeString
	case "boolean":
		return wire.TypeBoolean
	case "byte", "short", "integer":
		return wire.TypeInteger
	case "long":
		return wire.TypeLong
	case "float":
		return wire.TypeFloat
	case "double":
		return wire.TypeDouble
	case "timestamp":
		return wire.TypeTimestamp
	}
	return 0
}

// place returns the expression for the place at ptr, see wire.Walker.
func (e *emitter) place(ptr string, r *botocore.Ref, m *wire.Member, field bool) string {
	s := e.model.Shapes[r.Shape]
	switch {
	case m.Type == wire.TypeStructure && field:
		return "wire.Ptr(" + ptr + ")"
	case m.Type == wire.TypeList:
		return "wire.ListOf(" + ptr + ", " + e.inner(s.Member, m.Elem) + ")"
	case m.Type == wire.TypeMap:
		return "wire.MapOf(" + ptr + ", " + e.inner(s.Value, m.Elem) + ")"
	}
	return ptr
}

// inner returns the function that makes the place of an element from its
// address, or nil where the address is the place.
func (e *emitter) inner(r *botocore.Ref, m *wire.Member) string {
	if m.Type != wire.TypeList && m.Type != wire.TypeMap {
		return "nil"
	}
	t, err := e.elemType(r)
	if err != nil {
		// elemType has succeeded for the field that holds this element.
		panic(err)
	}
	return fmt.Sprintf("func(p *%s) any { return %s }", t, e.place("p", r, m, false))
}

var typeIdents = map[wire.Type]string{
	wire.TypeString: "String", wire.TypeBoolean: "Boolean", wire.TypeInteger: "Integer", wire.TypeLong: "Long",
	wire.TypeFloat: "Float", wire.TypeDouble: "Double", wire.TypeBlob: "Blob", wire.TypeTimestamp: "Timestamp",
	wire.TypeList: "List", wire.TypeMap: "Map", wire.TypeStructure: "Structure", wire.TypeDocument: "Document",
	wire.TypeEvents: "Events",
}

var locIdents = map[wire.Location]string{
	wire.InPayload: "InPayload", wire.InHeader: "InHeader", wire.InHeaders: "InHeaders",
	wire.InLabel: "InLabel", wire.InQuery: "InQuery", wire.InStatus: "InStatus",
}

var timeIdents = map[wire.TimeFormat]string{wire.TimeEpoch: "TimeEpoch", wire.TimeISO: "TimeISO", wire.TimeHTTP: "TimeHTTP"}

// member writes a wire.Member as a composite literal without its type.
func member(m *wire.Member) string {
	var f []string
	add := func(name, value string) { f = append(f, name+": "+value) }
	if m.Name != "" {
		add("Name", fmt.Sprintf("%q", m.Name))
	}
	if m.Wire != "" {
		add("Wire", fmt.Sprintf("%q", m.Wire))
	}
	if m.Query != "" {
		add("Query", fmt.Sprintf("%q", m.Query))
	}
	add("Type", "wire.Type"+typeIdents[m.Type])
	if id := locIdents[m.Loc]; id != "" {
		add("Loc", "wire."+id)
	}
	if id := timeIdents[m.Time]; id != "" {
		add("Time", "wire."+id)
	}
	for _, b := range []struct {
		name string
		set  bool
	}{
		{"Flat", m.Flat}, {"Attribute", m.Attribute}, {"JSONValue", m.JSONValue},
		{"Streaming", m.Streaming}, {"Required", m.Required},
	} {
		if b.set {
			add(b.name, "true")
		}
	}
	if m.Namespace.URI != "" {
		add("Namespace", fmt.Sprintf("wire.Namespace{Prefix: %q, URI: %q}", m.Namespace.Prefix, m.Namespace.URI))
	}
	if m.Key != nil {
		add("Key", "&wire.Member"+member(m.Key))
	}
	if m.Elem != nil {
		add("Elem", "&wire.Member"+member(m.Elem))
	}
	return "{" + strings.Join(f, ", ") + "}"
}
