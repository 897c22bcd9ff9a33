package httpevent

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

type identity1 struct {
	AccessKey       *string `json:"accessKey"`
	AccountID       *string `json:"accountId"`
	Caller          *string `json:"caller"`
	CognitoAMR      *string `json:"cognitoAmr"`
	CognitoProvider *string `json:"cognitoAuthenticationProvider"`
	CognitoType     *string `json:"cognitoAuthenticationType"`
	CognitoIdentity *string `json:"cognitoIdentityId"`
	CognitoPool     *string `json:"cognitoIdentityPoolId"`
	PrincipalOrgID  *string `json:"principalOrgId"`
	SourceIP        string  `json:"sourceIp"`
	User            *string `json:"user"`
	UserAgent       string  `json:"userAgent"`
	UserARN         *string `json:"userArn"`
}

type context1 struct {
	AccountID        string         `json:"accountId"`
	APIID            string         `json:"apiId"`
	Authorizer       map[string]any `json:"authorizer,omitempty"`
	DomainName       string         `json:"domainName"`
	DomainPrefix     string         `json:"domainPrefix"`
	ExtendedID       string         `json:"extendedRequestId"`
	Method           string         `json:"httpMethod"`
	Identity         identity1      `json:"identity"`
	Path             string         `json:"path"`
	Protocol         string         `json:"protocol"`
	RequestID        string         `json:"requestId"`
	RequestTime      string         `json:"requestTime"`
	RequestTimeEpoch int64          `json:"requestTimeEpoch"`
	ResourceID       string         `json:"resourceId"`
	ResourcePath     string         `json:"resourcePath"`
	Stage            string         `json:"stage"`
}

// event1 is payload format 1.0 but for the body. Type, MethodARN, IdentitySource and Token are an
// authorizer's event's alone.
type event1 struct {
	Version        string              `json:"version"`
	Type           string              `json:"type,omitempty"`
	MethodARN      string              `json:"methodArn,omitempty"`
	IdentitySource string              `json:"identitySource,omitempty"`
	Token          string              `json:"authorizationToken,omitempty"`
	Resource       string              `json:"resource"`
	Path           string              `json:"path"`
	Method         string              `json:"httpMethod"`
	Headers        map[string]string   `json:"headers"`
	MultiHeaders   map[string][]string `json:"multiValueHeaders"`
	Query          map[string]string   `json:"queryStringParameters"`
	MultiQuery     map[string][]string `json:"multiValueQueryStringParameters"`
	Context        context1            `json:"requestContext"`
	PathParameters map[string]string   `json:"pathParameters"`
	Variables      map[string]string   `json:"stageVariables"`
}

// V1 returns the event of payload format 1.0, as HTTP APIs send it.
func (q *Request) V1() ([]byte, error) {
	e := struct {
		*event1
		Body   *string `json:"body"`
		Base64 bool    `json:"isBase64Encoded"`
	}{event1: q.event1()}
	if text, encoded := q.body(); text != "" {
		e.Body, e.Base64 = &text, encoded
	}
	return json.Marshal(e)
}

func (q *Request) event1() *event1 {
	path := q.PlainPath()
	header := q.header()
	variables := q.StageVariables
	if len(variables) == 0 {
		variables = nil // null, not an empty object
	}
	values := Query(q.HTTP.URL.RawQuery)
	return &event1{
		Version: "1.0", Resource: q.resource(), Path: path, Method: q.HTTP.Method,
		Headers: last(header), MultiHeaders: header, Query: last(values), MultiQuery: multi(values),
		Context: context1{
			AccountID: q.Account, APIID: q.API, Authorizer: q.Authorizer1, DomainName: q.Domain, DomainPrefix: q.domainPrefix(),
			ExtendedID: q.ID, Method: q.HTTP.Method,
			Identity: q.identity1(),
			Path:     path, Protocol: q.HTTP.Proto, RequestID: q.ID,
			RequestTime: q.Time.UTC().Format(timeLayout), RequestTimeEpoch: q.Time.UnixMilli(),
			ResourceID: q.RouteKey, ResourcePath: q.resource(), Stage: q.Stage,
		},
		PathParameters: q.PathParameters, Variables: variables,
	}
}

func (q *Request) identity1() identity1 {
	i := identity1{SourceIP: q.SourceIP(), UserAgent: q.HTTP.UserAgent()}
	if c := q.Caller; c != nil {
		i.AccessKey, i.AccountID, i.Caller, i.User, i.UserARN = &c.AccessKey, &c.Account, &c.AccessKey, &c.AccessKey, &c.ARN
	}
	return i
}

// resource is the route's path, as it was configured.
func (q *Request) resource() string {
	if _, path, ok := strings.Cut(q.RouteKey, " "); ok {
		return path
	}
	return q.RouteKey
}

// last returns the last value of each name.
func last[M http.Header | url.Values](values M) map[string]string {
	if len(values) == 0 {
		return nil
	}
	m := make(map[string]string, len(values))
	for name, v := range values {
		if len(v) > 0 {
			m[name] = v[len(v)-1]
		}
	}
	return m
}

func multi(values url.Values) map[string][]string {
	if len(values) == 0 {
		return nil
	}
	return values
}
