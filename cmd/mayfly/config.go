package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"

	"github.com/mayfly-dev/mayfly/internal/node"
)

// envPrefix begins the environment's names of settings: listen is MAYFLY_LISTEN,
// keep-alive is MAYFLY_KEEP_ALIVE.
const envPrefix = "MAYFLY_"

// bindConfig makes a flag for each setting of a node. Flags, the environment
// and the configuration file share these names; the data directory is a flag of
// all commands and is set apart.
func bindConfig(f *pflag.FlagSet, c *node.Config) {
	f.StringVar(&c.Listen, "listen", c.Listen, "HOST:PORT of the API; port 0 picks a free one")
	f.StringVar(&c.Domain, "domain", c.Domain, "domain under which functions' endpoints are: ID.fn.DOMAIN, ID.api.DOMAIN")
	f.StringVar(&c.TLSListen, "tls-listen", c.TLSListen, "HOST:PORT for TLS besides, such as 0.0.0.0:443; endpoints are then https")
	f.StringVar(&c.TLSCert, "tls-cert", c.TLSCert, "PEM file of the certificate, with its chain")
	f.StringVar(&c.TLSKey, "tls-key", c.TLSKey, "PEM file of the certificate's key")
	f.BoolVar(&c.TLSAuto, "tls-auto", c.TLSAuto, "get certificates by ACME, for each endpoint at its first connection")
	f.StringVar(&c.ACMEDirectory, "acme-directory", c.ACMEDirectory, "URL of the ACME directory; Let's Encrypt's if empty")
	f.StringVar(&c.ACMEEmail, "acme-email", c.ACMEEmail, "e-mail address of the ACME account")
	f.StringVar(&c.ACMERoots, "acme-roots", c.ACMERoots, "PEM file of certificates by which the ACME directory is trusted")
	f.StringVar(&c.Region, "region", c.Region, "region that clients sign for")
	f.StringVar(&c.Account, "account", c.Account, "account number in identifiers, 12 digits")
	f.StringVar(&c.OTLP, "otlp", c.OTLP, "http://HOST:4318 or grpc://HOST:4317 of an OpenTelemetry collector, for traces and metrics")
	f.StringVar(&c.MetricsToken, "metrics-token", c.MetricsToken, "bearer token with which other machines may read /metrics")
	f.StringVar(&c.Prices, "prices", c.Prices, "file with the price sheet of bills (JSON); the default is AWS's list prices")

	f.BoolVar(&c.Unobserved, "unobserved", c.Unobserved, "leave no logs, records, traces and metrics of calls, to measure what these cost")

	f.StringVar(&c.Driver, "driver", c.Driver, "how functions are isolated: gvisor, or process (not at all, for development)")
	f.StringVar(&c.Spine, "spine", c.Spine, "nats://HOST:PORT of a cluster, instead of the embedded engine")
	f.DurationVar(&c.KeepAlive, "keep-alive", c.KeepAlive, "how long an idle instance is kept")
	f.DurationVar(&c.Linger, "linger", c.Linger, "how long an idle instance runs on before it is frozen")
	f.IntVar(&c.MemoryMB, "memory", c.MemoryMB, "MB for all instances together; 0 means four fifths of the machine's")
	f.IntVar(&c.ReserveMB, "memory-reserve", c.ReserveMB, "MB of the machine's memory to leave available: below it, idle instances give way; 0 means never")
	f.IntVar(&c.SpareMB, "spare-memory", c.SpareMB, "MB for sandboxes kept ready for cold starts, beyond --memory; 0 keeps none")
	f.IntVar(&c.SnapshotMB, "snapshot-storage", c.SnapshotMB, "MB on disk for snapshots of initialised functions; 0 makes none")
	f.IntVar(&c.Concurrency, "concurrency", c.Concurrency, "calls that may run at one time")
	f.IntVar(&c.Starts, "starts", c.Starts, "instances that may be starting at one time; 0 means twice the CPUs")
	f.DurationVar(&c.QueueLimit, "queue-limit", c.QueueLimit, "how long a call waits for an instance before it is throttled")
	f.DurationVar(&c.DrainLimit, "drain-limit", c.DrainLimit, "how long calls under way may take when the node stops")
	f.DurationVar(&c.InitLimit, "init-limit", c.InitLimit, "how long a function's init may take")
	f.Int64Var(&c.MaxSyncPayload, "max-sync-payload", c.MaxSyncPayload, "bytes in a synchronous request")
	f.Int64Var(&c.MaxAsyncPayload, "max-async-payload", c.MaxAsyncPayload, "bytes in an asynchronous request")
	f.DurationSliceVar(&c.RetryWaits, "retry-waits", c.RetryWaits, "how long an asynchronous call waits after the function's first failure, and after its second")
	f.Int64Var(&c.MaxAnswer, "max-answer", c.MaxAnswer, "bytes in an answer")
	f.Int64Var(&c.MaxStream, "max-stream", c.MaxStream, "bytes in a streamed answer")
	f.StringVar(&c.CPU, "cpu", c.CPU, "memory buys a share of the CPU when it is scarce (share), or a hard limit (cap)")

	f.StringVar(&c.Egress, "egress", c.Egress, "what functions reach: open (all but this host, metadata addresses and each other), internet (of that, public addresses only) or none")
	f.Var((*prefixes)(&c.EgressAllow), "egress-allow", "networks that are reachable although a rule forbids it")
	f.Var((*services)(&c.EgressHost), "egress-host", "ADDRESS:PORT of TCP services on this machine that functions may reach, such as 10.0.0.5:5432; not on loopback")
	f.Var((*prefixes)(&c.EgressDeny), "egress-deny", "networks that are not reachable although open")

	f.BoolVar(&c.StrictRuntimes, "strict-runtimes", c.StrictRuntimes, "refuse a runtime whose exact version is missing, where otherwise the nearest serves")
	f.StringSliceVar(&c.InterpreterDirs, "interpreter-dirs", c.InterpreterDirs, "where interpreters are looked for, the most wanted first")
	f.StringSliceVar(&c.VersionDirs, "version-dirs", c.VersionDirs, "version managers' directories of VERSION/bin/NAME")
}

// prefixes is a flag that takes networks, or single addresses, with commas.
type prefixes []netip.Prefix

func (p *prefixes) String() string {
	var list []string
	for _, x := range *p {
		list = append(list, x.String())
	}
	return strings.Join(list, ",")
}

func (p *prefixes) Set(s string) error {
	for _, part := range strings.Split(s, ",") {
		part = strings.TrimSpace(part)
		x, err := netip.ParsePrefix(part)
		if err != nil {
			a, aerr := netip.ParseAddr(part)
			if aerr != nil {
				return fmt.Errorf("%q is not a network such as 10.0.0.0/8", part)
			}
			x = netip.PrefixFrom(a, a.BitLen())
		}
		*p = append(*p, x)
	}
	return nil
}

func (*prefixes) Type() string { return "networks" }

// services is a flag that takes addresses with ports, with commas.
type services []netip.AddrPort

func (p *services) String() string {
	var list []string
	for _, x := range *p {
		list = append(list, x.String())
	}
	return strings.Join(list, ",")
}

func (p *services) Set(s string) error {
	for _, part := range strings.Split(s, ",") {
		x, err := netip.ParseAddrPort(strings.TrimSpace(part))
		if err != nil {
			return fmt.Errorf("%q is not an address and port such as 10.0.0.5:5432", part)
		}
		*p = append(*p, x)
	}
	return nil
}

func (*services) Type() string { return "addresses" }

// defaultConfig is node.Default with what depends on whose environment this is.
func defaultConfig() node.Config {
	c := node.Default()
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/nonexistent"
	}
	for _, m := range []struct{ env, dir, versions string }{
		{"PYENV_ROOT", filepath.Join(home, ".pyenv"), "versions"},
		{"NVM_DIR", filepath.Join(home, ".nvm"), "versions/node"},
	} {
		if dir := os.Getenv(m.env); filepath.IsAbs(dir) {
			m.dir = dir
		}
		if dir := filepath.Join(m.dir, m.versions); exists(dir) {
			c.VersionDirs = append(c.VersionDirs, dir)
		}
	}
	return c
}

// defaultConfigFile is read if it is there.
func defaultConfigFile() string {
	if os.Geteuid() == 0 {
		return "/etc/mayfly/mayfly.toml"
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "mayfly", "mayfly.toml")
}

// fillConfig sets, from the environment or else from the configuration file,
// every setting whose flag was not given; an empty variable is none. file is the file's path, "" for the
// usual one, which may be missing.
func fillConfig(f *pflag.FlagSet, file string, lookup func(string) (string, bool)) error {
	values, err := readConfigFile(file)
	if err != nil {
		return err
	}
	var all error
	f.VisitAll(func(flag *pflag.Flag) {
		if flag.Name == "help" || flag.Annotations[notASetting] != nil {
			return
		}
		fromFile, inFile := values[flag.Name]
		delete(values, flag.Name)
		if flag.Changed {
			return
		}
		name := envPrefix + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
		if v, ok := lookup(name); ok && v != "" {
			if err := f.Set(flag.Name, v); err != nil {
				all = errors.Join(all, fmt.Errorf("%s: %w", name, err))
			}
		} else if inFile {
			if err := f.Set(flag.Name, fromFile); err != nil {
				all = errors.Join(all, fmt.Errorf("configuration file: %w", err))
			}
		}
	})
	for _, name := range slices.Sorted(maps.Keys(values)) {
		all = errors.Join(all, fmt.Errorf("configuration file: there is no setting %q; `mayfly up --help` lists them", name))
	}
	return all
}

// notASetting annotates flags of up that are no settings of the node.
const notASetting = "mayfly-not-a-setting"

// readConfigFile returns the file's settings as flags spell them.
func readConfigFile(file string) (map[string]string, error) {
	asked := file != ""
	if !asked {
		file = defaultConfigFile()
	}
	var raw map[string]any
	_, err := toml.DecodeFile(file, &raw)
	if errors.Is(err, fs.ErrNotExist) && !asked {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("configuration file %s: %w", file, err)
	}
	values := map[string]string{}
	for name, v := range raw {
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		var words []string
		for _, x := range list {
			switch x.(type) {
			case string, int64, bool:
				words = append(words, fmt.Sprint(x))
			default:
				return nil, fmt.Errorf("configuration file %s: %s must be a string, a number, true, false, or a list of strings", file, name)
			}
		}
		values[name] = strings.Join(words, ",")
	}
	return values, nil
}
