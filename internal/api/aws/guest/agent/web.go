package main

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/guest/runtimeapi"
)

// Pauses between looks whether the program answers: doubled from the first.
const (
	firstLook = 2 * time.Millisecond
	longLook  = 50 * time.Millisecond
)

// serveWeb runs a program that serves HTTP by itself: it finds in PORT where, and
// is ready when it accepts a connection there, or answers a request for path
// unless that is "-". What comes to it comes over the network, not over the link.
func serveWeb(port int, path string, command []string) {
	l := newLink()
	port, err := freePort(port)
	if err != nil {
		fatal("find a port", err)
	}
	child, words := startWeb(syscall.Environ(), port, command)
	if words != "" {
		refuse(l, words)
	}
	var ending atomic.Bool
	go reap(child, &ending)
	for pause := firstLook; !answers(port, path); pause = min(2*pause, longLook) {
		time.Sleep(pause)
	}
	outer, err := reachable(port)
	if err != nil {
		fatal("relay to the program", err)
	}
	if err := l.send(runtimeapi.FrameReady, "Port: "+strconv.Itoa(outer)+"\r\n", nil); err != nil {
		fatal("write to the link", err)
	}
	for {
		f, err := l.receive()
		if err == nil && f.kind == runtimeapi.FrameShutdown {
			_ = syscall.Kill(child, syscall.SIGTERM) // its end is ours
			continue
		}
		ending.Store(true)
		_ = syscall.Kill(child, syscall.SIGKILL)
		os.Exit(0) // the host is gone
	}
}

// freePort returns port, or one that is free now for 0.
func freePort(port int) (int, error) {
	if port != 0 {
		return port, nil
	}
	fd, port, err := bound([4]byte{127, 0, 0, 1})
	if err != nil {
		return 0, err
	}
	return port, syscall.Close(fd)
}

// bound returns a socket that is bound to a free port of the address.
func bound(addr [4]byte) (fd, port int, err error) {
	if fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0); err != nil {
		return 0, 0, err
	}
	if err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: addr}); err == nil {
		var got syscall.Sockaddr
		if got, err = syscall.Getsockname(fd); err == nil {
			return fd, got.(*syscall.SockaddrInet4).Port, nil
		}
	}
	_ = syscall.Close(fd)
	return 0, 0, err
}

// startWeb starts the command; when it can't, it says why.
func startWeb(env []string, port int, command []string) (pid int, words string) {
	task, path := "/var/task", ""
	own := make([]string, 0, len(env)+1)
	for _, kv := range env {
		switch name, v, _ := strings.Cut(kv, "="); name {
		case "PORT":
			continue
		case "LAMBDA_TASK_ROOT":
			task = v
		case "PATH":
			path = v
		}
		own = append(own, kv)
	}
	own = append(own, "PORT="+strconv.Itoa(port))
	program, script := lookUp(command[0], path, task)
	if program == "" {
		return 0, "Couldn't find " + command[0] + " in the code or in PATH (" + path + ")"
	}
	args := append([]string{program}, command[1:]...)
	if script {
		args = append([]string{"/bin/sh", program}, command[1:]...)
	}
	return spawn(args[0], args, task, own)
}

// lookUp finds a program in the code, which may be named relative to it, or else
// in the directories of path. A script that lost its permission to run is one
// for a shell.
func lookUp(name, path, task string) (program string, script bool) {
	if strings.HasPrefix(name, "/") {
		return name, false
	}
	inCode := task + "/" + strings.TrimPrefix(name, "./")
	dirs := []string{inCode}
	if !strings.Contains(name, "/") {
		for _, d := range strings.Split(path, ":") {
			dirs = append(dirs, d+"/"+name)
		}
	}
	for _, file := range dirs {
		var st syscall.Stat_t
		if syscall.Stat(file, &st) != nil || st.Mode&syscall.S_IFMT != syscall.S_IFREG {
			continue
		}
		if st.Mode&0o111 != 0 {
			return file, false
		}
		if file == inCode && strings.HasSuffix(name, ".sh") {
			return file, true
		}
	}
	return "", false
}

// answers reports whether the program accepts a connection, and with a path
// whether it answers a request for it with less than 500.
func answers(port int, path string) bool {
	fd, err := dial([4]byte{127, 0, 0, 1}, port)
	if err != nil {
		return false
	}
	defer syscall.Close(fd)
	if path == "-" {
		return true
	}
	patience := syscall.Timeval{Sec: 5}
	_ = syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &patience) // else it takes longer to give up
	if err := write(fd, []byte("GET "+path+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")); err != nil {
		return false
	}
	line := make([]byte, 16)
	n := 0
	for n < 12 {
		m, err := read(fd, line[n:])
		if err != nil || m <= 0 {
			return false
		}
		n += m
	}
	return bytes.HasPrefix(line, []byte("HTTP/1.")) && line[9] >= '1' && line[9] < '5'
}

func dial(addr [4]byte, port int) (int, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Addr: addr, Port: port}); err != nil {
		_ = syscall.Close(fd)
		return 0, err
	}
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1) // speed only
	return fd, nil
}

// reachable returns a port at which others than this sandbox reach the program.
// One that listens on 127.0.0.1 alone does not answer on 127.0.0.2: it gets a
// relay, which costs speed.
func reachable(port int) (int, error) {
	if fd, err := dial([4]byte{127, 0, 0, 2}, port); err == nil {
		return port, syscall.Close(fd)
	}
	fd, outer, err := bound([4]byte{})
	if err != nil {
		return 0, err
	}
	if err := syscall.Listen(fd, 1024); err != nil {
		return 0, err
	}
	go func() {
		for {
			c, _, err := syscall.Accept4(fd, syscall.SOCK_CLOEXEC)
			if err != nil {
				continue
			}
			go relay(c, port)
		}
	}()
	return outer, nil
}

// relay joins a connection to one with the program.
func relay(c, port int) {
	p, err := dial([4]byte{127, 0, 0, 1}, port)
	if err != nil {
		_ = syscall.Close(c)
		return
	}
	done := make(chan struct{})
	go func() {
		pump(p, c)
		close(done)
	}()
	pump(c, p)
	<-done
	_ = syscall.Close(c)
	_ = syscall.Close(p)
}

// pump copies from one connection to another, and its end as well.
func pump(to, from int) {
	buf := make([]byte, 32<<10)
	for {
		n, err := read(from, buf)
		if err != nil || n <= 0 || write(to, buf[:n]) != nil {
			_ = syscall.Shutdown(to, syscall.SHUT_WR)
			_ = syscall.Shutdown(from, syscall.SHUT_RD)
			return
		}
	}
}
