package botocore

import (
	"fmt"
	"maps"
	"slices"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
)

// WireShape returns the codec's shape of the structure named. Members stand in
// alphabetical order of their model names; refer to it when walking a value.
func (m *Model) WireShape(name string) (*wire.Shape, error) {
	s := m.Shapes[name]
	if s == nil || s.Type != "structure" {
		return nil, fmt.Errorf("%s is not a structure of the model", name)
	}
	out := &wire.Shape{Name: name, XMLName: s.LocationName, Namespace: namespace(s.XMLNamespace), Union: s.Union}
	for _, member := range slices.Sorted(maps.Keys(s.Members)) {
		w, err := m.member(s.Members[member])
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", name, member, err)
		}
		w.Name = member
		if w.Wire == member {
			w.Wire = ""
		}
		w.Required = slices.Contains(s.Required, member)
		if s.Payload == member || s.Members[member].EventPayload {
			w.Loc = wire.InPayload
		}
		out.Members = append(out.Members, *w)
	}
	return out, nil
}

var types = map[string]wire.Type{
	"string": wire.TypeString, "character": wire.TypeString, "boolean": wire.TypeBoolean,
	"byte": wire.TypeInteger, "short": wire.TypeInteger, "integer": wire.TypeInteger, "long": wire.TypeLong,
	"float": wire.TypeFloat, "double": wire.TypeDouble, "blob": wire.TypeBlob, "timestamp": wire.TypeTimestamp,
	"list": wire.TypeList, "map": wire.TypeMap, "structure": wire.TypeStructure,
}

var locations = map[string]wire.Location{
	"": wire.InBody, "header": wire.InHeader, "headers": wire.InHeaders, "uri": wire.InLabel,
	"querystring": wire.InQuery, "statusCode": wire.InStatus,
}

var timeFormats = map[string]wire.TimeFormat{
	"": wire.TimeDefault, "iso8601": wire.TimeISO, "rfc822": wire.TimeHTTP,
	"unixTimestamp": wire.TimeEpoch, "unixtimestamp": wire.TimeEpoch,
}

// member returns what the codec must know of a reference and its target. What
// the reference says wins over what the target says.
func (m *Model) member(r *Ref) (*wire.Member, error) {
	s := m.Shapes[r.Shape]
	if s == nil {
		return nil, fmt.Errorf("the model has no shape %s", r.Shape)
	}
	w := &wire.Member{
		Wire: r.LocationName, Query: r.QueryName, Flat: r.Flattened || s.Flattened, Attribute: r.XMLAttribute,
		JSONValue: r.JSONValue, Streaming: r.Streaming || s.Streaming,
		Namespace: namespace(r.XMLNamespace),
	}
	var ok bool
	if w.Type, ok = types[s.Type]; !ok {
		return nil, fmt.Errorf("%s is of the unknown type %q", r.Shape, s.Type)
	}
	if w.Loc, ok = locations[r.Location]; !ok {
		return nil, fmt.Errorf("unknown location %q", r.Location)
	}
	if w.Time, ok = timeFormats[r.TimestampFormat]; !ok || w.Time == wire.TimeDefault {
		if w.Time, ok = timeFormats[s.TimestampFormat]; !ok {
			return nil, fmt.Errorf("unknown timestamp format %q", r.TimestampFormat+s.TimestampFormat)
		}
	}
	switch {
	case s.Document:
		w.Type = wire.TypeDocument
	case s.EventStream:
		w.Type = wire.TypeEvents
	}
	if w.Namespace.URI == "" {
		w.Namespace = namespace(s.XMLNamespace)
	}
	return w, m.elements(w, s)
}

// elements fills in what w holds.
func (m *Model) elements(w *wire.Member, s *Shape) (err error) {
	switch w.Type {
	case wire.TypeList:
		w.Elem, err = m.member(s.Member)
	case wire.TypeMap:
		if w.Key, err = m.member(s.Key); err == nil {
			w.Elem, err = m.member(s.Value)
		}
	}
	return err
}

func namespace(n *XMLNamespace) wire.Namespace {
	if n == nil {
		return wire.Namespace{}
	}
	return wire.Namespace{Prefix: n.Prefix, URI: n.URI}
}

// WireErrors returns the table of the model's error shapes, by the code that
// the model's protocol writes.
func (m *Model) WireErrors() map[string]wire.ErrorInfo {
	table := map[string]wire.ErrorInfo{}
	for name, s := range m.Shapes {
		if !s.Exception {
			continue
		}
		info := wire.ErrorInfo{Status: 400, Sender: !s.Fault}
		code := name
		if s.Fault {
			info.Status = 500
		}
		if e := s.Error; e != nil {
			info.Sender = e.SenderFault || !s.Fault
			if e.Status != 0 {
				info.Status = e.Status
			}
			if e.Code != "" && m.Metadata.Protocol == "json" {
				info.Query = e.Code
			} else if e.Code != "" {
				code = e.Code
			}
		}
		for member := range s.Members {
			switch member {
			case "message", "Message":
				info.Message = member
				if l := s.Members[member].LocationName; l != "" {
					info.Message = l
				}
			case "Type":
				info.Typed = true
			}
		}
		table[code] = info
	}
	return table
}

// WireProtocol returns the codec's name for the model's protocol.
func (m *Model) WireProtocol() (wire.Protocol, error) {
	switch p := m.Metadata.Protocol; {
	case p == "rest-json":
		return wire.RESTJSON, nil
	case p == "rest-xml":
		return wire.RESTXML, nil
	case p == "query":
		return wire.Query, nil
	case p == "json" && m.Metadata.JSONVersion == "1.0":
		return wire.JSON10, nil
	case p == "json":
		return wire.JSON11, nil
	default:
		return 0, fmt.Errorf("the codec does not speak %s", p)
	}
}
