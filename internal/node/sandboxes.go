package node

import (
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/mayfly-dev/mayfly/internal/api/aws/guest"
	"github.com/mayfly-dev/mayfly/internal/sandbox/gvisor/egress"
)

// instanceAccess says how an instance's code reaches the node's API. The address is
// the same in all instances and after each start; only plain processes, which
// have the host's network, use the port that the node happens to have.
func (n *Node) instanceAccess(function, instance string) (guest.Access, bool) {
	var a guest.Access
	switch {
	case n.callers != nil:
		a.Endpoint = "http://" + egress.APIAddress.Addr().String()
	case n.cfg.Driver == DriverProcess:
		a.Endpoint = "http://" + n.loopback()
	default: // instances without a network
		return a, false
	}
	key, err := n.signers.Instance(function, instance)
	if err != nil { // it is being deleted
		return a, false
	}
	a.KeyID, a.Secret, a.Token = key.ID, key.Secret, key.Token
	return a, true
}

// loopback returns the node's address as programs on this machine reach it.
func (n *Node) loopback() string {
	address, ok := n.listener.Addr().(*net.TCPAddr)
	if ok && address.IP.IsUnspecified() {
		return fmt.Sprintf("127.0.0.1:%d", address.Port)
	}
	return n.listener.Addr().String()
}

// serveSandboxes answers requests of sandboxes until the server is shut down.
func (n *Node) serveSandboxes() error {
	if n.callers == nil {
		return nil
	}
	if err := n.inner.Serve(n.callers); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the API to sandboxes: %w", err)
	}
	return nil
}
