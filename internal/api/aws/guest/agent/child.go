package main

import (
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// start runs the function's bootstrap with the Runtime API at addr. When it
// can't, it says why in Lambda's words.
func start(env []string, addr string) (pid int, words string) {
	task := "/var/task"
	own := make([]string, 0, len(env)+1)
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "LAMBDA_TASK_ROOT="); ok {
			task = v
		}
		if !strings.HasPrefix(kv, "AWS_LAMBDA_RUNTIME_API=") {
			own = append(own, kv)
		}
	}
	own = append(own, "AWS_LAMBDA_RUNTIME_API="+addr)
	candidates := []string{task + "/bootstrap", "/opt/bootstrap"}
	path := ""
	for _, c := range candidates {
		var st syscall.Stat_t
		if syscall.Stat(c, &st) == nil && st.Mode&syscall.S_IFMT == syscall.S_IFREG {
			path = c
			break
		}
	}
	if path == "" {
		return 0, "Couldn't find valid bootstrap(s): [" + strings.Join(candidates, " ") + "]"
	}
	return spawn(path, []string{path}, task, own)
}

// spawn runs the function's program as a child with nothing to read, whose output
// is the log.
func spawn(path string, args []string, dir string, env []string) (pid int, words string) {
	null, err := syscall.Open("/dev/null", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return 0, "open /dev/null: " + err.Error()
	}
	defer syscall.Close(null)
	// Orphans come here also where this is not the first process; failing leaves
	// them to whoever that is.
	const setChildSubreaper = 36
	syscall.RawSyscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0)
	pid, err = syscall.ForkExec(path, args, &syscall.ProcAttr{
		Dir: dir, Env: env, Files: []uintptr{uintptr(null), 2, 2},
	})
	if err != nil {
		return 0, "fork/exec " + path + ": " + err.Error()
	}
	return pid, ""
}

// reap waits for children, also those that were left behind by others, and ends
// the agent in the way the function's bootstrap ended, unless the agent has
// killed it because it is ending itself.
func reap(child int, ending *atomic.Bool) {
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, 0, nil)
		if err == syscall.EINTR || err == nil && pid != child {
			continue
		}
		if err != nil {
			fatal("wait for the function's process", err)
		}
		if ending.Load() {
			select {} // run has the last word
		}
		if ws.Signaled() {
			dieOf(ws.Signal())
			os.Exit(128 + int(ws.Signal()))
		}
		os.Exit(ws.ExitStatus())
	}
}

// dieOf ends this process by sig, so that the host sees how the child ended. It
// returns where the first process of a name space is immune.
func dieOf(sig syscall.Signal) {
	var action [4]uint64 // a zero sigaction: the default
	const maskBytes = 8
	syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0, maskBytes, 0, 0)
	// To this very thread: a signal to the process may come after the call returns.
	runtime.LockOSThread()
	syscall.RawSyscall(syscall.SYS_TGKILL, uintptr(syscall.Getpid()), uintptr(syscall.Gettid()), uintptr(sig))
}

// become replaces this process by a program that finds the link on 3 and 4, the
// log on 1 and 2, and nothing on 0. It returns only on failure.
func become(args []string) error {
	null, err := syscall.Open("/dev/null", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if null == 3 || null == 4 { // in the way of the link
		if null, err = dupAbove(null, 5); err != nil {
			return err
		}
	}
	for _, m := range [][2]int{{0, 3}, {1, 4}, {null, 0}, {2, 1}} {
		if err := syscall.Dup3(m[0], m[1], 0); err != nil {
			return err
		}
	}
	for _, fd := range []int{3, 4} {
		if err := syscall.SetNonblock(fd, false); err != nil {
			return err
		}
	}
	return syscall.Exec(args[0], args, syscall.Environ())
}

func dupAbove(fd, least int) (int, error) {
	n, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_DUPFD_CLOEXEC, uintptr(least))
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}
