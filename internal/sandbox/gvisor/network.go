package gvisor

import (
	"context"
	"fmt"
	"net"
	_ "unsafe" // for go:linkname

	"gvisor.dev/gvisor/pkg/urpc"
	"gvisor.dev/gvisor/runsc/boot"
	"gvisor.dev/gvisor/runsc/config"
	_ "gvisor.dev/gvisor/runsc/sandbox" // holds setupNetwork
)

// Network gives sandboxes a way out of the machine. Without one they have only
// their own loopback.
type Network interface {
	// Attach makes a network namespace for the sandbox id, with one interface
	// that has an address and a default route. The sandbox takes both over.
	// release undoes all of it; it is called once, after the sandbox's end.
	Attach(ctx context.Context, id string) (netnsPath string, release func() error, err error)

	// Dial opens a TCP connection to a port of the sandbox whose namespace is at
	// netnsPath. Only the node can do so.
	Dial(ctx context.Context, netnsPath string, port int) (net.Conn, error)

	// Sweep removes what an earlier node on the same data directory left.
	Sweep(ctx context.Context) error

	// ResolvConf returns the text of the sandboxes' /etc/resolv.conf. It is
	// asked once, when the driver is made.
	ResolvConf() []byte
}

// setupNetwork moves the addresses of the interface in the network namespace of
// the process pid into that Sentry. gVisor has it only as a part of starting and
// of restoring; done right after the boot, both are quicker.
//
//go:linkname setupNetwork gvisor.dev/gvisor/runsc/sandbox.setupNetwork
func setupNetwork(conn *urpc.Client, pid int, conf *config.Config, disableIPv6, isRestore bool) error

// connectNetwork gives a booted Sentry its network, which it will set up when
// it starts or restores.
func (s *Sandbox) connectNetwork(ctx context.Context) error {
	if s.d.cfg.Network == nil {
		link := boot.DefaultLoopbackLink
		args := boot.CreateLinksAndRoutesArgs{LoopbackLinks: []boot.LoopbackLink{link}}
		return s.control.call(ctx, boot.ContMgrSetNetworkArgs, &args, nil)
	}
	err := s.control.do(ctx, func(c *urpc.Client) error {
		return keepNetns(func() error { return setupNetwork(c, s.pid, s.d.conf, false, false) })
	})
	if err != nil {
		return fmt.Errorf("set up the sandbox's network: %w", err)
	}
	return nil
}
