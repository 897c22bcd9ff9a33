package httpapi

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/api/aws/httpevent"
)

// Authorizer decides who may use a route.
type Authorizer interface {
	// authorize lets the request in and fills in what the event tells of its
	// caller, or answers it and returns false.
	authorize(x *exchange) bool
}

func (x *exchange) unauthorized(why string) bool {
	x.denied = why
	x.fail(http.StatusUnauthorized, "Unauthorized")
	return false
}

func (x *exchange) forbidden(why string) bool {
	x.denied = why
	x.fail(http.StatusForbidden, "Forbidden")
	return false
}

// IAM lets in requests that one of the node's keys has signed.
type IAM struct{}

// iamService is what requests to APIs are signed for.
const iamService = "execute-api"

func (IAM) authorize(x *exchange) bool {
	caller, refused := x.s.o.Auth.Authenticate(x.r, x.event.Body, iamService)
	if refused != nil {
		return x.forbidden(refused.Message)
	}
	user := "arn:aws:iam::" + x.s.o.Account + ":user/" + caller.Principal
	x.event.Authorizer = map[string]any{"iam": map[string]any{
		"accessKey": caller.AccessKeyID, "accountId": x.s.o.Account, "callerId": caller.AccessKeyID,
		"cognitoIdentity": nil, "principalOrgId": nil, "userArn": user, "userId": caller.AccessKeyID,
	}}
	x.event.Caller = &httpevent.Caller{AccessKey: caller.AccessKeyID, Account: x.s.o.Account, ARN: user}
	x.principal = map[string]string{"principalId": caller.AccessKeyID}
	return true
}

// IdentitySource is where a request tells who makes it, as it was configured:
// $request.header.NAME, $request.querystring.NAME, $context.NAME or
// $stageVariables.NAME.
type IdentitySource string

// Valid reports whether a source has one of the known forms.
func (s IdentitySource) Valid() bool {
	for _, prefix := range []string{"$request.header.", "$request.querystring.", "$context.", "$stageVariables."} {
		if name, ok := strings.CutPrefix(string(s), prefix); ok && name != "" {
			return true
		}
	}
	return false
}

// of returns the source's value in a request, "" if it has none.
func (s IdentitySource) of(x *exchange) string {
	where := string(s)
	if name, ok := strings.CutPrefix(where, "$request.header."); ok {
		return strings.Join(x.r.Header.Values(name), ",")
	}
	if name, ok := strings.CutPrefix(where, "$request.querystring."); ok {
		return strings.Join(httpevent.Query(x.r.URL.RawQuery)[name], ",")
	}
	if name, ok := strings.CutPrefix(where, "$stageVariables."); ok {
		return x.stage.Variables[name]
	}
	if name, ok := strings.CutPrefix(where, "$context."); ok {
		return x.variable(name)
	}
	return ""
}

// text returns a claim, or a value of a context, as a string.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = text(e)
		}
		return "[" + strings.Join(parts, " ") + "]"
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}

func newBody(b []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(b)) }

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
