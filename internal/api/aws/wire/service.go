package wire

import (
	"context"
	"fmt"
)

// Protocol is one of the forms in which AWS services speak HTTP.
type Protocol uint8

// The protocols that the codec knows.
const (
	RESTJSON Protocol = iota + 1
	JSON10
	JSON11
	Query
	RESTXML
)

var protocolNames = [...]string{"", "rest-json", "json-1.0", "json-1.1", "query", "rest-xml"}

// String returns the protocol's name in AWS's models.
func (p Protocol) String() string {
	if int(p) < len(protocolNames) {
		return protocolNames[p]
	}
	return fmt.Sprintf("protocol(%d)", uint8(p))
}

// Service is a service as the Mux offers it. It is made by a generated
// NewService, adjusted with Limit and the exported fields, and not changed
// once it is registered.
type Service struct {
	Name         string     // the name in the credential scope, e.g. "lambda"
	Protocols    []Protocol // in order of preference; the request decides
	TargetPrefix string     // JSON 1.x: what X-Amz-Target begins with
	Namespace    string     // XML namespace of answers
	Operations   []*Operation
	Errors       map[string]ErrorInfo
	Signing      SigningRules
	BareErrors   bool // rest-xml: errors have the form of S3

	routes *router // of the REST protocols
	byName map[string]*Operation
}

// Operation is one operation of a service.
type Operation struct {
	Name    string
	Method  string // HTTP method
	Path    string // URI template, perhaps with a constant query, e.g. "/{Bucket}/{Key+}?acl"
	Status  int    // HTTP status of success
	Wrapper string // query: the element around the result
	Handler Handler

	maxBody  int64  // bytes; 0 means defaultMaxBody
	tooLarge *Error // the answer to a larger body
}

// Handler is a method of a generated API interface, without its types.
type Handler struct {
	Input *Shape
	New   func() Struct // an empty input
	Call  func(ctx context.Context, in Struct) (Struct, error)
}

// Handle returns the Handler for a method of an API interface.
func Handle[I, O any, PI structPtr[I], PO structPtr[O]](method func(context.Context, PI) (PO, error)) Handler {
	return Handler{
		Input: PI(new(I)).Shape(),
		New:   func() Struct { return PI(new(I)) },
		Call: func(ctx context.Context, in Struct) (Struct, error) {
			out, err := method(ctx, in.(PI))
			if err != nil {
				return nil, err
			}
			if out == nil {
				return PO(new(O)), nil
			}
			return out, nil
		},
	}
}

type structPtr[T any] interface {
	*T
	Struct
}

// SigningRules are the ways in which a service departs from the common rules
// of Signature Version 4. The zero value is right for all but S3.
type SigningRules struct {
	RawPath         bool // the path is signed as sent: neither normalised nor encoded a second time
	UnsignedPayload bool // UNSIGNED-PAYLOAD is accepted
	Streaming       bool // aws-chunked bodies are accepted
}

// Limit sets the largest body, in bytes, that an operation takes, and the
// error for a larger one. It panics if the service has no such operation:
// that is a fault in the program.
func (s *Service) Limit(operation string, bytes int64, refusal *Error) {
	for _, op := range s.Operations {
		if op.Name == operation {
			op.maxBody, op.tooLarge = bytes, refusal
			return
		}
	}
	panic("wire: service " + s.Name + " has no operation " + operation)
}

// prepare makes the tables that requests are led by.
func (s *Service) prepare() {
	s.routes = newRouter(s.Operations)
	s.byName = make(map[string]*Operation, len(s.Operations))
	for _, op := range s.Operations {
		s.byName[op.Name] = op
	}
}

// streams reports whether the operation reads its body while it arrives.
func (op *Operation) streams() bool {
	i := op.Handler.Input.payload()
	return i >= 0 && op.Handler.Input.Members[i].Streaming
}
