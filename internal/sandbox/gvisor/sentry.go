package gvisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	_ "unsafe" // for go:linkname

	"github.com/google/subcommands"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/cpuid"
	"gvisor.dev/gvisor/pkg/fd"
	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/metric"
	"gvisor.dev/gvisor/pkg/ring0"
	"gvisor.dev/gvisor/pkg/sentry/hostmm"
	"gvisor.dev/gvisor/pkg/timing"
	"gvisor.dev/gvisor/runsc/boot"
	"gvisor.dev/gvisor/runsc/cmd/sandboxsetup"
	"gvisor.dev/gvisor/runsc/cmd/util"
	"gvisor.dev/gvisor/runsc/config"
	"gvisor.dev/gvisor/runsc/flag"
	"gvisor.dev/gvisor/runsc/specutils"
)

// bootCommand is the Sentry's main program, in the place of gVisor's own boot
// command. It does the same in the same order, for this driver's configuration
// alone, and keeps hold of the loader: gVisor's command tells nobody of it, and a
// restore needs it, see pages.go.
type bootCommand struct {
	util.InternalSubCommand // it may be given files for its logs

	controller, spec, ready int // descriptors
	stdio, images, tmp      sandboxsetup.IntFlags
	mounts                  specutils.GoferMountConfFlags
	cpus                    int
	memory                  uint64
	serve                   int

	exitFD  int
	donated int
	fillFD  int
	trimFD  int

	pages atomic.Pointer[pages] // of the snapshot that is about to be restored
}

// Name implements subcommands.Command. gVisor's tools know a Sentry by it.
func (*bootCommand) Name() string { return "boot" }

// Synopsis implements subcommands.Command.
func (*bootCommand) Synopsis() string { return "run a sandbox's kernel" }

// Usage implements subcommands.Command.
func (*bootCommand) Usage() string { return "boot [flags] <sandbox id>\n" }

// SetFlags implements subcommands.Command.
func (b *bootCommand) SetFlags(f *flag.FlagSet) {
	f.IntVar(&b.controller, "controller-fd", -1, "socket of the control server")
	f.IntVar(&b.spec, "spec-fd", -1, "the sandbox in OCI's terms")
	f.IntVar(&b.ready, "start-sync-fd", -1, "pipe that takes a byte when the kernel waits")
	f.Var(&b.stdio, "stdio-fds", "the first process's standard input, output and error, in this order")
	f.Var(&b.images, "io-fds", "images, in the order of the mounts")
	f.Var(&b.tmp, "gofer-filestore-fds", "file for the pages of /tmp")
	f.Var(&b.mounts, "gofer-mount-confs", "what the mounts are made of")
	f.IntVar(&b.cpus, "cpu-num", 1, "CPUs that the code inside sees")
	f.Uint64Var(&b.memory, "total-memory", 0, "bytes that the code inside is told it has")
	f.IntVar(&b.serve, serveFlag, 0, "bytes that an answer to the kernel's own server may have; 0 for no server")
	f.IntVar(&b.exitFD, exitFDFlag, -1, "pipe that takes the first process's wait status")
	f.IntVar(&b.donated, donatedFlag, 0, "number of descriptors that are this process's to have")
	f.IntVar(&b.fillFD, fillFlag, -1, "socket that says what a blank sandbox is to become")
	f.IntVar(&b.trimFD, trimFlag, -1, "pipe that says when to give memory back")
}

// Execute implements subcommands.Command. args are gVisor's: the configuration
// and where to leave the wait status.
func (b *bootCommand) Execute(_ context.Context, f *flag.FlagSet, args ...any) subcommands.ExitStatus {
	status, err := b.run(f.Arg(0), args[0].(*config.Config))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return subcommands.ExitFailure
	}
	*args[1].(*unix.WaitStatus) = status
	if b.exitFD >= 0 {
		report := waitReport(status)
		unix.Write(b.exitFD, report[:]) // the parent may be gone; then nobody reads
	}
	return subcommands.ExitSuccess
}

// run boots, waits for the word to start or to restore, and returns how the
// first process ended.
func (b *bootCommand) run(id string, conf *config.Config) (unix.WaitStatus, error) {
	if err := closeInherited(b.donated); err != nil {
		return 0, fmt.Errorf("close inherited descriptors: %w", err)
	}
	if !log.IsLogging(log.Debug) {
		// Nobody reads what gVisor says in passing, but it words each sentence, and
		// looks up who said it: some milliseconds of a restore.
		log.SetLevel(log.Warning)
	}
	if b.trimFD >= 0 {
		program, err := programMappings()
		if err != nil {
			return 0, fmt.Errorf("find the program in memory: %w", err)
		}
		go awaitTrims(b.trimFD, program)
	}
	if b.fillFD >= 0 {
		go b.awaitFill()
	}
	l, err := b.load(id, conf)
	if err != nil {
		return 0, err
	}
	defer l.Destroy()
	metric.Initialize() // when all are registered
	if _, err := unix.Write(b.ready, []byte{0}); err != nil {
		return 0, fmt.Errorf("tell that the kernel waits: %w", err)
	}
	unix.Close(b.ready)
	l.WaitForStartSignal()
	// Code reads clocks without a system call when they have been compared twice.
	// gVisor does that a second after the first time, or when they go on.
	kernelOf(l).Timekeeper().Pause()
	if err := l.Run(); err != nil {
		return 0, fmt.Errorf("run sandbox: %w", err)
	}
	return unix.WaitStatus(l.WaitExit()), nil
}

// load confines this process and makes gVisor's kernel.
func (b *bootCommand) load(id string, conf *config.Config) (*boot.Loader, error) {
	cpuid.Initialize()
	ring0.InitDefault()
	hugePages := hostHugePages()
	// Ends with the node in every case. The spawner has asked for it, but
	// changes of credentials may clear that.
	if err := dieWithParent(); err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(b.spec), "spec")
	spec, err := specutils.ReadSpecFromFile("/", file, conf)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	if err := setUpChroot(spec, conf, nil); err != nil {
		return nil, fmt.Errorf("make an empty root: %w", err)
	}
	_, umount := sandboxsetup.ExecProcUmounter()
	if err := sandboxsetup.ApplyCapsAllThreads(&specs.LinuxCapabilities{}, nil); err != nil {
		return nil, fmt.Errorf("drop capabilities: %w", err)
	}
	if err := dieWithParent(); err != nil {
		return nil, err
	}
	l, err := boot.New(boot.Args{
		ID: id, Spec: spec, Conf: conf,
		ControllerFD: b.controller, StdioFDs: b.stdio.GetArray(),
		GoferFDs: b.images.GetArray(), GoferFilestoreFDs: b.tmp.GetArray(), GoferMountConfs: b.mounts.GetArray(),
		NumCPU: b.cpus, CPUQuota: -1, TotalMem: b.memory, TotalHostMem: b.memory,
		HostTHP: hugePages,
		Device:  fd.New(-1), PinRingFD: -1, DevGoferFD: -1, ExecFD: -1, PodInitConfigFD: -1, RootfsUpperTarFD: -1, // none
	})
	if err != nil {
		return nil, fmt.Errorf("make the kernel: %w", err)
	}
	if err := noDirectories(); err != nil {
		l.Destroy()
		return nil, err
	}
	sandboxsetup.UmountProcFile(umount)
	addSlimming(l)
	if b.fillFD >= 0 {
		if err := prepareStubs(l); err != nil {
			l.Destroy()
			return nil, err
		}
	}
	l.PreSeccompCallback = func() {
		if s := around.Load(); s != nil {
			if err := s.meet(l, b.serve); err != nil {
				fmt.Fprintln(os.Stderr, "serve the code inside:", err)
				os.Exit(128)
			}
		}
		if p := b.pages.Swap(nil); p != nil {
			p.loadInto(l)
		}
	}
	return l, nil
}

// readyStubs is how many processes of the code inside a blank Sentry can take up
// at once: a custom runtime's and the one that it is a child of.
const readyStubs = 2

// prepareStubs makes the processes on the host in which code inside will run, which
// takes 2.4 ms each. gVisor keeps those that are free, and a restore takes them.
func prepareStubs(l *boot.Loader) error {
	for range readyStubs {
		space, err := kernelOf(l).Platform.NewAddressSpace()
		if err != nil {
			return fmt.Errorf("make a process for code: %w", err)
		}
		defer space.Release()
	}
	return nil
}

// noDirectories makes sure that no directory is open, which would be a way out
// of the empty root.
func noDirectories() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("look for open directories: %w", err)
	}
	for _, e := range entries {
		var st unix.Stat_t
		n, err := strconv.Atoi(e.Name())
		if err != nil || unix.Fstat(n, &st) != nil {
			continue // ReadDir's own
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			return fmt.Errorf("descriptor %d is a directory", n)
		}
	}
	return nil
}

func dieWithParent() error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("set the parent death signal: %w", err)
	}
	return nil
}

// hostHugePages tells what the host does with huge pages, which can't be seen
// from the empty root. Where it isn't told, there are none.
func hostHugePages() (t boot.HostTHP) {
	t.ShmemEnabled, _ = hostmm.ReadTransparentHugepageEnum("shmem_enabled")
	t.Defrag, _ = hostmm.ReadTransparentHugepageEnum("defrag")
	return t
}

// setUpChroot makes an empty root and enters it.
//
//go:linkname setUpChroot gvisor.dev/gvisor/runsc/cmd/sentry/sentrycmd.setUpChroot
func setUpChroot(*specs.Spec, *config.Config, *timing.Timer) error
