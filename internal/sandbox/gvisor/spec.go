package gvisor

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/mayfly-dev/mayfly/internal/image/erofs"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

// Where the parts of a sandbox are, as the code inside sees them.
const (
	taskDir    = "/var/task"
	runtimeDir = "/var/runtime"
	tmpDir     = "/tmp"

	// nodeDir shows the files that belong to the node, not to the image:
	// resolv.conf and hosts. An image links to them from /etc.
	nodeDir = "/run/mayfly"
)

// The user that everything inside runs as. Lambda's has the same numbers and
// the name sbx_user1051.
const (
	UID = 993
	GID = 990
)

// mountPoints are the directories that a root image must have: its tree is
// read-only, so the driver can't make them.
var mountPoints = []string{"proc", "sys", "dev", "tmp", "var/task"}

// insidePaths are where all is in every sandbox of this driver.
var insidePaths = sandbox.Paths{Task: taskDir, Runtime: runtimeDir, Lang: "/var/lang", Tmp: tmpDir}

// paths returns the Paths of this driver's sandboxes.
func (d *Driver) paths() sandbox.Paths {
	p := insidePaths
	if d.cfg.Serves {
		p.Serves = serviceAddress
	}
	return p
}

// images are the EROFS images of a sandbox, in the order in which gVisor wants
// their descriptors. node is "" when the root image has no place for it.
type images struct{ root, code, node string }

func (i images) paths() []string {
	p := []string{i.root, i.code}
	if i.node != "" {
		p = append(p, i.node)
	}
	return p
}

// count is how many images there are, with that of the boot id.
func (i images) count() int { return len(i.paths()) + 1 }

// open opens the images, with a new one of a boot id at last.
func (i images) open() (files []*os.File, err error) {
	defer func() {
		if err != nil {
			closeAll(files)
		}
	}()
	for _, path := range i.paths() {
		f, err := os.Open(path)
		if err != nil {
			return files, err
		}
		files = append(files, f)
	}
	f, err := newBootID()
	return append(files, f), err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close() // of a nil one, too
	}
}

// bootIDPath names the one of the kernel's random values that gVisor keeps in a
// file, and so in a snapshot. An image with a value of the sandbox's own takes its
// place. All such images look the same to gVisor, or it would not have another in
// a copy than in the snapshot.
const bootIDPath = "/proc/sys/kernel/random/boot_id"

func newBootID() (*os.File, error) {
	f, err := memfd("boot-id", nil)
	if err != nil {
		return nil, err
	}
	if err := erofs.WriteFile(f, 0o444, time.Unix(0, 0), []byte(uuid.NewString()+"\n")); err != nil {
		f.Close()
		return nil, fmt.Errorf("make boot id: %w", err)
	}
	return f, nil
}

// mountConfs is the value of boot's --gofer-mount-confs, in the order of the
// mounts: each image is an EROFS without anything on top, and /tmp is nothing
// with a tmpfs on top whose pages are in a host's file, see tmpFile.
func (i images) mountConfs() string {
	return strings.Repeat("erofs:none,", i.count()) + "none:anon"
}

// ociSpec words a sandbox in OCI's terms, which gVisor boots from.
func ociSpec(spec sandbox.Spec, p sandbox.Process, img images, netns string) *specs.Spec {
	readOnly := []string{"ro", "nosuid", "nodev"}
	s := &specs.Spec{
		Version: "1.0.0",
		Process: &specs.Process{
			Args:            p.Args,
			Env:             p.Env,
			Cwd:             p.Dir,
			User:            specs.User{UID: UID, GID: GID},
			Capabilities:    &specs.LinuxCapabilities{},
			NoNewPrivileges: true,
			Rlimits: []specs.POSIXRlimit{
				limit("RLIMIT_NOFILE", spec.Files),
				limit("RLIMIT_NPROC", spec.Pids),
				limit("RLIMIT_CORE", 0),
			},
		},
		// gVisor wants a path, but takes the tree from the annotations.
		Root:     &specs.Root{Path: "/", Readonly: true},
		Hostname: spec.ID,
		Annotations: map[string]string{
			"dev.gvisor.spec.rootfs.source": img.root,
			"dev.gvisor.spec.rootfs.type":   "erofs",
		},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "nodev", "noexec"}},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"ro", "nosuid", "nodev", "noexec"}},
			{Destination: taskDir, Type: "erofs", Source: img.code, Options: readOnly},
		},
		Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{
			{Type: specs.PIDNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace}, {Type: specs.MountNamespace},
			{Type: specs.NetworkNamespace, Path: netns},
		}},
	}
	if img.node != "" {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: nodeDir, Type: "erofs", Source: img.node, Options: readOnly})
	}
	s.Mounts = append(s.Mounts, specs.Mount{Destination: bootIDPath, Type: "erofs", Source: "boot_id", Options: readOnly})
	// To gVisor only a bind mount can have a file for its pages; it then makes a
	// tmpfs of it. The source is not looked at.
	s.Mounts = append(s.Mounts, specs.Mount{Destination: tmpDir, Type: "bind", Source: tmpDir,
		Options: []string{"nosuid", "nodev", "mode=1777", "size=" + strconv.Itoa(spec.TmpMB) + "m"}})
	return s
}

func limit(name string, n int) specs.POSIXRlimit {
	return specs.POSIXRlimit{Type: name, Soft: uint64(n), Hard: uint64(n)}
}
