// Package hostnet gives the tests of a package a network of their own: a
// namespace that plays the host's, with a machine beyond it. What nodes do to
// their host's network there, this machine's does not notice.
package hostnet

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Addresses of the network that New makes.
const (
	Host    = "198.51.100.1" // the host, on its way out
	Outside = "198.51.100.2" // a machine beyond it, its default route
)

// inside is the name under which Run starts the test binary again.
const inside = "mayfly-hostnet"

// Run calls tests, which must end the process, in a network namespace of its
// own. TestMain calls it, and nothing else. Without root tests run where they
// are, and New skips those that use it.
func Run(tests func()) {
	started := strings.HasSuffix(os.Args[0], ".test") // by go test, not as a part of a sandbox
	if !started || os.Geteuid() != 0 {
		tests()
		return
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = inside
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	runtime.LockOSThread() // Pdeathsig is about the thread
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		panic(err)
	}
	os.Exit(cmd.ProcessState.ExitCode())
}

// Machine is a machine beyond the host. It is there until the test's end.
type Machine struct{ ns *os.File }

// New makes the machine Outside, which has the extra addresses (in CIDR form)
// too, and the host's route to it. It skips tests that don't run as root.
func New(t testing.TB, extra ...string) *Machine {
	t.Helper()
	if os.Args[0] != inside {
		t.Skip("needs root for a network of its own, and for sandboxes with one")
	}
	m := &Machine{newNamespace(t)}
	pair := netlink.NewVeth(netlink.LinkAttrs{Name: "out0"})
	pair.PeerName, pair.PeerNamespace = "eth0", netlink.NsFd(int(m.ns.Fd()))
	ok(t, netlink.LinkAdd(pair))
	t.Cleanup(func() { ok(t, netlink.LinkDel(pair)) })
	up(t, "lo")
	m.Within(t, func() {
		up(t, "lo", extra...)
		up(t, "eth0", Outside+"/24")
	})
	out0 := up(t, "out0", Host+"/24")
	ok(t, netlink.RouteAdd(&netlink.Route{LinkIndex: out0.Attrs().Index, Gw: net.ParseIP(Outside)}))
	return m
}

// Listen listens for TCP on the machine until the test's end.
func (m *Machine) Listen(t testing.TB, at string) (l net.Listener) {
	t.Helper()
	var err error
	m.Within(t, func() { l, err = net.Listen("tcp4", at) })
	ok(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// Within calls f on a thread that is on the machine. Sockets that f opens stay
// there; goroutines that it starts don't.
func (m *Machine) Within(t testing.TB, f func()) {
	t.Helper()
	home, err := os.Open("/proc/thread-self/ns/net")
	ok(t, err)
	defer home.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ok(t, unix.Setns(int(m.ns.Fd()), unix.CLONE_NEWNET))
	defer func() {
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(err) // the thread is of no use to anybody
		}
	}()
	f()
}

// newNamespace makes a network namespace that lives until the test's end.
func newNamespace(t testing.TB) (ns *os.File) {
	t.Helper()
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			ns, err = os.Open("/proc/thread-self/ns/net")
		}
	}()
	<-done
	ok(t, err)
	t.Cleanup(func() { ns.Close() })
	return ns
}

// up gives an interface of the calling thread's namespace addresses.
func up(t testing.TB, name string, cidrs ...string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	ok(t, err)
	for _, cidr := range cidrs {
		a, err := netlink.ParseAddr(cidr)
		ok(t, err)
		ok(t, netlink.AddrAdd(l, a))
	}
	ok(t, netlink.LinkSetUp(l))
	return l
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
