// Package node wires the whole house by hand, in one place: one process, one
// data directory.
package node
