package wire

import (
	"net/http"
	"strconv"
	"time"
)

// encodeError turns an error into a response in the protocol's form. s may be
// nil: the request then never came as far as a service.
func (s *Service) encodeError(req *request, e *Error, h http.Header) *response {
	info := s.errorInfo(e.Code)
	res := &response{status: e.Status}
	if res.status == 0 {
		res.status = info.Status
	}
	if res.status == 0 {
		res.status = http.StatusBadRequest
	}
	if _, modelled := s.errors()[e.Code]; !modelled {
		info.Sender = res.status < 500
	}
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((e.RetryAfter+time.Second-1)/time.Second), 10))
	}
	switch req.protocol {
	case JSON10, JSON11:
		s.jsonError(req.protocol, res, e, info, h)
	case Query, RESTXML:
		s.xmlError(req, res, e, info, h)
	default:
		h.Set("X-Amzn-Errortype", e.Code)
		s.jsonError(req.protocol, res, e, info, h)
	}
	return res
}

func (s *Service) errors() map[string]ErrorInfo {
	if s == nil {
		return nil
	}
	return s.Errors
}

func (s *Service) errorInfo(code string) ErrorInfo { return s.errors()[code] }

func (s *Service) jsonError(p Protocol, res *response, e *Error, info ErrorInfo, h http.Header) {
	w := &jsonWriter{b: []byte{'{'}}
	if p != RESTJSON {
		w.key("__type")
		w.b = appendQuoted(w.b, e.Code)
		if s != nil && s.speaks(Query) {
			h.Set("X-Amzn-Query-Error", orElse(info.Query, e.Code)+";"+fault(info.Sender, "Sender", "Receiver"))
		}
	} else if info.Typed {
		w.key("Type")
		w.b = appendQuoted(w.b, fault(info.Sender, "User", "Service"))
	}
	message := orElse(info.Message, "message")
	if e.Message != "" && !has(e.Detail, message) {
		w.key(message)
		w.b = appendQuoted(w.b, e.Message)
	}
	if e.Detail != nil {
		e.Detail.Walk(&restWriter{shape: e.Detail.Shape(), header: h, status: &res.status})
		w.shape, w.top = e.Detail.Shape(), p == RESTJSON
		e.Detail.Walk(w)
	}
	w.b = append(w.b, '}')
	res.kind, res.body = jsonType(p), w.b
}

func (s *Service) xmlError(req *request, res *response, e *Error, info ErrorInfo, h http.Header) {
	bare := s != nil && s.BareErrors
	w := &xmlWriter{}
	if !bare {
		ns := Namespace{}
		if s != nil {
			ns.URI = s.Namespace
		}
		w.open("ErrorResponse", ns)
	}
	w.open("Error", Namespace{})
	if !bare {
		w.leaf("Type", fault(info.Sender, "Sender", "Receiver"))
	}
	code := e.Code
	if req.protocol == Query {
		code = orElse(info.Query, code)
	}
	w.leaf("Code", code)
	message := "Message"
	if req.protocol != Query { // there the message has one name, whatever the model says
		message = orElse(info.Message, message)
	}
	if e.Message != "" && !has(e.Detail, message) {
		w.leaf(message, e.Message)
	}
	if e.Detail != nil {
		if req.protocol == RESTXML {
			e.Detail.Walk(&restWriter{shape: e.Detail.Shape(), header: h, status: &res.status})
		}
		w.members(e.Detail, req.protocol == RESTXML)
	}
	if bare {
		w.leaf("RequestId", req.id)
		w.close("Error")
	} else {
		w.close("Error")
		w.leaf("RequestId", req.id)
		w.close("ErrorResponse")
	}
	res.body = w.b
	res.kind = "text/xml"
	if req.protocol == RESTXML {
		res.kind = "application/xml"
	}
}

func fault(sender bool, yes, no string) string {
	if sender {
		return yes
	}
	return no
}

// has reports whether s has a body member that is called name and present.
func has(s Struct, name string) bool {
	if s == nil {
		return false
	}
	p := make(places, len(s.Shape().Members))
	s.Walk(p)
	for i := range p {
		m := &s.Shape().Members[i]
		if m.WireName() == name && m.Loc == InBody && !absent(p[i]) {
			return true
		}
	}
	return false
}

// speaks reports whether p is one of the service's protocols.
func (s *Service) speaks(p Protocol) bool {
	for _, q := range s.Protocols {
		if q == p {
			return true
		}
	}
	return false
}
