// Command probe is what sandboxtest runs inside sandboxes: it answers each
// Invoke frame of the link by doing what the frame's header names.
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

// maxBody is above the largest frame that the suite sends.
const maxBody = 64 << 20

func main() {
	if len(os.Args) > 1 && os.Args[1] == "sleep" {
		time.Sleep(time.Hour)
		return
	}
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func serve(in io.Reader, out io.Writer) error {
	if err := send(out, sandbox.FrameReady, nil); err != nil {
		return err
	}
	for {
		f, err := sandbox.ReadFrame(in, maxBody)
		if errors.Is(err, io.EOF) || f.Kind == sandbox.FrameShutdown {
			return nil
		}
		if err != nil {
			return err
		}
		name, arg, _ := strings.Cut(strings.TrimSpace(string(f.Header)), " ")
		do, ok := actions[name]
		if !ok {
			return fmt.Errorf("no action %q", name)
		}
		body, err := do(arg, f.Body)
		kind := sandbox.FrameResponse
		if err != nil {
			kind, body = sandbox.FrameFailure, []byte(err.Error())
		}
		if name == "stream" && err == nil {
			err = stream(out, body)
			if err != nil {
				return err
			}
			continue
		}
		if err := send(out, kind, body); err != nil {
			return err
		}
	}
}

// stream answers with body in parts of 1,000 bytes.
func stream(out io.Writer, body []byte) error {
	if err := send(out, sandbox.FrameHead, nil); err != nil {
		return err
	}
	for part := range slices.Chunk(body, 1000) {
		if err := send(out, sandbox.FrameChunk, part); err != nil {
			return err
		}
	}
	return send(out, sandbox.FrameEnd, nil)
}

func send(out io.Writer, kind sandbox.FrameKind, body []byte) error {
	_, err := out.Write(sandbox.AppendFrame(nil, sandbox.Frame{Kind: kind, Body: body}))
	return err
}

var (
	held  [][]byte      // what alloc keeps
	spins atomic.Uint64 // turns of spin
)

// actions are what the suite can ask for. An error makes a Failure frame.
var actions = map[string]func(arg string, body []byte) ([]byte, error){
	"stream": func(_ string, body []byte) ([]byte, error) { return body, nil },
	"echo":   func(_ string, body []byte) ([]byte, error) { return body, nil },
	"self": func(string, []byte) ([]byte, error) {
		dir, err := os.Getwd()
		if err != nil {
			return nil, err
		}
		host, err := os.Hostname()
		if err != nil {
			return nil, err
		}
		return json.Marshal(map[string]any{"args": os.Args, "env": os.Environ(), "dir": dir, "uid": os.Getuid(), "gid": os.Getgid(), "host": host})
	},
	"log": func(_ string, body []byte) ([]byte, error) { _, err := os.Stderr.Write(body); return nil, err },
	"exit": func(arg string, _ []byte) ([]byte, error) {
		code, _ := strconv.Atoi(arg)
		os.Exit(code)
		return nil, nil
	},
	"signal": func(arg string, _ []byte) ([]byte, error) {
		n, _ := strconv.Atoi(arg)
		return nil, syscall.Kill(os.Getpid(), syscall.Signal(n))
	},
	"alloc": alloc,
	"burst": burst,
	"free":  func(string, []byte) ([]byte, error) { held = nil; return nil, nil },
	"spin": func(string, []byte) ([]byte, error) {
		go func() {
			for {
				spins.Add(1)
			}
		}()
		return nil, nil
	},
	"clock cost": func(string, []byte) ([]byte, error) {
		return json.Marshal(cost{Clock: fastest(func() { time.Now() }), Call: fastest(func() { syscall.Getppid() })})
	},
	"spins": func(string, []byte) ([]byte, error) { return []byte(strconv.FormatUint(spins.Load(), 10)), nil },
	"read":  func(arg string, _ []byte) ([]byte, error) { return os.ReadFile(arg) },
	"write": func(arg string, body []byte) ([]byte, error) { return nil, os.WriteFile(arg, body, 0o600) },
	"list":  list,
	"fds":   fds,
	"fill":  fill,
	"open":  open,
	"fork":  fork,
	"dial":  dial,
	"loop":  loopback,
	"keep":  func(_ string, body []byte) ([]byte, error) { kept = body; return nil, nil },
	"kept":  func(string, []byte) ([]byte, error) { return kept, nil },
	"pair":  pair,
	"pass":  pass,
	"clock": func(string, []byte) ([]byte, error) {
		now := time.Now()
		return json.Marshal(map[string]int64{"wall": now.UnixNano(), "run": int64(now.Sub(began))})
	},
	"random": func(string, []byte) ([]byte, error) {
		b := make([]byte, 16)
		rand.Read(b)
		return json.Marshal(map[string]any{"crypto": hex.EncodeToString(b), "math": mathrand.Uint64()})
	},
}

var (
	began = time.Now()
	kept  []byte      // what keep got
	ends  [2]net.Conn // what pair connected
)

// pair connects two sockets over the loopback, and keeps them.
func pair(string, []byte) ([]byte, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	if ends[0], err = net.Dial("tcp", l.Addr().String()); err != nil {
		return nil, err
	}
	ends[1], err = l.Accept()
	return nil, err
}

// pass sends body from one end of the pair to the other.
func pass(_ string, body []byte) ([]byte, error) {
	if _, err := ends[0].Write(body); err != nil {
		return nil, err
	}
	got := make([]byte, len(body))
	_, err := io.ReadFull(ends[1], got)
	return got, err
}

// alloc takes and touches arg MiB and keeps them.
func alloc(arg string, _ []byte) ([]byte, error) {
	n, err := strconv.Atoi(arg)
	if err != nil {
		return nil, err
	}
	for range n {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = byte(i>>12) | 1
		}
		held = append(held, b)
	}
	return nil, nil
}

// burst takes and touches arg MiB, and gives them back.
func burst(arg string, _ []byte) ([]byte, error) {
	kept := held
	held = nil // else its array would keep them
	_, err := alloc(arg, nil)
	held = kept
	debug.FreeOSMemory()
	return nil, err
}

func list(arg string, _ []byte) ([]byte, error) {
	entries, err := os.ReadDir(arg)
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return json.Marshal(names)
}

// fds lists the descriptors that this process was started with, found without
// opening one.
func fds(string, []byte) ([]byte, error) {
	var open []int
	for fd := range 1024 {
		var st syscall.Stat_t
		if syscall.Fstat(fd, &st) == nil && !runtimeOwn(fd) {
			open = append(open, fd)
		}
	}
	return json.Marshal(open)
}

// runtimeOwn reports whether fd is one that Go's runtime opens for itself: its
// network poller, which a link that is a pipe wants, and the CPU limits of its
// control group, which it reads again and again.
func runtimeOwn(fd int) bool {
	target, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	return err == nil && (strings.HasPrefix(target, "anon_inode:") || strings.HasPrefix(target, "/sys/fs/cgroup/"))
}

// fill writes zeros to the file arg until that fails, and tells how many MiB
// fitted and why no more.
func fill(arg string, _ []byte) ([]byte, error) {
	f, err := os.Create(arg)
	if err != nil {
		return nil, err
	}
	defer os.Remove(arg)
	defer f.Close()
	block := bytes.Repeat([]byte{1}, 1<<20)
	for n := 0; ; n++ {
		if _, err := f.Write(block); err != nil {
			return report(n, err)
		}
	}
}

// open opens files until that fails.
func open(string, []byte) ([]byte, error) {
	var files []*os.File
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	for n := 0; ; n++ {
		f, err := os.Open(os.Args[0])
		if err != nil {
			return report(n, err)
		}
		files = append(files, f)
	}
}

// fork starts processes until that fails, at most arg.
func fork(arg string, _ []byte) ([]byte, error) {
	most, err := strconv.Atoi(arg)
	if err != nil {
		return nil, err
	}
	var started []*exec.Cmd
	defer func() {
		for _, c := range started {
			c.Process.Kill()
			c.Wait()
		}
	}()
	for n := range most {
		c := exec.Command(os.Args[0], "sleep")
		if err := c.Start(); err != nil {
			return report(n, err)
		}
		started = append(started, c)
	}
	return report(most, nil)
}

func report(n int, err error) ([]byte, error) {
	var errno syscall.Errno
	errors.As(err, &errno)
	return json.Marshal(map[string]any{"n": n, "errno": int(errno)})
}

func dial(arg string, _ []byte) ([]byte, error) {
	c, err := net.DialTimeout("tcp", arg, 2*time.Second)
	if err != nil {
		return nil, err
	}
	return nil, c.Close()
}

// loopback sends body to itself over 127.0.0.1.
func loopback(_ string, body []byte) ([]byte, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	failed := make(chan error, 1)
	go func() {
		c, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			_, err = c.Write(body)
			err = errors.Join(err, c.Close())
		}
		failed <- err
	}()
	c, err := l.Accept()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	got, err := io.ReadAll(c)
	return got, errors.Join(err, <-failed)
}

// cost is what one look at a clock and one system call take at best, in nanoseconds.
type cost struct{ Clock, Call int64 }

func fastest(f func()) int64 {
	const batch = 20
	best := time.Hour
	for range 20 {
		began := time.Now()
		for range batch {
			f()
		}
		best = min(best, time.Since(began))
	}
	return int64(best) / batch
}
