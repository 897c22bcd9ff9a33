package guest

import (
	"github.com/mayfly-dev/mayfly/internal/api/aws/guest/runtimeapi"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

// Inside returns what serves Lambda's Runtime API from within sandboxes' kernels.
func Inside() sandbox.Inside {
	return sandbox.Inside{
		New: func(limit int, out sandbox.Outlet) sandbox.Server { return runtimeapi.New(limit, out) },
		Restore: func(state []byte, out sandbox.Outlet) (sandbox.Server, error) {
			s, err := runtimeapi.Restore(state, out)
			if err != nil {
				return nil, err // not a nil *runtimeapi.Server
			}
			return s, nil
		},
	}
}
