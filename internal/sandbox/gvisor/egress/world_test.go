package egress

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-dev/mayfly/internal/sandbox"
	"github.com/mayfly-dev/mayfly/internal/sandbox/gvisor"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The tests run in a network namespace of their own, which plays the host: the
// test binary starts itself again there, under this name.
const (
	asHost = "egress-test-host"
	asNode = "egress-test-node" // a node to be killed: see TestMain
)

func TestMain(m *testing.M) {
	gvisor.Reexec(sandbox.Inside{})
	switch filepath.Base(os.Args[0]) {
	case asHost:
		os.Exit(m.Run())
	case asNode:
		runNode(os.Args[1])
	}
	if os.Geteuid() != 0 {
		os.Exit(m.Run()) // each test that needs root says so
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = asHost
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	runtime.LockOSThread() // Pdeathsig is about the thread
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		panic(err)
	}
	os.Exit(cmd.ProcessState.ExitCode())
}

// Addresses of the simulated world.
const (
	hostAddr    = "198.51.100.1" // the host, on its way out
	outsideAddr = "198.51.100.2" // a machine outside, the host's default route
	privateAddr = "10.99.0.1"    // on that machine
	metadata    = "169.254.169.254"
	resolver    = "127.0.0.53:53" // a nameserver on the host's loopback
)

// world is the host's surroundings for one test.
type world struct {
	t          *testing.T
	outside    *namespace
	resolvConf string
}

// newWorld makes a machine outside the host with a TCP service on port 8000 of
// all its addresses that tells a caller its address, the same on port 8055 of
// the host, and a nameserver on the host's loopback.
func newWorld(t *testing.T) *world {
	t.Helper()
	if filepath.Base(os.Args[0]) != asHost {
		t.Skip("needs root to make network namespaces")
	}
	w := &world{t: t, outside: must(newNamespace())(t)}
	t.Cleanup(w.outside.close)
	up(t, must(netlink.LinkByName("lo"))(t))

	veth := netlink.NewVeth(netlink.LinkAttrs{Name: "out0"})
	veth.PeerName, veth.PeerNamespace = inside, netlink.NsFd(w.outside.fd())
	ok(t, netlink.LinkAdd(veth))
	t.Cleanup(func() { ok(t, netlink.LinkDel(veth)) })
	out0 := must(netlink.LinkByName("out0"))(t)
	addr(t, nil, out0, hostAddr+"/24")
	up(t, out0)

	h := must(netlink.NewHandleAt(nsHandle(w.outside)))(t)
	defer h.Close()
	eth, lo := must(h.LinkByName(inside))(t), must(h.LinkByName("lo"))(t)
	ok(t, h.LinkSetUp(lo))
	addr(t, h, lo, metadata+"/32")
	addr(t, h, lo, privateAddr+"/32")
	addr(t, h, eth, outsideAddr+"/24")
	ok(t, h.LinkSetUp(eth))
	// A way back to sandboxes, for controls without address translation.
	ok(t, h.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: net.ParseIP(hostAddr)}))
	ok(t, netlink.RouteAdd(&netlink.Route{LinkIndex: out0.Attrs().Index, Gw: net.ParseIP(outsideAddr)}))

	w.serve(w.outside, "0.0.0.0:8000")
	w.serve(nil, "0.0.0.0:8055")
	w.serveDNS()
	w.resolvConf = filepath.Join(t.TempDir(), "resolv.conf")
	ok(t, os.WriteFile(w.resolvConf, []byte("search corp.example\nnameserver 127.0.0.53\n"), 0o644))
	return w
}

// network makes a Network in w, closed at the test's end.
func (w *world) network(cfg Config) *Network {
	w.t.Helper()
	if cfg.DataDir == "" {
		cfg.DataDir = w.t.TempDir()
	}
	cfg.ResolvConf = w.resolvConf
	n := must(New(cfg))(w.t)
	w.t.Cleanup(func() { ok(w.t, n.Close()) })
	return n
}

// sandbox attaches a network and returns it as gVisor would find it: by its path.
func (w *world) sandbox(n *Network) *namespace {
	w.t.Helper()
	path, release, err := n.Attach(w.t.Context(), "test")
	ok(w.t, err)
	w.t.Cleanup(func() { ok(w.t, release()) })
	ns := &namespace{must(os.Open(path))(w.t)}
	w.t.Cleanup(ns.close)
	return ns
}

// address returns the IPv4 address of eth0 in ns.
func address(t *testing.T, ns *namespace) string {
	t.Helper()
	h := must(netlink.NewHandleAt(nsHandle(ns)))(t)
	defer h.Close()
	addrs := must(h.AddrList(must(h.LinkByName(inside))(t), netlink.FAMILY_V4))(t)
	if len(addrs) != 1 {
		t.Fatalf("eth0 has addresses %v, want one", addrs)
	}
	return addrs[0].IP.String()
}

// ask connects from ns to a service of the world and returns its answer: the
// address that the service saw.
func ask(ns *namespace, to string) (answer string, err error) {
	err = ns.within(func() error {
		c, err := net.DialTimeout("tcp4", to, 10*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		b, err := io.ReadAll(c)
		answer = string(b)
		return err
	})
	return answer, err
}

// serve tells each caller at the address at, in ns (nil: the host), its address.
func (w *world) serve(ns *namespace, at string) {
	w.t.Helper()
	l := listenTCP(w.t, ns, at)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			io.WriteString(c, host)
			c.Close()
		}
	}()
}

func listenTCP(t *testing.T, ns *namespace, at string) (l net.Listener) {
	t.Helper()
	listen := func() (err error) { l, err = net.Listen("tcp4", at); return err }
	if ns == nil {
		ok(t, listen())
	} else {
		ok(t, ns.within(listen))
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// serveDNS answers every query for an IPv4 address with outsideAddr, and every
// message too short for a query with its id and the transport's name.
func (w *world) serveDNS() {
	p := must(net.ListenPacket("udp4", resolver))(w.t)
	w.t.Cleanup(func() { p.Close() })
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := p.ReadFrom(buf)
			if err != nil {
				return
			}
			if n > 16 {
				p.WriteTo(answerDNS(buf[:n]), from)
			} else if n >= 2 {
				p.WriteTo(append(buf[:2:2], "udp"...), from)
			}
		}
	}()
	l := listenTCP(w.t, nil, resolver)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b, _ := io.ReadAll(c)
			c.Write(append(b, "tcp"...))
			c.Close()
		}
	}()
}

// answerDNS answers a query (RFC 1035) that has one question.
func answerDNS(query []byte) []byte {
	end := 12
	for end < len(query) && query[end] != 0 {
		end += 1 + int(query[end])
	}
	end += 5 // the root label, type and class
	if end > len(query) {
		return nil
	}
	a := append([]byte{}, query[:end]...)
	a[2], a[3] = 0x81, 0x80        // a response; recursion desired and available
	copy(a[6:12], make([]byte, 6)) // no records yet
	if query[end-3] == 1 {         // type A
		a[7] = 1
		a = append(a, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
		a = append(a, netip.MustParseAddr(outsideAddr).AsSlice()...)
	}
	return a
}

// sink receives datagrams and hands them out in order.
func sink(t *testing.T, ns *namespace, network, at string) net.PacketConn {
	t.Helper()
	var p net.PacketConn
	listen := func() (err error) { p, err = net.ListenPacket(network, at); return err }
	if ns == nil {
		ok(t, listen())
	} else {
		ok(t, ns.within(listen))
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func receive(t *testing.T, p net.PacketConn) string {
	t.Helper()
	buf := make([]byte, 512)
	p.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, _, err := p.ReadFrom(buf)
	ok(t, err)
	return string(buf[:n])
}

func port(p net.PacketConn) uint16 {
	return netip.MustParseAddrPort(p.LocalAddr().String()).Port()
}

// inject puts a UDP packet with any addresses on eth0 of ns, as code that has
// broken out of gVisor's network stack could.
func inject(t *testing.T, ns *namespace, src, dst string, dport uint16, data string) {
	t.Helper()
	h := must(netlink.NewHandleAt(nsHandle(ns)))(t)
	defer h.Close()
	eth := must(h.LinkByName(inside))(t)
	gw := must(h.NeighList(eth.Attrs().Index, netlink.FAMILY_V4))(t)[0].HardwareAddr
	s, d := netip.MustParseAddr(src), netip.MustParseAddr(dst)
	proto := uint16(unix.ETH_P_IP)
	udp := binary.BigEndian.AppendUint16(nil, 5353)
	udp = binary.BigEndian.AppendUint16(udp, dport)
	udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(data)))
	udp = binary.BigEndian.AppendUint16(udp, 0)
	udp = append(udp, data...)
	var ip []byte
	if s.Is4() {
		ip = []byte{0x45, 0, 0, byte(20 + len(udp)), 0, 0, 0, 0, 64, unix.IPPROTO_UDP, 0, 0}
		ip = append(append(ip, s.AsSlice()...), d.AsSlice()...)
		binary.BigEndian.PutUint16(ip[10:], checksum(ip))
	} else {
		proto = unix.ETH_P_IPV6
		ip = []byte{0x60, 0, 0, 0, 0, byte(len(udp)), unix.IPPROTO_UDP, 64}
		ip = append(append(ip, s.AsSlice()...), d.AsSlice()...)
		pseudo := append(append([]byte{}, ip[8:]...), 0, 0, 0, byte(len(udp)), 0, 0, 0, unix.IPPROTO_UDP)
		binary.BigEndian.PutUint16(udp[6:], checksum(append(pseudo, udp...)))
	}
	to := &unix.SockaddrLinklayer{Protocol: proto<<8 | proto>>8, Ifindex: eth.Attrs().Index, Halen: 6}
	copy(to.Addr[:], gw)
	ok(t, ns.within(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, append(ip, udp...), 0, to)
	}))
}

func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i]) << 8
		if i+1 < len(b) {
			sum += uint32(b[i+1])
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// traces lists everything on the host that a node may leave behind.
func traces(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, l := range must(netlink.LinkList())(t) {
		all = append(all, "link "+l.Attrs().Name)
	}
	h := must(openHost())(t)
	defer h.close()
	for _, r := range must(h.routes())(t) {
		all = append(all, "route "+r.String())
	}
	for _, table := range must(must(h.nftables())(t).ListTables())(t) {
		all = append(all, "table "+table.Name)
	}
	b := must(os.ReadFile(forwardSwitch))(t)
	return append(all, "ip_forward "+strings.TrimSpace(string(b)))
}

func addr(t *testing.T, h *netlink.Handle, l netlink.Link, cidr string) {
	t.Helper()
	a := must(netlink.ParseAddr(cidr))(t)
	a.Flags |= unix.IFA_F_NODAD
	if h == nil {
		ok(t, netlink.AddrAdd(l, a))
	} else {
		ok(t, h.AddrAdd(l, a))
	}
}

func up(t *testing.T, l netlink.Link) {
	t.Helper()
	ok(t, netlink.LinkSetUp(l))
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// must is used as must(f())(t).
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		ok(t, err)
		return v
	}
}
