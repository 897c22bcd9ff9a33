package main

import (
	"strconv"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// maxConns bounds the open connections; more wait to be accepted.
const maxConns = 64

// server polls the link, the listener and the connections, in one thread.
type server struct {
	api      api
	link     *link
	listener int
	conns    []*conn
	child    int
	ending   atomic.Bool // the agent kills its child because it ends itself
	polled   []pollfd
	rbuf     []byte
	wbuf     []byte
}

// conn is a client's connection; a runtime may keep several.
type conn struct {
	fd     int
	parser parser
	told   bool // has been sent 100 Continue for this request
	last   bool // ends with the next answer
	flows  bool // its request is a streamed answer
	closed bool
}

func newServer(l *link, limit int) *server {
	return &server{
		api:  api{state: started, limit: limit},
		link: l,
		rbuf: make([]byte, 64<<10),
	}
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
	if err := syscall.Listen(fd, maxConns); err != nil {
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
		for i, c := range s.conns {
			if s.polled[2+i].revents != 0 {
				if err := s.readable(c); err != nil {
					return err
				}
			}
		}
		if s.polled[1].revents != 0 || s.link.buffered() && s.api.queued == nil {
			if err := s.receive(); err != nil {
				return err
			}
		}
		if err := s.deliver(); err != nil {
			return err
		}
		if s.polled[0].revents != 0 {
			s.accept()
		}
		s.sweep()
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
	p := append(s.polled[:0], pollfd{fd: int32(s.listener), events: pollIn}, pollfd{fd: int32(s.link.in), events: pollIn})
	if len(s.conns) >= maxConns {
		p[0].fd = -1
	}
	if s.api.queued != nil {
		p[1].fd = -1 // one call ahead is all that is taken
	}
	for _, c := range s.conns {
		p = append(p, pollfd{fd: int32(c.fd), events: pollIn})
	}
	s.polled = p
	var now syscall.Timespec
	timeout := uintptr(0)
	if s.link.buffered() && s.api.queued == nil {
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
	s.conns = append(s.conns, &conn{fd: fd, parser: parser{limit: s.api.limit}})
}

// sweep forgets the connections that have closed.
func (s *server) sweep() {
	kept := s.conns[:0]
	for _, c := range s.conns {
		if !c.closed {
			kept = append(kept, c)
		}
	}
	clear(s.conns[len(kept):])
	s.conns = kept
}

func (s *server) drop(c *conn) {
	if !c.closed {
		c.closed = true
		s.api.forget(c)
		_ = syscall.Close(c.fd)
	}
}

// readable takes what a client sent. Its error is one of the link: what is wrong
// with a client ends that client's connection.
func (s *server) readable(c *conn) error {
	n, err := read(c.fd, s.rbuf)
	if err != nil || n <= 0 {
		return s.lose(c)
	}
	data := s.rbuf[:n]
	for !c.closed {
		done, herr := c.parser.feed(data)
		if herr != nil {
			c.last = true
			s.reply(c, &reply{herr.status, errorDocument("InvalidRequest", herr.words)})
			return s.lose(c)
		}
		if err := s.pass(c); err != nil {
			return err
		}
		if !done {
			if c.parser.req.expect && !c.told && c.parser.awaitsBody() {
				c.told = true
				s.write(c, []byte("HTTP/1.1 100 Continue\r\n\r\n"))
			}
			return nil
		}
		if err := s.serve(c); err != nil {
			return err
		}
		data = nil // the parser holds what follows
	}
	return nil
}

// lose drops a connection, and with it a streamed answer that was not complete.
func (s *server) lose(c *conn) error {
	s.drop(c)
	if !c.flows {
		return nil
	}
	c.flows = false
	out := s.api.breaks()
	return s.link.send(out.kind, out.header, out.body)
}

// pass hands on what has come of a streamed answer. It may wait for the host,
// and so make the runtime wait.
func (s *server) pass(c *conn) error {
	p := &c.parser
	if !p.flows || p.phase == inHead {
		return nil
	}
	if !c.flows {
		out, ok := s.api.opens(&p.req)
		if !ok {
			p.flows = false // an answer that nobody waits for: keep to the limit
			return nil
		}
		c.flows = true
		if err := s.link.send(out.kind, out.header, out.body); err != nil {
			return err
		}
	}
	if len(p.body) == 0 {
		return nil
	}
	err := s.link.send(frameChunk, "", p.body)
	p.body = p.body[:0]
	return err
}

// serve answers the complete request of c. What it tells the host goes out
// first: once the client has its answer it may exit, and the agent with it.
func (s *server) serve(c *conn) error {
	r := &c.parser.req
	rep, out := accepted, outcome{}
	if c.flows {
		c.flows = false
		out = s.api.closes(r)
	} else {
		rep, out = s.api.handle(c, r)
	}
	if out.kind != 0 {
		if err := s.link.send(out.kind, out.header, out.body); err != nil {
			return err
		}
	}
	c.last, c.told = r.close, false
	c.parser.reset()
	if rep != nil {
		s.reply(c, rep)
	}
	return nil
}

func (s *server) receive() error {
	f, err := s.link.receive()
	if err != nil {
		s.ending.Store(true)
		_ = syscall.Kill(s.child, syscall.SIGKILL) // the host is gone
		return err
	}
	switch f.kind {
	case frameInvoke:
		s.api.queued = &f
		s.tell(s.api.goOn()) // no snapshot was made
	case frameSnapshot:
		return s.link.send(frameReady, "", nil)
	case frameRestore:
		if told := s.api.restore(); len(told) > 0 {
			s.tell(told) // its call of invocation/next says that it is ready
			return nil
		}
		return s.link.send(frameReady, "", nil)
	case frameShutdown:
		_ = syscall.Kill(s.child, syscall.SIGTERM) // its end is ours
	default:
		s.ending.Store(true)
		_ = syscall.Kill(s.child, syscall.SIGKILL)
		fatal("the host sent a frame of unknown kind "+strconv.Itoa(int(f.kind)), nil)
	}
	return nil
}

// tell answers those who wait in restore/next.
func (s *server) tell(waiting []*conn) {
	for _, c := range waiting {
		s.reply(c, restored)
	}
}

func (s *server) deliver() error {
	for {
		c, rep := s.api.take()
		if c == nil {
			return nil
		}
		if !s.reply(c, rep) {
			s.api.untake()
		}
	}
}

// reply writes an answer to c and reports whether that worked. A reply without
// status holds its own head.
func (s *server) reply(c *conn, r *reply) bool {
	b := r.body
	if r.status != "" {
		b = append(s.wbuf[:0], "HTTP/1.1 "...)
		b = append(b, r.status...)
		b = append(b, "\r\nContent-Type: application/json\r\nContent-Length: "...)
		b = strconv.AppendInt(b, int64(len(r.body)), 10)
		if c.last {
			b = append(b, "\r\nConnection: close"...)
		}
		b = append(b, "\r\n\r\n"...)
		b = append(b, r.body...)
		s.wbuf = b
	}
	ok := s.write(c, b)
	if c.last {
		s.drop(c)
	}
	return ok
}

func (s *server) write(c *conn, b []byte) bool {
	if err := write(c.fd, b); err != nil {
		s.drop(c)
		return false
	}
	return true
}
