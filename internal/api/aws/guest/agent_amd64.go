package guest

import _ "embed"

//go:embed agent_amd64.gz
var compressedAgent []byte
