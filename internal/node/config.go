package node

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/invoke"
)

// The drivers a node can run functions with.
const (
	DriverGVisor  = "gvisor"  // isolated: the default, and the only one for strangers' code
	DriverProcess = "process" // plain processes of the host, for development only
)

// How the memory size of a function becomes CPU.
const (
	CPUShare = "share" // a proportional share when the machine is busy, all of it when idle
	CPUCap   = "cap"   // a hard limit besides, as in the cloud
)

// What the network of functions may reach.
const (
	EgressOpen     = "open"     // all but the host itself, link-local addresses and other instances
	EgressInternet = "internet" // of that, public addresses only
	EgressNone     = "none"     // nothing; EgressAllow has no effect either
)

// Config is everything a node can be told. Its zero value is not valid: start
// from Default. It does not change after New.
type Config struct {
	DataDir string // the node's one directory; made if need be
	Listen  string // HOST:PORT of the API; loopback unless told otherwise; port 0 picks one
	Domain  string // endpoints of functions are at ID.fn.DOMAIN and ID.api.DOMAIN

	TLSListen     string // HOST:PORT of the same over TLS; "" for none
	TLSCert       string // PEM file of the certificate with its chain; "" has them come from an authority
	TLSKey        string // PEM file of its key
	TLSAuto       bool   // certificates come from an authority that speaks ACME
	ACMEDirectory string // URL of that authority's directory; "" is Let's Encrypt's
	ACMEEmail     string // of the account there; may be empty
	ACMERoots     string // PEM file of certificates by which the directory is trusted; "" trusts the system's

	Region  string // as clients sign it
	Account string // 12 digits, the account in identifiers
	Prices  string // path of a price sheet, JSON; "" is the cloud's list prices

	OTLP         string // http://, https:// or grpc:// address of a collector of traces and metrics; "" for none
	MetricsToken string // lets others than this machine read /metrics; "" lets nobody

	// Unobserved leaves no logs, records, traces and metrics of calls: only to
	// measure what these cost. Bills and budgets see nothing either.
	Unobserved bool

	Driver          string        // DriverGVisor or DriverProcess
	Spine           string        // "" embeds the engine; nats://host:port uses a cluster
	KeepAlive       time.Duration // how long an idle instance is kept
	Linger          time.Duration // how long an idle instance runs on before it is frozen
	MemoryMB        int           // for all instances together; 0 means four fifths of the machine's
	Concurrency     int           // calls that may run at one time
	ReserveMB       int           // of the machine's memory that stays available: below it, what idles gives way; 0 means never
	SpareMB         int           // for sandboxes that are kept ready, so that snapshots restore faster; 0 keeps none
	SnapshotMB      int           // on disk, for all snapshots together; 0 makes none
	Starts          int           // instances that may be starting at one time; 0 means twice the CPUs
	QueueLimit      time.Duration // how long a call waits for an instance before it is throttled
	DrainLimit      time.Duration // how long calls under way may take when the node stops
	InitLimit       time.Duration // for a function's init before it is tried again within the call
	MaxSyncPayload  int64         // bytes in a synchronous request
	MaxAsyncPayload int64         // bytes in an asynchronous request
	MaxAnswer       int64         // bytes in an answer
	MaxStream       int64         // bytes in a streamed answer
	CPU             string        // CPUShare or CPUCap

	// RetryWaits is how long an asynchronous call waits after the function's
	// first failure, and after its second.
	RetryWaits []time.Duration

	Egress      string         // EgressOpen, EgressInternet or EgressNone
	EgressAllow []netip.Prefix // reachable although a rule forbids it
	EgressDeny  []netip.Prefix // not reachable although open

	EgressHost []netip.AddrPort // TCP services on addresses of this machine, but not loopback ones, that functions may reach

	StrictRuntimes  bool     // refuse a runtime whose exact version is missing
	InterpreterDirs []string // where interpreters are looked for, the most wanted first
	VersionDirs     []string // directories of version managers: VERSION/bin/NAME
}

// Default returns the configuration of a node that nobody told anything.
func Default() Config {
	return Config{
		Listen:  "127.0.0.1:9555",
		Domain:  "localhost",
		Region:  "us-east-1",
		Account: "000000000000",

		Driver:          DriverGVisor,
		KeepAlive:       5 * time.Minute,
		Linger:          50 * time.Millisecond,
		ReserveMB:       256,
		SpareMB:         96,
		SnapshotMB:      4096,
		Concurrency:     1000,
		QueueLimit:      10 * time.Second,
		DrainLimit:      20 * time.Second,
		InitLimit:       10 * time.Second,
		MaxSyncPayload:  invoke.MaxSyncPayload,
		MaxAsyncPayload: invoke.MaxAsyncPayload,
		MaxAnswer:       invoke.MaxAnswer,
		MaxStream:       invoke.MaxStream,
		CPU:             CPUShare,
		RetryWaits:      []time.Duration{time.Minute, 2 * time.Minute},
		Egress:          EgressOpen,
		InterpreterDirs: []string{"/usr/local/bin", "/usr/bin", "/bin"},
	}
}

var (
	accountForm = regexp.MustCompile(`^[0-9]{12}$`)
	regionForm  = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)
	domainForm  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
)

// minMemoryMB is the least budget that holds one instance.
const minMemoryMB = 128

// check returns c with what was left open filled in, or an errs.Invalid that
// names the field and what it takes.
func (c Config) check() (Config, error) {
	bad := func(field, format string, args ...any) (Config, error) {
		return c, errs.Newf(errs.Invalid, "%s: %s", field, fmt.Sprintf(format, args...))
	}
	if c.DataDir == "" {
		return bad("data-dir", "must name a directory")
	}
	if _, port, err := net.SplitHostPort(c.Listen); err != nil {
		return bad("listen", "%q is not HOST:PORT, such as 127.0.0.1:9555", c.Listen)
	} else if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return bad("listen", "%q is not a port from 0 to 65535", port)
	}
	if !accountForm.MatchString(c.Account) {
		return bad("account", "%q is not 12 digits", c.Account)
	}
	if field, why := c.tlsFault(); field != "" {
		return bad(field, "%s", why)
	}
	if !domainForm.MatchString(c.Domain) || len(c.Domain) > 200 {
		return bad("domain", "%q is not a domain name in lower case, such as mayfly.example.com", c.Domain)
	}
	if !regionForm.MatchString(c.Region) {
		return bad("region", "%q is not a region, such as us-east-1", c.Region)
	}
	if c.Spine != "" && !strings.HasPrefix(c.Spine, "nats://") && !strings.HasPrefix(c.Spine, "tls://") {
		return bad("spine", "%q is not the address of a NATS cluster, such as nats://host:4222", c.Spine)
	}
	for _, w := range []struct {
		field, value string
		words        []string
	}{
		{"driver", c.Driver, []string{DriverGVisor, DriverProcess}},
		{"cpu", c.CPU, []string{CPUShare, CPUCap}},
		{"egress", c.Egress, []string{EgressOpen, EgressInternet, EgressNone}},
	} {
		if !slices.Contains(w.words, w.value) {
			return bad(w.field, "%q is not one of: %s", w.value, strings.Join(w.words, ", "))
		}
	}
	for _, d := range []struct {
		field string
		value time.Duration
		least time.Duration
	}{
		{"keep-alive", c.KeepAlive, 0}, {"linger", c.Linger, 0}, {"drain-limit", c.DrainLimit, 0},
		{"queue-limit", c.QueueLimit, time.Millisecond}, {"init-limit", c.InitLimit, time.Millisecond},
	} {
		if d.value < d.least {
			return bad(d.field, "%s is less than %s", d.value, d.least)
		}
	}
	for _, n := range []struct {
		field string
		value int64
		least int64
	}{
		{"concurrency", int64(c.Concurrency), 1}, {"starts", int64(c.Starts), 0}, {"memory", int64(c.MemoryMB), 0},
		{"spare-memory", int64(c.SpareMB), 0}, {"memory-reserve", int64(c.ReserveMB), 0}, {"snapshot-storage", int64(c.SnapshotMB), 0},
		{"max-sync-payload", c.MaxSyncPayload, 1}, {"max-async-payload", c.MaxAsyncPayload, 1}, {"max-answer", c.MaxAnswer, 1},
		{"max-stream", c.MaxStream, 1},
	} {
		if n.value < n.least {
			return bad(n.field, "%d is less than %d", n.value, n.least)
		}
	}
	if len(c.RetryWaits) == 0 {
		return bad("retry-waits", "must name at least one time")
	}
	for _, wait := range c.RetryWaits {
		if wait < 0 {
			return bad("retry-waits", "%s is less than 0s", wait)
		}
	}
	if c.MaxAsyncPayload > 6<<20 {
		return bad("max-async-payload", "%d is more than 6 MiB, the most that the queue holds", c.MaxAsyncPayload)
	}
	return c.fill()
}

// tlsFault says what is wrong with what the node is told about TLS.
func (c Config) tlsFault() (field, why string) {
	if c.TLSListen == "" {
		if c.TLSCert != "" || c.TLSKey != "" || c.TLSAuto {
			return "tls-listen", "must say where, such as 0.0.0.0:443: a certificate alone serves nothing"
		}
		return "", ""
	}
	if _, _, err := net.SplitHostPort(c.TLSListen); err != nil {
		return "tls-listen", fmt.Sprintf("%q is not HOST:PORT, such as 0.0.0.0:443", c.TLSListen)
	}
	switch {
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return "tls-cert", "and tls-key go together"
	case (c.TLSCert == "") != c.TLSAuto:
		return "tls-cert", "needs a certificate (tls-cert and tls-key), or else tls-auto to get them from an authority"
	case c.TLSAuto && c.Domain == "localhost" && c.ACMEDirectory == "":
		return "domain", "must be a domain name of yours: nobody gives a certificate for localhost"
	}
	return "", ""
}

// fill sets what depends on the machine.
func (c Config) fill() (Config, error) {
	if c.MemoryMB == 0 {
		total, err := machineMB()
		if err != nil {
			return c, err
		}
		c.MemoryMB = total / 5 * 4
	}
	if c.MemoryMB < minMemoryMB {
		return c, errs.Newf(errs.Invalid, "memory: %d MB does not hold one instance, which takes at least %d", c.MemoryMB, minMemoryMB)
	}
	if c.Starts == 0 {
		c.Starts = 2 * cpus()
	}
	return c, nil
}

// machineMB returns the machine's memory, or this process's cgroup limit if
// that is lower.
func machineMB() (int, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, fmt.Errorf("read the machine's memory: %w", err)
	}
	total := uint64(info.Totalram) * uint64(info.Unit)
	for _, f := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64); err == nil {
			total = min(total, n)
		}
	}
	return int(total >> 20), nil
}

func cpus() int { return runtime.GOMAXPROCS(0) }
