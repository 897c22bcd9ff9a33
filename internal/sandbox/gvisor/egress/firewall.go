package egress

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"golang.org/x/sys/unix"
)

// rules is what a node's nftables table says.
type rules struct {
	name     string         // of the table
	prefix   string         // of the sandboxes' interfaces
	block    netip.Prefix   // the sandboxes' addresses
	resolver netip.Addr     // the DNS relay's address; the zero Addr when there is none
	api      netip.AddrPort // what APIAddress stands for; the zero AddrPort when there is none
	policy   Policy
}

// install replaces the node's table by one with r, in one transaction.
func (h *host) install(r rules) error {
	c, err := h.nftables()
	if err != nil {
		return err
	}
	t := &nftables.Table{Family: nftables.TableFamilyINet, Name: r.name}
	c.AddTable(t) // so that the next line always finds one
	c.DelTable(t)
	c.AddTable(t)
	r.guard(c, t)
	no := refuse(c, t)
	if err := r.forward(c, t, no); err != nil {
		return err
	}
	r.input(c, t, no)
	r.output(c, t, no)
	r.translate(c, t)
	r.lead(c, t)
	if err := c.Flush(); err != nil {
		return errs.Newf(errs.Unsupported, "The kernel refused the sandboxes' firewall rules (needs nf_tables with inet, ct, connlimit, fib, masquerade and reject; see the kernel's modules): %w", err)
	}
	return nil
}

// uninstall removes the node's table if there is one.
func (h *host) uninstall(table string) error {
	c, err := h.nftables()
	if err != nil {
		return err
	}
	t := &nftables.Table{Family: nftables.TableFamilyINet, Name: table}
	c.AddTable(t)
	c.DelTable(t)
	if err := c.Flush(); err != nil {
		return fmt.Errorf("remove firewall table %s: %w", table, err)
	}
	return nil
}

func (h *host) nftables() (*nftables.Conn, error) {
	c, err := nftables.New(nftables.WithNetNSFd(h.ns.fd()))
	if err != nil {
		return nil, errs.Newf(errs.Unsupported, "The sandbox network can't open a netfilter socket: %w", err)
	}
	return c, nil
}

// guard drops what a sandbox must not even send: packets that don't come from
// its own address, and IPv6. It sees them before connection tracking does.
func (r rules) guard(c *nftables.Conn, t *nftables.Table) {
	ch := base(c, t, "guard", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw)
	add := adder(c, ch)
	add(fromIf(r.prefix), isIPv6(), verdict(expr.VerdictDrop))
	add(fromIf(r.prefix), notOwnSource(), verdict(expr.VerdictDrop))
}

// forward judges what passes through the host.
func (r rules) forward(c *nftables.Conn, t *nftables.Table, no *nftables.Chain) error {
	out := c.AddChain(&nftables.Chain{Table: t, Name: "egress"})
	ch := base(c, t, "forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter)
	add := adder(c, ch)
	add(fromIf(r.prefix), jump(out.Name))
	// To sandboxes only answers pass.
	add(toIf(r.prefix), inState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), verdict(expr.VerdictAccept))
	add(toIf(r.prefix), verdict(expr.VerdictDrop))

	add = adder(c, out)
	add(inState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), verdict(expr.VerdictAccept))
	add(inState(expr.CtStateBitINVALID), verdict(expr.VerdictDrop))
	if r.resolver.IsValid() {
		for _, proto := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
			add(toNet(netip.PrefixFrom(r.resolver, 32)), toPort(proto, 53), verdict(expr.VerdictAccept))
		}
	}
	if r.api.IsValid() {
		add(toNet(netip.PrefixFrom(r.api.Addr(), 32)), toPort(unix.IPPROTO_TCP, r.api.Port()), verdict(expr.VerdictAccept))
	}
	add(toIf(r.prefix), jump(no.Name))
	add(toNet(r.block), jump(no.Name))
	for _, p := range r.policy.Allow {
		add(toNet(p), verdict(expr.VerdictAccept))
	}
	denied := append(alwaysDenied[:len(alwaysDenied):len(alwaysDenied)], r.policy.Deny...)
	if r.policy.Mode == ModeInternet {
		denied = append(denied, private[:]...)
	}
	for _, p := range denied {
		add(toNet(p), jump(no.Name))
	}
	if r.policy.Mode == ModeNone {
		add(jump(no.Name))
	}
	limit, err := connectionSet(c, t, sandboxes(r.block))
	if err != nil {
		return err
	}
	add(overLimit(limit, r.policy.Connections), jump(no.Name))
	add(verdict(expr.VerdictAccept))
	return nil
}

// connectionSet adds the set that counts the connections of each sandbox, so
// that one can't fill the host's connection tracking table.
func connectionSet(c *nftables.Conn, t *nftables.Table, size int) (*nftables.Set, error) {
	set := &nftables.Set{Table: t, Name: "connections", KeyType: nftables.TypeIPAddr, Dynamic: true, Size: uint32(size)}
	if err := c.AddSet(set, nil); err != nil {
		return nil, fmt.Errorf("describe set of connections: %w", err)
	}
	return set, nil
}

// refuse adds the chain that answers what is not allowed at once.
func refuse(c *nftables.Conn, t *nftables.Table) *nftables.Chain {
	ch := c.AddChain(&nftables.Chain{Table: t, Name: "refuse"})
	add := adder(c, ch)
	add(protocol(unix.IPPROTO_TCP), reset())
	add(unreachable())
	return ch
}

// input judges what is for the host itself.
func (r rules) input(c *nftables.Conn, t *nftables.Table, no *nftables.Chain) {
	ch := base(c, t, "input", nftables.ChainTypeFilter, nftables.ChainHookInput, nftables.ChainPriorityFilter)
	add := adder(c, ch)
	// Answers on connections that the node opened.
	add(fromIf(r.prefix), inState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), verdict(expr.VerdictAccept))
	for _, s := range r.policy.Host {
		add(fromIf(r.prefix), toNet(netip.PrefixFrom(s.Addr(), 32)), toPort(unix.IPPROTO_TCP, s.Port()), verdict(expr.VerdictAccept))
	}
	add(fromIf(r.prefix), jump(no.Name))
}

// nodeMark is on the packets of connections that the node opens to sandboxes. Who
// may set it may change these rules as well.
const nodeMark = 0x6d66

// output judges what the host itself sends to sandboxes: answers, and what the
// node opens. No other program of the host reaches one.
func (r rules) output(c *nftables.Conn, t *nftables.Table, no *nftables.Chain) {
	ch := base(c, t, "output", nftables.ChainTypeFilter, nftables.ChainHookOutput, nftables.ChainPriorityFilter)
	add := adder(c, ch)
	add(toIf(r.prefix), inState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), verdict(expr.VerdictAccept))
	add(toIf(r.prefix), marked(nodeMark), verdict(expr.VerdictAccept))
	add(toIf(r.prefix), jump(no.Name))
}

// translate gives what leaves the host the host's own address.
func (r rules) translate(c *nftables.Conn, t *nftables.Table) {
	ch := base(c, t, "translate", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	adder(c, ch)(fromNet(r.block), notToIf(r.prefix), []expr.Any{&expr.Masq{}})
}

// lead sends what is for APIAddress to where the API is.
func (r rules) lead(c *nftables.Conn, t *nftables.Table) {
	if !r.api.IsValid() {
		return
	}
	ch := base(c, t, "lead", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest)
	adder(c, ch)(fromIf(r.prefix), toNet(netip.PrefixFrom(APIAddress.Addr(), 32)), toPort(unix.IPPROTO_TCP, APIAddress.Port()), dnat(r.api))
}

// base adds a chain that hangs on a hook and accepts what its rules don't judge.
func base(c *nftables.Conn, t *nftables.Table, name string, kind nftables.ChainType, hook *nftables.ChainHook, prio *nftables.ChainPriority) *nftables.Chain {
	accept := nftables.ChainPolicyAccept
	return c.AddChain(&nftables.Chain{Table: t, Name: name, Type: kind, Hooknum: hook, Priority: prio, Policy: &accept})
}

// adder returns a function that adds a rule made of parts to ch.
func adder(c *nftables.Conn, ch *nftables.Chain) func(parts ...[]expr.Any) {
	return func(parts ...[]expr.Any) {
		var all []expr.Any
		for _, p := range parts {
			all = append(all, p...)
		}
		c.AddRule(&nftables.Rule{Table: ch.Table, Chain: ch, Exprs: all})
	}
}

// The parts of rules. Each is what the line of nft(8) in its comment compiles to.

func ifName(key expr.MetaKey, op expr.CmpOp, prefix string) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: key, Register: 1},
		&expr.Cmp{Op: op, Register: 1, Data: []byte(prefix)}, // no NUL: compares the beginning
	}
}

// iifname "prefix*"
func fromIf(prefix string) []expr.Any { return ifName(expr.MetaKeyIIFNAME, expr.CmpOpEq, prefix) }

// oifname "prefix*"
func toIf(prefix string) []expr.Any { return ifName(expr.MetaKeyOIFNAME, expr.CmpOpEq, prefix) }

// oifname != "prefix*"
func notToIf(prefix string) []expr.Any { return ifName(expr.MetaKeyOIFNAME, expr.CmpOpNeq, prefix) }

// meta nfproto ipv6
func isIPv6() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.NFPROTO_IPV6}},
	}
}

// fib saddr . iif oif missing
func notOwnSource() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: 1, FlagSADDR: true, FlagIIF: true, ResultOIF: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(0)},
	}
}

// ct state bits
func inState(bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: binaryutil.NativeEndian.PutUint32(0)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(0)},
	}
}

// meta l4proto proto
func protocol(proto byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}},
	}
}

// proto dport port
func toPort(proto byte, port uint16) []expr.Any {
	return append(protocol(proto),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(port)})
}

// meta mark m
func marked(m uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(m)},
	}
}

// ip saddr p
func fromNet(p netip.Prefix) []expr.Any { return inNet(12, p) }

// ip daddr p
func toNet(p netip.Prefix) []expr.Any { return inNet(16, p) }

func inNet(offset uint32, p netip.Prefix) []expr.Any {
	mask, net := make([]byte, 4), p.Masked().Addr().As4()
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.NFPROTO_IPV4}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: net[:]},
	}
}

// add @set { ip saddr ct count over n }
func overLimit(set *nftables.Set, n int) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.NFPROTO_IPV4}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4},
		&expr.Dynset{SrcRegKey: 1, SetName: set.Name, SetID: set.ID, Operation: unix.NFT_DYNSET_OP_ADD,
			Exprs: []expr.Any{&expr.Connlimit{Count: uint32(n), Flags: expr.NFT_CONNLIMIT_F_INV}}},
	}
}

// dnat ip to address:port
func dnat(to netip.AddrPort) []expr.Any {
	addr := to.Addr().As4()
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: addr[:]},
		&expr.Immediate{Register: 2, Data: binaryutil.BigEndian.PutUint16(to.Port())},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: 2, Specified: true},
	}
}

// reject with tcp reset
func reset() []expr.Any { return []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}} }

// reject with icmpx port-unreachable
func unreachable() []expr.Any {
	return []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_PORT_UNREACH}}
}

func verdict(k expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: k}} }

func jump(chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}
}

// foreignForward returns the chains of other tables that filter forwarded
// packets, and of these the ones that drop by default.
func (h *host) foreignForward(table string) (all, dropping []string, err error) {
	c, err := h.nftables()
	if err != nil {
		return nil, nil, err
	}
	chains, err := c.ListChains()
	if err != nil {
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT) {
			return nil, nil, errs.Newf(errs.Unsupported, "The kernel has no nf_tables (CONFIG_NF_TABLES): %w", err)
		}
		return nil, nil, fmt.Errorf("list firewall chains: %w", err)
	}
	for _, ch := range chains {
		ours := ch.Table.Name == table && ch.Table.Family == nftables.TableFamilyINet
		if ours || ch.Hooknum == nil || *ch.Hooknum != *nftables.ChainHookForward || ch.Type != nftables.ChainTypeFilter || !filtersIPv4(ch.Table.Family) {
			continue
		}
		name := ch.Table.Name + " " + ch.Name
		all = append(all, name)
		if ch.Policy != nil && *ch.Policy == nftables.ChainPolicyDrop {
			dropping = append(dropping, name)
		}
	}
	return all, dropping, nil
}

func filtersIPv4(f nftables.TableFamily) bool {
	return f == nftables.TableFamilyIPv4 || f == nftables.TableFamilyINet
}
