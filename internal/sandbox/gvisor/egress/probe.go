package egress

import (
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Probe reports whether this machine can give sandboxes a network, by making
// one in a namespace of its own without touching the host's. The error says
// what is missing. The notes are for the operator: things on this host that
// will keep sandboxes from the network although all of it works, with what
// mends them.
func Probe() (notes []string, err error) {
	if os.Geteuid() != 0 {
		return nil, errs.Newf(errs.Unsupported, "A network for sandboxes needs root: start the node as root.")
	}
	if err := trial(); err != nil {
		return nil, err
	}
	h, err := openHost()
	if err != nil {
		return nil, err
	}
	defer h.close()
	_, dropping, err := h.foreignForward("")
	if err != nil {
		return nil, err
	}
	for _, chain := range dropping {
		notes = append(notes, fmt.Sprintf("The firewall chain %q drops forwarded packets by default, so sandboxes can't reach the network. "+
			"Where iptables made it (Docker does): iptables -I FORWARD -i mf+ -j ACCEPT && iptables -I FORWARD -o mf+ -j ACCEPT", chain))
	}
	if names, err := os.ReadFile("/proc/net/ip_tables_names"); err == nil && strings.Contains(string(names), "filter") {
		notes = append(notes, "Legacy iptables is in use, whose rules can't be read here: if `iptables-legacy -S FORWARD` drops by default, sandboxes can't reach the network.")
	}
	return notes, nil
}

// trial does what New and Attach do, with a new namespace as the host.
func trial() error {
	ns, err := newNamespace()
	if err != nil {
		return err
	}
	defer ns.close()
	var h *host
	if err := ns.within(func() (err error) { h, err = openHost(); return err }); err != nil {
		return err
	}
	defer h.close()
	table := tableName("probe")
	block := netip.MustParsePrefix("100.64.0.0/18")
	v := newVeth(linkPrefix(table), block, 0, 1500)
	if err := v.create(h); err != nil {
		return errs.Newf(errs.Unsupported, "This kernel can't make sandbox networks (needs veth): %w", err)
	}
	defer v.ns.close() // both ends go with the namespaces
	r := rules{name: table, prefix: linkPrefix(table), block: block, resolver: v.addr}
	if err := r.policy.validate(); err != nil {
		return err
	}
	return h.install(r)
}
