package gvisor

import "context"

// Network gives sandboxes a way out of the machine. Without one they have only
// their own loopback.
type Network interface {
	// Attach makes a network namespace for the sandbox id, with one interface
	// that has an address and a default route. The sandbox takes both over.
	// release undoes all of it; it is called once, after the sandbox's end.
	Attach(ctx context.Context, id string) (netnsPath string, release func() error, err error)

	// Sweep removes what an earlier node on the same data directory left.
	Sweep(ctx context.Context) error

	// ResolvConf returns the text of the sandboxes' /etc/resolv.conf. It is
	// asked once, when the driver is made.
	ResolvConf() []byte
}
