//go:build !cgo

package gvisor

const withCgo = false
