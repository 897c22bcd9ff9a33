package egress

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/mayfly-dev/mayfly/internal/errs"
)

// forwardSwitch is the host's switch for passing IPv4 packets on.
const forwardSwitch = "/proc/sys/net/ipv4/ip_forward"

// forwardMark is an empty chain in the node's table which says that this node
// switched ip_forward on. Like the switch itself it outlives kill -9 and not a
// reboot.
const forwardMark = "switched-ip-forward-on"

// enableForwarding switches ip_forward on where it is off, and reports whether
// it is this node that did, now or (before) in an earlier life.
func (h *host) enableForwarding(table string, before bool) (ours bool, err error) {
	on, err := h.forwards()
	if err != nil || on && !before {
		return false, err
	}
	c, err := h.nftables()
	if err != nil {
		return false, err
	}
	t := &nftables.Table{Family: nftables.TableFamilyINet, Name: table}
	c.AddChain(&nftables.Chain{Table: t, Name: forwardMark})
	if err := c.Flush(); err != nil {
		return false, fmt.Errorf("note that ip_forward was off: %w", err)
	}
	return true, h.setForwards("1")
}

// restoreForwarding switches ip_forward off again, unless something else on the
// host filters forwarded packets and so presumably needs it: a container
// engine, a firewall, another node.
func (h *host) restoreForwarding(table string, log *slog.Logger) error {
	others, _, err := h.foreignForward(table)
	if err != nil {
		return err
	}
	if len(others) > 0 {
		log.Info("left ip_forward on, others seem to use it", "chains", others)
		return nil
	}
	return h.setForwards("0")
}

// markedForwarding reports whether an earlier node left the mark in the table.
func (h *host) markedForwarding(table string) (bool, error) {
	c, err := h.nftables()
	if err != nil {
		return false, err
	}
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return false, errs.Newf(errs.Unsupported, "The kernel's nf_tables can't be used: %w", err)
	}
	return slices.ContainsFunc(chains, func(ch *nftables.Chain) bool {
		return ch.Table.Name == table && ch.Name == forwardMark
	}), nil
}

func (h *host) forwards() (on bool, err error) {
	err = h.ns.within(func() error {
		b, err := os.ReadFile(forwardSwitch)
		on = strings.TrimSpace(string(b)) == "1"
		return err
	})
	return on, err
}

func (h *host) setForwards(v string) error {
	return h.ns.within(func() error {
		if err := os.WriteFile(forwardSwitch, []byte(v), 0); err != nil {
			return errs.Newf(errs.Unsupported, "Sandboxes need %s to be 1, and it can't be set: %w", forwardSwitch, err)
		}
		return nil
	})
}
