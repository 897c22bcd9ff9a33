package wire

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
)

// DecodeAnswer reads a response body and headers into s, as a client would. It
// gives the vectors a reader that is itself checked against them.
func DecodeAnswer(p Protocol, wrapper string, h http.Header, status int, body []byte, s Struct) error {
	req := &request{http: &http.Request{Header: h}, protocol: p, query: url.Values{}, body: body}
	switch p {
	case JSON10, JSON11:
		if len(body) == 0 {
			return nil
		}
		return decodeJSON(body, s)
	case Query:
		if len(body) == 0 {
			return nil
		}
		e, err := parseXML(body)
		if err != nil {
			return err
		}
		for _, kid := range e.kids {
			if wrapper != "" && kid.name == wrapper {
				e = kid
			}
		}
		return decodeXML(e, s, false)
	default:
		w := make(places, len(s.Shape().Members))
		s.Walk(w)
		for i := range w {
			if s.Shape().Members[i].Loc == InStatus {
				store(w[i], int32(status))
			}
		}
		for i := range s.Shape().Members {
			if m := &s.Shape().Members[i]; m.Loc != InBody && m.answersInBody() && p == RESTXML {
				e, err := parseXML(body)
				if err != nil {
					return err
				}
				return decodeXML(e, s, false)
			}
		}
		return decodeREST(req, s)
	}
}

// DecodeXMLError reads an error of an XML protocol: its code and its members.
func DecodeXMLError(body []byte, s Struct) (code string, err error) {
	e, err := parseXML(body)
	if err != nil {
		return "", err
	}
	for _, kid := range e.kids {
		if kid.name == "Error" {
			e = kid
			break
		}
	}
	for _, kid := range e.kids {
		if kid.name == "Code" {
			code = kid.text
		}
	}
	return code, decodeXML(e, s, true)
}

// DecodeJSON, EncodeJSON and so on let fuzz tests reach one protocol's reader
// and writer without a request around them.
func DecodeJSON(b []byte, s Struct) error { return decodeJSON(b, s) }

// EncodeJSON writes a whole structure.
func EncodeJSON(s Struct) ([]byte, error) { return appendJSON(nil, s, false) }

// DecodeXML reads a document into s.
func DecodeXML(b []byte, s Struct) error {
	e, err := parseXML(b)
	if err != nil {
		return err
	}
	return decodeXML(e, s, false)
}

// EncodeXML writes s as the element called Root.
func EncodeXML(s Struct) []byte {
	w := &xmlWriter{}
	w.structure("Root", Namespace{}, s, false)
	return w.b
}

// DecodeForm reads the parameters of the query protocol into s.
func DecodeForm(form url.Values, s Struct) error {
	p, err := parseParams(form)
	if err != nil {
		return err
	}
	return decodeQuery(p, s)
}

// ParseSignature reads a signature and returns its scope.
func ParseSignature(r *http.Request) (scope string, ok bool) {
	s, err := parseSignature(r, r.URL.Query())
	if err != nil {
		return "", false
	}
	return s.accessKey + "/" + s.scope(), true
}

// ReadChunks reads an aws-chunked body whose chunks are not signed.
func ReadChunks(b []byte) ([]byte, error) {
	t := &attempt{signature: &signature{payload: streamingUnsigned, value: make([]byte, 32)}}
	return io.ReadAll(newChunkReader(bytes.NewReader(b), t, http.Header{}))
}

// SplitHeaderList splits a header into the items of a list of strings.
func SplitHeaderList(v string) []string { return splitHeader(v, &Member{Type: TypeString}) }
