// Package node holds the bootstrap that runs Node.js functions. It speaks
// frames (see package sandbox) with the host on descriptors 3 and 4.
package node

import _ "embed"

// Name is the file name that the bootstrap expects to have.
const Name = "bootstrap.cjs"

//go:embed bootstrap.cjs
var source []byte

// Source returns the bootstrap's text. It runs on Node.js 16 and later. Its one
// argument is the most bytes that an answer may have; the rest it takes from
// the environment, as Lambda documents it. Node.js can't move descriptors, so
// whatever starts it has put the link to 3 (in) and 4 (out).
func Source() []byte { return append([]byte(nil), source...) }
