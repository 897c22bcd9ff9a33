// Package python holds the bootstrap that runs Python functions: the first
// process of their sandboxes, which speaks frames (see package sandbox) with
// the host on its standard input and output.
package python

import "embed"

// Name is the file name that the bootstrap expects to have.
const Name = "bootstrap.py"

//go:embed *.py
var files embed.FS

// Files returns what lies in one directory to run functions, by name: the
// bootstrap and the modules that it needs or offers. It runs on Python 3.8 and
// later with nothing but the standard library. Its one argument is the most
// bytes that an answer may have; the rest it takes from the environment, as
// Lambda documents it.
func Files() map[string][]byte {
	all := map[string][]byte{}
	entries, _ := files.ReadDir(".") // embedded: it is there
	for _, e := range entries {
		all[e.Name()], _ = files.ReadFile(e.Name())
	}
	return all
}
