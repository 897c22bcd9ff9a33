package node

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"sync"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
)

// guard looks at the heads of requests as they come over the wire. Go's server
// reads some that another program before the node may read in another way, which
// is how a request is smuggled past that program. It mends them and tells nobody;
// the guard tells, and the front refuses them.
type guard struct{ net.Listener }

// Accept implements net.Listener.
func (g guard) Accept() (net.Conn, error) {
	c, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &guardedConn{Conn: c, reading: true}, nil
}

// guardedConn is a connection whose heads are looked at.
type guardedConn struct {
	net.Conn

	mu      sync.Mutex
	reading bool   // guarded by mu: a head is being read
	head    []byte // guarded by mu: of the head so far
	fault   string // guarded by mu: of the head that was read last
}

// Read implements net.Conn.
func (c *guardedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.see(p[:n])
	}
	return n, err
}

func (c *guardedConn) see(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.reading {
		return
	}
	from := max(0, len(c.head)-3)
	c.head = append(c.head, p...)
	end := endOfHead(c.head[from:])
	if end < 0 {
		if len(c.head) > 2*wire.MaxHeaderBytes { // the server refuses it
			c.reading, c.head = false, nil
		}
		return
	}
	c.fault = headFault(c.head[:from+end])
	c.reading, c.head = false, c.head[:0]
}

// endOfHead returns the length of what goes before the empty line, or -1.
func endOfHead(b []byte) int {
	i, j := bytes.Index(b, []byte("\r\n\r\n")), bytes.Index(b, []byte("\n\n"))
	if i < 0 || j >= 0 && j < i {
		return j
	}
	return i
}

// next readies the connection for the head of its next request.
func (c *guardedConn) next() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading, c.fault = true, ""
}

// headFault says what of a head can be read in two ways, "" if nothing can.
func headFault(head []byte) string {
	var length, encoding bool
	for i, line := range bytes.Split(head, []byte("\n")) {
		if i == 0 {
			continue // the request line
		}
		if len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
			return "a header goes on in a second line"
		}
		name, _, _ := bytes.Cut(line, []byte(":"))
		length = length || bytes.EqualFold(name, []byte("Content-Length"))
		encoding = encoding || bytes.EqualFold(name, []byte("Transfer-Encoding"))
	}
	switch {
	case length && encoding:
		return "the request has both a Content-Length and a Transfer-Encoding"
	case bytes.IndexByte(head, 0) >= 0:
		return "the head of the request holds a NUL"
	}
	return ""
}

type guardKey struct{}

// watch has a server tell its connections' guards where requests begin.
func watch(s *http.Server) {
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if g, ok := c.(*guardedConn); ok {
			return context.WithValue(ctx, guardKey{}, g)
		}
		return ctx
	}
	s.ConnState = func(c net.Conn, state http.ConnState) {
		if g, ok := c.(*guardedConn); ok && state == http.StateIdle {
			g.next()
		}
	}
}

// faultOf returns what the guard found in the head of a request.
func faultOf(r *http.Request) string {
	g, _ := r.Context().Value(guardKey{}).(*guardedConn)
	if g == nil {
		return ""
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fault
}
