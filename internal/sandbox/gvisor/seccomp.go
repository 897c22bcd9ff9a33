package gvisor

import (
	_ "unsafe" // for go:linkname

	"gvisor.dev/gvisor/pkg/seccomp/precompiledseccomp"
	"gvisor.dev/gvisor/runsc/boot/filter"
)

// gVisor can compile its system call filters when it is built, but only with
// Bazel: as a Go module it compiles them at the start of each sandbox, which
// takes 20 ms. The generated seccomp_*.go hold the programs for our options and
// our version of gVisor; TestSeccompPrograms checks both.
//
//go:generate go run ./seccompgen

// compiledPrograms is where gVisor looks programs up.
//
//go:linkname compiledPrograms gvisor.dev/gvisor/runsc/boot/filter.precompiledPrograms
var compiledPrograms map[string]precompiledseccomp.Program

// installSeccompPrograms gives gVisor the generated programs. It must run
// before gVisor boots, in the sandbox's process.
func installSeccompPrograms() {
	filter.GetPrecompiled("") // gVisor fills its map once; afterwards ours stays
	compiledPrograms = seccompPrograms()
}
