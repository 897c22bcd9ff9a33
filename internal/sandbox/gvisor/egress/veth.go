package egress

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
)

// inside is the name of a sandbox's interface within its namespace.
const inside = "eth0"

// veth is the network of one sandbox: a namespace and the pair of interfaces
// that joins it to the host, with the four addresses of block's index-th /30.
type veth struct {
	index   int
	name    string     // of the host's end
	gateway netip.Addr // the host's end
	addr    netip.Addr // the sandbox's end
	mtu     int
	ns      *namespace
}

func newVeth(prefix string, block netip.Prefix, index, mtu int) *veth {
	return &veth{
		index:   index,
		name:    fmt.Sprintf("%s%d", prefix, index),
		gateway: nth(block, 4*index+1),
		addr:    nth(block, 4*index+2),
		mtu:     mtu,
	}
}

func (v *veth) path() string { return v.ns.path() }

// create makes the namespace and the pair. After an error destroy cleans up.
func (v *veth) create(h *host) error {
	var err error
	if v.ns, err = newNamespace(); err != nil {
		return err
	}
	if err := v.createPair(h); err != nil {
		return fmt.Errorf("make interface %s: %w", v.name, err)
	}
	in, err := netlink.NewHandleAt(nsHandle(v.ns))
	if err != nil {
		return fmt.Errorf("open netlink in sandbox network: %w", err)
	}
	defer in.Close()
	if err := v.configure(in); err != nil {
		return fmt.Errorf("configure sandbox network %s: %w", v.name, err)
	}
	return v.settle(h)
}

// settle waits until the host's end sends. It came up before its peer, so the
// kernel opens its queue a little later, in the background; until then packets
// to the sandbox would be lost, and the first connection would take a second
// longer. A host too busy to do that in time gets no error, just the delay.
func (v *veth) settle(h *host) error {
	const tries, pause = 100, time.Millisecond
	for range tries {
		link, err := h.netlink.LinkByName(v.name)
		if err != nil {
			return fmt.Errorf("look at interface %s: %w", v.name, err)
		}
		if link.Attrs().OperState == netlink.OperUp {
			break
		}
		time.Sleep(pause)
	}
	return nil
}

// createPair makes both interfaces and brings the host's end up. The neighbour
// entries are permanent: there is nobody else on the wire to ask, and
// permanent entries don't count against the host's neighbour table limits.
func (v *veth) createPair(h *host) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = v.name, v.mtu, v.mac(0)
	pair := netlink.NewVeth(attrs)
	pair.PeerName, pair.PeerNamespace = inside, netlink.NsFd(v.ns.fd())
	pair.PeerHardwareAddr, pair.PeerMTU = v.mac(1), uint32(v.mtu)
	if err := h.netlink.LinkAdd(pair); err != nil {
		return err
	}
	// NewLinkAttrs left the index open; LinkAdd does not fill it in for a peer
	// in another namespace on all kernels.
	link, err := h.netlink.LinkByName(v.name)
	if err != nil {
		return err
	}
	return errors.Join(
		noIPv6Address(h.netlink, link),
		h.netlink.AddrAdd(link, v.ipNet(v.gateway)),
		h.netlink.LinkSetUp(link),
		h.netlink.NeighAdd(neighbour(link, v.addr, v.mac(1))),
	)
}

// configure sets up the sandbox's end: what gVisor copies into its own stack.
func (v *veth) configure(in *netlink.Handle) error {
	lo, err := in.LinkByName("lo")
	if err != nil {
		return err
	}
	eth, err := in.LinkByName(inside)
	if err != nil {
		return err
	}
	return errors.Join(
		in.LinkSetUp(lo),
		noIPv6Address(in, eth),
		in.AddrAdd(eth, v.ipNet(v.addr)),
		in.LinkSetUp(eth),
		in.NeighAdd(neighbour(eth, v.gateway, v.mac(0))),
		in.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: v.gateway.AsSlice()}),
	)
}

// destroy removes the pair and lets go of the namespace.
func (v *veth) destroy(h *host) error {
	err := h.deleteLink(v.name)
	if err == nil && v.ns != nil {
		v.ns.close()
	}
	return err
}

// mac returns the hardware address of the host's end (0) or the sandbox's (1):
// locally administered, and seen by nobody but the two.
func (v *veth) mac(end byte) net.HardwareAddr {
	return net.HardwareAddr{0x02, 0x6d, 0x66, end, byte(v.index >> 8), byte(v.index)}
}

func (v *veth) ipNet(a netip.Addr) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(30, 32)}}
}

func neighbour(link netlink.Link, a netip.Addr, mac net.HardwareAddr) *netlink.Neigh {
	return &netlink.Neigh{
		LinkIndex: link.Attrs().Index, Family: netlink.FAMILY_V4, State: netlink.NUD_PERMANENT,
		IP: a.AsSlice(), HardwareAddr: mac,
	}
}

// noIPv6Address keeps the kernel from giving link an IPv6 address. A kernel
// without IPv6 has none to give.
func noIPv6Address(h *netlink.Handle, link netlink.Link) error {
	const modeNone = 1 // IN6_ADDR_GEN_MODE_NONE
	if !hasIPv6() {
		return nil
	}
	return h.LinkSetIP6AddrGenMode(link, modeNone)
}

// deleteLink removes the interface if it exists.
func (h *host) deleteLink(name string) error {
	link, err := h.netlink.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err == nil {
		err = h.netlink.LinkDel(link)
	}
	if err != nil && !isNoDevice(err) {
		return fmt.Errorf("remove interface %s: %w", name, err)
	}
	return nil
}

// deleteLinks removes the interfaces whose name begins with prefix, except
// those that keep (which may be nil) wants.
func (h *host) deleteLinks(prefix string, keep func(name string) bool) error {
	links, err := h.netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	var all []error
	for _, l := range links {
		name := l.Attrs().Name
		if strings.HasPrefix(name, prefix) && (keep == nil || !keep(name)) {
			all = append(all, h.deleteLink(name))
		}
	}
	return errors.Join(all...)
}

// nth returns the i-th address of an IPv4 prefix.
func nth(p netip.Prefix, i int) netip.Addr {
	a := p.Masked().Addr().As4()
	binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(a[:])+uint32(i))
	return netip.AddrFrom4(a)
}
