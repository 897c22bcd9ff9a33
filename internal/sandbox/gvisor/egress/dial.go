package egress

import (
	"context"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Dial opens a TCP connection to a port of the sandbox whose namespace, as Attach
// returned it, is at netnsPath. No other program of the host can: see nodeMark.
func (n *Network) Dial(ctx context.Context, netnsPath string, port int) (net.Conn, error) {
	v := n.at(netnsPath)
	if v == nil {
		return nil, errs.Newf(errs.Unavailable, "The sandbox's network is gone.")
	}
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var bad error
		if err := c.Control(func(fd uintptr) {
			bad = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, nodeMark)
		}); err != nil {
			return err
		}
		return bad
	}}
	return d.DialContext(ctx, "tcp4", netip.AddrPortFrom(v.addr, uint16(port)).String())
}

// at returns the live network with the namespace at path.
func (n *Network) at(path string) *veth {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, v := range n.live {
		if v.ns != nil && v.path() == path {
			return v
		}
	}
	return nil
}
