// Package python holds the bootstrap that runs Python functions: the first
// process of their sandboxes, which speaks frames (see package sandbox) with
// the host on its standard input and output.
package python

import _ "embed"

// Name is the file name that the bootstrap expects to have.
const Name = "bootstrap.py"

//go:embed bootstrap.py
var source []byte

// Source returns the bootstrap's text. It runs on Python 3.8 and later with
// nothing but the standard library. Its one argument is the most bytes that an
// answer may have; the rest it takes from the environment, as Lambda documents it.
func Source() []byte { return append([]byte(nil), source...) }
