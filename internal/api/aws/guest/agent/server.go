package main

import (
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/mayfly-dev/mayfly/internal/api/aws/guest/runtimeapi"
)

// backlog is how many connections may wait to be accepted.
const backlog = 64

// server polls the link, the listener and the connections, in one thread, and
// has the Runtime API's server say what to do.
type server struct {
	api      *runtimeapi.Server
	link     *link
	listener int
	conns    []int // descriptors; a closed one is -1 until the next poll
	child    int
	ending   atomic.Bool // the agent kills its child because it ends itself
	polled   []pollfd
	rbuf     []byte
}

var _ runtimeapi.Outlet = (*server)(nil)

func newServer(l *link, limit int) *server {
	s := &server{link: l, rbuf: make([]byte, 64<<10)}
	s.api = runtimeapi.New(limit, s)
	return s
}

// listen opens the Runtime API's port on the loopback interface and returns its
// address. Port 0 takes a free one.
func (s *server) listen(port int) (string, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return "", err
	}
	addr := &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
	if err := syscall.Bind(fd, addr); err != nil {
		return "", err
	}
	if err := syscall.Listen(fd, backlog); err != nil {
		return "", err
	}
	got, err := syscall.Getsockname(fd)
	if err != nil {
		return "", err
	}
	s.listener = fd
	return "127.0.0.1:" + strconv.Itoa(got.(*syscall.SockaddrInet4).Port), nil
}

// run serves until the link breaks. It goes through the connections before the
// link, so that a call is not given to a connection that closed while the
// instance was frozen.
func (s *server) run() error {
	for {
		s.poll()
		for i, fd := range s.conns {
			if fd >= 0 && s.polled[2+i].revents != 0 {
				s.readable(fd)
			}
		}
		if s.polled[1].revents != 0 || s.link.buffered() && !s.api.Full() {
			if err := s.receive(); err != nil {
				return err
			}
		}
		if s.polled[0].revents != 0 {
			s.accept()
		}
	}
}

type pollfd struct {
	fd      int32
	events  int16
	revents int16
}

const pollIn = 1

// poll waits for something to do. syscall.Syscall6 tells the Go scheduler that
// this may take hours; a raw call would keep its monitor awake.
func (s *server) poll() {
	s.conns = slices.DeleteFunc(s.conns, func(fd int) bool { return fd < 0 })
	p := append(s.polled[:0], pollfd{fd: int32(s.listener), events: pollIn}, pollfd{fd: int32(s.link.in), events: pollIn})
	if !s.api.Room() {
		p[0].fd = -1
	}
	if s.api.Full() {
		p[1].fd = -1 // one call ahead is all that is taken
	}
	for _, fd := range s.conns {
		p = append(p, pollfd{fd: int32(fd), events: pollIn})
	}
	s.polled = p
	var now syscall.Timespec
	timeout := uintptr(0)
	if s.link.buffered() && !s.api.Full() {
		timeout = uintptr(unsafe.Pointer(&now))
	}
	_, _, errno := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), timeout, 0, 0, 0)
	if errno != 0 {
		for i := range p {
			p[i].revents = 0
		}
	}
}

func (s *server) accept() {
	fd, _, err := syscall.Accept4(s.listener, syscall.SOCK_CLOEXEC)
	if err != nil {
		return // the client left again; a lasting fault shows at the client
	}
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1) // speed only
	s.conns = append(s.conns, fd)
	s.api.Open(fd)
}

// readable takes what a client sent.
func (s *server) readable(fd int) {
	n, err := read(fd, s.rbuf)
	if err != nil || n <= 0 {
		s.HangUp(fd)
		s.api.Close(fd)
		return
	}
	s.api.Take(fd, s.rbuf[:n])
}

func (s *server) receive() error {
	f, err := s.link.receive()
	if err != nil {
		s.kill() // the host is gone
		return err
	}
	switch {
	case f.kind == runtimeapi.FrameShutdown:
		_ = syscall.Kill(s.child, syscall.SIGTERM) // its end is ours
	case !s.api.Receive(f.kind, f.header, f.body):
		s.kill()
		fatal("the host sent a frame of unknown kind "+strconv.Itoa(int(f.kind)), nil)
	}
	return nil
}

func (s *server) kill() {
	s.ending.Store(true)
	_ = syscall.Kill(s.child, syscall.SIGKILL)
}

// Frame implements runtimeapi.Outlet. It may wait for the host, and so make the
// runtime wait.
func (s *server) Frame(kind byte, header string, body []byte) {
	if err := s.link.send(kind, header, body); err != nil {
		fatal("write to the link", err)
	}
}

// Answer implements runtimeapi.Outlet.
func (s *server) Answer(fd int, head, body []byte) bool {
	err := write(fd, append(head, body...))
	if err != nil {
		s.HangUp(fd)
	}
	return err == nil
}

// HangUp implements runtimeapi.Outlet.
func (s *server) HangUp(fd int) {
	s.conns[slices.Index(s.conns, fd)] = -1
	_ = syscall.Close(fd)
}
