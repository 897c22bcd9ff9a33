// Package gvisor runs sandboxes in gVisor: a kernel of their own, in user
// space, without hardware virtualisation. gVisor is linked into this binary,
// which is re-executed as each sandbox's process, the Sentry (see Reexec).
//
// The driver is the parent of gVisor's boot command, in the place of runsc's
// own container package: one process per sandbox and no gofer, no state files,
// and nothing that outlives the node.
package gvisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/erofs/go-erofs"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/runsc/config"
	"gvisor.dev/gvisor/runsc/flag"
	runsc "gvisor.dev/gvisor/runsc/sandbox"

	"github.com/mayfly-dev/mayfly/internal/errs"
	nodefs "github.com/mayfly-dev/mayfly/internal/image/erofs"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

// hostUser is the user and group that Sentries are on the host when the node
// runs as root: nobody's, and high enough to be in no one's range of
// subordinate ids.
const hostUser = 4_000_000_993

// nodeTemp begins the name of a node image that is being written.
const nodeTemp = ".node-"

// Config is what a Driver is made of.
type Config struct {
	// Dir is where the driver keeps what lives as long as its sandboxes:
	// an absolute path that no other node uses. It is made, for this user alone.
	Dir string

	// Network lets sandboxes out. Nil leaves them their loopback only, and so
	// does running as a normal user, whatever this says.
	Network Network

	// Serves says that the sandboxes' kernels can serve the code inside: Reexec is
	// given what they need for it.
	Serves bool

	// Log takes what can't be returned: a sandbox whose kernel crashed. Nil
	// discards it.
	Log *slog.Logger

	// DebugDir takes gVisor's debug logs, which are large and slow, a file per
	// sandbox. Empty means none.
	DebugDir string
}

// Driver is a sandbox.Driver on gVisor.
type Driver struct {
	cfg     Config
	conf    *config.Config // gVisor's own
	flags   []string       // conf as the Sentry's flags
	spawner *spawner
	build   func() string // see Build

	cgroups   *cgroupTree // nil when they can't be used
	cgroupErr error       // why
	nodeImage string      // EROFS image of the node's files

	mu      sync.Mutex
	checked map[string]bool // guarded by mu; root image -> has a place for nodeImage
	live    map[string]bool // guarded by mu; ids of sandboxes that are not closed yet
}

var _ sandbox.Driver = (*Driver)(nil)

// New makes a driver. It fails when this machine can't run gVisor at all;
// what else is missing, Limits tells.
func New(cfg Config) (*Driver, error) {
	if withCgo {
		return nil, errs.Newf(errs.Invalid, "this mayfly was built with cgo, and gVisor's kernel can't start in such a binary; build it with CGO_ENABLED=0, as `make build` does")
	}
	if !filepath.IsAbs(cfg.Dir) {
		return nil, errs.Newf(errs.Invalid, "the sandbox directory %q is not absolute", cfg.Dir)
	}
	if os.Geteuid() != 0 {
		cfg.Network = nil
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make sandbox directory: %w", err)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	log.SetTarget(logEmitter{cfg.Log})
	// What this process got from its own parent must not leak into sandboxes.
	if err := runsc.SetCloExeOnAllFDs(); err != nil {
		return nil, err
	}
	d := &Driver{cfg: cfg, checked: map[string]bool{}, live: map[string]bool{}}
	var err error
	if d.conf, err = newConf(cfg); err != nil {
		return nil, err
	}
	d.flags = slices.Sorted(slices.Values(d.conf.ToFlags())) // Build tells them
	d.build = buildOf(d.flags)
	if d.nodeImage, err = writeNodeImage(cfg); err != nil {
		return nil, fmt.Errorf("write the node's files for sandboxes: %w", err)
	}
	d.cgroups, d.cgroupErr = openOwnCgroups(cfg.Dir)
	d.spawner = newSpawner()
	return d, nil
}

// newConf returns gVisor's configuration.
func newConf(cfg Config) (*config.Config, error) {
	network := "none"
	if cfg.Network != nil {
		network = "sandbox"
	}
	args := []string{
		"--root=" + cfg.Dir, // Sweep knows this node's Sentries by it
		"--platform=systrap",
		"--network=" + network,
		"--overlay2=none",
		"--directfs=false", // no host files, and so a stricter system call filter
		"--ignore-cgroups",
		"--host-settings=ignore",
		"--allow-suid=false",
		"--net-raw=false",
		"--in-sandbox-cgroup=v2",
		"--control-rpc-stop-timeout=0s", // an idle control connection is no reason to stay
		// A blank sandbox is booted before it is known what it will run; that a
		// snapshot fits a Spec is checked by who keeps snapshots.
		"--restore-spec-validation=ignore",
	}
	if cfg.DebugDir != "" {
		args = append(args, "--debug", "--debug-log="+cfg.DebugDir+"/")
	}
	fs := flag.NewFlagSet("gvisor", flag.ContinueOnError)
	config.RegisterFlags(fs)
	if err := fs.Parse(args); err != nil {
		return nil, fmt.Errorf("configure gVisor: %w", err)
	}
	return config.NewFromFlags(fs)
}

// writeNodeImage writes the EROFS image of the node's files and returns its path.
func writeNodeImage(cfg Config) (string, error) {
	files := map[string]string{"hosts": "127.0.0.1 localhost\n::1 localhost\n"}
	if cfg.Network != nil {
		files["resolv.conf"] = string(cfg.Network.ResolvConf())
	}
	f, err := os.CreateTemp(cfg.Dir, nodeTemp+"*")
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name())
	path := filepath.Join(cfg.Dir, "node.erofs")
	w := nodefs.NewWriter(f)
	for name, text := range files {
		if _, err := w.File(name, 0o644, time.Now(), strings.NewReader(text)); err != nil {
			return "", errors.Join(err, f.Close())
		}
	}
	if err := errors.Join(w.Close(), f.Chmod(0o444), f.Close()); err != nil {
		return "", err
	}
	return path, os.Rename(f.Name(), path)
}

func openOwnCgroups(dir string) (*cgroupTree, error) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return openCgroups(own, mounts, cgroupName(dir))
}

// Name implements sandbox.Driver.
func (d *Driver) Name() string { return "gvisor" }

// Prepare implements sandbox.Driver: it builds the images.
func (d *Driver) Prepare(ctx context.Context, spec sandbox.Spec) error {
	_, err := d.images(ctx, spec)
	return err
}

func (d *Driver) images(ctx context.Context, spec sandbox.Spec) (img images, err error) {
	if img.root, err = spec.Root.EROFS(ctx); err != nil {
		return img, fmt.Errorf("root image: %w", err)
	}
	if img.code, err = spec.Code.EROFS(ctx); err != nil {
		return img, fmt.Errorf("code image: %w", err)
	}
	linked, err := d.checkRoot(img.root)
	if linked {
		img.node = d.nodeImage
	}
	return img, err
}

// checkRoot makes sure, once, that a root image has the directories that
// sandboxes mount on, and reports whether it has one for the node's files.
func (d *Driver) checkRoot(path string) (linked bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if linked, ok := d.checked[path]; ok {
		return linked, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return false, fmt.Errorf("root image: %w", err)
	}
	defer f.Close()
	tree, err := erofs.Open(f)
	if err != nil {
		return false, fmt.Errorf("root image %s: %w", path, err)
	}
	for _, dir := range mountPoints {
		if info, err := fs.Stat(tree, dir); err != nil || !info.IsDir() {
			return false, errs.Newf(errs.Invalid, "root image %s has no directory /%s to mount on", path, dir)
		}
	}
	info, err := fs.Stat(tree, nodeDir[1:])
	linked = err == nil && info.IsDir()
	d.checked[path] = linked
	return linked, nil
}

// Create implements sandbox.Driver: it boots a sandbox's kernel.
func (d *Driver) Create(ctx context.Context, spec sandbox.Spec) (sandbox.Sandbox, error) {
	img, err := d.images(ctx, spec)
	if err != nil {
		return nil, err
	}
	s, err := d.createAgain(ctx, spec, img)
	if err != nil {
		return nil, err // not a nil *Sandbox
	}
	return s, nil
}

// createAgain is create, with a second try: once in hundreds of boots under load
// the Sentry dies early.
func (d *Driver) createAgain(ctx context.Context, spec sandbox.Spec, img images) (*Sandbox, error) {
	s, err := d.create(ctx, spec, img)
	if errors.Is(err, errBoot) && ctx.Err() == nil {
		s, err = d.create(ctx, spec, img)
	}
	return s, err
}

// Limits says, in sentences for the operator, what this driver can't hold
// sandboxes to on this machine. It is empty when all is well.
func (d *Driver) Limits() []string {
	var out []string
	if os.Geteuid() != 0 {
		out = append(out, "Not running as root: functions have no network beyond their own loopback.")
	}
	if d.cgroupErr != nil {
		out = append(out, fmt.Sprintf("No control groups (%v): functions' memory and CPU are not limited.", d.cgroupErr))
	} else {
		for _, c := range controllers {
			if d.cgroups.dirs[c] == "" {
				out = append(out, fmt.Sprintf("The control group controller %q is missing: it limits nothing.", c))
			}
		}
	}
	return out
}

// Close implements sandbox.Driver.
func (d *Driver) Close() error {
	d.spawner.close()
	var err error
	if d.cgroups != nil {
		err = d.cgroups.remove()
	}
	return errors.Join(err, os.Remove(d.nodeImage))
}

// hostID is the user and group that a sandbox's process has outside.
func hostID() int {
	if os.Geteuid() != 0 {
		return os.Geteuid()
	}
	return hostUser
}

// kill kills the process behind a pidfd, or, without one, the process pid,
// which must not have been waited for yet.
func kill(pid int, pidfd *os.File) error {
	var err error
	if pidfd != nil {
		raw, rerr := pidfd.SyscallConn()
		if rerr != nil {
			return rerr
		}
		if cerr := raw.Control(func(fd uintptr) { err = unix.PidfdSendSignal(int(fd), unix.SIGKILL, nil, 0) }); cerr != nil {
			return cerr
		}
	} else {
		err = unix.Kill(pid, unix.SIGKILL)
	}
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}
