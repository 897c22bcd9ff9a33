package gvisor

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/image/erofs"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

// Finding is one thing that Probe looked at.
type Finding struct {
	Name   string // what: "gVisor", "root", "memory limit", ...
	OK     bool
	Detail string // one line on what was found
	Fix    string // the command that mends it, "" when none does
}

// Report is what Probe found.
type Report struct {
	Works    bool // sandboxes run here; the rest is about how well
	Findings []Finding
}

func (r *Report) add(name string, err error, fine, fix string) {
	f := Finding{Name: name, OK: err == nil, Detail: fine, Fix: fix}
	if err != nil {
		f.Detail = err.Error()
	} else {
		f.Fix = ""
	}
	r.Findings = append(r.Findings, f)
}

// Probe finds out what this machine can do for sandboxes: it boots one. What
// it makes, it removes. Whether sandboxes can have a network is the egress
// package's to say.
func Probe(ctx context.Context) Report {
	var r Report
	took, err := trial(ctx)
	r.Works = err == nil
	r.add("gVisor", err, fmt.Sprintf("a sandbox booted, ran a program and ended in %d ms", took.Milliseconds()), bootFix(err))

	if os.Geteuid() == 0 {
		r.add("root", nil, "sandboxes' processes run as another user than the node", "")
	} else {
		r.add("root", errors.New("running as a normal user: functions have no network, and limits need delegated control groups"), "", "sudo mayfly up")
	}

	fix := "sudo mayfly up"
	tree, err := openOwnCgroups(fmt.Sprintf("/probe/%d", os.Getpid()))
	if os.Geteuid() != 0 {
		fix = "systemd-run --user --scope -p Delegate=yes mayfly up"
	} else if err != nil {
		fix = "mount -t cgroup2 none " + cgroupRoot
	}
	for _, l := range []struct{ name, controller string }{{"memory limit", "memory"}, {"CPU limit", "cpu"}, {"process limit", "pids"}} {
		switch {
		case err != nil:
			r.add(l.name, err, "", fix)
		case tree.dirs[l.controller] == "":
			r.add(l.name, fmt.Errorf("the kernel has no %s controller", l.controller), "", "")
		default:
			r.add(l.name, nil, fmt.Sprintf("control groups, version %d", tree.version), "")
		}
	}
	if tree != nil {
		if err := tree.remove(); err != nil {
			r.add("control groups", err, "", "")
		}
	}
	return r
}

// bootFix returns the command that mends the usual reasons why a sandbox does
// not boot.
func bootFix(err error) string {
	if err == nil {
		return ""
	}
	sysctl := func(name string) string {
		b, _ := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
		return strings.TrimSpace(string(b))
	}
	self, _ := os.Executable()
	info, serr := os.Stat(self)
	switch {
	case sysctl("user.max_user_namespaces") == "0":
		return "sysctl -w user.max_user_namespaces=15000"
	case os.Geteuid() != 0 && sysctl("kernel.unprivileged_userns_clone") == "0":
		return "sudo sysctl -w kernel.unprivileged_userns_clone=1"
	case os.Geteuid() != 0 && sysctl("kernel.apparmor_restrict_unprivileged_userns") == "1":
		return "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
	case serr == nil && info.Mode()&0o005 != 0o005:
		return "chmod o+rx " + self // sandboxes run it as another user
	}
	return ""
}

// trial runs a program of a few instructions in a sandbox.
func trial(ctx context.Context) (took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	dir, err := os.MkdirTemp("", "mayfly-probe-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	images, err := writeTrialImages(dir)
	if err != nil {
		return 0, err
	}
	d, err := New(Config{Dir: filepath.Join(dir, "run")})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	start := time.Now()
	s, err := d.Create(ctx, sandbox.Spec{
		ID: "probe", Root: images[0], Code: images[1],
		Process:  func(sandbox.Paths) sandbox.Process { return sandbox.Process{Args: []string{"/trial"}, Dir: "/"} },
		MemoryMB: 64, TmpMB: 1, MilliCPU: 1000, Pids: 8, Files: 8,
	})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.Start(ctx); err != nil {
		return 0, err
	}
	select {
	case <-s.Done():
	case <-ctx.Done():
		return 0, fmt.Errorf("the program in a sandbox does not end: %w", context.Cause(ctx))
	}
	if exit := s.Exit(); exit.Code != trialCode || exit.Signal != 0 {
		return 0, fmt.Errorf("the program in a sandbox ended with code %d, signal %d", exit.Code, exit.Signal)
	}
	return time.Since(start), nil
}

// file is an image that has been built.
type file string

func (f file) EROFS(context.Context) (string, error) { return string(f), nil }
func (f file) Dir(context.Context) (string, error)   { return "", errors.ErrUnsupported }

// writeTrialImages writes the root image, which holds the program, and an
// empty one for the code.
func writeTrialImages(dir string) (images [2]file, err error) {
	program, err := trialProgram()
	if err != nil {
		return images, err
	}
	for i := range images {
		path := filepath.Join(dir, fmt.Sprintf("%d.erofs", i))
		f, err := os.Create(path)
		if err != nil {
			return images, err
		}
		images[i] = file(path)
		w := erofs.NewWriter(f)
		now := time.Now()
		err = w.Mkdir(".", 0o755, now)
		if i == 0 {
			for _, d := range mountPoints {
				err = errors.Join(err, w.Mkdir(d, 0o755, now))
			}
			_, ferr := w.File("trial", 0o755, now, program)
			err = errors.Join(err, ferr)
		}
		if err = errors.Join(err, w.Close(), f.Close()); err != nil {
			return images, err
		}
	}
	return images, nil
}

// trialCode is the status that the trial program exits with.
const trialCode = 42

// trialProgram returns a static ELF program that calls exit(trialCode).
func trialProgram() (io.Reader, error) {
	const base, headers = 0x400000, 64 + 56
	var machine uint16
	var code []byte
	switch runtime.GOARCH {
	case "amd64":
		machine = 62
		code = []byte{0xb8, 60, 0, 0, 0, 0xbf, trialCode, 0, 0, 0, 0x0f, 0x05} // mov eax, 60; mov edi, 42; syscall
	case "arm64":
		machine = 183
		code = []byte{0x40, 0x05, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 0x01, 0, 0, 0xd4} // mov x0, 42; mov x8, 93; svc 0
	default:
		return nil, fmt.Errorf("gVisor does not run on %s", runtime.GOARCH)
	}
	size := uint64(headers + len(code))
	var b bytes.Buffer
	b.Write([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	for _, field := range []any{
		uint16(2), machine, uint32(1), uint64(base + headers), uint64(64), uint64(0), // ET_EXEC, entry, program headers
		uint32(0), uint16(64), uint16(56), uint16(1), uint16(0), uint16(0), uint16(0),
		uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), size, size, uint64(0x1000), // PT_LOAD, readable and executable
	} {
		if err := binary.Write(&b, binary.LittleEndian, field); err != nil {
			return nil, err
		}
	}
	b.Write(code)
	return &b, nil
}
