package guest

import (
	"bytes"
	"compress/gzip"
	"io"
	"sync"
)

//go:generate go run ./agentgen

// agentName is the agent's file name in Paths.Runtime.
const agentName = "agent"

// Agent returns the program of package guest/agent for this node's
// architecture, as an executable file's bytes. They must not be changed.
func Agent() []byte { return agent() }

var agent = sync.OnceValue(func() []byte {
	r, err := gzip.NewReader(bytes.NewReader(compressedAgent))
	if err != nil {
		panic("guest: the embedded agent is damaged: " + err.Error())
	}
	b, err := io.ReadAll(r)
	if err != nil {
		panic("guest: the embedded agent is damaged: " + err.Error())
	}
	return b
})
