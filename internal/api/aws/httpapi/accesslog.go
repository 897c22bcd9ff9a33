package httpapi

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/httpevent"
)

// AccessLog writes a line for each request of a stage.
type AccessLog struct {
	group string
	parts []string // text and names of variables in turns, text first
}

// variableRE finds the variables of a format: $context.identity.sourceIp.
var variableRE = regexp.MustCompile(`\$context\.[a-zA-Z0-9_.:-]*[a-zA-Z0-9_]`)

// NewAccessLog returns the access log of a format for a log group.
func NewAccessLog(group, format string) *AccessLog {
	l := &AccessLog{group: group}
	format = strings.ReplaceAll(format, "\n", " ")
	for {
		at := variableRE.FindStringIndex(format)
		if at == nil {
			l.parts = append(l.parts, format)
			return l
		}
		l.parts = append(l.parts, format[:at[0]], strings.TrimPrefix(format[at[0]:at[1]], "$context."))
		format = format[at[1]:]
	}
}

// log writes the request's line, if its stage has an access log.
func (x *exchange) log() {
	if x.stage == nil || x.stage.Log == nil {
		return
	}
	var b strings.Builder
	for i, part := range x.stage.Log.parts {
		if i%2 == 1 {
			part = x.logged(part)
		}
		b.WriteString(part)
	}
	x.s.o.Access(x.stage.Log.group, b.String())
}

// logged returns a variable as it may stand in a line, and in a string of JSON:
// clients choose much of it. What is not known is a dash.
func (x *exchange) logged(name string) string {
	value := x.variable(name)
	if value == "" {
		return "-"
	}
	b, err := json.Marshal(value)
	if err != nil {
		return "-"
	}
	return string(b[1 : len(b)-1])
}

// variable returns the value of a $context variable, "" if it has none.
func (x *exchange) variable(name string) string {
	if v, ok := strings.CutPrefix(name, "authorizer."); ok {
		if v == "error" {
			return x.denied
		}
		return x.principal[v]
	}
	if v, ok := strings.CutPrefix(name, "identity."); ok && x.event.Caller != nil {
		if s, ok := callerVariable(x.event.Caller, v); ok {
			return s
		}
	}
	if v, ok := x.requestVariable(name); ok {
		return v
	}
	switch name {
	case "status":
		return strconv.Itoa(x.w.status)
	case "responseLength":
		return strconv.FormatInt(x.w.bytes, 10)
	case "responseLatency":
		return strconv.FormatInt(time.Since(x.began).Milliseconds(), 10)
	case "integrationLatency", "integration.latency":
		return strconv.FormatInt(x.took.Milliseconds(), 10)
	case "integrationStatus", "integration.integrationStatus", "integration.status":
		if x.status != 0 {
			return strconv.Itoa(x.status)
		}
	case "integrationErrorMessage", "integration.error":
		return x.broken
	case "error.message":
		return x.problem
	case "error.messageString":
		if x.problem != "" {
			return strconv.Quote(x.problem)
		}
	}
	return ""
}

// callerVariable is variable for who signed the request.
func callerVariable(c *httpevent.Caller, name string) (value string, ok bool) {
	switch name {
	case "accessKey", "caller", "user":
		return c.AccessKey, true
	case "accountId":
		return c.Account, true
	case "userArn":
		return c.ARN, true
	}
	return "", false
}

// requestVariable is variable for what is known before the answer.
func (x *exchange) requestVariable(name string) (value string, ok bool) {
	e := x.event
	switch name {
	case "requestId", "extendedRequestId":
		return x.id, true
	case "accountId":
		return e.Account, true
	case "apiId":
		return e.API, true
	case "domainName":
		return e.Domain, true
	case "domainPrefix":
		prefix, _, _ := strings.Cut(e.Domain, ".")
		return prefix, true
	case "stage":
		return e.Stage, true
	case "routeKey":
		return e.RouteKey, true
	case "httpMethod":
		return x.r.Method, true
	case "path":
		return x.event.PlainPath(), true
	case "protocol":
		return x.r.Proto, true
	case "requestTime":
		return x.began.UTC().Format("02/Jan/2006:15:04:05 -0700"), true
	case "requestTimeEpoch":
		return strconv.FormatInt(x.began.UnixMilli(), 10), true
	case "identity.sourceIp":
		return e.SourceIP(), true
	case "identity.userAgent":
		return x.r.UserAgent(), true
	}
	return "", false
}
