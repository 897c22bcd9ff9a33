package wire

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// request is an HTTP request on its way to an operation.
type request struct {
	http     *http.Request
	id       string
	protocol Protocol
	path     string     // as sent, escaped
	query    url.Values // of the URI
	form     url.Values // query protocol: of URI and body
	labels   labels
	body     []byte    // whole, unless the operation streams
	stream   io.Reader // the body of an operation that streams
}

// decode fills an operation's input from a request.
func decode(req *request, in Struct) error {
	switch req.protocol {
	case JSON10, JSON11:
		if len(req.body) == 0 {
			return nil
		}
		return decodeJSON(req.body, in)
	case Query:
		p, err := parseParams(req.form)
		if err != nil {
			return err
		}
		return decodeQuery(p, in)
	default:
		return decodeREST(req, in)
	}
}

func decodeREST(req *request, in Struct) error {
	r := &restReader{req: req, shape: in.Shape()}
	in.Walk(r)
	switch {
	case r.err != nil:
		return r.err
	case !r.fields || len(req.body) == 0:
		return nil
	case req.protocol == RESTJSON:
		return decodeJSON(req.body, in)
	}
	e, err := parseXML(req.body)
	if err != nil {
		return err
	}
	return decodeXML(e, in, true)
}

// restReader fills the members that are not fields of the body.
type restReader struct {
	req    *request
	shape  *Shape
	fields bool // some members are fields of the body
	err    error
}

// Member implements Walker.
func (r *restReader) Member(i int, place any) {
	if r.err != nil {
		return
	}
	switch m := &r.shape.Members[i]; m.Loc {
	case InBody:
		r.fields = true
	case InPayload:
		r.err = r.payload(m, place)
	case InLabel:
		if v, ok := r.req.labels[m.WireName()]; ok {
			r.err = setText(m, place, v)
		}
	case InQuery:
		r.err = r.queryParam(m, place)
	case InHeader:
		r.err = r.header(m, place)
	case InHeaders:
		r.err = r.headers(m, place)
	}
}

func (r *restReader) payload(m *Member, place any) error {
	if m.Streaming {
		store(place, r.req.stream)
		return nil
	}
	body := r.req.body
	if len(body) == 0 {
		return nil
	}
	switch {
	case m.Type == TypeBlob:
		store(place, body)
		return nil
	case m.Type == TypeString:
		store(place, string(body))
		return nil
	case r.req.protocol == RESTJSON:
		return decodeJSONValue(body, m, place)
	}
	e, err := parseXML(body)
	if err != nil {
		return err
	}
	return xmlValue(e, m, place)
}

func (r *restReader) queryParam(m *Member, place any) error {
	switch m.Type {
	case TypeMap:
		// The map holds all parameters, also those that other members are bound to.
		mp := place.(Map)
		mp.Make()
		for k, values := range r.req.query {
			if err := mp.Put(k, func(place any) error { return setAll(m.Elem, place, values) }); err != nil {
				return err
			}
		}
		return nil
	default:
		values, ok := r.req.query[m.WireName()]
		if !ok {
			return nil
		}
		return setAll(m, place, values)
	}
}

// setAll sets a scalar to the first of the values, or a list to all of them.
func setAll(m *Member, place any, values []string) error {
	if m.Type != TypeList {
		return setText(m, place, values[0])
	}
	l := place.(List)
	l.Make()
	for _, v := range values {
		if err := setText(m.Elem, l.Append(), v); err != nil {
			return err
		}
	}
	return nil
}

func (r *restReader) header(m *Member, place any) error {
	values := r.req.http.Header.Values(m.WireName())
	if len(values) == 0 {
		return nil
	}
	if m.Type == TypeList {
		var items []string
		for _, v := range values {
			items = append(items, splitHeader(v, m.Elem)...)
		}
		return setAll(m, place, items)
	}
	v := strings.TrimSpace(values[0])
	if m.JSONValue {
		b, err := base64.StdEncoding.DecodeString(v)
		if err != nil {
			return serialization("the header %s is not valid base64", m.WireName())
		}
		v = string(b)
	}
	return setText(m, place, v)
}

func (r *restReader) headers(m *Member, place any) error {
	mp, prefix := place.(Map), strings.ToLower(m.Wire)
	for name, values := range r.req.http.Header {
		if !strings.HasPrefix(strings.ToLower(name), prefix) {
			continue
		}
		if mp.Len() < 0 {
			mp.Make()
		}
		// Names of headers have no case; the ones in the map are lower case.
		if err := mp.Put(strings.ToLower(name[len(prefix):]), func(place any) error { return setAll(m.Elem, place, values) }); err != nil {
			return err
		}
	}
	return nil
}

// splitHeader splits a list in a header at its commas. Items may be quoted,
// and an HTTP date has a comma of its own.
func splitHeader(v string, elem *Member) []string {
	var items []string
	if elem.Type == TypeTimestamp && elem.format(TimeHTTP) == TimeHTTP {
		parts := strings.Split(v, ",")
		for i := 0; i+1 < len(parts); i += 2 {
			items = append(items, strings.TrimSpace(parts[i]+","+parts[i+1]))
		}
		return items
	}
	for v != "" {
		v = strings.TrimLeft(v, " \t")
		if !strings.HasPrefix(v, `"`) {
			item, rest, _ := strings.Cut(v, ",")
			items, v = append(items, strings.TrimSpace(item)), rest
			continue
		}
		var b strings.Builder
		i := 1
		for ; i < len(v) && v[i] != '"'; i++ {
			if v[i] == '\\' && i+1 < len(v) {
				i++
			}
			b.WriteByte(v[i])
		}
		items = append(items, b.String())
		_, v, _ = strings.Cut(v[min(i, len(v)):], ",")
	}
	return items
}
