// Package trace follows a request or an event through the node: a trace is made
// of spans, each of which has a beginning, an end and a parent. It keeps the
// latest spans, and sends them to a collector if there is one.
//
// Nothing here is on the path of a call: spans are made of what is recorded of it
// anyway, after its answer.
package trace

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"strings"
)

// Context is where in which trace something happens: the ids of the trace and of
// the span that caused it, in lower-case hexadecimal digits. The zero Context is
// in no trace.
type Context struct {
	Trace   string // 32 digits
	Span    string // 16 digits, "" when the trace begins here
	Sampled bool   // whoever began the trace wants it to be kept
}

// The fields of the header that the field's functions know:
// Root=1-8 digits-24 digits;Parent=16 digits;Sampled=0 or 1.
const (
	rootField    = "Root=1-"
	parentField  = "Parent="
	sampledField = "Sampled="
)

// Parse reads a trace header. What is none gives the zero Context.
func Parse(header string) (c Context) {
	for field := range strings.SplitSeq(header, ";") {
		field = strings.TrimSpace(field)
		if root, ok := strings.CutPrefix(field, rootField); ok && len(root) == 33 && root[8] == '-' {
			c.Trace = strings.ToLower(root[:8] + root[9:])
		}
		if parent, ok := strings.CutPrefix(field, parentField); ok {
			c.Span = strings.ToLower(parent)
		}
		if field == sampledField+"1" {
			c.Sampled = true
		}
	}
	return c.checked()
}

// ParseW3C reads a traceparent header of the W3C. What is none gives the zero
// Context.
func ParseW3C(traceparent string) Context {
	f := strings.Split(strings.TrimSpace(traceparent), "-")
	if len(f) < 4 || len(f[0]) != 2 || f[0] == "ff" || f[0] == "00" && len(f) != 4 || len(f[3]) != 2 || !isHex(f[0]+f[3]) {
		return Context{}
	}
	flags, _ := hex.DecodeString(f[3])
	return Context{Trace: f[1], Span: f[2], Sampled: flags[0]&1 != 0}.checked()
}

// checked returns c, or the zero Context if c's ids are none.
func (c Context) checked() Context {
	if len(c.Trace) != 32 || !isHex(c.Trace) || strings.Trim(c.Trace, "0") == "" {
		return Context{}
	}
	if len(c.Span) != 16 || !isHex(c.Span) || strings.Trim(c.Span, "0") == "" {
		c.Span = ""
	}
	return c
}

func isHex(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Header writes c as Parse reads it.
func (c Context) Header() string {
	if c.Trace == "" {
		return ""
	}
	sampled := "0"
	if c.Sampled {
		sampled = "1"
	}
	h := rootField + c.Trace[:8] + "-" + c.Trace[8:]
	if c.Span != "" {
		h += ";" + parentField + c.Span
	}
	return h + ";" + sampledField + sampled
}

// W3C writes c as ParseW3C reads it, "" without a trace or a span.
func (c Context) W3C() string {
	if c.Trace == "" || c.Span == "" {
		return ""
	}
	flags := "00"
	if c.Sampled {
		flags = "01"
	}
	return "00-" + c.Trace + "-" + c.Span + "-" + flags
}

// WithParent returns a trace header with another span as its parent; its other
// fields stay.
func WithParent(header, span string) string {
	if span == "" || header == "" {
		return header
	}
	var b strings.Builder
	found := false
	for field := range strings.SplitSeq(header, ";") {
		if b.Len() > 0 {
			b.WriteByte(';')
		}
		if strings.HasPrefix(strings.TrimSpace(field), parentField) {
			found = true
			field = parentField + span
		}
		b.WriteString(field)
	}
	if !found {
		b.WriteString(";" + parentField + span)
	}
	return b.String()
}

// NewID returns a random id of a span.
func NewID() string { return random(8) }

// PartID returns the id of the n-th part of a span: always the same one, and
// another than any other's.
func PartID(span string, n int) string {
	var b [8]byte
	hex.Decode(b[:], []byte(span))                                      // its form was checked
	x := binary.BigEndian.Uint64(b[:]) + uint64(n+1)*0x9e3779b97f4a7c15 // odd: no two n give the same
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	binary.BigEndian.PutUint64(b[:], x^x>>31)
	return hex.EncodeToString(b[:])
}

// NewTraceID returns a random id of a trace.
func NewTraceID() string { return random(16) }

func random(n int) string {
	var b [16]byte
	rand.Read(b[:n]) // never fails
	return hex.EncodeToString(b[:n])
}
