// Package httpevent translates between HTTP and the events in which Lambda
// functions see it: the payload formats 1.0 and 2.0 of requests and of answers,
// which function URLs and HTTP APIs share.
package httpevent

import (
	"encoding/base64"
	"encoding/json"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Request is an HTTP request with what its endpoint knows of it.
type Request struct {
	HTTP    *http.Request
	Path    string // escaped, as the endpoint shows it: without the prefix of its address
	Body    []byte
	ID      string // of the request
	TraceID string // for the x-amzn-trace-id header, if the client sent none
	Time    time.Time

	Account        string // 12 digits, or "anonymous"
	API            string // id of the endpoint
	Domain         string // host name of the endpoint
	Stage          string
	RouteKey       string // as it was configured: "GET /pets/{id}", "$default"
	PathParameters map[string]string
	StageVariables map[string]string

	// Authorizer is what an authorizer found out, as requestContext.authorizer
	// shows it; nil without one. It is for format 2.0.
	Authorizer any
	// Authorizer1 is the same for format 1.0.
	Authorizer1 map[string]any
	// Caller is who signed the request, for format 1.0; nil for nobody.
	Caller *Caller

	// URL makes the event a function URL's, which differs from an HTTP API's: the
	// path stays escaped, and cookies are shown as a header too.
	URL bool
}

// Caller is who signed a request.
type Caller struct {
	AccessKey string
	Account   string
	ARN       string // of the user
}

// context is what formats 1.0 and 2.0 call requestContext.http and identity.
type httpContext struct {
	Method    string `json:"method"`
	Path      string `json:"path"`
	Protocol  string `json:"protocol"`
	SourceIP  string `json:"sourceIp"`
	UserAgent string `json:"userAgent"`
}

type context2 struct {
	AccountID    string      `json:"accountId"`
	APIID        string      `json:"apiId"`
	Authorizer   any         `json:"authorizer,omitempty"`
	DomainName   string      `json:"domainName"`
	DomainPrefix string      `json:"domainPrefix"`
	HTTP         httpContext `json:"http"`
	RequestID    string      `json:"requestId"`
	RouteKey     string      `json:"routeKey"`
	Stage        string      `json:"stage"`
	Time         string      `json:"time"`
	TimeEpoch    int64       `json:"timeEpoch"`
}

// event2 is payload format 2.0. Type, RouteARN and Identity are an authorizer's
// event's alone.
type event2 struct {
	Version   string            `json:"version"`
	Type      string            `json:"type,omitempty"`
	RouteARN  string            `json:"routeArn,omitempty"`
	Identity  []string          `json:"identitySource,omitempty"`
	RouteKey  string            `json:"routeKey"`
	RawPath   string            `json:"rawPath"`
	RawQuery  string            `json:"rawQueryString"`
	Cookies   []string          `json:"cookies,omitempty"`
	Headers   map[string]string `json:"headers"`
	Query     map[string]string `json:"queryStringParameters,omitempty"`
	Context   context2          `json:"requestContext"`
	Path      map[string]string `json:"pathParameters,omitempty"`
	Variables map[string]string `json:"stageVariables,omitempty"`
	Body      *string           `json:"body,omitempty"`
	Base64    *bool             `json:"isBase64Encoded,omitempty"`
}

// timeLayout is the Common Log Format's.
const timeLayout = "02/Jan/2006:15:04:05 -0700"

// V2 returns the event of payload format 2.0:
// https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
func (q *Request) V2() ([]byte, error) {
	e := q.event2()
	body, encoded := q.body()
	if body != "" {
		e.Body = &body
	}
	e.Base64 = &encoded
	return json.Marshal(e)
}

func (q *Request) event2() *event2 {
	plain := q.PlainPath()
	raw := plain
	if q.URL {
		raw = q.Path
	}
	header := q.header()
	e := &event2{
		Version: "2.0", RouteKey: q.RouteKey, RawPath: raw, RawQuery: q.HTTP.URL.RawQuery,
		Cookies: cookies(header), Query: joined(Query(q.HTTP.URL.RawQuery)),
		Context: context2{
			AccountID: q.Account, APIID: q.API, Authorizer: q.Authorizer, DomainName: q.Domain, DomainPrefix: q.domainPrefix(),
			HTTP:      httpContext{q.HTTP.Method, plain, q.HTTP.Proto, q.SourceIP(), q.HTTP.UserAgent()},
			RequestID: q.ID, RouteKey: q.RouteKey, Stage: q.Stage,
			Time: q.Time.UTC().Format(timeLayout), TimeEpoch: q.Time.UnixMilli(),
		},
		Path: q.PathParameters, Variables: q.StageVariables,
	}
	if !q.URL {
		delete(header, "Cookie")
	} else if c := header["Cookie"]; len(c) > 1 {
		header["Cookie"] = []string{strings.Join(c, "; ")} // a comma would be a part of a value
	}
	e.Headers = make(map[string]string, len(header))
	for name, values := range header {
		e.Headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	return e
}

// PlainPath returns the path without escapes.
func (q *Request) PlainPath() string {
	plain, err := url.PathUnescape(q.Path)
	if err != nil { // the endpoint has refused such paths
		return q.Path
	}
	return plain
}

func (q *Request) domainPrefix() string {
	prefix, _, _ := strings.Cut(q.Domain, ".")
	return prefix
}

// SourceIP returns the address of the client, or of the proxy before the node.
func (q *Request) SourceIP() string {
	host, _, err := net.SplitHostPort(q.HTTP.RemoteAddr)
	if err != nil {
		return q.HTTP.RemoteAddr
	}
	return host
}

// header returns the request's header with what the endpoint adds to it.
func (q *Request) header() http.Header {
	h := make(http.Header, len(q.HTTP.Header)+5)
	for name, values := range q.HTTP.Header {
		h[name] = values
	}
	delete(h, "Connection")
	if q.Authorizer != nil && q.URL {
		delete(h, "Authorization") // a signature is for the endpoint
	}
	h["Host"] = []string{q.HTTP.Host}
	h["X-Forwarded-For"] = append(slices.Clip(slices.Clone(h["X-Forwarded-For"])), q.SourceIP())
	if n := len(h["X-Forwarded-For"]); n > 1 {
		h["X-Forwarded-For"] = []string{strings.Join(h["X-Forwarded-For"], ", ")}
	}
	proto, port := "http", "80"
	if q.HTTP.TLS != nil {
		proto, port = "https", "443"
	}
	if _, p, err := net.SplitHostPort(q.HTTP.Host); err == nil {
		port = p
	}
	h["X-Forwarded-Proto"], h["X-Forwarded-Port"] = []string{proto}, []string{port}
	if h.Get("X-Amzn-Trace-Id") == "" {
		trace, _, _ := strings.Cut(q.TraceID, ";")
		h["X-Amzn-Trace-Id"] = []string{trace}
	}
	return h
}

// cookies returns the request's cookies, each NAME=VALUE.
func cookies(h http.Header) (list []string) {
	for _, line := range h["Cookie"] {
		for part := range strings.SplitSeq(line, ";") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
	}
	return list
}

// Query parses a query. Other than net/url, it drops nothing: a semicolon is a
// character like others, and what is no valid escape stays as it is.
func Query(raw string) url.Values {
	if raw == "" {
		return nil
	}
	values := url.Values{}
	for pair := range strings.SplitSeq(raw, "&") {
		if pair != "" {
			name, value, _ := strings.Cut(pair, "=")
			values.Add(unescape(name), unescape(value))
		}
	}
	return values
}

func unescape(s string) string {
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}

func joined(values url.Values) map[string]string {
	if len(values) == 0 {
		return nil
	}
	m := make(map[string]string, len(values))
	for name, v := range values {
		m[name] = strings.Join(v, ",")
	}
	return m
}

// body returns the body as an event holds it.
func (q *Request) body() (text string, encoded bool) {
	if len(q.Body) == 0 {
		return "", false
	}
	if IsText(q.HTTP.Header.Get("Content-Type")) && utf8.Valid(q.Body) {
		return string(q.Body), false
	}
	return base64.StdEncoding.EncodeToString(q.Body), true
}

// IsText reports whether bodies of a content type are shown as they are. All
// others, forms and bodies without a type among them, are shown in base64.
func IsText(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		kind, _, _ = strings.Cut(strings.ToLower(contentType), ";")
		kind = strings.TrimSpace(kind)
	}
	if strings.HasPrefix(kind, "text/") || strings.HasSuffix(kind, "+json") || strings.HasSuffix(kind, "+xml") {
		return true
	}
	return kind == "application/json" || kind == "application/javascript" || kind == "application/xml"
}
