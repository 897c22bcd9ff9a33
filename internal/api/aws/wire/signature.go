package wire

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	algorithm      = "AWS4-HMAC-SHA256"
	scopeEnd       = "aws4_request"
	signatureTime  = "20060102T150405Z"
	maxSkew        = 5 * time.Minute
	maxPresigned   = 7 * 24 * time.Hour
	maxSigned      = 100 // headers in one signature
	presignedParam = "X-Amz-Signature"
)

// signature is what a request says about its own signature, before anything of
// it is believed.
type signature struct {
	accessKey string
	date      string // of the scope, yyyymmdd
	region    string
	service   string
	headers   []string // signed, lower case, as sent
	value     []byte   // the signature itself
	time      time.Time
	stamp     string // time as sent
	token     string // session token
	payload   string // x-amz-content-sha256, or ""
	presigned bool
	expires   time.Duration // of a presigned URL
}

func (s *signature) scope() string {
	return s.date + "/" + s.region + "/" + s.service + "/" + scopeEnd
}

// parseSignature reads the signature of a request from its Authorization
// header or, for a presigned URL, from its query.
func parseSignature(r *http.Request, query url.Values) (*signature, *Error) {
	if auth := r.Header.Get("Authorization"); auth != "" {
		return headerSignature(r.Header, auth)
	}
	if query.Has(presignedParam) || query.Has("X-Amz-Algorithm") {
		return querySignature(r.Header, query)
	}
	return nil, refuse("MissingAuthenticationTokenException", "Missing Authentication Token")
}

// Claim returns the access key and the service that a request says it is signed
// with and for, in its Authorization header or its query; "" if it says neither.
// Nothing of it has been verified.
func Claim(r *http.Request) (accessKey, service string) {
	credential := ""
	if auth := r.Header.Get("Authorization"); auth != "" {
		_, credential, _ = strings.Cut(auth, "Credential=")
		credential, _, _ = strings.Cut(credential, ",")
	} else if strings.Contains(r.URL.RawQuery, "X-Amz-Credential=") {
		credential = r.URL.Query().Get("X-Amz-Credential")
	}
	parts := strings.Split(strings.TrimSpace(credential), "/")
	if len(parts) != 5 {
		return "", ""
	}
	return parts[0], parts[3]
}

// refuse returns an error of authentication. The codes are those of the JSON
// services; refusal words them for the others.
func refuse(code, message string) *Error {
	return &Error{Code: code, Message: message, Status: http.StatusForbidden, own: true}
}

func incomplete(message string) *Error { return refuse("IncompleteSignatureException", message) }

func headerSignature(h http.Header, auth string) (*signature, *Error) {
	scheme, rest, _ := strings.Cut(auth, " ")
	if scheme != algorithm {
		return nil, incomplete("Authorization header requires the algorithm '" + algorithm + "'.")
	}
	params := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		k, v, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			return nil, incomplete("Authorization header holds a part that is not of the form 'name=value'.")
		}
		if _, twice := params[k]; twice {
			return nil, incomplete("Authorization header holds '" + printable(k) + "' twice.")
		}
		params[k] = v
	}
	var missing []string
	for _, k := range []string{"Credential", "Signature", "SignedHeaders"} {
		if params[k] == "" {
			missing = append(missing, "Authorization header requires '"+k+"' parameter.")
		}
	}
	sig := &signature{payload: h.Get("X-Amz-Content-Sha256"), token: h.Get("X-Amz-Security-Token")}
	if sig.stamp = h.Get("X-Amz-Date"); sig.stamp == "" {
		sig.stamp = h.Get("Date")
	}
	if sig.stamp == "" {
		missing = append(missing, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
	}
	if missing != nil {
		return nil, incomplete(strings.Join(missing, " "))
	}
	return sig, sig.fill(params["Credential"], params["SignedHeaders"], params["Signature"])
}

func querySignature(h http.Header, query url.Values) (*signature, *Error) {
	sig := &signature{
		presigned: true, stamp: query.Get("X-Amz-Date"),
		payload: query.Get("X-Amz-Content-Sha256"), token: query.Get("X-Amz-Security-Token"),
	}
	if sig.payload == "" {
		sig.payload = h.Get("X-Amz-Content-Sha256")
	}
	if query.Get("X-Amz-Algorithm") != algorithm {
		return nil, incomplete("AWS query-string parameters must include 'X-Amz-Algorithm' with the value '" + algorithm + "'.")
	}
	for _, k := range []string{"X-Amz-Credential", presignedParam, "X-Amz-SignedHeaders", "X-Amz-Date"} {
		if query.Get(k) == "" || len(query[k]) > 1 {
			return nil, incomplete("AWS query-string parameters must include '" + k + "' once. Re-examine the query-string parameters.")
		}
	}
	sig.expires = 15 * time.Minute
	if e := query.Get("X-Amz-Expires"); e != "" {
		n, err := strconv.Atoi(e)
		if err != nil || n < 1 || time.Duration(n)*time.Second > maxPresigned {
			return nil, incomplete("X-Amz-Expires must be a number of seconds from 1 to 604800.")
		}
		sig.expires = time.Duration(n) * time.Second
	}
	return sig, sig.fill(query.Get("X-Amz-Credential"), query.Get("X-Amz-SignedHeaders"), query.Get(presignedParam))
}

// fill parses the parts that header and query have in common.
func (s *signature) fill(credential, headers, value string) *Error {
	parts := strings.Split(credential, "/")
	if len(parts) != 5 || parts[0] == "" || parts[1] == "" || parts[2] == "" || parts[3] == "" {
		return incomplete("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term.")
	}
	if parts[4] != scopeEnd {
		return refuse("InvalidSignatureException", "Credential should be scoped with a valid terminator: '"+scopeEnd+"'.")
	}
	s.accessKey, s.date, s.region, s.service = parts[0], parts[1], parts[2], parts[3]
	s.headers = strings.Split(headers, ";")
	if len(s.headers) > maxSigned {
		return incomplete("SignedHeaders names more than " + strconv.Itoa(maxSigned) + " headers.")
	}
	host := false
	for i, h := range s.headers {
		if h == "" || h != strings.ToLower(h) || i > 0 && s.headers[i-1] >= h {
			return incomplete("SignedHeaders must be lower case, sorted and separated by ';'.")
		}
		host = host || h == "host"
	}
	if !host {
		return refuse("InvalidSignatureException", "'Host' must be a 'SignedHeader' in the AWS Authorization.")
	}
	var err error
	if s.value, err = hex.DecodeString(value); err != nil || len(s.value) != 32 {
		// What can't be a signature is a wrong one.
		s.value = make([]byte, 32)
	}
	if s.time, err = time.Parse(signatureTime, s.stamp); err != nil {
		if s.time, err = http.ParseTime(s.stamp); err != nil {
			return incomplete("Date must be in ISO-8601 'basic format'. Got '" + printable(s.stamp) + "'. See http://en.wikipedia.org/wiki/ISO_8601")
		}
		s.stamp = s.time.UTC().Format(signatureTime)
	}
	if day := s.time.UTC().Format("20060102"); day != s.date {
		return refuse("InvalidSignatureException", "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '"+
			printable(s.date)+"' != '"+day+"', from '"+s.stamp+"'.")
	}
	return nil
}

// printable shortens what a stranger sent, before it stands in an answer.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s[:min(len(s), 80)])
}

// checkTime refuses a signature that is too old or from the future.
func (s *signature) checkTime(now time.Time) *Error {
	now = now.UTC()
	show := func(t time.Time) string { return t.Format(signatureTime) }
	oldest, old := now.Add(-maxSkew), s.time
	if s.presigned {
		oldest, old = now, s.time.Add(s.expires)
	}
	if old.Before(oldest.Truncate(time.Second)) {
		if s.presigned {
			return refuse("InvalidSignatureException", "Signature expired: "+show(old)+" is now earlier than "+show(now)+".")
		}
		return refuse("InvalidSignatureException", "Signature expired: "+s.stamp+" is now earlier than "+show(oldest)+" ("+show(now)+" - 5 min.)")
	}
	if newest := now.Add(maxSkew); s.time.After(newest) {
		return refuse("InvalidSignatureException", "Signature not yet current: "+s.stamp+" is still later than "+show(newest)+" ("+show(now)+" + 5 min.)")
	}
	return nil
}
