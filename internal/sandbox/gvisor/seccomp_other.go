//go:build !amd64

package gvisor

import "gvisor.dev/gvisor/pkg/seccomp/precompiledseccomp"

// seccompPrograms returns none: filters are precompiled on the architecture
// that they are for. gVisor then compiles them at each sandbox's start.
func seccompPrograms() map[string]precompiledseccomp.Program { return nil }
