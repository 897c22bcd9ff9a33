// Package egress gives sandboxes a network of their own and a policy for what
// they may reach.
//
// Each sandbox gets an unnamed network namespace with one veth pair to the host
// and a /30 of its own. Nothing holds such a namespace but an open file of this
// process and the sandbox's own processes, so both namespace and veth vanish
// with them, also after kill -9. One nftables table per node translates
// addresses on the way out and keeps the policy. Names are looked up through a
// small DNS relay that lives in a namespace like the sandboxes' own: what it
// answers is what the host itself would be told.
//
// It speaks netlink only and runs no programs. It needs Linux, root
// (CAP_NET_ADMIN and CAP_SYS_ADMIN) and nf_tables; Probe says whether they are there.
//
// What a node adds to the host, all of it named after its data directory: the
// table "mayfly-HASH", interfaces "mfHASH-N", one blackhole route that claims
// the node's block of addresses, and net.ipv4.ip_forward=1 where it was off.
// Close takes all of it back. After kill -9 the table, the route and ip_forward
// stay: the policy must outlive the node as long as a sandbox may. The next New
// for the same data directory takes them over, and its Close removes them.
package egress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/vishvananda/netlink"
)

// DefaultRange is where a node takes its block of addresses from when
// Config.Range is not set: the shared address space of RFC 6598, which neither
// private networks nor the internet use.
const DefaultRange = "100.64.0.0/10"

// APIAddress is where sandboxes reach what is served on API: the same on every
// node and after each start, so that it may stand in a sandbox's environment. No
// packet with this address leaves the host.
var APIAddress = netip.MustParseAddrPort("169.254.78.1:80")

// DefaultSpare is how many namespaces are kept ready when Config.Spare is 0.
const DefaultSpare = 4

// Config says how a Network is made. DataDir is required.
type Config struct {
	// DataDir is the node's data directory, as an absolute path. Names on the
	// host derive from it, so nodes with different directories don't clash and
	// a node finds what an earlier one on the same directory left behind.
	DataDir string

	// Range is the IPv4 range the node takes a block of 16,384 addresses (a
	// /18: 4,095 sandboxes) from; a smaller range is used whole. Blocks that
	// overlap an address, a route or another node's block on this host are
	// passed over. Zero means DefaultRange.
	Range netip.Prefix

	// Policy says what sandboxes may reach. The zero Policy is open.
	Policy Policy

	// Spare is how many namespaces are kept ready so that a cold start does
	// not wait for one: 0 means DefaultSpare, less than 0 none.
	Spare int

	// MTU of the sandboxes' interfaces; 0 takes that of the host's default route.
	MTU int

	// ResolvConf is the host's resolver configuration, read again whenever it
	// changes. Empty means /etc/resolv.conf.
	ResolvConf string

	// Log gets what the node's operator should know. Nil discards.
	Log *slog.Logger
}

// Network makes and ends the sandboxes' networks. Its methods are safe for
// concurrent use.
type Network struct {
	cfg    Config
	log    *slog.Logger
	name   string // of the table; names of interfaces derive from it
	prefix string // of the interfaces' names on the host
	host   *host
	block  netip.Prefix
	mtu    int
	rules  rules
	relay  *relay       // nil when the policy lets nothing out
	api    net.Listener // in the relay's namespace; nil without a relay

	forwarding bool // this node switched ip_forward on

	mu     sync.Mutex
	closed bool
	free   []int            // indices of /30s, reused oldest first
	live   map[string]*veth // by name on the host: attached, spare and the relay's
	spare  []*veth
	filler bool           // a refill is running
	work   sync.WaitGroup // the refill
}

// New takes a block of addresses, replaces what an earlier node on the same
// data directory left, and installs the policy. It fails with errs.Unsupported
// when the machine can't do it (see Probe), with errs.Invalid when cfg is
// wrong, and with errs.Conflict when no block of the range is free.
func New(cfg Config) (*Network, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	h, err := openHost()
	if err != nil {
		return nil, err
	}
	name := tableName(cfg.DataDir)
	n := &Network{
		cfg: cfg, log: cfg.Log, host: h,
		name: name, prefix: linkPrefix(name),
		live: map[string]*veth{},
	}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	if err := n.open(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// open does New's work on the host. Close undoes whatever part of it was done.
func (n *Network) open() error {
	if err := n.host.deleteLinks(n.prefix, nil); err != nil {
		return err
	}
	// Before install replaces the table: an earlier node's note.
	var err error
	if n.forwarding, err = n.host.markedForwarding(n.name); err != nil {
		return err
	}
	block, err := n.host.claim(n.name, n.prefix, n.cfg.Range)
	if err != nil {
		return err
	}
	n.block = block
	for i := range sandboxes(block) {
		n.free = append(n.free, i)
	}
	if n.mtu = n.cfg.MTU; n.mtu == 0 {
		if n.mtu, err = n.host.uplinkMTU(); err != nil {
			return err
		}
	}
	n.rules = rules{name: n.name, prefix: n.prefix, block: n.block, policy: n.cfg.Policy}
	if n.cfg.Policy.Mode != ModeNone {
		v, err := n.make()
		if err != nil {
			return err
		}
		if n.relay, err = startRelay(v, n.cfg.ResolvConf, n.log); err != nil {
			return err
		}
		n.rules.resolver = v.addr
		if n.api, err = listenAPI(v); err != nil {
			return err
		}
		n.rules.api = netip.AddrPortFrom(v.addr, apiPort)
	}
	if err := n.host.install(n.rules); err != nil {
		return err
	}
	n.forwarding, err = n.host.enableForwarding(n.name, n.forwarding)
	return err
}

// Attach makes a network for the sandbox id and returns the path of its
// namespace, which is valid until release or the end of this process. The
// namespace holds lo and eth0 with the address, the default route and the
// neighbour entry that a sandbox needs; it serves one sandbox once. release
// removes the network with whatever still uses it; call it after the
// sandbox's processes have ended. Further calls of release do nothing.
//
// Attach fails with errs.Unavailable when all addresses are in use or the
// Network is closed.
func (n *Network) Attach(ctx context.Context, id string) (netnsPath string, release func() error, err error) {
	if err := ctx.Err(); err != nil {
		return "", nil, err
	}
	v, err := n.take()
	if err != nil {
		return "", nil, fmt.Errorf("network for sandbox %s: %w", id, err)
	}
	n.refill()
	return v.path(), sync.OnceValue(func() error {
		if err := n.remove(v); err != nil {
			return fmt.Errorf("network of sandbox %s: %w", id, err)
		}
		return nil
	}), nil
}

// Sweep removes interfaces that an earlier node on the same data directory left
// and this one does not hold. New has done so already; it is worth doing again
// after that node's sandboxes were ended.
func (n *Network) Sweep(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return n.host.deleteLinks(n.prefix, func(name string) bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.live[name] != nil
	})
}

// ResolvConf returns the resolv.conf for sandboxes. It stays the same for the
// life of the Network.
func (n *Network) ResolvConf() []byte {
	if n.relay == nil {
		return []byte("# no network: see the node's egress policy\n")
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "nameserver %s\n", n.relay.addr)
	b.Write(n.relay.search)
	return b.Bytes()
}

// API returns the listener whose connections come from sandboxes, to APIAddress;
// nil when the policy lets nothing out. It belongs to no port of the host. Close
// closes it.
func (n *Network) API() net.Listener { return n.api }

// Close removes everything that n has put on the host, including networks that
// are still attached. ip_forward is switched off again if n switched it on and
// nothing else on the host filters forwarded packets. Further calls do nothing.
func (n *Network) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	n.mu.Unlock()
	n.work.Wait()
	if n.relay != nil {
		n.relay.close()
	}
	if n.api != nil {
		n.api.Close() // its server may have closed it already
	}
	var all []error
	n.mu.Lock()
	left := make([]*veth, 0, len(n.live))
	for _, v := range n.live {
		left = append(left, v)
	}
	n.mu.Unlock()
	for _, v := range left {
		all = append(all, n.remove(v))
	}
	if n.forwarding {
		all = append(all, n.host.restoreForwarding(n.name, n.log))
	}
	all = append(all, n.host.uninstall(n.name), n.host.unclaim(n.name))
	n.host.close()
	return errors.Join(all...)
}

// take returns a ready namespace, or makes one.
func (n *Network) take() (*veth, error) {
	n.mu.Lock()
	if k := len(n.spare); k > 0 && !n.closed {
		v := n.spare[k-1]
		n.spare = n.spare[:k-1]
		n.mu.Unlock()
		return v, nil
	}
	n.mu.Unlock()
	return n.make()
}

// refill makes spare namespaces in the background until there are enough. At
// most one runs; it ends by itself.
func (n *Network) refill() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.filler || n.closed || len(n.spare) >= n.cfg.Spare {
		return
	}
	n.filler = true
	n.work.Go(func() {
		for {
			v, err := n.make()
			n.mu.Lock()
			if err == nil {
				n.spare = append(n.spare, v)
			}
			if err != nil || n.closed || len(n.spare) >= n.cfg.Spare {
				n.filler = false
				n.mu.Unlock()
				if err != nil && !errs.Is(err, errs.Unavailable) {
					n.log.Warn("could not prepare a sandbox network ahead of time", "err", err)
				}
				return
			}
			n.mu.Unlock()
		}
	})
}

// make makes a network and counts it as live.
func (n *Network) make() (*veth, error) {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil, errs.Newf(errs.Unavailable, "The sandbox network is closed.")
	}
	if len(n.free) == 0 {
		n.mu.Unlock()
		return nil, errs.Newf(errs.Unavailable, "All %d sandbox networks of %s are in use.", sandboxes(n.block), n.block)
	}
	v := newVeth(n.prefix, n.block, n.free[0], n.mtu)
	n.free = n.free[1:]
	n.live[v.name] = v
	n.mu.Unlock()

	if err := v.create(n.host); err != nil {
		return nil, errors.Join(err, n.remove(v))
	}
	return v, nil
}

// remove ends v's network and frees its addresses. If the interface can't be
// removed its addresses stay taken.
func (n *Network) remove(v *veth) error {
	if err := v.destroy(n.host); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.live[v.name] == v {
		delete(n.live, v.name)
		n.free = append(n.free, v.index)
	}
	return nil
}

func (c *Config) validate() error {
	if c.DataDir == "" {
		return errs.Newf(errs.Invalid, "The sandbox network needs the data directory's path.")
	}
	if !c.Range.IsValid() {
		c.Range = netip.MustParsePrefix(DefaultRange)
	}
	if !c.Range.Addr().Is4() || c.Range.Bits() > 28 {
		return errs.Newf(errs.Invalid, "The sandbox network's range %s must be IPv4 and hold at least 16 addresses.", c.Range)
	}
	c.Range = c.Range.Masked()
	if c.Spare == 0 {
		c.Spare = DefaultSpare
	}
	if c.MTU != 0 && (c.MTU < 576 || c.MTU > 65535) {
		return errs.Newf(errs.Invalid, "The sandbox network's MTU %d must be between 576 and 65535.", c.MTU)
	}
	if c.ResolvConf == "" {
		c.ResolvConf = "/etc/resolv.conf"
	}
	return c.Policy.validate()
}

// host is the host's network namespace: where the veths' outer ends, the
// routes and the firewall are.
type host struct {
	ns      *namespace
	netlink *netlink.Handle
}

func openHost() (*host, error) {
	ns, err := currentNamespace()
	if err != nil {
		return nil, err
	}
	h, err := netlink.NewHandle()
	if err != nil {
		ns.close()
		return nil, errs.Newf(errs.Unsupported, "The sandbox network can't open a netlink socket: %w", err)
	}
	return &host{ns: ns, netlink: h}, nil
}

func (h *host) close() {
	h.netlink.Close()
	h.ns.close()
}
