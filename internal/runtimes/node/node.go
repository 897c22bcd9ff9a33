// Package node holds the bootstrap that runs Node.js functions. It speaks
// frames (see package sandbox) with the host on descriptors 3 and 4.
package node

import (
	_ "embed"
	"runtime"
)

// Name is the file name that the bootstrap expects to have.
const Name = "bootstrap.cjs"

//go:embed bootstrap.cjs
var source []byte

// Files returns what lies in one directory to run functions, by name: the
// bootstrap, and a native module for copies of snapshots where there is one for
// this machine. The bootstrap runs on Node.js 16 and later. Its one argument is
// the most bytes that an answer may have; the rest it takes from the
// environment, as Lambda documents it. Node.js can't move descriptors, so
// whatever starts it has put the link to 3 (in) and 4 (out).
func Files() map[string][]byte {
	files := map[string][]byte{Name: append([]byte(nil), source...)}
	if module, err := reseedModule(runtime.GOARCH); err == nil {
		files[reseedName] = module // else the bootstrap refuses to become a snapshot
	}
	return files
}
