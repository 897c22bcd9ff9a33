package guest

import _ "embed"

//go:embed agent_arm64.gz
var compressedAgent []byte
