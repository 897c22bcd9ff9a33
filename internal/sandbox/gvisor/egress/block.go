package egress

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// blockBits is the size of a node's block: a /18 holds 4,096 /30s.
const blockBits = 18

// claimProtocol marks the blackhole route by which a node claims its block
// (the "proto" of `ip route`). The route also keeps packets for addresses
// without a sandbox from leaving the host.
const claimProtocol = 109 // 'm'; not in the kernel's or iproute2's list

// tableName names the node of a data directory: its nftables table.
func tableName(dataDir string) string {
	sum := sha256.Sum256([]byte(filepath.Clean(dataDir)))
	return "mayfly-" + hex.EncodeToString(sum[:4])
}

// linkPrefix returns the prefix of the names of a node's interfaces on the
// host. With a number up to 4095 they stay within the kernel's 15 bytes.
func linkPrefix(table string) string {
	return "mf" + strings.TrimPrefix(table, "mayfly-") + "-"
}

// claimPriority is the metric of a node's claim: what tells it from other nodes'.
func claimPriority(table string) int {
	sum := sha256.Sum256([]byte(table))
	return int(binary.BigEndian.Uint32(sum[:4]) >> 1) // the library's type is int: keep it positive everywhere
}

// sandboxes returns how many networks a block has room for.
func sandboxes(block netip.Prefix) int { return 1 << (30 - block.Bits()) }

// claim takes the first free block of all for the node, beginning at a place
// that depends on its name, and marks it as taken. Leftover claims of the node
// are dropped first.
func (h *host) claim(table, prefix string, all netip.Prefix) (netip.Prefix, error) {
	if err := h.unclaim(table); err != nil {
		return netip.Prefix{}, err
	}
	used, err := h.used(table)
	if err != nil {
		return netip.Prefix{}, err
	}
	bits := max(all.Bits(), blockBits)
	blocks := 1 << (bits - all.Bits())
	start := claimPriority(table) % blocks
	for i := range blocks {
		b := netip.PrefixFrom(nth(all, (start+i)%blocks<<(32-bits)), bits)
		if overlapping(b, used) {
			continue
		}
		if err := h.netlink.RouteAdd(claimRoute(table, b)); err != nil {
			return netip.Prefix{}, fmt.Errorf("claim %s: %w", b, err)
		}
		// Another node may have claimed the same block since we looked.
		if used, err = h.used(table); err != nil {
			return netip.Prefix{}, err
		}
		if !overlapping(b, used) {
			return b, nil
		}
		if err := h.unclaim(table); err != nil {
			return netip.Prefix{}, err
		}
	}
	return netip.Prefix{}, errs.Newf(errs.Conflict,
		"No block of %s is free for sandboxes: routes or addresses of this host overlap all of it. Choose another range.", all)
}

// unclaim removes the node's claims.
func (h *host) unclaim(table string) error {
	routes, err := h.routes()
	if err != nil {
		return err
	}
	for _, r := range routes {
		if r.Protocol != claimProtocol || r.Priority != claimPriority(table) {
			continue
		}
		if err := h.netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("give back %s: %w", r.Dst, err)
		}
	}
	return nil
}

func claimRoute(table string, b netip.Prefix) *netlink.Route {
	return &netlink.Route{
		Dst:      &net.IPNet{IP: b.Addr().AsSlice(), Mask: net.CIDRMask(b.Bits(), 32)},
		Type:     unix.RTN_BLACKHOLE,
		Protocol: claimProtocol,
		Priority: claimPriority(table),
	}
}

// used returns the networks that the host has routes to, its own addresses
// included, except default routes and the node's own claim.
func (h *host) used(table string) ([]netip.Prefix, error) {
	routes, err := h.routes()
	if err != nil {
		return nil, err
	}
	var used []netip.Prefix
	for _, r := range routes {
		if r.Dst == nil || r.Protocol == claimProtocol && r.Priority == claimPriority(table) {
			continue
		}
		a, ok := netip.AddrFromSlice(r.Dst.IP.To4())
		ones, _ := r.Dst.Mask.Size()
		if ok && ones > 0 {
			used = append(used, netip.PrefixFrom(a, ones))
		}
	}
	return used, nil
}

// routes lists the IPv4 routes of all tables, the one of local addresses included.
func (h *host) routes() ([]netlink.Route, error) {
	routes, err := h.netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	return routes, nil
}

// uplinkMTU returns the smallest MTU of the interfaces that the host's default
// routes use, or Ethernet's if there is none.
func (h *host) uplinkMTU() (int, error) {
	routes, err := h.routes()
	if err != nil {
		return 0, err
	}
	const ethernet = 1500
	mtu := 0
	for _, r := range routes {
		if r.LinkIndex == 0 || r.Dst != nil && !r.Dst.IP.IsUnspecified() {
			continue
		}
		link, err := h.netlink.LinkByIndex(r.LinkIndex)
		if err != nil {
			return 0, fmt.Errorf("look at the default route's interface: %w", err)
		}
		if m := link.Attrs().MTU; mtu == 0 || m < mtu {
			mtu = m
		}
	}
	if mtu == 0 {
		mtu = ethernet
	}
	return mtu, nil
}

func overlapping(p netip.Prefix, all []netip.Prefix) bool {
	for _, x := range all {
		if p.Overlaps(x) {
			return true
		}
	}
	return false
}

func nsHandle(ns *namespace) netns.NsHandle { return netns.NsHandle(ns.fd()) }

func hasIPv6() bool {
	_, err := os.Stat("/proc/sys/net/ipv6")
	return err == nil
}

func isNoDevice(err error) bool { return errors.Is(err, unix.ENODEV) }
