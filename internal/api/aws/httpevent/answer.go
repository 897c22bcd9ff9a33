package httpevent

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// Answer is what a function answers to an HTTP request.
type Answer struct {
	Status int
	Header http.Header // never nil
	Body   []byte
}

// head is what answers of both formats, and the prelude of a streamed one, say
// before the body.
type head struct {
	Status  json.RawMessage            `json:"statusCode"`
	Headers map[string]json.RawMessage `json:"headers"`
	Multi   map[string][]string        `json:"multiValueHeaders"` // format 1.0
	Cookies []string                   `json:"cookies"`           // format 2.0
	Base64  bool                       `json:"isBase64Encoded"`
	Body    json.RawMessage            `json:"body"`
}

// ParseV2 reads an answer of payload format 2.0. What is not in that format, by
// having no statusCode, is the body of a 200 answer in JSON; of a string, its text.
// content is the type of a body whose answer names none.
func ParseV2(payload []byte, content string) (*Answer, error) {
	var h head
	if !isObject(payload) || json.Unmarshal(payload, &h) != nil || h.Status == nil {
		if isObject(payload) && hasStatus(payload) {
			return nil, fmt.Errorf("the answer is not in payload format 2.0: %w", json.Unmarshal(payload, &h))
		}
		return &Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: text(payload)}, nil
	}
	h.Multi = nil
	return h.answer(content)
}

// ParseV1 reads an answer of payload format 1.0, which must have a statusCode.
func ParseV1(payload []byte, content string) (*Answer, error) {
	var h head
	if err := json.Unmarshal(payload, &h); err != nil {
		return nil, fmt.Errorf("the answer is not in payload format 1.0: %w", err)
	}
	if h.Status == nil {
		return nil, fmt.Errorf("the answer is not in payload format 1.0: it has no statusCode")
	}
	h.Cookies = nil
	return h.answer(content)
}

// ParsePrelude reads what a streamed answer says before its body. The Answer has
// none.
func ParsePrelude(prelude []byte, content string) (*Answer, error) {
	h := head{Status: json.RawMessage("200")}
	if err := json.Unmarshal(prelude, &h); err != nil {
		return nil, fmt.Errorf("the metadata of a streamed answer is not JSON: %w", err)
	}
	h.Body, h.Multi = nil, nil
	return h.answer(content)
}

func isObject(b []byte) bool { return bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{")) }

// hasStatus tells an answer in a wrong form from any other object.
func hasStatus(b []byte) bool {
	var probe struct {
		Status json.RawMessage `json:"statusCode"`
	}
	return json.Unmarshal(b, &probe) == nil && probe.Status != nil
}

func (h *head) answer(content string) (*Answer, error) {
	a := &Answer{Header: make(http.Header, len(h.Headers)+len(h.Multi)+1)}
	var err error
	if a.Status, err = strconv.Atoi(strings.Trim(string(h.Status), `"`)); err != nil || a.Status < 200 || a.Status > 599 {
		return nil, fmt.Errorf("statusCode %s is not a number from 200 to 599", h.Status)
	}
	for name, raw := range h.Headers {
		value, ok := scalar(raw)
		if !ok {
			return nil, fmt.Errorf("header %s is not a string, a number or a boolean", name)
		}
		a.Header.Set(name, value)
	}
	for name, values := range h.Multi {
		a.Header.Del(name)
		for _, v := range values {
			a.Header.Add(name, v)
		}
	}
	for _, c := range h.Cookies {
		a.Header.Add("Set-Cookie", c)
	}
	if a.Header.Get("Content-Type") == "" && content != "" {
		a.Header.Set("Content-Type", content)
	}
	dropHopByHop(a.Header)
	if h.Body == nil {
		return a, nil
	}
	a.Body = text(h.Body)
	if string(h.Body) == "null" {
		a.Body = nil
	}
	if h.Base64 {
		if a.Body, err = base64.StdEncoding.DecodeString(string(a.Body)); err != nil {
			return nil, fmt.Errorf("the body is not the base64 that isBase64Encoded promises: %w", err)
		}
	}
	return a, nil
}

// text returns the text of a JSON string, and any other JSON as it is.
func text(raw []byte) []byte {
	var s string
	if json.Unmarshal(raw, &s) == nil && !bytes.Equal(bytes.TrimSpace(raw), []byte("null")) {
		return []byte(s)
	}
	return raw
}

func scalar(raw json.RawMessage) (string, bool) {
	switch {
	case len(raw) == 0 || raw[0] == '{' || raw[0] == '[':
		return "", false
	case string(raw) == "null":
		return "", true
	}
	return string(text(raw)), true
}

// dropHopByHop removes the headers that belong to the connection, which is the
// server's.
func dropHopByHop(h http.Header) {
	for _, name := range []string{"Connection", "Content-Length", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"} {
		h.Del(name)
	}
}

// Send writes the answer. Headers that are set already stay if the answer has
// none of that name.
func (a *Answer) Send(w http.ResponseWriter) {
	a.sendHead(w)
	w.Write(a.Body) // the client may be gone, or its method or the status allow no body
}

func (a *Answer) sendHead(w http.ResponseWriter) {
	h := w.Header()
	for name, values := range a.Header {
		h[name] = values
	}
	w.WriteHeader(a.Status)
}
