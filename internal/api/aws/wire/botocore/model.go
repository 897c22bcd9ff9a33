// Package botocore reads service models in the JSON form of the AWS SDK for
// Python (botocore, Apache-2.0) and turns their shapes into the codec's.
package botocore

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Model is a service model, restricted to what the codec and its generator use.
type Model struct {
	Metadata   Metadata              `json:"metadata"`
	Operations map[string]*Operation `json:"operations"`
	Shapes     map[string]*Shape     `json:"shapes"`
}

// Metadata is what a model says of the service as a whole.
type Metadata struct {
	APIVersion         string    `json:"apiVersion"`
	EndpointPrefix     string    `json:"endpointPrefix,omitempty"`
	SigningName        string    `json:"signingName,omitempty"`
	Protocol           string    `json:"protocol"`
	JSONVersion        string    `json:"jsonVersion,omitempty"`
	TargetPrefix       string    `json:"targetPrefix,omitempty"`
	XMLNamespace       string    `json:"xmlNamespace,omitempty"`
	ServiceFullName    string    `json:"serviceFullName,omitempty"`
	AWSQueryCompatible *struct{} `json:"awsQueryCompatible,omitempty"`
}

// Operation is an operation of a model.
type Operation struct {
	Name   string `json:"name"`
	HTTP   HTTP   `json:"http"`
	Input  *Ref   `json:"input,omitempty"`
	Output *Ref   `json:"output,omitempty"`
	Errors []*Ref `json:"errors,omitempty"`
}

// HTTP is an operation's binding to HTTP.
type HTTP struct {
	Method       string `json:"method"`
	RequestURI   string `json:"requestUri"`
	ResponseCode int    `json:"responseCode,omitempty"`
}

// Ref is a reference to a shape from an operation, a structure, a list or a
// map, with what the place where it stands says about it.
type Ref struct {
	Shape            string        `json:"shape"`
	Location         string        `json:"location,omitempty"`
	LocationName     string        `json:"locationName,omitempty"`
	QueryName        string        `json:"queryName,omitempty"` // ours: see the overlays in models
	ResultWrapper    string        `json:"resultWrapper,omitempty"`
	TimestampFormat  string        `json:"timestampFormat,omitempty"`
	Flattened        bool          `json:"flattened,omitempty"`
	XMLAttribute     bool          `json:"xmlAttribute,omitempty"`
	JSONValue        bool          `json:"jsonvalue,omitempty"`
	Streaming        bool          `json:"streaming,omitempty"`
	EventPayload     bool          `json:"eventpayload,omitempty"`
	IdempotencyToken bool          `json:"idempotencyToken,omitempty"`
	XMLNamespace     *XMLNamespace `json:"xmlNamespace,omitempty"`
}

// Shape is a shape of a model.
type Shape struct {
	Type            string          `json:"type"`
	Members         map[string]*Ref `json:"members,omitempty"`
	Required        []string        `json:"required,omitempty"`
	Payload         string          `json:"payload,omitempty"`
	Member          *Ref            `json:"member,omitempty"`
	Key             *Ref            `json:"key,omitempty"`
	Value           *Ref            `json:"value,omitempty"`
	Enum            []string        `json:"enum,omitempty"`
	Min             *float64        `json:"min,omitempty"`
	Max             *float64        `json:"max,omitempty"`
	Pattern         string          `json:"pattern,omitempty"`
	Sensitive       bool            `json:"sensitive,omitempty"`
	LocationName    string          `json:"locationName,omitempty"`
	TimestampFormat string          `json:"timestampFormat,omitempty"`
	Flattened       bool            `json:"flattened,omitempty"`
	Streaming       bool            `json:"streaming,omitempty"`
	Document        bool            `json:"document,omitempty"`
	Union           bool            `json:"union,omitempty"`
	EventStream     bool            `json:"eventstream,omitempty"`
	Event           bool            `json:"event,omitempty"`
	XMLNamespace    *XMLNamespace   `json:"xmlNamespace,omitempty"`
	Exception       bool            `json:"exception,omitempty"`
	Fault           bool            `json:"fault,omitempty"`
	Error           *ErrorTrait     `json:"error,omitempty"`
}

// ErrorTrait is how an error shape is written.
type ErrorTrait struct {
	Code        string `json:"code,omitempty"`
	Status      int    `json:"httpStatusCode,omitempty"`
	SenderFault bool   `json:"senderFault,omitempty"`
}

// XMLNamespace is an XML namespace; some models write the bare URI.
type XMLNamespace struct {
	Prefix string `json:"prefix,omitempty"`
	URI    string `json:"uri"`
}

// UnmarshalJSON accepts an object or the bare URI.
func (n *XMLNamespace) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &n.URI)
	}
	type plain XMLNamespace
	return json.Unmarshal(b, (*plain)(n))
}

// Trim returns a model that holds only the operations named and the shapes
// that they reach.
func (m *Model) Trim(operations []string) (*Model, error) {
	out := &Model{Metadata: m.Metadata, Operations: map[string]*Operation{}, Shapes: map[string]*Shape{}}
	var reach func(*Ref) error
	reach = func(r *Ref) error {
		if r == nil || out.Shapes[r.Shape] != nil {
			return nil
		}
		s := m.Shapes[r.Shape]
		if s == nil {
			return fmt.Errorf("the model has no shape %s", r.Shape)
		}
		out.Shapes[r.Shape] = s
		for _, ref := range s.refs() {
			if err := reach(ref); err != nil {
				return err
			}
		}
		return nil
	}
	for _, name := range operations {
		op := m.Operations[name]
		if op == nil {
			return nil, fmt.Errorf("the model has no operation %s", name)
		}
		out.Operations[name] = op
		for _, ref := range append([]*Ref{op.Input, op.Output}, op.Errors...) {
			if err := reach(ref); err != nil {
				return nil, fmt.Errorf("operation %s: %w", name, err)
			}
		}
	}
	return out, nil
}

// refs returns all references that leave s, in a stable order.
func (s *Shape) refs() []*Ref {
	refs := []*Ref{s.Member, s.Key, s.Value}
	for _, name := range slices.Sorted(maps.Keys(s.Members)) {
		refs = append(refs, s.Members[name])
	}
	return refs
}
