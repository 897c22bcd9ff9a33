//go:build cgo

package gvisor

// withCgo tells that this binary starts C's runtime before Go's. A Sentry, which is
// this binary too, then ends before it can say why: gVisor's system call filter and
// its threads are made for programs without it.
const withCgo = true
