package wire

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Type is the kind of value that a member holds.
type Type uint8

// The types of the service models. Byte, short and integer are all Integer.
const (
	TypeString Type = iota + 1
	TypeBoolean
	TypeInteger // 32 bits
	TypeLong    // 64 bits
	TypeFloat   // 32 bits
	TypeDouble
	TypeBlob
	TypeTimestamp
	TypeList
	TypeMap
	TypeStructure
	TypeDocument // any JSON value
	TypeEvents   // an event stream, of an answer
)

// Location is the part of a message that holds a member.
type Location uint8

// The locations. The zero Location is a field of the body.
const (
	InBody    Location = iota
	InPayload          // the member is the whole body
	InHeader
	InHeaders // a map of headers whose names begin with Member.Wire
	InLabel   // a label of the URI template
	InQuery
	InStatus // the HTTP status of an answer
)

// TimeFormat is how a timestamp is written.
type TimeFormat uint8

// The timestamp formats. TimeDefault leaves the choice to protocol and location.
const (
	TimeDefault TimeFormat = iota
	TimeEpoch              // seconds, with a fraction if there is one
	TimeISO                // 2015-01-01T00:00:00Z
	TimeHTTP               // Thu, 01 Jan 2015 00:00:00 GMT
)

// Shape describes a structure: what its members are called and where in a
// message they stand. Shapes are made by the generator, or from a model by
// package botocore, and are never changed afterwards.
type Shape struct {
	Name      string
	Members   []Member
	XMLName   string // element name when the structure is a root; "" means Name
	Namespace Namespace
	Union     bool // exactly one member is set
}

// Member describes a structure's member, or with an empty Name the elements
// of a list, or the keys or values of a map.
type Member struct {
	Name      string // in the model
	Wire      string // in a message: field, element, header or parameter; "" means Name
	Query     string // in the query protocol and its answers, where it is called otherwise
	Type      Type
	Loc       Location
	Time      TimeFormat
	Elem      *Member // of TypeList: its elements; of TypeMap: its values
	Key       *Member // of TypeMap
	Flat      bool    // XML and query: elements stand in the parent, without a wrapper
	Attribute bool    // XML: an attribute of the parent element
	JSONValue bool    // a string that holds JSON; base64 in a header
	Streaming bool    // a payload that is read while it arrives: the place is an *io.Reader
	Required  bool
	Namespace Namespace
}

// WireName returns what the member is called in a message.
func (m *Member) WireName() string {
	if m.Wire != "" {
		return m.Wire
	}
	return m.Name
}

// queryName returns what the member is called in the query protocol and in XML.
func (m *Member) queryName() string { return orElse(m.Query, m.WireName()) }

// part returns what a list's elements, or a map's keys or values, are called
// there; usual is the name of those that have none.
func (m *Member) part(usual string) string { return orElse(m.Query, orElse(m.Wire, usual)) }

// answersInBody reports whether the member is a field of the body in an
// answer: bindings to the URI are for requests alone.
func (m *Member) answersInBody() bool {
	return m.Loc == InBody || m.Loc == InLabel || m.Loc == InQuery
}

// Namespace is an XML namespace declaration; an empty URI is none.
type Namespace struct{ Prefix, URI string }

// payload returns the index of the member that is the whole body, or -1.
func (s *Shape) payload() int {
	for i := range s.Members {
		if s.Members[i].Loc == InPayload {
			return i
		}
	}
	return -1
}

// ErrorInfo says how a service writes one of its errors.
type ErrorInfo struct {
	Status  int    // HTTP status
	Message string // what the body's message field is called; "" means the protocol's usual name
	Typed   bool   // the body has a Type field that tells User from Service faults
	Sender  bool   // the caller is at fault, whatever the status
	Query   string // code in the query protocol, and in the x-amzn-query-error header of JSON ones; "" means the code itself
}

// format returns the time format of m, or def when the model leaves it open.
func (m *Member) format(def TimeFormat) TimeFormat {
	if m.Time != TimeDefault {
		return m.Time
	}
	return def
}

// formatTime writes t in the given format, in UTC.
func formatTime(t time.Time, f TimeFormat) string {
	t = t.UTC()
	switch f {
	case TimeHTTP:
		return t.Format(http.TimeFormat)
	case TimeEpoch:
		return string(appendEpoch(nil, t))
	default:
		return t.Format("2006-01-02T15:04:05.999999999Z07:00")
	}
}

// appendEpoch appends seconds since 1970, with up to nine decimals.
func appendEpoch(b []byte, t time.Time) []byte {
	b = strconv.AppendInt(b, t.Unix(), 10)
	if ns := t.Nanosecond(); ns != 0 {
		// Unix rounds towards the past, so that the decimals always add.
		if t.Unix() < 0 {
			return strconv.AppendFloat(b[:0], float64(t.Unix())+float64(ns)/1e9, 'f', -1, 64)
		}
		b = append(b, '.')
		b = append(b, strings.TrimRight(fmt.Sprintf("%09d", ns), "0")...)
	}
	return b
}
