// Package examples holds small functions, one folder per use case. `mayfly
// demo` carries them, and the tests run each.
package examples

import "embed"

// Files holds the folders of all examples.
//
//go:embed */*
var Files embed.FS
