package gvisor

import (
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/runsc/cli"
	"gvisor.dev/gvisor/runsc/cmd/sentry/sentrycmd"
	"gvisor.dev/gvisor/runsc/cmd/util"

	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

const (
	// sandboxArg0 is argv[0] of every sandbox's process, the Sentry. gVisor's
	// own tools and Sweep know it by that name.
	sandboxArg0 = "runsc-sandbox"

	// exitFDFlag names the pipe on which a Sentry reports how the first
	// process ended: its own exit status can't tell exit code 137 from SIGKILL.
	exitFDFlag = "exit-fd"

	// donatedFlag tells how many descriptors a Sentry was given. All others
	// that it has slipped through.
	donatedFlag = "donated-fds"
)

// Reexec must be the first call of main, and of TestMain in tests that use the
// driver. When this process was started as a part of a sandbox (the same binary,
// re-executed), Reexec runs that part and does not return. What inside makes
// serves the code in there, where a Config says so. Before anything else it
// calls quiet, which end what linked packages do in the background on their
// own: under a Sentry's filter that is deadly. Otherwise it does nothing.
func Reexec(inside sandbox.Inside, quiet ...func()) {
	switch {
	case len(os.Args) == 0:
		return
	case strings.HasPrefix(os.Args[0], "runsc"):
		for _, f := range quiet {
			f()
		}
		tuneSentry()
		if err := surround(inside); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(128)
		}
		cli.Run(nil, map[util.SubCommand]string{&bootCommand{}: "internal"}, nil)
		os.Exit(128) // not reached: Run exits
	case os.Args[0] == "/proc/self/exe" && len(os.Args) > 1 && os.Args[1] == "umount":
		cli.Run(nil, map[util.SubCommand]string{&sentrycmd.Umount{}: "internal"}, nil)
		os.Exit(128)
	}
}

// tuneSentry prepares a Sentry before gVisor takes over. What shortens its start
// was measured.
func tuneSentry() {
	installSeccompPrograms()
	useUmounter()

	// A crashed Sentry must not leave its guest's memory on the host.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		fmt.Fprintln(os.Stderr, "forbid core dumps:", err)
		os.Exit(128)
	}

	// gVisor subscribes to each signal right before it starts the first
	// process. Every first subscription is a handshake with the runtime's
	// signal goroutine; done here, it overlaps with the exec's page faults.
	sink := make(chan os.Signal, 1)
	for s := syscall.Signal(1); s <= 32; s++ {
		switch s {
		case syscall.SIGURG, syscall.SIGPIPE, syscall.SIGCHLD:
			continue // gVisor leaves these to the runtime too
		}
		signal.Notify(sink, s)
	}

	// A Sentry's live heap is a few MiB: collecting it at each doubling during
	// boot costs more than it frees.
	debug.SetGCPercent(400)
}

// closeInherited closes the descriptors from first on that outlived the exec of
// this process. gVisor's code in the node opens sockets that do, for a moment:
// raw ones in other sandboxes' networks, and those of other sandboxes' control
// servers. What this process itself has opened since is close-on-exec.
func closeInherited(first int) error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd < first {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			continue // gone with ReadDir, or our own
		}
		if err := unix.Close(fd); err != nil {
			return err
		}
	}
	return nil
}

// waitReport encodes a wait status for the exit pipe.
func waitReport(ws unix.WaitStatus) [4]byte {
	return [4]byte{byte(ws), byte(ws >> 8), byte(ws >> 16), byte(ws >> 24)}
}

// parseWaitReport decodes what waitReport wrote.
func parseWaitReport(b [4]byte) unix.WaitStatus {
	return unix.WaitStatus(uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24)
}
