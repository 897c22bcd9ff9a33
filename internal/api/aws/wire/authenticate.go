package wire

import (
	"errors"
	"net/http"
)

// Authenticate verifies the signature of a request that no Mux leads, and returns
// who made it. service is the name it must be signed for; body is the whole body,
// which must be signed too. The error is what to tell the client.
func (a *Authenticator) Authenticate(r *http.Request, body []byte, service string) (Caller, *Error) {
	query := r.URL.Query()
	sig, refused := parseSignature(r, query)
	if refused != nil {
		return Caller{}, refused
	}
	if sig.service != service {
		return Caller{}, refuse("InvalidSignatureException", "Credential should be scoped to correct service: '"+service+"'.")
	}
	t, err := a.begin(r, sig, sentPath(r), query)
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			e = internalFailure(err)
		}
		return Caller{}, e
	}
	sum := hexSHA256(body)
	if t.payload != "" && t.payload != sum {
		return Caller{}, refuse("InvalidSignatureException", "The x-amz-content-sha256 header is not the hash of the body.")
	}
	if e := t.verify(sum, SigningRules{}); e != nil {
		return Caller{}, e
	}
	return t.caller, nil
}
