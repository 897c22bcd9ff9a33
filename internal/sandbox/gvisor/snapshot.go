package gvisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"sync"

	"gvisor.dev/gvisor/pkg/cpuid"
	sentryctl "gvisor.dev/gvisor/pkg/sentry/control"
	"gvisor.dev/gvisor/pkg/state/statefile"
	"gvisor.dev/gvisor/pkg/urpc"
	"gvisor.dev/gvisor/runsc/boot"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

// gvisorModule is where gVisor's version is looked up.
const gvisorModule = "gvisor.dev/gvisor"

// blankMB is a blank sandbox's memory limit. It is lowered when the sandbox is
// filled; control groups of version 1 would refuse it the other way around.
const blankMB = 1 << 20

var _ sandbox.Snapshotter = (*Driver)(nil)

// Build implements sandbox.Snapshotter: a snapshot is of one gVisor, one
// configuration of it, and of a CPU's features.
func (d *Driver) Build() string { return d.build() }

func buildOf(flags []string) func() string {
	return sync.OnceValue(func() string {
		version := seccompVersion // of go.mod: a test compares
		if info, ok := debug.ReadBuildInfo(); ok {
			for _, m := range info.Deps {
				if m.Path == gvisorModule && m.Replace == nil {
					version = m.Version
				}
			}
		}
		cpuid.Initialize()
		return fmt.Sprint(snapshotFormat, " ", version, " ", cpuid.HostFeatureSet().FlagString(), " ", flags)
	})
}

// snapshotFormat changes when snapshots of an earlier one can't be used, though
// it is the same gVisor: with the order of a sandbox's images, for one.
const snapshotFormat = 6

// Shape implements sandbox.Snapshotter. Images, memory and processes are no
// part of it: see filling.
func (d *Driver) Shape(spec sandbox.Spec) string {
	return strconv.Itoa(guestCPUs(spec.MilliCPU)) + " cpus"
}

// Blank implements sandbox.Snapshotter.
func (d *Driver) Blank(ctx context.Context, id string, like sandbox.Spec) (sandbox.Blank, error) {
	s, err := d.createAgain(ctx, sandbox.Spec{
		ID: id, MemoryMB: blankMB, TmpMB: 1, MilliCPU: like.MilliCPU, Patient: like.Patient, Pids: like.Pids, Files: like.Files,
		Process: func(sandbox.Paths) sandbox.Process { return sandbox.Process{Args: []string{"/blank"}, Dir: "/"} },
	}, blankImages)
	if err != nil {
		return nil, err
	}
	if like.Patient { // it will wait
		if err := s.giveBack(trimGarbage); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return &blank{s}, nil
}

// blank is a sandbox.Blank on gVisor.
type blank struct{ s *Sandbox }

// Done implements sandbox.Blank.
func (b *blank) Done() <-chan struct{} { return b.s.done }

// Close implements sandbox.Blank.
func (b *blank) Close() error { return b.s.Close() }

// Restore implements sandbox.Blank.
func (b *blank) Restore(ctx context.Context, spec sandbox.Spec, state *os.File) (sandbox.Sandbox, error) {
	if err := b.s.restore(ctx, spec, state); err != nil {
		return nil, fmt.Errorf("restore sandbox: %w", err)
	}
	return b.s, nil
}

func (s *Sandbox) restore(ctx context.Context, spec sandbox.Spec, state *os.File) error {
	img, err := s.d.images(ctx, spec)
	if err != nil {
		return err
	}
	files, err := img.open()
	if err != nil {
		return err
	}
	defer closeAll(files)
	if len(files) != len(s.slots) {
		return errs.Newf(errs.Unsupported, "the root image %s has no place for the node's files", img.root)
	}
	at, err := readLayout(state)
	if err != nil {
		return err
	}
	fill := filling{Slots: s.slots, Memory: int64(spec.MemoryMB) << 20, Snapshot: at}
	for _, v := range spec.Own {
		fill.Own = append(fill.Own, []byte(v))
	}
	if err := s.sendFilling(fill, append(files, state)); err != nil {
		return err
	}
	spec.ID = s.spec.ID
	s.spec = spec
	if s.cgroup != nil {
		if err := s.cgroup.limit(limitsOf(spec)); err != nil {
			return fmt.Errorf("limit sandbox: %w", err)
		}
	}
	s.copy = true
	s.boost.Reset(boost)
	if _, err := state.Seek(at.Pages, io.SeekStart); err != nil { // gVisor reads on from there
		return err
	}
	opts := boot.RestoreOpts{FilePayload: urpc.FilePayload{Files: []*os.File{state}}, Background: true}
	if err := s.control.call(ctx, boot.ContMgrRestore, &opts, nil); err != nil {
		return err
	}
	s.control.close() // the Sentry makes its control server anew, and drops connections
	return nil
}

// Save implements sandbox.Saver.
func (s *Sandbox) Save(ctx context.Context, state *os.File) error {
	if s.slots == nil || len(s.slots) != blankImages.count() {
		return errs.Newf(errs.Unsupported, "the root image of sandbox %s has no place for the node's files", s.spec.ID)
	}
	kernel, err := memfd("kernel", nil)
	if err != nil {
		return err
	}
	defer kernel.Close()
	metadata, err := memfd("metadata", nil)
	if err != nil {
		return err
	}
	defer metadata.Close()
	opts := sentryctl.SaveOpts{
		Metadata:                       statefile.CompressionLevelNone.ToMetadata(), // restores fastest
		AppMFExcludeCommittedZeroPages: true,
		HavePagesFile:                  true,
		FilePayload:                    urpc.FilePayload{Files: []*os.File{kernel, metadata, state}},
	}
	if err := s.control.call(ctx, slimDown, &struct{}{}, nil); err != nil {
		return fmt.Errorf("save sandbox: %w", err)
	}
	if err := s.control.call(ctx, boot.ContMgrCheckpoint, &opts, nil); err != nil {
		return fmt.Errorf("save sandbox: %w", err)
	}
	if err := appendSections(state, kernel, metadata, s.spec.Own); err != nil {
		return fmt.Errorf("save sandbox: %w", err)
	}
	return nil
}
