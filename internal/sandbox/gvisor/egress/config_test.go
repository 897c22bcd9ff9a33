package egress

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

func TestNewRefusesAWrongConfig(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
	}{
		{"no data directory", Config{}},
		{"an IPv6 range", Config{DataDir: "/d", Range: netip.MustParsePrefix("fd00::/64")}},
		{"a range too small", Config{DataDir: "/d", Range: netip.MustParsePrefix("10.0.0.0/30")}},
		{"an MTU too small", Config{DataDir: "/d", MTU: 68}},
		{"an unknown mode", Config{DataDir: "/d", Policy: Policy{Mode: "closed"}}},
		{"IPv6 allowed", Config{DataDir: "/d", Policy: Policy{Allow: prefixes("2001:db8::/32")}}},
		{"an invalid network denied", Config{DataDir: "/d", Policy: Policy{Deny: []netip.Prefix{{}}}}},
		{"a loopback service", Config{DataDir: "/d", Policy: Policy{Host: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:80")}}}},
		{"a service without port", Config{DataDir: "/d", Policy: Policy{Host: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:0")}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := New(tt.cfg); !errs.Is(err, errs.Invalid) {
				t.Errorf("error is %v, want errs.Invalid", err)
			}
		})
	}
}

func TestInterfaceNamesFitTheKernelsLimit(t *testing.T) {
	block := netip.MustParsePrefix("100.64.0.0/18")
	v := newVeth(linkPrefix(tableName("/var/lib/mayfly")), block, sandboxes(block)-1, 1500)
	if len(v.name) > 15 {
		t.Errorf("%q has %d bytes, the limit is 15", v.name, len(v.name))
	}
	if !block.Contains(v.addr.Next()) {
		t.Errorf("the last network's broadcast address %s is not in %s", v.addr.Next(), block)
	}
}

func TestNodesOfDifferentDirectoriesHaveDifferentNames(t *testing.T) {
	if tableName("/a") == tableName("/b") || tableName("/a/") != tableName("/a") {
		t.Error("names must differ by directory, and not by how it is written")
	}
}

func TestParseResolvConf(t *testing.T) {
	tests := []struct {
		name, conf string
		servers    []string
		search     string
	}{
		{"empty means this host", "", []string{"127.0.0.1:53"}, ""},
		{"at most three", "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver ::1\nnameserver 10.0.0.4\n",
			[]string{"10.0.0.1:53", "10.0.0.2:53", "[::1]:53"}, ""},
		{"comments and rubbish", "# nameserver 1.1.1.1\n; x\nnameserver\nnameserver nonsense\nnameserver 9.9.9.9 # quad",
			[]string{"9.9.9.9:53"}, ""},
		{"search and options", "search  a.example b.example\noptions ndots:2\nnameserver 1.1.1.1",
			[]string{"1.1.1.1:53"}, "search a.example b.example\noptions ndots:2\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			servers, search := parseResolvConf([]byte(tt.conf))
			if !slices.Equal(servers, tt.servers) || string(search) != tt.search {
				t.Errorf("servers %q, search %q, want %q and %q", servers, search, tt.servers, tt.search)
			}
		})
	}
}

func FuzzParseResolvConf(f *testing.F) {
	f.Add([]byte("search a\nnameserver 1.2.3.4\noptions x"))
	f.Add([]byte("nameserver fe80::1%eth0\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		servers, search := parseResolvConf(b)
		if len(servers) < 1 || len(servers) > 3 {
			t.Errorf("%d servers", len(servers))
		}
		for line := range strings.Lines(string(search)) {
			if !strings.HasSuffix(line, "\n") || len(strings.Fields(line)) < 2 {
				t.Errorf("search line %q", line)
			}
		}
	})
}
