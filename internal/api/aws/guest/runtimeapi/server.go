// Package runtimeapi serves the Runtime API of AWS Lambda to the code in a
// sandbox: a small HTTP server that does no input or output itself. Who runs it
// passes on what comes of connections and from the host, and does what it says.
// It is run by the agent, as a process beside the code, and by the kernel of a
// sandbox, which the code must not be able to harm: what it sends is bounded, each
// of its requests and the memory of all together.
//
// It is part of a program that each instance has in memory, and uses little of the
// standard library.
package runtimeapi

import "strconv"

// The kinds of frame; package sandbox defines them, a test compares.
const (
	FrameInvoke    = 1
	FrameShutdown  = 2
	FrameSnapshot  = 3
	FrameRestore   = 4
	FrameReady     = 16
	FrameInitError = 17
	FrameResponse  = 18
	FrameFailure   = 19
	FrameHead      = 20
	FrameChunk     = 21
	FrameEnd       = 22
)

// maxConns bounds the open connections.
const maxConns = 64

// Outlet does what a Server says. It is package sandbox's, in the words of a small
// program.
type Outlet interface {
	Frame(kind byte, header string, body []byte)
	Answer(conn int, head, body []byte) bool
	HangUp(conn int)
}

// Server serves the Runtime API to one instance. Its methods must not be called
// at the same time.
type Server struct {
	api   api
	out   Outlet
	conns map[int]*conn
	room  room
}

// conn is a client's connection; a runtime may keep several.
type conn struct {
	id     int
	parser parser
	told   bool // has been sent 100 Continue for this request
	waits  bool // for the answer to its request
	last   bool // ends with the next answer
	flows  bool // its request is a streamed answer
	closed bool
}

// New returns a Server for code whose answers may have limit bytes.
func New(limit int, out Outlet) *Server {
	return &Server{
		api:   api{state: started, limit: limit},
		out:   out,
		conns: map[int]*conn{},
		room:  room{roomFor(limit)},
	}
}

// roomFor is the memory for an answer on its way, another that was given up, and
// small requests.
func roomFor(limit int) int { return 2*limit + 1<<20 }

// Room reports whether another connection can be opened.
func (s *Server) Room() bool { return len(s.conns) < maxConns }

// Open takes a new connection, whose number is no other's. It must have room for it.
func (s *Server) Open(id int) {
	s.conns[id] = &conn{id: id, parser: parser{limit: s.api.limit, room: &s.room}}
}

// Close forgets a connection that its client has closed, and with it a streamed
// answer that was not complete.
func (s *Server) Close(id int) {
	if c := s.conns[id]; c != nil {
		s.lose(c)
	}
}

// Full reports whether a call waits to be asked for. No further one may come then.
func (s *Server) Full() bool { return s.api.queued != nil }

// Receive takes a frame from the host, whose header and body are not changed
// afterwards. It returns false for one of a kind that it does not know. What
// FrameShutdown says is not its business.
func (s *Server) Receive(kind byte, header, body []byte) bool {
	switch kind {
	case FrameInvoke:
		s.api.queued = &frame{header, body}
		s.tell(s.api.goOn()) // no snapshot was made
		s.deliver()
	case FrameSnapshot:
		s.out.Frame(FrameReady, "", nil)
	case FrameRestore:
		told := s.api.restore()
		if len(told) == 0 {
			s.out.Frame(FrameReady, "", nil)
		}
		s.tell(told) // its call of invocation/next says that it is ready
	default:
		return false
	}
	return true
}

// Take takes what a client sent. It keeps nothing of data.
func (s *Server) Take(id int, data []byte) {
	c := s.conns[id]
	if c == nil || len(data) == 0 {
		return
	}
	done, err := c.parser.feed(data)
	if err == nil && c.waits && (done || c.parser.more()) {
		err = errPipelined
	}
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.pass(c)
	if !done {
		if c.parser.req.expect && !c.told && c.parser.awaitsBody() {
			c.told = true
			s.answer(c, []byte("HTTP/1.1 100 Continue\r\n\r\n"), nil)
		}
		return
	}
	s.serve(c)
	if !c.closed && c.parser.more() {
		s.refuse(c, errPipelined)
	}
	s.deliver()
}

// refuse answers what can't be served. The connection ends with it.
func (s *Server) refuse(c *conn, err *httpError) {
	c.last = true
	s.reply(c, &reply{status: err.status, body: ErrorDocument("InvalidRequest", err.words)})
	s.lose(c)
}

// lose forgets a connection, and with it a streamed answer that was not complete.
func (s *Server) lose(c *conn) {
	s.drop(c)
	if c.flows {
		c.flows = false
		s.tellHost(s.api.breaks())
	}
}

func (s *Server) drop(c *conn) {
	if !c.closed {
		c.closed = true
		s.api.forget(c)
		c.parser.close()
		delete(s.conns, c.id)
	}
}

func (s *Server) tellHost(out outcome) {
	if out.kind != 0 {
		s.out.Frame(out.kind, out.header, out.body)
	}
}

// pass hands on what has come of a streamed answer.
func (s *Server) pass(c *conn) {
	p := &c.parser
	if !p.flows || p.phase == inHead {
		return
	}
	if !c.flows {
		out, ok := s.api.opens(&p.req)
		if !ok {
			p.flows = false // an answer that nobody waits for: keep to the limit
			return
		}
		c.flows = true
		s.tellHost(out)
	}
	if len(p.body) > 0 {
		s.out.Frame(FrameChunk, "", p.body)
		p.body = p.body[:0]
	}
}

// serve answers the complete request of c. What it tells the host goes out
// first: once the client has its answer it may exit, and the instance with it.
func (s *Server) serve(c *conn) {
	r := &c.parser.req
	rep, out := accepted, outcome{}
	if c.flows {
		c.flows = false
		out = s.api.closes(r)
	} else {
		rep, out = s.api.handle(c, r)
	}
	s.tellHost(out)
	c.last, c.told = r.close, false
	c.parser.reset()
	c.waits = rep == nil
	if rep != nil {
		s.reply(c, rep)
	}
}

// tell answers those who wait in restore/next.
func (s *Server) tell(waiting []*conn) {
	for _, c := range waiting {
		s.reply(c, restored)
	}
}

// deliver gives the queued call to who waits for it.
func (s *Server) deliver() {
	for {
		c, rep := s.api.take()
		if c == nil {
			return
		}
		if !s.reply(c, rep) {
			s.api.untake()
		}
	}
}

// reply answers c and reports whether that worked.
func (s *Server) reply(c *conn, r *reply) bool {
	c.waits = false
	head := r.head
	if r.status != "" {
		head = append(make([]byte, 0, 128), "HTTP/1.1 "...)
		head = append(head, r.status...)
		head = append(head, "\r\nContent-Type: application/json\r\nContent-Length: "...)
		head = strconv.AppendInt(head, int64(len(r.body)), 10)
		if c.last {
			head = append(head, "\r\nConnection: close"...)
		}
		head = append(head, "\r\n\r\n"...)
	}
	ok := s.answer(c, head, r.body)
	if c.last && ok {
		s.drop(c)
		s.out.HangUp(c.id)
	}
	return ok
}

func (s *Server) answer(c *conn, head, body []byte) bool {
	if c.closed {
		return false
	}
	if s.out.Answer(c.id, head, body) {
		return true
	}
	s.lose(c)
	return false
}
