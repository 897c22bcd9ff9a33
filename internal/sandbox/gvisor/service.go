package gvisor

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime/debug"
	"sync"
	"sync/atomic"
	_ "unsafe" // for go:linkname

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/fd"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/socket"
	"gvisor.dev/gvisor/pkg/state"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/waiter"
	"gvisor.dev/gvisor/runsc/boot"

	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

// Code that asks for work over HTTP is answered by the sandbox's kernel itself: a
// connection to serviceAddress ends in the Sentry, which has the link to the host.
// A process inside that did the same would cost each call two switches between
// processes and a dozen system calls.
//
// What is said there is not this package's business: a sandbox.Server knows that. A
// service keeps its connections and is part of a snapshot, with what they hold.

// serveFlag says that there is a service, and how many bytes an answer may have.
const serveFlag = "serve"

// serviceAddress is where the code inside finds the service.
const serviceAddress, servicePort = "127.0.0.1:9001", 9001

// service is a Server with its connections and its link to the host.
type service struct {
	mu      sync.Mutex
	room    sync.Cond // the Server may not be full any more
	server  sandbox.Server
	open    map[int]*endpoint // connections that neither side has closed
	last    int               // number of a connection
	pending []byte            // frames that the host has not taken yet
	touched []*endpoint       // whose users are to be told when mu is free
	link    link

	copying sync.Mutex // one write of the code's at a time has the buffer; it is taken before mu
	buffer  []byte
}

// link is the Sentry's end of the link, beside the first process's own.
type link struct {
	in, out *os.File
	outFD   int // of out, which stays non-blocking
	kernel  *kernel.Kernel
}

var _ sandbox.Outlet = (*service)(nil)

func newService() *service {
	s := &service{open: map[int]*endpoint{}}
	s.room.L = &s.mu
	return s
}

// start begins to serve. The kernel, in which the service is saved, must not run yet.
func (s *service) start(l link) {
	s.link = l
	go s.receive()
	if len(s.pending) > 0 {
		go s.drain()
	}
}

// locked calls f with the service locked, and then tells who waits for what it did.
func (s *service) locked(f func()) {
	s.mu.Lock()
	f()
	touched := s.touched
	s.touched = nil
	if s.server != nil && !s.server.Full() {
		s.room.Signal()
	}
	s.mu.Unlock()
	for _, e := range touched {
		e.queue.Notify(e.Readiness(waiter.AllEvents))
	}
}

// receive takes frames from the host until it is gone.
func (s *service) receive() {
	in := bufio.NewReaderSize(s.link.in, 16<<10)
	for {
		f, err := sandbox.ReadFrame(in, 1<<32)
		if err != nil { // the host is gone
			s.link.kernel.Kill(linux.WaitStatusExit(0))
			return
		}
		if f.Kind == sandbox.FrameShutdown {
			s.terminate()
			continue
		}
		known := true
		s.locked(func() {
			for s.server.Full() {
				s.room.Wait()
			}
			known = s.server.Receive(byte(f.Kind), f.Header, f.Body)
		})
		if !known {
			fmt.Fprintln(os.Stderr, "the host sent a frame of unknown kind", f.Kind)
			s.link.kernel.Kill(linux.WaitStatusExit(2))
			return
		}
	}
}

// terminate asks the code to end: what the first process started.
func (s *service) terminate() {
	k := s.link.kernel
	first := k.GlobalInit()
	for _, tg := range k.RootPIDNamespace().ThreadGroups() {
		if leader := tg.Leader(); leader != nil && leader.Parent() != nil && leader.Parent().ThreadGroup() == first {
			_ = k.SendExternalSignalThreadGroup(tg, &linux.SignalInfo{Signo: int32(linux.SIGTERM)}) // it may have ended
		}
	}
}

// Frame implements sandbox.Outlet.
func (s *service) Frame(kind byte, header string, body []byte) {
	head := make([]byte, 0, 64)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(body)))
	head = append(head, kind, 0)
	head = binary.LittleEndian.AppendUint16(head, uint16(len(header)))
	head = append(head, header...)
	n := 0
	if len(s.pending) == 0 {
		var err error
		for {
			if n, err = unix.Writev(s.link.outFD, [][]byte{head, body}); err != unix.EINTR {
				break
			}
		}
		if err != nil && err != unix.EAGAIN {
			return // the host is gone, and receive notices
		}
		n = max(n, 0)
		if n == len(head)+len(body) {
			return
		}
		go s.drain()
	}
	if n < len(head) {
		s.pending = append(s.pending, head[n:]...)
		n = len(head)
	}
	s.pending = append(s.pending, body[n-len(head):]...)
}

// drain writes what is pending, and then has the code go on.
func (s *service) drain() {
	for left := true; left; {
		s.mu.Lock()
		p := s.pending
		s.mu.Unlock()
		n, err := s.link.out.Write(p)
		s.locked(func() {
			s.pending = s.pending[n:]
			if err != nil { // the host is gone, and receive notices
				s.pending = nil
			}
			if left = len(s.pending) > 0; left {
				return
			}
			s.pending = nil
			for _, e := range s.open {
				s.touch(e)
			}
		})
	}
}

// Answer implements sandbox.Outlet.
func (s *service) Answer(conn int, head, body []byte) bool {
	e := s.open[conn]
	if e == nil {
		return false
	}
	e.unread = append(e.unread, head)
	if len(body) > 0 {
		e.unread = append(e.unread, body)
	}
	s.touch(e)
	return true
}

// HangUp implements sandbox.Outlet.
func (s *service) HangUp(conn int) {
	if e := s.open[conn]; e != nil {
		e.hungUp = true
		delete(s.open, conn)
		s.touch(e)
	}
}

func (s *service) touch(e *endpoint) { s.touched = append(s.touched, e) }

// connect makes e a connection to the service, if there is room for one.
func (s *service) connect(e *endpoint) (err tcpip.Error) {
	s.locked(func() {
		if e.at.Load() != nil {
			err = &tcpip.ErrAlreadyConnected{}
			return
		}
		if !s.server.Room() {
			err = &tcpip.ErrConnectionRefused{}
			return
		}
		s.last++
		e.number = s.last
		e.at.Store(s)
		s.open[e.number] = e
		s.server.Open(e.number)
		s.touch(e)
	})
	return err
}

// disconnect ends e's connection as its client wants it. What has come for it is
// lost with forget.
func (s *service) disconnect(e *endpoint, forget bool) {
	s.locked(func() {
		e.hungUp = true
		if forget {
			e.unread = nil
		}
		if s.open[e.number] == e {
			delete(s.open, e.number)
			s.server.Close(e.number)
		}
		s.touch(e)
	})
}

// serviceKey names the service in a kernel's state.
const serviceKey = "mayfly service"

// StateTypeName implements state.Type.
func (*service) StateTypeName() string { return "mayfly.service" }

// StateFields implements state.Type.
func (*service) StateFields() []string { return []string{"open", "last", "pending", "server"} }

// StateSave implements state.Type.
func (s *service) StateSave(to state.Sink) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to.Save(0, &s.open)
	to.Save(1, &s.last)
	to.Save(2, &s.pending)
	to.SaveValue(3, s.server.AppendState(nil))
}

// StateLoad implements state.Type: the service goes on in this process.
func (s *service) StateLoad(_ context.Context, from state.Source) {
	s.room.L = &s.mu
	from.Load(0, &s.open)
	from.Load(1, &s.last)
	from.Load(2, &s.pending)
	from.LoadValue(3, new([]byte), func(saved any) {
		server, err := around.Load().inside.Restore(saved.([]byte), s)
		if err != nil {
			panic(err) // the restore fails with it
		}
		s.server = server
	})
	from.AfterLoad(func() {
		if s.open == nil {
			s.open = map[int]*endpoint{}
		}
		if err := around.Load().serve(s); err != nil {
			panic(err)
		}
	})
}

// around is what a service needs of the process that it is in, of which there is
// one. It is nil in others, and in a Sentry whose binary was given no sandbox.Inside.
var around atomic.Pointer[surroundings]

type surroundings struct {
	inside  sandbox.Inside
	in, out int // the first process's standard input and output
	kernel  *kernel.Kernel
	service atomic.Pointer[service] // once there is one
}

// surround prepares this process for a service.
func surround(inside sandbox.Inside) error {
	if inside.New == nil {
		return nil
	}
	around.Store(&surroundings{inside: inside})
	state.Register((*service)(nil))
	state.Register((*endpoint)(nil))
	for family, net := range map[int]tcpip.NetworkProtocolNumber{linux.AF_INET: ipv4.ProtocolNumber, linux.AF_INET6: ipv6.ProtocolNumber} {
		socketFamilies[family] = append([]socket.Provider{provider{family, net}}, socketFamilies[family]...)
	}
	// Go's runtime prepares itself for waiting on files with the first, and under
	// the filter it can't.
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	return errors.Join(r.Close(), w.Close())
}

// socketFamilies is where gVisor looks up who makes a socket. The first who does
// wins, and gVisor's own were first.
//
//go:linkname socketFamilies gvisor.dev/gvisor/pkg/sentry/socket.families
var socketFamilies map[int][]socket.Provider

// meet tells of the kernel that l is about to run or to restore, and has it served
// if limit is over 0. In a restored one, that depends on what was saved.
func (s *surroundings) meet(l *boot.Loader, limit int) error {
	loader := reflect.ValueOf(l).Elem()
	s.kernel = kernelOf(l)
	stdio := loader.FieldByName("root").FieldByName("stdioFDs")
	s.in = (*fd.FD)(stdio.Index(0).UnsafePointer()).FD()
	s.out = (*fd.FD)(stdio.Index(1).UnsafePointer()).FD()
	if limit <= 0 {
		return nil
	}
	v := newService()
	v.server = s.inside.New(limit, v)
	s.kernel.AddStateToCheckpoint(serviceKey, v)
	return s.serve(v)
}

// serviceMemory is when this process collects its garbage for sure. Large payloads
// and answers pass through it, and sentryMemory is all that it may have.
const serviceMemory = 30 << 20

// serve has v serve this process's kernel.
func (s *surroundings) serve(v *service) error {
	debug.SetMemoryLimit(serviceMemory)
	in, err := duplicate(s.in)
	if err != nil {
		return err
	}
	out, err := duplicate(s.out)
	if err != nil {
		return err
	}
	v.start(link{os.NewFile(uintptr(in), "link"), os.NewFile(uintptr(out), "link"), out, s.kernel})
	s.service.Store(v)
	return nil
}

// duplicate returns another descriptor of a pipe, which is made non-blocking, as
// the kernel makes it for itself.
func duplicate(fd int) (int, error) {
	fd, err := unix.Dup(fd)
	if err != nil {
		return -1, fmt.Errorf("duplicate the link: %w", err)
	}
	return fd, unix.SetNonblock(fd, true)
}
