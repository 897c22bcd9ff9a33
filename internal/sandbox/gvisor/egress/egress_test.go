package egress

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestSandboxReachesTheNetworkWithTheHostsAddress(t *testing.T) {
	w := newWorld(t)
	sb := w.sandbox(w.network(Config{}))
	if got := must(ask(sb, outsideAddr+":8000"))(t); got != hostAddr {
		t.Errorf("the service outside saw %s, want the host's address %s", got, hostAddr)
	}
	if got := must(ask(sb, privateAddr+":8000"))(t); got != hostAddr {
		t.Errorf("the service on a private network saw %s, want the host's address %s", got, hostAddr)
	}
}

// Each case is tried twice: with the rules, where it must fail, and as a control
// with the node's table removed, where the same connection must succeed.
func TestPolicyDenies(t *testing.T) {
	tests := []struct {
		name   string
		policy Policy
		to     string // "" is another sandbox's port 8000
	}{
		{"a service on the host's address", Policy{}, hostAddr + ":8055"},
		{"the metadata service", Policy{}, metadata + ":8000"},
		{"another sandbox", Policy{}, ""},
		{"another sandbox although its range is allowed", Policy{Allow: prefixes("100.64.0.0/10")}, ""},
		{"another service of the host than the one allowed", Policy{Host: []netip.AddrPort{netip.MustParseAddrPort(hostAddr + ":8056")}}, hostAddr + ":8055"},
		{"a service of the host although its network is allowed", Policy{Allow: prefixes("198.51.100.0/24")}, hostAddr + ":8055"},
		{"a denied network", Policy{Deny: prefixes("198.51.100.0/24")}, outsideAddr + ":8000"},
		{"a private network in mode internet", Policy{Mode: ModeInternet}, privateAddr + ":8000"},
		{"anything in mode none", Policy{Mode: ModeNone}, outsideAddr + ":8000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			n := w.network(Config{Policy: tt.policy})
			sb, other := w.sandbox(n), w.sandbox(n)
			w.serve(other, "0.0.0.0:8000")
			to := tt.to
			if to == "" {
				to = address(t, other) + ":8000"
			}
			if got, err := ask(sb, to); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("with the rules: answer %q, error %v, want a refused connection", got, err)
			}
			ok(t, n.host.uninstall(n.name))
			if _, err := ask(sb, to); err != nil {
				t.Errorf("control without the rules: %v", err)
			}
		})
	}
}

func TestHostsGatewayAddressIsClosed(t *testing.T) {
	w := newWorld(t)
	n := w.network(Config{})
	sb := w.sandbox(n)
	gateway := netip.MustParseAddr(address(t, sb)).Prev().String()
	if got, err := ask(sb, gateway+":8055"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("with the rules: answer %q, error %v, want a refused connection", got, err)
	}
	ok(t, n.host.uninstall(n.name))
	if _, err := ask(sb, gateway+":8055"); err != nil {
		t.Errorf("control without the rules: %v", err)
	}
}

func TestPolicyAllows(t *testing.T) {
	tests := []struct {
		name   string
		policy Policy
		to     string
	}{
		{"a link-local address on purpose", Policy{Allow: prefixes(metadata + "/32")}, metadata + ":8000"},
		{"one network in mode none", Policy{Mode: ModeNone, Allow: prefixes("198.51.100.0/24")}, outsideAddr + ":8000"},
		{"one private network in mode internet", Policy{Mode: ModeInternet, Allow: prefixes("10.99.0.0/16")}, privateAddr + ":8000"},
		{"one address of a denied network", Policy{Deny: prefixes("198.51.100.0/24"), Allow: prefixes(outsideAddr + "/32")}, outsideAddr + ":8000"},
		{"the internet in mode internet", Policy{Mode: ModeInternet}, outsideAddr + ":8000"},
		{"one service of the host", Policy{Host: []netip.AddrPort{netip.MustParseAddrPort(hostAddr + ":8055")}}, hostAddr + ":8055"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			if _, err := ask(w.sandbox(w.network(Config{Policy: tt.policy})), tt.to); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNothingOutsideReachesASandbox(t *testing.T) {
	w := newWorld(t)
	n := w.network(Config{})
	sb := w.sandbox(n)
	// A datagram each time: a connection attempt that is dropped would only time out.
	p := sink(t, sb, "udp4", "0.0.0.0:0")
	send := func(data string) {
		ok(t, w.outside.within(func() error {
			c, err := net.Dial("udp4", netip.AddrPortFrom(netip.MustParseAddr(address(t, sb)), port(p)).String())
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = io.WriteString(c, data)
			return err
		}))
	}
	send("with the rules")
	ok(t, n.host.uninstall(n.name))
	send("without")
	if got := receive(t, p); got != "without" {
		t.Errorf("the sandbox received the packet sent %s", got)
	}
}

// What a sandbox sends is ordered, so a packet that must not arrive is followed
// by one that must: if the second comes first, the first was dropped. The
// control without rules shows that it would have arrived.
func TestForgedPacketsAreDropped(t *testing.T) {
	tests := []struct {
		name     string
		src, dst string // src "" is the sandbox's own address
		network  string
		prepare  func(t *testing.T, w *world, v *veth)
		host     bool // the receiver is on the host, not outside
	}{
		{name: "another source address", src: "203.0.113.7", dst: outsideAddr, network: "udp4"},
		{name: "a neighbour's address as source", src: outsideAddr, dst: hostAddr, network: "udp4", host: true},
		{name: "the host's loopback where routes lead there", dst: "127.0.0.1", network: "udp4", host: true,
			prepare: func(t *testing.T, w *world, v *veth) {
				ok(t, os.WriteFile("/proc/sys/net/ipv4/conf/"+v.name+"/route_localnet", []byte("1"), 0))
			}},
		{name: "IPv6", src: "fd00:77::2", dst: "fd00:77::1", network: "udp6", host: true,
			prepare: func(t *testing.T, w *world, v *veth) {
				addr(t, nil, must(netlink.LinkByName(v.name))(t), "fd00:77::1/64")
			}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			n := w.network(Config{Spare: -1})
			sb := w.sandbox(n)
			src := tt.src
			if src == "" {
				src = address(t, sb)
			}
			if tt.prepare != nil {
				tt.prepare(t, w, vethOf(n, address(t, sb)))
			}
			at := w.outside
			if tt.host {
				at = nil
			}
			p := sink(t, at, tt.network, net.JoinHostPort(tt.dst, "0"))
			inject(t, sb, src, tt.dst, port(p), "with the rules")
			ok(t, n.host.uninstall(n.name))
			inject(t, sb, src, tt.dst, port(p), "without")
			if got := receive(t, p); got != "without" {
				t.Errorf("the receiver got the packet sent %s", got)
			}
		})
	}
}

func TestConnectionsOfASandboxAreLimited(t *testing.T) {
	w := newWorld(t)
	n := w.network(Config{Policy: Policy{Connections: 5}})
	sb, other := w.sandbox(n), w.sandbox(n)
	l := listenTCP(t, w.outside, outsideAddr+":0")
	dial := func(ns *namespace) (c net.Conn, err error) {
		_ = ns.within(func() error { c, err = net.DialTimeout("tcp4", l.Addr().String(), 10*time.Second); return nil })
		if err == nil {
			t.Cleanup(func() { c.Close() })
		}
		return c, err
	}
	var open []net.Conn
	for range 5 {
		open = append(open, must(dial(sb))(t))
	}
	if _, err := dial(sb); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the sixth connection of five: error is %v, want refused", err)
	}
	if _, err := dial(other); err != nil {
		t.Errorf("another sandbox's connection: %v", err)
	}
	if _, err := open[0].Write([]byte("x")); err != nil {
		t.Errorf("a connection that is open: %v", err)
	}
}

func TestNamesAreLookedUpWithTheHostsNameserver(t *testing.T) {
	w := newWorld(t)
	n := w.network(Config{Policy: Policy{Mode: ModeInternet}})
	sb := w.sandbox(n)
	conf := string(n.ResolvConf())
	server, rest, _ := strings.Cut(strings.TrimPrefix(conf, "nameserver "), "\n")
	if rest != "search corp.example\n" {
		t.Errorf("resolv.conf is %q, want a nameserver and the host's search list", conf)
	}
	query := func(network string) string {
		var answer []byte
		ok(t, sb.within(func() error {
			c, err := net.DialTimeout(network, net.JoinHostPort(server, "53"), 10*time.Second)
			if err != nil {
				return err
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err := c.Write([]byte("\x12\x34query")); err != nil {
				return err
			}
			if tcp, is := c.(*net.TCPConn); is {
				tcp.CloseWrite()
				answer, err = io.ReadAll(c)
				return err
			}
			answer = make([]byte, 64)
			k, err := c.Read(answer)
			answer = answer[:k]
			return err
		}))
		return string(answer)
	}
	if got := query("udp4"); got != "\x12\x34udp" {
		t.Errorf("over UDP the answer is %q", got)
	}
	if got := query("tcp4"); got != "\x12\x34querytcp" {
		t.Errorf("over TCP the answer is %q", got)
	}

	// The host moves to another nameserver: here, none that answers at first.
	ok(t, os.WriteFile(w.resolvConf, []byte("nameserver 127.0.0.54\nnameserver 127.0.0.53\n"), 0o644))
	if got := query("udp4"); got != "\x12\x34udp" {
		t.Errorf("from the second nameserver the answer is %q", got)
	}
}

func TestModeNoneHasNoNameserver(t *testing.T) {
	w := newWorld(t)
	if got := string(w.network(Config{Policy: Policy{Mode: ModeNone}}).ResolvConf()); strings.Contains(got, "nameserver") {
		t.Errorf("resolv.conf is %q", got)
	}
}

// What gVisor's runsc/sandbox/network.go copies into its own stack.
func TestNamespaceHoldsWhatGVisorNeeds(t *testing.T) {
	w := newWorld(t)
	sb := w.sandbox(w.network(Config{MTU: 1400}))
	h := must(netlink.NewHandleAt(nsHandle(sb)))(t)
	defer h.Close()
	if lo := must(h.LinkByName("lo"))(t); lo.Attrs().Flags&net.FlagUp == 0 {
		t.Error("lo is down")
	}
	eth := must(h.LinkByName(inside))(t)
	if a := eth.Attrs(); a.Flags&net.FlagUp == 0 || a.MTU != 1400 {
		t.Errorf("eth0 has flags %v and MTU %d, want up and 1400", a.Flags, a.MTU)
	}
	for _, a := range must(h.AddrList(eth, netlink.FAMILY_V6))(t) {
		t.Errorf("eth0 has IPv6 address %v", a)
	}
	self := netip.MustParseAddr(address(t, sb))
	routes := must(h.RouteList(eth, netlink.FAMILY_V4))(t)
	if !slices.ContainsFunc(routes, func(r netlink.Route) bool { return r.Gw.String() == self.Prev().String() }) {
		t.Errorf("no default route through %v among %v", self.Prev(), routes)
	}
	neighbours := must(h.NeighList(eth.Attrs().Index, netlink.FAMILY_V4))(t)
	if len(neighbours) != 1 || neighbours[0].State != netlink.NUD_PERMANENT {
		t.Errorf("neighbours are %v, want a permanent one", neighbours)
	}
}

func TestAttachFailsWhenAllAddressesAreInUseAndRecovers(t *testing.T) {
	w := newWorld(t)
	n := w.network(Config{Range: netip.MustParsePrefix("100.99.0.0/28"), Spare: -1})
	var releases []func() error
	for range 3 { // of 4: the relay has one
		_, release, err := n.Attach(t.Context(), "sb")
		ok(t, err)
		releases = append(releases, release)
	}
	if _, _, err := n.Attach(t.Context(), "one-too-many"); !errs.Is(err, errs.Unavailable) {
		t.Fatalf("error is %v, want errs.Unavailable", err)
	}
	ok(t, releases[1]())
	ok(t, releases[1]())
	_, release, err := n.Attach(t.Context(), "sb")
	ok(t, err)
	ok(t, release())
}

func TestConcurrentAttachesGetTheirOwnAddresses(t *testing.T) {
	w := newWorld(t)
	n := w.network(Config{})
	var (
		mu   sync.Mutex
		seen = map[string]bool{}
		work sync.WaitGroup
	)
	for range 8 {
		work.Go(func() {
			for range 4 {
				a := address(t, w.sandbox(n))
				mu.Lock()
				if seen[a] {
					t.Errorf("%s was given twice", a)
				}
				seen[a] = true
				mu.Unlock()
			}
		})
	}
	work.Wait()
}

func TestBlocksThatTheHostUsesArePassedOver(t *testing.T) {
	w := newWorld(t)
	first := must(New(Config{DataDir: "/a", ResolvConf: w.resolvConf}))(t)
	block := first.block
	ok(t, first.Close())

	out0 := must(netlink.LinkByName("out0"))(t)
	addr(t, nil, out0, nth(block, 77).String()+"/30")
	second := must(New(Config{DataDir: "/a", ResolvConf: w.resolvConf}))(t)
	defer second.Close()
	if second.block == block {
		t.Errorf("the block is %s, which the host uses", block)
	}
	if _, err := New(Config{DataDir: "/b", Range: second.block, ResolvConf: w.resolvConf}); !errs.Is(err, errs.Conflict) {
		t.Errorf("two nodes on one block: error is %v, want errs.Conflict", err)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	w := newWorld(t)
	before := traces(t)
	n := w.network(Config{})
	if during := traces(t); !slices.Contains(during, "ip_forward 1") || !slices.Contains(during, "table "+n.name) {
		t.Fatalf("the traces of a running node are %v", during)
	}
	for range 3 {
		_, _, err := n.Attach(t.Context(), "forgotten")
		ok(t, err)
	}
	ok(t, n.Close())
	if after := traces(t); !slices.Equal(before, after) {
		t.Errorf("before: %v\nafter: %v", before, after)
	}
}

func TestCloseLeavesForwardingOnForOthers(t *testing.T) {
	w := newWorld(t)
	n := w.network(Config{})
	table := foreignChain(t, nftables.ChainPolicyAccept)
	ok(t, n.Close())
	if !slices.Contains(traces(t), "ip_forward 1") {
		t.Errorf("ip_forward was switched off under table %s", table)
	}
	ok(t, os.WriteFile(forwardSwitch, []byte("0"), 0))
}

// runNode is a node in a process of its own, which reports that it is ready and
// waits to be killed.
func runNode(dataDir string) {
	n, err := New(Config{DataDir: dataDir})
	if err == nil {
		_, _, err = n.Attach(context.Background(), "sb")
	}
	if err != nil {
		println(err.Error())
		os.Exit(1)
	}
	println(n.prefix)
	select {}
}

func TestKilledNodeLeavesNoInterfacesAndTheNextOneSweepsTheRest(t *testing.T) {
	w := newWorld(t)
	before := traces(t)
	dir := t.TempDir()
	node := exec.Command("/proc/self/exe", dir)
	node.Args[0] = asNode
	stderr := must(node.StderrPipe())(t)
	ok(t, node.Start())
	line, err := bufio.NewReader(stderr).ReadString('\n')
	prefix := strings.TrimSpace(line)
	if err != nil || !strings.HasPrefix(prefix, "mf") {
		t.Fatalf("the node says %q, %v", line, err)
	}
	links := func() (names []string) {
		for _, l := range must(netlink.LinkList())(t) {
			if strings.HasPrefix(l.Attrs().Name, prefix) {
				names = append(names, l.Attrs().Name)
			}
		}
		return names
	}
	if got := links(); len(got) < 2 {
		t.Fatalf("interfaces of the running node: %v, want the relay's and a sandbox's", got)
	}
	changes, stop := make(chan netlink.LinkUpdate, 64), make(chan struct{})
	defer close(stop)
	ok(t, netlink.LinkSubscribe(changes, stop))
	ok(t, node.Process.Signal(unix.SIGKILL))
	_ = node.Wait()
	for len(links()) > 0 {
		select {
		case <-changes:
		case <-time.After(30 * time.Second):
			t.Fatalf("interfaces of the dead node: %v", links())
		}
	}
	if !slices.Contains(traces(t), "table "+tableName(dir)) {
		t.Error("the rules went with the node; they must outlive it")
	}
	n := w.network(Config{DataDir: dir})
	ok(t, n.Sweep(t.Context()))
	if _, err := ask(w.sandbox(n), outsideAddr+":8000"); err != nil {
		t.Errorf("the next node's sandbox: %v", err)
	}
	ok(t, n.Close())
	if after := traces(t); !slices.Equal(before, after) {
		t.Errorf("before: %v\nafter: %v", before, after)
	}
}

func TestSweepKeepsWhatIsInUse(t *testing.T) {
	w := newWorld(t)
	n := w.network(Config{})
	sb := w.sandbox(n)
	stray := netlink.NewVeth(netlink.LinkAttrs{Name: n.prefix + "4000"})
	stray.PeerName = "stray"
	ok(t, netlink.LinkAdd(stray))
	ok(t, n.Sweep(t.Context()))
	if _, err := netlink.LinkByName(stray.Name); err == nil {
		t.Error("the stray interface is still there")
	}
	if _, err := ask(sb, outsideAddr+":8000"); err != nil {
		t.Errorf("a live sandbox after the sweep: %v", err)
	}
}

func TestProbeNotesAFirewallThatDropsByDefault(t *testing.T) {
	newWorld(t)
	before := traces(t)
	if notes := must(Probe())(t); len(notes) != 0 {
		t.Errorf("notes on a clean host: %q", notes)
	}
	if after := traces(t); !slices.Equal(before, after) {
		t.Errorf("Probe changed the host: before %v, after %v", before, after)
	}
	foreignChain(t, nftables.ChainPolicyDrop)
	if notes := must(Probe())(t); len(notes) != 1 || !strings.Contains(notes[0], "foreign FORWARD") {
		t.Errorf("notes are %q, want one that names the chain", notes)
	}
}

func TestProbeNeedsRoot(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("runs as root")
	}
	if _, err := Probe(); !errs.Is(err, errs.Unsupported) {
		t.Errorf("error is %v, want errs.Unsupported", err)
	}
}

// foreignChain makes a table with a forward chain such as Docker's.
func foreignChain(t *testing.T, policy nftables.ChainPolicy) string {
	t.Helper()
	c := must(nftables.New())(t)
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "foreign"})
	c.AddChain(&nftables.Chain{Table: table, Name: "FORWARD", Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter, Policy: &policy})
	ok(t, c.Flush())
	t.Cleanup(func() {
		c.DelTable(table)
		ok(t, c.Flush())
	})
	return table.Name
}

// BenchmarkAttach measures what a cold start waits for when no spare network is
// ready, and what ending an instance costs.
func BenchmarkAttach(b *testing.B) {
	if filepath.Base(os.Args[0]) != asHost {
		b.Skip("needs root to make network namespaces")
	}
	n, err := New(Config{DataDir: b.TempDir(), Spare: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	for b.Loop() {
		_, release, err := n.Attach(b.Context(), "bench")
		if err == nil {
			err = release()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func vethOf(n *Network, addr string) *veth {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, v := range n.live {
		if v.addr.String() == addr {
			return v
		}
	}
	return nil
}

func prefixes(ss ...string) (all []netip.Prefix) {
	for _, s := range ss {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

func TestSandboxReachesTheAPIAndNothingElseOfTheHost(t *testing.T) {
	w := newWorld(t)
	n := w.network(Config{})
	sb := w.sandbox(n)
	go func() {
		for {
			c, err := n.API().Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "api")
			c.Close()
		}
	}()
	if got, err := ask(sb, APIAddress.String()); err != nil || got != "api" {
		t.Errorf("the API: %q, %v", got, err)
	}
	for what, to := range map[string]string{
		"another port of the API's address":     APIAddress.Addr().String() + ":8055",
		"another port where the API is":         n.relay.addr.String() + ":8055",
		"a service on the host's address":       hostAddr + ":8055",
		"the host's gateway, on the API's port": netip.MustParseAddr(address(t, sb)).Prev().String() + ":80",
	} {
		if got, err := ask(sb, to); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: answer %q, error %v, want a refused connection", what, got, err)
		}
	}
	// Control: without the rules the same address leads nowhere.
	ok(t, n.host.uninstall(n.name))
	if got, err := ask(sb, APIAddress.String()); err == nil && got == "api" {
		t.Error("the API answers without the rule that leads to it")
	}
}
