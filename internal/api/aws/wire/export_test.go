package wire

import (
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
