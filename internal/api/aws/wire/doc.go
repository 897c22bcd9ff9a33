// Package wire speaks the protocols of AWS's services on the server's side:
// Signature Version 4, the codec for rest-json, json 1.0, json 1.1, query and
// rest-xml, and the Mux that leads a request to a service.
//
// There is one codec. It walks Shapes, which come from the generator in gen
// (for the services we serve) or from a model at run time (for the protocol
// test vectors), and sees values only as Structs.
package wire
