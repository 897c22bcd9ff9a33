package wire

import (
	"net/http"
	"strings"
)

// codes are what a family of services calls the errors that do not come from
// an operation. wire speaks of them in the words of the JSON services.
var (
	queryCodes = map[string]string{
		"MissingAuthenticationTokenException": "MissingAuthenticationToken",
		"UnrecognizedClientException":         "InvalidClientTokenId",
		"InvalidSignatureException":           "SignatureDoesNotMatch",
		"IncompleteSignatureException":        "IncompleteSignature",
		"ExpiredTokenException":               "ExpiredToken",
		"UnknownOperationException":           "InvalidAction",
		"SerializationException":              "MalformedQueryString",
		"XAmzContentSHA256Mismatch":           "SignatureDoesNotMatch",
		"AccessDeniedException":               "AccessDenied",
	}
	bareCodes = map[string]string{
		"MissingAuthenticationTokenException": "AccessDenied",
		"UnrecognizedClientException":         "InvalidAccessKeyId",
		"InvalidSignatureException":           "SignatureDoesNotMatch",
		"IncompleteSignatureException":        "AuthorizationHeaderMalformed",
		"ExpiredTokenException":               "ExpiredToken",
		"UnknownOperationException":           "MethodNotAllowed",
		"SerializationException":              "MalformedXML",
		"RequestEntityTooLargeException":      "EntityTooLarge",
		"InternalFailure":                     "InternalError",
		"AccessDeniedException":               "AccessDenied",
	}
)

// reword returns e as the service and protocol call it. Only errors that wire
// itself makes are given to it.
func (s *Service) reword(p Protocol, e *Error) *Error {
	c := *e
	switch {
	case s != nil && s.BareErrors:
		c.Code = orElse(bareCodes[e.Code], e.Code)
		if strings.HasPrefix(e.Message, "Signature expired") || strings.HasPrefix(e.Message, "Signature not yet") {
			c.Code, c.Message = "RequestTimeTooSkewed", "The difference between the request time and the current time is too large."
		}
		if e.Code == "UnknownOperationException" {
			c.Status = http.StatusMethodNotAllowed
		}
		return &c
	case p == Query:
		c.Code = orElse(queryCodes[e.Code], e.Code)
		if e.Code == "UnknownOperationException" || e.Code == "IncompleteSignatureException" {
			c.Status = http.StatusBadRequest
		}
		return &c
	case e.Code == "XAmzContentSHA256Mismatch":
		c.Code, c.Status = "InvalidSignatureException", http.StatusForbidden
	case e.Code == "InternalFailure" && s != nil:
		if _, ok := s.Errors["ServiceException"]; ok {
			c.Code = "ServiceException"
		}
	}
	// The JSON 1.x services answer 400 where the REST ones tell more.
	if (p == JSON10 || p == JSON11) && c.Status >= 400 && c.Status < 500 {
		c.Status = http.StatusBadRequest
	}
	return &c
}
