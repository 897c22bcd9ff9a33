package egress

import (
	"net/netip"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Mode is what sandboxes may reach before exceptions.
type Mode string

// The modes. In all of them sandboxes can't reach each other, the host's own
// addresses and services, or link-local and loopback addresses, and nothing can
// open a connection to a sandbox.
const (
	// ModeOpen, the default, allows the internet and the private networks that
	// the host can reach.
	ModeOpen Mode = "open"
	// ModeInternet allows the internet, not private networks (RFC 1918, RFC 6598).
	ModeInternet Mode = "internet"
	// ModeNone allows nothing but Allow; there is no DNS either.
	ModeNone Mode = "none"
)

// Policy says what sandboxes may reach. It is IPv4 only: no IPv6 packet leaves
// a sandbox. What is not allowed is answered at once with a TCP reset or an
// ICMP port unreachable, so that code inside fails fast.
//
// Rules apply in this order: other sandboxes are never allowed, then Allow,
// then Deny and what is denied always, then Mode.
type Policy struct {
	Mode Mode // "" means ModeOpen

	// Allow lists networks that are allowed whatever Deny and Mode say. It
	// does not open services of the host itself: see Host.
	Allow []netip.Prefix

	// Deny lists networks that are denied in addition.
	Deny []netip.Prefix

	// Host lists TCP services on the host's own addresses that sandboxes may
	// reach. Loopback addresses don't work here: packets from a sandbox never
	// reach them.
	Host []netip.AddrPort

	// Connections is how many connections (for UDP: exchanges of the last
	// half minute) one sandbox may have at a time; more are refused. It keeps
	// a sandbox from filling the host's connection tracking table. 0 means
	// DefaultConnections.
	Connections int
}

// DefaultConnections is Policy.Connections unless set: well above what a
// process with Lambda's limit of 1,024 files can hold open.
const DefaultConnections = 4096

// ParseMode returns the Mode that s names, or an errs.Invalid error. The empty
// string is ModeOpen.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case "":
		return ModeOpen, nil
	case ModeOpen, ModeInternet, ModeNone:
		return m, nil
	default:
		return "", errs.Newf(errs.Invalid, "The egress policy %q is unknown: use open, internet or none.", s)
	}
}

// alwaysDenied are addresses that no sandbox has business with: "this host",
// loopback, link-local (cloud metadata services), multicast, reserved.
var alwaysDenied = [...]netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("224.0.0.0/4"),
	netip.MustParsePrefix("240.0.0.0/4"),
}

// private are the networks that ModeInternet denies.
var private = [...]netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"),
}

func (p *Policy) validate() error {
	mode, err := ParseMode(string(p.Mode))
	if err != nil {
		return err
	}
	p.Mode = mode
	if p.Connections < 0 {
		return errs.Newf(errs.Invalid, "The egress policy's limit of connections %d must not be negative.", p.Connections)
	}
	if p.Connections == 0 {
		p.Connections = DefaultConnections
	}
	for _, list := range [][]netip.Prefix{p.Allow, p.Deny} {
		for _, x := range list {
			if !x.IsValid() || !x.Addr().Is4() {
				return errs.Newf(errs.Invalid, "The egress policy lists %s: it must be an IPv4 network such as 10.0.0.0/8. IPv6 is always denied.", x)
			}
		}
	}
	for _, x := range p.Host {
		if !x.IsValid() || !x.Addr().Is4() || x.Addr().IsLoopback() || x.Port() == 0 {
			return errs.Newf(errs.Invalid, "The egress policy lists the host service %s: it must be a non-loopback IPv4 address and a port.", x)
		}
	}
	return nil
}
