package spine

import (
	_ "unsafe" // for linkname
)

// statFile is what the engine reads once a second in any process that links it,
// whether it runs a server or not.
//
//go:linkname statFile github.com/nats-io/nats-server/v2/server/pse.procStatFile
var statFile string

// StopSampling ends the engine's sampling of its own CPU use in this process. A
// sandbox's kernel is a copy of this binary under a filter that forbids opening
// files: it would be killed. Call it in the first second of main.
func StopSampling() {
	statFile = "\x00" // refused before it gets to the system; the sampling ends at the first error
}
