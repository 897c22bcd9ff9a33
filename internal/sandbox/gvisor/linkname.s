// Empty: it lets the compiler accept functions without a body, which
// go:linkname finds in gVisor.
